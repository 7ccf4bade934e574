"""A local cluster of real processes, started, restarted and stopped by one command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import impl

HOST = "127.0.0.1"
START_S = 20.0
STOP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where one node listens."""

    clients: int
    peers: int


class LocalCluster:
    """Nodes 1 to n of one machine, each with a directory of its own below ``directory``."""

    def __init__(self, directory: Path, cluster_id: str, ports: dict[int, Ports]) -> None:
        self.directory = directory
        self.cluster_id = cluster_id
        self.ports = ports
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    @classmethod
    def open(cls, directory: Path, *, size: int, port: int) -> LocalCluster:
        """The cluster that lives in ``directory``, or a new one of ``size`` nodes."""
        file = directory / "cluster.json"
        if file.exists():
            stored = json.loads(file.read_text(encoding="utf-8"))
            ports = {int(i): Ports(**p) for i, p in stored["nodes"].items()}
            return cls(directory, stored["cluster_id"], ports)
        ports = dict(zip(range(1, size + 1), choose_ports(size, port), strict=True))
        cluster = cls(directory, uuid.uuid4().hex, ports)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        nodes = {str(i): asdict(p) for i, p in ports.items()}
        text = json.dumps({"cluster_id": cluster.cluster_id, "nodes": nodes}, indent=2)
        draft = file.with_suffix(".new")
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(file)
        return cluster

    def start(self) -> Iterator[str]:
        """Start every node; one line a node when it listens."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler)
        for i in self.ports:
            self.start_node(i)
        for i, ports in self.ports.items():
            process = self.processes[i]
            wait_until_listening(process, ports.clients)
            where = self.directory / f"n{i}"
            yield f"n{i}  {where}  pid {process.pid}  redis://{HOST}:{ports.clients}"

    def start_node(self, i: int) -> None:
        """Start one node; what it logs goes to a file beside its data."""
        members = ",".join(f"{j}={HOST}:{ports.peers}" for j, ports in self.ports.items())
        command = [sys.executable, "-m", "impl", "serve", "--member", str(i)]
        command += ["--members", members, "--cluster", self.cluster_id]
        command += ["--data-dir", str(self.directory / f"n{i}")]
        command += ["--listen-clients", f"{HOST}:{self.ports[i].clients}"]
        root = str(Path(impl.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        with (self.directory / f"n{i}.log").open("ab") as output:
            self.processes[i] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C reaches this process alone, which stops them
            )

    def wait(self, say: Callable[[str], None]) -> None:
        """Wait for Ctrl-C, SIGTERM or the end of all nodes; tells of one that ends by itself."""
        with suppress(KeyboardInterrupt):
            while self.processes:
                for i, process in list(self.processes.items()):
                    if process.poll() is not None:
                        del self.processes[i]
                        say(f"n{i} ended ({describe_end(process.returncode)}), see n{i}.log")
                time.sleep(0.1)

    def stop(self) -> None:
        """SIGTERM to every node, and SIGKILL to one that does not end in time."""
        for process in self.processes.values():
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in self.processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()


def choose_ports(size: int, first: int) -> list[Ports]:
    """Ports from ``first`` on for clients and 1000 higher for peers, whichever are free."""
    chosen: list[Ports] = []
    candidate = first
    while len(chosen) < size:
        if candidate + 1000 > 65535:
            raise OSError(f"no {size} free ports from {first} on")
        if is_free(candidate) and is_free(candidate + 1000):
            chosen.append(Ports(clients=candidate, peers=candidate + 1000))
        candidate += 1
    return chosen


def is_free(port: int) -> bool:
    """Can this port be listened on?"""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    """Until the node accepts clients; raises ``OSError`` if it ends before."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise OSError(f"a node {describe_end(process.returncode)} at its start, see its log")
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
            return
        time.sleep(0.02)
    raise OSError(f"nothing listens on port {port} after {START_S:.0f} s")


def describe_end(code: int) -> str:
    """How a process ended."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
