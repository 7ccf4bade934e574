"""§5.3 Log replication."""

from __future__ import annotations

import pytest

from spec.events import (
    ClientRequestAccepted,
    ClientRequestRefused,
    CommittedUpTo,
    Effects,
    HeardFromLeader,
    HeartbeatTimeout,
    PersistEntries,
    Receive,
    Replicate,
    ResetElectionTimer,
    RetryTimeout,
    Send,
)
from spec.messages import (
    AppendEntries,
    AppendEntriesMismatch,
    AppendEntriesSuccess,
    RequestVoteResponse,
)
from spec.raft import PAPER, SERVER, Options, step
from spec.state import Command, Entry, Index, Server, ServerId, Term
from tests.cluster import (
    S1,
    S2,
    S3,
    S4,
    S5,
    Cluster,
    append_entries,
    client_request,
    commits,
    entries,
    follower,
    leader_role,
    log_terms,
    receive,
)

FIGURE_7 = {
    "a": (1, 1, 1, 4, 4, 5, 5, 6, 6),
    "b": (1, 1, 1, 4),
    "c": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    "d": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    "e": (1, 1, 1, 4, 4, 4, 4),
    "f": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
}
FIGURE_7_LEADER = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)


def led_by_s1(size: int = 3, options: Options = PAPER) -> Cluster:
    """A cluster in which S1 leads term 1 and everything sent so far has arrived."""
    cluster = Cluster(size, options)
    cluster.elect(S1, *list(cluster.servers)[1:])
    cluster.exchange(S1, *cluster.servers)
    return cluster


def behind_by_two_terms() -> Cluster:
    """S1 leads term 2 with log 1 1 2; S3 has nothing; nothing is in flight."""
    cluster = Cluster()
    cluster.elect(S1, S2)
    cluster.request(S1, "x", "y")
    cluster.exchange(S1, S2)
    cluster.restart(S1)
    cluster.elect(S1, S2)
    cluster.request(S1, "z")
    cluster.exchange(S1, S2)
    cluster.lose()
    return cluster


def s3_behind_after_an_election() -> Cluster:
    """S1 leads term 2 with log 1 1; S3 has nothing, and the first request to it is in flight."""
    cluster = Cluster()
    cluster.elect(S1, S2)
    cluster.request(S1, "x", "y")
    cluster.lose()
    cluster.restart(S1)
    cluster.elect(S1, S2)
    return cluster


def success(effects: Effects) -> int:
    """The match_index of the only answer among the effects, a success."""
    (answer,) = [e.message for e in effects if isinstance(e, Send)]
    assert isinstance(answer, AppendEntriesSuccess)
    return answer.match_index


def is_mismatch(effects: Effects) -> bool:
    """Is the answer a rejection for log inconsistency?"""
    return any(
        isinstance(e, Send) and isinstance(e.message, AppendEntriesMismatch) for e in effects
    )


# --- Client requests ----------------------------------------------------------------------------


def test_leader_appends_the_command_and_replicates_it_in_parallel() -> None:
    """The leader appends the command to its log, durably, and sends it to each of the others.
    Source: §5.3
    """
    cluster = led_by_s1()
    entry = Entry(term=Term(1), payload=Command(data=b"x"))
    request = AppendEntries(
        term=Term(1),
        leader_id=S1,
        prev_log_index=Index(0),
        prev_log_term=Term(0),
        entries=(entry,),
        leader_commit=Index(0),
    )
    assert cluster.request(S1, "x") == (
        PersistEntries(first_index=Index(1), entries=(entry,)),
        ClientRequestAccepted(term=Term(1), first_index=Index(1)),
        Send(to=S2, message=request),
        Send(to=S3, message=request),
    )
    assert cluster.servers[S1].log.entries == (entry,)


