"""How a server of ``spec`` is seen in the abstract protocol.

Without membership changes the value of an entry is its payload. With joint consensus it also says
which configuration governs the entry and where that came from, as ``membership`` has it: read off
the log up to the entry, but for the count that had committed the configuration before, which is
history.

In the abstract protocol, the entries that a snapshot covers stay where they were. A server has them
no more, so what they were is unknown here (``Covered``): of the last one the snapshot tells the
term and the configuration, of the others nothing. An action may use one only where it makes no
difference what it was, for instance to send it on; so a step is one of the abstract protocol
*whatever* the snapshot covers. ``runs`` has the true entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from model_check.proof.logic import UNCLEAR
from model_check.proof.membership import JointState
from model_check.proof.reads import ReadState
from model_check.proof.snapshots import SnapshotState
from model_check.proof.state import State
from spec.log import base_index, entry_at
from spec.quorum import is_quorum
from spec.state import Configuration, Entry, Index, Log, Server, Snapshot


class NotRefined(Exception):
    """A step is no step of the abstract protocol; the message says why."""


class NotLocal(Exception):
    """An action looked beyond its server and the message that arrived."""


@dataclass(frozen=True, slots=True, eq=False)
class Covered:
    """Something of an entry that a snapshot covers: equal to itself, and else nobody knows."""

    what: str
    snapshot: Snapshot
    index: int

    def __eq__(self, other: object) -> Any:
        """Is it the same thing of the same entry under the same snapshot?"""
        return True if isinstance(other, Covered) and self._name == other._name else UNCLEAR

    def __ne__(self, other: object) -> Any:
        """It may be the same even so."""
        return False if isinstance(other, Covered) and self._name == other._name else UNCLEAR

    def __le__(self, number: int) -> Any:
        """As an index it is that of the entry, or one before it."""
        return True if self.index <= number else UNCLEAR

    def __hash__(self) -> int:
        return hash(self._name)

    @property
    def _name(self) -> tuple[str, int, Snapshot]:
        return self.what, self.index, self.snapshot


@dataclass(frozen=True, slots=True)
class Value:
    """A payload, and what governs its entry (see ``membership.Governing``)."""

    payload: Any
    index: Any
    configuration: Configuration
    previous_index: Any
    previous: Any
    commit_term: Any
    commit_event: Any


@dataclass(frozen=True, slots=True)
class Abstraction:
    """The states of which abstract protocol servers are seen as."""

    state: type[State] = State
    first: Configuration | None = None
    """The configuration before any entry; ``None``: the one with which a server began."""

    @property
    def joint(self) -> bool:
        """Do entries have values as ``membership`` has them?"""
        return issubclass(self.state, JointState)

    @property
    def snapshots(self) -> bool:
        """May logs be compacted?"""
        return issubclass(self.state, SnapshotState)

    @property
    def reads(self) -> bool:
        """Are there reads?"""
        return issubclass(self.state, ReadState)

    def first_of(self, server: Server) -> Configuration:
        """The configuration before any entry, as a server sees it."""
        return server.first_configuration if self.first is None else self.first

    def values(self, server: Server) -> list[Any]:
        """The values of a server's log, with history that is only named."""
        covered = self.covered_values(server.log.snapshot)
        return covered + self.following(server, covered, server.log.entries)

    def covered_values(self, snapshot: Snapshot | None) -> list[Any]:
        """The values of what a snapshot covers."""
        if snapshot is None:
            return []
        last = snapshot.last_included_index
        values: list[Any] = [Covered("value", snapshot, i) for i in range(1, last + 1)]
        if self.joint:
            unknown = {
                name: Covered(name, snapshot, last)
                for name in ("index", "previous_index", "previous", "commit_term", "commit_event")
            }
            configuration = snapshot.configuration
            values[-1] = Value(payload=values[-1], configuration=configuration, **unknown)
        return values

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
JOINT = Abstraction(JointState)


def covered_terms(snapshot: Snapshot | None) -> list[Any]:
    """The terms of what a snapshot covers: it tells the last one."""
    if snapshot is None:
        return []
    last = snapshot.last_included_index
    return [*(Covered("term", snapshot, i) for i in range(1, last)), snapshot.last_included_term]


def entry_term(log: Log) -> Callable[[int], Any]:
    """The term at each index of a log; 0 means nothing."""
    covered = covered_terms(log.snapshot)

    def term(index: int) -> Any:
        if 1 <= index <= len(covered):
            return covered[index - 1]
        entry = entry_at(log, Index(index))
        return 0 if entry is None else entry.term

    return term


def known_of(value: Any, server: Server) -> Any:
    """What a server knows of a value after its snapshot; history it does not know."""
    if not isinstance(value, Value):
        return value
    base = base_index(server.log)
    index = _not_before(value.index, base)
    known = (value.payload, index, value.configuration)
    if index <= base:
        return known
    return (*known, _not_before(value.previous_index, base), value.previous)


def _not_before(index: Any, base: int) -> Any:
    return base if (index <= base) is True else index


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
