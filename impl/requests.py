"""Clients' requests on their way through a node, and the log entry that carries many of them.

Commands that queue while the last batch is on its way become one log entry: its bytes are encoded
once, by the leader, and pass from there to disk, to the peers and to the state machine as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from impl.machine import Result
from spec.state import Command, Index, Term

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, list[bytes]]).decode


def command_of(time_ms: int, commands: Sequence[bytes]) -> Command:
    """One log entry's payload: the leader's time, and the clients' commands in order."""
    return Command(data=_encode((time_ms, commands)))


def commands_in(payload: Command) -> tuple[int, list[bytes]]:
    """The time and the commands of an entry made by ``command_of``."""
    return _decode(payload.data)


@dataclass(frozen=True, slots=True)
class Done:
    """The commands were applied (or the queries answered) with these results, one each."""

    results: Sequence[Result]
    index: Index
    """The log up to here has been applied."""


@dataclass(frozen=True, slots=True)
class NotDone:
    """The commands were certainly not applied, and never will be."""

    reason: str
    code: str = "NOLEADER"


@dataclass(frozen=True, slots=True)
class Unknown:
    """The commands were, or will be, applied once or not at all: this node cannot tell."""

    reason: str


Outcome = Done | NotDone | Unknown
Answer = Callable[[Outcome], None]


@dataclass(slots=True, eq=False)
class Write:
    """Commands that one client, or a peer for its clients, asks for in one go."""

    commands: Sequence[bytes]
    deadline: float
    answer: Answer
    is_forwarded: bool = False
    """It came from another server: it is not sent on a second time."""
    size: int = 0
    """Bytes of its commands."""

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.commands))


@dataclass(slots=True, eq=False)
class Read:
    """Queries that one client asks in one go; they never leave the node they came to."""

    queries: Sequence[object]
    deadline: float
    answer: Answer


@dataclass(slots=True, eq=False)
class Batch:
    """Writes that wait for one log entry, which is theirs if its term is ``term``."""

    term: Term
    writes: Sequence[Write]
