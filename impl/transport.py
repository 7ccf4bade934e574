"""Peers on TCP: one connection a pair of servers and direction, carrying the sender's frames.

A connection begins with a ``Hello`` in both directions; only then does anything on it count. What
cannot be sent is dropped (the network may lose messages), queues are bounded, and a peer that sends
what is no frame or no message loses its connection, with one line in the log.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from impl.config import Address
from impl.wire import (
    HANDSHAKE,
    PEER,
    VERSION,
    Frames,
    Hello,
    Impossible,
    Malformed,
    PeerMessage,
    version_in,
)
from spec.state import ServerId

log = logging.getLogger(__name__)

KEEP_ALIVE = b"\0\0\0\0"
"""A frame of no bytes: the sender is there and has nothing to say."""
HELLO_LIMIT = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLimits:
    """Bounds on what peers can make a node do."""

    frame_bytes: int = 32 << 20
    queued_bytes: int = 64 << 20
    """To one peer; beyond this, messages to it are lost."""
    connections: int = 64
    handshake_s: float = 2.0
    idle_s: float = 15.0
    """A connection on which nothing arrives for so long is closed."""
    keep_alive_s: float = 4.0
    reconnect_s: tuple[float, float] = (0.02, 0.5)
    """Pause before connecting again: the first, and the longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """TLS for the connections between peers; without contexts they are plain."""

    listening: ssl.SSLContext | None = None
    connecting: ssl.SSLContext | None = None
    names: Callable[[Mapping[str, Any], ServerId], bool] | None = None
    """Does this certificate name this member? Asked for the other end of each connection."""


class Why(StrEnum):
    """What is wrong with a connection, in one word, to be counted by."""

    VERSION = "version"
    CLUSTER = "cluster"
    MEMBER = "member"
    CERTIFICATE = "certificate"
    MALFORMED = "malformed"
    IMPOSSIBLE = "impossible"
    LATE = "late"
    SILENT = "silent"
    CROWDED = "crowded"


class Handshake(Exception):
    """The other end is not the peer it should be."""

    def __init__(self, why: Why, text: str) -> None:
        super().__init__(text)
        self.why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this node is to its peers."""

    cluster_id: str
    server_id: ServerId

    def hello(self, receiver: ServerId) -> bytes:
        """The first frame to ``receiver``."""
        return HANDSHAKE.frame(
            Hello(
                version=VERSION,
                cluster_id=self.cluster_id,
                sender=self.server_id,
                receiver=receiver,
            )
        )

    def check(self, hello: Hello) -> None:
        """Raises ``Handshake`` unless the frame is for this node and cluster."""
        if hello.cluster_id != self.cluster_id:
            text = f"is of cluster {hello.cluster_id!r}, not {self.cluster_id!r}"
            raise Handshake(Why.CLUSTER, text)
        if hello.receiver != self.server_id:
            text = f"looks for n{hello.receiver}, this is n{self.server_id}"
            raise Handshake(Why.MEMBER, text)


class PeerConnection(asyncio.Protocol):
    """What both ends of a connection have in common: frames, and a first one that must be Hello."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._frames = Frames(HELLO_LIMIT)
        self._deadline: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport
        self.heard_at = 0.0
        self.peer: ServerId | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP (and TLS) is there; the handshake has ``handshake_s`` from now."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        quicken(self.transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._peers.limits.handshake_s, self._is_late)

    def data_received(self, data: bytes) -> None:
        """Bytes arrived, from whomever."""
        try:
            for body in self._frames.feed(data):
                if self.peer is None:
                    self._on_first_frame(body)
                elif body:
                    self._on_frame(self.peer, body)
        except Malformed as error:
            self.refuse(Why.MALFORMED, str(error))
        except Impossible as error:
            self.refuse(Why.IMPOSSIBLE, f"sent what no server would ({error})")
        except Handshake as error:
            self.refuse(error.why, str(error))
        self.heard_at = self._peers.now()

    def _on_first_frame(self, body: bytes) -> None:
        version = version_in(body)
        if version != VERSION:
            raise Handshake(Why.VERSION, f"speaks version {version}, not {VERSION}")
        hello = HANDSHAKE.value(body)
        assert isinstance(hello, Hello)
        self._peers.identity.check(hello)
        self._peers.check_certificate(self.transport, hello.sender)
        self.on_hello(hello.sender)
        self.peer = hello.sender
        self._frames.limit = self._peers.limits.frame_bytes
        if self._deadline is not None:
            self._deadline.cancel()

    def _is_late(self) -> None:
        self.refuse(Why.LATE, "no handshake in time")

    def refuse(self, why: Why, reason: str) -> None:
        """Close the connection and say why, once."""
        if not self.transport.is_closing():
            name = "unknown peer" if self.peer is None else f"n{self.peer}"
            where = self.transport.get_extra_info("peername")
            log.warning("closes the connection with %s at %s: %s", name, where, reason)
            self._peers.on_refused(why)
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        if self._deadline is not None:
            self._deadline.cancel()

    def on_hello(self, sender: ServerId) -> None:
        """The other end said who it is; raises ``Handshake`` if that is not welcome."""
        raise NotImplementedError

    def _on_frame(self, peer: ServerId, body: bytes) -> None:
        raise NotImplementedError


