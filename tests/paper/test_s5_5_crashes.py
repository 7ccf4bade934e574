"""§5.5 Follower and candidate crashes."""

from __future__ import annotations

import pytest

from spec.events import CommittedUpTo, PersistEntries, ResetElectionTimer, Send
from spec.messages import AppendEntries, AppendEntriesSuccess, RequestVote, RequestVoteResponse
from spec.state import Candidate, Follower, Index, Leader, ServerId, Term
from tests.cluster import S1, S2, S3, Cluster


def cluster_with_an_entry() -> Cluster:
    """S1 leads term 1, S2 has its entry, and both know that it is committed."""
    cluster = Cluster()
    cluster.elect(S1, S2)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2)
    cluster.heartbeat(S1)
    cluster.exchange(S1, S2)
    assert [cluster.servers[i].commit_index for i in (S1, S2, S3)] == [1, 1, 0]
    return cluster


@pytest.mark.parametrize("server_id", [S1, S2, S3])
def test_only_the_persistent_state_survives(server_id: ServerId) -> None:
    """currentTerm, votedFor and log[] survive a crash, all else starts anew (Figure 2).
    Source: §5.5
    """
    cluster = cluster_with_an_entry()
    before = cluster.servers[server_id]
    effects = cluster.restart(server_id)
    after = cluster.servers[server_id]
    assert (after.current_term, after.voted_for, after.log) == (
        before.current_term,
        before.voted_for,
        before.log,
    )
    assert (after.commit_index, after.role) == (0, Follower())
    assert effects == (ResetElectionTimer(),)


def test_crashed_leader_and_crashed_candidate_return_as_followers() -> None:
    """Servers begin as followers whenever they start. Source: §5.5"""
    cluster = Cluster()
    cluster.time_out(S3)
    cluster.elect(S1, S2)
    assert isinstance(cluster.servers[S1].role, Leader)
    assert isinstance(cluster.servers[S3].role, Candidate)
    cluster.restart(S1)
    cluster.restart(S3)
    assert {cluster.servers[i].role for i in (S1, S3)} == {Follower()}


def test_crash_does_not_give_a_second_vote() -> None:
    """A server that restarts remembers for whom it voted. Source: §5.5"""
    cluster = Cluster()
    cluster.time_out(S1)
    cluster.time_out(S2)
    cluster.deliver(RequestVote, S1, S3)
    cluster.restart(S3)
    assert cluster.deliver(RequestVote, S2, S3) == (
        Send(to=S2, message=RequestVoteResponse(term=Term(1), vote_granted=False)),
    )


def test_candidate_that_restarts_does_not_vote_for_another() -> None:
    """Its vote for itself was durable. Source: §5.5"""
    cluster = Cluster()
    cluster.time_out(S1)
    cluster.time_out(S2)
    cluster.restart(S2)
    cluster.deliver(RequestVote, S1, S2)
    assert cluster.servers[S2].voted_for == S2


def test_votes_that_arrive_after_the_candidates_crash_elect_nobody() -> None:
    """A restarted server stands for nothing until it times out. Source: §5.5"""
    cluster = Cluster()
    cluster.time_out(S1)
    cluster.deliver(RequestVote, S1, S2)
    cluster.restart(S1)
    assert cluster.deliver(RequestVoteResponse, S2, S1) == ()
    assert not cluster.leads(S1)


def test_requests_to_a_crashed_server_succeed_after_its_restart() -> None:
    """AppendEntries and RequestVote are retried until the server is back. Source: §5.5"""
    cluster = cluster_with_an_entry()
    cluster.lose()
    cluster.restart(S3)
    cluster.retry(S1)
    cluster.exchange(S1, S3)
    assert cluster.log_terms(S3) == [1]
    assert cluster.servers[S3].commit_index == 1


def test_repeated_append_entries_does_no_harm_after_a_crash() -> None:
    """A server that crashed after storing, before answering, gets the request again, ignores the
    entries that it has, and answers. Source: §5.5
    """
    cluster = cluster_with_an_entry()
    log = cluster.servers[S2].log
    cluster.restart(S2)
    effects = cluster.deliver(AppendEntries, S1, S2)
    assert cluster.servers[S2].log == log
    assert not any(isinstance(e, PersistEntries) for e in effects)
    assert effects[-1] == Send(
        to=S1, message=AppendEntriesSuccess(term=Term(1), match_index=Index(1))
    )


def test_repeated_request_vote_is_answered_alike_after_a_crash() -> None:
    """A server that crashed after voting, before answering, grants the same vote again.
    Source: §5.5
    """
    cluster = Cluster()
    cluster.time_out(S1)
    first = cluster.deliver(RequestVote, S1, S2)
    cluster.restart(S2)
    assert cluster.deliver(RequestVote, S1, S2)[-1] == first[-1]


def test_restarted_server_learns_the_commit_index_again() -> None:
    """CommitIndex is volatile; the leader's next request tells it (Figure 2). Source: §5.5"""
    cluster = cluster_with_an_entry()
    cluster.restart(S2)
    assert cluster.servers[S2].commit_index == 0
    assert CommittedUpTo(commit_index=Index(1)) in cluster.deliver(AppendEntries, S1, S2)


def test_acknowledged_entry_survives_the_crash_of_the_whole_majority() -> None:
    """What was answered had been durable: every server may crash at once. Source: §5.5"""
    cluster = cluster_with_an_entry()
    for server_id in cluster.servers:
        cluster.restart(server_id)
    cluster.time_out(S3)
    cluster.exchange(S3, S1, S2)
    assert not cluster.leads(S3)
    cluster.elect(S2, S1)
    assert cluster.log_terms(S2) == [1]
