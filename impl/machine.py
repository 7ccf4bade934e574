"""What is replicated: the contract of a state machine, and the values that it answers with.

Any Python object can be replicated. It gets batches of commands, which are bytes that Raft never
looks into, in the order of the log, the same on every node:

    class Counter:
        def __init__(self): self.value = 0
        def apply(self, time_ms, commands):
            return [self._add(int(command)) for command in commands]
        def _add(self, number): self.value += number; return self.value
        def query(self, time_ms, query): return self.value
        def next_due(self): return None
        def snapshot(self): return iter([str(self.value).encode()])
        def restore(self, chunks): self.value = int(b"".join(chunks))

``impl/store.py`` is the one that the server runs by default.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec


class Failure(msgspec.Struct, frozen=True):
    """The answer to a command that cannot be carried out: a code in capitals, and what is wrong.

    It is a value like others: failing is as deterministic as succeeding.
    """

    code: str
    text: str

    def __str__(self) -> str:
        """As Redis clients see it."""
        return f"{self.code} {self.text}"


Result = None | bool | int | float | bytes | str | list["Result"] | Failure
"""What a command or a query is answered with; ``bytes`` are data, a ``str`` is a word like OK."""


class StateMachine(Protocol):
    """What is replicated. ``apply`` must be deterministic, the rest must keep its promises.

    Deterministic: the state afterwards and the results depend on the state before and the
    arguments alone. No clock (``time_ms`` is the leader's, and goes through the log), no random
    numbers, no order of a set of strings, no exception: a command that cannot be carried out is
    answered by a ``Failure``. All calls come from one thread.
    """

    def apply(self, time_ms: int, commands: Sequence[bytes]) -> list[Result]:
        """Carry out committed commands; one result for each.

        ``time_ms`` may be less than in a former call, after another leader's. No commands at all
        only tell the time.
        """

    def query(self, time_ms: int, query: object) -> Result:
        """Answer without changing anything; ``time_ms`` is this node's clock.

        A query does not leave the process, so it can be any object.
        """

    def next_due(self) -> int | None:
        """When the machine wants to be told the time at the latest, if it does (milliseconds)."""

    def snapshot(self) -> Iterator[bytes]:
        """The state as it is now, in chunks of any size.

        ``apply`` may be called while they are drawn; a call after this one has no influence on
        them. No drawing of a chunk may take longer than the server may stand still. Of two
        snapshots only the later one is drawn to its end.
        """

    def restore(self, chunks: Iterable[bytes]) -> Iterator[None] | None:
        """Become what ``snapshot`` described; what was here before is forgotten.

        A machine for which this takes longer than the server may stand still returns an iterator,
        and does the work a piece at a time as that is drawn. Until it ends, or if it never does,
        ``query`` answers as before; ``apply`` is not called meanwhile.
        """


def restore_at_once(machine: StateMachine, chunks: Iterable[bytes]) -> None:
    """Restore a machine, however long it takes."""
    for _ in machine.restore(chunks) or ():
        pass


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def encode_result(result: Result) -> bytes:
    """A result as bytes, for another node or a snapshot."""
    return _encode(result)


def decode_result(data: bytes) -> Result:
    """What ``encode_result`` was given; raises ``msgspec.DecodeError`` on anything else."""
    return revived(_decode(data))


def revived(value: object) -> Result:
    """A result out of plain MessagePack values: only a failure is a map there."""
    match value:
        case dict():
            return msgspec.convert(value, Failure)
        case list():
            return [revived(item) for item in value]
        case None | bool() | int() | float() | bytes() | str():
            return value
    raise msgspec.DecodeError(f"no result: {type(value).__name__}")
