"""Replicating an object of one's own: the same value in every process, and after a restart."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from examples.replicated_counter import Counter
from impl.client import Unavailable
from impl.local_cluster import choose_ports
from impl.replica import Replica

NUMBERS = (1, 2, 3)


async def retried(replica: Replica, command: bytes) -> object:
    """Write, as soon as there is a leader."""
    while True:
        try:
            return await replica.write(command)
        except Unavailable:
            await asyncio.sleep(0.05)


def test_a_counter_is_the_same_everywhere_and_after_a_restart(tmp_path: Path) -> None:
    ports = choose_ports(3, 47000)
    members = {i: f"127.0.0.1:{p.peers}" for i, p in zip(NUMBERS, ports, strict=True)}

    async def run(expected: list[int]) -> None:
        async with AsyncExitStack() as stack:
            replicas = [
                await stack.enter_async_context(
                    Replica(Counter(), member=i, members=members, data_dir=tmp_path / f"{i}")
                )
                for i in NUMBERS
            ]
            results = [await retried(replica, b"5") for replica in replicas]
            assert results == expected
            assert [await replica.read("value") for replica in replicas] == [expected[-1]] * 3

    asyncio.run(asyncio.wait_for(run([5, 10, 15]), 30))
    asyncio.run(asyncio.wait_for(run([20, 25, 30]), 30))


def test_without_a_quorum_it_is_said_that_nothing_was_done(tmp_path: Path) -> None:
    ports = choose_ports(2, 47100)
    members = {i: f"127.0.0.1:{p.peers}" for i, p in zip(NUMBERS, ports, strict=False)}

    async def run() -> None:
        async with Replica(
            Counter(), member=1, members=members, data_dir=tmp_path / "1", request_timeout="0.5"
        ) as replica:
            with pytest.raises(Unavailable, match="NOLEADER"):
                await replica.write(b"5")
            assert replica.machine.query(0, "value") == 0

    asyncio.run(asyncio.wait_for(run(), 30))
