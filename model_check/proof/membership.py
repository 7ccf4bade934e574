"""Joint consensus (§6): what it adds to the abstract protocol.

A configuration is any thing that has quorums; ``follows(c, d)`` says that d may replace c. With
joint consensus C_old,new follows C_old and C_new follows C_old,new. All that the proof needs is
that quorums of configurations that are *near* share a server: of one and the same, of one and the
next, and of two that follow the same one (``quorums`` proves this of majorities).

A server uses the latest configuration in its log, committed or not, and appends the next one only
when that is committed. So the entry at each index is governed by a configuration; the entry that
brought it, and the one before, are noted in each value as history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

from model_check.proof import lemmas
from model_check.proof.actions import Action, Effect, client_request
from model_check.proof.lemmas import Lemma, register
from model_check.proof.logic import (
    Configuration,
    Formula,
    Index,
    Server,
    ServerSet,
    Term,
    Truth,
    Value,
    all_of,
    any_of,
    between,
    choose,
    every_member,
    implies,
    negation,
)
from model_check.proof.snapshots import SnapshotState
from model_check.proof.state import Function, State


@dataclass(frozen=True)
class Governing:
    """The configuration in force at an entry, and where it comes from."""

    index: Index
    """Of the entry that brought it; 0 for the initial one."""
    configuration: Configuration
    previous_index: Index
    """Of the entry that brought the configuration before it; 0 for the initial one."""
    previous: Configuration
    commit_term: Term
    commit_event: Index
    """The count that had committed the previous one when this one was appended."""


@dataclass(frozen=True, kw_only=True)
class JointState(State):
    """A state of Raft with joint consensus."""

    # --- What a value says of configurations; never changes ---
    configuration_index: Annotated[Function, (Value,), Index]
    entry_configuration: Annotated[Function, (Value,), Configuration]
    previous_index: Annotated[Function, (Value,), Index]
    previous_configuration: Annotated[Function, (Value,), Configuration]
    previous_commit_term: Annotated[Function, (Value,), Term]
    previous_commit_event: Annotated[Function, (Value,), Index]

    # --- Configurations; never change ---
    follows: Annotated[Function, (Configuration, Configuration), Truth]
    """(c, d): d may replace c."""
    is_near: Annotated[Function, (Configuration, Configuration), Truth]

    def about(self, term: Term, value: Value) -> list[Any]:
        """Terms about an entry that z3 must meet in order to use lemmas for it."""
        return [term, self.previous_index(value)]

    def near(self, c: Configuration, d: Configuration) -> Formula:
        """Do all quorums of ``c`` and ``d`` share a server?"""
        return self.is_near(c, d)

    def governing(self, value: Callable[[Index], Value], last: Index) -> Governing:
        """What governs a log of this length."""
        empty, v = last == 0, value(last)
        return Governing(
            choose(empty, 0, self.configuration_index(v)),
            choose(empty, self.initial_configuration(), self.entry_configuration(v)),
            choose(empty, 0, self.previous_index(v)),
            self.previous_configuration(v),
            self.previous_commit_term(v),
            self.previous_commit_event(v),
        )

    def configuration_of(self, value: Callable[[Index], Value], last: Index) -> Configuration:
        """The configuration in force in a log: the latest one in it, committed or not (§6)."""
        return self.governing(value, last).configuration


@dataclass(frozen=True, kw_only=True)
class JointSnapshotState(JointState, SnapshotState):
    """A state of Raft with joint consensus and log compaction."""


AXIOMS: list[Lemma] = []
ORIGINS: list[Lemma] = []
SPANS: list[Lemma] = []
"""Where configurations come from; from where to where they govern."""
axiom = partial(register, AXIOMS)
origin = partial(register, ORIGINS)
span = partial(register, SPANS)


# --- Near configurations ------------------------------------------------------------------------


@axiom("§6", lambda s, c: [(s.is_near(c, c),)])
def equal_is_near(s: JointState, c: Configuration) -> Formula:
    """A configuration is near itself."""
    return s.is_near(c, c)


@axiom("§6", lambda s, c, d: [(s.follows(c, d),)])
def next_is_near(s: JointState, c: Configuration, d: Configuration) -> Formula:
    """A configuration and the next one are near."""
    return implies(s.follows(c, d), lambda: all_of(s.is_near(c, d), s.is_near(d, c)))


@axiom("§6", lambda s, b, c, d: [(s.follows(b, c), s.follows(b, d))])
def siblings_are_near(
    s: JointState, b: Configuration, c: Configuration, d: Configuration
) -> Formula:
    """Two configurations that follow the same one are near."""
    return implies(all_of(s.follows(b, c), s.follows(b, d)), lambda: s.is_near(c, d))


# --- Actions ------------------------------------------------------------------------------------


def _governing(s: JointState, n: Server) -> Governing:
    return s.governing(lambda i: s.entry_value(n, i), s.last_index(n))


def append_command(s: JointState, n: Server, value: Value) -> Effect:
    """A leader appends an entry that leaves the configuration as it is (§5.3)."""
    now = _governing(s, n)
    effect = client_request(s, n, value)
    last = s.entry_value(n, s.last_index(n))
    same = {
        "same configuration": all_of(
            s.configuration_index(value) == now.index,
            s.entry_configuration(value) == now.configuration,
            s.previous_index(value) == now.previous_index,
        ),
        "same history": any_of(
            now.index == 0,
            all_of(
                s.previous_configuration(value) == now.previous,
                s.previous_commit_term(value) == now.commit_term,
                s.previous_commit_event(value) == now.commit_event,
            ),
        ),
    }
    return replace(effect, guards={**effect.guards, **same}, mention=[s.previous_index(last)])


def append_configuration(s: JointState, n: Server, value: Value) -> Effect:
    """A leader appends the next configuration, once the latest one is committed (§6)."""
    now = _governing(s, n)
    effect = client_request(s, n, value)
    last = s.entry_value(n, s.last_index(n))
    new = {
        "next configuration": s.follows(now.configuration, s.entry_configuration(value)),
        "latest is committed": now.index <= s.commit_index(n),
        "own index": s.configuration_index(value) == s.last_index(n) + 1,
        "history": all_of(
            s.previous_index(value) == now.index,
            s.previous_configuration(value) == now.configuration,
            s.previous_commit_term(value) == s.commit_term(n),
            s.previous_commit_event(value) == s.commit_event(n),
        ),
    }
    return replace(effect, guards={**effect.guards, **new}, mention=[s.previous_index(last)])


def with_configurations(actions: Sequence[Action]) -> tuple[Action, ...]:
    """The actions of basic Raft, with two kinds of entries."""
    at = list(actions).index(client_request)
    return (*actions[:at], append_command, append_configuration, *actions[at + 1 :])


# --- Lemmas -------------------------------------------------------------------------------------


def _entry(s: JointState, t: Term, i: Index) -> Governing:
    return s.governing(lambda j: s.log_value(t, j), i)


@origin("§6", lambda s, t, i: [(s.previous_index(s.log_value(t, i)),)])
def configurations_come_in_order(s: JointState, t: Term, i: Index) -> Formula:
    """An entry is governed by a configuration at or before it, which follows an earlier one."""
    v = _entry(s, t, i)
    return implies(
        all_of(between(1, i, s.term_last(t))),
        lambda: all_of(
            v.previous_index >= 0,
            v.index <= i,
            any_of(
                all_of(
                    v.index == 0,
                    v.previous_index == 0,
                    v.configuration == s.initial_configuration(),
                ),
                all_of(v.previous_index < v.index, s.follows(v.previous, v.configuration)),
            ),
            any_of(v.index <= 0, v.previous_index > 0, v.previous == s.initial_configuration()),
        ),
    )


@span("§6", lambda s, t, i, j: [(s.previous_index(s.log_value(t, i)), s.log_value(t, j))])
def configuration_holds_until_the_next(s: JointState, t: Term, i: Index, j: Index) -> Formula:
    """From the entry that brings a configuration to the next such entry, it governs."""
    v, w = _entry(s, t, j), _entry(s, t, i)
    return implies(
        all_of(between(1, j, i), i <= s.term_last(t)),
        lambda: all_of(
            v.index <= w.index,
            implies(
                w.index <= j,
                lambda: all_of(
                    v.index == w.index,
                    v.configuration == w.configuration,
                    v.previous_index == w.previous_index,
                    any_of(
                        v.index == 0,
                        all_of(
                            v.previous == w.previous,
                            v.commit_term == w.commit_term,
                            v.commit_event == w.commit_event,
                        ),
                    ),
                ),
            ),
            implies(
                all_of(w.previous_index <= j, j < w.index),
                lambda: all_of(v.index == w.previous_index, v.configuration == w.previous),
            ),
        ),
    )


@origin("§6", lambda s, t, i: [(s.previous_index(s.log_value(t, i)),)])
def previous_configuration_was_committed(s: JointState, t: Term, i: Index) -> Formula:
    """When a configuration was appended, the one before it was committed."""
    v = _entry(s, t, i)
    p, u = v.previous_index, v.commit_term
    return implies(
        all_of(between(1, i, s.term_last(t)), p > 0),
        lambda: all_of(
            s.counted(u, v.commit_event),
            p <= v.commit_event,
            u <= s.log_term(t, i),
            s.log_term(t, p) == s.log_term(u, p),
            s.log_value(t, p) == s.log_value(u, p),
        ),
    )


@span("§6", lambda s, t, i: [(s.counted(t, i),)])
def previous_configuration_was_committed_before(s: JointState, t: Term, i: Index) -> Formula:
    """A count comes after the one that committed the configuration before the governing one."""
    v = _entry(s, t, s.count_last(t, i))
    return implies(
        all_of(s.counted(t, i), v.previous_index > 0, v.commit_term == t),
        lambda: v.commit_event < i,
    )


# --- Why two configurations are near ------------------------------------------------------------


def shares(s: JointState, t: Term, a: Index, u: Term, b: Index) -> Formula:
    """Is what brought the previous configuration of the log of t up to a in that of u up to b?"""
    p = _entry(s, t, a).previous_index
    return any_of(
        p == 0,
        all_of(
            p <= b, s.log_term(t, p) == s.log_term(u, p), s.log_value(t, p) == s.log_value(u, p)
        ),
    )


def configurations_are_near(s: JointState, t: Term, a: Index, u: Term, b: Index) -> Formula:
    """If each of two logs has the other's previous configuration, their configurations are near.

    Either the previous ones are the same, and both follow it; or the later one of them is in force
    in the other log.
    """
    return implies(
        all_of(
            any_of(a == 0, all_of(a > 0, a <= s.term_last(t))),
            any_of(b == 0, all_of(b > 0, b <= s.term_last(u))),
            shares(s, t, a, u, b),
            shares(s, u, b, t, a),
        ),
        lambda: s.near(s.term_configuration(t, a), s.term_configuration(u, b)),
    )


NEAR = Lemma(configurations_are_near, "§6", None)


# --- Leader Completeness ------------------------------------------------------------------------


def _counted_before(s: JointState, t: Term, i: Index, u: Term) -> Formula:
    return all_of(s.counted(t, i), s.elected(u), u > t)


def leader_shares_with_count(s: JointState, t: Term, i: Index, u: Term) -> Formula:
    """The leader's previous configuration is in the log of the count; or it has the entry."""
    return implies(
        _counted_before(s, t, i, u),
        lambda: any_of(s.has(u, t, i), shares(s, u, s.election_last(u), t, s.count_last(t, i))),
    )


