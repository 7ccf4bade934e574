"""D10.2.1 Writing to the leader's disk in parallel."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from spec.cluster import initial_server
from spec.disk import Disk, after_crash, complete, image_of, recovered, write
from spec.events import (
    ChangeMembership,
    ClientRequest,
    DurableUpTo,
    Effects,
    ElectionTimeout,
    Event,
    PersistEntries,
    PersistTermAndVote,
    ReadReady,
    ReadRequest,
    Receive,
    Restart,
    Send,
)
from spec.messages import (
    AppendEntries,
    AppendEntriesSuccess,
    RequestVote,
    RequestVoteResponse,
    StaleTerm,
)
from spec.raft import PAPER, step
from spec.state import (
    ClientId,
    Command,
    Configuration,
    Index,
    Leader,
    Log,
    RequestId,
    Server,
    Term,
)
from tests.cluster import S1, S2, S3, append_entries, client_request, commits, entries, follower

PARALLEL = replace(PAPER, parallel_write=True)


def happen(server: Server, *events: Event) -> tuple[Server, Effects]:
    """Let the events happen to a server that writes in parallel; the effects of the last one."""
    effects: Effects = ()
    for event in events:
        server, effects = step(PARALLEL, server, event)
    return server, effects


def leader() -> Server:
    """S1, elected in term 1 by S2 of three servers, with one command in its log."""
    vote = RequestVoteResponse(term=Term(1), vote_granted=True)
    server, _ = happen(
        initial_server(S1, [S1, S2, S3]),
        ElectionTimeout(),
        Receive(source=S2, message=vote),
        client_request("x"),
    )
    assert isinstance(server.role, Leader)
    return server


def durable(term: int, index: int) -> DurableUpTo:
    """A write is durable whose last entry is this one."""
    return DurableUpTo(term=Term(term), index=Index(index))


def success(match_index: int, term: int = 1) -> AppendEntriesSuccess:
    """A follower has the leader's log up to there."""
    return AppendEntriesSuccess(term=Term(term), match_index=Index(match_index))


def sent(effects: Effects) -> list[type]:
    """The kinds of the messages among the effects."""
    return [type(effect.message) for effect in effects if isinstance(effect, Send)]


# --- The leader ---------------------------------------------------------------------------------


def test_leader_counts_itself_once_its_entry_is_durable() -> None:
    """The leader's own write counts towards the majority when it has completed.
    Source: D10.2.1
    """
    server, effects = happen(leader(), Receive(source=S2, message=success(1)))
    assert not commits(effects)
    server, effects = happen(server, durable(1, 1))
    assert commits(effects) == [1]


def test_write_that_ends_a_membership_change_answers_the_reads_that_wait() -> None:
    """Once C_new is in force, its majority confirms that the leader leads: here it is itself
    alone, and nobody would ever answer another heartbeat. Source: D10.2.1, D6.4
    """
    read_id = RequestId(client_id=ClientId(9), serial_number=1)
    server, effects = happen(
        initial_server(S1, [S1, S2]),
        ElectionTimeout(),
        Receive(source=S2, message=RequestVoteResponse(term=Term(1), vote_granted=True)),
        client_request("x"),
        durable(1, 1),
        Receive(source=S2, message=success(1)),
        ReadRequest(read_id=read_id),
        ChangeMembership(members=frozenset({S1})),
        Receive(source=S2, message=success(2)),
    )
    assert not any(isinstance(effect, ReadReady) for effect in effects)
    server, effects = happen(server, durable(1, 2))
    assert server.configuration == Configuration(old=frozenset({S1}))
    assert ReadReady(read_id=read_id, read_index=Index(2)) in effects


def test_entry_is_committed_before_the_leader_has_stored_it() -> None:
    """A majority of followers may commit an entry that is not on the leader's own disk yet.
    Source: D10.2.1
    """
    server, effects = happen(
        leader(),
        Receive(source=S2, message=success(1)),
        Receive(source=S3, message=success(1)),
    )
    assert commits(effects) == [1]
    assert server.durable_index == 0


def test_the_only_server_commits_what_is_durable() -> None:
    """A cluster of one has no other disk to rely on. Source: D10.2.1"""
    server, effects = happen(initial_server(S1, [S1]), ElectionTimeout(), client_request("x", "y"))
    assert not commits(effects)
    server, effects = happen(server, durable(1, 1))
    assert commits(effects) == [1]
    server, effects = happen(server, durable(1, 2))
    assert commits(effects) == [2]


def test_what_is_durable_of_a_replaced_entry_is_not_counted() -> None:
    """A report that comes late speaks of an entry that is there no more. Source: D10.2.1"""
    server = follower(term=2, log=(1, 1))
    server, _ = happen(server, Receive(source=S1, message=append_entries(term=2, terms=(2, 2))))
    assert server.durable_index == 0
    assert happen(server, durable(1, 2)) == (server, ())
    assert happen(server, durable(2, 2))[0].durable_index == 2
    assert happen(server, durable(2, 3)) == (server, ())


