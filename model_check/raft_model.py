"""Raft as a model: the rules of ``spec`` within finite bounds. All of Raft that is known here.

Every bound is local to one server or to the clients, so that the system stays monotone; what each
one hides is said in ``Bounds.sentences``, which every run prints first.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from model_check.model import (
    AllWhere,
    AnyFact,
    AnyState,
    AnyStep,
    Model,
    Outcome,
    Property,
    Quantifier,
    Witness,
    show,
)
from spec.cluster import Committed, Elected, Fact, facts, initial_server
from spec.events import (
    ChangeMembership,
    ClientRequest,
    Effects,
    ElectionTimeout,
    Event,
    HeartbeatTimeout,
    Receive,
    Restart,
    RetryTimeout,
    Send,
)
from spec.invariants import PROPERTIES, WITNESSES, Claim
from spec.log import configurations, last_index
from spec.messages import Message
from spec.raft import PAPER, SERVER, Options, step
from spec.relevance import is_obsolete, is_past, representative
from spec.state import Command, Configuration, Entry, IndexOf, Leader, Log, NoOp, Server, ServerId

PROFILES = {"paper": PAPER, "server": SERVER}
FEATURES = ("membership",)
"""Events of the environment beyond Figure 2 that can be switched on."""
Step = Callable[[Options, Server, Event], tuple[Server, Effects]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How large a cluster, how high the terms and how long the logs that are explored."""

    servers: int
    terms: int
    log_length: int

    def sentences(self) -> tuple[str, ...]:
        """Each bound, and what it hides."""
        return (
            f"servers {self.servers}: hides what only shows in other, above all larger, clusters",
            f"terms 0 to {self.terms}: a server in term {self.terms} starts no election; hides "
            "what needs more elections in a row",
            f"log length {self.log_length}: a leader whose log is full takes no command and no "
            "no-op, yet is elected and replicates; hides what needs longer logs",
        )

    def reach(self, claim: Claim, members: int, places: int) -> bool:
        """Can a witness show in a cluster of ``members`` whose logs have so many ``places``?"""
        needs = claim.needs
        return needs is None or (
            members + needs.membership >= needs.servers
            and self.terms >= needs.terms
            and places >= needs.log_length
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Which membership changes are asked for (§6), and how often."""

    changes: int = 1
    """Begun changes in one log, at most."""
    targets: tuple[frozenset[ServerId], ...] | None = None
    """What is asked for at any time; ``None``: to replace any one member by any other server."""

    def targets_from(
        self, members: frozenset[ServerId], servers: Sequence[int]
    ) -> Sequence[frozenset[ServerId]]:
        """What an administrator may ask for when ``members`` are the cluster."""
        if self.targets is not None:
            return self.targets
        outside = [ServerId(i) for i in servers if i not in members]
        return [members - {old} | {new} for old in sorted(members) for new in outside]

    def sentence(self, first: Sequence[int]) -> str:
        """What is asked for, and what that hides."""
        what = "replace any one member by any other server"
        if self.targets is not None:
            what = " or ".join(f"make it {show(target)}" for target in self.targets)
        return (
            f"membership: the cluster begins as {show(frozenset(first))}, administrators ask to "
            f"{what}, at most {self.changes} begun in one log, in which a place is kept for each "
            "C_new; hides what needs other or more changes"
        )


class RaftModel(Model[Server, Message, Event, Fact]):
    """A cluster of ``bounds.servers`` servers that all run ``step`` with the same options."""

    def __init__(
        self,
        bounds: Bounds,
        profile: str = "paper",
        rules: Step = step,
        membership: Membership | None = None,
        more: Sequence[Property] = (),
    ) -> None:
        """Explore ``rules`` (those of ``spec``, or a sabotage of them) under a profile.

        With ``membership`` the last server is not in the cluster at first. ``more`` properties are
        judged besides the claims of ``spec``.
        """
        self.name = f"Raft, {profile} profile"
        self.bounds = bounds
        self.profile = profile
        self.options = PROFILES[profile]
        self._options_when_full = replace(self.options, no_op=False)
        self.rules = rules
        self.more = more
        self.processes = tuple(range(1, bounds.servers + 1))
        self.membership = membership
        self.first_members = self.processes[:-1] if membership else self.processes
        # A place is kept for each C_new, which a leader appends however full its log is.
        self._places = bounds.log_length - (membership.changes if membership else 0)

    def sentences(self) -> tuple[str, ...]:
        """Each bound, and what it hides."""
        if self.membership is None:
            return self.bounds.sentences()
        return (*self.bounds.sentences(), self.membership.sentence(self.first_members))

    def initial_states(self) -> Sequence[tuple[Server, ...]]:
        """All servers start for the first time; those outside the cluster know of none."""
        ids = [ServerId(p) for p in self.first_members]
        return [
            tuple(
                initial_server(ServerId(p), ids if p in self.first_members else ())
                for p in self.processes
            )
        ]

    def actions(self, process: int, state: Server) -> Sequence[Event]:
        """Timeouts and crashes at any time; commands while the leader's log has room.

        A command carries the term and index of its creation, so that a copy in a wrong place shows.
        """
        offered: list[Event] = [Restart(), HeartbeatTimeout(), RetryTimeout()]
        match state.role:
            case Leader(target=target):
                if not self._is_full(state):
                    made = f"{state.current_term}.{last_index(state.log) + 1}".encode()
                    offered.append(ClientRequest(commands=(Command(data=made),)))
                    if self.membership and target is None:
                        offered += self._changes(self.membership, state)
            case _:
                if state.current_term < self.bounds.terms:
                    offered.append(ElectionTimeout())
        return offered

    def _changes(self, membership: Membership, leader: Server) -> Sequence[Event]:
        begun = sum(c.new is not None for c in configurations(leader.log))
        if begun >= membership.changes or leader.configuration.new is not None:
            return ()
        members = leader.configuration.old
        return [
            ChangeMembership(members=target)
            for target in membership.targets_from(members, self.processes)
            if target != members
        ]

    def _is_full(self, server: Server) -> bool:
        """Has the log no room for a command, a no-op or the beginning of a change?"""
        asked = isinstance(server.role, Leader) and server.role.target is not None
        return _bounded_length(server.log) + asked >= self._places

    def act(self, process: int, state: Server, action: Event) -> Outcome[Server, Message, Fact]:
        """An event of the server's own."""
        # The bound refuses the no-op of a leader whose log is full, not its election.
        options = self._options_when_full if self._is_full(state) else self.options
        after, effects = self.rules(options, state, action)
        return Outcome(
            state=after,
            sends=tuple((e.to, e.message) for e in effects if isinstance(e, Send)),
            facts=facts(state, after, effects),
            step=(state, action, after, effects),
        )

    def deliver(
        self, process: int, state: Server, source: int, message: Message
    ) -> Outcome[Server, Message, Fact]:
        """A message arrives."""
        return self.act(process, state, Receive(source=ServerId(source), message=message))

    def properties(self) -> Sequence[Property]:
        """The claims of ``spec.invariants``, and that nothing escapes the bounds by itself."""
        within_bounds = Property(
            name="within_bounds",
            over=(AnyState(),),
            predicate=self._within_bounds,
            title="Within the bounds",
            sentence="Only elections raise the term, only clients and elections lengthen the log.",
        )
        return [
            within_bounds,
            *self._claims(),
            *self.more,
        ]

    def _within_bounds(self, server: Server) -> bool:
        changes = self.membership.changes if self.membership else 0
        return (
            server.current_term <= self.bounds.terms
            and _bounded_length(server.log) <= self._places
            and len(configurations(server.log)) <= 2 * changes
        )

    def _claims(self) -> Sequence[Property]:
        return [
            Property(
                name=claim.name,
                over=quantifiers(claim),
                predicate=claim.predicate,
                title=claim.title,
                sentence=_first_paragraph(claim),
            )
            for claim in PROPERTIES
        ]

    def witnesses(self) -> Sequence[Witness]:
        """The witnesses of ``spec.invariants``."""
        return [
            Witness(
                name=claim.name,
                over=quantifiers(claim),
                predicate=claim.predicate,
                title=claim.title,
                sentence=_first_paragraph(claim),
                expected=self.bounds.reach(claim, len(self.first_members), self._places),
            )
            for claim in WITNESSES
            if self.membership or not (claim.needs and claim.needs.membership)
        ]

    def interchangeable(self) -> Sequence[Sequence[int]]:
        """No rule of Raft looks at who a server is; an administrator may."""
        if self.membership is None or self.membership.targets is None:
            return [self.processes]
        groups: dict[tuple[bool, ...], list[int]] = {}
        for p in self.processes:
            asked_for = tuple(ServerId(p) in target for target in self.membership.targets)
            groups.setdefault(asked_for, []).append(p)
        return list(groups.values())

    def rename_state(self, renaming: Mapping[int, int], state: Server) -> Server:
        """Rename every server id, wherever the types say that there is one."""
        return typing.cast(Server, _rename(renaming, Server, state))

    def rename_message(self, renaming: Mapping[int, int], message: Message) -> Message:
        """Rename every server id in a message."""
        return typing.cast(Message, _rename(renaming, type(message), message))

    def rename_fact(self, renaming: Mapping[int, int], fact: Fact) -> Fact:
        """Rename every server id in a fact."""
        return typing.cast(Fact, _rename(renaming, type(fact), fact))

    def is_obsolete(self, process: int, state: Server, source: int, message: Message) -> bool:
        """As ``spec.relevance`` claims."""
        return is_obsolete(state, ServerId(source), message)

    def representative(self, process: int, state: Server, source: int, message: Message) -> Message:
        """As ``spec.relevance`` claims."""
        return representative(state, ServerId(source), message)

    def is_past(self, process: int, state: Server, fact: Fact) -> bool:
        """As ``spec.relevance`` claims."""
        return is_past(state, fact)

    def description(self) -> str:
        """The profile and the bounds."""
        bounds = self.bounds
        return (
            f"{self.name}, servers {bounds.servers}, terms {bounds.terms}, "
            f"log length {bounds.log_length}" + (f", {self.membership}" if self.membership else "")
        )

    def kinds(self) -> Sequence[str]:
        """Every event and every message."""
        without = {Receive} if self.membership else {Receive, ChangeMembership}
        events = [e.__name__ for e in get_args(Event) if e not in without]
        return [*events, *(f"Receive {m.__name__}" for m in get_args(Message))]

    def weight(self, action: Event) -> float:
        """Crashes are rare, so that walks get somewhere between them."""
        return 0.1 if isinstance(action, Restart) else 1.0

    def name_of(self, process: int) -> str:
        """S1, S2, ... as in the paper's figures."""
        return f"S{process}"

    def kind_of_message(self, message: Message) -> str:
        """Counted by the message's type."""
        return f"Receive {type(message).__name__}"

    def show(self, value: object) -> str:
        """Logs and tables in short: ``[t1:1.1 t2:no-op]``, ``{2: 1, 3: 0}``."""
        match value:
            case Log(entries=entries):
                return "[" + " ".join(map(self.show, entries)) + "]"
            case Entry(term=term, payload=Configuration() as configuration):
                return f"t{term}:{self.show(configuration)}"
            case Entry(term=term, payload=NoOp()):
                return f"t{term}:no-op"
            case Entry(term=term, payload=Command(data=data)):
                return f"t{term}:{data.decode()}"
            case Command(data=data):
                return data.decode()
            case Configuration(old=old, new=new):
                return show(old) if new is None else f"{show(old)} and {show(new)}"
            case IndexOf():
                return "{" + ", ".join(f"{i}: {index}" for i, index in value.items()) + "}"
            case tuple() if value and all(isinstance(e, Entry) for e in value):
                return "[" + " ".join(map(self.show, value)) + "]"
            case _ if is_dataclass(value) and not isinstance(value, type):
                inner = ", ".join(
                    f"{f.name}={self.show(getattr(value, f.name))}"
                    for f in fields(value)
                    if not (isinstance(value, Server) and self._goes_without_saying(value, f.name))
                    and not (isinstance(value, Leader) and getattr(value, f.name) is None)
                )
                return f"{type(value).__name__}({inner})" if inner else type(value).__name__
            case tuple():
                return "[" + ", ".join(map(self.show, value)) + "]"
            case _:
                return show(value)

    def _goes_without_saying(self, server: Server, field: str) -> bool:
        """The configuration, as long as it is what it was at first."""
        return field == "first_configuration" or (
            field == "configuration" and server.configuration == server.first_configuration
        )


def _bounded_length(log: Log) -> int:
    """The length of a log without the entries for which places are kept."""
    return last_index(log) - sum(c.new is None for c in configurations(log))


def quantifiers(claim: Claim) -> tuple[Quantifier, ...]:
    """What a claim's signature quantifies over."""
    hints = get_type_hints(claim.predicate, include_extras=True)
    hints.pop("return")
    if "event" in hints:
        return (AnyStep(),)
    found: list[Quantifier] = []
    for hint in hints.values():
        if hint is Server:
            found.append(AnyState())
        elif hint in (Elected, Committed):
            found.append(AnyFact(hint))
        elif get_origin(hint) is Annotated:
            found.append(AllWhere(hint.__metadata__[0]))
        else:
            raise TypeError(f"{claim.name}: cannot quantify over {hint}")
    return tuple(found)


def _first_paragraph(claim: Claim) -> str:
    text = (claim.predicate.__doc__ or "").split("\n\n")[0]
    return " ".join(text.split())


def _rename(renaming: Mapping[int, int], kind: Any, value: Any) -> Any:
    """Rename every ``ServerId`` in ``value``, whose declared type is ``kind``."""
    rename = _renamer(kind)
    return value if rename is None else rename(renaming, value)


_RENAMERS: dict[Any, Callable[[Mapping[int, int], Any], Any] | None] = {}


def _renamer(kind: Any) -> Callable[[Mapping[int, int], Any], Any] | None:
    """How to rename a value of this type, or ``None`` if no server id can be in it."""
    if kind not in _RENAMERS:
        _RENAMERS[kind] = _make_renamer(kind)
    return _RENAMERS[kind]


def _make_renamer(kind: Any) -> Callable[[Mapping[int, int], Any], Any] | None:
    if kind is ServerId:
        return lambda renaming, value: renaming[value]
    if kind is IndexOf:
        return lambda renaming, value: IndexOf.of(
            {ServerId(renaming[i]): n for i, n in value.items()}
        )
    if is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        parts = [(f.name, _renamer(hints[f.name])) for f in fields(kind)]
        affected = [(name, rename) for name, rename in parts if rename is not None]
        if not affected:
            return None
        return lambda renaming, value: replace(
            value, **{name: rename(renaming, getattr(value, name)) for name, rename in affected}
        )
    arguments = get_args(kind)
    if get_origin(kind) in (UnionType, typing.Union):
        some = [option for option in arguments if option is not type(None)]
        if all(_renamer(option) is None for option in some):
            return None
        if len(some) == 1:
            return lambda renaming, value: (
                None if value is None else _rename(renaming, some[0], value)
            )
        return lambda renaming, value: _rename(renaming, type(value), value)
    if get_origin(kind) is frozenset and ServerId in arguments:
        return lambda renaming, value: frozenset(renaming[i] for i in value)
    if get_origin(kind) is tuple and _renamer(arguments[0]) is not None:
        return lambda renaming, value: tuple(_rename(renaming, arguments[0], v) for v in value)
    return None
