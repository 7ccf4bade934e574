"""§5.2 Leader election."""

from __future__ import annotations

import pytest

from spec.events import (
    BecameLeader,
    HeardFromLeader,
    PersistTermAndVote,
    ResetElectionTimer,
    Send,
)
from spec.messages import AppendEntries, RequestVote, RequestVoteResponse
from spec.raft import SERVER
from spec.state import Candidate, Follower, ServerId, Term
from tests.cluster import (
    S1,
    S2,
    S3,
    S4,
    S5,
    Cluster,
    append_entries,
    follower,
    receive,
    request_vote,
)


def test_servers_start_as_followers() -> None:
    """When servers start up, they begin as followers. Source: §5.2"""
    assert all(s.role == Follower() for s in Cluster(size=5).servers.values())


def test_follower_that_hears_a_leader_stays_follower() -> None:
    """Valid RPCs from a leader keep a server a follower: its timer starts anew. Source: §5.2"""
    server, effects = receive(follower(term=1), S1, append_entries(term=1))
    assert server.role == Follower()
    assert effects[:2] == (HeardFromLeader(leader_id=S1), ResetElectionTimer())


def test_heartbeat_of_an_idle_leader_carries_no_entries() -> None:
    """Leaders send AppendEntries without entries to all followers. Source: §5.2"""
    cluster = Cluster()
    cluster.elect(S1, S2)
    heartbeat = append_entries(term=1)
    assert cluster.heartbeat(S1) == (
        Send(to=S2, message=heartbeat),
        Send(to=S3, message=heartbeat),
    )


def test_election_timeout_asks_all_others_for_their_vote() -> None:
    """A follower that times out increments its term, becomes candidate, votes for itself and
    asks every other server, after its own vote is durable. Source: §5.2
    """
    cluster = Cluster(size=5)
    effects = cluster.time_out(S2)
    server = cluster.servers[S2]
    assert (server.current_term, server.voted_for) == (1, S2)
    assert server.role == Candidate(votes_granted=frozenset({S2}))
    assert effects == (
        PersistTermAndVote(current_term=Term(1), voted_for=S2),
        ResetElectionTimer(),
        *(Send(to=i, message=request_vote(term=1, candidate=S2)) for i in (S1, S3, S4, S5)),
    )


def test_candidate_wins_with_a_majority_of_the_full_cluster() -> None:
    """Three of five votes elect, two do not. Source: §5.2"""
    cluster = Cluster(size=5)
    cluster.time_out(S1)
    cluster.exchange(S1, S2)
    assert not cluster.leads(S1)
    cluster.exchange(S1, S3)
    assert cluster.leads(S1)


def test_doubled_vote_counts_once() -> None:
    """A majority is one of servers, not of answers. Source: §5.2"""
    cluster = Cluster(size=5)
    cluster.time_out(S1)
    cluster.exchange(S1, S2)
    before = cluster.servers[S1]
    assert cluster.deliver(RequestVoteResponse, S2, S1) == ()
    assert cluster.servers[S1] == before


def test_refusal_is_not_a_vote() -> None:
    """Only granted votes are counted. Source: §5.2"""
    cluster = Cluster()
    cluster.time_out(S2)
    cluster.time_out(S1)
    cluster.exchange(S1, S2)
    assert not cluster.leads(S1)
    assert not cluster.leads(S2)


def test_votes_of_another_term_do_not_count() -> None:
    """A candidate needs a majority for the same term. Source: §5.2"""
    cluster = Cluster()
    cluster.time_out(S1)
    cluster.deliver(RequestVote, S1, S2)
    cluster.time_out(S1)
    assert cluster.deliver(RequestVoteResponse, S2, S1) == ()
    assert cluster.servers[S1].role == Candidate(votes_granted=frozenset({S1}))


def test_vote_after_the_election_changes_nothing() -> None:
    """A leader needs no more votes. Source: §5.2"""
    cluster = Cluster()
    cluster.time_out(S1)
    cluster.deliver(RequestVote, S1, S3)
    cluster.exchange(S1, S2)
    leader = cluster.servers[S1]
    assert cluster.leads(S1)
    assert cluster.deliver(RequestVoteResponse, S3, S1) == ()
    assert cluster.servers[S1] == leader


def test_vote_goes_to_the_first_who_asks() -> None:
    """A server votes for at most one candidate a term, first come first served. Source: §5.2"""
    cluster = Cluster()
    cluster.time_out(S1)
    cluster.time_out(S2)
    cluster.deliver(RequestVote, S2, S3)
    (refusal,) = cluster.deliver(RequestVote, S1, S3)
    assert refusal == Send(to=S1, message=RequestVoteResponse(term=Term(1), vote_granted=False))
    assert cluster.servers[S3].voted_for == S2


