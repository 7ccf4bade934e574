"""The abstract protocol: what may happen, under which guards, and what it changes.

An action is one atomic change of one server; it looks at that server and at what was sent, never at
another server or at history. Messages may be lost, late, doubled and out of order: an action may
use any message ever sent, at any time. A crash is ``restart``. Each step of ``spec.raft`` is a
sequence of these actions (``refinement``).

The actions allow more than ``spec`` does. Every guard here is needed: without it some lemma is
lost. Where the paper asks for more, for example that only a leader hears acknowledgements, safety
does not rest on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model_check.proof.logic import (
    Formula,
    Index,
    Request,
    Server,
    ServerSet,
    Term,
    Value,
    all_of,
    any_of,
    between,
    choose,
    every,
    every_member,
    larger,
    negation,
    put,
    smaller,
)
from model_check.proof.state import State


@dataclass(frozen=True)
class Effect:
    """What an action needs, by name, and the state after it."""

    guards: Mapping[str, Formula]
    after: Any
    consequences: Callable[[], Mapping[str, Formula]] = dict
    """What follows from the lemmas and the guards; proved before it is used."""
    mention: Sequence[Any] = ()
    """Terms at which z3 should use lemmas; without meaning."""


Action = Callable[..., Effect]


# --- Elections (§5.1, §5.2, §5.4.1) -------------------------------------------------------------


def start_election(s: State, n: Server, term: Term) -> Effect:
    """A server becomes a candidate in a new term and votes for itself (§5.2)."""
    return Effect(
        {"new term": term > s.current_term(n)},
        replace(
            s,
            current_term=put(s.current_term, n, term),
            is_candidate=put(s.is_candidate, n, True),
            is_leader=put(s.is_leader, n, False),
            has_voted=put(s.has_voted, n, True),
            voted_for=put(s.voted_for, n, n),
            votes_granted=lambda c, k: choose(c == n, k == n, s.votes_granted(c, k)),
            vote_sent=put(s.vote_sent, n, term, n, True),
        ),
    )


def request_votes(s: State, n: Server) -> Effect:
    """A server asks for votes in its term, perhaps again (§5.2).

    Nothing forbids it to others than candidates: such a request says nothing of their logs.
    """
    return Effect(
        {},
        replace(
            s,
            vote_requested=put(
                s.vote_requested, n, s.current_term(n), s.last_index(n), s.last_term(n), True
            ),
        ),
    )


def update_term(s: State, n: Server, term: Term) -> Effect:
    """A server adopts a newer term and becomes a follower (§5.1)."""
    return Effect(
        {"newer term": term > s.current_term(n)},
        replace(
            s,
            current_term=put(s.current_term, n, term),
            is_candidate=put(s.is_candidate, n, False),
            is_leader=put(s.is_leader, n, False),
            has_voted=put(s.has_voted, n, False),
        ),
    )


def grant_vote(s: State, n: Server, c: Server, last_index: Index, last_term: Term) -> Effect:
    """A server votes for c, first come first served, if its log is up-to-date (§5.2, §5.4.1)."""
    term = s.current_term(n)
    mine = s.last_term(n)
    return Effect(
        {
            "requested": s.vote_requested(c, term, last_index, last_term),
            "one vote": any_of(negation(s.has_voted(n)), s.voted_for(n) == c),
            "up-to-date": any_of(
                last_term > mine, all_of(last_term == mine, last_index >= s.last_index(n))
            ),
        },
        replace(
            s,
            has_voted=put(s.has_voted, n, True),
            voted_for=put(s.voted_for, n, c),
            vote_sent=put(s.vote_sent, n, term, c, True),
        ),
    )


def receive_vote(s: State, n: Server, k: Server) -> Effect:
    """A server counts a vote of its own term (§5.2)."""
    return Effect(
        {"granted": s.vote_sent(k, s.current_term(n), n)},
        replace(s, votes_granted=put(s.votes_granted, n, k, True)),
    )


def become_leader(s: State, n: Server, quorum: ServerSet) -> Effect:
    """A candidate with the votes of a quorum leads its term (§5.2)."""
    term, last = s.current_term(n), s.last_index(n)
    return Effect(
        {
            "candidate": s.is_candidate(n),
            "votes": every_member(quorum, lambda k: s.votes_granted(n, k)),
            "quorum": s.is_quorum(quorum, s.configuration(n)),
        },
        replace(
            s,
            is_candidate=put(s.is_candidate, n, False),
            is_leader=put(s.is_leader, n, True),
            match_index=lambda m, k: choose(m == n, 0, s.match_index(m, k)),
            acknowledged=put(s.acknowledged, n, term, last),
            elected=put(s.elected, term, True),
            leader_of=put(s.leader_of, term, n),
            voters=put(s.voters, term, quorum),
            election_last=put(s.election_last, term, last),
            term_last=put(s.term_last, term, last),
            log_term=lambda t, i: choose(t == term, s.entry_term(n, i), s.log_term(t, i)),
            log_value=lambda t, i: choose(t == term, s.entry_value(n, i), s.log_value(t, i)),
        ),
        lambda: {"first leader": negation(s.elected(term))},
    )


# --- Log replication (§5.3) ---------------------------------------------------------------------


def client_request(s: State, n: Server, value: Value) -> Effect:
    """A leader appends an entry of its term to its log (§5.3); a no-op is one, too (§8)."""
    term, new = s.current_term(n), s.last_index(n) + 1
    return Effect(
        {"leader": s.is_leader(n)},
        replace(
            s,
            last_index=put(s.last_index, n, new),
            entry_term=put(s.entry_term, n, new, term),
            entry_value=put(s.entry_value, n, new, value),
            acknowledged=put(s.acknowledged, n, term, new),
            term_last=put(s.term_last, term, new),
            log_term=put(s.log_term, term, new, term),
            log_value=put(s.log_value, term, new, value),
        ),
    )


def send_entries(s: State, n: Server, m: Request) -> Effect:
    """A leader sends any slice of its log, and any commit index up to its own (§5.3)."""
    first, final = s.prev_log_index(m) + 1, s.final_index(m)
    return Effect(
        {
            "leader": s.is_leader(n),
            "own term": s.request_term(m) == s.current_term(n),
            "within the log": all_of(first >= 1, between(first - 1, final, s.last_index(n))),
            "previous term": s.prev_log_term(m)
            == choose(first == 1, 0, s.entry_term(n, first - 1)),
            "own entries": every(
                first,
                final,
                lambda i: all_of(
                    s.sent_term(m, i) == s.entry_term(n, i),
                    s.sent_value(m, i) == s.entry_value(n, i),
                ),
                lambda i: [s.sent_term(m, i), s.sent_value(m, i)],
            ),
            "own commit index": s.leader_commit(m) <= s.commit_index(n),
            "history": all_of(
                s.request_commit_term(m) == s.commit_term(n),
                s.request_commit_event(m) == s.commit_event(n),
            ),
        },
        replace(s, append_sent=put(s.append_sent, m, True)),
    )


def accept(s: State, n: Server, m: Request) -> dict[str, Formula]:
    """The consistency check of AppendEntries (§5.3); what a snapshot covers is known to match."""
    prev = s.prev_log_index(m)
    return {
        "sent": s.append_sent(m),
        "own term": s.request_term(m) == s.current_term(n),
        "previous entry": any_of(
            prev <= s.compacted(n),
            all_of(prev <= s.last_index(n), s.entry_term(n, prev) == s.prev_log_term(m)),
        ),
    }


def accepted(s: State, n: Server, m: Request) -> dict[str, Any]:
    """The server follows the leader, acknowledges and commits up to the last new entry (§5.3)."""
    committed = smaller(s.leader_commit(m), s.final_index(m))
    newer = committed > s.commit_index(n)
    known = s.acknowledged(n, s.current_term(n))
    return {
        "is_candidate": put(s.is_candidate, n, False),
        "commit_index": put(s.commit_index, n, larger(s.commit_index(n), committed)),
        "commit_term": put(
            s.commit_term, n, choose(newer, s.request_commit_term(m), s.commit_term(n))
        ),
        "commit_event": put(
            s.commit_event, n, choose(newer, s.request_commit_event(m), s.commit_event(n))
        ),
        "acknowledged": put(s.acknowledged, n, s.current_term(n), larger(known, s.final_index(m))),
    }


def _matches(s: State, n: Server, m: Request, first: Index, last: Index) -> Formula:
    """The log has entries of the same terms as the request in this span, or a snapshot of them."""
    return every(
        first,
        last,
        lambda i: any_of(
            i <= s.compacted(n),
            all_of(i <= s.last_index(n), s.entry_term(n, i) == s.sent_term(m, i)),
        ),
        lambda i: [s.sent_term(m, i)],
    )


def keep_entries(s: State, n: Server, m: Request) -> Effect:
    """AppendEntries without a conflict: the log stays as it is (§5.3)."""
    first, final = s.prev_log_index(m) + 1, s.final_index(m)
    return Effect(
        accept(s, n, m) | {"no conflict": _matches(s, n, m, first, final)},
        replace(s, **accepted(s, n, m)),
        mention=[s.sent_term(m, final)],
    )


def store_entries(s: State, n: Server, m: Request, conflict: Index) -> Effect:
    """The log is cut at the first conflict and continued with the request's entries (§5.3)."""
    first, final = s.prev_log_index(m) + 1, s.final_index(m)
    new = s.sent_term(m, conflict)
    return Effect(
        accept(s, n, m)
        | {
            "within the request": all_of(first <= conflict, conflict <= final),
            "conflict": any_of(conflict > s.last_index(n), s.entry_term(n, conflict) != new),
            "first conflict": _matches(s, n, m, first, conflict - 1),
        },
        replace(
            s,
            **accepted(s, n, m),
            last_index=put(s.last_index, n, final),
            entry_term=lambda k, i: choose(
                all_of(k == n, i >= conflict), s.sent_term(m, i), s.entry_term(k, i)
            ),
            entry_value=lambda k, i: choose(
                all_of(k == n, i >= conflict), s.sent_value(m, i), s.entry_value(k, i)
            ),
        ),
    )