@given(st.lists(st.integers(1, 3), max_size=4).map(sorted), st.integers(0, 5), st.integers(0, 3))
def test_durable_index_is_within_the_log_and_never_raised_by_writing(
    log: list[int], prev: int, sent_entries: int
) -> None:
    """What is being written is not durable. Source: D10.2.1"""
    server = follower(term=4, log=log)
    assert server.durable_index == len(log)
    prev_term = log[prev - 1] if 0 < prev <= len(log) else 0
    request = append_entries(
        term=4,
        prev=(min(prev, len(log)), prev_term if prev <= len(log) else log[-1] if log else 0),
        terms=[4] * sent_entries,
    )
    after, effects = happen(server, Receive(source=S1, message=request))
    written = [e.first_index for e in effects if isinstance(e, PersistEntries)]
    assert after.durable_index == min([len(log), *(first - 1 for first in written)])
    assert after.durable_index <= len(after.log.entries)


def test_all_that_a_server_restarts_from_is_durable() -> None:
    """What a crash has left was on the disk. Source: D10.2.1"""
    server = leader()
    assert server.durable_index == 0
    assert happen(server, Restart())[0].durable_index == 1


def test_without_the_option_everything_is_durable_at_once() -> None:
    """Figure 2: updated on stable storage before responding. Source: D10.2.1"""
    server = initial_server(S1, [S1])
    for event in (ElectionTimeout(), client_request("x")):
        server, effects = step(PAPER, server, event)
    assert commits(effects) == [1]
    assert server.durable_index == 1
    assert step(PAPER, server, durable(1, 1)) == (server, ())


# --- The disk -----------------------------------------------------------------------------------


def test_leaders_entries_do_not_wait_and_acknowledgements_do() -> None:
    """The leader replicates while it writes; a follower answers when it has written.
    Source: D10.2.1
    """
    before = leader()
    after, effects = happen(before, ClientRequest(commands=(Command(data=b"y"),)))
    disk, at_once = write(Disk(image=image_of(before)), effects)
    assert disk.pending
    assert sent(at_once) == [AppendEntries, AppendEntries]

    before = follower(term=1)
    request = append_entries(term=1, terms=(1,))
    after, effects = happen(before, Receive(source=S1, message=request))
    disk, at_once = write(Disk(image=image_of(before)), effects)
    assert not sent(at_once)
    # The request comes again: nothing is to be stored, but the answer still waits.
    _, effects = happen(after, Receive(source=S1, message=request))
    disk, at_once = write(disk, effects)
    assert not sent(at_once)
    disk, told, released = complete(disk)
    assert told == durable(1, 1)
    assert sent(released) == [AppendEntriesSuccess, AppendEntriesSuccess]
    assert disk == Disk(image=image_of(after))


def test_nothing_is_sent_in_a_term_that_is_not_durable() -> None:
    """Votes, and the entries of a leader, wait for term and vote. Source: D10.2.1, §5.2"""
    server = initial_server(S1, [S1, S2])
    candidate, effects = happen(server, ElectionTimeout())
    disk, at_once = write(Disk(image=image_of(server)), effects)
    assert not sent(at_once)
    heartbeat = Send(to=S2, message=append_entries(term=1))
    newer = Send(to=S2, message=StaleTerm(term=Term(1)))
    disk, at_once = write(disk, (heartbeat, newer))
    assert not at_once
    disk, told, released = complete(disk)
    assert told is None
    assert sent(released) == [RequestVote, AppendEntries, StaleTerm]
    assert disk.image == image_of(candidate)


def test_an_old_tail_returns_when_its_truncation_was_not_durable() -> None:
    """A crash leaves what was durable, and that may be what had been replaced. Source: D10.2.1"""
    before = follower(term=2, log=(1, 1))
    request = append_entries(term=2, terms=(2,))
    after, effects = happen(before, Receive(source=S1, message=request))
    assert after.log == Log(entries=entries(2))
    disk, _ = write(Disk(image=image_of(before)), effects)
    assert recovered(after, after_crash(disk, 0)).log == before.log
    assert recovered(after, after_crash(disk, 1)).log == after.log


WRITES = st.one_of(
    st.builds(PersistTermAndVote, current_term=st.integers(1, 3).map(Term), voted_for=st.none()),
    st.builds(
        PersistEntries,
        first_index=st.just(Index(1)),
        entries=st.lists(st.integers(1, 3), max_size=2).map(lambda terms: entries(*terms)),
    ),
)


@given(st.lists(st.lists(WRITES, min_size=1, max_size=2), max_size=4), st.integers(0, 4))
def test_crash_is_the_completion_of_first_writes(
    steps: list[list[PersistTermAndVote | PersistEntries]], survived: int
) -> None:
    """Writes become durable in their order, each of them whole. Source: D10.2.1, §5.5"""
    disk = Disk(image=image_of(follower(term=0)))
    for effects in steps:
        disk, at_once = write(disk, tuple(effects))
        assert not at_once
    assert len(disk.pending) == len(steps)
    completed = disk
    for _ in range(min(survived, len(steps))):
        completed, _, _ = complete(completed)
    assert after_crash(disk, survived) == completed.image == after_crash(completed, 0)
