"""The journal: batches of persist effects on SQLite, guarded by a chain and a watermark.

**Rows.** Each batch is one row, ``sequence -> record``, written in one SQLite transaction with full
synchronisation. Replaying the rows in order gives what is stored. So a crash leaves what the
batches up to some prefix say. Row 0, the *base*, says who we are and what came of the rows that a
snapshot has made superfluous.

**Damage.** A record begins with a chain value: the digest of the previous chain value, of its own
sequence number and of its content. So a row that was changed, exchanged, lost in the middle or
taken from elsewhere is found. A lost *end* is not, and SQLite drops the end of a damaged
write-ahead log without a word. Therefore the *watermark*: after each durable commit and before
``append`` returns, (sequence, chain value) go into one of two slots of a small file, in turn. A
journal that ends before its watermark, or has another chain value there, is refused. The watermark
is not synchronised by itself, hence never ahead of the journal: a power cut gives no false alarm.
It is synchronised with each checkpoint; after a *power cut*, what was written since the last one is
guarded by SQLite's own checksums alone.

**Why SQLite**, where our own digests guard everything: for what it does besides. It commits a batch
whole or not at all, reuses the space of entries that a snapshot covers, survives a full disk in the
middle of a write, and its file layer can be exchanged (an ``apsw`` VFS, see the tests). A plain
append-only file costs about two thirds of its processor time a batch, and all of that would be ours
to write and to get wrong. The write-ahead log is grown once, then overwritten, because a write that
makes a file longer pays for the file system's journal too.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from itertools import takewhile
from pathlib import Path
from typing import Any, assert_never

import apsw
import msgspec

from impl.disk import NO_ROOM, DiskFull, StorageDamaged, StorageError, disk_errors, grow
from spec.events import Persist, PersistEntries, PersistSnapshot, PersistTermAndVote
from spec.state import Command, Configuration, Entry, Index, NoOp, ServerId, Snapshot, Term

FORMAT = 2
"""Version of everything in a directory. A change of ``spec``'s persistent types changes it.