class Incoming(PeerConnection):
    """A connection that a peer opened: its messages arrive here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept, unless there are too many connections."""
        super().connection_made(transport)
        if len(self._peers.incoming) >= self._peers.limits.connections:
            self.refuse(Why.CROWDED, "too many connections")
        self._peers.incoming.add(self)

    def on_hello(self, sender: ServerId) -> None:
        """Welcome a peer of the cluster."""
        self._peers.welcome(self, sender)

    def _on_frame(self, peer: ServerId, body: bytes) -> None:
        self._peers.deliver(peer, PEER.value(body))

    def connection_lost(self, error: Exception | None) -> None:
        """The peer will open another one, if it lives."""
        super().connection_lost(error)
        self._peers.incoming.discard(self)
        if self.peer is not None:
            self._peers.lost(self, self.peer)


class Outgoing(PeerConnection):
    """A connection that this node opened: its messages leave here."""

    def __init__(self, peers: Peers, link: Link) -> None:
        super().__init__(peers)
        self._link = link
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Speak first."""
        super().connection_made(transport)
        self.transport.write(self._peers.identity.hello(self._link.peer))

    def on_hello(self, sender: ServerId) -> None:
        """The peer answered: from now on messages can be sent."""
        if sender != self._link.peer:
            raise Handshake(Why.MEMBER, f"n{sender} answers where n{self._link.peer} should")
        self._link.is_up(self)

    def _on_frame(self, peer: ServerId, body: bytes) -> None:
        raise Malformed("a message on a connection that is for the other direction")

    def refuse(self, why: Why, reason: str) -> None:
        """Remember why."""
        self._link.trouble = reason
        super().refuse(why, reason)

    def connection_lost(self, error: Exception | None) -> None:
        """Connect again."""
        super().connection_lost(error)
        if not self.closed.done():
            self.closed.set_result(None)


class Link:
    """The way to one peer: connects, and connects again, for as long as the node runs."""

    def __init__(self, peers: Peers, peer: ServerId, address: Address) -> None:
        self.peer = peer
        self.trouble: str | None = "not connected yet"
        self._peers = peers
        self._address = address
        self._connection: Outgoing | None = None
        self._queue: list[bytes] = []
        self._queued = 0
        self._sent_at = 0.0
        self.dropped = 0

    def is_up(self, connection: Outgoing) -> None:
        """The handshake succeeded."""
        self._connection = connection
        self.trouble = None
        log.info("connected to n%d at %s", self.peer, self._address)
        self._peers.on_connected(self.peer)

    @property
    def is_open(self) -> bool:
        """Can a frame leave?"""
        return self._connection is not None

    def send(self, frame: bytes) -> bool:
        """Queue a frame if it can leave."""
        connection = self._connection
        if connection is None:
            return False
        waiting = self._queued + connection.transport.get_write_buffer_size()
        if waiting > self._peers.limits.queued_bytes:
            self.dropped += 1
            return False
        self._queue.append(frame)
        self._queued += len(frame)
        return True

    def flush(self) -> None:
        """One write for all frames that were queued."""
        connection = self._connection
        if connection is not None and self._queue and not connection.transport.is_closing():
            connection.transport.write(b"".join(self._queue))
            self._sent_at = self._peers.now()
        self._queue.clear()
        self._queued = 0

    def keep_alive(self) -> None:
        """Say something if nothing was said for a while."""
        if self._connection is not None and not self._connection.transport.is_closing():
            idle = self._peers.now() - self._sent_at
            if idle >= self._peers.limits.keep_alive_s:
                self._connection.transport.write(KEEP_ALIVE)
                self._sent_at = self._peers.now()

    async def run(self) -> None:
        """Keep a connection up; backs off while the peer cannot be reached."""
        first, longest = self._peers.limits.reconnect_s
        pause = first
        while True:
            was_up = await self._connect_once()
            pause = first if was_up else min(longest, 2 * pause)
            await asyncio.sleep(pause)

    async def _connect_once(self) -> bool:
        """Connect and wait until the connection is gone; did the handshake succeed?"""
        loop = asyncio.get_running_loop()
        security = self._peers.security
        try:
            async with asyncio.timeout(self._peers.limits.handshake_s):
                _, connection = await loop.create_connection(
                    lambda: Outgoing(self._peers, self),
                    self._address.host,
                    self._address.port,
                    ssl=security.connecting,
                )
        except TimeoutError:
            self.trouble = "timed out"
            return False
        except ConnectionRefusedError:
            self.trouble = "refused"
            return False
        except (OSError, ssl.SSLError) as error:
            self.trouble = f"failed: {error.strerror or error}"
            return False
        if not self.is_open:  # the answer may have come already
            self.trouble = "did not answer the handshake"
        try:
            await connection.closed
        finally:
            connection.transport.abort()
        was_up = self._connection is connection
        self._connection = None
        if was_up:
            self.trouble = "closed the connection"
            log.info("lost the connection to n%d", self.peer)
            self._peers.on_disconnected(self.peer)
        return was_up


class Peers:
    """The network seam of a node: ``impl.node.Network`` on asyncio."""

    def __init__(
        self,
        *,
        identity: Identity,
        listen: Address,
        addresses: Mapping[ServerId, Address],
        limits: PeerLimits,
        security: Security,
    ) -> None:
        self.identity = identity
        self.addresses = dict(addresses)
        """Of the peers, without this node."""
        self.limits = limits
        self.security = security
        self.incoming: set[Incoming] = set()
        self.deliver: Callable[[ServerId, PeerMessage], None] = lambda _peer, _message: None
        self.on_connected: Callable[[ServerId], None] = lambda _peer: None
        self.on_disconnected: Callable[[ServerId], None] = lambda _peer: None
        self.on_refused: Callable[[Why], None] = lambda _why: None
        self.now = asyncio.get_running_loop().time
        self._listen = listen
        self._links: dict[ServerId, Link] = {}
        self._from: dict[ServerId, Incoming] = {}
        self._tasks: dict[ServerId, asyncio.Task[None]] = {}
        self._listener: asyncio.Server | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._last: tuple[PeerMessage | None, bytes] = (None, b"")

    async def start(self) -> None:
        """Listen, and connect to everyone."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Incoming(self),
            self._listen.host,
            self._listen.port,
            ssl=self.security.listening,
            ssl_handshake_timeout=self.limits.handshake_s if self.security.listening else None,
        )
        for peer, address in self.addresses.items():
            self.add(peer, address)
        self._keeper = loop.create_task(self._keep_alive())

    def add(self, peer: ServerId, address: Address) -> None:
        """Begin to talk to one more peer, or to one that is somewhere else now."""
        if peer in self._tasks:
            self._tasks[peer].cancel()
        self.addresses[peer] = address
        link = self._links[peer] = Link(self, peer, address)
        self._tasks[peer] = asyncio.get_running_loop().create_task(link.run())

    async def close(self) -> None:
        """Stop listening and drop all connections."""
        tasks: list[asyncio.Task[None]] = list(self._tasks.values())
        if self._keeper is not None:
            tasks.append(self._keeper)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self.incoming):
            connection.transport.abort()
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()

    def send(self, to: ServerId, message: PeerMessage) -> bool:
        """Queue a message; the same one for several peers is encoded once."""
        link = self._links.get(to)
        if link is None or not link.is_open:
            return False
        last, frame = self._last
        if message != last:
            frame = PEER.frame(message)
            self._last = (message, frame)
        return link.send(frame)

    def flush(self) -> None:
        """Write what was queued."""
        for link in self._links.values():
            link.flush()

    def troubles(self) -> Mapping[ServerId, str]:
        """The peers that this node cannot send to now, each with the reason."""
        return {p: link.trouble for p, link in self._links.items() if link.trouble is not None}

    def heard_s(self) -> Mapping[ServerId, float]:
        """Seconds since something arrived from each peer that is connected."""
        now = self.now()
        return {peer: now - connection.heard_at for peer, connection in self._from.items()}

    def welcome(self, connection: Incoming, sender: ServerId) -> None:
        """A peer opened a connection: it replaces an older one."""
        if sender not in self._links:
            raise Handshake(Why.MEMBER, f"n{sender} is no peer of this node")
        connection.transport.write(self.identity.hello(sender))
        old = self._from.get(sender)
        self._from[sender] = connection
        if old is not None:
            old.transport.abort()

    def lost(self, connection: Incoming, peer: ServerId) -> None:
        """What ``peer`` would have answered on this connection does not come."""
        if self._from.get(peer) is connection:
            del self._from[peer]
            self.on_disconnected(peer)

    def check_certificate(self, transport: asyncio.Transport, sender: ServerId) -> None:
        """Raises ``Handshake`` if the certificate does not name the member it speaks for."""
        if self.security.names is not None:
            certificate = transport.get_extra_info("peercert")
            if not certificate or not self.security.names(certificate, sender):
                raise Handshake(Why.CERTIFICATE, f"its certificate does not name n{sender}")

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self.limits.keep_alive_s / 2)
            for link in self._links.values():
                link.keep_alive()
            for connection in list(self.incoming):
                idle = self.now() - connection.heard_at
                if connection.peer is not None and idle > self.limits.idle_s:
                    connection.refuse(Why.SILENT, "nothing arrived for too long")


def quicken(transport: asyncio.Transport) -> None:
    """No delay of small writes; a dead connection ends in seconds, or in minutes while idle."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)
