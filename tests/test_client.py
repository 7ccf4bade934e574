"""The client: every write once, whatever happens on the way, or an exception that says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl import store
from impl.client import (
    Client,
    CommandFailed,
    OutcomeUnknown,
    Transaction,
    Unavailable,
    WatchTrimmed,
)
from impl.machine import Failure
from impl.resp import Admin, Local, Read, Wait, Write
from impl.sessions import EXPIRED
from impl.watch import Watchers
from tests.redis_commands import Connection, Server

T = TypeVar("T")
FAULTS = ["none", "lost before", "lost after", "not done", "unknown before", "unknown after"]


class Node(asyncio.Protocol):
    """One client's connection to a fake node, which carries out what it is not made to spoil."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._connection = Connection(cluster.server, password=cluster.password)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._cluster.open.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """It went."""
        self._cluster.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Commands came."""
        for action in self._connection.session.feed(data):
            fault = "none"
            if isinstance(action, Write | Read):
                fault = self._cluster.faults.pop() if self._cluster.faults else "none"
            match fault:
                case "lost before":
                    self._transport.abort()
                    return
                case "silent":
                    return
                case "not done":
                    self._fail(action, Failure("NOLEADER", "no quorum"))
                case "unknown before":
                    self._fail(action, Failure("UNKNOWN", "who knows"))
                case "expired":
                    self._fail(action, EXPIRED)
                case _:
                    reply = self._cluster.carry_out(action, self._transport)
                    match fault:
                        case "lost after":
                            self._transport.abort()
                            return
                        case "unknown after":
                            self._fail(action, Failure("UNKNOWN", "who knows"))
                        case _:
                            self._transport.write(reply)

    def _fail(self, action: object, failure: Failure) -> None:
        assert isinstance(action, Write | Read)
        self._transport.write(action.render(failure))


class Cluster:
    """A cluster to its clients: several addresses, one state machine, faults in turn."""

    def __init__(self, faults: list[str], password: str | None) -> None:
        self.server = Server()
        self.watchers = Watchers(self.server.store)
        self.faults = faults
        self.password = password
        self.open: set[asyncio.Transport] = set()
        self.addresses: list[str] = []
        self.leader = b"$-1\r\n"

    def carry_out(self, action: object, transport: asyncio.Transport) -> bytes:
        """The reply; nothing yet for one who waits."""
        match action:
            case Admin():
                return self.leader
            case Wait():
                if reply := action.take(self.server.store.query(0, action.query)):
                    return reply
                self.watchers.add(
                    action.prefixes, lambda: transport.write(self.carry_out(action, transport))
                )
                return b""
            case Write() | Read() | Local():
                return self.server.carry_out(action)
        raise AssertionError(action)


@asynccontextmanager
async def cluster(
    *faults: str, nodes: int = 2, password: str | None = None
) -> AsyncIterator[Cluster]:
    loop = asyncio.get_running_loop()
    made = Cluster(list(faults)[::-1], password)
    listeners = [await loop.create_server(lambda: Node(made), "127.0.0.1", 0) for _ in range(nodes)]
    made.addresses = [f"127.0.0.1:{listener.sockets[0].getsockname()[1]}" for listener in listeners]
    try:
        yield made
    finally:
        for listener in listeners:
            listener.close()
        for transport in list(made.open):
            transport.abort()
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[T]]) -> T:
    """Run a test on a loop of its own."""

    async def main() -> T:
        return await asyncio.wait_for(test(), 30)

    return asyncio.run(main())


@settings(max_examples=40)
@given(st.lists(st.sampled_from(FAULTS), max_size=12), st.integers(1, 4))
def test_every_write_is_carried_out_once(faults: list[str], tasks: int) -> None:
    async def test() -> None:
        async with cluster(*faults) as made, Client(made.addresses, timeout_s=20) as client:
            results = await asyncio.gather(*(client.increment("n") for _ in range(tasks)))
            assert sorted(results) == list(range(1, tasks + 1))
            assert await client.get("n") == b"%d" % tasks

    run(test)


@settings(max_examples=20)
@given(st.lists(st.sampled_from(FAULTS), max_size=8), st.integers(1, 3))
def test_transactions_do_not_lose_updates(faults: list[str], tasks: int) -> None:
    async def add_one(transaction: Transaction) -> int:
        value = int(await transaction.get("n") or b"0") + 1
        transaction.set("n", value)
        return value

    async def test() -> None:
        async with cluster(*faults) as made, Client(made.addresses, timeout_s=20) as client:
            results = await asyncio.gather(*(client.transact(add_one) for _ in range(tasks)))
            assert sorted(results) == list(range(1, tasks + 1))
            assert await client.get("n") == b"%d" % tasks

    run(test)


@pytest.mark.parametrize("fault", ["lost after", "unknown before", "silent"])
def test_an_outcome_that_is_not_known_is_its_own_error(fault: str) -> None:
    async def test() -> None:
        async with cluster("none", *[fault] * 100) as made:
            client = Client(made.addresses, timeout_s=0.3, attempt_s=0.1)
            with pytest.raises(OutcomeUnknown):
                await client.increment("n")
            client.close()

    run(test)


def test_what_was_certainly_not_done_is_unavailable() -> None:
    async def test() -> None:
        async with cluster(*["not done"] * 100) as made:
            client = Client(made.addresses, timeout_s=0.3)
            with pytest.raises(Unavailable, match="NOLEADER no quorum"):
                await client.increment("n")
            client.close()
        client = Client(made.addresses, timeout_s=0.2)
        with pytest.raises(Unavailable):
            await client.set("a", "1")
        assert made.server.store.revision == 0

    run(test)


def test_a_session_that_ended_before_is_begun_anew() -> None:
    async def test() -> None:
        async with cluster("none", "none", "expired") as made, Client(made.addresses) as client:
            assert [await client.increment("n"), await client.increment("n")] == [1, 2]

    run(test)


def test_a_session_that_ended_on_the_way_leaves_the_outcome_unknown() -> None:
    async def test() -> None:
        async with cluster("none", "lost after", "expired") as made:
            client = Client(made.addresses)
            with pytest.raises(OutcomeUnknown, match="SESSIONEXPIRED"):
                await client.increment("n")
            client.close()

    run(test)


def test_a_wrong_command_fails_at_once() -> None:
    async def test() -> None:
        async with cluster() as made, Client(made.addresses) as client:
            await client.set("a", "x")
            with pytest.raises(CommandFailed, match="not an integer") as caught:
                await client.increment("a")
            assert caught.value.code == "ERR"

    run(test)


def test_the_methods() -> None:
    async def test() -> None:
        async with cluster() as made, Client(made.addresses) as client:
            assert await client.set("a", 1)
            assert not await client.set("a", 2, if_exists=False)
            assert not await client.set("b", 2, if_exists=True)
            assert await client.set("c", b"x", expires_s=5)
            left = await client.time_left_s("c")
            assert left is not None
            assert 4 < left <= 5
            assert await client.persist("c")
            assert await client.time_left_s("c") is None
            assert await client.expire("c", 1.5)
            assert await client.append("c", "y") == 2
            await client.set_many({"d": "1", "e": "2"})
            assert await client.get_many("a", "c", "d", "zz") == [b"1", b"xy", b"1", None]
            assert await client.exists("a", "zz") == 1
            assert await client.delete("a", "zz") == 1
            assert await client.increment("d", -5) == -4

    run(test)


def test_the_password_is_given() -> None:
    async def test() -> None:
        async with cluster(password="secret") as made:
            async with Client(made.addresses, password="secret") as client:
                await client.set("a", "1")
            async with Client(made.addresses, password="wrong") as client:
                with pytest.raises(CommandFailed, match="WRONGPASS"):
                    await client.get("a")

    run(test)


def test_the_leader_is_asked_directly() -> None:
    async def test() -> None:
        async with cluster(nodes=1) as made, cluster(nodes=1) as leader:
            address = leader.addresses[0].encode()
            made.leader = b"$%d\r\n%b\r\n" % (len(address), address)
            async with Client(made.addresses) as client:
                await client.set("a", "1")
            assert (made.server.store.revision, leader.server.store.revision) == (0, 1)

    run(test)


@settings(max_examples=20)
@given(st.lists(st.sampled_from(FAULTS), max_size=10), st.integers(0, 4))
def test_watching_misses_nothing_and_repeats_nothing(faults: list[str], before: int) -> None:
    async def test() -> None:
        async with cluster() as made, Client(made.addresses, timeout_s=20) as client:
            for number in range(before):
                await client.set("old", number)
            changes = client.watch("k", await client._now_position())
            made.faults = faults[::-1]

            async def write() -> None:
                for number in range(5):
                    await client.set(f"k{number}", number)
                    await client.set("other", number)

            writing = asyncio.ensure_future(write())
            seen = [await anext(changes) for _ in range(5)]
            await writing
            await changes.aclose()  # type: ignore[attr-defined]
            assert [(c.key, c.value) for c in seen] == [(b"k%d" % n, b"%d" % n) for n in range(5)]

    run(test)


def test_a_watcher_is_told_of_changes_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_EVENTS", 2)

    async def test() -> None:
        async with cluster() as made, Client(made.addresses) as client:
            for number in range(5):
                await client.set("k", number)
            with pytest.raises(WatchTrimmed):
                await anext(client.watch("k", "1"))
            assert (await anext(client.watch("k", "0"))).value == b"3"

    run(test)
