"""The disk of a server: nothing that was acknowledged is lost, whatever happens to the files."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.disk import DirectoryInUse, DiskFull, SnapshotGone, StorageDamaged, StorageError
from impl.journal import Stored
from impl.storage import MemoryStorage, SqliteStorage, Storage, open_storage
from spec.events import Persist, PersistEntries, PersistSnapshot, PersistTermAndVote
from spec.state import Command, Configuration, Entry, Index, NoOp, ServerId, Snapshot, Term

FIRST = Configuration(old=frozenset(map(ServerId, (1, 2, 3))))
"""``make check-all`` flips every byte; otherwise a sample."""


def opened(directory: Path, *, wal_bytes: int = 1 << 14, vfs: str = "") -> SqliteStorage:
    return open_storage(
        directory,
        cluster_id="blue",
        server_id=ServerId(2),
        configuration=FIRST,
        wal_bytes=wal_bytes,
        vfs=vfs,
    )


def loaded(directory: Path) -> Stored:
    """What a new process finds."""
    storage = opened(directory)
    try:
        return storage.load()
    finally:
        storage.close()


def entry(term: int, data: bytes = b"x") -> Entry:
    return Entry(term=Term(term), payload=Command(data=data))


def entries(first: int, *those: Entry) -> PersistEntries:
    return PersistEntries(first_index=Index(first), entries=those)


def vote(term: int, voted_for: int | None = None) -> PersistTermAndVote:
    candidate = None if voted_for is None else ServerId(voted_for)
    return PersistTermAndVote(current_term=Term(term), voted_for=candidate)


def snapshot(index: int, data: bytes) -> PersistSnapshot:
    return PersistSnapshot(
        snapshot=Snapshot(
            last_included_index=Index(index),
            last_included_term=Term(1),
            configuration=FIRST,
            data=data,
        )
    )


def take(storage: Storage, *chunks: bytes) -> bytes:
    """Write a snapshot file; its reference."""
    writer = storage.begin_snapshot()
    for chunk in chunks:
        writer.write(chunk)
    return writer.finish()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory in memory where there is one: thousands of synchronised writes go there."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name) / "node"


# --- What is written is what is loaded ----------------------------------------------------------

PAYLOADS = st.one_of(
    st.binary(max_size=5000).map(lambda data: Command(data=data)),
    st.builds(NoOp),
    st.just(FIRST),
    st.just(Configuration(old=frozenset({ServerId(1)}), new=frozenset({ServerId(9)}))),
)


@st.composite
def batches(draw: st.DrawFn) -> list[list[Persist]]:
    """Effects as Raft could ask for them: no gap in the log, nothing below a snapshot."""
    base, last, found = 0, 0, []
    for _ in range(draw(st.integers(1, 12))):
        batch: list[Persist] = []
        for kind in draw(st.lists(st.sampled_from(["vote", "entries", "snapshot"]), max_size=3)):
            if kind == "vote":
                batch.append(vote(draw(st.integers(0, 9)), draw(st.none() | st.integers(1, 3))))
            elif kind == "entries":
                first = draw(st.integers(base + 1, last + 1))
                payloads = draw(st.lists(PAYLOADS, max_size=4))
                batch.append(entries(first, *(Entry(term=Term(1), payload=p) for p in payloads)))
                last = first + len(payloads) - 1
            else:
                base = draw(st.integers(base + 1, last + 3))
                last = max(last, base)
                batch.append(snapshot(base, b""))
        found.append(batch)
    return found


def with_files(storage: Storage, batch: Sequence[Persist]) -> list[Persist]:
    """The batch, its snapshots referring to files that there are."""
    return [
        snapshot(e.snapshot.last_included_index, take(storage, b"state", b"", bytes(9)))
        if isinstance(e, PersistSnapshot)
        else e
        for e in batch
    ]


@settings(max_examples=30)
@given(batches())
def test_a_new_process_loads_what_was_written(written: list[list[Persist]]) -> None:
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        directory = Path(name)
        expected = Stored(configuration=FIRST)
        for batch in written:
            storage = opened(directory / "node")
            assert storage.load() == expected
            effects = with_files(storage, batch)
            storage.write(effects)
            for effect in effects:
                expected.carry_out(effect)
            shutil.copytree(directory / "node", directory / "killed", dirs_exist_ok=True)
            storage.close()
            assert loaded(directory / "killed") == expected, "after kill -9"
            shutil.rmtree(directory / "killed")
        assert loaded(directory / "node") == expected


@given(batches(), st.data())
def test_the_simulated_disk_keeps_a_prefix_of_the_batches(
    written: list[list[Persist]], data: st.DataObject
) -> None:
    disk = MemoryStorage(FIRST, syncs_itself=False)
    for batch in written:
        disk.write(batch)
    kept = data.draw(st.integers(0, len(written)))
    disk.sync(kept)
    disk.crash()
    expected = Stored(configuration=FIRST)
    for batch in written[:kept]:
        for effect in batch:
            expected.carry_out(effect)
    assert disk.load() == expected


def test_a_snapshot_that_was_taken_is_read_in_its_chunks(directory: Path) -> None:
    storage = opened(directory)
    storage.load()
    data = take(storage, b"one", b"", b"three" * 100_000)
    assert list(storage.snapshot_chunks(data)) == [b"one", b"", b"three" * 100_000]
    storage.close()


# --- Damage -------------------------------------------------------------------------------------


def filled(directory: Path) -> Stored:
    """A directory as a killed process leaves it, with all that a directory can have."""
    storage = opened(directory)
    storage.load()
    storage.write([vote(1, 2), entries(1, entry(1, b"a" * 3000), entry(1, b"b" * 6000))])
    for index in range(3, 9):
        storage.write([entries(index, entry(1, bytes([index]) * 700))])
    storage.write([snapshot(7, take(storage, b"the state", b"of the machine"))])
    storage.write([entries(9, entry(2), entry(2))])
    storage.write([vote(3, 1), entries(10, entry(3, b"c" * 900))])
    for index in range(11, 19):  # more than the write-ahead log holds: the first are written back
        storage.write([entries(index, entry(3, b"live" * 200))])
    storage.write([entries(19, entry(3, b"last"))])
    killed = directory.with_name("killed")
    shutil.copytree(directory, killed)
    storage.close()
    shutil.rmtree(directory)
    killed.rename(directory)
    expected = loaded_copy(directory)
    assert (len(expected.entries), expected.current_term) == (12, 3)
    return expected


def loaded_copy(directory: Path) -> Stored:
    """What a process would find, which is not let near the files."""
    copy = directory.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory, copy)
    storage = opened(copy)
    try:
        stored = storage.load()
        if stored.snapshot is not None:
            assert b"".join(storage.snapshot_chunks(stored.snapshot.data)).startswith(b"the state")
        storage.write([vote(stored.current_term)])  # what is silently broken breaks now
    finally:
        storage.close()
    assert loaded(copy).entries == stored.entries
    return stored


def assert_refused_or_recovered(directory: Path, file: Path, expected: Stored) -> bool:
    """After ``file`` was damaged: is it refused, by name? Otherwise all must be there."""
    try:
        assert loaded_copy(directory) == expected, f"silent loss after damage of {file.name}"
    except StorageDamaged as refusal:
        names = str(refusal)
    else:
        return False
    assert file.name.removesuffix("-wal") in names
    return True


def stored_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("places", [120, pytest.param(1 << 30, marks=pytest.mark.long)], ids=str)
def test_every_flipped_byte_is_refused_or_harmless(directory: Path, places: int) -> None:
    expected = filled(directory)
    refused: dict[str, int] = {}
    for file in stored_files(directory):
        content = bytearray(file.read_bytes())
        step = max(1, len(content) // places)
        for place in range(0, len(content), step):
            content[place] ^= 0xFF if place % 2 else 1 << place // 2 % 8
            file.write_bytes(content)
            is_refused = assert_refused_or_recovered(directory, file, expected)
            refused[file.name] = refused.get(file.name, 0) + is_refused
            content[place] ^= 0xFF if place % 2 else 1 << place // 2 % 8
        file.write_bytes(content)
    assert refused["lock"] == 0
    assert sum(count > 0 for count in refused.values()) == len(refused) - 1, refused


@pytest.mark.parametrize("content", [b"blue", b"c" * 50, b"live" * 10], ids=["base", "c", "live"])
def test_what_only_our_digests_guard_is_refused(directory: Path, content: bytes) -> None:
    """Bytes of rows that are in the database file: SQLite has no checksum for them."""
    expected = filled(directory)
    file = directory / "store" / "journal.db"
    stored = bytearray(file.read_bytes())
    start = stored.rindex(content)
    for place in range(start, start + 40):
        stored[place] ^= 1
        file.write_bytes(stored)
        assert assert_refused_or_recovered(directory, file, expected)
        stored[place] ^= 1


def test_truncated_and_missing_files_are_refused_or_harmless(directory: Path) -> None:
    expected = filled(directory)
    for file in stored_files(directory):
        content = file.read_bytes()
        for size in sorted({0, *range(1, len(content), max(1, len(content) // 40))}):
            file.write_bytes(content[:size])
            assert_refused_or_recovered(directory, file, expected)
        file.unlink()
        is_refused = assert_refused_or_recovered(directory, file, expected)
        assert is_refused or file.name == "lock"
        file.write_bytes(content)


def test_a_store_that_is_gone_is_missed_when_there_are_snapshots(directory: Path) -> None:
    filled(directory)
    shutil.rmtree(directory / "store")
    with pytest.raises(StorageDamaged, match="store is missing"):
        opened(directory)


def test_an_unfinished_last_write_is_undone(directory: Path) -> None:
    storage = opened(directory, wal_bytes=1 << 16)
    storage.load()
    wal = directory / "store" / "journal.db-wal"
    before = wal.read_bytes()
    storage.write([vote(1, 2), entries(1, entry(1, b"one"))])
    watermark = (directory / "store" / "watermark").read_bytes()
    middle = wal.read_bytes()
    storage.write([vote(2), entries(1, entry(2, b"two" * 3000))])
    after = wal.read_bytes()
    killed = directory.with_name("killed")
    shutil.copytree(directory, killed)
    storage.close()
    seen = set()
    assert before != middle != after
    changed = [i for i, (x, y) in enumerate(zip(middle, after, strict=True)) if x != y]
    (killed / "store" / "watermark").write_bytes(watermark)
    for end in range(changed[0], changed[-1] + 2, 97):
        (killed / "store" / "journal.db-wal").write_bytes(after[:end] + middle[end:])
        seen.add(loaded_term(killed))
    (killed / "store" / "journal.db-wal").write_bytes(after)
    seen.add(loaded_term(killed))
    assert seen == {1, 2}


def loaded_term(directory: Path) -> int:
    copy = directory.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory, copy)
    stored = loaded(copy)
    assert stored.entries[0].term == stored.current_term, "half a batch"
    return stored.current_term


def test_a_creation_that_was_cut_off_begins_anew(directory: Path) -> None:
    (directory / "store.new").mkdir(parents=True)
    (directory / "store.new" / "watermark").write_bytes(b"half")
    assert loaded(directory) == Stored(configuration=FIRST)


@pytest.mark.parametrize("other", [("red", 2), ("blue", 3)], ids=["cluster", "server"])
def test_somebody_elses_files_are_refused(directory: Path, other: tuple[str, int]) -> None:
    filled(directory)
    cluster_id, server_id = other
    with pytest.raises(StorageDamaged, match=r"watermark is of n2 of cluster .blue., not of n"):
        open_storage(
            directory, cluster_id=cluster_id, server_id=ServerId(server_id), configuration=FIRST
        )


def test_a_directory_of_an_older_format_is_refused_naming_both(directory: Path) -> None:
    """The fixture was written by the version that had format 1; it is left as it was."""
    shutil.copytree(Path(__file__).parent / "data" / "format-1", directory)
    before = {path: path.read_bytes() for path in stored_files(directory)}
    with pytest.raises(StorageDamaged, match=r"in format 1, and this version reads format 2") as no:
        open_storage(directory, cluster_id="raft", server_id=ServerId(1), configuration=FIRST)
    assert "\n" not in str(no.value)
    assert {path: path.read_bytes() for path in before} == before


def test_a_directory_of_a_newer_format_is_refused_too(directory: Path) -> None:
    filled(directory)
    watermark = directory / "store" / "watermark"
    content = watermark.read_bytes()
    watermark.write_bytes(content.replace(b"watermark 2\n", b"watermark 9\n"))
    with pytest.raises(StorageDamaged, match="in format 9, and this version reads format 2"):
        opened(directory)


def test_somebody_elses_journal_is_refused(directory: Path) -> None:
    filled(directory)
    other = directory.with_name("other")
    open_storage(other, cluster_id="blue", server_id=ServerId(3), configuration=FIRST).close()
    (directory / "store" / "journal.db-wal").unlink()
    shutil.copy(other / "store" / "journal.db", directory / "store" / "journal.db")
    with pytest.raises(StorageDamaged, match=r"journal.db belongs to"):
        loaded(directory)


# --- One process, private files -----------------------------------------------------------------


def test_two_processes_on_one_directory(directory: Path) -> None:
    storage = opened(directory)
    with pytest.raises(DirectoryInUse, match=f"used by process {os.getpid()}"):
        opened(directory)
    storage.close()
    opened(directory).close()


def test_nobody_else_may_read_the_directory(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    opened(directory).close()
    assert directory.stat().st_mode & 0o777 == 0o700


def test_the_first_configuration_is_kept(directory: Path) -> None:
    opened(directory).close()
    storage = open_storage(
        directory,
        cluster_id="blue",
        server_id=ServerId(2),
        configuration=Configuration(old=frozenset({ServerId(7)})),
    )
    assert storage.load().configuration == FIRST
    storage.close()


# --- Failing disks ------------------------------------------------------------------------------


class FaultyDisk(apsw.VFS):
    """SQLite's file layer, with faults on demand."""

    def __init__(self) -> None:
        self.fails_to_sync = False
        self.room: int | None = None
        super().__init__("faulty", "")

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: D102
        return FaultyFile(self, name, flags)