def count_shares_with_leader(s: JointState, t: Term, i: Index, u: Term) -> Formula:
    """The previous configuration of the count is in the log with which the leader was elected."""
    return implies(
        _counted_before(s, t, i, u),
        lambda: shares(s, t, s.count_last(t, i), u, s.election_last(u)),
    )


# --- The first leader of a term -----------------------------------------------------------------


def backed(s: JointState, n: Server, q: ServerSet, c: Configuration) -> Formula:
    """Does n stand with the votes of a quorum of its configuration?"""
    return all_of(
        s.is_candidate(n),
        c == s.configuration(n),
        s.is_quorum(q, c),
        every_member(q, lambda k: s.votes_granted(n, k)),
    )


def _backed_after(
    s: JointState, n: Server, q: ServerSet, c: Configuration, t: Term, i: Index
) -> Formula:
    return all_of(backed(s, n, q, c), s.counted(t, i), t < s.current_term(n))


def log_of_candidate(
    s: JointState, n: Server, q: ServerSet, c: Configuration, t: Term, i: Index
) -> Formula:
    """The log of a candidate is that of the term of its last entry, up to there."""
    return implies(_backed_after(s, n, q, c, t, i), lambda: _is_log_of_last_term(s, n))


def _is_log_of_last_term(s: JointState, n: Server) -> Formula:
    x, last = s.last_term(n), s.last_index(n)
    return all_of(
        any_of(
            last == 0,
            all_of(
                s.elected(x),
                last <= s.term_last(x),
                s.entry_value(n, last) == s.log_value(x, last),
            ),
        ),
        s.configuration(n) == s.term_configuration(x, last),
    )