1: the first one. 2: the watermark begins with its format in words, and its header has a digest, so
that another format, another owner and damage are told apart.
"""
DELETED_BYTES_PER_APPEND = 1 << 18
"""How much of what a snapshot covers one ``append`` removes at most: it must not take long."""

_NO_TERM = Term(0)
_DIGEST = 16
_PAGE = 4096
_SLOT = 512  # a sector: a torn sector hits one slot only
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


# --- What is stored -----------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Stored:
    """What a server had persisted; ``entries`` are those after the snapshot."""

    current_term: Term = _NO_TERM
    voted_for: ServerId | None = None
    configuration: Configuration
    """The one before the first entry that there ever was."""
    snapshot: Snapshot | None = None
    entries: list[Entry] = field(default_factory=list)

    @property
    def first_index(self) -> Index:
        """Index of the first entry, or of the one that comes next if there is none."""
        return Index(1 if self.snapshot is None else self.snapshot.last_included_index + 1)

    def carry_out(self, effect: Persist) -> None:
        """What is stored once ``effect`` is durable.

        Entries that a snapshot covers are of no account: the journal may have more of them.
        """
        match effect:
            case PersistTermAndVote(current_term=current_term, voted_for=voted_for):
                self.current_term, self.voted_for = current_term, voted_for
            case PersistEntries(first_index=first_index, entries=entries):
                place = first_index - self.first_index
                assert place <= len(self.entries), "entries are stored without a gap"
                del self.entries[max(place, 0) :]
                self.entries += entries[max(-place, 0) :]
            case PersistSnapshot(snapshot=snapshot):
                covered = snapshot.last_included_index + 1 - self.first_index
                if covered >= 0:
                    del self.entries[:covered]
                    self.snapshot = snapshot
            case _:
                assert_never(effect)


# --- Records ------------------------------------------------------------------------------------


def _digest(*parts: bytes) -> bytes:
    state = blake2b(digest_size=_DIGEST)
    for part in parts:
        state.update(part)
    return state.digest()


def _chain(previous: bytes, sequence: int, body: bytes) -> bytes:
    """The chain value of a record: it stands for this record and all before it."""
    return _digest(previous, sequence.to_bytes(8, "big"), body)


def _pack_configuration(configuration: Configuration) -> list[list[int] | None]:
    values = (getattr(configuration, f.name) for f in fields(configuration))
    return [None if value is None else sorted(value) for value in values]


def _unpack_configuration(values: list[list[int] | None]) -> Configuration:
    names = (f.name for f in fields(Configuration))
    sets = [None if value is None else frozenset(map(ServerId, value)) for value in values]
    return Configuration(**dict(zip(names, sets, strict=True)))  # type: ignore[arg-type]


def _pack_entry(entry: Entry) -> tuple[int, object]:
    """Term and payload: the bytes of a command, nothing for a no-op, a list otherwise."""
    match entry.payload:
        case Command(data=data):
            return entry.term, data
        case NoOp():
            return entry.term, None
        case Configuration() as configuration:
            return entry.term, _pack_configuration(configuration)
        case _:
            assert_never(entry.payload)


def _unpack_entry(term: Term, payload: Any) -> Entry:
    if isinstance(payload, bytes):
        return Entry(term=term, payload=Command(data=payload))
    if payload is None:
        return Entry(term=term, payload=NoOp())
    return Entry(term=term, payload=_unpack_configuration(payload))


def _pack_snapshot(snapshot: Snapshot) -> tuple[object, ...]:
    return (
        snapshot.last_included_index,
        snapshot.last_included_term,
        _pack_configuration(snapshot.configuration),
        snapshot.data,
    )


def _unpack_snapshot(index: Index, term: Term, configuration: Any, data: bytes) -> Snapshot:
    return Snapshot(
        last_included_index=index,
        last_included_term=term,
        configuration=_unpack_configuration(configuration),
        data=data,
    )


def _pack(effect: Persist) -> tuple[object, ...]:
    match effect:
        case PersistTermAndVote(current_term=term, voted_for=voted_for):
            return "vote", term, voted_for
        case PersistEntries(first_index=first_index, entries=entries):
            return "entries", first_index, [_pack_entry(entry) for entry in entries]
        case PersistSnapshot(snapshot=snapshot):
            return "snapshot", *_pack_snapshot(snapshot)
        case _:
            assert_never(effect)


def _unpack(packed: list[Any]) -> Persist:
    match packed:
        case ["vote", term, voted_for]:
            return PersistTermAndVote(current_term=term, voted_for=voted_for)
        case ["entries", first_index, entries]:
            unpacked = tuple(_unpack_entry(*entry) for entry in entries)
            return PersistEntries(first_index=first_index, entries=unpacked)
        case ["snapshot", *values]:
            return PersistSnapshot(snapshot=_unpack_snapshot(*values))
    raise StorageError(f"a record of an unknown kind: {packed[:1]}")


def _last_index(batch: Sequence[Persist]) -> int:
    """The highest index of an entry in ``batch``; 0 if it has none."""
    ends = (
        effect.first_index + len(effect.entries) - 1
        for effect in batch
        if isinstance(effect, PersistEntries)
    )
    return max(ends, default=0)


# --- Whose files they are -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose files these are."""

    cluster_id: str
    server_id: ServerId

    def __bytes__(self) -> bytes:
        """As it stands in every file, with the format."""
        return _encode((FORMAT, self.cluster_id, self.server_id))

    def __str__(self) -> str:
        """In words."""
        return f"n{self.server_id} of cluster {self.cluster_id!r}"


# --- The watermark ------------------------------------------------------------------------------


_WATERMARK = b"checked-raft watermark"


