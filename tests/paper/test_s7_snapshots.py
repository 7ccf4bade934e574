"""§7 Log compaction, and Figure 13, InstallSnapshot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spec.cluster import remembered
from spec.events import (
    Effects,
    HeartbeatTimeout,
    PersistEntries,
    PersistSnapshot,
    Receive,
    Replicate,
    ResetElectionTimer,
    Restart,
    RestoreStateMachine,
    RetryTimeout,
    Send,
    TakeSnapshot,
)
from spec.log import base_index, entry_at, last_index, last_term, term_at
from spec.messages import AppendEntries, AppendEntriesSuccess, InstallSnapshot, StaleTerm
from spec.raft import PAPER, SERVER, step
from spec.state import (
    Candidate,
    Configuration,
    Follower,
    Index,
    Log,
    Server,
    ServerId,
    Snapshot,
    Term,
)
from tests.cluster import (
    S1,
    S2,
    S3,
    S4,
    Cluster,
    append_entries,
    entries,
    follower,
    leader_role,
    receive,
    request_vote,
)

THREE = Configuration(old=frozenset({S1, S2, S3}))


def snapshot(*terms: int, configuration: Configuration = THREE) -> Snapshot:
    """A snapshot of entries of these terms."""
    log = Log(entries=entries(*terms))
    return Snapshot(
        last_included_index=last_index(log),
        last_included_term=last_term(log),
        configuration=configuration,
        data=remembered(log, last_index(log)),
    )


def install(server: Server, sent: Snapshot, *, term: int | None = None) -> tuple[Server, Effects]:
    """The snapshot arrives from S1, leader of the server's term or of another."""
    number = server.current_term if term is None else Term(term)
    return receive(server, S1, InstallSnapshot(term=number, leader_id=S1, snapshot=sent))


def messages(effects: Effects) -> list[object]:
    """What is sent."""
    return [e.message for e in effects if isinstance(e, Send)]


def led_by_s1(*commands: str, options: object = PAPER) -> Cluster:
    """S1 leads and has committed these commands with S2; S3 has heard nothing of them."""
    cluster = Cluster(options=PAPER if options is PAPER else SERVER)
    cluster.elect(S1, S2, S3)
    cluster.exchange(S1, S2, S3)
    cluster.request(S1, *commands)
    cluster.exchange(S1, S2)
    cluster.lose()
    return cluster


# --- Taking a snapshot --------------------------------------------------------------------------


def test_entries_up_to_a_snapshot_are_discarded() -> None:
    """Once the state is on stable storage, the log up to there is not needed. Source: §7"""
    cluster = led_by_s1("x", "y", "z")
    effects = cluster.snapshot(S1, 2)
    log = cluster.servers[S1].log
    assert log.snapshot is not None
    assert effects == (PersistSnapshot(snapshot=log.snapshot),)
    assert (entry_at(log, Index(1)), entry_at(log, Index(2))) == (None, None)
    assert [e.payload for e in log.entries] == [e.payload for e in cluster.servers[S2].log.entries][
        2:
    ]
    assert log.snapshot.data == b"x y"


def test_servers_take_snapshots_independently() -> None:
    """Each server takes snapshots independently, a follower without the leader. Source: §7"""
    cluster = led_by_s1("x", "y")
    cluster.heartbeat(S1)
    cluster.exchange(S1, S2)
    cluster.snapshot(S2, 2)
    assert base_index(cluster.servers[S2].log) == 2
    assert base_index(cluster.servers[S1].log) == 0
    cluster.request(S1, "z")
    cluster.exchange(S1, S2)
    assert last_index(cluster.servers[S2].log) == 3


def test_a_snapshot_covers_just_the_committed_entries() -> None:
    """Others have not been applied to any state machine. Source: §7"""
    cluster = led_by_s1("x")
    cluster.request(S1, "y")
    with pytest.raises(AssertionError, match="committed"):
        cluster.snapshot(S1, 2)


