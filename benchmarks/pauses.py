"""``python -m benchmarks.pauses``: how long the server stands still, and how soon it is back.

Three nodes with a store of 100 MB, under load: the longest time for which a node's loop did nothing
else while snapshots were taken, and while one was installed on a node that had been away. Then how
long a node with 10^6 entries takes to start, and what a step costs as the log grows.

Each node tells twice a second how late its loop was at most for a call every millisecond
(``--node``). Lateness counts whatever keeps the loop waiting, other processes on the same cores
included; the second number is the processor time that the loop's own thread used between two calls.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import hiredis
import msgspec
import uvloop

from impl.addresses import WithAddresses
from impl.config import Settings, configure
from impl.local_cluster import choose_ports
from impl.node_commands import prepare_process
from impl.requests import command_of
from impl.server import serve
from impl.storage import Storage, open_storage
from impl.store import KeyValueStore
from spec.entries import Entries
from spec.events import (
    ClientRequest,
    DurableUpTo,
    PersistEntries,
    PersistSnapshot,
    PersistTermAndVote,
    Receive,
)
from spec.messages import AppendEntriesSuccess
from spec.raft import SERVER, recover, step
from spec.state import (
    NO_ROUND,
    Configuration,
    Entry,
    Index,
    IndexOf,
    Leader,
    Log,
    ServerId,
    Snapshot,
    Term,
)

T = TypeVar("T")

ROOT = Path(__file__).parent.parent
KEYS = 700_000
VALUE = b"x" * 128
ENTRIES = 1_000_000
PATIENCE_S = 60.0
TRAILING = 50_000
ALONE = ServerId(1)
ONE = Configuration(old=frozenset({ALONE}))


# --- One node that tells of its loop ------------------------------------------------------------


async def tell(file: Path) -> None:
    """Write a line every half second: when it was, the longest lateness, the longest work (ms)."""
    with file.open("a", encoding="ascii") as output:
        while True:
            late = worked = 0.0
            end = time.monotonic() + 0.5
            while (before := time.monotonic()) < end:
                busy = time.thread_time()
                await asyncio.sleep(0.001)
                late = max(late, time.monotonic() - before - 0.001)
                worked = max(worked, time.thread_time() - busy)
            print(f"{time.time():.3f} {1000 * late:.2f} {1000 * worked:.2f}", file=output)
            output.flush()


def run_node(flags: dict[str, str], file: Path) -> None:
    """A node as ``python -m impl serve`` runs it, watched."""

    def settings() -> Settings:
        return configure(flags, {}, None).settings

    async def both() -> str | None:
        telling = asyncio.create_task(tell(file))
        failure = await serve(settings(), settings)
        telling.cancel()
        return failure

    prepare_process()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(both()))


# --- The cluster and its load -------------------------------------------------------------------


class Connection:
    """A client that waits for its replies."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.reader = hiredis.Reader()

    def call(self, *words: bytes) -> object:
        """One command."""
        return self.pipeline([words])[0]

    def pipeline(self, commands: Sequence[Sequence[bytes]]) -> list[object]:
        """Many commands in one go."""
        self.socket.sendall(b"".join(pack(words) for words in commands))
        replies: list[object] = []
        while len(replies) < len(commands):
            reply = self.reader.gets()
            if reply is False:
                self.reader.feed(self.socket.recv(1 << 16))
            else:
                replies.append(reply)
        return replies

    def about(self) -> dict[str, str]:
        """The fields of INFO."""
        text = self.call(b"INFO")
        assert isinstance(text, bytes)
        return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)


@contextmanager
def nodes(folder: Path, size: int, **settings: str) -> Iterator[Nodes]:
    """A cluster of watched nodes."""
    cluster = Nodes(folder, size, settings)
    try:
        for i in cluster.ports:
            cluster.start(i)
        yield cluster
    finally:
        for process in cluster.processes.values():
            process.kill()
            process.wait()


