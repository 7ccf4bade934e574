"""A cluster driven by hand: servers, a network that never forgets, and every claim checked.

The evaluator of claims reads their signatures and knows nothing of any single claim. It is kept
simple and shares no code with ``model_check``, so that each can show a mistake of the other.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from inspect import signature
from typing import Annotated, Any, Self, get_origin, get_type_hints

from spec.cluster import Committed, Elected, Fact, facts, initial_server, remembered
from spec.disk import durable_up_to, is_about_the_log
from spec.elections import hears_leader
from spec.events import (
    ChangeLearners,
    ChangeMembership,
    ClientRequest,
    CommittedUpTo,
    Effect,
    Effects,
    ElectionTimeout,
    Event,
    HeartbeatTimeout,
    Receive,
    Replicate,
    Restart,
    RetryTimeout,
    Send,
    TakeSnapshot,
    TransferLeadership,
)
from spec.invariants import PROPERTIES, WITNESSES, Claim
from spec.log import last_index
from spec.messages import (
    AppendEntries,
    Message,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
)
from spec.raft import PAPER, Options, recover, step
from spec.state import (
    Command,
    Configuration,
    Entry,
    Index,
    Leader,
    Log,
    Role,
    Server,
    ServerId,
    Term,
)

Step = Callable[[Options, Server, Event], tuple[Server, Effects]]

S1, S2, S3, S4, S5, S6, S7 = (ServerId(i) for i in range(1, 8))


# --- Claims: the signature is the quantifier ----------------------------------------------------


class ClaimBroken(AssertionError):
    """A property is false; the message begins with its title."""


class Shape(Enum):
    """What a claim speaks about."""

    STEP = auto()
    PRESENT = auto()
    HISTORY = auto()
    PRESENT_AND_HISTORY = auto()


def parameter_kinds(claim: Claim) -> tuple[Any, ...]:
    """The annotations of the claim's parameters, in order."""
    hints = get_type_hints(claim.predicate, include_extras=True)
    return tuple(kind for name, kind in hints.items() if name != "return")


def shape_of(claim: Claim) -> Shape:
    """Told from the signature alone."""
    kinds = parameter_kinds(claim)
    if kinds == (Server, Event, Server, Effects):
        return Shape.STEP
    if not {Elected, Committed} & set(kinds):
        return Shape.PRESENT
    return Shape.HISTORY if set(kinds) <= {Elected, Committed} else Shape.PRESENT_AND_HISTORY


KINDS = {claim.name: parameter_kinds(claim) for claim in PROPERTIES + WITNESSES}
SHAPES = {claim.name: shape_of(claim) for claim in PROPERTIES + WITNESSES}


def cases(
    kinds: tuple[Any, ...], servers: Iterable[Server], history: Iterable[Fact]
) -> Iterator[tuple[Any, ...]]:
    """All ways to choose the arguments; two parameters are never given the same value.

    A relation stands to as many of the arguments just before it as it has parameters to spare.
    """
    if not kinds:
        yield ()
        return
    *former, kind = kinds
    for chosen in cases(tuple(former), servers, history):
        if get_origin(kind) is Annotated:
            relation = kind.__metadata__[0]
            related_to = chosen[len(chosen) + 1 - len(signature(relation).parameters) :]
            yield *chosen, frozenset(s.server_id for s in servers if relation(*related_to, s))
        else:
            for value in (*servers, *history):
                if isinstance(value, kind) and value not in chosen:
                    yield *chosen, value


# --- The cluster --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A message on its way."""

    source: ServerId
    to: ServerId
    message: Message

    def arrives(self) -> Receive:
        """The event at the receiver."""
        return Receive(source=self.source, message=self.message)