def test_vote_is_granted_again_to_the_same_candidate() -> None:
    """VotedFor is null *or candidateId*: a repeated request gets its answer again (Figure 2).
    Source: §5.2
    """
    cluster = Cluster()
    cluster.time_out(S1)
    first = cluster.deliver(RequestVote, S1, S3)
    assert cluster.deliver(RequestVote, S1, S3)[-1] == first[-1]
    assert first[-1] == Send(to=S1, message=RequestVoteResponse(term=Term(1), vote_granted=True))


def test_vote_is_durable_before_it_is_given() -> None:
    """The vote is on stable storage before the answer leaves (Figure 2). Source: §5.2"""
    server, effects = receive(follower(term=1), S1, request_vote(term=1, candidate=S1))
    assert server.voted_for == S1
    assert effects == (
        PersistTermAndVote(current_term=Term(1), voted_for=S1),
        ResetElectionTimer(),
        Send(to=S1, message=RequestVoteResponse(term=Term(1), vote_granted=True)),
    )


def test_candidate_does_not_vote_for_another() -> None:
    """A candidate has voted for itself. Source: §5.2"""
    cluster = Cluster()
    cluster.time_out(S1)
    cluster.time_out(S2)
    cluster.deliver(RequestVote, S1, S2)
    assert cluster.servers[S2].voted_for == S2


def test_leader_does_not_vote_for_another_of_its_term() -> None:
    """A leader has voted for itself. Source: §5.2"""
    cluster = Cluster()
    cluster.time_out(S3)
    cluster.elect(S1, S2)
    cluster.deliver(RequestVote, S3, S1)
    assert cluster.leads(S1)
    assert cluster.servers[S1].voted_for == S1


def test_elected_leader_asserts_its_authority_at_once() -> None:
    """The new leader sends heartbeats to all servers to prevent new elections. Source: §5.2"""
    cluster = Cluster()
    cluster.time_out(S1)
    cluster.deliver(RequestVote, S1, S2)
    heartbeat = append_entries(term=1)
    assert cluster.deliver(RequestVoteResponse, S2, S1) == (
        BecameLeader(term=Term(1)),
        Send(to=S2, message=heartbeat),
        Send(to=S3, message=heartbeat),
    )


@pytest.mark.parametrize("timeouts_of_s3", [1, 2], ids=["its term", "a newer term"])
def test_candidate_recognises_a_legitimate_leader(timeouts_of_s3: int) -> None:
    """A leader of the candidate's term or a later one turns it into a follower, which keeps its
    vote within the term. Source: §5.2
    """
    cluster = Cluster()
    cluster.time_out(S1)
    for _ in range(timeouts_of_s3 - 1):
        cluster.time_out(S3)
    cluster.elect(S3, S2)
    cluster.deliver(AppendEntries, S3, S1)
    assert cluster.servers[S1].role == Follower()
    assert cluster.servers[S1].voted_for == (S1 if timeouts_of_s3 == 1 else None)


def test_candidate_rejects_a_leader_of_an_older_term() -> None:
    """If the term in the RPC is smaller, the candidate continues as candidate. Source: §5.2"""
    cluster = Cluster()
    cluster.elect(S3, S2)
    cluster.time_out(S1)
    cluster.time_out(S1)
    before = cluster.servers[S1]
    cluster.deliver(AppendEntries, S3, S1)
    assert cluster.servers[S1] == before
    assert isinstance(before.role, Candidate)


def test_candidate_without_winner_starts_a_new_election() -> None:
    """After a split vote a candidate times out, increments its term and asks again, with no vote
    but its own. Source: §5.2
    """
    cluster = Cluster(size=5)
    cluster.time_out(S1)
    cluster.exchange(S1, S2)
    cluster.time_out(S1)
    assert cluster.servers[S1].current_term == 2
    assert cluster.servers[S1].role == Candidate(votes_granted=frozenset({S1}))


def test_leader_has_no_election_timeout() -> None:
    """Followers and candidates start elections, leaders do not (Figure 4). Source: §5.2"""
    cluster = Cluster()
    cluster.elect(S1, S2)
    leader = cluster.servers[S1]
    assert cluster.time_out(S1) == ()
    assert cluster.servers[S1] == leader


def test_lone_server_elects_itself_at_once() -> None:
    """Its own vote is a majority of one. Source: §5.2"""
    for options in (SERVER, Cluster().options):
        cluster = Cluster(size=1, options=options)
        assert BecameLeader(term=Term(1)) in cluster.time_out(S1)
        assert cluster.leads(S1)


@pytest.mark.parametrize("second", [S2, S3])
def test_two_leaders_never_share_a_term(second: ServerId) -> None:
    """Two majorities share a server, and it votes only once. Source: §5.2"""
    cluster = Cluster()
    cluster.time_out(second)
    cluster.elect(S1, S2 if second == S3 else S3)
    cluster.exchange(second, S1, S2, S3)
    assert [i for i in cluster.servers if cluster.leads(i)] == [S1]
