"""§5.6 Timing and availability: who starts a new election timeout when, and why safety does not
depend on it.
"""

from __future__ import annotations

from itertools import permutations

import pytest

from spec.events import Event, HeartbeatTimeout, ResetElectionTimer
from spec.messages import (
    AppendEntries,
    AppendEntriesSuccess,
    Message,
    RequestVote,
    RequestVoteResponse,
    StaleTerm,
)
from spec.raft import PAPER, step
from spec.state import Follower, ServerId
from tests.cluster import (
    S1,
    S2,
    S3,
    Cluster,
    append_entries,
    client_request,
    follower,
    receive,
    request_vote,
)


def test_timer_restarts_when_an_election_begins() -> None:
    """A candidate starts its election timeout with its election. Source: §5.6"""
    assert ResetElectionTimer() in Cluster().time_out(S1)


@pytest.mark.parametrize(
    "message",
    [
        append_entries(term=1),
        append_entries(term=1, prev=(1, 1)),
        append_entries(term=2, terms=(2,)),
        request_vote(term=1, candidate=S1),
    ],
    ids=["heartbeat", "mismatch", "entries", "vote"],
)
def test_timer_restarts_on_the_current_leader_and_on_a_vote(message: Message) -> None:
    """AppendEntries from the current leader or a granted vote put an election off. Source: §5.6"""
    _, effects = receive(follower(term=1), S1, message)
    assert ResetElectionTimer() in effects


@pytest.mark.parametrize(
    "message",
    [
        append_entries(term=1),
        request_vote(term=1, candidate=S1),
        request_vote(term=2, candidate=S1),
        request_vote(term=3, candidate=S1),
        StaleTerm(term=follower(term=3).current_term),
    ],
    ids=["old leader", "old candidate", "vote already given", "log too old", "answer"],
)
def test_timer_runs_on_after_anything_else(message: Message) -> None:
    """Neither stale leaders nor refused candidates can keep a server from standing. Source: §5.6"""
    _, effects = receive(follower(term=2, log=(1,), voted_for=S3), S1, message)
    assert ResetElectionTimer() not in effects


@pytest.mark.parametrize("event", [HeartbeatTimeout(), client_request("x")], ids=["time", "client"])
def test_timer_runs_on_while_nobody_is_heard(event: Event) -> None:
    """What does not come from another server puts no election off. Source: §5.6"""
    _, effects = step(PAPER, follower(term=2), event)
    assert ResetElectionTimer() not in effects


@pytest.mark.parametrize("order", list(permutations((S1, S2, S3))), ids=str)
def test_simultaneous_timeouts_elect_at_most_one_leader(order: tuple[ServerId, ...]) -> None:
    """If all time out together, liveness may suffer but safety does not. Source: §5.6"""
    cluster = Cluster()
    for server_id in order:
        cluster.time_out(server_id)
    for server_id in order:
        cluster.exchange(server_id, *order)
    assert not any(cluster.leads(i) for i in order)
    cluster.time_out(order[0])
    cluster.exchange(order[0], *order)
    assert [i for i in order if cluster.leads(i)] == [order[0]]


def test_message_delayed_by_several_terms_does_no_harm() -> None:
    """No answer depends on when a message arrives: old votes, old answers and old entries are
    recognised by their term. Source: §5.6
    """
    cluster = Cluster()
    cluster.time_out(S1)
    cluster.deliver(RequestVote, S1, S3)
    cluster.exchange(S1, S2)
    cluster.request(S1, "x")
    cluster.deliver(AppendEntries, S1, S3)
    cluster.deliver(AppendEntriesSuccess, S3, S1)
    old = list(cluster.network)
    for _ in range(2):
        cluster.elect(S3, S1)
        cluster.restart(S3)
    cluster.elect(S3, S1)
    cluster.exchange(S3, S1)
    logs = {i: s.log for i, s in cluster.servers.items()}
    assert any(isinstance(p.message, RequestVoteResponse) for p in old)
    for packet in old:
        cluster.happen(packet.to, packet.arrives())
    assert cluster.leads(S3)
    assert {i: cluster.servers[i].log for i in (S1, S3)} == {i: logs[i] for i in (S1, S3)}


def test_steady_leader_stays_leader() -> None:
    """While heartbeats arrive in time, no election begins and the term stays. Source: §5.6"""
    cluster = Cluster()
    cluster.elect(S1, S2)
    for _ in range(5):
        cluster.heartbeat(S1)
        happened = cluster.exchange(S1, S2, S3)
        heard = {to for to, effects in happened if ResetElectionTimer() in effects}
        assert heard == {S2, S3}
    assert cluster.leads(S1)
    assert {s.current_term for s in cluster.servers.values()} == {1}
    assert cluster.servers[S2].role == cluster.servers[S3].role == Follower()
