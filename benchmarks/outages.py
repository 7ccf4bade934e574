"""How long a client cannot write after the leader was killed under load, and what is lost then.

Three nodes with their defaults, and clients that increment one number each in a closed loop,
through the library's client, so that a try that failed is made again. In each trial the leader is
killed (kill -9), and the time is taken until a write ends well that was begun right after. The
killed node comes back before the next trial. At the end each number must be what its client was
told last.
"""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.failover import elections
from impl.client import Client, OutcomeUnknown
from impl.local_cluster import LocalCluster, wait_until_listening

TRIALS = 15
CLIENTS = 16


class Counting:
    """One client that increments a number until it is told to end."""

    def __init__(self, client: Client, number: int) -> None:
        self._client = client
        self._key = f"count:{number}"
        self.told = self.unknown = 0

    async def run(self, ended: asyncio.Event) -> None:
        """Go on; an outcome that is not known may be one more or not."""
        while not ended.is_set():
            try:
                self.told = await self._client.increment(self._key)
            except OutcomeUnknown:
                self.unknown += 1

    async def lost(self) -> bool:
        """Is a write missing that was acknowledged, or there twice?"""
        value = int(await self._client.get(self._key) or b"0")
        return not self.told <= value <= self.told + self.unknown


def kill_leader(nodes: LocalCluster) -> int:
    """Kill the node that began to lead last."""
    _, leader = elections(nodes)[-1]
    process = nodes.processes[leader]
    process.send_signal(signal.SIGKILL)
    process.wait()
    return leader


def come_back(nodes: LocalCluster, member: int) -> None:
    """Start a node again."""
    nodes.start_node(member)
    wait_until_listening(nodes.processes[member], nodes.ports[member].clients)


async def outages(nodes: LocalCluster) -> tuple[list[float], int]:
    """Seconds until a write ended well, trial by trial, and how many numbers are wrong then."""
    places = [f"127.0.0.1:{ports.clients}" for ports in nodes.ports.values()]
    found = []
    async with Client(places, timeout_s=20) as probe, Client(places, timeout_s=20) as client:
        counting = [Counting(client, number) for number in range(CLIENTS)]
        ended = asyncio.Event()
        running = [asyncio.ensure_future(each.run(ended)) for each in counting]
        for trial in range(TRIALS):
            await asyncio.sleep(1 + random.random())
            killed = await asyncio.to_thread(kill_leader, nodes)
            began = time.perf_counter()
            await probe.set("probe", trial)
            found.append(time.perf_counter() - began)
            await asyncio.to_thread(come_back, nodes, killed)
        ended.set()
        await asyncio.gather(*running)
        wrong = sum([await each.lost() for each in counting])
    return found, wrong


def table(folder: Path) -> list[str]:
    """The lines of the table, in milliseconds."""
    nodes = LocalCluster.open(folder, size=3, port=24001)
    try:
        for _ in nodes.start():
            pass
        found, wrong = asyncio.run(outages(nodes))
    finally:
        nodes.stop()
    return [
        f"| kill -9 of the leader, {CLIENTS} clients | trials | least | median | most (ms) "
        "| clients that lost or doubled a write |",
        "|---|---|---|---|---|---|",
        row("until a new write ends well", found, wrong),
    ]


def row(what: str, seconds: Sequence[float], wrong: int) -> str:
    """One line."""
    ordered = sorted(1000 * s for s in seconds)
    cells = [ordered[0], statistics.median(ordered), ordered[-1]]
    return f"| {what} | {len(ordered)} | {' | '.join(f'{c:,.0f}' for c in cells)} | {wrong} |"