def test_candidate_takes_no_commands() -> None:
    """Only a leader services client requests. Source: §5.3"""
    cluster = Cluster()
    cluster.time_out(S1)
    assert cluster.request(S1, "x") == (ClientRequestRefused(),)
    assert cluster.log_terms(S1) == []


def test_entry_stores_command_and_the_term_of_its_leader() -> None:
    """Each entry stores a command and the term in which the leader received it. Source: §5.3"""
    cluster = behind_by_two_terms()
    assert cluster.servers[S1].log.entries == tuple(
        Entry(term=Term(term), payload=Command(data=data))
        for term, data in [(1, b"x"), (1, b"y"), (2, b"z")]
    )


def test_leader_retries_until_every_follower_has_every_entry() -> None:
    """The leader retries AppendEntries indefinitely, even after it has answered the client.
    Source: §5.3
    """
    cluster = led_by_s1()
    cluster.request(S1, "x")
    cluster.exchange(S1, S2)
    for _ in range(3):
        cluster.lose()
        cluster.retry(S1)
    cluster.exchange(S1, S3)
    assert cluster.log_terms(S3) == [1]


# --- Commitment ---------------------------------------------------------------------------------


def test_entry_is_committed_once_a_majority_has_it() -> None:
    """An entry is committed when the leader that created it has it on a majority. Source: §5.3"""
    cluster = led_by_s1(size=5)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2)
    assert cluster.servers[S1].commit_index == 0
    effects = [e for _, happened in cluster.exchange(S1, S3) for e in happened]
    assert Index(1) in commits(effects)
    assert cluster.servers[S1].commit_index == 1


def test_slow_minority_does_not_delay_commitment() -> None:
    """A command completes when a majority has answered; slow servers do not matter. Source: §5.3"""
    cluster = led_by_s1(size=5)
    for command in ("x", "y", "z"):
        cluster.request(S1, command)
        cluster.exchange(S1, S2, S3)
    assert cluster.servers[S1].commit_index == 3
    assert cluster.log_terms(S4) == cluster.log_terms(S5) == []


@pytest.mark.parametrize(("options", "committed"), [(PAPER, 2), (SERVER, 3)])
def test_single_server_commits_at_once(options: Options, committed: int) -> None:
    """In a cluster of one, the leader is the majority. Source: §5.3"""
    cluster = Cluster(size=1, options=options)
    cluster.time_out(S1)
    assert Index(committed) in commits(cluster.request(S1, "x", "y"))


def test_commitment_covers_all_preceding_entries() -> None:
    """Committing an entry commits all before it, also those of older leaders. Source: §5.3"""
    cluster = Cluster()
    cluster.elect(S1, S2)
    cluster.request(S1, "x", "y")
    cluster.restart(S1)
    cluster.elect(S1, S2)
    cluster.request(S1, "z")
    cluster.exchange(S1, S2)
    assert cluster.servers[S1].commit_index == 3


def test_followers_learn_of_commits_from_the_next_request() -> None:
    """The leader's commit index goes out with later AppendEntries, also heartbeats. Source: §5.3"""
    cluster = led_by_s1()
    cluster.request(S1, "x")
    cluster.exchange(S1, S2)
    assert cluster.servers[S2].commit_index == 0
    cluster.heartbeat(S1)
    assert CommittedUpTo(commit_index=Index(1)) in cluster.deliver(AppendEntries, S1, S2)


@pytest.mark.parametrize(
    ("leader_commit", "terms", "committed"),
    [(1, (1, 1), 1), (2, (1, 1), 2), (5, (1, 1), 2), (5, (), 0)],
)
def test_follower_commits_up_to_the_last_new_entry(
    leader_commit: int, terms: tuple[int, ...], committed: int
) -> None:
    """CommitIndex = min(leaderCommit, index of last new entry) (Figure 2). Source: §5.3"""
    request = append_entries(term=1, terms=terms, leader_commit=leader_commit)
    server, _ = receive(follower(term=1), S1, request)
    assert server.commit_index == committed


