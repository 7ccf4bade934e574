"""Client libraries on real nodes: redis-py in both versions of RESP, and ours while nodes die."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from impl.client import Client, OutcomeUnknown
from tests.processes import Nodes

pytestmark = pytest.mark.xdist_group("processes")

SLOW = {"election_timeout_min": "300ms", "election_timeout_max": "600ms", "heartbeat": "60ms"}
"""Two cores and many processes: elections that nobody needs would only take time."""


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    cluster = Nodes(tmp_path, 3, **SLOW)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def connected(port: int, protocol: int) -> Any:
    return redis.Redis(port=port, protocol=protocol, socket_timeout=20)


def test_redis_py_in_both_protocols_on_any_node(nodes: Nodes) -> None:
    for node, protocol in ((nodes.leader(), 2), (nodes.follower(), 3)):
        client = connected(node.clients, protocol)
        assert client.set("a", 1)
        assert client.set("a", 5, nx=True) is None
        with client.pipeline(transaction=False) as pipeline:  # in order, whatever it takes
            replies = pipeline.set("k", 1).get("k").set("k", 2).get("k").execute()
        assert replies == [True, b"1", True, b"2"]
        with client.pipeline(transaction=True) as pipeline:
            assert pipeline.incr("a").incrby("a", 3).get("a").execute() == [2, 5, b"5"]
        counted = [client.transaction(lambda p: add_one(p, "a"), "a") for _ in range(2)]
        assert counted == [[True], [True]]
        assert client.get("a") == b"7"
        assert client.set("short", "x", px=300)
        assert 0 < client.pttl("short") <= 300
        time.sleep(0.6)
        assert client.get("short") is None
        assert set(client.scan_iter()) == {b"a", b"k"}


def add_one(pipeline: Any, key: str) -> None:
    """A transaction of redis-py: WATCH and GET were sent, MULTI and EXEC follow."""
    value = int(pipeline.get(key))
    pipeline.multi()
    pipeline.set(key, value + 1)


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_blocked_reader_gets_what_another_node_was_told(nodes: Nodes, protocol: int) -> None:
    reader = connected(nodes.follower().clients, protocol)
    writer = connected(nodes.leader().clients, 2)
    began = time.monotonic()
    assert not reader.xread({"watch:w": "$"}, block=200)
    assert time.monotonic() - began >= 0.2
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(reader.xread({"watch:w": "$"}, block=0)))
    waiting.start()
    time.sleep(0.5)
    writer.set("other", "x")
    writer.set("w1", "y")
    waiting.join(20)
    assert not waiting.is_alive()
    (entries,) = found[0].values() if protocol == 3 else [found[0][0][1]]
    ((_, fields),) = entries if protocol == 2 else entries[0]
    assert fields == {b"op": b"set", b"key": b"w1", b"value": b"y"}


def test_every_write_happens_once_while_leaders_die(nodes: Nodes) -> None:
    addresses = [f"127.0.0.1:{node.clients}" for node in nodes.values()]

    async def test() -> None:
        async with Client(addresses, timeout_s=30) as client:
            results: list[int] = []
            unknown = 0
            ended = asyncio.Event()
            watched: list[bytes] = []

            async def count() -> None:
                nonlocal unknown
                while not ended.is_set():
                    try:
                        results.append(await client.increment("n"))
                    except OutcomeUnknown:
                        unknown += 1

            async def watch() -> None:
                changes = client.watch("n", "0")
                while True:
                    watched.append(cast(bytes, (await anext(changes)).value))

            watching = asyncio.ensure_future(watch())
            counting = [asyncio.ensure_future(count()) for _ in range(5)]
            for _ in range(3):
                await asyncio.sleep(0.7)
                leader = await asyncio.to_thread(nodes.leader)
                leader.kill()
                await asyncio.sleep(1.0)
                leader.start(nodes.first)
            ended.set()
            await asyncio.gather(*counting)
            total = int(await client.get("n") or b"0")
            assert len(set(results)) == len(results), "no two got the same number"
            assert len(results) <= total <= len(results) + unknown
            assert unknown == 0, "30 s were enough to know"
            assert total > 100
            while len(watched) < total:
                await asyncio.sleep(0.05)
            watching.cancel()
            assert watched == [b"%d" % number for number in range(1, total + 1)]

    asyncio.run(asyncio.wait_for(test(), 120))