class FaultyFile(apsw.VFSFile):
    """A file on a ``FaultyDisk``."""

    def __init__(self, disk: FaultyDisk, name: object, flags: list[int]) -> None:
        self._disk = disk
        super().__init__("", name, flags)  # type: ignore[arg-type]

    def xSync(self, flags: int) -> None:  # noqa: D102
        if self._disk.fails_to_sync:
            raise apsw.IOError("the disk fails")
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: D102
        if self._disk.room is not None:
            self._disk.room -= len(data)
            if self._disk.room < 0:
                raise apsw.FullError("no room")
        super().xWrite(data, offset)


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.unregister()


def test_a_sync_error_is_final(directory: Path, disk: FaultyDisk) -> None:
    storage = opened(directory, vfs="faulty")
    storage.load()
    storage.write([vote(1)])
    disk.fails_to_sync = True
    with pytest.raises(StorageError):
        storage.write([vote(2)])
    disk.fails_to_sync = False
    with pytest.raises(StorageError, match="the disk fails"):
        storage.write([vote(3)])
    storage.close()
    assert loaded(directory).current_term in {1, 2}


def test_a_sync_error_of_a_checkpoint_is_final(directory: Path, disk: FaultyDisk) -> None:
    storage = opened(directory, vfs="faulty", wal_bytes=4096)
    storage.load()
    storage.write([vote(1)])
    disk.fails_to_sync = True
    with pytest.raises(StorageError):
        storage.write([vote(2)])
    disk.fails_to_sync = False
    storage.close()
    assert loaded(directory).current_term == 1