def test_leftover_entries_are_not_taken_for_committed() -> None:
    """The last *new* entry bounds the commit index, not the last of a log whose tail may be an
    older leader's (Figure 2). Source: §5.3
    """
    server = follower(term=2, log=(1, 1, 1))
    server, effects = receive(server, S1, append_entries(term=2, prev=(1, 1), leader_commit=3))
    assert server.commit_index == 1
    assert success(effects) == 1


def test_older_leader_commit_does_not_take_commits_back() -> None:
    """CommitIndex increases monotonically (Figure 2). Source: §5.3"""
    server = follower(term=1)
    server, _ = receive(server, S1, append_entries(term=1, terms=(1, 1), leader_commit=2))
    server, effects = receive(server, S1, append_entries(term=1, terms=(1,), leader_commit=1))
    assert server.commit_index == 2
    assert not any(isinstance(e, CommittedUpTo) for e in effects)


# --- The consistency check ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "prev"),
    [((), (1, 1)), ((1,), (2, 1)), ((1, 1), (2, 2)), ((1, 2), (2, 1)), ((1, 1, 1), (5, 1))],
)
def test_entries_are_refused_after_an_entry_that_is_not_there(
    log: tuple[int, ...], prev: tuple[int, int]
) -> None:
    """A follower without an entry of that index *and* term refuses the new ones. Source: §5.3"""
    server = follower(term=3, log=log)
    after, effects = receive(server, S1, append_entries(term=3, prev=prev, terms=(3,)))
    mismatch = AppendEntriesMismatch(
        term=Term(3), prev_log_index=Index(prev[0]), retry_from=Index(prev[0])
    )
    assert after == server
    assert effects == (
        HeardFromLeader(leader_id=S1),
        ResetElectionTimer(),
        Send(to=S1, message=mismatch),
    )


def test_refused_request_commits_nothing() -> None:
    """Without agreement the leader's commit index says nothing about this log. Source: §5.3"""
    server = follower(term=2, log=(1, 1))
    after, _ = receive(server, S1, append_entries(term=2, prev=(2, 2), leader_commit=2))
    assert after.commit_index == 0


@pytest.mark.parametrize("log", [(), (1,), (1, 1, 2)], ids=str)
def test_every_log_agrees_before_the_first_entry(log: tuple[int, ...]) -> None:
    """The empty state satisfies Log Matching, so prev_log_index 0 always agrees. Source: §5.3"""
    server, effects = receive(follower(term=3, log=log), S1, append_entries(term=3, terms=(3,)))
    assert success(effects) == 1
    assert log_terms(server) == [3]


def test_entries_are_durable_before_success_is_sent() -> None:
    """Storage is updated before the answer (Figure 2). Source: §5.3"""
    server, effects = receive(follower(term=1), S1, append_entries(term=1, terms=(1, 1)))
    assert effects == (
        PersistEntries(first_index=Index(1), entries=entries(1, 1)),
        HeardFromLeader(leader_id=S1),
        ResetElectionTimer(),
        Send(to=S1, message=AppendEntriesSuccess(term=Term(1), match_index=Index(2))),
    )
    assert log_terms(server) == [1, 1]


def test_conflicting_entry_is_deleted_with_all_that_follow() -> None:
    """An entry of the same index and another term goes, and the rest with it. Source: §5.3"""
    server = follower(term=3, log=(1, 2, 2, 2))
    server, effects = receive(server, S1, append_entries(term=3, prev=(1, 1), terms=(3,)))
    assert log_terms(server) == [1, 3]
    assert PersistEntries(first_index=Index(2), entries=entries(3, first_index=2)) in effects


def test_only_entries_not_in_the_log_are_stored() -> None:
    """What the log already holds is neither deleted nor written again (Figure 2). Source: §5.3"""
    server, effects = receive(
        follower(term=2, log=(1, 1)), S1, append_entries(term=2, terms=(1, 1, 2))
    )
    assert log_terms(server) == [1, 1, 2]
    assert effects[0] == PersistEntries(first_index=Index(3), entries=entries(2, first_index=3))