def read_identity(path: Path) -> Identity:
    """Whose watermark this is; raises ``StorageDamaged``, naming both formats if it is of another.

    The format is in the first line, in words, so that every version can read that of every other.
    """
    if not path.exists():
        raise StorageDamaged(f"{path} is missing")
    with disk_errors(path), open(path, "rb") as file:
        header = file.read(_SLOT)
    first_line, _, rest = header.partition(b"\n")
    magic, number = first_line[: len(_WATERMARK)], first_line[len(_WATERMARK) :].strip() or b"1"
    if magic != _WATERMARK or not number.isdigit():
        raise StorageDamaged(f"{path} is damaged: it does not begin as a watermark does")
    if int(number) != FORMAT:
        raise StorageDamaged(
            f"{path}: the directory was written in format {int(number)}, and this version reads "
            f"format {FORMAT}: run the version that wrote it, or restore from a snapshot"
        )
    size = int.from_bytes(rest[:2], "big")
    digest, body = rest[2 : 2 + _DIGEST], rest[2 + _DIGEST : 2 + _DIGEST + size]
    if digest != _digest(body) or rest[2 + _DIGEST + size :].strip(b"\0"):
        raise StorageDamaged(f"{path} is damaged: its header is not what was written")
    _, cluster_id, server_id = _decode(body)
    return Identity(cluster_id=cluster_id, server_id=server_id)


class _Watermark:
    """(sequence, chain value) of the last batch that was acknowledged, in two slots in turn.

    The file is mapped into memory: to set it costs no system call, and the page cache keeps it
    when the process is killed.
    """

    def __init__(self, path: Path, owner: Identity) -> None:
        self._identity = bytes(owner)
        self._path = path
        found = read_identity(path)
        if found != owner:
            raise StorageDamaged(f"{path} is of {found}, not of {owner}")
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size != 3 * _SLOT:
                raise StorageDamaged(f"{path} has not the size of a watermark")
            self._map = mmap.mmap(descriptor, 3 * _SLOT)
        finally:
            os.close(descriptor)

    @staticmethod
    def _header(identity: bytes) -> bytes:
        first_line = b"%b %d\n" % (_WATERMARK, FORMAT)
        header = first_line + len(identity).to_bytes(2, "big") + _digest(identity) + identity
        assert len(header) <= _SLOT, "the name of a cluster is short"
        return header.ljust(_SLOT, b"\0")

    @classmethod
    def create(cls, path: Path, identity: bytes, chain: bytes) -> None:
        """A watermark that says: nothing was acknowledged yet."""
        slot = cls._slot(identity, 0, chain).ljust(_SLOT, b"\0")
        with open(path, "xb") as file:
            file.write(cls._header(identity) + slot + slot)
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _slot(identity: bytes, sequence: int, chain: bytes) -> bytes:
        content = sequence.to_bytes(8, "big") + chain
        return content + _digest(identity, content)

    def get(self) -> tuple[int, bytes]:
        """The newest readable slot: at most the last one can be torn or damaged."""
        found = []
        for start in (_SLOT, 2 * _SLOT):
            sequence = int.from_bytes(self._map[start : start + 8], "big")
            chain = self._map[start + 8 : start + 8 + _DIGEST]
            slot = self._slot(self._identity, sequence, chain)
            if self._map[start : start + len(slot)] == slot:
                found.append((sequence, chain))
        if not found:
            raise StorageDamaged(f"{self._path}: both slots are damaged")
        return max(found)

    def put(self, sequence: int, chain: bytes) -> None:
        """Batches up to ``sequence`` are durable and may be acknowledged."""
        slot = self._slot(self._identity, sequence, chain)
        start = _SLOT * (1 + sequence % 2)
        self._map[start : start + len(slot)] = slot

    def sync(self) -> None:
        """Make it survive a power cut too."""
        self._map.flush()

    def close(self) -> None:
        """Write it out and unmap it."""
        self._map.flush()
        self._map.close()


# --- The journal --------------------------------------------------------------------------------


def _connect(path: Path, flags: int, vfs: str) -> apsw.Connection:
    db = apsw.Connection(str(path), flags=flags, vfs=vfs or None)
    db.pragma("locking_mode", "exclusive")  # no shared memory file, no locks per transaction
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "full")
    db.pragma("wal_autocheckpoint", 0)  # it would keep a sync error to itself
    return db


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """What SQLite cannot open or read is damaged."""
    try:
        yield
    except apsw.FullError as error:
        raise DiskFull(f"{path}: {error}") from error
    except apsw.Error as error:
        raise StorageDamaged(f"{path} (with its -wal): {error}") from error


