"""Read-only requests without a log entry (§8; D6.4, "ReadIndex"): what it adds.

A leader that has committed an entry of its term notes its commit index when a read arrives, and
serves the read once a quorum of its configuration has answered, after that, that it is still in
this term. How it was when the read arrived, what was counted and which terms were reached, is noted
as history.
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
    choose,
    every_member,
    implies,
    negation,
    put,
)
from model_check.proof.membership import NEAR, JointState, shares
from model_check.proof.state import Function, State


@dataclass(frozen=True, kw_only=True)
class ReadState(State):
    """A state of Raft with reads."""

    read_arrived: Annotated[Function, (Read,), Truth]
    read_term: Annotated[Function, (Read,), Term]
    read_index: Annotated[Function, (Read,), Index]
    read_configuration: Annotated[Function, (Read,), Configuration]
    read_confirmed: Annotated[Function, (Read, Server), Truth]
    """(r, k): after r arrived, k answered that it is still in the term of r."""

    # --- History: how it was when the read arrived ---
    counted_before: Annotated[Function, (Read, Term, Index), Truth]
    term_before: Annotated[Function, (Read, Server), Term]


@dataclass(frozen=True, kw_only=True)
class JointReadState(JointState, ReadState):
    """A state of Raft with joint consensus and reads."""


R = TypeVar("R", bound=ReadState)

LEMMAS: list[Lemma] = []
CONSEQUENCES: list[Lemma] = []
lemma = partial(register, LEMMAS)
consequence = partial(register, CONSEQUENCES)


def initial(s: R) -> R:
    """No read has arrived."""
    return replace(
        s,
        read_arrived=lambda r: False,
        read_confirmed=lambda r, k: False,
        counted_before=lambda r, t, i: False,
    )


# --- Actions ------------------------------------------------------------------------------------


def request_read(s: ReadState, n: Server, r: Read) -> Effect:
    """A leader notes its commit index for a read; it has committed an entry of its term (§8)."""
    committed = s.commit_index(n)
    return Effect(
        {
            "leader": s.is_leader(n),
            "new": negation(s.read_arrived(r)),
            "own term is committed": all_of(
                committed >= 1, s.entry_term(n, committed) == s.current_term(n)
            ),
        },
        replace(
            s,
            read_arrived=put(s.read_arrived, r, True),
            read_term=put(s.read_term, r, s.current_term(n)),
            read_index=put(s.read_index, r, committed),
            read_configuration=put(s.read_configuration, r, s.configuration(n)),
            counted_before=lambda q, t, i: choose(
                q == r, s.counted(t, i), s.counted_before(q, t, i)
            ),
            term_before=lambda q, k: choose(q == r, s.current_term(k), s.term_before(q, k)),
        ),
        mention=[s.entry_term(n, committed), s.log_term(s.current_term(n), committed)],
    )


def confirm_read(s: ReadState, k: Server, r: Read) -> Effect:
    """A server answers that it is still in the term of the read (§8)."""
    return Effect(
        {
            "arrived": s.read_arrived(r),
            "same term": s.current_term(k) == s.read_term(r),
        },
        replace(s, read_confirmed=put(s.read_confirmed, r, k, True)),
    )


ACTIONS: tuple[Action, ...] = (request_read, confirm_read)


# --- Lemmas -------------------------------------------------------------------------------------


@lemma("§8", lambda s, r, k: [(s.term_before(r, k),)])
def terms_only_grew_since(s: ReadState, r: Read, k: Server) -> Formula:
    """Since a read arrived, no server went back to an older term."""
    return implies(s.read_arrived(r), lambda: s.term_before(r, k) <= s.current_term(k))


@lemma("§8", lambda s, r, k: [(s.read_confirmed(r, k),)])
def who_confirmed_was_in_no_later_term(s: ReadState, r: Read, k: Server) -> Formula:
    """Who confirmed a read was in no later term when it arrived."""
    return implies(
        s.read_confirmed(r, k),
        lambda: all_of(s.read_arrived(r), s.term_before(r, k) <= s.read_term(r)),
    )


@lemma(
    "§8",
    lambda s, r, q, t, i: [(s.is_quorum(q, s.read_configuration(r)), s.counted_before(r, t, i))],
)
def read_index_covers_what_was_counted(
    s: ReadState, r: Read, q: ServerSet, t: Term, i: Index
) -> Formula:
    """If a quorum was in no later term, the read index covers all that was counted before."""
    return implies(
        all_of(
            s.read_arrived(r),
            s.is_quorum(q, s.read_configuration(r)),
            every_member(q, lambda k: s.term_before(r, k) <= s.read_term(r)),
            s.counted_before(r, t, i),
        ),
        lambda: i <= s.read_index(r),
    )


# --- What follows -------------------------------------------------------------------------------


def unchallenged(s: ReadState, n: Server, q: ServerSet, c: Configuration) -> Formula:
    """Is a quorum of the configuration of leader n in no later term?"""
    return all_of(
        s.is_leader(n),
        c == s.configuration(n),
        s.is_quorum(q, c),
        every_member(q, lambda k: s.current_term(k) <= s.current_term(n)),
    )


@consequence("§8", lambda s, n, q, c, u: [(s.is_leader(n), s.is_quorum(q, c), s.elected(u))])
def no_later_leader(s: ReadState, n: Server, q: ServerSet, c: Configuration, u: Term) -> Formula:
    """While a quorum of a leader's configuration is in no later term, nobody was elected in one."""
    return implies(
        all_of(unchallenged(s, n, q, c), u > s.current_term(n)), lambda: negation(s.elected(u))
    )


@consequence("§8")
def reads_are_linearizable(s: ReadState, r: Read, q: ServerSet, t: Term, i: Index) -> Formula:
    """A read that a quorum confirmed sees all that anybody counted before it arrived."""
    return implies(
        all_of(
            s.is_quorum(q, s.read_configuration(r)),
            every_member(q, lambda k: s.read_confirmed(r, k)),
            s.read_arrived(r),
            s.counted_before(r, t, i),
        ),
        lambda: i <= s.read_index(r),
    )


# --- With joint consensus -----------------------------------------------------------------------


def later_leader_shares(
    s: JointReadState, n: Server, q: ServerSet, c: Configuration, u: Term
) -> Formula:
    """The previous configuration of a later leader is in the log of this one."""
    t = s.current_term(n)
    return implies(
        all_of(unchallenged(s, n, q, c), u > t, s.elected(u)),
        lambda: shares(s, u, s.election_last(u), t, s.term_last(t)),
    )


def shared_with_later_leader(
    s: JointReadState, n: Server, q: ServerSet, c: Configuration, u: Term
) -> Formula:
    """The leader's previous configuration is in the log with which a later one was elected."""
    t = s.current_term(n)
    return implies(
        all_of(unchallenged(s, n, q, c), u > t, s.elected(u)),
        lambda: shares(s, t, s.term_last(t), u, s.election_last(u)),
    )


def with_steps(consequences: Sequence[Lemma]) -> tuple[Lemma, ...]:
    """The same consequences; that there is no later leader by induction on its term."""
    first, *others = consequences
    return (
        replace(
            first,
            measure=lambda s, n, q, c, u: (u,),
            steps=(later_leader_shares, shared_with_later_leader),
            instances=lambda s, n, q, c, u: [
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
