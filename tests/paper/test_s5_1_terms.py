"""§5.1 Raft basics: roles, terms, requests."""

from __future__ import annotations

import pytest

from spec.events import ClientRequestRefused, PersistTermAndVote, Send
from spec.messages import (
    AppendEntries,
    AppendEntriesMismatch,
    AppendEntriesSuccess,
    Message,
    RequestVote,
    RequestVoteResponse,
    StaleTerm,
)
from spec.state import Candidate, Follower, Index, ServerId, Term
from tests.cluster import (
    S1,
    S2,
    S3,
    Cluster,
    append_entries,
    follower,
    receive,
    request_vote,
)

OF_EACH_KIND: list[Message] = [
    request_vote(term=2, candidate=S3),
    RequestVoteResponse(term=Term(2), vote_granted=False),
    append_entries(term=2, leader=S3),
    AppendEntriesSuccess(term=Term(2), match_index=Index(0)),
    AppendEntriesMismatch(term=Term(2), prev_log_index=Index(1), retry_from=Index(1)),
    StaleTerm(term=Term(2)),
]
EACH_KIND = pytest.mark.parametrize("message", OF_EACH_KIND, ids=lambda m: type(m).__name__)
REQUEST = pytest.mark.parametrize(
    "message", [request_vote(term=2, candidate=S3), append_entries(term=2, leader=S3)]
)


def test_followers_issue_no_requests_on_their_own() -> None:
    """Followers are passive: they only answer requests of leaders and candidates. Source: §5.1"""
    cluster = Cluster()
    assert cluster.heartbeat(S1) == cluster.retry(S1) == ()
    assert not cluster.network


def test_client_of_a_follower_is_turned_away() -> None:
    """The leader handles all client requests; a follower does not take them. Source: §5.1"""
    cluster = Cluster()
    before = cluster.servers[S2]
    assert cluster.request(S2, "x") == (ClientRequestRefused(),)
    assert cluster.servers[S2] == before


def test_terms_are_consecutive_and_each_begins_with_an_election() -> None:
    """Terms are numbered with consecutive integers and begin with an election. Source: §5.1"""
    cluster = Cluster()
    for term in (1, 2, 3):
        cluster.time_out(S1)
        assert cluster.servers[S1].current_term == term
        assert isinstance(cluster.servers[S1].role, Candidate)


def test_split_vote_ends_its_term_without_leader() -> None:
    """A split vote leaves a term without leader, and a new term can elect one. Source: §5.1"""
    cluster = Cluster()
    for candidate in (S1, S2, S3):
        cluster.time_out(candidate)
    cluster.exchange(S1, S2, S3)
    cluster.exchange(S2, S3)
    assert not any(cluster.leads(i) for i in cluster.servers)
    cluster.elect(S1, S2)
    assert cluster.servers[S1].current_term == 2


@EACH_KIND
def test_any_message_of_a_newer_term_is_adopted(message: Message) -> None:
    """A server whose term is smaller than the other's takes the larger one. Source: §5.1"""
    server, effects = receive(follower(term=1, voted_for=S1), S3, message)
    assert server.current_term == 2
    assert effects[0] == PersistTermAndVote(current_term=Term(2), voted_for=None)


@EACH_KIND
def test_candidate_that_is_out_of_date_becomes_follower(message: Message) -> None:
    """A candidate that discovers a newer term reverts to follower at once. Source: §5.1"""
    cluster = Cluster()
    cluster.time_out(S1)
    server, _ = receive(cluster.servers[S1], S3, message)
    assert server.role == Follower()


@EACH_KIND
def test_leader_that_is_out_of_date_becomes_follower(message: Message) -> None:
    """A leader that discovers a newer term reverts to follower at once. Source: §5.1"""
    cluster = Cluster()
    cluster.elect(S1, S2)
    server, _ = receive(cluster.servers[S1], S3, message)
    assert server.role == Follower()


@REQUEST
def test_request_with_a_stale_term_is_rejected(message: Message) -> None:
    """A request of an older term is rejected and changes nothing. Source: §5.1"""
    server = follower(term=3)
    assert receive(server, S3, message) == (
        server,
        (Send(to=S3, message=StaleTerm(term=Term(3))),),
    )


@pytest.mark.parametrize(
    "message",
    [m for m in OF_EACH_KIND if not isinstance(m, RequestVote | AppendEntries)],
    ids=lambda m: type(m).__name__,
)
def test_answer_with_a_stale_term_is_ignored(message: Message) -> None:
    """An answer to a request of an older term says nothing about the present. Source: §5.1"""
    cluster = Cluster()
    cluster.time_out(S1)
    cluster.time_out(S1)
    cluster.elect(S1, S2)
    leader = cluster.servers[S1]
    assert leader.current_term == 3
    assert receive(leader, S3, message) == (leader, ())


def test_refusal_for_a_stale_term_deposes_the_leader() -> None:
    """A leader learns from the answer to its request that its term is over. Source: §5.1"""
    cluster = Cluster()
    cluster.elect(S1, S2)
    cluster.time_out(S3)
    cluster.elect(S3, S2)
    cluster.heartbeat(S1)
    cluster.exchange(S1, S2)
    assert cluster.servers[S1].role == Follower()
    assert cluster.servers[S1].current_term == 2


@pytest.mark.parametrize("voters", [[], [S2]], ids=["candidate", "leader"])
def test_unanswered_requests_are_retried(voters: list[ServerId]) -> None:
    """Servers repeat RPCs that are not answered in time. Source: §5.1"""
    cluster = Cluster()
    cluster.time_out(S1)
    for voter in voters:
        cluster.exchange(S1, voter)
        cluster.request(S1, "x")
    lost = next(p.message for p in reversed(cluster.in_flight) if p.to == S3)
    assert Send(to=S3, message=lost) in cluster.retry(S1)


def test_new_term_forgets_the_vote() -> None:
    """A vote belongs to its term; a newer term starts without one (Figure 2). Source: §5.1"""
    server, _ = receive(follower(term=1, voted_for=S1), S3, StaleTerm(term=Term(2)))
    assert server.voted_for is None
