"""Real nodes as processes on loopback, for tests of what only they can show."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parent.parent
PATIENCE_S = 30.0

Found = TypeVar("Found")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(holds: Callable[[], Found], what: str, patience_s: float = PATIENCE_S) -> Found:
    """Wait until it holds, and return what it found; an exception counts as "not yet"."""
    deadline = time.monotonic() + patience_s
    last: Found | Exception | None = None
    while time.monotonic() < deadline:
        try:
            last = holds()
        except Exception as error:  # whatever a node that is not there makes of it
            last = error
        if last and not isinstance(last, Exception):
            return last
        time.sleep(0.05)
    raise AssertionError(f"not within {patience_s:g} s: {what} ({last!r})")


@dataclass(slots=True)
class Node:
    """One node: where it listens, how it is started, and its process."""

    member: int
    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    peers: int = field(default_factory=free_port)
    clients: int = field(default_factory=free_port)
    http: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it logged."""
        return self.directory.with_suffix(".log").read_text(encoding="utf-8")

    def start(self, members: str, *flags: str) -> None:
        """Start it; it may need a while until it listens."""
        settings = {
            "member": str(self.member),
            "data-dir": str(self.directory),
            "members": members,
            "listen-clients": f"127.0.0.1:{self.clients}",
            "listen-http": f"127.0.0.1:{self.http}",
            **self.settings,
        }
        command = [sys.executable, "-m", "impl", "serve", *flags]
        command += [word for name, value in settings.items() for word in (f"--{name}", value)]
        with self.directory.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """As a power cut would, but for what the system keeps."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Its exit code, when it has ended."""
        assert self.process is not None
        return self.process.wait(patience_s)

    def get(self, path: str) -> tuple[int, str]:
        """What its HTTP port says: status code and text."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """One of its metrics; 0 if it has not been counted yet."""
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if (sample.name, sample.labels) == (name, labels):
                    return float(sample.value)
        return 0.0

    def status(self) -> dict[str, Any]:
        """Its ``/status``."""
        found: dict[str, Any] = json.loads(self.get("/status")[1])
        return found


class Nodes(Mapping[int, Node]):
    """A cluster, started as one would by hand; stop it at the end."""

    def __init__(self, directory: Path, size: int, **settings: str) -> None:
        self.directory = directory
        self.settings = {name.replace("_", "-"): value for name, value in settings.items()}
        self._nodes: dict[int, Node] = {}
        for member in range(1, size + 1):
            self.new(member)
        self.first = self.members

    def new(self, member: int) -> Node:
        """One more node, not started."""
        node = Node(member, self.directory / f"n{member}", dict(self.settings))
        self._nodes[member] = node
        return node

    @property
    def members(self) -> str:
        """All nodes, as ``--members`` takes them."""
        return ",".join(f"{m}=127.0.0.1:{node.peers}" for m, node in self._nodes.items())

    def start(self) -> None:
        """Start all, and wait until they have a leader."""
        for node in self._nodes.values():
            node.start(self.first)
        self.leader()

    def leader(self) -> Node:
        """The node that all that run take for the leader, once they agree."""
        return eventually(self._agreed_leader, "all agree who leads")

    def _agreed_leader(self) -> Node:
        running = [n for n in self._nodes.values() if n.process and n.process.poll() is None]
        leaders = {node.status()["leader"] for node in running}
        assert len(leaders) == 1, leaders
        leader = self._nodes[leaders.pop()]
        assert leader in running, f"n{leader.member} is taken for the leader and has ended"
        return leader

    def follower(self) -> Node:
        """One that runs and does not lead."""
        leader = self.leader()
        return next(
            n
            for n in self._nodes.values()
            if n is not leader and n.process and n.process.poll() is None
        )

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command of ``python -m impl`` against the nodes there are."""
        endpoints = ",".join(f"127.0.0.1:{node.clients}" for node in self._nodes.values())
        return subprocess.run(
            [sys.executable, "-m", "impl", *words],
            cwd=ROOT,
            env={**os.environ, "RAFTCTL_ENDPOINTS": endpoints, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def stop(self) -> None:
        """End what still runs."""
        for node in self._nodes.values():
            if node.process is not None and node.process.poll() is None:
                node.process.kill()
                node.process.wait()

    def __getitem__(self, member: int) -> Node:
        """By number."""
        return self._nodes[member]

    def __iter__(self) -> Any:
        """The numbers."""
        return iter(self._nodes)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._nodes)
