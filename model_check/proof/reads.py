"""Read-only requests without a log entry (§8; D6.4, "ReadIndex"): what it adds.

A *read* here is a round of heartbeats: it stands for all read-only requests that had arrived when
it began. A leader serves it with its commit index once a quorum of its configuration has answered,
after it began, that it is still in this term; before, the leader has committed an entry of its
term. How it was when the read began is noted as history: what was counted, who was elected, and
which terms were reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, TypeVar

from model_check.proof.actions import Action, Effect
from model_check.proof.lemmas import Lemma, register
from model_check.proof.logic import (
    Configuration,
    Formula,
    Index,
    Read,
    Server,
    ServerSet,
    Term,
    Truth,
    all_of,
    any_of,
    choose,
    every_member,
    implies,
    member,
    negation,
    put,
)
from model_check.proof.membership import NEAR, JointSnapshotState, JointState, shares
from model_check.proof.state import Function, State


@dataclass(frozen=True, kw_only=True)
class ReadState(State):
    """A state of Raft with reads."""

    read_begun: Annotated[Function, (Read,), Truth]
    read_term: Annotated[Function, (Read,), Term]
    read_confirmed: Annotated[Function, (Read, Server), Truth]
    """(r, k): after r began, k answered that it is still in the term of r."""
    read_served: Annotated[Function, (Read,), Truth]
    read_index: Annotated[Function, (Read,), Index]
    """What a read that was served must see."""

    # --- History: how it was when the read began ---
    counted_before: Annotated[Function, (Read, Term, Index), Truth]
    elected_before: Annotated[Function, (Read, Term), Truth]
    term_before: Annotated[Function, (Read, Server), Term]
    index_before: Annotated[Function, (Read, Server), Index]
    """Each server's commit index."""
    commit_term_before: Annotated[Function, (Read, Server), Term]
    commit_event_before: Annotated[Function, (Read, Server), Index]
    """The count (term, index) on which it rested."""


@dataclass(frozen=True, kw_only=True)
class JointReadState(JointState, ReadState):
    """A state of Raft with joint consensus and reads."""


@dataclass(frozen=True, kw_only=True)
class WholeState(JointReadState, JointSnapshotState):
    """A state of Raft with joint consensus, log compaction and reads."""


R = TypeVar("R", bound=ReadState)

LEMMAS: list[Lemma] = []
FOR_MEMBERSHIP: list[Lemma] = []
"""What it needs besides, with joint consensus."""
CONSEQUENCES: list[Lemma] = []
lemma = partial(register, LEMMAS)
for_membership = partial(register, FOR_MEMBERSHIP)
consequence = partial(register, CONSEQUENCES)


def initial(s: R) -> R:
    """No read has begun."""
    return replace(
        s,
        read_begun=lambda r: False,
        read_confirmed=lambda r, k: False,
        read_served=lambda r: False,
        counted_before=lambda r, t, i: False,
        elected_before=lambda r, t: False,
    )


# --- Actions ------------------------------------------------------------------------------------


def begin_read(s: ReadState, n: Server, r: Read) -> Effect:
    """A server begins a round of heartbeats for all requests that have arrived (§8)."""
    return Effect(
        {"new": negation(s.read_begun(r))},
        replace(
            s,
            read_begun=put(s.read_begun, r, True),
            read_term=put(s.read_term, r, s.current_term(n)),
            counted_before=lambda q, t, i: choose(
                q == r, s.counted(t, i), s.counted_before(q, t, i)
            ),
            elected_before=lambda q, t: choose(q == r, s.elected(t), s.elected_before(q, t)),
            term_before=lambda q, k: choose(q == r, s.current_term(k), s.term_before(q, k)),
            index_before=lambda q, k: choose(q == r, s.commit_index(k), s.index_before(q, k)),
            commit_term_before=lambda q, k: choose(
                q == r, s.commit_term(k), s.commit_term_before(q, k)
            ),
            commit_event_before=lambda q, k: choose(
                q == r, s.commit_event(k), s.commit_event_before(q, k)
            ),
        ),
    )


