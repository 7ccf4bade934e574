"""§6 Cluster membership changes, by joint consensus."""

from __future__ import annotations

import pytest

from spec.events import (
    ElectionTimeout,
    MembershipChangeAccepted,
    MembershipChangeRefused,
    Restart,
    Send,
    SteppedDown,
)
from spec.messages import AppendEntries, AppendEntriesSuccess
from spec.quorum import agreed_index, is_quorum
from spec.state import Configuration, Follower, Index, Leader, ServerId
from tests.cluster import S1, S2, S3, S4, S5, Cluster, commits


def configuration(*old: ServerId, new: tuple[ServerId, ...] | None = None) -> Configuration:
    """C_old, or C_old,new."""
    return Configuration(old=frozenset(old), new=None if new is None else frozenset(new))


OLD = configuration(S1, S2, S3)
JOINT = configuration(S1, S2, S3, new=(S3, S4, S5))
NEW = configuration(S3, S4, S5)


def ready(outside: int = 2) -> Cluster:
    """S1 leads three servers and has committed an entry of its term."""
    cluster = Cluster(size=3, outside=outside)
    cluster.elect(S1, S2)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2, S3)
    assert cluster.servers[S1].commit_index == 1
    return cluster


def joint(cluster: Cluster) -> None:
    """S1 appends C_old,new from {1, 2, 3} to {3, 4, 5}; nobody else has it yet."""
    cluster.change(S1, S3, S4, S5)
    while cluster.servers[S1].configuration == OLD:
        packet = next(
            p
            for p in cluster.in_flight
            if {p.source, p.to} & {S4, S5}
            and not (isinstance(p.message, AppendEntries) and p.message.prev_log_index > 1)
        )
        cluster.happen(packet.to, packet.arrives())
    assert cluster.servers[S1].configuration == JOINT


def test_any_cluster_can_become_any_other_in_one_go() -> None:
    """C_old to C_old,new to C_new, whatever the two have in common. Source: §6, Figure 11"""
    cluster = ready()
    assert MembershipChangeAccepted() in cluster.change(S1, S3, S4, S5)
    cluster.exchange(S1, S2, S3, S4, S5)
    assert [c.configuration for c in cluster.history if hasattr(c, "configuration")] == [
        OLD,
        JOINT,
        NEW,
    ]
    cluster.elect(S4, S5)
    cluster.request(S4, "y")
    cluster.exchange(S4, S3, S5)
    assert cluster.servers[S4].commit_index == 4


def test_new_servers_catch_up_before_the_change_begins() -> None:
    """New servers first join as non-voting members, so that they delay nothing. Source: §6"""
    cluster = ready()
    cluster.change(S1, S3, S4, S5)
    leader = cluster.servers[S1]
    assert leader.configuration == OLD
    assert {p.to for p in cluster.in_flight} >= {S4, S5}
    cluster.exchange(S1, S4)
    assert cluster.servers[S1].configuration == OLD, "S5 lacks what is committed"
    assert cluster.servers[S4].log == leader.log
    assert is_quorum(leader.configuration, {S1, S2})


def test_a_server_uses_the_latest_configuration_in_its_log() -> None:
    """It uses it as soon as it is added to its log, committed or not. Source: §6"""
    cluster = ready()
    joint(cluster)
    cluster.deliver(AppendEntries, S1, S4)
    assert cluster.servers[S4].configuration == JOINT
    assert cluster.servers[S4].commit_index < 2
    assert cluster.servers[S2].configuration == OLD


def test_a_configuration_that_is_cut_off_is_no_more_in_force() -> None:
    """The latest in its log is the former one then. Source: §6"""
    cluster = ready()
    joint(cluster)
    cluster.lose()
    cluster.elect(S2, S3)
    cluster.request(S2, "y")
    cluster.exchange(S2, S1)
    assert cluster.servers[S1].configuration == OLD
    assert cluster.applied["configuration_truncated"] == 1


def test_joint_consensus_needs_both_majorities() -> None:
    """Agreement for elections and commitment needs majorities of both. Source: §6"""
    assert not is_quorum(JOINT, {S1, S2})
    assert not is_quorum(JOINT, {S3, S4, S5})
    assert is_quorum(JOINT, {S1, S3, S4})
    stored = {S1: Index(9), S2: Index(9), S3: Index(2), S4: Index(5), S5: Index(0)}
    assert agreed_index(JOINT, stored) == 2

    cluster = ready()
    joint(cluster)
    cluster.exchange(S1, S2)
    assert cluster.servers[S1].commit_index == 1, "S1 and S2 are no majority of C_new"
    cluster.exchange(S1, S4)
    assert cluster.servers[S1].commit_index == 1
    cluster.exchange(S1, S5)
    assert cluster.servers[S1].commit_index >= 2