@pytest.mark.parametrize("terms", [(), (1,), (1, 1)], ids=str)
def test_older_request_does_not_shorten_the_log(terms: tuple[int, ...]) -> None:
    """Without a conflict nothing is deleted: what follows may be committed (Figure 2).
    Source: §5.3
    """
    server = follower(term=1, log=(1, 1, 1))
    after, effects = receive(server, S1, append_entries(term=1, terms=terms))
    assert after == server
    assert success(effects) == len(terms)


def test_doubled_request_changes_nothing_and_is_answered_again() -> None:
    """AppendEntries may arrive twice. Source: §5.3"""
    request = append_entries(term=1, terms=(1, 1), leader_commit=1)
    once, first = receive(follower(term=1), S1, request)
    twice, second = receive(once, S1, request)
    assert twice == once
    assert success(second) == success(first) == 2


def test_reordered_requests_leave_the_longer_log() -> None:
    """Requests of one leader may overtake each other. Source: §5.3"""
    server = follower(term=1)
    for terms in [(1, 1), (1,), ()]:
        server, _ = receive(server, S1, append_entries(term=1, terms=terms))
    assert log_terms(server) == [1, 1]


def test_leader_never_changes_its_own_entries() -> None:
    """Leader Append-Only: whatever arrives again, a leader keeps its log. Source: §5.3"""
    cluster = behind_by_two_terms()
    log = cluster.servers[S1].log
    for packet in list(cluster.network):
        if packet.to == S1:
            cluster.happen(S1, packet.arrives())
    assert cluster.leads(S1)
    assert cluster.servers[S1].log == log


# --- next_index and match_index -----------------------------------------------------------------


def test_new_leader_starts_from_its_last_entry() -> None:
    """NextIndex begins just after the leader's last entry, matchIndex at 0. Source: §5.3"""
    cluster = Cluster()
    cluster.elect(S1, S2)
    cluster.request(S1, "x", "y")
    cluster.restart(S1)
    cluster.elect(S1, S2)
    role = leader_role(cluster.servers[S1].role)
    assert dict(role.next_index) == {S2: 3, S3: 3}
    assert dict(role.match_index) == {S2: 0, S3: 0}


def test_next_index_backs_up_one_at_a_time_until_the_logs_match() -> None:
    """After a rejection the leader decrements nextIndex and retries. Source: §5.3"""
    cluster = s3_behind_after_an_election()
    tried = []
    for expected in (2, 1, 0):
        request = cluster.latest(AppendEntries, S1, S3).message
        assert isinstance(request, AppendEntries)
        tried.append(request.prev_log_index)
        effects = cluster.deliver(AppendEntries, S1, S3)
        assert is_mismatch(effects) == (expected > 0)
        kind = AppendEntriesMismatch if expected else AppendEntriesSuccess
        cluster.deliver(kind, S3, S1)
    role = leader_role(cluster.servers[S1].role)
    assert tried == [2, 1, 0]
    assert (role.match_index[S3], role.next_index[S3]) == (2, 3)
    assert cluster.log_terms(S3) == [1, 1]


def test_doubled_rejection_is_counted_once() -> None:
    """A rejection answers the request at one nextIndex, so the second copy is about none.
    Source: §5.3
    """
    cluster = s3_behind_after_an_election()
    cluster.deliver(AppendEntries, S1, S3)
    assert cluster.deliver(AppendEntriesMismatch, S3, S1) != ()
    once = cluster.servers[S1]
    assert cluster.deliver(AppendEntriesMismatch, S3, S1) == ()
    assert cluster.servers[S1] == once


