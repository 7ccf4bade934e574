"""D6.4 (and §8) Read-only requests that write no entry into the log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spec.events import Effect, Effects, ReadReady, ReadRefused, ReadRequest, Send
from spec.messages import (
    AppendEntries,
    AppendEntriesMismatch,
    AppendEntriesSuccess,
    ReadIndexRequest,
    ReadIndexResponse,
    RequestVote,
)
from spec.raft import PAPER, SERVER
from spec.state import ClientId, Index, Leader, RequestId, Round, ServerId, Term
from tests.cluster import S1, S2, S3, S4, S5, Cluster, leader_role

R1, R2, R3 = (RequestId(client_id=ClientId(9), serial_number=n) for n in (1, 2, 3))


PLAIN_ELECTIONS = replace(SERVER, pre_vote=False, check_quorum=False)
"""What the server runs with, but for what would hinder elections."""


def leading(size: int = 3) -> Cluster:
    """S1 leads term 1 and has committed its blank entry with the others' help."""
    cluster = Cluster(size=size, options=PLAIN_ELECTIONS)
    others = [ServerId(i) for i in range(2, size + 1)]
    cluster.elect(S1, *others[: size // 2])
    cluster.exchange(S1, *others)
    cluster.lose()
    return cluster


def read(cluster: Cluster, server_id: ServerId, read_id: RequestId) -> Effects:
    """Clients ask a server for a read."""
    return cluster.happen(server_id, ReadRequest(read_id=read_id))


def ready(read_id: RequestId, read_index: int) -> Effect:
    """The read may be answered."""
    return ReadReady(read_id=read_id, read_index=Index(read_index))


def answers(effects: Effects) -> list[Effect]:
    """What is said about reads."""
    return [e for e in effects if isinstance(e, ReadReady | ReadRefused)]


def rounds(effects: Effects) -> set[Round]:
    """The rounds of the heartbeats that a step sends."""
    sent = [e.message for e in effects if isinstance(e, Send)]
    return {m.round for m in sent if isinstance(m, AppendEntries)}


def heartbeat_answered(cluster: Cluster, follower: ServerId) -> Effects:
    """The leader's latest heartbeat arrives, and its answer."""
    cluster.deliver(AppendEntries, S1, follower)
    return cluster.deliver(AppendEntriesSuccess, follower, S1)


def test_leader_answers_no_read_on_its_own_authority() -> None:
    """It might have been deposed without knowing: it asks a majority first. Source: D6.4"""
    cluster = leading()
    effects = read(cluster, S1, R1)
    assert answers(effects) == []
    assert rounds(effects) == {Round(1)}
    assert {e.to for e in effects if isinstance(e, Send)} == {S2, S3}


def test_read_is_answered_when_a_majority_has_answered_the_round() -> None:
    """The leader counts for itself. Source: D6.4"""
    cluster = leading()
    read(cluster, S1, R1)
    assert answers(heartbeat_answered(cluster, S2)) == [ready(R1, 1)]


def test_minority_of_a_larger_cluster_confirms_nothing() -> None:
    """Two of five are no majority, three are. Source: D6.4"""
    cluster = leading(5)
    read(cluster, S1, R1)
    assert answers(heartbeat_answered(cluster, S4)) == []
    assert answers(heartbeat_answered(cluster, S5)) == [ready(R1, 1)]


def test_answer_that_comes_twice_counts_once() -> None:
    """A majority is one of servers, not of messages. Source: D6.4"""
    cluster = leading(5)
    read(cluster, S1, R1)
    heartbeat_answered(cluster, S4)
    assert answers(cluster.deliver(AppendEntriesSuccess, S4, S1)) == []


def test_heartbeat_from_before_the_read_confirms_nothing() -> None:
    """The round begins after the read has arrived. Source: D6.4"""
    cluster = leading()
    cluster.heartbeat(S1)
    cluster.deliver(AppendEntries, S1, S2)
    late = cluster.latest(AppendEntriesSuccess, S2, S1)
    read(cluster, S1, R1)
    assert answers(cluster.happen(S1, late.arrives())) == []


def test_answer_of_an_earlier_round_does_not_confirm_a_later_one() -> None:
    """Rounds are numbered, or a late answer would be taken for a fresh one. Source: D6.4"""
    cluster = leading()
    read(cluster, S1, R1)
    heartbeat_answered(cluster, S2)
    late = cluster.latest(AppendEntriesSuccess, S2, S1)
    assert rounds(read(cluster, S1, R2)) == {Round(2)}
    assert answers(cluster.happen(S1, late.arrives())) == []
    assert answers(heartbeat_answered(cluster, S2)) == [ready(R2, 1)]


def test_a_rejection_confirms_too() -> None:
    """Its follower is in the leader's term, whatever is in its log. Source: D6.4"""
    cluster = Cluster(options=replace(PLAIN_ELECTIONS, streaming=False))
    cluster.elect(S1, S2)
    cluster.exchange(S1, S2)
    cluster.time_out(S3)
    cluster.time_out(S3)
    cluster.deliver(RequestVote, S3, S1)
    cluster.elect(S2, S1)
    cluster.exchange(S2, S1)
    read(cluster, S2, R1)
    cluster.deliver(AppendEntries, S2, S3)
    confirmed = cluster.deliver(AppendEntriesMismatch, S3, S2)
    assert answers(confirmed) == [ready(R1, cluster.servers[S2].commit_index)]


def test_reads_that_arrive_during_a_round_share_the_next_one() -> None:
    """However many there are, they cost one exchange of heartbeats. Source: D6.4"""
    cluster = leading()
    read(cluster, S1, R1)
    assert rounds(read(cluster, S1, R2)) == set()
    assert rounds(read(cluster, S1, R3)) == set()
    first = heartbeat_answered(cluster, S2)
    assert answers(first) == [ready(R1, 1)]
    assert rounds(first) == {Round(2)}
    assert answers(heartbeat_answered(cluster, S3)) == [ready(R2, 1), ready(R3, 1)]


def test_lost_heartbeats_are_repeated_with_the_round() -> None:
    """They go out again at the next heartbeat timeout; the round is the same. Source: D6.4, §5.1"""
    cluster = leading()
    read(cluster, S1, R1)
    cluster.lose()
    assert rounds(cluster.heartbeat(S1)) == {Round(1)}
    assert answers(heartbeat_answered(cluster, S3)) == [ready(R1, 1)]


def test_without_reads_no_heartbeat_belongs_to_a_round() -> None:
    """Nobody waits for its answers. Source: D6.4"""
    cluster = leading()
    read(cluster, S1, R1)
    heartbeat_answered(cluster, S2)
    assert rounds(cluster.heartbeat(S1)) == {Round(0)}


def test_leader_that_has_committed_nothing_in_its_term_serves_no_read() -> None:
    """It has every committed entry but does not know which they are. Source: D6.4, §8"""
    cluster = Cluster(options=SERVER)
    cluster.elect(S1, S2)
    assert read(cluster, S1, R1) == (ReadRefused(read_id=R1),)
    cluster.exchange(S1, S2)
    assert answers(read(cluster, S1, R1)) == []


def test_entry_of_an_older_term_is_not_enough() -> None:
    """A leader without a blank entry serves reads only after a command. Source: D6.4, §8"""
    cluster = Cluster(options=PAPER)
    cluster.elect(S1, S2)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2)
    cluster.heartbeat(S1)
    cluster.exchange(S1, S2)
    cluster.elect(S2, S1)
    assert cluster.servers[S2].commit_index == 1
    assert read(cluster, S2, R1) == (ReadRefused(read_id=R1),)


def test_read_sees_what_was_committed_when_it_was_confirmed() -> None:
    """The dissertation's index is the one at its arrival; a later one is as good. Source: D6.4"""
    cluster = leading()
    read(cluster, S1, R1)
    cluster.deliver(AppendEntries, S1, S3)
    cluster.request(S1, "x")
    cluster.deliver(AppendEntries, S1, S2)
    cluster.deliver(AppendEntriesSuccess, S2, S1)
    assert answers(cluster.deliver(AppendEntriesSuccess, S3, S1)) == [ready(R1, 2)]


def test_deposed_leader_refuses_the_reads_that_wait() -> None:
    """It leads no more, and does not know what its successor commits. Source: D6.4"""
    cluster = leading()
    read(cluster, S1, R2)
    read(cluster, S1, R1)
    cluster.time_out(S3)
    effects = cluster.deliver(RequestVote, S3, S1)
    assert answers(effects) == [ReadRefused(read_id=R1), ReadRefused(read_id=R2)]


def test_removed_leader_refuses_the_reads_that_wait() -> None:
    """It steps down once it has committed the configuration without itself. Source: D6.4, §6"""
    cluster = leading()
    cluster.change(S1, S2, S3)
    read(cluster, S1, R1)
    cluster.request(S1, "x")  # entries are no heartbeats: nothing of the round is delivered
    for _ in range(3):
        for follower in (S2, S3):
            cluster.retry(S1)
            if cluster.leads(S1):
                cluster.deliver(AppendEntries, S1, follower)
                effects = cluster.deliver(AppendEntriesSuccess, follower, S1)
    assert not cluster.leads(S1)
    assert cluster.applied["leader_outside_steps_down"]
    assert answers(effects) == [ReadRefused(read_id=R1)]


def test_candidate_refuses() -> None:
    """It knows of no leader. Source: D6.4"""
    cluster = leading()
    cluster.time_out(S2)
    assert read(cluster, S2, R1) == (ReadRefused(read_id=R1),)


def test_follower_asks_the_leader_for_the_index() -> None:
    """It serves the read itself, once it has applied that far. Source: D6.4"""
    cluster = leading()
    read(cluster, S2, R1)
    effects = cluster.deliver(ReadIndexRequest, S2, S1)
    assert rounds(effects) == {Round(1)}
    heartbeat_answered(cluster, S3)
    response = ReadIndexResponse(term=Term(1), read_id=R1, read_index=Index(1))
    assert cluster.latest(ReadIndexResponse, S1, S2).message == response
    assert cluster.deliver(ReadIndexResponse, S1, S2) == (ready(R1, 1),)


def test_other_followers_do_not_answer_for_the_leader() -> None:
    """Only the leader knows what is committed. Source: D6.4"""
    cluster = leading()
    read(cluster, S2, R1)
    assert cluster.deliver(ReadIndexRequest, S2, S3) == ()


def test_request_that_comes_twice_waits_once() -> None:
    """A read that waits for a round already needs no other one. Source: D6.4"""
    cluster = leading()
    read(cluster, S1, R1)
    assert read(cluster, S1, R1) == ()
    assert not leader_role(cluster.servers[S1].role).reads.waiting


def test_leader_alone_answers_at_once() -> None:
    """It is its own majority. Source: D6.4"""
    cluster = Cluster(size=1, options=SERVER)
    cluster.time_out(S1)
    assert read(cluster, S1, R1) == (ready(R1, 1),)


@pytest.mark.parametrize("confirming", [(S2,), (S3,), (S2, S3)])
def test_joint_configuration_needs_both_majorities(confirming: tuple[ServerId, ...]) -> None:
    """Leadership is confirmed by those who could elect another leader. Source: D6.4, §6"""
    cluster = Cluster(size=2, options=SERVER, outside=2)
    cluster.elect(S1, S2)
    cluster.exchange(S1, S2)
    cluster.change(S1, S3, S4)
    for learner in (S3, S4):  # they catch up, and the joint configuration begins
        cluster.exchange(S1, learner)
        cluster.retry(S1)
    assert cluster.servers[S1].configuration.new == frozenset({S3, S4})
    cluster.lose()
    read(cluster, S1, R1)
    said: list[Effect] = []
    for follower in confirming:
        cluster.heartbeat(S1)
        said += answers(heartbeat_answered(cluster, follower))
    assert said == []
    cluster.heartbeat(S1)
    joined = confirming == (S2, S3)
    said = answers(heartbeat_answered(cluster, S4 if joined else S3))
    assert bool(said) == joined


def test_new_leader_begins_with_no_reads() -> None:
    """Rounds are numbered within a term; what waited in an earlier one is gone. Source: D6.4"""
    cluster = leading()
    read(cluster, S1, R1)
    cluster.restart(S1)
    cluster.elect(S1, S2)
    role = cluster.servers[S1].role
    assert isinstance(role, Leader)
    assert role.reads.round == 0
    assert not role.reads.confirming
