"""What always holds: one sentence each, in the order in which it is best understood.

**The signature is the quantifier**, as in ``spec.invariants``: ``one_vote(s, k, term, c, d)`` holds
in every reachable state ``s`` for any server k, any term and any servers c and d. ``trigger`` tells
z3 at which terms to use the lemma; it has no meaning.

A *lemma* is inductive together with all others: it holds in the first state, and an action that
starts where all lemmas hold ends where it holds. A *consequence* follows from the lemmas in the
same state. Sections are those of the extended Raft paper.

The heart of it is how a log is tied to history. The log of a term is the log of its leader while
it leads. ``entry_comes_from_its_term``: an entry of term x, wherever it is, was created by the
leader of x, and all entries before it are those of the log of x. So logs are never compared with
each other, only with the log of a term, one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from model_check.proof.logic import (
    Configuration,
    Formula,
    Index,
    Request,
    Server,
    ServerSet,
    Term,
    all_of,
    any_of,
    between,
    implies,
    member,
    negation,
    some,
)
from model_check.proof.state import State

Triggers = Sequence[tuple[Any, ...]]
F = TypeVar("F", bound=Callable[..., Formula])


@dataclass(frozen=True)
class Lemma:
    """A predicate over states, for all values of its other parameters."""

    holds: Callable[..., Formula]
    paper: str
    trigger: Callable[..., Triggers] | None
    measure: Callable[..., tuple[Any, ...]] | None = None
    """A consequence is proved by strong induction on these numbers, the first one first."""
    steps: Sequence[Callable[..., Formula]] = ()
    """What is proved first, under the same induction hypothesis, each for the same values."""
    instances: Callable[..., Sequence[tuple[Lemma, tuple[Any, ...]]]] | None = None
    """Earlier consequences, and the values for which they are used after the steps."""

    @property
    def name(self) -> str:
        """The name of its function."""
        return self.holds.__name__

    @property
    def sentence(self) -> str:
        """What it says, in words."""
        return " ".join((self.holds.__doc__ or "").split("\n\n")[0].split())


AXIOMS: list[Lemma] = []
"""What is taken for granted here, and proved in ``quorums``."""
LEMMAS: list[Lemma] = []
"""Of basic Raft; without any one of them some other is not provable."""
FOR_READS: list[Lemma] = []
FOR_MEMBERSHIP: list[Lemma] = []
"""What ``reads``, and ``membership`` besides, also need."""
CONSEQUENCES: list[Lemma] = []


def register(
    where: list[Lemma],
    paper: str,
    trigger: Callable[..., Triggers] | None = None,
    measure: Callable[..., tuple[Any, ...]] | None = None,
) -> Callable[[F], F]:
    """Put a predicate into one of the lists of lemmas."""

    def add(holds: F) -> F:
        where.append(Lemma(holds, paper, trigger, measure))
        return holds

    return add


axiom = partial(register, AXIOMS)
lemma = partial(register, LEMMAS)
for_reads = partial(register, FOR_READS)
for_membership = partial(register, FOR_MEMBERSHIP)
consequence = partial(register, CONSEQUENCES)


# --- Quorums ------------------------------------------------------------------------------------


@axiom("§5.2, §6", lambda s, a, b, c, d: [(s.is_quorum(a, c), s.is_quorum(b, d))])
def quorums_meet(
    s: State, a: ServerSet, b: ServerSet, c: Configuration, d: Configuration
) -> Formula:
    """Quorums of one configuration, or of two that are near, share a server."""
    return implies(
        all_of(s.is_quorum(a, c), s.is_quorum(b, d), s.near(c, d)),
        lambda: all_of(member(s.common(a, b), a), member(s.common(a, b), b)),
    )


# --- Numbers ------------------------------------------------------------------------------------


@lemma("§5.1", lambda s, n: [(s.current_term(n),)])
def terms_are_not_negative(s: State, n: Server) -> Formula:
    """Terms begin with 0."""
    return s.current_term(n) >= 0


@lemma("§5.3", lambda s, n: [(s.last_index(n),)])
def last_index_is_not_negative(s: State, n: Server) -> Formula:
    """Logs begin empty."""
    return s.last_index(n) >= 0


@lemma("§5.3", lambda s, n: [(s.commit_index(n),)])
def commit_index_is_not_negative(s: State, n: Server) -> Formula:
    """Nothing is committed at first."""
    return s.commit_index(n) >= 0


# --- Elections (§5.2) ---------------------------------------------------------------------------


@lemma("§5.2", lambda s, k, t, c, d: [(s.vote_sent(k, t, c), s.vote_sent(k, t, d))])
def one_vote(s: State, k: Server, t: Term, c: Server, d: Server) -> Formula:
    """A server votes for at most one candidate in a term."""
    return implies(all_of(s.vote_sent(k, t, c), s.vote_sent(k, t, d)), lambda: c == d)


@lemma("§5.2", lambda s, k, t, c: [(s.vote_sent(k, t, c),)])
def voter_reached_the_term(s: State, k: Server, t: Term, c: Server) -> Formula:
    """A server that voted in a term is in that term or a later one."""
    return implies(s.vote_sent(k, t, c), lambda: t <= s.current_term(k))


@lemma("§5.2", lambda s, k, t, c: [(s.vote_sent(k, t, c),)])
def candidate_reached_the_term(s: State, k: Server, t: Term, c: Server) -> Formula:
    """A server that got a vote in a term is in that term or a later one."""
    return implies(s.vote_sent(k, t, c), lambda: t <= s.current_term(c))


@lemma("§5.2", lambda s, k, t, c: [(s.vote_sent(k, t, c),)])
def vote_is_remembered(s: State, k: Server, t: Term, c: Server) -> Formula:
    """A server remembers its vote of the current term (it is persistent)."""
    return implies(
        all_of(s.vote_sent(k, t, c), t == s.current_term(k)),
        lambda: all_of(s.has_voted(k), s.voted_for(k) == c),
    )


@lemma("§5.2", lambda s, n, k: [(s.votes_granted(n, k),)])
def counted_votes_were_sent(s: State, n: Server, k: Server) -> Formula:
    """A candidate counts only votes that it got for this term."""
    return implies(
        all_of(s.is_candidate(n), s.votes_granted(n, k)),
        lambda: s.vote_sent(k, s.current_term(n), n),
    )


@lemma("§5.2", lambda s, t, k: [(member(k, s.voters(t)),)])
def voters_voted(s: State, t: Term, k: Server) -> Formula:
    """All voters of an election voted for its winner."""
    return implies(
        all_of(s.elected(t), member(k, s.voters(t))), lambda: s.vote_sent(k, t, s.leader_of(t))
    )


@lemma("§5.2, §6", lambda s, t: [(s.elected(t),)])
def voters_are_a_quorum(s: State, t: Term) -> Formula:
    """A leader was elected by a quorum of the configuration in its log."""
    return implies(
        s.elected(t),
        lambda: s.is_quorum(s.voters(t), s.term_configuration(t, s.election_last(t))),
    )


@lemma("§5.2", lambda s, n: [(s.is_leader(n),)])
def leader_was_elected(s: State, n: Server) -> Formula:
    """Who leads was elected in its term."""
    return implies(
        s.is_leader(n),
        lambda: all_of(s.elected(s.current_term(n)), s.leader_of(s.current_term(n)) == n),
    )


@lemma("§5.2", lambda s, n: [(s.is_candidate(n),)])
def candidate_was_not_elected(s: State, n: Server) -> Formula:
    """Who stands for election was not elected in its term."""
    return implies(
        all_of(s.is_candidate(n), s.elected(s.current_term(n))),
        lambda: s.leader_of(s.current_term(n)) != n,
    )


@lemma("§5.2", lambda s, t: [(s.elected(t),)])
def leader_reached_its_term(s: State, t: Term) -> Formula:
    """Who was elected in a term is in that term or a later one."""
    return implies(s.elected(t), lambda: all_of(between(0, t, s.current_term(s.leader_of(t)))))


# --- The log of a term (§5.3) -------------------------------------------------------------------


@lemma("§5.3", lambda s, k, t: [(s.acknowledged(k, t),)])
def no_acknowledgement_without_leader(s: State, k: Server, t: Term) -> Formula:
    """In a term without a leader nothing is acknowledged."""
    return implies(negation(s.elected(t)), lambda: s.acknowledged(k, t) == 0)


@lemma("§5.3", lambda s, t, i: [(s.log_term(t, i),)])
def entry_comes_from_its_term(s: State, t: Term, i: Index) -> Formula:
    """An entry of term x in the log of a term was created by the leader of x, at that index."""
    x = s.log_term(t, i)
    return implies(
        all_of(between(1, i, s.term_last(t))),
        lambda: all_of(between(0, x, t), s.elected(x), i <= s.term_last(x), s.log_term(x, i) == x),
    )


@lemma(
    "§5.3",
    lambda s, t, i, j: [
        (s.log_term(t, i), s.log_term(t, j)),
        (s.log_term(t, i), s.log_value(t, j)),
    ],
)
def logs_match_the_term_of_an_entry(s: State, t: Term, i: Index, j: Index) -> Formula:
    """Up to an entry of term x, the log of a term is that of x."""
    x = s.log_term(t, i)
    return implies(
        all_of(between(1, j, i), i <= s.term_last(t)),
        lambda: all_of(
            s.log_term(t, j) == s.log_term(x, j), s.log_value(t, j) == s.log_value(x, j)
        ),
    )


@lemma("§5.3", lambda s, n, i: [(s.entry_term(n, i),)])
def server_entry_comes_from_its_term(s: State, n: Server, i: Index) -> Formula:
    """An entry of term x in a server's log was created by the leader of x, at that index."""
    x = s.entry_term(n, i)
    return implies(
        all_of(between(1, i, s.last_index(n))),
        lambda: all_of(
            between(0, x, s.current_term(n)),
            s.elected(x),
            i <= s.term_last(x),
            s.log_term(x, i) == x,
        ),
    )