def test_late_rejection_does_not_set_next_index_back() -> None:
    """What is known to match is not rejected any more, whatever arrives late. Source: §5.3"""
    cluster = s3_behind_after_an_election()
    cluster.exchange(S1, S3)
    rejections = [p for p in cluster.network if isinstance(p.message, AppendEntriesMismatch)]
    settled = cluster.servers[S1]
    assert leader_role(settled.role).match_index[S3] == 2
    assert len(rejections) == 2
    for packet in rejections:
        assert cluster.happen(S1, packet.arrives()) == ()
    assert cluster.servers[S1] == settled


def test_late_success_does_not_set_match_index_back() -> None:
    """MatchIndex increases monotonically (Figure 2). Source: §5.3"""
    cluster = led_by_s1()
    cluster.request(S1, "x")
    cluster.exchange(S1, S2)
    first = cluster.latest(AppendEntriesSuccess, S2, S1)
    cluster.request(S1, "y")
    cluster.exchange(S1, S2)
    settled = cluster.servers[S1]
    assert cluster.happen(S1, first.arrives()) == ()
    assert cluster.servers[S1] == settled


def test_success_updates_both_indices_of_that_follower_only() -> None:
    """If successful: update nextIndex and matchIndex for the follower (Figure 2). Source: §5.3"""
    cluster = led_by_s1()
    cluster.request(S1, "x")
    cluster.exchange(S1, S2)
    role = leader_role(cluster.servers[S1].role)
    assert dict(role.match_index) == {S2: 1, S3: 0}
    assert dict(role.next_index) == {S2: 2, S3: 1}


def test_follower_that_is_still_behind_gets_the_rest_at_once() -> None:
    """If last log index >= nextIndex: send AppendEntries from nextIndex on (Figure 2).
    Source: §5.3
    """
    cluster = led_by_s1()
    cluster.request(S1, "x")
    cluster.deliver(AppendEntries, S1, S2)
    cluster.request(S1, "y")
    (sent,) = [
        e.message for e in cluster.deliver(AppendEntriesSuccess, S2, S1) if isinstance(e, Send)
    ]
    assert isinstance(sent, AppendEntries)
    assert sent.prev_log_index == 1
    assert [e.payload for e in sent.entries] == [Command(data=b"y")]


@pytest.mark.parametrize(
    "answer",
    [
        AppendEntriesSuccess(term=Term(1), match_index=Index(1)),
        AppendEntriesMismatch(term=Term(1), prev_log_index=Index(1), retry_from=Index(1)),
        RequestVoteResponse(term=Term(1), vote_granted=True),
    ],
    ids=lambda m: type(m).__name__,
)
def test_answers_to_a_server_that_no_longer_asks_change_nothing(
    answer: AppendEntriesSuccess | AppendEntriesMismatch | RequestVoteResponse,
) -> None:
    """A leader that crashed hears the answers to what it had asked before. Source: §5.3"""
    server: Server = follower(term=1, log=(1,), voted_for=S2)
    assert receive(server, S1, answer) == (server, ())


def test_rejection_skips_what_the_follower_lacks_if_desired() -> None:
    """The protocol can be optimized to reduce the number of rejected AppendEntries. Source: §5.3"""
    request = append_entries(term=3, prev=(7, 3), terms=(3,))
    for log, expected in [((), 1), ((1, 1), 3), ((1,) * 7, 7), ((1,) * 9, 7)]:
        event = Receive(source=S1, message=request)
        _, effects = step(SERVER, follower(term=3, log=log), event)
        (answer,) = [e.message for e in effects if isinstance(e, Send)]
        assert isinstance(answer, AppendEntriesMismatch)
        assert answer.retry_from == expected
        assert answer.prev_log_index == 7


# --- What there is room for ---------------------------------------------------------------------


def streaming_leader(*others: ServerId) -> Cluster:
    """S1 leads, its no-op and x, y, z are in its log and, of them, all in those of some others."""
    cluster = Cluster(options=SERVER)
    cluster.elect(S1, S2)
    cluster.request(S1, "x", "y", "z")
    cluster.exchange(S1, *others)
    return cluster


