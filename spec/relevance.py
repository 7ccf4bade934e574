"""Which messages and facts can still matter, and which knowledge: the checker may forget the rest.

All functions here are claims about ``spec.raft``, verified by the checker in every run that uses
them on every transition, message and fact it meets; a server never calls them.
"""

from __future__ import annotations

import itertools
from typing import assert_never

from spec.cluster import Committed, Elected, Fact
from spec.elections import nobody_answered, silent, would_be_elected
from spec.events import ElectionTimeout, Event, Receive
from spec.membership import is_outside
from spec.messages import (
    AppendEntries,
    AppendEntriesMismatch,
    AppendEntriesSuccess,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteResponse,
    ReadIndexRequest,
    ReadIndexResponse,
    RequestVote,
    RequestVoteResponse,
    StaleTerm,
    TimeoutNow,
)
from spec.quorum import members
from spec.reads import can_confirm
from spec.records import replace
from spec.state import Candidate, Follower, Index, Leader, Server, ServerId, Term


def is_obsolete(server: Server, source: ServerId, message: Message) -> bool:
    """Will ``message`` never again change ``server`` or make it send anything?"""
    match message:
        case RequestVote() | PreVote() | AppendEntries() | InstallSnapshot():
            return False  # an older request is still answered with the newer term
        case ReadIndexRequest(term=term):  # nobody who follows in a term will lead in it
            follows = isinstance(server.role, Follower)
            return term < server.current_term or (term == server.current_term and follows)
        case ReadIndexResponse(term=term) | TimeoutNow(term=term):
            return term < server.current_term
        case StaleTerm(term=term):
            return term <= server.current_term
        case PreVoteResponse(term=term, vote_granted=granted):
            return not granted or term < server.current_term  # it may ask again in this term
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
        case AppendEntriesSuccess() | AppendEntriesMismatch(), Leader(answered=None) as leader:
            return _tells_nothing_new(leader, source, answer)
        case AppendEntriesSuccess() | AppendEntriesMismatch(), Leader():
            return False  # it answers, and the leader counts who does (D6.2)
        case _:
            return True  # a follower leads and stands no more in this term, a leader has its votes


def _tells_nothing_new(
    leader: Leader, follower: ServerId, answer: AppendEntriesSuccess | AppendEntriesMismatch
) -> bool:
    """Do match_index, next_index and reads stay as they are, now and ever after?"""
    if follower not in leader.match_index or can_confirm(leader.reads, follower, answer.round):
        return False
    match_index = leader.match_index[follower]
    match answer:
        case AppendEntriesSuccess():
            return answer.match_index <= match_index
        case AppendEntriesMismatch(prev_log_index=prev):
            return not match_index < prev < leader.next_index[follower]
        case _:
            assert_never(answer)


def representative(server: Server, source: ServerId, message: Message) -> Message:
    """One message for all from ``source`` that ``server`` can no longer tell apart.

    Requests of older terms are all refused alike, now and ever after (§5.1). Answers that tell a
    leader nothing new are all nothing but answers (D6.2).
    """
    match message:
        case AppendEntriesSuccess() | AppendEntriesMismatch() if (
            isinstance(server.role, Leader)
            and message.term == server.current_term
            and _tells_nothing_new(server.role, source, message)
        ):
            return AppendEntriesSuccess(term=message.term, match_index=Index(0))
        case RequestVote() | PreVote() | AppendEntries() | InstallSnapshot() if (
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


# --- Servers that doubt at once -----------------------------------------------------------------


def doubting(server: Server) -> Server:
    """The server as its election timeout, which may come at any moment, leaves it (D9.6, D6.2).

    It hears no leader, or as a leader nobody has answered it; it asks for pre-votes later. Who
    would be elected by that alone keeps on hearing. A leader that is handing over keeps its
    answers, for its timeout ends that too.
    """
    match server.role:
        case Follower(leader_heard=True) if is_outside(server) or not would_be_elected(
            silent(server)
        ):
            return silent(server)
        case Leader(answered=frozenset(), transferring_to=None):
            return nobody_answered(server)
        case _:
            return server


def trusting(server: Server) -> tuple[Server, ...]:
    """The servers that it may have been before it doubted: they hear a leader, or were answered."""
    match server.role:
        case Follower(leader_heard=False):
            former = [replace(server, role=Follower(leader_heard=True))]
        case Leader(answered=frozenset()) as leader:
            others = [i for i in members(server.configuration) if i != server.server_id]
            former = [
                replace(server, role=replace(leader, answered=frozenset(answered)))
                for size in range(len(others))
                for answered in itertools.combinations(others, size + 1)
            ]
        case _:
            former = []
    return tuple(one for one in former if doubting(one) == server)


def is_hindered(event: Event) -> bool:
    """Is it disregarded, refused or put off by who hears a leader, or has been answered?"""
    match event:
        case ElectionTimeout() | Receive(message=RequestVote() | PreVote() | PreVoteResponse()):
            return True
        case _:
            return False