def test_one_change_at_a_time() -> None:
    """Another one is refused until C_new is committed. Source: §6, D4.1"""
    cluster = ready()
    cluster.change(S1, S3, S4, S5)
    under_way = (MembershipChangeRefused(reason="a change is under way"),)
    assert cluster.change(S1, S1, S2) == under_way
    cluster.exchange(S1, S4, S5)
    assert cluster.servers[S1].configuration == JOINT
    assert cluster.change(S1, S1, S2) == under_way


@pytest.mark.parametrize(
    ("members", "reason"),
    [((), "a cluster has at least one member"), ((S1, S2, S3), "these are the members")],
)
def test_changes_that_are_none(members: tuple[ServerId, ...], reason: str) -> None:
    """Nothing to do, or nothing that can be done."""
    assert ready().change(S1, *members) == (MembershipChangeRefused(reason=reason),)


def test_no_change_before_an_entry_of_the_term_is_committed() -> None:
    """Else a change that was left uncommitted could win after all. Source: D4.1, erratum of 2015"""
    cluster = ready()
    cluster.elect(S2, S3)
    cluster.exchange(S2, S1, S3)
    refused = MembershipChangeRefused(reason="no entry of this term is committed yet")
    assert cluster.change(S2, S2, S3, S4) == (refused,)
    cluster.request(S2, "y")
    cluster.exchange(S2, S1, S3)
    assert MembershipChangeAccepted() in cluster.change(S2, S2, S3, S4)


def test_only_the_leader_changes_the_membership() -> None:
    """Source: §6"""
    refused = MembershipChangeRefused(reason="this server is not the leader")
    assert ready().change(S2, S2, S3, S4) == (refused,)


def test_a_leader_outside_c_new_leads_until_c_new_is_committed() -> None:
    """It replicates without counting itself, and steps down when C_new is committed. Source: §6"""
    cluster = ready()
    cluster.change(S1, S3, S4, S5)
    while cluster.servers[S1].configuration != NEW:
        packet = next(iter(cluster.in_flight))
        cluster.happen(packet.to, packet.arrives())
    assert cluster.leads(S1)
    end = Index(3)
    cluster.deliver(AppendEntries, S1, S4)
    effects = cluster.deliver(AppendEntriesSuccess, S4, S1)
    assert end not in commits(effects), "S1 and S4 are no majority of C_new"
    for server in (S3, S5):
        cluster.exchange(S1, server)
    assert cluster.servers[S1].role == Follower()
    assert cluster.servers[S1].commit_index == end
    assert cluster.applied["leader_outside_steps_down"] == 1
    assert not any(isinstance(s.role, Leader) for s in cluster.servers.values())


def test_who_is_in_no_cluster_starts_no_election() -> None:
    """Neither a server that waits to be added, nor one that knows to be removed. Source: §6"""
    cluster = ready()
    assert cluster.happen(S4, ElectionTimeout()) == ()
    cluster.change(S1, S2, S3, S4)
    cluster.exchange(S1, S2, S3, S4)
    assert SteppedDown not in map(type, cluster.happen(S1, ElectionTimeout()))
    assert cluster.servers[S1].role == Follower()
    assert not any(isinstance(e, Send) for e in cluster.happen(S1, ElectionTimeout()))


def test_a_restart_finds_the_configuration_in_the_log() -> None:
    """It is durable with the entry that carries it. Source: §5.5, §6"""
    cluster = ready()
    joint(cluster)
    cluster.happen(S1, Restart())
    assert cluster.servers[S1].configuration == JOINT


def test_a_learner_gets_the_log_and_counts_for_nothing() -> None:
    """New servers are non-voting: replicated to, but not considered for majorities. Source: §6"""
    cluster = ready(outside=1)
    assert MembershipChangeAccepted() in cluster.learn(S1, S4)
    cluster.exchange(S1, S4)
    assert cluster.servers[S4].log == cluster.servers[S1].log
    assert cluster.servers[S1].configuration == OLD
    cluster.request(S1, "y")
    cluster.exchange(S1, S4)
    assert cluster.servers[S4].log == cluster.servers[S1].log
    assert cluster.servers[S1].commit_index == 1  # S1 and a learner are no majority of three
    assert cluster.time_out(S4) == ()  # nor does a learner stand for election


def test_a_learner_that_has_caught_up_becomes_a_member_at_once() -> None:
    """Once it has caught up with the rest, the reconfiguration can proceed. Source: §6"""
    cluster = ready(outside=1)
    cluster.learn(S1, S4)
    cluster.exchange(S1, S4)
    cluster.change(S1, S1, S2, S4)
    assert cluster.servers[S1].configuration == configuration(S1, S2, S3, new=(S1, S2, S4))


def test_only_a_leader_has_learners_and_only_while_it_leads() -> None:
    """A follower refuses; the next leader must be asked again. Source: §6"""
    cluster = ready(outside=1)
    reason = "this server is not the leader"
    assert cluster.learn(S2, S4) == (MembershipChangeRefused(reason=reason),)
    cluster.learn(S1, S4)
    cluster.elect(S2, S3)
    assert not any(isinstance(e, Send) and e.to == S4 for e in cluster.heartbeat(S2))
