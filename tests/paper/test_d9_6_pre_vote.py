"""D9.6 Preventing disruptions when a server rejoins the cluster: pre-vote; §6 (end)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spec.elections import hears_leader
from spec.events import Receive, ResetElectionTimer, Send
from spec.messages import PreVote, PreVoteResponse, RequestVote, StaleTerm
from spec.raft import PAPER, SERVER, step
from spec.state import Candidate, Follower, Term
from tests.cluster import (
    S1,
    S2,
    S3,
    Cluster,
    append_entries,
    follower,
    request_vote,
)

OPTIONS = replace(PAPER, pre_vote=True, check_quorum=True)
GRANTED = PreVoteResponse(term=Term(1), vote_granted=True)
REFUSED = PreVoteResponse(term=Term(1), vote_granted=False)


def pre_vote(*, term: int, last: tuple[int, int] = (0, 0)) -> PreVote:
    """PreVote of S1, whose last entry is ``last``, an (index, term)."""
    asked = request_vote(term=term, candidate=S1, last=last)
    return PreVote(
        term=asked.term,
        candidate_id=S1,
        last_log_index=asked.last_log_index,
        last_log_term=asked.last_log_term,
    )


def led() -> Cluster:
    """S1 leads term 1, and S2 and S3 have heard it."""
    cluster = Cluster(options=OPTIONS)
    cluster.elect(S1, S2)
    cluster.exchange(S1, S2, S3)
    return cluster


def test_a_candidate_asks_before_it_raises_its_term() -> None:
    """It only increments its term if a majority would be willing to vote for it. Source: D9.6"""
    cluster = Cluster(options=OPTIONS)
    asked = PreVote(
        term=Term(0), candidate_id=S1, last_log_index=follower(term=0).commit_index,
        last_log_term=Term(0),
    )  # fmt: skip
    before = cluster.servers[S1]
    assert cluster.time_out(S1) == (
        ResetElectionTimer(),
        Send(to=S2, message=asked),
        Send(to=S3, message=asked),
    )
    assert cluster.servers[S1] == before
    cluster.deliver(PreVote, S1, S2)
    cluster.deliver(PreVoteResponse, S2, S1)
    assert cluster.servers[S1].current_term == 1
    assert isinstance(cluster.servers[S1].role, Candidate)


@pytest.mark.parametrize(("last", "answer"), [((1, 1), GRANTED), ((0, 0), REFUSED)])
def test_the_log_must_be_up_to_date(last: tuple[int, int], answer: PreVoteResponse) -> None:
    """The candidate's log must be sufficiently up-to-date. Source: D9.6, §5.4.1"""
    server = follower(term=1, log=[1])
    message = pre_vote(term=1, last=last)
    after, effects = step(OPTIONS, server, Receive(source=S1, message=message))
    assert (after, effects) == (server, (Send(to=S1, message=answer),))


def test_who_hears_a_leader_refuses() -> None:
    """The voters must not have received heartbeats for an election timeout. Source: D9.6"""
    cluster = led()
    cluster.time_out(S3)
    for server in (S1, S2):
        (effect,) = cluster.deliver(PreVote, S3, server)
        assert effect == Send(to=S3, message=REFUSED)
    cluster.time_out(S2)
    assert cluster.deliver(PreVote, S3, S2) == (Send(to=S3, message=GRANTED),)


def test_a_pre_vote_changes_no_term_and_no_vote() -> None:
    """Neither a newer term nor the pre-vote itself is remembered. Source: D9.6"""
    server = follower(term=1)
    after, effects = step(OPTIONS, server, Receive(source=S1, message=pre_vote(term=7)))
    assert after == server
    assert effects == (Send(to=S1, message=replace(GRANTED, term=Term(7))),)


def test_an_older_server_is_told_the_newer_term() -> None:
    """A request of an older term is refused. Source: §5.1"""
    server = follower(term=2)
    after, effects = step(OPTIONS, server, Receive(source=S1, message=pre_vote(term=1)))
    assert (after, effects) == (server, (Send(to=S1, message=StaleTerm(term=Term(2))),))


def test_who_hears_the_leader_again_does_not_stand() -> None:
    """Pre-votes that come after a heartbeat do not count. Source: D9.6"""
    cluster = led()
    cluster.time_out(S2)
    cluster.time_out(S3)
    cluster.deliver(PreVote, S3, S2)
    cluster.heartbeat(S1)
    cluster.exchange(S1, S3)
    cluster.deliver(PreVoteResponse, S2, S3)
    assert cluster.servers[S3].role == Follower(leader_heard=True)
    assert cluster.servers[S3].current_term == 1


def test_a_server_that_was_cut_off_does_not_disrupt() -> None:
    """However often it times out, its term stays, and the leader leads on. Source: D9.6"""
    cluster = led()
    cluster.lose()
    for _ in range(5):
        cluster.time_out(S3)
        cluster.exchange(S3, S1, S2)
    assert cluster.servers[S3].current_term == 1
    cluster.heartbeat(S1)
    cluster.exchange(S1, S2, S3)
    assert cluster.leads(S1)


def test_servers_disregard_request_vote_when_they_hear_a_leader() -> None:
    """They neither update their term nor grant their vote. Source: §6, D4.2.3"""
    cluster = led()
    for server_id in (S1, S2):
        before = cluster.servers[server_id]
        request = request_vote(term=9, candidate=S3)
        event = Receive(source=S3, message=request)
        assert step(OPTIONS, before, event) == (before, ())
        assert step(PAPER, before, event)[0].current_term == 9


def test_normal_elections_are_not_hindered() -> None:
    """Each server waits at least an election timeout before it stands. Source: §6"""
    cluster = led()
    cluster.elect(S2, S3)
    assert cluster.servers[S2].current_term == 2


def test_a_leader_is_forgotten_with_its_term_and_in_a_crash() -> None:
    """Only the leader of the current term is a current leader. Source: §6"""
    heard, _ = step(OPTIONS, follower(term=1), Receive(source=S1, message=append_entries(term=1)))
    assert hears_leader(heard)
    newer = Receive(source=S3, message=StaleTerm(term=Term(2)))
    assert not hears_leader(step(OPTIONS, heard, newer)[0])
    cluster = led()
    cluster.restart(S2)
    assert not hears_leader(cluster.servers[S2])


def test_the_server_asks_for_pre_votes() -> None:
    """What runs is what is checked."""
    cluster = Cluster(options=SERVER)
    cluster.time_out(S1)
    assert not any(isinstance(p.message, RequestVote) for p in cluster.network)