def test_a_snapshot_names_its_last_entry() -> None:
    """By the index and the term of the last entry that was applied; that term is not the
    server's. Source: §7
    """
    cluster = led_by_s1("x")
    cluster.elect(S2, S3)
    cluster.request(S2, "y")
    cluster.exchange(S2, S1, S3)
    cluster.snapshot(S2, 1)
    taken = cluster.servers[S2].log.snapshot
    assert taken is not None
    assert (taken.last_included_index, taken.last_included_term) == (1, 1)
    assert cluster.servers[S2].current_term == 2


def test_consistency_check_for_the_first_entry_after_a_snapshot() -> None:
    """That entry needs a previous log index and term: those of the snapshot. Source: §7"""
    server, _ = install(follower(term=3), snapshot(1, 2))
    assert term_at(server.log, Index(2)) == 2
    wrong, effects = receive(server, S1, append_entries(term=3, prev=(2, 1), terms=(3,)))
    assert wrong == server
    server, effects = receive(server, S1, append_entries(term=3, prev=(2, 2), terms=(3,)))
    assert messages(effects) == [AppendEntriesSuccess(term=Term(3), match_index=Index(3))]
    assert last_index(server.log) == 3


def test_a_log_with_nothing_after_its_snapshot_votes_by_it() -> None:
    """Its last index and term are those of the last entry that it covers. Source: §5.4.1, §7"""
    server, _ = install(follower(term=3), snapshot(1, 2))
    for last, granted in [((2, 2), True), ((1, 3), True), ((1, 2), False), ((9, 1), False)]:
        after, _ = receive(server, S3, request_vote(term=4, candidate=S3, last=last))
        assert (after.voted_for == S3) == granted, last


def test_a_snapshot_has_the_configuration_as_of_its_last_entry() -> None:
    """Not the one in force, whose entry may come later and be cut off. Source: §7"""
    cluster = Cluster(outside=1)
    cluster.elect(S1, S2)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2, S3)
    cluster.change(S1, S1, S2, S4)
    cluster.exchange(S1, S2, S3, S4)
    after_change = Configuration(old=frozenset({S1, S2, S4}))
    assert cluster.servers[S1].configuration == after_change
    joint = Configuration(old=THREE.old, new=after_change.old)
    for upto, expected in [(1, THREE), (2, joint), (3, after_change)]:
        cluster.snapshot(S1, upto)
        taken = cluster.servers[S1].log.snapshot
        assert taken is not None
        assert taken.configuration == expected
        assert cluster.servers[S1].configuration == after_change


def test_who_knows_of_no_configuration_takes_no_snapshot() -> None:
    """Others could not start from it: it would tell them of no cluster. Source: §7"""
    server = replace(
        follower(term=1, log=(1,)),
        first_configuration=Configuration(old=frozenset()),
        configuration=Configuration(old=frozenset()),
        commit_index=Index(1),
    )
    assert step(PAPER, server, TakeSnapshot(last_included_index=Index(1), data=b"")) == (server, ())


def test_a_snapshot_takes_the_place_of_a_prior_one() -> None:
    """With it, the entries that it covers and the older snapshot are needless. Source: §7"""
    cluster = led_by_s1("x", "y", "z")
    cluster.snapshot(S1, 1)
    cluster.snapshot(S1, 3)
    log = cluster.servers[S1].log
    assert (base_index(log), log.entries) == (3, ())
    assert log.snapshot is not None
    assert log.snapshot.data == b"x y z"
    for older in (2, 3):
        assert cluster.snapshot(S1, older) == ()
    assert cluster.servers[S1].log == log


def test_a_server_starts_again_from_its_snapshot() -> None:
    """What it covers is applied and committed, the rest is to be learnt. Source: §5.5, §7"""
    cluster = led_by_s1("x", "y", "z")
    cluster.snapshot(S1, 2)
    log = cluster.servers[S1].log
    assert log.snapshot is not None
    assert cluster.happen(S1, Restart()) == (
        RestoreStateMachine(snapshot=log.snapshot),
        ResetElectionTimer(),
    )
    assert (cluster.servers[S1].log, cluster.servers[S1].commit_index) == (log, 2)


