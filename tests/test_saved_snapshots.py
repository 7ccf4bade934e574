"""A saved snapshot is what it was, or is refused; what is restored is the state that was saved."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.__main__ import main
from impl.addresses import Place, WithAddresses
from impl.clock import Clock
from impl.compaction import Compaction, CompactionLimits, Files
from impl.config import Address
from impl.disk import StorageDamaged, StorageError
from impl.exports import PIECE_BYTES, Exports, describe
from impl.machine import StateMachine
from impl.requests import command_of
from impl.restoring import count_keys, read_state, replayed, restore, stopped
from impl.saved_snapshots import About, head, new_file, verify
from impl.snapshots import Chunked
from impl.storage import open_storage
from impl.store import KeyValueStore
from spec.entries import Entries
from spec.events import PersistEntries, PersistTermAndVote
from spec.raft import recover
from spec.state import Command, Configuration, Entry, Index, Log, ServerId, Snapshot, Term

ONE, TWO = ServerId(1), ServerId(2)
MEMBERS = {ONE: Address("127.0.0.1", 7001), TWO: Address("127.0.0.1", 7002)}
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a sync takes no time."""
STATES = st.dictionaries(st.binary(max_size=9), st.binary(max_size=99), max_size=40)


def setting(key: bytes, value: bytes) -> bytes:
    return msgspec.msgpack.encode(("set", key, value))


def state_of(values: dict[bytes, bytes]) -> WithAddresses:
    machine = WithAddresses(KeyValueStore())
    machine.book[ServerId(9)] = Place(Address("former.example", 1))
    machine.apply(1, [setting(key, value) for key, value in values.items()])
    return machine


def values_in(machine: WithAddresses) -> dict[bytes, object]:
    answer = machine.query(0, ("scan", 0, None, 10_000))
    assert isinstance(answer, list)
    assert isinstance(answer[1], list)
    return {bytes(key): machine.query(0, ("get", key)) for key in answer[1]}  # type: ignore[arg-type]


def save(path: Path, machine: WithAddresses, index: int = 7) -> About:
    covers = Snapshot(
        last_included_index=Index(index),
        last_included_term=Term(3),
        configuration=Configuration(old=frozenset({ServerId(9)})),
        data=b"",
    )
    with TemporaryFile() as contents, new_file(path) as file:
        written = Chunked(path, contents)
        for chunk in machine.snapshot():
            written.write(chunk)
        keys = count_keys(machine)
        about = describe(covers, cluster="old", member=ONE, keys=keys, written=written)
        contents.seek(0)
        file.write(head(about) + contents.read())
    return about


def forge(path: Path, contents: bytes, keys: int = 0) -> None:
    """A file whose digests are right and whose contents are whatever is given."""
    about = About(
        cluster="old",
        member=1,
        index=1,
        term=1,
        members=[1],
        joining=None,
        keys=keys,
        saved_at="now",
        version="0",
        size=len(contents),
        sha256=sha256(contents).hexdigest(),
    )
    path.write_bytes(head(about) + contents)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "saved"
    save(path, state_of({b"a": b"1", b"b": b"2" * 300}))
    return path


# --- Damage -------------------------------------------------------------------------------------