@lemma(
    "§5.3",
    lambda s, n, i, j: [
        (s.entry_term(n, i), s.entry_term(n, j)),
        (s.entry_term(n, i), s.entry_value(n, j)),
    ],
)
def server_logs_match_the_term_of_an_entry(s: State, n: Server, i: Index, j: Index) -> Formula:
    """Up to an entry of term x, a server's log is that of x."""
    x = s.entry_term(n, i)
    return implies(
        all_of(between(1, j, i), i <= s.last_index(n)),
        lambda: all_of(
            s.entry_term(n, j) == s.log_term(x, j), s.entry_value(n, j) == s.log_value(x, j)
        ),
    )


@lemma("§5.3", lambda s, n: [(s.is_leader(n),)])
def length_of_the_log_of_a_leader(s: State, n: Server) -> Formula:
    """While a server leads, its log is as long as the log of its term."""
    return implies(s.is_leader(n), lambda: s.term_last(s.current_term(n)) == s.last_index(n))


# --- Messages -----------------------------------------------------------------------------------


@lemma("§5.3", lambda s, m: [(s.append_sent(m),)])
def request_is_a_slice(s: State, m: Request) -> Formula:
    """AppendEntries spans part of the log of its term."""
    t, prev, final = s.request_term(m), s.prev_log_index(m), s.final_index(m)
    return implies(
        s.append_sent(m),
        lambda: all_of(s.elected(t), between(0, prev, final), final <= s.term_last(t)),
    )