# --- Sending it ---------------------------------------------------------------------------------


def test_leader_sends_its_snapshot_to_who_needs_what_it_discarded() -> None:
    """The next entry that a slow follower needs may be gone from the leader's log. Source: §7"""
    cluster = led_by_s1("x", "y")
    cluster.snapshot(S1, 2)
    (sent,) = messages(cluster.retry(S1))
    log = cluster.servers[S1].log
    assert log.snapshot is not None
    assert sent == InstallSnapshot(term=Term(1), leader_id=S1, snapshot=log.snapshot)
    cluster.exchange(S1, S3)
    assert cluster.servers[S3].log == log
    assert leader_role(cluster.servers[S1].role).match_index[S3] == 2
    cluster.request(S1, "z")
    cluster.exchange(S1, S3)
    assert cluster.servers[S3].log == cluster.servers[S1].log


def test_leader_sends_no_snapshot_to_who_keeps_up() -> None:
    """Sending the snapshot to each follower would waste network bandwidth. Source: §7"""
    cluster = led_by_s1("x", "y")
    cluster.snapshot(S1, 2)
    sent = [e for e in cluster.request(S1, "z") if isinstance(e, Send)]
    assert {e.to: type(e.message) for e in sent} == {S2: AppendEntries, S3: InstallSnapshot}


def test_heartbeats_begin_no_earlier_than_the_log() -> None:
    """A heartbeat needs no snapshot; its rejection is no news. Source: §5.2, §7"""
    cluster = led_by_s1("x", "y")
    cluster.snapshot(S1, 2)
    effects = cluster.happen(S1, HeartbeatTimeout())
    sent = [m for m in messages(effects) if isinstance(m, AppendEntries)]
    assert [(m.prev_log_index, m.prev_log_term, m.entries) for m in sent] == [(2, 1, ())] * 2
    before = cluster.servers[S1]
    cluster.exchange(S1, S3)
    assert cluster.servers[S1] == before


def test_streaming_leader_sends_it_where_there_is_room() -> None:
    """Instead of the entries that it covers. Source: §7"""
    cluster = led_by_s1("x", "y", options=SERVER)
    cluster.snapshot(S1, 2)
    for first, kind in [(2, InstallSnapshot), (3, AppendEntries)]:
        event = Replicate(to=S3, first_index=Index(first), count=1)
        assert [type(m) for m in messages(cluster.happen(S1, event))] == [kind]


def test_new_server_joins_by_a_snapshot() -> None:
    """A new server joining the cluster does not have these entries. Source: §7"""
    cluster = Cluster(outside=1)
    cluster.elect(S1, S2, S3)
    cluster.request(S1, "x", "y")
    cluster.exchange(S1, S2, S3)
    cluster.snapshot(S1, 2)
    cluster.change(S1, S1, S2, S3, S4)
    cluster.exchange(S1, S2, S3, S4)
    cluster.retry(S1)
    cluster.exchange(S1, S2, S3, S4)
    assert base_index(cluster.servers[S4].log) == 2
    assert cluster.servers[S1].configuration == Configuration(old=frozenset({S1, S2, S3, S4}))


# --- Receiving it (Figure 13) -------------------------------------------------------------------


def test_snapshot_of_an_older_term_is_refused() -> None:
    """Reply immediately if term < currentTerm. Source: §7, Figure 13"""
    server = follower(term=3)
    after, effects = install(server, snapshot(1, 1), term=2)
    assert after == server
    assert messages(effects) == [StaleTerm(term=Term(3))]


def test_snapshot_is_from_the_leader() -> None:
    """A candidate follows who sends it. Source: §5.2, Figure 13"""
    standing = replace(follower(term=3), role=Candidate(votes_granted=frozenset({S2})))
    after, effects = install(standing, snapshot(1))
    assert after.role == Follower()
    assert ResetElectionTimer() in effects


