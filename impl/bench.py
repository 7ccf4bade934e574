"""``python -m impl bench``: a load of clients that each wait for their answer, and what it took."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import click
import hiredis
import uvloop

from impl.config import Address
from impl.console import (
    Access,
    NotReached,
    Refused,
    Row,
    access_of,
    ask_any,
    reaches_cluster,
    request,
    show,
    shows_rows,
    why_unreachable,
)

WARM_UP_S = 0.5
"""Not measured."""
KEYS_AT_ONCE = 500
FILLED_AT_ONCE = 1 << 20
"""Bytes of values in one command."""
PERCENTILES = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "p999_ms": 99.9}
ABOUT = (
    "Closed loop: a client sends its next request when it has the answer to the last one. While "
    "the cluster stands still nothing is sent, so a pause is one slow request a client, not many."
)


@dataclass(slots=True, kw_only=True)
class Load:
    """What is sent, when it counts, and what came of it."""

    reads: float
    keys: list[bytes]
    value: bytes
    password: bytes | None
    begins: float
    ends: float
    latencies: dict[str, list[float]] = field(default_factory=lambda: {"read": [], "write": []})
    errors: Counter[str] = field(default_factory=Counter)

    def next(self) -> tuple[str, bytes]:
        """The kind of a request, and its bytes."""
        key = random.choice(self.keys)
        if random.random() < self.reads:
            return "read", request((b"GET", key))
        return "write", request((b"SET", key, self.value))

    def note(self, kind: str, began: float, now: float, reply: object) -> None:
        """The answer came."""
        if isinstance(reply, hiredis.ReplyError):
            self.errors[str(reply)[:100]] += 1
        elif kind in self.latencies and self.begins <= now < self.ends:
            self.latencies[kind].append(now - began)


class BenchClient(asyncio.Protocol):
    """One connection with one request on its way."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._replies = hiredis.Reader()
        self._kind, self._began = "", 0.0
        self._transport: asyncio.Transport
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        if self._load.password is None:
            self._send(*self._load.next())
        else:
            self._send("password", request((b"AUTH", self._load.password)))

    def _send(self, kind: str, data: bytes) -> None:
        self._kind, self._began = kind, time.perf_counter()
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """The answer, or a part of it."""
        self._replies.feed(data)
        while (reply := self._next_reply()) is not False:
            now = time.perf_counter()
            self._load.note(self._kind, self._began, now, reply)
            self._kind = ""
            if now >= self._load.ends:
                self._transport.close()
            else:
                self._send(*self._load.next())

    def _next_reply(self) -> object:
        """One that is complete; ``False`` if there is none."""
        try:
            return self._replies.gets()
        except hiredis.ProtocolError:
            self._transport.abort()
            return False

    def connection_lost(self, error: Exception | None) -> None:
        """The end, if nothing was on its way."""
        if self._kind:
            self._load.errors["the connection was lost before the answer"] += 1
        if not self.ended.done():
            self.ended.set_result(None)


@click.command()
@click.option("--clients", type=click.IntRange(1, 10_000), default=16, show_default=True)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True, max=86_400),
    default=10.0,
    show_default=True,
    help="How long is measured, after a warm-up of half a second.",
)
@click.option(
    "--reads",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the requests that are GET; the others are SET.",
)
@click.option(
    "--value-size", type=click.IntRange(0, 1 << 20), default=128, show_default=True, help="Bytes."
)
@click.option("--keys", type=click.IntRange(1, 1_000_000), default=1000, show_default=True)
@click.option(
    "--prefix",
    default="bench:",
    show_default=True,
    help="Of the keys, of which there must be none; they are removed at the end.",
)
@click.option("--spread", is_flag=True, help="Clients on all endpoints, instead of on the leader.")
@reaches_cluster
@shows_rows
def bench(
    clients: int,
    seconds: float,
    reads: float,
    value_size: int,
    keys: int,
    prefix: str,
    spread: bool,
    form: str,
    **options: Any,
) -> None:
    """Put a load on a running cluster for a while, and show how fast it answered.

    Each client sends one request and waits for its answer before it sends the next one (a closed
    loop): while the cluster stands still nothing is sent, so that a pause shows as one slow request
    of each client and not as all those that others would have sent meanwhile. All clients are in
    this one process, whose own time is part of what is measured. Writes are durable on a majority
    when they are answered, reads are linearizable. Exit 1 if any request failed.
    """
    access = access_of(options)
    names = [f"{prefix}{number}".encode() for number in range(keys)]
    load = uvloop.run(_bench(access, clients, seconds, reads, bytes(value_size), names, spread))
    rows = [_row(kind, found, clients, seconds) for kind, found in load.latencies.items() if found]
    show(rows, form)
    if form == "table" and rows:
        click.echo(ABOUT)
    if load.errors:
        causes = "; ".join(f"{count} times {text}" for text, count in load.errors.most_common(5))
        click.echo(f"{load.errors.total()} requests failed: {causes}", err=True)
    asyncio.run(_remove(access, names))
    if load.errors:
        raise SystemExit(1)