def candidate_shares_with_count(
    s: JointState, n: Server, q: ServerSet, c: Configuration, t: Term, i: Index
) -> Formula:
    """The candidate's previous configuration is in the log of the count; or it has the entry."""
    return implies(
        _backed_after(s, n, q, c, t, i),
        lambda: any_of(
            s.holds(n, t, i),
            shares(s, s.last_term(n), s.last_index(n), t, s.count_last(t, i)),
        ),
    )


def count_shares_with_candidate(
    s: JointState, n: Server, q: ServerSet, c: Configuration, t: Term, i: Index
) -> Formula:
    """The previous configuration of the count is in the candidate's log."""
    return implies(
        _backed_after(s, n, q, c, t, i),
        lambda: shares(s, t, s.count_last(t, i), s.last_term(n), s.last_index(n)),
    )


def candidate_has_what_was_counted(
    s: JointState, n: Server, q: ServerSet, c: Configuration, t: Term, i: Index
) -> Formula:
    """A candidate with the votes of a quorum has all that was counted in older terms.

    As for leaders, by strong induction on (t, i).
    """
    return implies(_backed_after(s, n, q, c, t, i), lambda: s.holds(n, t, i))


def log_of_second_winner(s: JointState, n: Server, q: ServerSet, c: Configuration) -> Formula:
    """The log of a candidate is that of the term of its last entry, up to there."""
    return implies(backed(s, n, q, c), lambda: _is_log_of_last_term(s, n))


