"""§8 Client interaction: leaders, redirects, and the blank entry at the start of a term."""

from __future__ import annotations

from dataclasses import replace

from spec.events import (
    BecameLeader,
    ClientRequestAccepted,
    ClientRequestRefused,
    CommittedUpTo,
    Effect,
    HeardFromLeader,
    PersistEntries,
    Send,
)
from spec.messages import AppendEntries, RequestVote, RequestVoteResponse
from spec.raft import PAPER, SERVER, Options
from spec.state import Command, Entry, Index, NoOp, Term
from tests.cluster import S1, S2, S3, Cluster, commits


def restarted_leader(options: Options) -> Cluster:
    """S1 led term 1, committed an entry, crashed, and leads term 2; S2 has answered it."""
    cluster = Cluster(options=options)
    cluster.elect(S1, S2)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2)
    assert cluster.servers[S1].commit_index > 0
    cluster.restart(S1)
    cluster.elect(S1, S2)
    cluster.exchange(S1, S2)
    return cluster


def test_follower_learns_whom_clients_should_ask() -> None:
    """A server that is not the leader can name the latest one it has heard from. Source: §8"""
    cluster = Cluster()
    cluster.elect(S1, S2)
    assert HeardFromLeader(leader_id=S1) in cluster.deliver(AppendEntries, S1, S2)
    assert cluster.request(S2, "x") == (ClientRequestRefused(),)


def test_client_of_a_deposed_leader_is_turned_away() -> None:
    """A leader that has heard of a newer term takes no more commands. Source: §8"""
    cluster = Cluster()
    cluster.elect(S1, S2)
    cluster.time_out(S3)
    cluster.time_out(S3)
    cluster.deliver(RequestVote, S3, S1)
    assert cluster.request(S1, "x") == (ClientRequestRefused(),)


def test_accepted_command_can_be_recognised_when_it_is_applied() -> None:
    """The client is answered when the entry of that term at that index is applied, for another
    leader may put another entry there. Source: §8
    """
    cluster = restarted_leader(PAPER)
    effects = cluster.request(S1, "y")
    assert ClientRequestAccepted(term=Term(2), first_index=Index(2)) in effects
    entry = cluster.servers[S1].log.entries[1]
    assert entry == Entry(term=Term(2), payload=Command(data=b"y"))


def test_acceptance_is_not_commitment() -> None:
    """A command is executed only once it is committed. Source: §8"""
    cluster = restarted_leader(PAPER)
    effects = cluster.request(S1, "y")
    assert not any(isinstance(e, CommittedUpTo) for e in effects)


def test_new_leader_begins_its_term_with_a_blank_entry() -> None:
    """It is durable before it goes out, with the first heartbeat. Source: §8"""
    cluster = Cluster(options=replace(PAPER, no_op=True))
    cluster.time_out(S1)
    cluster.deliver(RequestVote, S1, S2)
    blank = (Entry(term=Term(1), payload=NoOp()),)
    announcement = AppendEntries(
        term=Term(1),
        leader_id=S1,
        prev_log_index=Index(0),
        prev_log_term=Term(0),
        entries=blank,
        leader_commit=Index(0),
    )
    expected: tuple[Effect, ...] = (
        PersistEntries(first_index=Index(1), entries=blank),
        BecameLeader(term=Term(1)),
        Send(to=S2, message=announcement),
        Send(to=S3, message=announcement),
    )
    assert cluster.deliver(RequestVoteResponse, S2, S1) == expected


def test_figure_2_alone_has_no_blank_entry() -> None:
    """The blank entry is §8's, not Figure 2's: the plain profile leaves it out. Source: §8"""
    cluster = Cluster(options=PAPER)
    cluster.elect(S1, S2)
    assert cluster.log_terms(S1) == []


def test_blank_entry_tells_the_leader_what_is_committed() -> None:
    """A new leader has every committed entry but does not know which they are until it has
    committed one of its own term. Source: §8
    """
    assert restarted_leader(PAPER).servers[S1].commit_index == 0
    assert restarted_leader(SERVER).servers[S1].commit_index == 3


def test_blank_entry_is_committed_like_any_other() -> None:
    """It needs a majority, and followers learn of it in the same way. Source: §8"""
    cluster = Cluster(options=SERVER)
    cluster.elect(S1, S2)
    assert cluster.servers[S1].commit_index == 0
    cluster.exchange(S1, S2)
    assert cluster.servers[S1].commit_index == 1
    cluster.heartbeat(S1)
    cluster.exchange(S1, S2)
    assert cluster.servers[S2].commit_index == 1


def test_lone_server_commits_its_blank_entry_with_its_election() -> None:
    """A majority of one has it as soon as it is durable. Source: §8"""
    cluster = Cluster(size=1, options=SERVER)
    assert commits(cluster.time_out(S1)) == [Index(1)]


def test_every_term_gets_one_blank_entry() -> None:
    """Each leader writes one, however often it is reminded of its election. Source: §8"""
    cluster = restarted_leader(SERVER)
    cluster.deliver(RequestVoteResponse, S2, S1)
    cluster.heartbeat(S1)
    payloads = [e.payload for e in cluster.servers[S1].log.entries]
    assert payloads == [NoOp(), Command(data=b"x"), NoOp()]