async def _bench(
    access: Access,
    clients: int,
    seconds: float,
    reads: float,
    value: bytes,
    keys: list[bytes],
    spread: bool,
) -> Load:
    targets = access.endpoints if spread else (await _leader(access),)
    await _prepare(access, keys, value, reads)
    begins = time.perf_counter() + WARM_UP_S
    load = Load(
        reads=reads,
        keys=keys,
        value=value,
        password=access.password,
        begins=begins,
        ends=begins + seconds,
    )
    connected = await asyncio.gather(
        *(_connect(access, targets[i % len(targets)], load) for i in range(clients))
    )
    ends = [client.ended for client in connected]
    _, late = await asyncio.wait(ends, timeout=WARM_UP_S + seconds + access.timeout_s)
    if late:
        load.errors["no answer in time"] += len(late)
    return load


async def _prepare(access: Access, keys: list[bytes], value: bytes, reads: float) -> None:
    """See that no key is anybody's, and let those that will be read have a value."""
    for part in _parts(keys, KEYS_AT_ONCE):
        if await ask_any(access, "EXISTS", *part):
            name = part[0].decode(errors="replace")
            raise Refused(f"there are keys like {name!r}: remove them, or give another --prefix")
    if reads:
        for part in _parts(keys, max(1, min(KEYS_AT_ONCE, FILLED_AT_ONCE // (len(value) + 1)))):
            words = [word for key in part for word in (key, value)]
            await ask_any(access, "MSET", *words, changes=True)


async def _remove(access: Access, keys: list[bytes]) -> None:
    for part in _parts(keys, KEYS_AT_ONCE):
        await ask_any(access, "DEL", *part, changes=True)


def _parts(keys: list[bytes], size: int) -> list[list[bytes]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]


async def _leader(access: Access) -> Address:
    answer: bytes | None = await ask_any(access, "RAFT", "LEADER")
    if answer is None:
        raise NotReached("there is no leader, or it has not told its address yet: see status")
    return Address.parse(answer.decode())


async def _connect(access: Access, address: Address, load: Load) -> BenchClient:
    try:
        async with asyncio.timeout(access.timeout_s):
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: BenchClient(load), address.host, address.port, ssl=access.tls
            )
    except (OSError, TimeoutError) as error:
        raise NotReached(f"{address}: {why_unreachable(error)}") from None
    return client


def _row(kind: str, latencies: list[float], clients: int, seconds: float) -> Row:
    latencies.sort()
    ranks = {name: _percentile(latencies, percent) for name, percent in PERCENTILES.items()}
    return {
        "kind": kind,
        "clients": clients,
        "seconds": seconds,
        "requests": len(latencies),
        "per_second": round(len(latencies) / seconds, 1),
        "mean_ms": round(1000 * sum(latencies) / len(latencies), 3),
        **{name: round(1000 * value, 3) for name, value in ranks.items()},
        "max_ms": round(1000 * latencies[-1], 3),
    }


def _percentile(ordered: list[float], percent: float) -> float:
    """The least value that at least so many percent of all do not exceed."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


COMMANDS: dict[str, click.Command] = {"bench": bench}