def _base_record(identity: bytes, stored: Stored, sequence: int, chain: bytes) -> bytes:
    """Row 0: whose journal this is, and what came of all rows up to ``sequence``."""
    body = _encode(
        (
            identity,
            _pack_configuration(stored.configuration),
            stored.current_term,
            stored.voted_for,
            None if stored.snapshot is None else _pack_snapshot(stored.snapshot),
            sequence,
            chain,
        )
    )
    return _digest(body) + body


@dataclass(frozen=True, slots=True)
class _Row:
    """What is to be known of a row that will become superfluous."""

    sequence: int
    chain: bytes
    last_index: int
    size: int


class Journal:
    """The batches of one server in a directory of its own; see the module."""

    def __init__(
        self, directory: Path, identity: Identity, *, wal_bytes: int, vfs: str = ""
    ) -> None:
        self._path = directory / "journal.db"
        self._identity = bytes(identity)
        self._wal_pages = wal_bytes // _PAGE
        self._rows: deque[_Row] = deque()
        self._garbage: deque[tuple[int, int]] = deque()
        self._failure: StorageError | None = None
        with disk_errors(directory):
            self._watermark = _Watermark(directory / "watermark", identity)
            if not vfs:
                grow(directory / "journal.db-wal", wal_bytes)
        with _damage(self._path):
            self._db = _connect(self._path, apsw.SQLITE_OPEN_READWRITE, vfs)
            # Stopping and crashing are the same; and what is refused is left as it was found.
            self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)

    @classmethod
    def create(
        cls, directory: Path, identity: Identity, configuration: Configuration, *, vfs: str = ""
    ) -> None:
        """The files of an empty journal, durable, in an empty directory."""
        start = _digest(bytes(identity))
        _Watermark.create(directory / "watermark", bytes(identity), start)
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        db = _connect(directory / "journal.db", flags, vfs)
        db.execute("CREATE TABLE journal (sequence INTEGER PRIMARY KEY, record BLOB NOT NULL)")
        base = _base_record(bytes(identity), Stored(configuration=configuration), 0, start)
        db.execute("INSERT INTO journal VALUES (0, ?)", (base,))
        db.close()

    def _read_base(self) -> tuple[Stored, int, bytes]:
        """What row 0 says: the outcome without entries, up to which row, and its chain value."""
        row = self._db.execute("SELECT record FROM journal WHERE sequence = 0").fetchone()
        record = row[0] if row else None
        if not isinstance(record, bytes) or record[:_DIGEST] != _digest(record[_DIGEST:]):
            raise StorageDamaged(f"{self._path}: its base (row 0) is damaged")
        identity, configuration, term, voted_for, snapshot, sequence, chain = _decode(
            record[_DIGEST:]
        )
        if identity != self._identity:
            raise StorageDamaged(
                f"{self._path} belongs to [format, cluster, server] {_decode(identity)}, "
                f"not to {_decode(self._identity)}"
            )
        outcome = Stored(
            configuration=_unpack_configuration(configuration),
            current_term=term,
            voted_for=voted_for,
            snapshot=None if snapshot is None else _unpack_snapshot(*snapshot),
        )
        return outcome, sequence, chain

    def load(self) -> Stored:
        """Replay and verify everything, once; raises ``StorageDamaged``."""
        acknowledged = self._watermark.get()
        with _damage(self._path):
            self._outcome, self._sequence, self._chain = self._read_base()
            base, stored = self._sequence, replace(self._outcome, entries=[])
            is_met = acknowledged[0] < base or acknowledged == (base, self._chain)
            for (found,) in self._db.execute("PRAGMA quick_check(1)"):
                if found != "ok":
                    raise StorageDamaged(f"{self._path}: {found}")
            for sequence, record in self._db.execute(
                "SELECT sequence, record FROM journal WHERE sequence > ? ORDER BY sequence",
                (base,),
            ):
                batch = self._verify(sequence, record)
                self._note(batch, len(record))
                for effect in batch:
                    stored.carry_out(effect)
                is_met = is_met or acknowledged == (sequence, self._chain)
            self._garbage.extend(
                self._db.execute(
                    "SELECT sequence, length(record) FROM journal WHERE sequence BETWEEN 1 AND ?",
                    (base,),
                )
            )
        if not is_met:
            raise StorageDamaged(
                f"{self._path} (with its -wal) lost acknowledged batches: it ends at number "
                f"{self._sequence}, or differs at {acknowledged[0]}, where the watermark stands"
            )
        self._watermark.put(self._sequence, self._chain)
        return stored

    def _verify(self, sequence: int, record: object) -> list[Persist]:
        """The batch in a row, which must be the one that follows."""
        if sequence != self._sequence + 1:
            raise StorageDamaged(f"{self._path}: batch {self._sequence + 1} is missing")
        if not isinstance(record, bytes) or record[:_DIGEST] != _chain(
            self._chain, sequence, record[_DIGEST:]
        ):
            raise StorageDamaged(f"{self._path}: batch {sequence} is damaged")
        self._sequence, self._chain = sequence, record[:_DIGEST]
        return [_unpack(packed) for packed in _decode(record[_DIGEST:])]

    def _note(self, batch: Sequence[Persist], size: int) -> None:
        """Remember what a row, which was just read or written, says."""
        self._rows.append(_Row(self._sequence, self._chain, _last_index(batch), size))
        for effect in batch:
            if not isinstance(effect, PersistEntries):
                self._outcome.carry_out(effect)

    def append(self, batch: Sequence[Persist]) -> None:
        """Make a batch durable, all of it or nothing; see ``Storage.write`` for what it raises."""
        if self._failure is not None:
            raise self._failure
        sequence = self._sequence + 1
        body = _encode([_pack(effect) for effect in batch])
        chain = _chain(self._chain, sequence, body)
        try:
            self._checkpoint_if_due()
            self._commit(sequence, chain + body)
        except (apsw.Error, OSError) as error:
            raise self._failed(error) from error
        self._watermark.put(sequence, chain)
        self._sequence, self._chain = sequence, chain
        self._note(batch, _DIGEST + len(body))

    def _commit(self, sequence: int, record: bytes) -> None:
        """Insert a row; remove a piece of what the snapshot has made superfluous, if anything."""
        insert = "INSERT INTO journal VALUES (?, ?)"
        covered = self._covered_rows()
        if not covered and not self._garbage:
            # One statement by itself: the whole transaction, its sync included, is one call that
            # does not hold the interpreter's lock.
            self._db.execute(insert, (sequence, record))
            return
        with self._transaction():
            self._db.execute(insert, (sequence, record))
            if covered:
                last = covered[-1]
                base = _base_record(self._identity, self._outcome, last.sequence, last.chain)
                self._db.execute("UPDATE journal SET record = ? WHERE sequence = 0", (base,))
            upto = self._piece_of_garbage()
            self._db.execute("DELETE FROM journal WHERE sequence BETWEEN 1 AND ?", (upto,))
        while self._garbage and self._garbage[0][0] <= upto:
            self._garbage.popleft()
        for row in covered:
            self._rows.popleft()
            self._garbage.append((row.sequence, row.size))

    def _covered_rows(self) -> list[_Row]:
        """The first rows, as far as they have nothing that the durable snapshot does not cover."""
        index = self._outcome.first_index
        return list(takewhile(lambda row: row.last_index < index, self._rows)) if index > 1 else []

    def _piece_of_garbage(self) -> int:
        """Up to which row to remove superfluous rows now."""
        size = upto = 0
        for upto, row_size in self._garbage:  # noqa: B007 (the last one is used)
            size += row_size
            if size >= DELETED_BYTES_PER_APPEND:
                break
        return upto

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _checkpoint_if_due(self) -> None:
        """Write the log back when it has its size; the next commit begins it anew."""
        if self._db.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0] < self._wal_pages:
            return
        self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self._watermark.sync()
        self._db.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE, reset=True)

    def _failed(self, error: apsw.Error | OSError) -> StorageError:
        """Without room nothing was written. Any other failure is final: see ``fsync(2)``."""
        number = error.errno if isinstance(error, OSError) else self._db.system_errno
        is_write = getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_WRITE
        if isinstance(error, apsw.FullError) or (is_write and number in NO_ROOM):
            return DiskFull(f"{self._path}: {error}")
        self._failure = StorageError(f"{self._path}: {error}")
        return self._failure

    def close(self) -> None:
        """Close; what was appended is durable anyway."""
        self._db.close()
        self._watermark.close()
