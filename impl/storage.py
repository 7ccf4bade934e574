"""What survives a crash: term, vote, log and snapshots of one server.

A directory (mode 0700) has ``lock``, ``store/`` (the journal: ``impl/journal.py``) and
``snapshots/`` (``impl/snapshots.py``). Every file in it names the cluster, the server that it
belongs to (a snapshot may come from another one) and the format. What is missing, damaged or
somebody else's is refused with the name of the file; a write that a crash has left unfinished is
undone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import msgspec

from impl.disk import SnapshotGone, StorageDamaged, StorageError, disk_errors, lock, sync_directory
from impl.journal import Identity, Journal, Stored
from impl.snapshots import Reference, SnapshotFiles
from spec.events import Persist, PersistSnapshot
from spec.state import Configuration, ServerId

WAL_BYTES = 4 << 20
"""The journal's write-ahead log is written back and begun anew when it has about this size."""


class SnapshotWriter(Protocol):
    """A snapshot file in the making."""

    def write(self, chunk: bytes) -> None:
        """Append one chunk; after a ``StorageError`` only ``abort`` may follow."""

    def finish(self) -> bytes:
        """Make the file durable; the reference that ``Snapshot.data`` carries."""

    def abort(self) -> None:
        """Leave nothing behind."""


class SnapshotReceiver(Protocol):
    """A snapshot file that arrives in pieces, perhaps over several connections."""

    @property
    def offset(self) -> int:
        """How many bytes are here: resume there."""

    @property
    def is_complete(self) -> bool:
        """The file was here before: there is nothing to receive."""

    def write(self, offset: int, chunk: bytes) -> None:
        """Append a piece; one that does not begin where the last one ended is ignored."""

    def finish(self) -> None:
        """Verify the file and make it durable; raises ``StorageDamaged`` and forgets it."""

    def close(self) -> None:
        """Stop here; what has arrived stays, to be gone on with."""


