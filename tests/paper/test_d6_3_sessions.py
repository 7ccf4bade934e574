"""D6.3 (and §8) Linearizable semantics: sessions, by which a command takes effect once."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from spec.clients import (
    AwaitCommand,
    CommandAnswer,
    Failed,
    answer_to_command,
    begin_command,
    hear,
    machine_at,
    new_client,
    result_at,
    state_at,
)
from spec.cluster import initial_server
from spec.events import ClientRequest, ElectionTimeout, TakeSnapshot
from spec.log import last_index
from spec.raft import PAPER, step
from spec.sessions import (
    ClientCommand,
    Fresh,
    Outdated,
    Repeated,
    StateMachine,
    apply_command,
    recognise,
    restored,
    snapshot_data,
)
from spec.state import ClientId, Index, RequestId, Server, Term
from tests.cluster import S1, S2, S3, Cluster

ANNE, BOB = ClientId(8), ClientId(9)


def command(client: ClientId, number: int) -> ClientCommand:
    """A client's command of this serial number; the same again if it is sent again."""
    return ClientCommand(
        data=b"command", request_id=RequestId(client_id=client, serial_number=number)
    )


def applied(*commands: ClientCommand) -> tuple[StateMachine, list[int | None]]:
    """The machine after commands, and their results."""
    machine, results = StateMachine(), []
    for one in commands:
        machine, result = apply_command(machine, one)
        results.append(result)
    return machine, results


def alone(*commands: ClientCommand) -> Server:
    """The only server of a cluster, which has committed these commands."""
    server, _ = step(PAPER, initial_server(S1, [S1]), ElectionTimeout())
    for one in commands:
        server, _ = step(PAPER, server, ClientRequest(commands=(one,)))
    assert server.commit_index == len(commands)
    return server


def compacted(server: Server, index: int) -> Server:
    """The server with a snapshot of its state machine up to ``index``."""
    data = state_at(server, Index(index))
    after, _ = step(PAPER, server, TakeSnapshot(last_included_index=Index(index), data=data))
    return after


COMMANDS = st.lists(st.builds(command, st.sampled_from([ANNE, BOB]), st.integers(1, 3)), max_size=6)


def test_command_keeps_its_serial_number_until_it_is_answered() -> None:
    """The client assigns the numbers, the next one to each new command. Source: D6.3, §8"""
    client, first = begin_command(new_client(ANNE))
    answer = CommandAnswer(request_id=first.request_id, result=1, index=Index(1))
    client, second = begin_command(hear(client, answer))
    assert [m.request_id.serial_number for m in (first, second)] == [1, 2]


def test_command_that_is_sent_again_takes_effect_once() -> None:
    """The machine answers from memory, with the result of the first time. Source: D6.3, §8"""
    machine, results = applied(command(ANNE, 1), command(BOB, 1), command(ANNE, 1))
    assert machine.count == 2
    assert results == [1, 2, 1]


def test_late_copy_of_an_answered_command_does_nothing() -> None:
    """Its client has gone on, so nobody waits for the result. Source: D6.3"""
    machine, results = applied(command(ANNE, 1), command(ANNE, 2), command(ANNE, 1))
    assert machine.count == 2
    assert results == [1, 2, None]


def test_sessions_are_told_apart() -> None:
    """Each client has its own numbers. Source: D6.3"""
    assert applied(command(ANNE, 1), command(BOB, 1))[1] == [1, 2]


@given(st.integers(0, 5), st.frozensets(st.integers(0, 5)), st.integers(0, 5))
def test_serial_number_is_new_done_or_old(oldest: int, done: frozenset[int], number: int) -> None:
    """Only a number that is neither forgotten nor done is carried out. Source: D6.3"""
    match recognise(oldest, done, number):
        case Fresh():
            assert number >= oldest
            assert number not in done
        case Repeated():
            assert number >= oldest
            assert number in done
        case Outdated():
            assert number < oldest


@given(COMMANDS, st.data())
def test_snapshot_carries_the_sessions(commands: list[ClientCommand], data: st.DataObject) -> None:
    """Servers that discard entries at different places have the same sessions. Source: D6.3, D5"""
    server = alone(*commands)
    end = last_index(server.log)
    index = data.draw(st.integers(0, end))
    after = compacted(server, index) if index else server
    assert machine_at(after, end) == machine_at(server, end) == applied(*commands)[0]
    again = data.draw(st.builds(command, st.sampled_from([ANNE, BOB]), st.integers(1, 4)))
    former, latter = (apply_command(machine_at(one, end), again)[1] for one in (server, after))
    assert former == latter


@given(COMMANDS)
def test_snapshot_tells_the_whole_machine(commands: list[ClientCommand]) -> None:
    """The table is part of what is compacted, not beside it. Source: D6.3, D5"""
    machine, _ = applied(*commands)
    assert restored(snapshot_data(machine)) == machine


def test_next_leader_answers_a_retry_with_the_first_result() -> None:
    """The leader crashed before it answered; the client asks the next one. Source: D6.3, §8"""
    cluster = Cluster()
    request = ClientRequest(commands=(command(ANNE, 1),))
    cluster.elect(S1, S2)
    cluster.happen(S1, request)
    cluster.exchange(S1, S2)
    assert result_at(cluster.servers[S1], Index(1)) == 1
    cluster.restart(S1)
    cluster.elect(S2, S3)
    cluster.happen(S2, request)
    for follower in (S1, S3):
        cluster.exchange(S2, follower)
    leader = cluster.servers[S2]
    assert leader.commit_index == 2
    assert machine_at(leader, Index(2)).count == 1
    waiting = AwaitCommand(
        request_id=command(ANNE, 1).request_id, term=leader.current_term, index=Index(2)
    )
    assert answer_to_command(leader, waiting) == CommandAnswer(
        request_id=waiting.request_id, result=1, index=Index(2)
    )


def test_server_that_has_discarded_the_entry_does_not_know() -> None:
    """It must not say that another entry took its place: the client asks again. Source: D6.3, §7"""
    server = alone(command(ANNE, 1), command(ANNE, 2))
    waiting = AwaitCommand(request_id=command(ANNE, 1).request_id, term=Term(1), index=Index(1))
    assert isinstance(answer_to_command(server, waiting), CommandAnswer)
    assert answer_to_command(compacted(server, 2), waiting) is None
    elsewhere = replace(waiting, term=Term(2))
    assert answer_to_command(server, elsewhere) == Failed(term=Term(2), index=Index(1))