@settings(max_examples=40)
@given(st.integers(0, 90_000), st.integers(1, 40_000))
def test_a_full_disk_loses_nothing(room: int, size: int) -> None:
    disk = FaultyDisk()
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        directory = Path(name) / "node"
        storage = opened(directory, vfs="faulty")
        storage.load()
        disk.room = room
        written = []
        for number in range(1, 12):
            taken = entries(number, entry(1, bytes([number]) * size))
            batch: list[Persist] = [vote(number), taken]
            try:
                storage.write(batch)
            except DiskFull:
                disk.room = None  # somebody makes room: the same batch goes through
                storage.write(batch)
            written.append(taken)
        shutil.copytree(directory, Path(name) / "killed")
        storage.close()
        for place in (directory, Path(name) / "killed"):
            stored = loaded(place)
            assert stored.current_term == 11
            assert [entries(i, e) for i, e in enumerate(stored.entries, 1)] == written
    disk.unregister()


def test_a_file_size_limit_of_the_system_counts_as_a_full_disk(directory: Path) -> None:
    program = f"""
import resource
from pathlib import Path
from tests.test_storage import DiskFull, entries, entry, opened, take
storage = opened(Path({str(directory)!r}))
storage.load()
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
number = 0
try:
    while True:
        storage.write([entries(number + 1, entry(1, bytes(50_000)))])
        number += 1
except DiskFull:
    pass
writer = storage.begin_snapshot()
try:
    for _ in range(40):
        writer.write(bytes(50_000))
    writer.finish()
except DiskFull:
    writer.abort()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
storage.write([entries(number + 1, entry(2))])
print(number)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    stored = loaded(directory)
    assert [e.term for e in stored.entries] == [1] * int(run.stdout) + [2]
    assert int(run.stdout) > 5
    assert not any((directory / "snapshots").iterdir())
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


# --- Snapshots ----------------------------------------------------------------------------------


def test_an_old_snapshot_goes_when_the_new_one_is_durable(directory: Path) -> None:
    storage = opened(directory)
    storage.load()
    storage.write([entries(1, *(entry(1) for _ in range(9)))])
    old = take(storage, b"old")
    storage.write([snapshot(3, old)])
    new = take(storage, b"new")
    assert list(storage.snapshot_chunks(old)) == [b"old"]
    storage.write([snapshot(5, new)])
    with pytest.raises(SnapshotGone):
        storage.read_snapshot(old, 0, 10)
    assert list(storage.snapshot_chunks(new)) == [b"new"]
    orphan = take(storage, b"not referred to")
    storage.close()
    storage = opened(directory)
    assert storage.load().entries == [entry(1)] * 4
    with pytest.raises(StorageDamaged, match="missing"):
        list(storage.snapshot_chunks(orphan))
    storage.close()


def test_what_a_snapshot_covers_is_removed_bit_by_bit(directory: Path) -> None:
    storage = opened(directory, wal_bytes=1 << 20)
    storage.load()
    for index in range(1, 201):
        storage.write([entries(index, entry(1, bytes(20_000)))])
    storage.write([snapshot(200, take(storage, b"state"))])
    sizes = []
    for index in range(201, 401):
        storage.write([entries(index, entry(1, bytes(20_000)))])
        sizes.append((directory / "store" / "journal.db").stat().st_size)
    assert sizes[-1] < 1.3 * sizes[0], "the space of what is covered is used again"
    storage.close()
    assert [len(e.payload.data) for e in loaded(directory).entries] == [20_000] * 200  # type: ignore[union-attr]


@settings(max_examples=20)
@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(50, 400), st.booleans())
def test_a_snapshot_is_received_in_pieces(chunks: list[bytes], size: int, resumes: bool) -> None:
    with TemporaryDirectory() as name:
        here, there = opened(Path(name) / "here"), opened(Path(name) / "there")
        data = take(here, *chunks)
        receiver = there.receive_snapshot(data)
        while piece := here.read_snapshot(data, receiver.offset, size):
            receiver.write(receiver.offset, piece)
            receiver.write(0, piece)  # late or twice: ignored, unless it is the next one
            if resumes:
                receiver.close()
                receiver = there.receive_snapshot(data)
        receiver.finish()
        assert list(there.snapshot_chunks(data)) == chunks
        again = there.receive_snapshot(data)
        assert again.is_complete
        assert here.read_snapshot(data, again.offset, 1) == b""
        here.close()
        there.close()


def test_a_snapshot_that_arrives_damaged_is_refused_and_begun_anew(directory: Path) -> None:
    storage = opened(directory)
    data = take(storage, b"state" * 50)
    content = storage.read_snapshot(data, 0, 10_000)
    other = opened(directory.with_name("other"))
    receiver = other.receive_snapshot(data)
    receiver.write(0, content[:100] + b"!" + content[101:])
    with pytest.raises(StorageDamaged, match="is damaged"):
        receiver.finish()
    receiver = other.receive_snapshot(data)
    assert receiver.offset == 0
    receiver.write(0, content + b"too much")
    assert receiver.offset == 0
    receiver.write(0, content)
    receiver.finish()
    assert list(other.snapshot_chunks(data)) == [b"state" * 50]
    storage.close()
    other.close()
