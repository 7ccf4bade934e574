"""What must stay possible. Safety alone is had by servers that do nothing.

A *goal* is a claim about the states in which the servers are at some moment, all messages in
flight lost, and some servers perhaps down: from there the others can still bring it about, if
nothing more is lost. Nobody is forced to; random election timeouts make it probable (§5.6). So a
goal says what *can* happen, which is what a rule may destroy for ever: by a vote refused to all, an
index that is never set back, an entry that is never sent again.

How far servers have come is a ``Mark``: marks are ordered, a goal asks for one, and any that is
not below it will do. No bounds here: a driver that has some says in ``Room`` what they leave.
Sections are those of the extended Raft paper, "D" those of Ongaro's dissertation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from spec.elections import transfer_target
from spec.events import (
    ClientRequest,
    DurableUpTo,
    ElectionTimeout,
    HeartbeatTimeout,
    Replicate,
    RetryTimeout,
)
from spec.log import agreement, last_index, last_term
from spec.membership import is_outside
from spec.quorum import is_quorum, members
from spec.records import replace
from spec.state import NO_READS, Follower, Index, IndexOf, Leader, Log, Server, Term

Live = Sequence[Server]
"""The servers that are up; never none."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """How far it has come: to a leader of ``term``, to entries committed up to ``index``."""

    term: Term
    index: Index


class Room(Protocol):
    """What a driver's bounds leave; without bounds both are always true."""

    def for_term(self, term: Term) -> bool:
        """May servers reach this term?"""

    def for_entry(self, leader: Server) -> bool:
        """May the leader take one more command?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What must be possible, from where, by which events besides messages that arrive."""

    name: str
    title: str
    paper: str
    thesis: str
    events: tuple[type, ...]
    asked: Callable[[Live, Room], Mark | None]
    """What must be reached from here, if anything."""
    reached: Callable[[Live], Mark | None]
    """What is reached here."""
    view: Callable[[Server], Server]
    """A server without what the goal does not look at."""

    @property
    def sentence(self) -> str:
        """What it says, in words."""
        return " ".join((self.asked.__doc__ or "").split("\n\n")[0].split())


# --- A leader can be elected --------------------------------------------------------------------


def election_asked(live: Live, room: Room) -> Mark | None:
    """Whenever a majority is up, one of them can be elected in a term after all that they know.

    A leader among them does not count, unless it is a majority by itself and so leads for ever.
    There must be a majority of each configuration that one of them uses, since any of these may be
    the one that decides.
    """
    term = Term(max(server.current_term for server in live) + 1)
    if not (room.for_term(term) and is_majority_up(live)):
        return None
    return None if any(map(leads_alone, live)) else Mark(term, Index(0))


def election_reached(live: Live) -> Mark | None:
    """The highest term that has a leader."""
    terms = [server.current_term for server in live if isinstance(server.role, Leader)]
    return Mark(max(terms), Index(0)) if terms else None


def election_view(server: Server) -> Server:
    """Term, configuration, and who leads."""
    nothing = Index(0)
    return replace(
        _without_tables(server), log=Log(), commit_index=nothing, configuration_index=nothing
    )


def is_majority_up(live: Live) -> bool:
    """Are these a quorum of the configuration that each of them uses?

    A server that waits to be added to a cluster uses none.
    """
    up = {server.server_id for server in live}
    used = {server.configuration for server in live if server.configuration.old}
    return bool(used) and all(is_quorum(configuration, up) for configuration in used)


def leads_alone(server: Server) -> bool:
    """Does it lead, and need nobody else?"""
    alone = frozenset({server.server_id})
    return isinstance(server.role, Leader) and is_quorum(server.configuration, alone)


# --- A leader can commit ------------------------------------------------------------------------


def commit_asked(live: Live, room: Room) -> Mark | None:
    """Whenever a leader of the highest term and a majority of its configuration are up, it can
    commit one more command, and its whole log, on every member that is up.

    No election, no crash and no membership request is needed; repeating messages is. Where there is
    no room for a command, the log must do if it ends with an entry of the leader's own term; with
    an older one it may not be committed at all (§5.4.2).
    """
    leader = _leader_of_highest_term(live)
    if leader is None or transfer_target(leader) is not None:  # which takes no commands (D3.10)
        return None
    if not is_quorum(leader.configuration, {server.server_id for server in live}):
        return None
    end = last_index(leader.log)
    if room.for_entry(leader):
        return Mark(leader.current_term, Index(end + 1))
    if last_term(leader.log) == leader.current_term:
        return Mark(leader.current_term, end)
    return None


def commit_reached(live: Live) -> Mark | None:
    """Up to where the leader of the highest term has its whole log committed on all members up.

    A leader that is not in C_new leads no more once that is committed (§6): then the members have
    the log, but not all of them have heard that it is committed.
    """
    leader = _leader_of_highest_term(live)
    if leader is not None:
        done = all(_has_committed(leader, server) for server in _members_up(leader, live))
        return Mark(leader.current_term, last_index(leader.log)) if done else None
    term = max(server.current_term for server in live)
    for server in live:
        if server.current_term == term and is_outside(server) and _has_committed(server, server):
            up = _members_up(server, live)
            if up and all(_has_log_of(server, member) for member in up):
                return Mark(term, last_index(server.log))
    return None


def commit_view(server: Server) -> Server:
    """Term, log, what is committed, and who leads."""
    return _without_tables(server)


def _leader_of_highest_term(live: Live) -> Server | None:
    term = max(server.current_term for server in live)
    for server in live:
        if isinstance(server.role, Leader) and server.current_term == term:
            return server
    return None


def _members_up(leader: Server, live: Live) -> Sequence[Server]:
    member_ids = members(leader.configuration)
    return [server for server in live if server.server_id in member_ids or server == leader]


def _has_log_of(leader: Server, server: Server) -> bool:
    end = last_index(leader.log)
    return last_index(server.log) == end == agreement(leader.log, server.log)


def _has_committed(leader: Server, server: Server) -> bool:
    return _has_log_of(leader, server) and server.commit_index == last_index(leader.log)


def _without_tables(server: Server) -> Server:
    """The server without its vote, the votes for it, what is durable, and a leader's knowledge."""
    none = IndexOf(())
    role = server.role
    if isinstance(role, Leader):
        role = replace(role, next_index=none, match_index=none, reads=NO_READS)
    else:
        role = Follower()
    return replace(server, voted_for=None, durable_index=Index(0), role=role)


GOALS = (
    Goal(
        name="leader_can_be_elected",
        title="A leader can be elected",
        paper="§5.2, §5.4.1, §5.6",
        thesis="D3.4, D3.6.1, D3.9",
        events=(ElectionTimeout, RetryTimeout, HeartbeatTimeout, Replicate, DurableUpTo),
        asked=election_asked,
        reached=election_reached,
        view=election_view,
    ),
    Goal(
        name="leader_can_commit",
        title="A leader can commit its whole log",
        paper="§5.3, §5.4.2, §5.5",
        thesis="D3.5, D3.6.2, D3.8",
        events=(ClientRequest, RetryTimeout, HeartbeatTimeout, Replicate, DurableUpTo),
        asked=commit_asked,
        reached=commit_reached,
        view=commit_view,
    ),
)
"""What must be possible in every reachable tuple of server states, in an empty network."""