def test_streaming_leader_sends_nothing_by_itself_but_heartbeats() -> None:
    """How many entries go into one request, and when, is the driver's business. Source: §5.3"""
    cluster = streaming_leader()
    leader = cluster.servers[S1]
    for event in (client_request("a"), RetryTimeout()):
        after, effects = step(SERVER, leader, event)
        assert not any(isinstance(e, Send) for e in effects), event
    _, effects = step(SERVER, after, HeartbeatTimeout())
    assert [e.message.entries for e in effects if isinstance(e, Send)] == [(), ()]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("first", "count", "sent"),
    [(1, 2, "1.1 1.2"), (2, 9, "1.2 1.3 1.4"), (4, 1, "1.4"), (3, 0, ""), (5, 3, "")],
)
def test_any_slice_from_next_index_on_can_be_sent(first: int, count: int, sent: str) -> None:
    """AppendEntries carries the entries after prevLogIndex, one or more. Source: §5.3"""
    leader = streaming_leader().servers[S1]
    event = Replicate(to=S3, first_index=Index(first), count=count)
    after, (effect,) = step(SERVER, leader, event)
    assert after == leader
    assert isinstance(effect, Send)
    assert isinstance(effect.message, AppendEntries)
    assert effect.message.prev_log_index == first - 1
    wanted = [leader.log.entries[int(name[2:]) - 1] for name in sent.split()]
    assert list(effect.message.entries) == wanted


def test_what_is_known_to_match_is_not_sent_again() -> None:
    """Nor what is not there, nor by a follower, nor to a stranger. Source: §5.3"""
    cluster = streaming_leader(S2, S3)
    for server, to, first in [(S1, S2, 4), (S1, S2, 6), (S2, S1, 5), (S1, ServerId(9), 5)]:
        event = Replicate(to=to, first_index=Index(first), count=1)
        assert cluster.happen(server, event) == ()


# --- Figure 7 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [PAPER, SERVER], ids=["paper", "server"])
@pytest.mark.parametrize("name", FIGURE_7)
def test_every_follower_log_of_figure_7_becomes_the_leaders(name: str, options: Options) -> None:
    """The leader finds the last entry on which both agree, removes what follows in the follower's
    log and sends its own entries after it. Source: §5.3, Figure 7
    """
    cluster = Cluster(size=3, options=options)
    leader, tested, voter = S1, S2, S3
    for server_id, log in [
        (leader, FIGURE_7_LEADER),
        (tested, FIGURE_7[name]),
        (voter, (1, 1, 1)),
    ]:
        cluster.servers[server_id] = follower(term=7, log=log, server_id=server_id)
    cluster.elect(leader, voter)
    cluster.request(leader, "x")
    cluster.exchange(leader, tested)
    assert cluster.servers[tested].log == cluster.servers[leader].log


def test_leader_brings_logs_together_without_special_action() -> None:
    """Logs converge through the normal consistency check alone. Source: §5.3"""
    cluster = behind_by_two_terms()
    everyone: list[ServerId] = list(cluster.servers)
    cluster.heartbeat(S1)
    cluster.exchange(S1, *everyone)
    cluster.heartbeat(S1)
    cluster.exchange(S1, *everyone)
    assert len({(s.log, s.commit_index) for s in cluster.servers.values()}) == 1
    assert cluster.servers[S3].commit_index == 3


def test_commands_of_one_request_keep_their_order() -> None:
    """The log fixes one order of commands for all state machines. Source: §5.3"""
    cluster = led_by_s1()
    cluster.happen(S1, client_request("x", "y", "z"))
    cluster.exchange(S1, S2)
    payloads = [e.payload for e in cluster.servers[S2].log.entries]
    assert payloads == [Command(data=c) for c in (b"x", b"y", b"z")]
