"""Which messages and facts can still matter: the checker may forget the others.

All functions here are claims about ``spec.raft``, verified by the checker in every run that uses
them on every transition, message and fact it meets; a server never calls them.
"""

from __future__ import annotations

from typing import assert_never

from spec.cluster import Committed, Elected, Fact
from spec.messages import (
    AppendEntries,
    AppendEntriesMismatch,
    AppendEntriesSuccess,
    Message,
    ReadIndexRequest,
    ReadIndexResponse,
    RequestVote,
    RequestVoteResponse,
    StaleTerm,
)
from spec.reads import can_confirm
from spec.state import Candidate, Follower, Index, Leader, Server, ServerId, Term


def is_obsolete(server: Server, source: ServerId, message: Message) -> bool:
    """Will ``message`` never again change ``server`` or make it send anything?"""
    match message:
        case RequestVote() | AppendEntries():
            return False  # an older request is still answered with the newer term
        case ReadIndexRequest(term=term):  # nobody who follows will lead in this term
            return term == server.current_term and isinstance(server.role, Follower)
        case ReadIndexResponse(term=term):
            return term < server.current_term
        case StaleTerm(term=term):
            return term <= server.current_term
        case RequestVoteResponse() | AppendEntriesSuccess() | AppendEntriesMismatch():
            if message.term != server.current_term:
                return message.term < server.current_term
            return _is_obsolete_answer(server, source, message)
        case _:
            assert_never(message)


def _is_obsolete_answer(
    server: Server,
    source: ServerId,
    answer: RequestVoteResponse | AppendEntriesSuccess | AppendEntriesMismatch,
) -> bool:
    """The same for an answer of the server's own term."""
    match answer, server.role:
        case RequestVoteResponse(vote_granted=granted), Candidate(votes_granted=votes):
            return not granted or source in votes
        case _, Candidate():
            return False  # it may win this term and hear such an answer as its leader
        case AppendEntriesSuccess(match_index=match_index, round=of_round), Leader(
            match_index=known
        ):
            tells_of_round = can_confirm(server.role.reads, source, of_round)
            return source in known and match_index <= known[source] and not tells_of_round
        case AppendEntriesMismatch(prev_log_index=prev, round=of_round), Leader(
            next_index=next_index, match_index=known
        ):
            tells_of_round = can_confirm(server.role.reads, source, of_round)
            old_news = source in known and not known[source] < prev < next_index[source]
            return old_news and not tells_of_round
        case _:
            return True  # a follower leads and stands no more in this term, a leader has its votes


def representative(server: Server, source: ServerId, message: Message) -> Message:
    """One message for all from ``source`` that ``server`` can no longer tell apart.

    Requests of older terms are all refused alike, now and ever after (§5.1).
    """
    match message:
        case RequestVote() | AppendEntries() | ReadIndexRequest() if (
            message.term < server.current_term
        ):
            return RequestVote(
                term=Term(0), candidate_id=source, last_log_index=Index(0), last_log_term=Term(0)
            )
        case _:
            return message


def is_past(server: Server, fact: Fact) -> bool:
    """Will nothing that ``server`` ever does contradict ``fact``?

    Only another leader of the same term contradicts an election (§5.2), or a commit in an earlier
    one (§5.4); a server beyond the term, or in it and no candidate, becomes neither.
    """
    match fact:
        case Elected(term=term):
            candidate = isinstance(server.role, Candidate)
            return term < server.current_term or (term == server.current_term and not candidate)
        case Committed():
            return False  # any log, and any later leader, may lack the entry
        case _:
            assert_never(fact)