@lemma("§5.3", lambda s, m: [(s.append_sent(m),)])
def request_names_the_entry_before(s: State, m: Request) -> Formula:
    """prev_log_term is the term of the entry at prev_log_index in the log of its term."""
    t, prev = s.request_term(m), s.prev_log_index(m)
    return implies(
        all_of(s.append_sent(m), prev > 0), lambda: s.prev_log_term(m) == s.log_term(t, prev)
    )


@lemma("§5.3", lambda s, m, i: [(s.sent_term(m, i),), (s.sent_value(m, i),)])
def request_carries_the_log_of_its_term(s: State, m: Request, i: Index) -> Formula:
    """The entries of AppendEntries are those of the log of its term."""
    t = s.request_term(m)
    return implies(
        all_of(s.append_sent(m), s.prev_log_index(m) < i, i <= s.final_index(m)),
        lambda: all_of(
            s.sent_term(m, i) == s.log_term(t, i), s.sent_value(m, i) == s.log_value(t, i)
        ),
    )


@lemma("§5.2", lambda s, c, t, i, x: [(s.vote_requested(c, t, i, x),)])
def candidate_reached_the_requested_term(
    s: State, c: Server, t: Term, i: Index, x: Term
) -> Formula:
    """Who asked for votes in a term is in that term or a later one."""
    return implies(s.vote_requested(c, t, i, x), lambda: t <= s.current_term(c))


