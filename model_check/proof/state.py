"""What the abstract protocol knows: Figure 2 for every server, the network, and history.

Each field is a function; its annotation tells the sorts of its arguments and of its value. For the
proof they are uninterpreted functions, for a state of ``spec`` look-ups. An action gives the next
state by ``replace``; whatever it does not name stays as it was. Terms and indices are whole
numbers, index 0 and term 0 are "before the first entry". What a function says about indices after
the last one means nothing.

History only serves the proof: it hinders no action. A guard named "history" says which history a
request or a value takes along, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from model_check.proof.logic import (
    Configuration,
    Formula,
    Index,
    Request,
    Server,
    ServerSet,
    Term,
    Truth,
    Value,
    all_of,
    choose,
)

Function: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class State:
    """A state of basic Raft (§5)."""

    # --- Servers: Figure 2, "State" ---
    current_term: Annotated[Function, (Server,), Term]
    has_voted: Annotated[Function, (Server,), Truth]
    voted_for: Annotated[Function, (Server,), Server]
    """The vote in the current term, if ``has_voted``."""
    last_index: Annotated[Function, (Server,), Index]
    entry_term: Annotated[Function, (Server, Index), Term]
    entry_value: Annotated[Function, (Server, Index), Value]
    """What an entry carries besides its term."""
    commit_index: Annotated[Function, (Server,), Index]
    is_candidate: Annotated[Function, (Server,), Truth]
    is_leader: Annotated[Function, (Server,), Truth]
    votes_granted: Annotated[Function, (Server, Server), Truth]
    """(n, k): candidate n has counted the vote of k."""
    match_index: Annotated[Function, (Server, Server), Index]
    """(n, k): leader n knows that the log of k matches its own up to here."""

    # --- The network: what was ever sent ---
    vote_requested: Annotated[Function, (Server, Term, Index, Term), Truth]
    """(c, t, i, x): RequestVote of candidate c for term t with last log index i of term x."""
    vote_sent: Annotated[Function, (Server, Term, Server), Truth]
    """(k, t, c): k granted its vote of term t to c; for its own candidature too."""
    acknowledged: Annotated[Function, (Server, Term), Index]
    """(k, t): the highest match_index that k ever answered to AppendEntries of term t."""
    append_sent: Annotated[Function, (Request,), Truth]
    """Was this AppendEntries ever sent?"""

    # --- What an AppendEntries carries; never changes ---
    request_term: Annotated[Function, (Request,), Term]
    prev_log_index: Annotated[Function, (Request,), Index]
    prev_log_term: Annotated[Function, (Request,), Term]
    final_index: Annotated[Function, (Request,), Index]
    """prev_log_index plus the number of entries."""
    sent_term: Annotated[Function, (Request, Index), Term]
    sent_value: Annotated[Function, (Request, Index), Value]
    leader_commit: Annotated[Function, (Request,), Index]
    request_commit_term: Annotated[Function, (Request,), Term]
    request_commit_event: Annotated[Function, (Request,), Index]
    """History: the count (term, index) on which ``leader_commit`` rests."""

    # --- History: elections. The log of a term is its leader's log while it leads ---
    elected: Annotated[Function, (Term,), Truth]
    leader_of: Annotated[Function, (Term,), Server]
    voters: Annotated[Function, (Term,), ServerSet]
    election_last: Annotated[Function, (Term,), Index]
    """How long the leader's log was when it was elected."""
    term_last: Annotated[Function, (Term,), Index]
    log_term: Annotated[Function, (Term, Index), Term]
    log_value: Annotated[Function, (Term, Index), Value]

    # --- History: counts. A leader of term t counted copies of the entry at index i ---
    counted: Annotated[Function, (Term, Index), Truth]
    holders: Annotated[Function, (Term, Index), ServerSet]
    """The quorum that was counted."""
    count_last: Annotated[Function, (Term, Index), Index]
    """How long the leader's log was then."""
    commit_term: Annotated[Function, (Server,), Term]
    commit_event: Annotated[Function, (Server,), Index]
    """The count (term, index) on which a server's commit_index rests."""

    # --- Quorums; never change ---
    is_quorum: Annotated[Function, (ServerSet, Configuration), Truth]
    common: Annotated[Function, (ServerSet, ServerSet), Server]
    """A server that is in both sets, if there is one."""
    initial_configuration: Annotated[Function, (), Configuration]

    # --- Derived ---

    def compacted(self, server: Server) -> Index:
        """Up to where the log was replaced by a snapshot; never, here."""
        return 0

    def about(self, term: Term, value: Value) -> list[Any]:
        """Terms about an entry that z3 must meet in order to use lemmas for it."""
        return [term]

    def near(self, c: Configuration, d: Configuration) -> Formula:
        """Do all quorums of ``c`` and ``d`` share a server?"""
        return c == d

    def has(self, term: Term, entry_term: Term, index: Index) -> Formula:
        """Does the log of ``term`` hold the entry that the leader of ``entry_term`` created?"""
        return all_of(index <= self.term_last(term), self.log_term(term, index) == entry_term)

    def holds(self, server: Server, entry_term: Term, index: Index) -> Formula:
        """Does the log of ``server`` hold that entry?"""
        return all_of(
            index <= self.last_index(server), self.entry_term(server, index) == entry_term
        )

    def last_term(self, server: Server) -> Term:
        """Term of the last entry; 0 when the log is empty."""
        last = self.last_index(server)
        return choose(last == 0, 0, self.entry_term(server, last))

    def configuration_of(self, value: Callable[[Index], Value], last: Index) -> Configuration:
        """The configuration in force in a log; it never changes here."""
        return self.initial_configuration()

    def configuration(self, server: Server) -> Configuration:
        """The configuration in force at a server."""
        return self.configuration_of(lambda i: self.entry_value(server, i), self.last_index(server))

    def term_configuration(self, term: Term, last: Index) -> Configuration:
        """The configuration in force in the log of ``term`` up to ``last``."""
        return self.configuration_of(lambda i: self.log_value(term, i), last)