class Storage(Protocol):
    """The disk of one server. ``write`` runs on a worker thread, one at a time."""

    def load(self) -> Stored:
        """All that was persisted, verified; once, before the first ``write``."""

    def write(self, batch: Sequence[Persist]) -> None:
        """Make a batch durable, all of it or nothing, in order.

        Raises ``DiskFull`` when nothing was written and the batch may be tried again, and another
        ``StorageError`` when the server must stop: it is not known what the disk has.
        """

    def begin_snapshot(self) -> SnapshotWriter:
        """A new snapshot file, to be filled on a worker thread of its own."""

    def read_snapshot(self, data: bytes, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes of a snapshot file, from ``offset`` on: a piece to send."""

    def receive_snapshot(self, data: bytes) -> SnapshotReceiver:
        """The place for a snapshot file that another server has; begun anew or gone on with."""

    def snapshot_chunks(self, data: bytes) -> Iterator[bytes]:
        """What was written into a snapshot, which was loaded or received, chunk by chunk."""

    def close(self) -> None:
        """Give everything back; what was written stays durable."""


def open_storage(
    directory: Path,
    *,
    cluster_id: str,
    server_id: ServerId,
    configuration: Configuration,
    wal_bytes: int = WAL_BYTES,
    vfs: str = "",
) -> SqliteStorage:
    """The storage in ``directory``, made first if there is none.

    ``configuration`` is the first one of a new server; an old one has it stored. ``vfs`` names
    another file layer for SQLite. Raises ``DirectoryInUse`` if a process has the directory, and
    ``StorageDamaged``.
    """
    if directory.exists() and not directory.is_dir():
        raise StorageError(f"{directory} is no directory")
    with disk_errors(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        held = lock(directory / "lock")
    try:
        identity = Identity(cluster_id=cluster_id, server_id=server_id)
        store = directory / "store"
        snapshots = SnapshotFiles(directory / "snapshots", cluster_id=cluster_id)
        if not store.exists():
            if snapshots.names():
                raise StorageDamaged(f"{store} is missing, though {directory} has snapshots")
            _create(store, identity, configuration, vfs)
        journal = Journal(store, identity, wal_bytes=wal_bytes, vfs=vfs)
        return SqliteStorage(held, journal, snapshots)
    except BaseException:
        os.close(held)
        raise


def _create(store: Path, identity: Identity, configuration: Configuration, vfs: str) -> None:
    """An empty journal, whole or not there at all."""
    new = store.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    with disk_errors(store):
        new.mkdir(mode=0o700)
        Journal.create(new, identity, configuration, vfs=vfs)
        sync_directory(new)
        new.rename(store)
        sync_directory(store.parent)


class SqliteStorage:
    """``Storage`` in a directory; made by ``open_storage``."""

    def __init__(self, held: int, journal: Journal, snapshots: SnapshotFiles) -> None:
        self._held = held
        self._journal = journal
        self._snapshots = snapshots
        self._snapshot: bytes | None = None
        self.begin_snapshot = snapshots.begin
        self.read_snapshot = snapshots.read
        self.receive_snapshot = snapshots.receive
        self.snapshot_chunks = snapshots.chunks

    def load(self) -> Stored:
        """See ``Storage``."""
        stored = self._journal.load()
        self._snapshot = None if stored.snapshot is None else stored.snapshot.data
        if self._snapshot is not None:
            self._snapshots.verify(self._snapshot)
        self._snapshots.remove_others(self._snapshot)
        return stored

    def write(self, batch: Sequence[Persist]) -> None:
        """See ``Storage``."""
        self._journal.append(batch)
        for effect in batch:
            if isinstance(effect, PersistSnapshot) and effect.snapshot.data != self._snapshot:
                previous, self._snapshot = self._snapshot, effect.snapshot.data
                if previous is not None:
                    self._snapshots.remove(previous)

    def close(self) -> None:
        """See ``Storage``."""
        self._journal.close()
        os.close(self._held)


class MemoryStorage:
    """``Storage`` on a simulated disk, for tests: it outlives the servers that use it.

    ``write`` queues a batch unless ``syncs_itself``; ``sync`` makes the first ones durable, and
    ``crash`` loses those that are not, so that a crash leaves the image after any prefix.
    """

    def __init__(self, configuration: Configuration, *, syncs_itself: bool = True) -> None:
        self._configuration = configuration
        self._syncs_itself = syncs_itself
        self._durable: list[Persist] = []
        self.pending: list[Sequence[Persist]] = []
        self.files: dict[bytes, list[bytes]] = {}

    def load(self) -> Stored:
        """See ``Storage``: what is durable."""
        stored = Stored(configuration=self._configuration)
        for effect in self._durable:
            stored.carry_out(effect)
        return stored

    def write(self, batch: Sequence[Persist]) -> None:
        """See ``Storage``."""
        self.pending.append(batch)
        if self._syncs_itself:
            self.sync()

    def sync(self, count: int | None = None) -> None:
        """Make the first ``count`` pending batches durable; all of them without ``count``."""
        count = len(self.pending) if count is None else count
        for batch in self.pending[:count]:
            self._durable += batch
        del self.pending[:count]

    def crash(self) -> None:
        """Lose what is not durable."""
        self.pending.clear()

    def begin_snapshot(self) -> MemoryWriter:
        """See ``Storage``."""
        return MemoryWriter(self.files)

    def read_snapshot(self, data: bytes, offset: int, size: int) -> bytes:
        """See ``Storage``."""
        if data not in self.files:
            raise SnapshotGone(f"snapshot {data.hex()} was removed")
        return msgspec.msgpack.encode(self.files[data])[offset : offset + size]

    def receive_snapshot(self, data: bytes) -> MemoryReceiver:
        """See ``Storage``."""
        return MemoryReceiver(self.files, data)

    def snapshot_chunks(self, data: bytes) -> Iterator[bytes]:
        """See ``Storage``."""
        return iter(self.files[data])

    def close(self) -> None:
        """See ``Storage``."""


class MemoryWriter:
    """``SnapshotWriter`` of ``MemoryStorage``."""

    def __init__(self, files: dict[bytes, list[bytes]]) -> None:
        self._files = files
        self._chunks: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        """See ``SnapshotWriter``."""
        self._chunks.append(chunk)

    def finish(self) -> bytes:
        """See ``SnapshotWriter``."""
        content = msgspec.msgpack.encode(self._chunks)
        data = bytes(Reference(sha256(content).digest(), len(content)))
        self._files[data] = self._chunks
        return data

    def abort(self) -> None:
        """See ``SnapshotWriter``."""


class MemoryReceiver:
    """``SnapshotReceiver`` of ``MemoryStorage``."""

    def __init__(self, files: dict[bytes, list[bytes]], data: bytes) -> None:
        self._files = files
        self._data = data
        self._content = b""
        self.is_complete = data in files

    @property
    def offset(self) -> int:
        """See ``SnapshotReceiver``."""
        return Reference.of(self._data).size if self.is_complete else len(self._content)

    def write(self, offset: int, chunk: bytes) -> None:
        """See ``SnapshotReceiver``."""
        if offset == self.offset:
            self._content += chunk

    def finish(self) -> None:
        """See ``SnapshotReceiver``."""
        if self.is_complete:
            return
        if sha256(self._content).digest() != Reference.of(self._data).digest:
            self._content = b""
            raise StorageDamaged("the snapshot that was received is damaged")
        self._files[self._data] = msgspec.msgpack.decode(self._content, type=list[bytes])

    def close(self) -> None:
        """See ``SnapshotReceiver``."""