@lemma("§5.4.1", lambda s, c, t, i, x: [(s.vote_requested(c, t, i, x),)])
def request_describes_the_log(s: State, c: Server, t: Term, i: Index, x: Term) -> Formula:
    """While a candidate stands, RequestVote tells the last entry of its log."""
    return implies(
        all_of(s.vote_requested(c, t, i, x), s.current_term(c) == t, s.is_candidate(c)),
        lambda: all_of(i == s.last_index(c), x == s.last_term(c)),
    )


@lemma("§5.3", lambda s, k, t: [(s.acknowledged(k, t),)])
def acknowledged_is_in_the_log_of_the_term(s: State, k: Server, t: Term) -> Formula:
    """Nobody acknowledges more than the log of the term has."""
    return s.acknowledged(k, t) <= s.term_last(t)


@lemma("§5.3", lambda s, k, t: [(s.acknowledged(k, t),)])
def acknowledged_in_a_reached_term(s: State, k: Server, t: Term) -> Formula:
    """A server that acknowledged in a term is in that term or a later one."""
    return implies(s.acknowledged(k, t) > 0, lambda: t <= s.current_term(k))


@lemma(
    "§5.3",
    lambda s, k, i: [
        (s.entry_term(k, i),),
        (s.entry_value(k, i),),
        (s.acknowledged(k, s.current_term(k)), s.log_term(s.current_term(k), i)),
    ],
)
def acknowledged_entries_are_held(s: State, k: Server, i: Index) -> Formula:
    """Up to what a server acknowledged in its current term, its log is the log of that term."""
    t = s.current_term(k)
    return implies(
        all_of(between(1, i, s.acknowledged(k, t))),
        lambda: all_of(
            i <= s.last_index(k),
            s.entry_term(k, i) == s.log_term(t, i),
            s.entry_value(k, i) == s.log_value(t, i),
        ),
    )


# --- What becomes of an acknowledged entry (§5.4) -----------------------------------------------
#
# A server that acknowledged an entry of the leader's own term keeps it, unless a leader of a later
# term lacked it. None does, once the entry is committed; but that follows only afterwards
# (``leader_completeness``), so these lemmas say "or some later leader lacks it".


def lacked(s: State, t: Term, i: Index, last: Term) -> Formula:
    """Does the log of a term after ``t``, up to ``last``, lack the entry that t created at i?"""
    return some(
        t + 1,
        last,
        lambda u: all_of(s.elected(u), negation(s.has(u, t, i))),
        lambda u: [s.elected(u)],
    )


def acknowledged_own_entry(s: State, k: Server, t: Term, i: Index) -> Formula:
    """Did k acknowledge the entry at i, which the leader of ``t`` created?"""
    return all_of(between(1, i, s.acknowledged(k, t)), s.log_term(t, i) == t)


@lemma("§5.4", lambda s, k, t, i: [(s.acknowledged(k, t), s.log_term(t, i))])
def acknowledged_entry_is_kept(s: State, k: Server, t: Term, i: Index) -> Formula:
    """Who acknowledged an entry of the leader's term still has it, or a later leader lacks it."""
    return implies(
        acknowledged_own_entry(s, k, t, i),
        lambda: any_of(s.holds(k, t, i), lacked(s, t, i, s.current_term(k))),
    )


@lemma(
    "§5.4.1",
    lambda s, k, t, i, c: [
        (s.acknowledged(k, t), s.log_term(t, i), s.vote_sent(k, s.current_term(c), c))
    ],
)
def candidate_has_what_its_voter_acknowledged(
    s: State, k: Server, t: Term, i: Index, c: Server
) -> Formula:
    """A candidate has what a voter of it acknowledged in an older term, or a leader lacks it."""
    u = s.current_term(c)
    return implies(
        all_of(acknowledged_own_entry(s, k, t, i), u > t, s.vote_sent(k, u, c), s.is_candidate(c)),
        lambda: any_of(s.holds(c, t, i), lacked(s, t, i, u)),
    )