class Cluster:
    """Servers S1 ... Sn, every message ever sent, and every fact of their history.

    Dictionaries without values serve as sets that keep their order. ``in_flight`` only says which
    packets were never delivered nor given up; any packet of ``network`` may arrive at any time.
    """

    def __init__(
        self, size: int = 3, options: Options = PAPER, step: Step = step, outside: int = 0
    ) -> None:
        """``size`` members, and servers ``outside`` that wait to be added (§6)."""
        ids = [ServerId(i) for i in range(1, size + 1)]
        self.options = options
        self.claims = [claim for claim in PROPERTIES + WITNESSES if claim.in_force(options)]
        self.step = step
        self.servers = {i: initial_server(i, ids) for i in ids}
        for i in map(ServerId, range(size + 1, size + outside + 1)):
            self.servers[i] = initial_server(i, ())
        self.network: dict[Packet, None] = {}
        self.in_flight: dict[Packet, None] = {}
        self.history: dict[Fact, None] = {}
        self.applied: Counter[str] = Counter()
        """How often each claim was true where it applied."""

    def copy(self) -> Self:
        """The same moment again, with another future; both count in the same ``applied``."""
        twin = copy.copy(self)
        for name in ("servers", "network", "in_flight", "history"):
            setattr(twin, name, dict(getattr(self, name)))
        return twin

    # What happens, and what must then be true

    def take_step(self, server_id: ServerId, event: Event) -> Effects:
        """Let ``event`` happen; the claims about steps are checked, those about states are not."""
        before = self.servers[server_id]
        after, effects = self.step(self.options, before, event)
        if is_about_the_log(effects):  # the disk of these servers is never late
            written = durable_up_to(after.log)
            after, counted = self.step(self.options, after, written)
            effects += counted
        self.servers[server_id] = after
        if isinstance(event, Receive):
            arrived = Packet(source=event.source, to=server_id, message=event.message)
            self.in_flight.pop(arrived, None)
        self.post(server_id, effects)
        self.history |= dict.fromkeys(facts(before, after, effects))
        for claim in self.claims:
            if SHAPES[claim.name] is Shape.STEP:
                self.judge(claim, before, event, after, effects)
        if self.options.streaming and after != before:
            self.stream(server_id)
        return effects

    def post(self, server_id: ServerId, effects: Iterable[Effect]) -> None:
        """Give the messages among the effects to the network."""
        for effect in effects:
            if isinstance(effect, Send):
                packet = Packet(source=server_id, to=effect.to, message=effect.message)
                self.network.pop(packet, None)
                self.network[packet] = self.in_flight[packet] = None

    def stream(self, server_id: ServerId) -> None:
        """A driver with room for all that a leader has to send."""
        server = self.servers[server_id]
        if isinstance(server.role, Leader):
            for to, first in server.role.next_index.items():
                if to in self.servers and first <= last_index(server.log):
                    self.take_step(server_id, Replicate(to=to, first_index=first, count=99))

    def check(self, shape: Shape) -> None:
        """Hold all claims of this shape against the present and the history."""
        for claim in self.claims:
            if SHAPES[claim.name] is shape:
                for case in cases(KINDS[claim.name], self.servers.values(), self.history):
                    self.judge(claim, *case)

    def judge(self, claim: Claim, *case: Any) -> None:
        """Count a claim where it applies and is true; a property must never be false."""
        verdict = claim.predicate(*case)
        if verdict is False and claim.needs is None:
            raise ClaimBroken(f"{claim.title}: {case}")
        self.applied[claim.name] += bool(verdict)

    def happen(self, server_id: ServerId, event: Event) -> Effects:
        """Let ``event`` happen and check everything."""
        known = len(self.history)
        effects = self.take_step(server_id, event)
        self.check(Shape.PRESENT)
        self.check(Shape.PRESENT_AND_HISTORY)
        if len(self.history) > known:
            self.check(Shape.HISTORY)
        return effects

    # Schedules in few words

    def time_out(self, server_id: ServerId) -> Effects:
        """The election timeout of a server elapses."""
        return self.happen(server_id, ElectionTimeout())

    def heartbeat(self, server_id: ServerId) -> Effects:
        """The heartbeat timeout of a server elapses."""
        return self.happen(server_id, HeartbeatTimeout())

    def retry(self, server_id: ServerId) -> Effects:
        """A server's requests were not answered in time."""
        return self.happen(server_id, RetryTimeout())

    def request(self, server_id: ServerId, *commands: str) -> Effects:
        """A client asks for commands."""
        return self.happen(server_id, client_request(*commands))

    def change(self, server_id: ServerId, *members: ServerId) -> Effects:
        """An administrator asks for another membership."""
        return self.happen(server_id, ChangeMembership(members=frozenset(members)))

    def learn(self, server_id: ServerId, *learners: ServerId) -> Effects:
        """An administrator asks a server to bring others up to date."""
        return self.happen(server_id, ChangeLearners(learners=frozenset(learners)))

    def transfer(self, server_id: ServerId, to: ServerId) -> Effects:
        """An administrator asks for another leader."""
        return self.happen(server_id, TransferLeadership(to=to))

    def snapshot(self, server_id: ServerId, upto: int) -> Effects:
        """The owner of a server's state machine has a snapshot of it, up to an index."""
        data = remembered(self.servers[server_id].log, Index(upto))
        return self.happen(server_id, TakeSnapshot(last_included_index=Index(upto), data=data))

    def restart(self, server_id: ServerId) -> Effects:
        """A server crashes and starts again."""
        return self.happen(server_id, Restart())

    def latest(self, kind: type[Message], source: ServerId, to: ServerId) -> Packet:
        """The last packet of this kind sent from ``source`` to ``to``, delivered or not."""
        return next(
            p
            for p in reversed(self.network)
            if isinstance(p.message, kind) and (p.source, p.to) == (source, to)
        )

    def deliver(self, kind: type[Message], source: ServerId, to: ServerId) -> Effects:
        """The latest packet of this kind arrives, perhaps again."""
        return self.happen(to, self.latest(kind, source, to).arrives())

    def exchange(self, one: ServerId, *others: ServerId) -> list[tuple[ServerId, Effects]]:
        """Deliver what is in flight between one server and the others, and all that follows."""
        happened = []
        while packet := next((p for p in self.in_flight if joins(p, one, others)), None):
            happened.append((packet.to, self.happen(packet.to, packet.arrives())))
        return happened

    def elect(self, candidate: ServerId, *voters: ServerId) -> None:
        """A server times out, and asks and gets the votes of some others.

        With pre-votes they hear no leader: their election timeouts elapse before.
        """
        if self.options.pre_vote:
            for voter in voters:
                while hears_leader(self.servers[voter]):
                    self.time_out(voter)
        self.time_out(candidate)
        if self.options.pre_vote:
            for voter in voters:
                self.deliver(PreVote, candidate, voter)
            for voter in voters:
                self.deliver(PreVoteResponse, voter, candidate)
        for voter in voters:
            self.deliver(RequestVote, candidate, voter)
        for voter in voters:
            self.deliver(RequestVoteResponse, voter, candidate)
        assert self.leads(candidate), f"S{candidate} is not elected by {voters}"

    def lose(self) -> None:
        """Give up every packet in flight."""
        self.in_flight.clear()

    # Looking at servers

    def leads(self, server_id: ServerId) -> bool:
        """Does the server believe to be leader?"""
        return isinstance(self.servers[server_id].role, Leader)

    def log_terms(self, server_id: ServerId) -> list[int]:
        """The terms of a server's entries."""
        return log_terms(self.servers[server_id])


