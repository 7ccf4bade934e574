"""Which messages can still matter to their receiver: the checker may forget the others.

Both functions are claims about ``spec.raft``, verified by the checker in every run that uses them
on every transition and every message it meets; a server never calls them.
"""

from __future__ import annotations

from typing import assert_never

from spec.messages import (
    AppendEntries,
    AppendEntriesMismatch,
    AppendEntriesSuccess,
    Message,
    RequestVote,
    RequestVoteResponse,
    StaleTerm,
)
from spec.state import Candidate, Index, Leader, Server, ServerId, Term


def is_obsolete(server: Server, source: ServerId, message: Message) -> bool:
    """Will ``message`` never again change ``server`` or make it send anything?"""
    match message:
        case RequestVote() | AppendEntries():
            return False  # an older request is still answered with the newer term
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
        case AppendEntriesSuccess(match_index=match_index), Leader(match_index=known):
            return match_index <= known[source]
        case AppendEntriesMismatch(prev_log_index=prev), Leader(
            next_index=next_index, match_index=known
        ):
            return not known[source] < prev < next_index[source]
        case _:
            return True  # a follower leads and stands no more in this term, a leader has its votes


def representative(server: Server, source: ServerId, message: Message) -> Message:
    """One message for all from ``source`` that ``server`` can no longer tell apart.

    Requests of older terms are all refused alike, now and ever after (§5.1).
    """
    match message:
        case RequestVote() | AppendEntries() if message.term < server.current_term:
            return RequestVote(
                term=Term(0), candidate_id=source, last_log_index=Index(0), last_log_term=Term(0)
            )
        case _:
            return message