@lemma(
    "§5.4.1",
    lambda s, k, t, i, u: [(s.acknowledged(k, t), s.log_term(t, i), member(k, s.voters(u)))],
)
def leader_has_what_its_voter_acknowledged(
    s: State, k: Server, t: Term, i: Index, u: Term
) -> Formula:
    """A leader has what a voter of it acknowledged in an older term, or one between lacks it."""
    return implies(
        all_of(acknowledged_own_entry(s, k, t, i), u > t, s.elected(u), member(k, s.voters(u))),
        lambda: any_of(s.has(u, t, i), lacked(s, t, i, u - 1)),
    )


# --- Commitment (§5.3, §5.4) --------------------------------------------------------------------


@lemma("§5.4.2", lambda s, t, i: [(s.counted(t, i),)])
def counted_entry_is_of_the_term(s: State, t: Term, i: Index) -> Formula:
    """A leader counts copies only of entries of its own term."""
    return implies(
        s.counted(t, i),
        lambda: all_of(
            s.elected(t),
            between(1, i, s.count_last(t, i)),
            s.count_last(t, i) <= s.term_last(t),
            s.log_term(t, i) == t,
        ),
    )


@lemma("§5.3", lambda s, t, i, k: [(member(k, s.holders(t, i)),)])
def holders_acknowledged(s: State, t: Term, i: Index, k: Server) -> Formula:
    """All servers that were counted have acknowledged the entry."""
    return implies(
        all_of(s.counted(t, i), member(k, s.holders(t, i))), lambda: s.acknowledged(k, t) >= i
    )


@lemma("§5.3, §6", lambda s, t, i: [(s.counted(t, i),)])
def holders_are_a_quorum(s: State, t: Term, i: Index) -> Formula:
    """A leader commits with a quorum of the configuration in its log."""
    return implies(
        s.counted(t, i),
        lambda: s.is_quorum(s.holders(t, i), s.term_configuration(t, s.count_last(t, i))),
    )


@lemma("§5.3", lambda s, n, k: [(s.match_index(n, k),)])
def match_index_was_acknowledged(s: State, n: Server, k: Server) -> Formula:
    """match_index is no higher than what the follower acknowledged in this term."""
    return implies(
        s.is_leader(n), lambda: s.match_index(n, k) <= s.acknowledged(k, s.current_term(n))
    )


@lemma("§5.3", lambda s, n: [(s.is_leader(n),)])
def leader_holds_its_log(s: State, n: Server) -> Formula:
    """A leader counts as having acknowledged its whole log."""
    return implies(s.is_leader(n), lambda: s.acknowledged(n, s.current_term(n)) >= s.last_index(n))


@lemma("§5.3", lambda s, n: [(s.commit_index(n),)])
def commit_index_rests_on_a_count(s: State, n: Server) -> Formula:
    """A commit index is within the log, and not beyond what some leader counted."""
    t, i = s.commit_term(n), s.commit_event(n)
    return implies(
        s.commit_index(n) > 0,
        lambda: all_of(
            s.commit_index(n) <= s.last_index(n),
            s.counted(t, i),
            s.commit_index(n) <= i,
            t <= s.current_term(n),
        ),
    )


@lemma("§5.3", lambda s, n, i: [(s.entry_term(n, i),), (s.entry_value(n, i),)])
def committed_entries_are_those_counted(s: State, n: Server, i: Index) -> Formula:
    """Up to its commit index, a server's log is the log of the term that counted."""
    t = s.commit_term(n)
    return implies(
        all_of(between(1, i, s.commit_index(n))),
        lambda: all_of(
            s.entry_term(n, i) == s.log_term(t, i), s.entry_value(n, i) == s.log_value(t, i)
        ),
    )


@lemma("§5.3", lambda s, m: [(s.leader_commit(m),), (s.append_sent(m),)])
def leader_commit_rests_on_a_count(s: State, m: Request) -> Formula:
    """leader_commit is not beyond what some leader counted, in this term or before."""
    t, i = s.request_commit_term(m), s.request_commit_event(m)
    return implies(
        all_of(s.append_sent(m), s.leader_commit(m) > 0),
        lambda: all_of(s.counted(t, i), s.leader_commit(m) <= i, t <= s.request_term(m)),
    )


# --- What basic Raft does not need, but membership and reads do ----------------------------------