def receive_acknowledgement(s: State, n: Server, k: Server, index: Index) -> Effect:
    """A server notes up to where k answered, in its term, that their logs match (§5.3)."""
    return Effect(
        {
            "acknowledged": all_of(between(0, index, s.acknowledged(k, s.current_term(n)))),
        },
        replace(s, match_index=put(s.match_index, n, k, index)),
    )


def advance_commit_index(s: State, n: Server, index: Index, quorum: ServerSet) -> Effect:
    """A leader commits an entry of its own term that a quorum has stored (§5.3, §5.4.2)."""
    term = s.current_term(n)
    return Effect(
        {
            "leader": s.is_leader(n),
            "forward": index > s.commit_index(n),
            "within the log": index <= s.last_index(n),
            "own term": s.entry_term(n, index) == term,
            "copies": every_member(quorum, lambda k: any_of(k == n, s.match_index(n, k) >= index)),
            "quorum": s.is_quorum(quorum, s.configuration(n)),
        },
        replace(
            s,
            commit_index=put(s.commit_index, n, index),
            commit_term=put(s.commit_term, n, term),
            commit_event=put(s.commit_event, n, index),
            counted=put(s.counted, term, index, True),
            holders=put(s.holders, term, index, quorum),
            count_last=put(s.count_last, term, index, s.last_index(n)),
        ),
    )


# --- Crashes (§5.5) -----------------------------------------------------------------------------


def restart(s: State, n: Server, commit_index: Index) -> Effect:
    """A server stops leading or standing; after a crash it forgets what is committed (§5.5)."""
    return Effect(
        {"forgotten": all_of(s.compacted(n) <= commit_index, commit_index <= s.commit_index(n))},
        replace(
            s,
            is_candidate=put(s.is_candidate, n, False),
            is_leader=put(s.is_leader, n, False),
            commit_index=put(s.commit_index, n, commit_index),
        ),
    )


ACTIONS: tuple[Action, ...] = (
    start_election,
    request_votes,
    update_term,
    grant_vote,
    receive_vote,
    become_leader,
    client_request,
    send_entries,
    keep_entries,
    store_entries,
    receive_acknowledgement,
    advance_commit_index,
    restart,
)