def confirm_read(s: ReadState, k: Server, r: Read) -> Effect:
    """A server answers that it is still in the term of the read (§8)."""
    return Effect(
        {
            "begun": s.read_begun(r),
            "same term": s.current_term(k) == s.read_term(r),
        },
        replace(s, read_confirmed=put(s.read_confirmed, r, k, True)),
    )


def serve_read(s: ReadState, n: Server, r: Read, quorum: ServerSet) -> Effect:
    """A leader that a quorum has confirmed tells its commit index (§8)."""
    committed = s.commit_index(n)
    return Effect(
        {
            **_confirmed(s, r, n, quorum, s.configuration(n)),
            "own term is committed": all_of(
                committed >= 1, s.entry_term(n, committed) == s.current_term(n)
            ),
        },
        replace(
            s,
            read_served=put(s.read_served, r, True),
            read_index=put(s.read_index, r, committed),
        ),
        mention=[s.entry_term(n, committed)],
    )


def _confirmed(
    s: ReadState, r: Read, n: Server, q: ServerSet, c: Configuration
) -> dict[str, Formula]:
    """Has a quorum of the configuration answered leader n, since the read began?"""
    return {
        "leader": s.is_leader(n),
        "begun": s.read_begun(r),
        "own term": s.read_term(r) == s.current_term(n),
        "quorum": s.is_quorum(q, c),
        "confirmed": every_member(q, lambda k: any_of(k == n, s.read_confirmed(r, k))),
    }


ACTIONS: tuple[Action, ...] = (begin_read, confirm_read, serve_read)


# --- Lemmas -------------------------------------------------------------------------------------


@lemma("§8", lambda s, r, k: [(s.term_before(r, k),)])
def terms_only_grew_since(s: ReadState, r: Read, k: Server) -> Formula:
    """Since a read began, no server went back to an older term."""
    return implies(s.read_begun(r), lambda: s.term_before(r, k) <= s.current_term(k))


@lemma("§8", lambda s, r, k: [(s.read_confirmed(r, k),)])
def who_confirmed_was_in_no_later_term(s: ReadState, r: Read, k: Server) -> Formula:
    """Who confirmed a read was in no later term when it began."""
    return implies(
        s.read_confirmed(r, k),
        lambda: all_of(s.read_begun(r), s.term_before(r, k) <= s.read_term(r)),
    )


@lemma("§8", lambda s, r, t: [(s.elected_before(r, t),)])
def elected_before_a_read(s: ReadState, r: Read, t: Term) -> Formula:
    """Who was elected before a read began was elected."""
    return implies(s.elected_before(r, t), lambda: all_of(s.read_begun(r), s.elected(t)))


@lemma("§8", lambda s, r, t, k: [(s.elected_before(r, t), member(k, s.voters(t)))])
def voters_reached_the_term_before(s: ReadState, r: Read, t: Term, k: Server) -> Formula:
    """Of an election before a read began, all voters were in that term then or in a later one."""
    return implies(
        all_of(s.elected_before(r, t), member(k, s.voters(t))), lambda: t <= s.term_before(r, k)
    )


@lemma("§8", lambda s, r, t, i: [(s.counted_before(r, t, i),)])
def counted_before_a_read(s: ReadState, r: Read, t: Term, i: Index) -> Formula:
    """What was counted before a read began was counted, by who was elected before."""
    return implies(
        s.counted_before(r, t, i), lambda: all_of(s.counted(t, i), s.elected_before(r, t))
    )


@lemma("§8", lambda s, r: [(s.read_served(r),)])
def served_reads_have_begun(s: ReadState, r: Read) -> Formula:
    """Only a read that has begun is served."""
    return implies(s.read_served(r), lambda: s.read_begun(r))


