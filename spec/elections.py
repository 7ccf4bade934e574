"""Elections that do not disrupt: leaders that are heard (§6), pre-vote, check-quorum, transfer.

Decisions of one server, each a small function. When they are asked, and what is sent then, is in
``spec.raft``.
"""

from __future__ import annotations

from typing import assert_never

from spec.log import is_up_to_date, last_index, last_term
from spec.messages import Message, PreVote, RequestVote
from spec.quorum import is_quorum, members
from spec.records import replace
from spec.state import Candidate, Follower, Leader, Server, ServerId

# --- Servers that hear a leader -----------------------------------------------------------------


def hears_leader(server: Server) -> bool:
    """Does the server believe that there is a current leader (§6)?

    A leader does. A follower that heard one does until its election timeout, which is how long it
    takes to doubt; everybody else looks for one.
    """
    match server.role:
        case Leader():
            return True
        case Follower(leader_heard=heard):
            return heard
        case Candidate():
            return False
        case _:
            assert_never(server.role)


def is_disregarded(server: Server, message: Message) -> bool:
    """Servers disregard RequestVote when they believe that a current leader exists (§6, D4.2.3).

    So neither a removed server nor one that was cut off for a while can depose it; but an election
    that the leader wants itself goes on (D3.10).
    """
    return (
        isinstance(message, RequestVote)
        and not message.leadership_transfer
        and hears_leader(server)
    )


def silent(server: Server) -> Server:
    """The server once an election timeout has passed without a word of the leader."""
    return replace(server, role=Follower()) if isinstance(server.role, Follower) else server


# --- Pre-vote (D9.6) ----------------------------------------------------------------------------


def would_vote(server: Server, request: PreVote) -> bool:
    """Would the server vote for the sender in the term after that of the request (D9.6)?

    Nobody has voted in that term yet, for it is newer than the server's own.
    """
    return not hears_leader(server) and is_up_to_date(
        (request.last_log_term, request.last_log_index),
        (last_term(server.log), last_index(server.log)),
    )


def with_pre_votes(server: Server, pre_votes: frozenset[ServerId]) -> Server:
    """The server, which does not lead, with another tally of those who would vote for it."""
    assert not isinstance(server.role, Leader), "a leader stands for nothing"
    return replace(server, role=replace(server.role, pre_votes=pre_votes))


def would_be_elected(server: Server) -> bool:
    """Would a quorum, the server included, vote for it (D9.6)?"""
    match server.role:
        case Follower(pre_votes=pre_votes) | Candidate(pre_votes=pre_votes):
            return is_quorum(server.configuration, pre_votes | {server.server_id})
        case Leader():
            return False
        case _:
            assert_never(server.role)


# --- Check-quorum (D6.2) ------------------------------------------------------------------------


def nobody_answered(server: Server) -> Server:
    """The leader at the beginning of an election timeout, in which a quorum has to answer."""
    assert isinstance(server.role, Leader), "only a leader is answered"
    return replace(server, role=replace(server.role, answered=frozenset()))


def with_answer(server: Server, follower: ServerId) -> Server:
    """A leader has an answer from a member.

    Once a quorum has answered, who else does makes no difference: all count as if they had.
    """
    everybody = frozenset(members(server.configuration))
    match server.role:
        case Leader(answered=frozenset() as answered) if follower in everybody and not is_answered(
            server
        ):
            role = replace(server.role, answered=answered | {follower})
            if is_answered(replace(server, role=role)):
                role = replace(role, answered=everybody)
            return replace(server, role=role)
        case _:
            return server


def is_answered(server: Server) -> bool:
    """Has a quorum, the leader included, answered since the last election timeout (D6.2)?"""
    assert isinstance(server.role, Leader), "only a leader is answered"
    answered = server.role.answered
    return answered is not None and is_quorum(server.configuration, answered | {server.server_id})


# --- Leadership transfer (D3.10) ----------------------------------------------------------------


def why_no_transfer(server: Server, to: ServerId) -> str:
    """Why a server may not hand its leadership over to server ``to`` now, or nothing (D3.10)."""
    if not isinstance(server.role, Leader):
        return "this server is not the leader"
    if to == server.server_id:
        return "this server leads already"
    if to not in members(server.configuration):
        return "only a member can lead"
    if server.role.transferring_to is not None:
        return "a transfer is under way"
    return ""


def with_transfer(server: Server, to: ServerId | None) -> Server:
    """The leader with another server to hand over to, or with none."""
    assert isinstance(server.role, Leader), "only a leader hands over"
    return replace(server, role=replace(server.role, transferring_to=to))


def transfer_target(server: Server) -> ServerId | None:
    """To whom the server is handing over its leadership."""
    return server.role.transferring_to if isinstance(server.role, Leader) else None


def may_take_over(server: Server) -> bool:
    """Does the server to which the leader hands over have its whole log (D3.10)?"""
    match server.role:
        case Leader(transferring_to=int() as to, match_index=match_index):
            return match_index.get(to) == last_index(server.log)
        case _:
            return False
