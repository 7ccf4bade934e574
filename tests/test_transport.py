"""Who may speak to a member: another version, cluster or number is refused, told and counted."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest.mock import AsyncMock

import msgspec
import pytest

from impl.clients import ClientLimits, ClientListener
from impl.config import Address
from impl.node import Node
from impl.store import KeyValueStore
from impl.tls import Files, make_contexts, make_development_certificates
from impl.transport import Identity, PeerLimits, Peers, Security, Why
from impl.watch import Watchers
from impl.wire import HANDSHAKE, LENGTH, PEER, VERSION, Hello, Impossible, PeerMessage
from spec.messages import TimeoutNow
from spec.state import ServerId, Term
from tests.processes import free_port

ONE, TWO = ServerId(1), ServerId(2)
HELLO = Hello(version=VERSION, cluster_id="blue", sender=TWO, receiver=ONE)
LIMITS = PeerLimits(handshake_s=0.2)
NOBODY = Address("127.0.0.1", 1)


def refusals(data: bytes, tls: ssl.SSLContext | None = None) -> list[Why]:
    """Why a member closes a connection on which ``data`` arrives."""

    async def speak() -> list[Why]:
        address = Address("127.0.0.1", free_port())
        peers = Peers(
            identity=Identity(cluster_id="blue", server_id=ONE),
            listen=address,
            addresses={TWO: NOBODY},
            limits=LIMITS,
            security=Security(listening=tls),
        )
        found: list[Why] = []
        peers.on_refused = found.append
        peers.deliver = contradict
        await peers.start()
        try:
            await asyncio.to_thread(_say, address, data)
        finally:
            await peers.close()
        return found

    return asyncio.run(speak())


def contradict(peer: ServerId, message: PeerMessage) -> None:
    """What a node makes of a message that contradicts what it knows."""
    raise Impossible(f"no {type(message).__name__} can come from n{peer}")


def _say(address: Address, data: bytes) -> None:
    """Send it, and wait until the connection is closed."""
    with (
        socket.create_connection((address.host, address.port), timeout=5) as connection,
        suppress(ConnectionError),
    ):
        connection.sendall(data)
        while connection.recv(1 << 16):
            pass


def framed(value: object) -> bytes:
    body = msgspec.msgpack.encode(value)
    return LENGTH.pack(len(body)) + body


WELCOME = HANDSHAKE.frame(HELLO)


@pytest.mark.parametrize(
    ("data", "why", "said"),
    [
        (
            HANDSHAKE.frame(replace(HELLO, version=VERSION + 1)),
            Why.VERSION,
            f"speaks version {VERSION + 1}, not {VERSION}",
        ),
        (framed([9, {"all": "is"}, "different"]), Why.VERSION, "speaks version 9, not 1"),
        (framed([VERSION, "blue"]), Why.MALFORMED, "length"),
        (framed([]), Why.MALFORMED, "no handshake"),
        (framed({}), Why.MALFORMED, "no handshake"),
        (LENGTH.pack(1000) + b"\x91" * 1000, Why.MALFORMED, "no handshake"),
        (HANDSHAKE.frame(replace(HELLO, version=0)), Why.VERSION, "speaks version 0"),
        (HANDSHAKE.frame(replace(HELLO, cluster_id="red")), Why.CLUSTER, "'red', not 'blue'"),
        (HANDSHAKE.frame(replace(HELLO, receiver=TWO)), Why.MEMBER, "looks for n2, this is n1"),
        (HANDSHAKE.frame(replace(HELLO, sender=ServerId(3))), Why.MEMBER, "n3 is no peer"),
        (LENGTH.pack(1 << 30), Why.MALFORMED, "longer than"),
        (WELCOME + LENGTH.pack(3) + b"???", Why.MALFORMED, "n2"),
        (WELCOME + PEER.frame(TimeoutNow(term=Term(1))), Why.IMPOSSIBLE, "no TimeoutNow can come"),
        (b"", Why.LATE, "no handshake in time"),
    ],
)
def test_who_does_not_belong_is_refused_with_the_reason(
    data: bytes, why: Why, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert refusals(data) == [why]
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert said in line


def test_who_does_not_begin_with_tls_has_no_more_time_than_others(tmp_path: Path) -> None:
    make_development_certificates(tmp_path, "blue", members=1)
    cert, key = tmp_path / "member-1.crt", tmp_path / "member-1.key"
    tls = make_contexts(Files(cert=cert, key=key, cacert=tmp_path / "ca.crt")).server
    assert refusals(b"", tls) == []  # closed before anything was understood


def test_a_client_that_gives_no_password_is_hung_up_on() -> None:
    async def serve() -> tuple[bytes, bytes]:
        address = Address("127.0.0.1", free_port())
        listener = ClientListener(
            node=cast(Node, SimpleNamespace(queued_bytes=0)),  # it is asked for nothing else
            limits=ClientLimits(introduction_s=0.2),
            queued_bytes=1,
            is_full=lambda: False,
            about=dict,
            admin=AsyncMock(),
            watchers=Watchers(KeyValueStore()),
            query=lambda query: None,
            password="sesame",
        )
        await listener.start(address, None)
        try:
            return await asyncio.gather(
                asyncio.to_thread(_answers, address, b""),
                asyncio.to_thread(_answers, address, b"AUTH sesame\r\n"),
            )
        finally:
            await listener.close()

    stranger, friend = asyncio.run(serve())
    assert stranger == b""
    assert friend == b"+OK\r\n+PONG\r\n"


def _answers(address: Address, greeting: bytes) -> bytes:
    """All that comes for a greeting, and for a PING that is sent a while later."""
    with socket.create_connection((address.host, address.port), timeout=5) as connection:
        connection.sendall(greeting)
        time.sleep(0.5)
        with suppress(OSError):
            connection.sendall(b"PING\r\n")
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return b""
