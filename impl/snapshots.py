"""Snapshot files: written in chunks, named by their digest, whole or not there at all (§7).

A file is a header and length-prefixed chunks. Its *reference*, which the log and the messages carry
in ``Snapshot.data``, is the digest of all its bytes and its size. A file is written under a
temporary name, synchronised, and renamed to its digest; so a name that a reference leads to is
complete, and whether it is undamaged is checked by reading it. A file is removed when a reference
that takes its place is durable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, BinaryIO

from impl.disk import SnapshotGone, StorageDamaged, StorageError, disk_errors, sync_directory

_MAGIC = b"checked-raft snapshot 1\n"
_PIECE = 1 << 20
_TAKEN = "taken.part"
_LENGTH = 4
_SIZE = 8


@dataclass(frozen=True, slots=True)
class Reference:
    """Which snapshot file: the digest of its bytes, and how many there are."""

    digest: bytes
    size: int

    def __bytes__(self) -> bytes:
        """As it stands in ``Snapshot.data``."""
        return self.digest + self.size.to_bytes(_SIZE, "big")

    @classmethod
    def of(cls, data: bytes) -> Reference:
        """The reference in ``Snapshot.data``; raises ``StorageDamaged`` if it is none."""
        if len(data) != sha256().digest_size + _SIZE:
            raise StorageDamaged(f"{data!r} is no reference to a snapshot")
        return cls(data[:-_SIZE], int.from_bytes(data[-_SIZE:], "big"))


class Chunked:
    """A file to which chunks are appended, each after its length; knows the digest of it all."""

    def __init__(self, path: Path, file: IO[bytes], header: bytes = b"") -> None:
        self._path = path
        self._file = file
        self._digest = sha256()
        self._size = 0
        self._put(header)

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._size += len(data)
        with disk_errors(self._path):
            self._file.write(data)

    def write(self, chunk: bytes) -> None:
        """Append one chunk; raises ``DiskFull`` or another ``StorageError``."""
        self._put(len(chunk).to_bytes(_LENGTH, "big"))
        self._put(chunk)

    @property
    def reference(self) -> Reference:
        """Of what was written so far."""
        return Reference(self._digest.digest(), self._size)


def chunks_in(path: Path, file: IO[bytes], size: int) -> Iterator[bytes]:
    """The chunks in the next ``size`` bytes of a file; raises ``StorageDamaged``.

    No length is believed beyond the end of the file: nothing larger than that is allocated.
    """
    while size > 0:
        length = int.from_bytes(file.read(_LENGTH), "big")
        size -= _LENGTH + length
        if size < 0:
            raise StorageDamaged(f"{path} is damaged: a chunk goes beyond its end")
        yield file.read(length)


class SnapshotFileWriter(Chunked):
    """A snapshot file in the making; nothing of it is left unless ``finish`` returns."""

    def __init__(self, directory: Path, header: bytes) -> None:
        self._directory = directory
        path = directory / _TAKEN
        with disk_errors(path):
            file = open(path, "wb", buffering=_PIECE)  # noqa: SIM115 (closed below)
        super().__init__(path, file, header)

    def finish(self) -> bytes:
        """Make the file durable; its reference."""
        reference = self.reference
        with disk_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        _settle(self._path, self._directory / reference.digest.hex())
        return bytes(reference)

    def abort(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):  # closing writes what is buffered, for which there may be no room
            self._file.close()
        self._path.unlink(missing_ok=True)


class SnapshotFileReceiver:
    """A snapshot file that arrives in pieces, perhaps over several connections."""

    def __init__(self, directory: Path, reference: Reference) -> None:
        self._directory = directory
        self._reference = reference
        self._target = directory / reference.digest.hex()
        self._path = self._target.with_suffix(".part")
        self.is_complete = self._target.exists()
        """The file is here already: there is nothing to receive."""
        self._file: BinaryIO | None = None
        self.offset = reference.size
        """How many bytes are here: resume there."""
        if not self.is_complete:
            with disk_errors(self._path):
                self._file = open(self._path, "ab")  # noqa: SIM115 (closed below)
                self.offset = self._file.tell()

    def write(self, offset: int, chunk: bytes) -> None:
        """Append a piece; one that does not begin where the last one ended is ignored."""
        room = self._reference.size - self.offset
        if self._file is None or offset != self.offset or len(chunk) > room:
            return
        with disk_errors(self._path):
            self._file.write(chunk)
        self.offset += len(chunk)

    def finish(self) -> None:
        """Verify the file and make it durable; raises ``StorageDamaged`` and begins anew."""
        if self._file is None:
            return
        with disk_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        try:
            _verify(self._path, self._reference)
        except StorageDamaged:
            self._path.unlink()
            raise
        _settle(self._path, self._target)

    def close(self) -> None:
        """Stop here; what has arrived stays, to be gone on with."""
        if self._file is not None:
            with disk_errors(self._path):
                self._file.close()


class SnapshotFiles:
    """The snapshot files of one server."""

    def __init__(self, directory: Path, *, cluster_id: str) -> None:
        self._directory = directory
        self._header = (_MAGIC + cluster_id.encode() + b"\n").ljust(128, b"\0")
        with disk_errors(directory):
            directory.mkdir(mode=0o700, exist_ok=True)

    def names(self) -> list[str]:
        """The complete files, by their digests."""
        return sorted(p.name for p in self._directory.iterdir() if not p.suffix)

    def begin(self) -> SnapshotFileWriter:
        """A new file; one at a time."""
        return SnapshotFileWriter(self._directory, self._header)

    def receive(self, data: bytes) -> SnapshotFileReceiver:
        """The place for a file that another server has; what came of others is given up."""
        reference = Reference.of(data)
        with disk_errors(self._directory):
            for path in self._directory.glob("*.part"):
                if path.stem != reference.digest.hex() and path.name != _TAKEN:
                    path.unlink()
        return SnapshotFileReceiver(self._directory, reference)

    def read(self, data: bytes, offset: int, size: int) -> bytes:
        """A piece of a file as it is, to be sent and verified where it arrives.

        Raises ``SnapshotGone`` when it was removed.
        """
        path = self._path(Reference.of(data))
        try:
            with disk_errors(path), open(path, "rb") as file:
                file.seek(offset)
                return file.read(size)
        except StorageError as error:
            if path.exists():
                raise
            raise SnapshotGone(f"snapshot {path} was removed") from error

    def verify(self, data: bytes) -> None:
        """Read a whole file; raises ``StorageDamaged`` if it is missing or changed."""
        reference = Reference.of(data)
        _verify(self._path(reference), reference)

    def chunks(self, data: bytes) -> Iterator[bytes]:
        """The chunks that were written into a file that was verified."""
        reference = Reference.of(data)
        path = self._path(reference)
        _find(path)
        with disk_errors(path), open(path, "rb") as file:
            if file.read(len(self._header)) != self._header:
                raise StorageDamaged(f"snapshot {path} is of another cluster or format")
            yield from chunks_in(path, file, reference.size - len(self._header))

    def remove(self, data: bytes) -> None:
        """Remove a file; what takes its place must be durable."""
        path = self._path(Reference.of(data))
        with disk_errors(path):
            path.unlink(missing_ok=True)

    def remove_others(self, data: bytes | None) -> None:
        """At the start: remove the complete files that nothing refers to."""
        kept = None if data is None else self._path(Reference.of(data)).name
        for name in self.names():
            if name != kept:
                with disk_errors(self._directory / name):
                    (self._directory / name).unlink()

    def _path(self, reference: Reference) -> Path:
        return self._directory / reference.digest.hex()


def _settle(path: Path, target: Path) -> None:
    """Give a synchronised file its name, durably."""
    with disk_errors(target):
        path.rename(target)
        sync_directory(target.parent)


def _find(path: Path) -> None:
    if not path.exists():
        raise StorageDamaged(f"snapshot {path} is missing")


def _verify(path: Path, reference: Reference) -> None:
    """Raise ``StorageDamaged`` unless the file is the one that ``reference`` names."""
    _find(path)
    digest, size = sha256(), 0
    with disk_errors(path), open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    if (digest.digest(), size) != (reference.digest, reference.size):
        raise StorageDamaged(f"snapshot {path} is damaged")