@pytest.mark.parametrize("log", [(), (1,), (1, 1), (1, 1, 1)], ids=str)
def test_a_log_without_the_last_entry_is_discarded(log: tuple[int, ...]) -> None:
    """The snapshot tells more, and what is uncommitted may conflict with it. Source: §7"""
    sent = snapshot(1, 2)
    after, effects = install(follower(term=3, log=log), sent)
    assert after.log == Log(snapshot=sent)
    conflict = [PersistEntries(first_index=Index(2), entries=())] if len(log) > 1 else []
    writes = [e for e in effects if isinstance(e, PersistEntries | PersistSnapshot)]
    assert writes == [*conflict, PersistSnapshot(snapshot=sent)]


def test_entries_after_the_last_one_are_retained() -> None:
    """Where the log has the snapshot's last entry, what follows is still good. Source: §7"""
    sent = snapshot(1, 1)
    after, effects = install(follower(term=3, log=(1, 1, 2, 2)), sent)
    assert after.log == Log(snapshot=sent, entries=entries(2, 2, first_index=3))
    assert not any(isinstance(e, PersistEntries) for e in effects)


def test_snapshot_that_tells_nothing_new_changes_nothing() -> None:
    """Due to retransmission or by mistake; the owner of the state machine may not have applied
    all that is committed, and applies it from the log. Source: §7
    """
    server = replace(follower(term=3, log=(1, 1, 2)), commit_index=Index(2))
    for sent in (snapshot(1), snapshot(1, 1)):
        after, effects = install(server, sent)
        assert after == server
        (answer,) = messages(effects)
        assert answer == AppendEntriesSuccess(term=Term(3), match_index=sent.last_included_index)


def test_state_machine_is_reset_using_the_snapshot() -> None:
    """Durable first, then the state machine, then the answer. Source: Figure 13"""
    sent = snapshot(1, 1)
    after, effects = install(follower(term=3), sent)
    kinds = [type(e) for e in effects]
    assert RestoreStateMachine(snapshot=sent) in effects
    assert kinds.index(PersistSnapshot) < kinds.index(RestoreStateMachine) < kinds.index(Send)
    assert after.commit_index == 2


def test_configuration_of_the_snapshot_is_loaded() -> None:
    """Unless what follows it in the log carries a later one. Source: §7, Figure 13"""
    new = Configuration(old=frozenset(ServerId(i) for i in (2, 3, 4)))
    after, _ = install(follower(term=3, log=(1,)), snapshot(1, 2, configuration=new))
    assert (after.configuration, after.configuration_index) == (new, 2)
    assert step(PAPER, after, Restart())[0].configuration == new


def test_what_a_snapshot_covers_is_not_stored_again() -> None:
    """Late entries agree with what is covered: that is committed. Source: §5.4, §7"""
    server, _ = install(follower(term=3), snapshot(1, 1, 2))
    for request, match in [
        (append_entries(term=3, terms=(1, 1)), 2),
        (append_entries(term=3, prev=(1, 1), terms=(1, 2)), 3),
    ]:
        after, effects = receive(server, S1, request)
        assert after == server
        assert messages(effects) == [AppendEntriesSuccess(term=Term(3), match_index=Index(match))]
    after, _ = receive(server, S1, append_entries(term=3, terms=(1, 1, 2, 3)))
    assert after.log == Log(snapshot=server.log.snapshot, entries=entries(3, first_index=4))


def test_leader_that_hears_twice_goes_on_once() -> None:
    """A doubled answer tells nothing new. Source: §5.1, §7"""
    cluster = led_by_s1("x", "y")
    cluster.snapshot(S1, 1)
    cluster.happen(S1, RetryTimeout())
    cluster.exchange(S1, S3)
    before = cluster.servers[S1]
    answer = AppendEntriesSuccess(term=Term(1), match_index=Index(1))
    assert cluster.happen(S1, Receive(source=S3, message=answer)) == ()
    assert cluster.servers[S1] == before
