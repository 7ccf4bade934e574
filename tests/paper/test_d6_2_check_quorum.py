"""D6.2 (a leader steps down if it reaches no majority for an election timeout)."""

from __future__ import annotations

from dataclasses import replace

from spec.events import ElectionTimeout, ResetElectionTimer, SteppedDown
from spec.messages import AppendEntries, AppendEntriesMismatch
from spec.raft import PAPER, step
from spec.state import Follower, ServerId
from tests.cluster import S1, S2, S3, S4, Cluster, leader_role

OPTIONS = replace(PAPER, pre_vote=True, check_quorum=True)
STEPS_DOWN = SteppedDown(reason="no quorum answered for an election timeout")


def leading(size: int = 3) -> Cluster:
    """S1 leads, and nobody has answered it yet."""
    cluster = Cluster(size=size, options=OPTIONS)
    cluster.elect(S1, *(ServerId(i) for i in range(2, 2 + size // 2)))
    return cluster


def test_leader_without_answers_steps_down() -> None:
    """An election timeout elapses without a successful round of heartbeats. Source: D6.2"""
    cluster = leading()
    assert cluster.time_out(S1) == (STEPS_DOWN, ResetElectionTimer())
    assert cluster.servers[S1].role == Follower()
    assert (cluster.servers[S1].current_term, cluster.servers[S1].voted_for) == (1, S1)


def test_leader_with_answers_leads_on_for_one_more_timeout() -> None:
    """Each timeout asks anew. Source: D6.2"""
    cluster = leading()
    cluster.exchange(S1, S3)
    assert cluster.time_out(S1) == (ResetElectionTimer(),)
    assert cluster.leads(S1)
    cluster.time_out(S1)
    assert not cluster.leads(S1)


def test_a_majority_must_answer() -> None:
    """The leader counts itself; one more is not enough among four. Source: D6.2"""
    cluster = leading(4)
    cluster.exchange(S1, S4)
    assert leader_role(cluster.servers[S1].role).answered == frozenset({S4})
    cluster.time_out(S1)
    assert not cluster.leads(S1)


def test_a_rejection_is_an_answer() -> None:
    """Its sender follows this leader, whatever is in its log. Source: D6.2"""
    cluster = Cluster(options=OPTIONS)
    cluster.elect(S2, S1)
    cluster.request(S2, "x")
    cluster.exchange(S2, S1)
    cluster.elect(S1, S2)
    cluster.deliver(AppendEntries, S1, S3)
    cluster.exchange(S1, S3)
    cluster.time_out(S1)
    assert cluster.leads(S1)


def test_a_cluster_of_one_needs_no_answers() -> None:
    """The server is its own majority."""
    cluster = Cluster(size=1, options=OPTIONS)
    cluster.time_out(S1)
    cluster.time_out(S1)
    cluster.time_out(S1)
    assert cluster.leads(S1)


def test_answers_of_who_is_no_member_do_not_count() -> None:
    """Quorums are of the configuration in force. Source: §6"""
    cluster = Cluster(size=2, options=OPTIONS, outside=1)
    cluster.elect(S1, S2)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2)
    cluster.time_out(S1)
    cluster.change(S1, S1, S2, S3)
    cluster.deliver(AppendEntries, S1, S3)
    cluster.deliver(AppendEntriesMismatch, S3, S1)
    assert leader_role(cluster.servers[S1].role).answered == frozenset()


def test_figure_2_knows_no_such_timeout() -> None:
    """A leader of the plain profile leads until it hears of a newer term. Source: §5.2"""
    server = leading().servers[S1]
    assert step(PAPER, server, ElectionTimeout()) == (server, ())