@for_membership("§5.3", lambda s, t: [(s.election_last(t),)])
def log_grows_from_the_election(s: State, t: Term) -> Formula:
    """The log of a term begins with the log that its leader had when elected."""
    return implies(
        s.elected(t), lambda: all_of(s.election_last(t) >= 0, s.election_last(t) <= s.term_last(t))
    )


@for_membership("§5.3", lambda s, t, i: [(s.log_term(t, i),)])
def older_entries_were_there_at_the_election(s: State, t: Term, i: Index) -> Formula:
    """In the log of a term, entries up to the election are older, all later ones are its own."""
    return implies(
        all_of(s.elected(t), between(1, i, s.term_last(t))),
        lambda: any_of(
            all_of(i <= s.election_last(t), s.log_term(t, i) < t),
            all_of(i > s.election_last(t), s.log_term(t, i) == t),
        ),
    )


@for_membership("§5.3", lambda s, n, i: [(s.is_candidate(n), s.entry_term(n, i))])
def candidate_has_older_entries(s: State, n: Server, i: Index) -> Formula:
    """All entries of a candidate are older than the term for which it stands."""
    return implies(
        all_of(s.is_candidate(n), between(1, i, s.last_index(n))),
        lambda: s.entry_term(n, i) < s.current_term(n),
    )


@for_reads("§5.3, §8", lambda s, n, i: [(s.counted(s.current_term(n), i), s.is_leader(n))])
def leader_knows_its_counts(s: State, n: Server, i: Index) -> Formula:
    """The commit index of a leader is not below anything that it counted."""
    return implies(
        all_of(s.is_leader(n), s.counted(s.current_term(n), i)), lambda: i <= s.commit_index(n)
    )


# --- What follows: Figure 3 ---------------------------------------------------------------------


@consequence(
    "Fig. 3, §5.4.3",
    lambda s, t, i, u: [(s.counted(t, i), s.elected(u)), (s.counted(t, i), s.log_term(u, i))],
    measure=lambda s, t, i, u: (u,),
)
def leader_completeness(s: State, t: Term, i: Index, u: Term) -> Formula:
    """What a leader counted is in the log of every leader of a later term.

    By strong induction on u. The quorum that voted in u and the one that was counted in t share a
    server. What it acknowledged the leader of u has, or the leader of a term between lacks it; by
    induction none does.
    """
    return implies(all_of(s.counted(t, i), s.elected(u), u > t), lambda: s.has(u, t, i))


@consequence("Fig. 3, §5.2", lambda s, a, b: [(s.is_leader(a), s.is_leader(b))])
def election_safety(s: State, a: Server, b: Server) -> Formula:
    """At most one server leads in a term."""
    return implies(
        all_of(s.is_leader(a), s.is_leader(b), s.current_term(a) == s.current_term(b)),
        lambda: a == b,
    )


@consequence("Fig. 3, §5.3")
def log_matching(s: State, a: Server, b: Server, i: Index, j: Index) -> Formula:
    """If two logs have an entry of the same term at an index, they are the same up to there."""
    return implies(
        all_of(
            between(1, j, i),
            i <= s.last_index(a),
            i <= s.last_index(b),
            s.entry_term(a, i) == s.entry_term(b, i),
        ),
        lambda: all_of(
            s.entry_term(a, j) == s.entry_term(b, j), s.entry_value(a, j) == s.entry_value(b, j)
        ),
    )


@consequence("Fig. 3, §5.4")
def leaders_hold_what_is_committed(s: State, a: Server, b: Server, i: Index) -> Formula:
    """Whatever a server knows to be committed, all leaders of later terms have."""
    return implies(
        all_of(
            between(1, i, s.commit_index(a)), s.is_leader(b), s.current_term(b) > s.current_term(a)
        ),
        lambda: all_of(
            i <= s.last_index(b),
            s.entry_term(a, i) == s.entry_term(b, i),
            s.entry_value(a, i) == s.entry_value(b, i),
        ),
    )


@consequence("Fig. 3, §5.4.3")
def state_machine_safety(s: State, a: Server, b: Server, i: Index) -> Formula:
    """No two servers ever apply different entries at the same index."""
    return implies(
        all_of(between(1, i, s.commit_index(a)), i <= s.commit_index(b)),
        lambda: all_of(
            s.entry_term(a, i) == s.entry_term(b, i), s.entry_value(a, i) == s.entry_value(b, i)
        ),
    )