def candidate_shares_with_leader(
    s: JointState, n: Server, q: ServerSet, c: Configuration
) -> Formula:
    """The candidate's previous configuration is in the log of a leader elected in its term."""
    u = s.current_term(n)
    return implies(
        all_of(backed(s, n, q, c), s.elected(u)),
        lambda: shares(s, s.last_term(n), s.last_index(n), u, s.election_last(u)),
    )


def leader_shares_with_candidate(
    s: JointState, n: Server, q: ServerSet, c: Configuration
) -> Formula:
    """The previous configuration of a leader elected in its term is in the candidate's log."""
    u = s.current_term(n)
    return implies(
        all_of(backed(s, n, q, c), s.elected(u)),
        lambda: shares(s, u, s.election_last(u), s.last_term(n), s.last_index(n)),
    )


def first_leader(s: JointState, n: Server, q: ServerSet, c: Configuration) -> Formula:
    """A candidate with the votes of a quorum is the first leader of its term."""
    return implies(backed(s, n, q, c), lambda: negation(s.elected(s.current_term(n))))


def with_steps(consequences: Sequence[Lemma]) -> tuple[Lemma, ...]:
    """The same consequences; Leader Completeness and the first leader by way of near ones."""
    completeness, *others = consequences
    assert completeness.holds is lemmas.leader_completeness
    return (
        NEAR,
        replace(
            completeness,
            measure=lambda s, t, i, u: (u, t, i),
            steps=(leader_shares_with_count, count_shares_with_leader),
            instances=lambda s, t, i, u: [(NEAR, (u, s.election_last(u), t, s.count_last(t, i)))],
        ),
        Lemma(
            candidate_has_what_was_counted,
            "§5.4.1, §6",
            lambda s, n, q, c, t, i: [(s.is_candidate(n), s.is_quorum(q, c), s.counted(t, i))],
            measure=lambda s, n, q, c, t, i: (t, i),
            steps=(log_of_candidate, candidate_shares_with_count, count_shares_with_candidate),
            instances=lambda s, n, q, c, t, i: [
                (NEAR, (s.last_term(n), s.last_index(n), t, s.count_last(t, i)))
            ],
        ),
        Lemma(
            first_leader,
            "§5.2, §6",
            lambda s, n, q, c: [(s.is_candidate(n), s.is_quorum(q, c))],
            steps=(
                log_of_second_winner,
                candidate_shares_with_leader,
                leader_shares_with_candidate,
            ),
            instances=lambda s, n, q, c: [
                (
                    NEAR,
                    (
                        s.last_term(n),
                        s.last_index(n),
                        s.current_term(n),
                        s.election_last(s.current_term(n)),
                    ),
                )
            ],
        ),
        *others,
    )