class Nodes:
    """Processes of ``run_node``."""

    def __init__(self, folder: Path, size: int, settings: dict[str, str]) -> None:
        self.folder = folder
        self.ports = dict(enumerate(choose_ports(size, 18100), start=1))
        self.settings = settings
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, i: int) -> None:
        """Start one node."""
        members = ",".join(f"{j}=127.0.0.1:{p.peers}" for j, p in self.ports.items())
        flags = {
            "member": str(i),
            "members": members,
            "cluster": "pauses",
            "data_dir": str(self.folder / f"n{i}"),
            "listen_clients": f"127.0.0.1:{self.ports[i].clients}",
            **self.settings,
        }
        command = [sys.executable, "-m", "benchmarks.pauses", "--node", json.dumps(flags)]
        with (self.folder / f"n{i}.log").open("ab") as log:
            self.processes[i] = subprocess.Popen(
                [*command, "--tell", str(self.folder / f"n{i}.txt")],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def kill(self, i: int) -> None:
        """End one node at once."""
        self.processes[i].kill()
        self.processes[i].wait()

    def connect(self, i: int) -> Connection:
        """A connection, as soon as the node serves."""
        return soon(lambda: Connection(self.ports[i].clients))

    def status(self, i: int) -> dict[str, int]:
        """What the node says of itself."""
        text = self.connect(i).call(b"RAFT", b"STATUS")
        assert isinstance(text, bytes)
        found: dict[str, int] = json.loads(text)
        return found

    def longest(self, who: Sequence[int], since: float) -> tuple[float, float]:
        """The longest lateness and the longest work of the loops of some nodes (ms)."""
        late = worked = 0.0
        for i in who:
            for line in (self.folder / f"n{i}.txt").read_text(encoding="ascii").splitlines():
                at, *found = map(float, line.split())
                if at > since + 0.5:
                    late, worked = max(late, found[0]), max(worked, found[1])
        return late, worked


def pack(words: Sequence[bytes]) -> bytes:
    """One command in RESP."""
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))