def joins(packet: Packet, one: ServerId, others: tuple[ServerId, ...]) -> bool:
    """Is the packet on its way between one server and the others?"""
    return (packet.source == one and packet.to in others) or (
        packet.to == one and packet.source in others
    )


# --- Values in few words ------------------------------------------------------------------------


def client_request(*commands: str) -> ClientRequest:
    """A client's request."""
    return ClientRequest(commands=tuple(Command(data=c.encode()) for c in commands))


def entries(*terms: int, first_index: int = 1) -> tuple[Entry, ...]:
    """Entries of these terms, the same ones wherever term and index are the same."""
    return tuple(
        Entry(term=Term(term), payload=Command(data=f"{index}.{term}".encode()))
        for index, term in enumerate(terms, start=first_index)
    )


def log_terms(server: Server) -> list[int]:
    """The terms of a server's entries."""
    return [entry.term for entry in server.log.entries]


def follower(
    *,
    term: int,
    log: Iterable[int] = (),
    voted_for: ServerId | None = None,
    server_id: ServerId = S2,
    size: int = 3,
) -> Server:
    """A server that has just started from this persistent state."""
    return recover(
        server_id=server_id,
        configuration=Configuration(old=frozenset(ServerId(i) for i in range(1, size + 1))),
        current_term=Term(term),
        voted_for=voted_for,
        log=Log(entries=entries(*log)),
    )


def append_entries(
    *,
    term: int,
    prev: tuple[int, int] = (0, 0),
    terms: Iterable[int] = (),
    leader_commit: int = 0,
    leader: ServerId = S1,
) -> AppendEntries:
    """AppendEntries after the entry ``prev``, an (index, term), with entries of ``terms``."""
    prev_log_index, prev_log_term = prev
    return AppendEntries(
        term=Term(term),
        leader_id=leader,
        prev_log_index=Index(prev_log_index),
        prev_log_term=Term(prev_log_term),
        entries=entries(*terms, first_index=prev_log_index + 1),
        leader_commit=Index(leader_commit),
    )


def request_vote(*, term: int, candidate: ServerId, last: tuple[int, int] = (0, 0)) -> RequestVote:
    """RequestVote of a candidate whose last entry is ``last``, an (index, term)."""
    last_log_index, last_log_term = last
    return RequestVote(
        term=Term(term),
        candidate_id=candidate,
        last_log_index=Index(last_log_index),
        last_log_term=Term(last_log_term),
    )


def receive(server: Server, source: ServerId, message: Message) -> tuple[Server, Effects]:
    """One message arrives at a server that runs by Figure 2."""
    return step(PAPER, server, Receive(source=source, message=message))


def leader_role(role: Role) -> Leader:
    """The role, which must be that of a leader."""
    assert isinstance(role, Leader)
    return role


def commits(effects: Iterable[Effect]) -> list[Index]:
    """The commit indices that a step announces."""
    return [effect.commit_index for effect in effects if isinstance(effect, CommittedUpTo)]
