"""``python -m benchmarks.server``: the server beside etcd and PySyncObj, under one load.

Three nodes and the load share this machine. Every server gets the same closed loop of clients
(``benchmarks.load``), sent to its leader; ours also gets redis-benchmark. ``--write`` puts the
tables into BENCHMARKS.md. A server that is not installed gets a row that says so.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import hiredis

from benchmarks import outages, pauses
from benchmarks.peers import NotInstalled
from impl.local_cluster import LocalCluster, choose_ports
from model_check.bench import machine, replace_between

BEGIN, END = "<!-- begin: make bench-server -->", "<!-- end: make bench-server -->"
ROOT = Path(__file__).parent.parent
CONNECTIONS = (1, 16, 64, 256)
START_S = 20.0


@dataclass(frozen=True, slots=True)
class Served:
    """A cluster that serves: where its leader is, and its processes."""

    leader: str
    protocol: str
    pids: Sequence[int]


def wait_for(what: Callable[[], str | None], name: str) -> str:
    """What ``what`` returns as soon as it is not None."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError, LookupError):
            if (found := what()) is not None:
                return found
        time.sleep(0.05)
    raise TimeoutError(f"{name} has no leader after {START_S:.0f} s")


def ask(port: int, *words: str) -> object:
    """The reply of a server that speaks Redis' protocol."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        parts = [b"$%d\r\n%b\r\n" % (len(w), w.encode()) for w in words]
        connection.sendall(b"*%d\r\n%b" % (len(words), b"".join(parts)))
        reader = hiredis.Reader()
        while (reply := reader.gets()) is False:
            reader.feed(connection.recv(4096))
        return reply


@contextmanager
def ours(folder: Path) -> Iterator[Served]:
    """Three nodes of this server, everything on as by default."""
    cluster = LocalCluster.open(folder, size=3, port=17000)
    try:
        for _ in cluster.start():
            pass
        ports = [ports.clients for ports in cluster.ports.values()]

        def leader() -> str | None:
            found = [ask(port, "RAFT", "LEADER") for port in ports]
            address = found[0]
            return address.decode() if isinstance(address, bytes) and len({*found}) == 1 else None

        address = wait_for(leader, "the cluster")
        yield Served(address, "resp", [p.pid for p in cluster.processes.values()])
    finally:
        cluster.stop()


@contextmanager
def processes(commands: Sequence[Sequence[str]], folder: Path) -> Iterator[list[int]]:
    """Processes that are ended afterwards, whatever happens."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        for number, command in enumerate(commands):
            with (folder / f"{number}.log").open("wb") as log:
                running.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log))
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()


@contextmanager
def etcd(folder: Path) -> Iterator[Served]:
    """Three nodes of etcd with its defaults."""
    program = shutil.which("etcd")
    if program is None:
        raise NotInstalled("not installed: `apt-get install etcd-server`")
    ports = choose_ports(3, 27000)
    cluster = ",".join(f"n{i}=http://127.0.0.1:{p.peers}" for i, p in enumerate(ports))
    commands = []
    for i, p in enumerate(ports):
        client, peer = f"http://127.0.0.1:{p.clients}", f"http://127.0.0.1:{p.peers}"
        flags = {
            "name": f"n{i}",
            "data-dir": str(folder / f"n{i}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": cluster,
            "log-level": "error",
        }
        commands.append([program, *(f"--{name}={value}" for name, value in flags.items())])
    with processes(commands, folder) as pids:

        def leader() -> str | None:
            for p in ports:
                url = f"http://127.0.0.1:{p.clients}/v3/maintenance/status"
                with urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=2) as reply:
                    status = json.load(reply)
                if status["leader"] == status["header"]["member_id"]:
                    return f"127.0.0.1:{p.clients}"
            return None

        yield Served(wait_for(leader, "etcd"), "grpc", pids)


@contextmanager
def pysyncobj(folder: Path, *, has_journal: bool) -> Iterator[Served]:
    """Three nodes of a dictionary on PySyncObj, in its fastest mode."""
    if importlib.util.find_spec("pysyncobj") is None:
        raise NotInstalled("not installed: `pip install -e '.[bench]'`")
    ports = choose_ports(3, 37000)
    own = [f"127.0.0.1:{p.peers}" for p in ports]
    commands = []
    for i, p in enumerate(ports):
        command = [sys.executable, "-m", "benchmarks.replicated_dict", str(p.clients), own[i]]
        command += [address for address in own if address != own[i]]
        commands.append([*command, *(["--journal", str(folder / f"{i}")] if has_journal else [])])
    with processes(commands, folder) as pids:

        def leader() -> str | None:
            found = {ask(p.clients, "LEADER") for p in ports}
            for p, address in zip(ports, own, strict=True):
                if found == {address.encode()}:
                    return f"127.0.0.1:{p.clients}"
            return None

        yield Served(wait_for(leader, "PySyncObj"), "resp", pids)


# --- Measuring ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """One load on one server."""

    per_second: float
    p50_ms: float
    p99_ms: float
    servers_us: float
    """Processor time of all three nodes for one operation."""
    load_us: float
    errors: int

    def __str__(self) -> str:
        """As it stands in the table."""
        latency = f"{self.p50_ms:.1f} / {self.p99_ms:.0f}"
        return f"{self.per_second:,.0f} ({latency})" + (" with errors" if self.errors else "")