def soon(what: Callable[[], T]) -> T:
    """The result of ``what`` as soon as it does not fail."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return what()
        except (OSError, ValueError, hiredis.HiredisError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def fill(connection: Connection) -> None:
    """Write about 100 MB."""
    for first in range(0, KEYS, 10_000):
        batches = []
        for start in range(first, first + 10_000, 200):
            words = [b"MSET"]
            for number in range(start, start + 200):
                words += [b"key:%012d" % number, VALUE]
            batches.append(words)
        assert set(connection.pipeline(batches)) == {b"OK"}


@contextmanager
def load(cluster: Nodes, leader: int) -> Iterator[None]:
    """64 connections that write."""
    command = [sys.executable, "-m", "benchmarks.load"]
    command += [f"127.0.0.1:{cluster.ports[leader].clients}", "--protocol", "resp"]
    command += ["--operation", "set", "--connections", "64", "--seconds", "300"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def until(what: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError("it does not come to be")
        time.sleep(0.1)


def pauses(folder: Path) -> list[str]:
    """The longest pauses, as rows of a table."""
    rows = []
    with nodes(folder, 3, snapshot_entries="300") as cluster:
        leader = soon(lambda: cluster.status(1)["leader"] or int("no leader yet"))
        everyone = list(cluster.ports)
        away = next(i for i in everyone if i != leader)
        fill(cluster.connect(leader))
        until(lambda: len({cluster.status(i)["applied_index"] for i in everyone}) == 1)
        with load(cluster, leader):
            time.sleep(1.5)
            began = time.time()
            first = cluster.status(leader)["snapshot_index"]
            until(lambda: cluster.status(leader)["snapshot_index"] > first)
            second = cluster.status(leader)["snapshot_index"]
            until(lambda: cluster.status(leader)["snapshot_index"] > second)
            rows.append(
                row("while snapshots of 100 MB are taken", *cluster.longest(everyone, began))
            )
            end = cluster.status(leader)["last_index"]
            cluster.kill(away)
            until(lambda: cluster.status(leader)["snapshot_index"] > end)
            cluster.start(away)
            cluster.connect(away)
            began = time.time()
            until(lambda: cluster.status(away)["snapshot_index"] > end)
            until(lambda: cluster.status(away)["applied_index"] > end)
            time.sleep(1.0)
            rows.append(row("while one is sent", *cluster.longest([leader], began)))
            rows.append(row("while one is received and installed", *cluster.longest([away], began)))
    return rows


def row(what: str, late: float, worked: float) -> str:
    """A line of the table."""
    return f"| the loop stands still {what}, at most | {late:.0f} ms | {worked:.0f} ms |"


# --- Starting with a long log -------------------------------------------------------------------


def write_log(folder: Path, *, has_snapshot: bool) -> None:
    """The data directory of a node alone that has had 10^6 entries of one command each.

    The last 50,000 follow the snapshot, if there is one: half of what the default lets grow.
    """
    storage = open_storage(folder, cluster_id="pauses", server_id=ALONE, configuration=ONE)
    storage.load()
    storage.write([PersistTermAndVote(current_term=Term(1), voted_for=ALONE)])
    machine = WithAddresses(KeyValueStore())
    for first in range(1, ENTRIES + 1, 200):
        if has_snapshot and first == ENTRIES - TRAILING + 1:
            save(storage, machine, Index(first - 1))
        commands = [
            msgspec.msgpack.encode(("set", b"key:%012d" % (number % KEYS), VALUE))
            for number in range(first, first + 200)
        ]
        entries = tuple(Entry(term=Term(1), payload=command_of(1, [c])) for c in commands)
        storage.write([PersistEntries(first_index=Index(first), entries=entries)])
        if has_snapshot and first <= ENTRIES - TRAILING:
            machine.apply(1, commands)
    for _ in range(1000):  # what the snapshot covers is removed a piece with each write
        storage.write([PersistTermAndVote(current_term=Term(1), voted_for=ALONE)])
    storage.close()


def save(storage: Storage, machine: WithAddresses, index: Index) -> None:
    """A snapshot of everything up to ``index``."""
    writer = storage.begin_snapshot()
    for chunk in machine.snapshot():
        writer.write(chunk)
    snapshot = Snapshot(
        last_included_index=index,
        last_included_term=Term(1),
        configuration=ONE,
        data=writer.finish(),
    )
    storage.write([PersistSnapshot(snapshot=snapshot)])


def start_s(folder: Path) -> float:
    """From the beginning of a process until it answers a read of the last key."""
    ports = choose_ports(1, 18400)[0]
    command = [sys.executable, "-m", "impl", "serve", "--member", "1", "--cluster", "pauses"]
    command += ["--members", f"1=127.0.0.1:{ports.peers}", "--data-dir", str(folder)]
    command += ["--listen-clients", f"127.0.0.1:{ports.clients}"]
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        connection = soon(lambda: Connection(ports.clients))
        while connection.call(b"GET", b"key:%012d" % (ENTRIES % KEYS)) != VALUE:
            time.sleep(0.01)
        return time.monotonic() - began
    finally:
        process.kill()
        process.wait()


def starts(folder: Path) -> list[str]:
    """How long nodes take to start, as rows of a table."""
    rows = []
    for name, has_snapshot in (("950,000 of them in a snapshot", True), ("no snapshot", False)):
        place = folder / f"start-{has_snapshot}"
        write_log(place, has_snapshot=has_snapshot)
        rows.append(f"| a node with 10^6 entries starts, {name} | {start_s(place):.1f} s | |")
    return rows


# --- A step -------------------------------------------------------------------------------------


def step_us(length: int) -> float:
    """What it costs a leader to take one command and to commit it, with a log of ``length``."""
    three = Configuration(old=frozenset(map(ServerId, (1, 2, 3))))
    entry = Entry(term=Term(1), payload=command_of(1, [b"x" * 150]))
    server = recover(
        server_id=ALONE,
        configuration=three,
        current_term=Term(1),
        voted_for=ALONE,
        log=Log(entries=Entries([entry] * length)),
    )
    end = Index(length)
    others = {ServerId(2): end, ServerId(3): end}
    leader = Leader(
        next_index=IndexOf.of({i: Index(end + 1) for i in others}), match_index=IndexOf.of(others)
    )
    server = replace(server, role=leader, commit_index=end)
    request = ClientRequest(commands=(command_of(1, [b"x" * 150]),))
    times = []
    for index in range(length + 1, length + 2001):
        success = AppendEntriesSuccess(term=Term(1), match_index=Index(index), round=NO_ROUND)
        began = time.perf_counter()
        server, _ = step(SERVER, server, request)
        server, _ = step(SERVER, server, DurableUpTo(term=Term(1), index=Index(index)))
        server, _ = step(SERVER, server, Receive(source=ServerId(2), message=success))
        times.append(time.perf_counter() - began)
        assert server.commit_index == index
    return 1e6 * statistics.median(times)


def steps() -> list[str]:
    """What steps cost, as a row of a table."""
    short, long = step_us(1000), step_us(1_000_000)
    return [
        f"| to take, write and commit an entry, three steps | {short:.0f} µs after 10^3 entries "
        f"| {long:.0f} µs after 10^6 |"
    ]


def table(folder: Path) -> list[str]:
    """All of it, as a table."""
    place = folder / "pauses"
    place.mkdir()
    heading = ["| | longest wait for the loop | longest work of its thread |", "|---|---|---|"]
    return [*heading, *pauses(place), *starts(place), *steps()]


def main() -> None:
    """Print the table, or run one node."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pauses", description=__doc__)
    parser.add_argument("--node", help="settings of a node to run, as JSON")
    parser.add_argument("--tell", type=Path, help="where it writes how late its loop is")
    options = parser.parse_args()
    if options.node is not None:
        run_node(json.loads(options.node), options.tell)
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        print("\n".join(table(Path(folder))))


if __name__ == "__main__":
    main()
