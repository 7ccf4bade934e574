"""Servers as processes of a model: the rules of ``spec``, offered the events within bounds.

``Part`` is what a model must know of each kind of its processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from model_check.model import Outcome
from model_check.raft_bounds import Bounds, Membership, Snapshots
from spec.cluster import C_NEW, C_OLD_NEW, facts, initial_server, remembered
from spec.disk import Crash, DiskEvent, WriteCompletes, durable_up_to, is_about_the_log
from spec.elections import hears_leader, silent
from spec.events import (
    ChangeLearners,
    ChangeMembership,
    ClientRequest,
    Effects,
    ElectionTimeout,
    Event,
    HeartbeatTimeout,
    Receive,
    Replicate,
    ResetElectionTimer,
    Restart,
    RetryTimeout,
    Send,
    TakeSnapshot,
    TransferLeadership,
)
from spec.log import base_index, last_index
from spec.quorum import members
from spec.raft import Options
from spec.relevance import doubting, is_obsolete, is_past, representative
from spec.state import Command, Index, Leader, Log, Server, ServerId, Term

Step = Callable[[Options, Server, Event], tuple[Server, Effects]]
Action = Event | DiskEvent
Answers = tuple[tuple[tuple[int, Any], ...], tuple[Any, ...]]
"""Messages to processes that are no servers, and facts."""
S = TypeVar("S")


class Part(ABC, Generic[S]):
    """One kind of process; the methods mean what those of ``Model`` mean."""

    @abstractmethod
    def initial_state(self, process: int) -> S:
        """The state in which a process begins."""

    @abstractmethod
    def actions(self, process: int, state: S) -> Sequence[Any]:
        """What a process may do by itself."""

    @abstractmethod
    def act(self, process: int, state: S, action: Any) -> Outcome[S, Any, Any]:
        """A process takes one of its actions."""

    @abstractmethod
    def deliver(self, process: int, state: S, source: int, message: Any) -> Outcome[S, Any, Any]:
        """A message arrives."""

    @abstractmethod
    def is_obsolete(self, process: int, state: S, source: int, message: Any) -> bool:
        """Does the message matter no more?"""

    @abstractmethod
    def representative(self, process: int, state: S, source: int, message: Any) -> Any:
        """One message for all that the process can no longer tell apart."""

    @abstractmethod
    def is_past(self, process: int, state: S, fact: Any) -> bool:
        """Can the process do nothing any more that clashes with the fact?"""

    @abstractmethod
    def within_bounds(self, state: S) -> bool:
        """Has nothing but the actions offered led to this state?"""

    @abstractmethod
    def name_of(self, process: int) -> str:
        """What the process is called in traces."""


class Servers(Part[Server]):
    """Servers that run ``rules``, the first of them as members of the cluster."""

    def __init__(
        self,
        bounds: Bounds,
        options: Options,
        rules: Step,
        membership: Membership | None,
        *,
        transfer: bool = False,
        snapshots: Snapshots | None = None,
        doubts: bool = False,
    ) -> None:
        """All servers of ``bounds``; with ``membership`` the last one is no member at first.

        With ``transfer`` leaders are asked to hand over to any other member, at any time. With
        ``doubts`` servers doubt at once that there is a leader (see ``raft_doubts``).
        """
        self.bounds = bounds
        self.membership = membership
        self.snapshots = snapshots
        self.rules = rules
        self.processes = tuple(range(1, bounds.servers + 1))
        is_one_outside = membership is not None and not membership.one_server
        self.first_members = self.processes[:-1] if is_one_outside else self.processes
        self.options = options
        self.transfer = transfer
        self.doubts = doubts
        self._options_when_full = replace(self.options, no_op=False)
        # A place is kept for each C_new, which a leader appends however full its log is.
        self.places = bounds.log_length - (membership.changes if membership else 0)

    def initial_state(self, process: int) -> Server:
        """A server starts for the first time; one outside the cluster knows of none."""
        ids = [ServerId(p) for p in self.first_members]
        return initial_server(ServerId(process), ids if process in self.first_members else ())

    def actions(self, process: int, state: Server) -> Sequence[Event]:
        """Timeouts and crashes at any time; commands while the leader's log has room.

        A command carries the term and index of its creation, so that a copy in a wrong place shows.
        """
        offered: list[Event] = [Restart(), HeartbeatTimeout(), RetryTimeout()]
        if self.snapshots:
            offered += self._snapshots(self.snapshots, state)
        match state.role:
            case Leader(target=target, learners=learners) as leader:
                if self.membership and self.membership.learners and not learners:
                    offered += self._learners(state)
                if self.options.streaming:
                    offered += self._room(state, leader)
                if self.options.check_quorum or leader.transferring_to is not None:
                    offered.append(ElectionTimeout())
                is_room = not self._is_full(state) or (
                    self.membership is not None and self.membership.one_server
                )
                if self.membership and target is None and is_room:
                    offered += self._changes(self.membership, state)
                if self.transfer and leader.transferring_to is None:
                    offered += self._transfers(state)
                if not self._is_full(state):
                    made = f"{state.current_term}.{last_index(state.log) + 1}".encode()
                    offered.append(ClientRequest(commands=(Command(data=made),)))
            case _:
                if state.current_term < self.bounds.terms or hears_leader(state):
                    offered.append(ElectionTimeout())
        return offered

    def _room(self, server: Server, leader: Leader) -> Sequence[Event]:
        """The driver may have room for any slice of the log that a leader may send."""
        end = last_index(server.log)
        return [
            Replicate(to=to, first_index=Index(first), count=count)
            for to, next_index in leader.next_index.items()
            for first in range(next_index, end + 2)
            for count in range(end + 2 - first)
        ]

    def _transfers(self, leader: Server) -> Sequence[Event]:
        """The successor starts an election, so none is asked for in the last term."""
        if leader.current_term == self.bounds.terms:
            return ()
        others = [i for i in members(leader.configuration) if i != leader.server_id]
        return [TransferLeadership(to=i) for i in others]

    def _snapshots(self, snapshots: Snapshots, server: Server) -> Sequence[Event]:
        base = base_index(server.log)
        if base >= snapshots.count:
            return ()
        return [
            TakeSnapshot(last_included_index=index, data=self.state_at(server, index))
            for index in map(Index, range(base + 1, server.commit_index + 1))
        ]

    def state_at(self, server: Server, index: Index) -> bytes:
        """The state of the server's state machine after the entries up to ``index``."""
        return remembered(server.log, index)

    def _changes(self, membership: Membership, leader: Server) -> Sequence[Event]:
        carried = _carried(leader.log)
        begun = carried.count(C_OLD_NEW) + membership.one_server * carried.count(C_NEW)
        if begun >= membership.changes or leader.configuration.new is not None:
            return ()
        now = leader.configuration.old
        return [
            ChangeMembership(members=target)
            for target in membership.targets_from(now, self.processes)
            if target != now
        ]

    def _learners(self, leader: Server) -> Sequence[Event]:
        outside = set(self.processes) - set(members(leader.configuration))
        return [ChangeLearners(learners=frozenset({ServerId(i)})) for i in sorted(outside)]

    def _is_full(self, server: Server) -> bool:
        """Has the log no room for a command, a no-op or the beginning of a change?"""
        asked = isinstance(server.role, Leader) and server.role.target is not None
        if self.membership and self.membership.one_server:
            asked = False  # it is a C_new that will be appended
        return self._length(server.log) + asked >= self.places

    def _length(self, log: Log) -> int:
        """The length of a log without the entries for which places are kept."""
        kept = _carried(log).count(C_NEW) if self.membership else 0
        return last_index(log) - kept

    def act(self, process: int, state: Server, action: Action) -> Outcome[Server, Any, Any]:
        """An event of the server's own; every write is durable at once."""
        assert not isinstance(action, WriteCompletes | Crash), "a server's disk is a matter apart"
        after, effects = self.run(state, action)
        said, done = self.answers(state, action, after, effects)
        sent = tuple((e.to, e.message) for e in effects if isinstance(e, Send))
        return Outcome(
            state=doubting(after) if self.doubts else after,
            sends=(*sent, *said),
            facts=(*facts(state, after, effects), *done),
            step=(state, action, after, effects),
        )

    def run(self, state: Server, event: Event) -> tuple[Server, Effects]:
        """What the rules make of an event when every write is durable at once."""
        after, effects = self.take(state, event)
        if is_about_the_log(effects):
            after, counted = self.take(after, durable_up_to(after.log))
            effects += counted
        return after, effects

    def take(self, state: Server, event: Event) -> tuple[Server, Effects]:
        """One step by the rules: the bound refuses the no-op of a full log, not the election.

        In the last term no election is prepared either: its timeout ends that a leader is heard.
        """
        is_last = state.current_term == self.bounds.terms and not isinstance(state.role, Leader)
        if is_last and event == ElectionTimeout():
            return silent(state), (ResetElectionTimer(),)
        options = self._options_when_full if self._is_full(state) else self.options
        return self.rules(options, state, event)

    def deliver(
        self, process: int, state: Server, source: int, message: Any
    ) -> Outcome[Server, Any, Any]:
        """A message arrives."""
        event = self.event_of(state, source, message)
        return Outcome(state=state) if event is None else self.act(process, state, event)

    # What a driver does besides; nobody is there to be answered, unless there are clients.

    def event_of(self, state: Server, source: int, message: Any) -> Event | None:
        """What a message that arrives is to the server, unless the bounds refuse it."""
        return Receive(source=ServerId(source), message=message)

    def answers(self, before: Server, event: Event, after: Server, effects: Effects) -> Answers:
        """What is said to others than servers after a step, and facts about that."""
        return (), ()

    def looked_up(self, state: Server, message: Any) -> Answers | None:
        """The same of a question that the driver answers without an event; ``None``: it is none."""
        return None

    def is_obsolete(self, process: int, state: Server, source: int, message: Any) -> bool:
        """As ``spec.relevance`` claims."""
        if self.doubts and not self.transfer and isinstance(state.role, Leader):
            # Nobody ever counts who has answered.
            state = replace(state, role=replace(state.role, answered=None))
        return is_obsolete(state, ServerId(source), message)

    def representative(self, process: int, state: Server, source: int, message: Any) -> Any:
        """As ``spec.relevance`` claims."""
        return representative(state, ServerId(source), message)

    def is_past(self, process: int, state: Server, fact: Any) -> bool:
        """As ``spec.relevance`` claims."""
        return is_past(state, fact)

    def within_bounds(self, state: Server) -> bool:
        """Only elections raise the term, only clients and elections lengthen the log."""
        changes = self.membership.changes if self.membership else 0
        carried = _carried(state.log)
        return (
            state.current_term <= self.bounds.terms
            and self._length(state.log) <= self.places
            and carried.count(C_OLD_NEW) + carried.count(C_NEW) <= 2 * changes
        )

    def for_term(self, term: Term) -> bool:
        """May servers reach this term? (``spec.progress.Room``)"""
        return term <= self.bounds.terms

    def for_entry(self, leader: Server) -> bool:
        """May the leader take one more command? (``spec.progress.Room``)"""
        return not self._is_full(leader)

    def name_of(self, process: int) -> str:
        """S1, S2, ... as in the paper's figures."""
        return f"S{process}"


def _carried(log: Log) -> list[bytes]:
    """What each entry of the log was, those that its snapshot covers included."""
    return remembered(log, last_index(log)).split()