def cpu_s(pids: Sequence[int]) -> float:
    """Processor time that processes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(served: Served, operation: str, connections: int, seconds: float) -> Cell:
    """Run one load."""
    command = [sys.executable, "-m", "benchmarks.load", served.leader]
    command += ["--protocol", served.protocol, "--operation", operation]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    before = cpu_s(served.pids)
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(run.stdout)
    # The load and the servers also work while it warms up.
    operations = max(1, found["operations"]) * (seconds + 0.5) / seconds
    return Cell(
        per_second=found["per_second"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        servers_us=1e6 * (cpu_s(served.pids) - before) / operations,
        load_us=1e6 * found["cpu_s"] / operations,
        errors=found["errors"],
    )


def row(name: str, served: Served, operation: str, seconds: float) -> tuple[str, list[Cell]]:
    """All loads of one operation, as a line of the table."""
    cells = [measure(served, operation, connections, seconds) for connections in CONNECTIONS]
    cpu = f"{cells[2].servers_us:.0f} + {cells[2].load_us:.0f}"
    return f"| {name} | {' | '.join(map(str, cells))} | {cpu} |", cells


def redis_benchmark(served: Served, cells: dict[str, list[Cell]], seconds: float) -> list[str]:
    """What Redis' own load says, with and without pipelines; about ``seconds`` for each."""
    program = shutil.which("redis-benchmark")
    if program is None:
        return ["| redis-benchmark | not installed: `apt-get install redis-tools` | | | |"]
    port = served.leader.rpartition(":")[2]
    lines = []
    for operation in ("set", "get"):
        for pipeline in (1, 16):
            texts = []
            for connections, cell in zip(CONNECTIONS, cells[operation], strict=True):
                count = max(1000, int(seconds * cell.per_second) * (1 if pipeline == 1 else 4))
                command = [program, "-p", port, "-t", operation, "-d", "128", "-r", "10000"]
                command += ["-c", str(connections), "-P", str(pipeline), "-n", str(count), "--csv"]
                run = subprocess.run(command, capture_output=True, text=True, check=True)
                found = list(csv.DictReader(run.stdout.splitlines()))[-1]
                p50, p99 = float(found["p50_latency_ms"]), float(found["p99_latency_ms"])
                texts.append(f"{float(found['rps']):,.0f} ({p50:.1f} / {p99:.0f})")
            name = operation.upper() + (f" `-P {pipeline}`" if pipeline > 1 else "")
            lines.append(f"| {name} | {' | '.join(texts)} |")
    return lines


def sync_us(folder: Path) -> float:
    """How long this disk takes to make 4 KiB durable, in microseconds; the median."""
    times = []
    with (folder / "probe").open("wb") as file:
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
        for number in range(200):
            os.pwrite(file.fileno(), bytes(4096), 4096 * number)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return 1e6 * statistics.median(times)


def heading(first: str, last: Sequence[str] = ()) -> list[str]:
    """The first lines of a table."""
    columns = [first, *(f"{c} connection{'s' * (c > 1)}" for c in CONNECTIONS), *last]
    return [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]


def main() -> None:
    """Print the tables, and write them where they belong if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables to BENCHMARKS.md")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load")
    parser.add_argument("--only", choices=["ours", "etcd", "pysyncobj"], help="one server")
    options = parser.parse_args()
    lines: list[str] = []

    def say(*new: str) -> None:
        lines.extend(new)
        print("\n".join(new), flush=True)

    systems: list[tuple[str, str, Callable[[Path], AbstractContextManager[Served]]]] = [
        ("ours", "this server", ours),
        ("etcd", "etcd, gRPC", etcd),
        ("pysyncobj", "PySyncObj, nothing synchronised", lambda f: pysyncobj(f, has_journal=False)),
        ("pysyncobj", "PySyncObj with its journal", lambda f: pysyncobj(f, has_journal=True)),
    ]
    found: dict[tuple[str, str], list[Cell]] = {}
    redis: list[str] = []
    with tempfile.TemporaryDirectory(dir=ROOT) as name:
        folder = Path(name)
        say(f"{machine()}; 4 KiB are durable in {sync_us(folder):,.0f} µs\n")
        say(*heading("128 bytes", ["µs of CPU, nodes + load (64)"]))
        for key, title, start in systems:
            if options.only not in (None, key):
                continue
            place = folder / title.replace(" ", "-").replace(",", "")
            place.mkdir()
            try:
                with ExitStack() as stack:
                    served = stack.enter_context(start(place))
                    for operation in ("set", "get"):
                        line, cells = row(
                            f"{title}: {operation.upper()}", served, operation, options.seconds
                        )
                        found[title, operation] = cells
                        say(line)
                    if key == "ours":
                        mine = {operation: found[title, operation] for operation in ("set", "get")}
                        redis = redis_benchmark(served, mine, options.seconds)
            except NotInstalled as missing:
                say(f"| {title} | {missing} | | | | |")
        for operation in ("set", "get"):
            own = found.get(("this server", operation), [])
            others = found.get(("etcd, gRPC", operation), [])
            times = [
                f"{a.per_second / b.per_second:.1f}" for a, b in zip(own, others, strict=False)
            ]
            if times:
                say(f"| **times etcd's {operation.upper()}/s** | {' | '.join(times)} | |")
    if redis:
        say("", *heading("redis-benchmark, this server"), *redis)
    if options.only in (None, "ours"):
        with tempfile.TemporaryDirectory(dir=ROOT) as name:
            say("", *outages.table(Path(name)))
        with tempfile.TemporaryDirectory(dir=ROOT) as name:
            say("", *pauses.table(Path(name)))
    if options.write:
        replace_between(BEGIN, END, "\n".join(lines))


if __name__ == "__main__":
    main()
