"""What a value of the abstract protocol is, for an entry of ``spec``.

Without membership changes it is the payload. With joint consensus it also says which configuration
governs the entry and where that came from, as ``membership`` has it: read off the log up to the
entry, but for the count that had committed the configuration before, which is history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from spec.quorum import is_quorum
from spec.state import Configuration, Entry, Index, Payload, Server


@dataclass(frozen=True, slots=True)
class Value:
    """A payload, and what governs its entry (see ``membership.Governing``)."""

    payload: Payload
    index: int
    configuration: Configuration
    previous_index: int
    previous: Configuration
    commit_term: Any
    commit_event: Any


@dataclass(frozen=True, slots=True)
class Abstraction:
    """How entries become values: with ``joint``, as those of ``membership``."""

    joint: bool = False
    first: Configuration | None = None
    """The configuration before any entry; ``None``: the one with which a server began."""

    def first_of(self, server: Server) -> Configuration:
        """The configuration before any entry, as a server sees it."""
        return server.first_configuration if self.first is None else self.first

    def values(self, server: Server) -> list[Any]:
        """The values of a server's log, with history that is only named."""
        return self.following(server, [], server.log.entries)

    def following(self, server: Server, before: list[Any], entries: Iterable[Entry]) -> list[Any]:
        """The values of entries that follow those of ``before`` in a log of the server."""
        found = list(before)
        for entry in entries:
            index = Index(len(found) + 1)
            named = (f"before {entry.term}", index)
            found.append(self.value(server, found[-1] if found else None, entry, index, named))
        return found[len(before) :]

    def value(
        self, server: Server, last: Any, entry: Entry, index: int, history: tuple[Any, Any]
    ) -> Any:
        """The value of an entry after one with the value ``last`` (``None`` if it is the first).

        ``history`` is the count that has committed the configuration before, if the entry brings
        the next one.
        """
        if not self.joint:
            return entry.payload
        first = self.first_of(server)
        now = last or Value(entry.payload, 0, first, 0, first, None, None)
        if not isinstance(entry.payload, Configuration):
            return replace(now, payload=entry.payload)
        brings = entry.payload
        return Value(brings, index, brings, now.index, now.configuration, *history)


STATIC = Abstraction()
JOINT = Abstraction(joint=True)


def bare(value: Any) -> Any:
    """A value without its history, which the state of a server does not have."""
    if isinstance(value, Value):
        return replace(value, commit_term=None, commit_event=None)
    return value


def with_payload_of(value: Any, entry: Entry) -> Any:
    """The value, with the payload that was really sent."""
    return replace(value, payload=entry.payload) if isinstance(value, Value) else entry.payload


def functions() -> dict[str, Callable[..., Any]]:
    """What values say of configurations, and which configuration may replace which (§6)."""
    return {
        "configuration_index": lambda v: _of(v, "index", 0),
        "entry_configuration": lambda v: _of(v, "configuration"),
        "previous_index": lambda v: _of(v, "previous_index", 0),
        "previous_configuration": lambda v: _of(v, "previous"),
        "previous_commit_term": lambda v: _of(v, "commit_term"),
        "previous_commit_event": lambda v: _of(v, "commit_event"),
        "follows": follows,
        "is_near": is_near,
        "is_quorum": lambda servers, c: c is not None and is_quorum(c, servers),
    }


def _of(value: Value | None, name: str, otherwise: Any = None) -> Any:
    """A part of a value; of an index without an entry it means nothing."""
    return otherwise if value is None else getattr(value, name)


def follows(c: Configuration, d: Configuration) -> bool:
    """C_old,new follows C_old, and C_new follows C_old,new (§6)."""
    if c.new is None:
        return d.new is not None and d.old == c.old
    return d.new is None and d.old == c.new


def is_near(c: Configuration, d: Configuration) -> bool:
    """One and the same, one and the next, or two that follow the same one."""
    siblings = c.new is not None and d.new is not None and c.old == d.old
    return c == d or follows(c, d) or follows(d, c) or siblings