def test_every_flipped_byte_is_refused_in_one_line(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    said = set()
    for place in range(len(content)):
        content[place] ^= 1 << place % 8
        saved.write_bytes(content)
        with pytest.raises(StorageDamaged, match=str(saved)) as refusal:
            verify(saved)
        assert "\n" not in str(refusal.value)
        said.add(str(refusal.value).removeprefix(str(saved))[:12])
        content[place] ^= 1 << place % 8
    saved.write_bytes(content)
    verify(saved)
    assert {" is no saved", " has format ", ": the descri", ": the conten"} <= said


def test_a_file_that_is_cut_off_or_goes_on_is_refused(saved: Path) -> None:
    content = saved.read_bytes()
    for size in range(0, len(content), 7):
        saved.write_bytes(content[:size])
        with pytest.raises(StorageDamaged, match=str(saved)):
            verify(saved)
    saved.write_bytes(content + b"!")
    with pytest.raises(StorageDamaged, match="1 bytes follow its contents"):
        verify(saved)


HOSTILE = {
    "nothing": b"",
    "a chunk without end": b"\xff\xff\xff\xff",
    "no state": b"\0\0\0\2hi",
    "a book without end": b"\0\0\0\4\xff\xff\xff\xff",
    "no book": b"\0\0\0\5\0\0\0\1\x80\0\0\0\1\x01",
    "too deep": b"\0\0\0\5\0\0\0\1\x80" + b"\0\1\0\0" + b"\x91" * 65536,
}


@pytest.mark.parametrize("contents", HOSTILE.values(), ids=HOSTILE.keys())
def test_contents_that_are_no_state_are_refused_before_anything_is_made(
    tmp_path: Path, contents: bytes
) -> None:
    path = tmp_path / "forged"
    forge(path, contents)
    with pytest.raises(StorageDamaged, match=str(path)):
        restore(verify(path), cluster="new", members=MEMBERS, directories={ONE: tmp_path / "d"})
    assert [path] == list(tmp_path.iterdir())


@given(contents=st.binary(max_size=60))
def test_whatever_the_contents_are_they_end_in_a_state_or_a_refusal(contents: bytes) -> None:
    with TemporaryDirectory(dir=MEMORY) as directory:
        path = Path(directory) / "forged"
        forge(path, b"\0\0\0\5\0\0\0\1\x80" + len(contents).to_bytes(4, "big") + contents)
        with pytest.raises(StorageDamaged):
            read_state(verify(path))


def test_a_key_that_no_server_would_find_is_refused(tmp_path: Path) -> None:
    machine = state_of({b"a": b"1"})
    path = tmp_path / "saved"
    save(path, machine)
    *first, last = verify(path).chunks()
    ((number, records),) = msgspec.msgpack.decode(last, strict=False)
    chunks = [*first, msgspec.msgpack.encode([[number ^ 1, records]])]
    forge(path, b"".join(len(c).to_bytes(4, "big") + c for c in chunks), keys=1)
    with pytest.raises(StorageDamaged, match="has keys of another one"):
        read_state(verify(path))


def test_a_claim_of_terabytes_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "forged"
    forge(path, b"\xff\xff\xff\xff" + bytes(100))
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from pathlib import Path
from impl.restoring import read_state
from impl.saved_snapshots import verify
try:
    read_state(verify(Path({str(path)!r})))
except Exception as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "StorageDamaged\n", done.stderr


# --- Restoring ----------------------------------------------------------------------------------


@settings(max_examples=20)
@given(values=STATES)
def test_what_is_restored_is_what_was_saved(values: dict[bytes, bytes]) -> None:
    with TemporaryDirectory(dir=MEMORY) as name:
        directory = Path(name)
        path = directory / "saved"
        machine = state_of(values)
        about = save(path, machine)
        assert (about.index, about.term, about.keys) == (7, 3, len(values))
        directories = {ONE: directory / "deep" / "one", TWO: directory / "two"}
        restore(verify(path), cluster="new", members=MEMBERS, directories=directories)
        for member, where in directories.items():
            with stopped(where) as (owner, storage):
                covers, restored = replayed(storage, owner)
            assert (owner.cluster_id, owner.server_id) == ("new", member)
            assert (covers.last_included_index, covers.last_included_term) == (7, 3)
            assert covers.configuration == Configuration(old=frozenset(MEMBERS))
            assert restored.book == {m: Place(address) for m, address in MEMBERS.items()}
            assert values_in(restored) == values


def test_nothing_is_overwritten_and_nothing_is_left_of_a_failure(
    saved: Path, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_text("precious")
    free = tmp_path / "free"
    with pytest.raises(StorageError, match="full is not empty"):
        restore(verify(saved), cluster="new", members=MEMBERS, directories={ONE: free, TWO: full})
    below = saved / "below"  # a file is no directory to make one in
    with pytest.raises(StorageError):
        restore(verify(saved), cluster="new", members=MEMBERS, directories={ONE: free, TWO: below})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "saved"]
    assert (full / "file").read_text() == "precious"


def test_a_stopped_node_is_saved_with_all_that_is_in_its_log(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    configuration = Configuration(old=frozenset({ONE}))
    storage = open_storage(directory, cluster_id="old", server_id=ONE, configuration=configuration)
    storage.load()
    entries = [
        Entry(term=Term(2), payload=Command(data=command_of(1, [setting(b"k", value)]).data))
        for value in (b"1", b"2")
    ]
    vote = PersistTermAndVote(current_term=Term(2), voted_for=ONE)
    storage.write([vote, PersistEntries(first_index=Index(1), entries=tuple(entries))])
    run = CliRunner()
    words = ["snapshot", "save", str(tmp_path / "file"), "--data-dir", str(directory)]
    busy = run.invoke(main, words)
    assert (busy.exit_code, "is used by process" in busy.output) == (1, True)
    storage.close()
    assert run.invoke(main, words).exit_code == 0
    found = verify(tmp_path / "file")
    assert (found.about.index, found.about.term, found.about.members) == (2, 2, [1])
    assert values_in(read_state(found)) == {b"k": b"2"}


# --- From a node that runs ----------------------------------------------------------------------


class FakeNode:
    """A node whose state is some chunks; another image is drawn until it was asked twice."""

    def __init__(self, *chunks: bytes, index: int = 7) -> None:
        self.chunks = chunks
        self.index = index
        self.asked = self.ended = 0

    def begin_export(self) -> tuple[Snapshot, Iterator[bytes]] | None:
        """Not at first."""
        self.asked += 1
        if self.asked < 2:
            return None
        covers = Snapshot(
            last_included_index=Index(self.index),
            last_included_term=Term(3),
            configuration=Configuration(old=frozenset({ONE}), new=frozenset({TWO})),
            data=b"",
        )
        return covers, iter(self.chunks)

    def end_export(self) -> None:
        """Counted."""
        self.ended += 1


def exports_of(node: FakeNode, directory: Path) -> Exports:
    return Exports(node=node, directory=directory, cluster="old", member=ONE, count_keys=lambda: 5)


def test_a_state_is_read_in_pieces_while_newer_ones_take_its_place(tmp_path: Path) -> None:
    node = FakeNode(b"x" * PIECE_BYTES, b"rest")
    exports = exports_of(node, tmp_path)

    async def fetch() -> tuple[About, bytes]:
        about = await exports.take()
        node.chunks = (b"another",)
        await exports.take()
        content = b""
        while piece := exports.read(about.sha256, len(content)):
            content += piece
        exports.read((await exports.take()).sha256, 0)
        assert exports.read(about.sha256, 0) is not None
        node.chunks = (b"a third",)
        await exports.take()  # more than are kept open: the one that was not read is closed
        assert exports.read(about.sha256, 0) is not None
        exports.close()
        assert exports.read(about.sha256, 0) is None
        return about, content

    about, content = asyncio.run(fetch())
    assert (about.index, about.members, about.joining, about.keys) == (7, [1], [2], 5)
    assert (about.size, about.sha256) == (len(content), sha256(content).hexdigest())
    path = tmp_path / "file"
    path.write_bytes(head(about) + content)
    assert list(verify(path).chunks()) == [b"x" * PIECE_BYTES, b"rest"]
    path.unlink()
    assert node.ended == 4
    assert not list(tmp_path.iterdir())


def test_a_state_that_cannot_be_written_lets_the_next_one_be_drawn(tmp_path: Path) -> None:
    node = FakeNode(b"x")
    with pytest.raises(StorageError):
        asyncio.run(exports_of(node, tmp_path / "missing").take())
    node.index = 0
    with pytest.raises(StorageError, match="nothing to save yet"):
        asyncio.run(exports_of(node, tmp_path).take())
    assert node.ended == 2


def test_one_image_is_drawn_at_a_time() -> None:
    """The map keeps what only one image has not reached yet: a second one would tear the first."""
    saving: list[Callable[[bytes | None], None]] = []
    compaction = Compaction(
        files=cast(Files, SimpleNamespace(save=lambda chunks, done: saving.append(done))),
        machine=state_of({b"a": b"1"}),
        clock=cast(Clock, SimpleNamespace(now=lambda: 0.0)),
        limits=CompactionLimits(entries=1, trailing_entries=0),
        send=lambda to, message: None,
        install=lambda source, message: None,
    )
    entry = Entry(term=Term(1), payload=Command(data=b""))
    server = recover(
        server_id=ONE,
        configuration=Configuration(old=frozenset({ONE})),
        current_term=Term(1),
        voted_for=None,
        log=Log(entries=Entries([entry])),
    )
    assert compaction.begin_export() is not None
    assert compaction.begin_export() is None
    compaction.next_event(server, Index(1))
    assert not saving, "a snapshot is due, and waits"
    compaction.end_export()
    compaction.next_event(server, Index(1))
    (done,) = saving
    assert compaction.begin_export() is None
    done(b"reference")
    assert compaction.begin_export() is not None


def test_no_half_restored_state_is_exported() -> None:
    later: list[Callable[[], None]] = []
    clock = SimpleNamespace(now=lambda: 0.0, call_later=lambda delay, call: later.append(call))
    compaction = Compaction(
        files=cast(Files, SimpleNamespace(chunks=lambda data: [])),
        machine=cast(
            StateMachine,
            SimpleNamespace(restore=lambda chunks: iter([None, None]), snapshot=lambda: iter([])),
        ),
        clock=cast(Clock, clock),
        limits=CompactionLimits(slice_s=0.0),
        send=lambda to, message: None,
        install=lambda source, message: None,
    )
    compaction.restore(b"reference", lambda: None)
    while later:
        assert compaction.begin_export() is None
        later.pop()()
    assert compaction.begin_export() is not None


def test_what_nobody_reads_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forget() -> bytes | None:
        exports = exports_of(FakeNode(b"x"), tmp_path)
        about = await exports.take()
        exports.close_idle()
        assert exports.read(about.sha256, 0)
        monkeypatch.setattr("impl.exports.IDLE_S", -1.0)
        exports.close_idle()
        return exports.read(about.sha256, 0)

    assert asyncio.run(forget()) is None


# --- The command --------------------------------------------------------------------------------


def lines_of(*words: str) -> Iterator[tuple[int, str]]:
    done = CliRunner().invoke(main, ["snapshot", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    yield done.exit_code, done.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["verify", "{saved}"], 0, "is whole: 2 keys up to index 7"),
        (["inspect", "{saved}", "-w", "simple"], 0, "old\t1\t7\t3\t9\t-\t2\t"),
        (["verify", "{dir}/missing"], 2, "does not exist"),
        (["verify", "{dir}/damaged"], 1, "the contents are damaged"),
        (["inspect", "{dir}/damaged"], 1, "the contents are damaged"),
        (
            ["restore", "{saved}", "1={dir}/d", "--members", "1=h:1", "--cluster", "old"],
            2,
            "former",
        ),
        (["restore", "{saved}", "1={dir}/d", "--members", "1=h:1", "--cluster", "a b"], 2, "name"),
        (["restore", "{saved}", "2={dir}/d", "--members", "1=h:1"], 2, "n2 is not among"),
        (["restore", "{saved}", "d", "--members", "1=h:1"], 2, "as 1=data1"),
        (["restore", "{saved}", "1=d", "2=d", "--members", "1=h:1,2=h:2"], 2, "of its own"),
        (["restore", "{dir}/damaged", "1={dir}/d", "--members", "1=h:1"], 1, "damaged"),
        (["save", "{saved}"], 1, "exists already"),
        (["save", "{dir}/no/file"], 1, "there is no directory"),
        (["save", "{dir}/f", "--data-dir", "{dir}"], 1, "is no data directory of a node"),
        (["save", "{dir}/f", "--endpoints", "127.0.0.1:1", "--timeout", "1"], 3, "refused"),
    ],
)
def test_the_command_says_what_is_wrong(
    saved: Path, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    content = saved.read_bytes()
    (tmp_path / "damaged").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    before = sorted(tmp_path.iterdir())
    (found,) = lines_of(*(word.format(saved=saved, dir=tmp_path) for word in words))
    assert (found[0], said in found[1]) == (code, True), found
    assert sorted(tmp_path.iterdir()) == before


def test_a_restored_cluster_has_a_new_name(saved: Path, tmp_path: Path) -> None:
    names = set()
    for number in (1, 2):
        words = ["restore", str(saved), f"1={tmp_path}/{number}", "--members", "1=h:1"]
        ((code, output),) = lines_of(*words, "-w", "json")
        assert code == 0, output
        names.add(msgspec.json.decode(output)[0]["cluster"])
    assert len(names) == 2
    assert all(name.startswith("old-") for name in names)
