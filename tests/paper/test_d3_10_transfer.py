"""D3.10 Leadership transfer extension."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spec.events import (
    BecameLeader,
    ClientRequestRefused,
    ElectionTimeout,
    MembershipChangeRefused,
    Send,
    SteppedDown,
    TransferAborted,
    TransferRefused,
    TransferStarted,
)
from spec.messages import AppendEntries, AppendEntriesSuccess, RequestVote, TimeoutNow
from spec.raft import PAPER, step
from spec.state import Candidate, ServerId, Term
from tests.cluster import S1, S2, S3, S4, Cluster, leader_role

OPTIONS = replace(PAPER, pre_vote=True, check_quorum=True)


def led(*, behind: bool = False) -> Cluster:
    """S1 leads S2 and S3 with one entry, which S2 lacks if it is ``behind``."""
    cluster = Cluster(options=OPTIONS)
    cluster.elect(S1, S3)
    cluster.exchange(S1, S2, S3)
    cluster.request(S1, "x")
    cluster.exchange(S1, S3)
    if not behind:
        cluster.exchange(S1, S2)
    cluster.lose()
    return cluster


def has_timeout_now(cluster: Cluster) -> bool:
    """Was the target ever told?"""
    return any(isinstance(p.message, TimeoutNow) for p in cluster.network)


def test_the_leader_stops_accepting_commands() -> None:
    """Step 1 of a transfer. Source: D3.10"""
    cluster = led(behind=True)
    assert TransferStarted(to=S2) in cluster.transfer(S1, S2)
    refused = ClientRequestRefused(reason="leadership is being transferred")
    assert cluster.request(S1, "y") == (refused,)
    assert cluster.change(S1, S1, S2) == (
        MembershipChangeRefused(reason="leadership is being transferred"),
    )


def test_the_target_is_brought_up_to_date_first() -> None:
    """Step 2: the log of the target matches that of the leader. Source: D3.10"""
    cluster = led(behind=True)
    cluster.transfer(S1, S2)
    assert not has_timeout_now(cluster)
    cluster.deliver(AppendEntries, S1, S2)
    effects = cluster.deliver(AppendEntriesSuccess, S2, S1)
    assert Send(to=S2, message=TimeoutNow(term=Term(1))) in effects


def test_timeout_now_is_sent_at_once_to_who_has_all() -> None:
    """And again, when it is not answered in time. Source: D3.10"""
    cluster = led()
    told = Send(to=S2, message=TimeoutNow(term=Term(1)))
    assert told in cluster.transfer(S1, S2)
    assert told in cluster.retry(S1)


def test_the_target_starts_an_election_at_once() -> None:
    """As if its election timer had fired, and without asking for pre-votes. Source: D3.10"""
    cluster = led()
    cluster.transfer(S1, S2)
    effects = cluster.deliver(TimeoutNow, S1, S2)
    assert cluster.servers[S2].current_term == 2
    assert isinstance(cluster.servers[S2].role, Candidate)
    asked = [e.message for e in effects if isinstance(e, Send)]
    assert all(isinstance(m, RequestVote) and m.leadership_transfer for m in asked)
    assert [m for m in asked if isinstance(m, RequestVote)]


def test_its_request_is_not_disregarded() -> None:
    """Who hears the leader listens all the same, and the leader steps down. Source: D4.2.3"""
    cluster = led()
    cluster.transfer(S1, S2)
    cluster.deliver(TimeoutNow, S1, S2)
    effects = cluster.deliver(RequestVote, S2, S1)
    assert SteppedDown(reason="a newer term has begun") in effects
    cluster.deliver(RequestVote, S2, S3)
    assert cluster.servers[S3].voted_for == S2
    assert any(isinstance(e, BecameLeader) for _, es in cluster.exchange(S2, S1, S3) for e in es)


def test_a_repeated_request_is_still_one_of_a_transfer() -> None:
    """Lost requests are repeated. Source: D3.10, §5.1"""
    cluster = led()
    cluster.transfer(S1, S2)
    cluster.deliver(TimeoutNow, S1, S2)
    again = [e.message for e in cluster.retry(S2) if isinstance(e, Send)]
    assert again
    assert all(isinstance(m, RequestVote) and m.leadership_transfer for m in again)


def test_the_transfer_is_aborted_after_an_election_timeout() -> None:
    """The leader resumes accepting commands. Source: D3.10"""
    cluster = led(behind=True)
    cluster.transfer(S1, S2)
    assert TransferAborted(to=S2) in cluster.time_out(S1)
    cluster.request(S1, "y")
    assert cluster.log_terms(S1) == [1, 1]


def test_it_is_aborted_without_check_quorum_too() -> None:
    """The timeout is that of the transfer. Source: D3.10"""
    cluster = led(behind=True)
    cluster.transfer(S1, S2)
    after, effects = step(PAPER, cluster.servers[S1], ElectionTimeout())
    assert effects == (TransferAborted(to=S2),)
    assert leader_role(after.role).transferring_to is None


def test_a_mistaken_abort_costs_an_election_at_most() -> None:
    """The target may be operational and start its election later. Source: D3.10"""
    cluster = led()
    cluster.transfer(S1, S2)
    cluster.exchange(S1, S3)
    cluster.time_out(S1)
    cluster.request(S1, "y")
    cluster.exchange(S1, S3)
    cluster.deliver(TimeoutNow, S1, S2)
    cluster.exchange(S2, S1, S3)
    assert not cluster.leads(S2), "it lacks what was committed since"
    cluster.elect(S1, S3)
    assert cluster.log_terms(S1) == [1, 1]


@pytest.mark.parametrize(
    ("asked", "to", "reason"),
    [
        (S2, S3, "this server is not the leader"),
        (S1, S1, "this server leads already"),
        (S1, S4, "only a member can lead"),
    ],
)
def test_transfers_that_cannot_be(asked: ServerId, to: ServerId, reason: str) -> None:
    """The reason is given in words."""
    assert led().transfer(asked, to) == (TransferRefused(reason=reason),)


def test_one_transfer_at_a_time() -> None:
    """The second one is refused until the first has ended."""
    cluster = led(behind=True)
    cluster.transfer(S1, S2)
    refused = (TransferRefused(reason="a transfer is under way"),)
    assert cluster.transfer(S1, S3) == refused


def test_timeout_now_of_an_older_term_is_ignored() -> None:
    """It was another leader's wish. Source: §5.1"""
    cluster = led()
    cluster.transfer(S1, S2)
    cluster.elect(S3, S1)
    cluster.exchange(S3, S2)
    before = cluster.servers[S2]
    assert cluster.deliver(TimeoutNow, S1, S2) == ()
    assert cluster.servers[S2] == before