@lemma("§8", lambda s, r, k: [(s.index_before(r, k),)])
def committed_before_a_read(s: ReadState, r: Read, k: Server) -> Formula:
    """What a server knew to be committed when a read began had been counted."""
    t, i = s.commit_term_before(r, k), s.commit_event_before(r, k)
    return implies(
        all_of(s.read_begun(r), s.index_before(r, k) > 0),
        lambda: all_of(s.counted_before(r, t, i), s.index_before(r, k) <= i),
    )


@lemma("§8", lambda s, r, t, i: [(s.counted_before(r, t, i),)])
def served_reads_cover_what_was_counted(s: ReadState, r: Read, t: Term, i: Index) -> Formula:
    """A read that was served sees all that anybody had counted before it began."""
    return implies(
        all_of(s.read_served(r), s.counted_before(r, t, i)), lambda: i <= s.read_index(r)
    )


# --- What follows -------------------------------------------------------------------------------


def unchallenged(s: ReadState, r: Read, n: Server, q: ServerSet, c: Configuration) -> Formula:
    """Has a quorum of the configuration of leader n answered since the read began?"""
    return all_of(c == s.configuration(n), *_confirmed(s, r, n, q, c).values())


@consequence(
    "§8", lambda s, r, n, q, c, u: [(s.is_leader(n), s.is_quorum(q, c), s.elected_before(r, u))]
)
def no_later_leader(
    s: ReadState, r: Read, n: Server, q: ServerSet, c: Configuration, u: Term
) -> Formula:
    """If a quorum has confirmed a read, no leader of a later term was elected before it began."""
    return implies(
        all_of(unchallenged(s, r, n, q, c), u > s.current_term(n)),
        lambda: negation(s.elected_before(r, u)),
    )


@consequence("§8")
def reads_are_linearizable(s: ReadState, r: Read, k: Server) -> Formula:
    """A read that was served sees all that any server knew to be committed when it began."""
    return implies(
        all_of(s.read_served(r), s.index_before(r, k) > 0),
        lambda: s.index_before(r, k) <= s.read_index(r),
    )


# --- With joint consensus -----------------------------------------------------------------------


@for_membership("§6, §8", lambda s, r, t: [(s.elected_before(r, t),)])
def configuration_was_committed_before(s: JointReadState, r: Read, t: Term) -> Formula:
    """Who committed the previous configuration of a leader elected before was elected before."""
    v = s.governing(lambda i: s.log_value(t, i), s.election_last(t))
    return implies(
        all_of(s.elected_before(r, t), s.election_last(t) > 0, v.previous_index > 0),
        lambda: s.elected_before(r, v.commit_term),
    )


def later_leader_shares(
    s: JointReadState, r: Read, n: Server, q: ServerSet, c: Configuration, u: Term
) -> Formula:
    """The previous configuration of a later leader is in the log of this one."""
    t = s.current_term(n)
    return implies(
        all_of(unchallenged(s, r, n, q, c), u > t, s.elected_before(r, u)),
        lambda: shares(s, u, s.election_last(u), t, s.term_last(t)),
    )


def shared_with_later_leader(
    s: JointReadState, r: Read, n: Server, q: ServerSet, c: Configuration, u: Term
) -> Formula:
    """The leader's previous configuration is in the log with which a later one was elected."""
    t = s.current_term(n)
    return implies(
        all_of(unchallenged(s, r, n, q, c), u > t, s.elected_before(r, u)),
        lambda: shares(s, t, s.term_last(t), u, s.election_last(u)),
    )


def with_steps(consequences: Sequence[Lemma]) -> tuple[Lemma, ...]:
    """The same consequences; that there is no later leader by induction on its term."""
    first, *others = consequences
    return (
        replace(
            first,
            measure=lambda s, r, n, q, c, u: (u,),
            steps=(later_leader_shares, shared_with_later_leader),
            instances=lambda s, r, n, q, c, u: [
                (
                    NEAR,
                    (
                        u,
                        s.election_last(u),
                        s.current_term(n),
                        s.term_last(s.current_term(n)),
                    ),
                )
            ],
        ),
        *others,
    )
