"""A connection to a peer, at the moment it ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from impl.config import Address
from impl.transport import Link, Outgoing, PeerLimits, Peers
from spec.state import ServerId


class Transport:
    """One that ends at some time, and then refuses what is written, as uvloop's does."""

    def __init__(self) -> None:
        self.has_ended = False
        self.written: list[bytes] = []

    def is_closing(self) -> bool:
        """Has it ended? The protocol may not have heard of it."""
        return self.has_ended

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def write(self, data: bytes) -> None:
        """Send."""
        if self.has_ended:
            raise RuntimeError("the handler is closed")
        self.written.append(data)


def test_what_waits_for_a_connection_that_has_just_ended_is_lost_without_a_word() -> None:
    transport = Transport()
    peers = SimpleNamespace(limits=PeerLimits(), now=lambda: 0.0, on_connected=lambda peer: None)
    link = Link(cast(Peers, peers), ServerId(2), Address("127.0.0.1", 1))
    link.is_up(cast(Outgoing, SimpleNamespace(transport=transport)))
    assert link.send(b"one")
    link.flush()
    assert link.send(b"two")
    transport.has_ended = True
    link.flush()
    transport.has_ended = False
    link.flush()
    assert transport.written == [b"one"]
