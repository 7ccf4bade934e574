"""The node's code under every order of events: claims, acknowledged writes, linearizability.

The rules below drive real nodes (``tests.simulation``). What a sabotage of ``impl`` breaks is found
by the same machine, so that each check is known to be able to fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from impl.machine import Result
from impl.node import Node
from impl.requests import Read
from impl.store import KeyValueStore
from impl.wire import Impossible
from spec.disk import durable_up_to, is_about_the_log
from spec.messages import AppendEntries
from spec.quorum import members
from spec.state import Index, ServerId, Term
from tests.linearizable import broken_keys, is_linearizable
from tests.simulation import MakeNode, Operation, World

SETTINGS = settings(
    max_examples=12,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
SERVERS = st.integers(1, 4).map(ServerId)
"""Three members, and one that may become one."""
KEYS = st.sampled_from([b"a", b"b"])


class NodesUnderTest(RuleBasedStateMachine):
    """Four nodes, clients, and a world that does with packets and disks what it likes."""

    make_node: MakeNode = Node
    make_machine: Callable[[], Any] = KeyValueStore

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        """Start three members, and a fourth node that is none."""
        kind = type(self)
        self.world = World(outside=1, seed=seed, node=kind.make_node, machine=kind.make_machine)
        self.values = 0
        self.calls: list[tuple[tuple[bytes, ...], Operation]] = []
        self.world.go_well(0.5)
        opened = self.world.write(ServerId(1), b"SESSION", b"OPEN")
        self.world.go_well(0.2)
        self.session = b"%d" % opened.result if isinstance(opened.result, int) else b"1"
        self.world.operations.clear()

    # What the world does

    @rule(ms=st.integers(1, 400))
    def time_passes(self, ms: int) -> None:
        """Timers go off; nothing arrives."""
        self.world.pass_time(ms / 1000)

    @rule(ms=st.integers(1, 300), disks_sync=st.sampled_from([True, True, False]))
    def network_goes_well(self, ms: int, disks_sync: bool) -> None:
        """What is sent arrives; disks may be slower than all of it."""
        self.world.go_well(ms / 1000, disks_sync=disks_sync)

    @rule()
    def power_is_cut(self) -> None:
        """All nodes lose what is not on their disks."""
        for server in list(self.world.nodes):
            self.world.crash(server)
        for server in self.world.disks:
            self.world.start(server)

    @rule(count=st.integers(1, 8), data=st.data())
    def packets_arrive_in_any_order(self, count: int, data: st.DataObject) -> None:
        """Some of the packets on their way arrive."""
        packets = self.world.packets
        for _ in range(min(count, len(packets))):
            self.world.deliver(packets.pop(data.draw(st.integers(0, len(packets) - 1))))

    @precondition(lambda self: self.world.packets)
    @rule(data=st.data(), is_lost=st.booleans())
    def packet_is_doubled_or_lost(self, data: st.DataObject, is_lost: bool) -> None:
        """As networks do."""
        packets = self.world.packets
        at = data.draw(st.integers(0, len(packets) - 1))
        if is_lost:
            del packets[at]
        elif packets[at].may_double:
            packets.append(packets[at])

    @rule(server=SERVERS)
    def disk_syncs(self, server: ServerId) -> None:
        """The oldest write of a node becomes durable."""
        self.world.sync(server)

    @rule(server=SERVERS, synced=st.integers(0, 1))
    def node_crashes(self, server: ServerId, synced: int) -> None:
        """A node dies; its write may have reached the disk."""
        if server in self.world.nodes:
            self.world.crash(server, synced)

    @rule(server=SERVERS)
    def node_starts_again(self, server: ServerId) -> None:
        """From what its disk has."""
        if server not in self.world.nodes:
            self.world.start(server)

    @rule(server=SERVERS, hears=st.booleans(), speaks=st.booleans())
    def node_is_cut_off(self, server: ServerId, hears: bool, speaks: bool) -> None:
        """In one direction or in both."""
        for other in self.world.disks:
            for way, is_open in (((other, server), hears), ((server, other), speaks)):
                (self.world.blocked.discard if is_open else self.world.blocked.add)(way)

    @rule()
    def leader_is_alone(self) -> None:
        """The others elect another one, and this one may not know."""
        self.world.blocked.clear()
        for server, node in self.world.nodes.items():
            if node.leads:
                self.node_is_cut_off(server, hears=False, speaks=False)

    # What administrators do

    @rule(members=st.frozensets(SERVERS, min_size=2), how_well_ms=st.sampled_from([0, 0, 100]))
    def membership_changes(self, members: frozenset[ServerId], how_well_ms: int) -> None:
        """An administrator asks whoever leads for other members; what follows may go wrong."""
        for server, node in list(self.world.nodes.items()):
            if node.leads:
                node.change_membership(members, lambda refusal: None)
                self.world.settle(server)
        self.world.go_well(how_well_ms / 1000)

    # What clients do

    @rule(server=SERVERS, key=KEYS, name=st.sampled_from([b"SET", b"APPEND"]))
    def client_writes(self, server: ServerId, key: bytes, name: bytes) -> None:
        """A client changes a key."""
        if server in self.world.nodes:
            self.values += 1
            self.world.write(server, name, key, b"%d," % self.values)

    @rule(server=SERVERS)
    def client_is_busy(self, server: ServerId) -> None:
        """So many writes, one after the other, that snapshots are taken."""
        for _ in range(8):
            if server in self.world.nodes:
                self.client_writes(server, b"c", b"SET")
                self.world.go_well(0.02)

    @rule(server=SERVERS, key=KEYS)
    def client_with_session_writes(self, server: ServerId, key: bytes) -> None:
        """A client that can send its command again, and have it done once."""
        if server in self.world.nodes:
            self.values += 1
            call = (self.session, b"%d" % (len(self.calls) + 1), b"1")
            words = (b"APPEND", key, b"%d," % self.values)
            self.calls.append((call, self.world.write_in_session(server, call, *words)))

    @precondition(lambda self: self.calls)
    @rule(server=SERVERS, data=st.data())
    def client_with_session_sends_again(self, server: ServerId, data: st.DataObject) -> None:
        """It does not know what came of the command, or the network doubled it."""
        if server in self.world.nodes:
            self.world.send_again(server, *data.draw(st.sampled_from(self.calls)))

    @rule(server=SERVERS, key=KEYS)
    def client_reads(self, server: ServerId, key: bytes) -> None:
        """A client reads a key."""
        if server in self.world.nodes:
            self.world.read(server, b"GET", key)

    @rule(key=KEYS)
    def clients_read_everywhere(self, key: bytes) -> None:
        """Clients of every node read a key."""
        for server in list(self.world.nodes):
            self.world.read(server, b"GET", key)

    # What must be true

    @invariant()
    def claims_of_the_specification_hold(self) -> None:
        """Those of spec.invariants, on the real nodes."""
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        """When all is well again, the cluster works, and its history makes sense."""
        if hasattr(self, "world"):
            end_well(self.world)


def end_well(world: World) -> None:
    """All comes back; the members answer clients, agree, and have lost nothing."""
    world.blocked.clear()
    for server in world.disks:
        if server not in world.nodes:
            world.start(server)
    world.go_well(1.5)
    leader = max(world.nodes.values(), key=lambda n: (n.leads, n.server.current_term))
    at_work = sorted(members(leader.server.configuration))
    last = [world.write(server, b"SET", b"z%d" % server, b"1") for server in at_work]
    seen = [world.read(server, b"GET", key) for server in at_work for key in (b"a", b"b")]
    world.go_well(1.0)
    assert all(operation.result == "OK" for operation in last), "a cluster that is well works"
    assert all(o.returned < float("inf") and not o.is_void for o in seen)
    assert len({world.nodes[server].applied_index for server in at_work}) == 1
    world.check()
    assert not broken_keys(world.operations), "an acknowledged write is lost, or a read is old"


NodesUnderTest.TestCase.settings = SETTINGS
TestNodes = NodesUnderTest.TestCase


# --- Sabotages of impl, each killed by the same machine ------------------------------------------


class SendsBeforeDurable(Node):
    """Begins to write, and goes on as if it was written."""

    def _write(self) -> None:
        batch, self._unwritten = self._unwritten, []
        self._disk.write(batch, lambda: None)
        told = durable_up_to(self.server.log) if is_about_the_log(batch) else None
        self._on_durable(len(batch), told)


class AnswersBeforeDurable(Node):
    """Acknowledges what only its own memory is sure to have."""

    def _propose(self) -> None:
        super()._propose()
        for batches in self._open.values():
            for batch in batches:
                self._distribute(batch.writes, ["OK"] * 99, self.applied_index)
        self._open.clear()


class ReadsWithoutConfirming(Node):
    """Answers reads by what it has, if it leads, without asking whether it still does."""

    def _confirm(self) -> None:
        reads: list[Read] = list(self._reads)
        self._reads.clear()
        self._confirmed.append((self.applied_index, reads))
        self._schedule_turn()


class AppliesTwice(KeyValueStore):
    """Carries out every command once more, and tells what came of that."""

    def apply(self, time_ms: int, commands: Sequence[bytes]) -> list[Result]:
        """Twice."""
        super().apply(time_ms, commands)
        return super().apply(time_ms, commands)


class ForgetsSessions(KeyValueStore):
    """Its snapshots have the keys, and not who has written them."""

    def restore(self, chunks: Iterable[bytes]) -> Iterator[None]:
        """The sessions are as in a machine that has just begun, but for their number."""
        yield from super().restore(chunks)
        self._sessions.unpack(1, [])


def in_the_beginning(node: type[Node], machine: type[KeyValueStore]) -> tuple[World, ServerId]:
    """Three members; the one that leads, and has committed that a is 0."""
    world = World(node=node, machine=machine)
    world.go_well(0.5)
    (leader,) = (server for server, each in world.nodes.items() if each.leads)
    world.write(leader, b"SET", b"a", b"0")
    world.go_well(0.2)
    return world, leader


def power_fails_after_an_answer(node: type[Node], machine: type[KeyValueStore]) -> None:
    """Messages are quick, disks are slow, and then all is dark."""
    world, leader = in_the_beginning(node, machine)
    world.write(leader, b"SET", b"a", b"1")
    world.go_well(0.1, disks_sync=False)
    for server in list(world.nodes):
        world.crash(server)
    end_well(world)


def leader_does_not_hear_of_the_next(node: type[Node], machine: type[KeyValueStore]) -> None:
    """It hands over, hears no more, and is asked; the next one has gone on already."""
    world, former = in_the_beginning(node, machine)
    following = next(server for server in world.nodes if server != former)
    world.nodes[former].transfer_leadership(following, lambda refusal: None)
    world.settle(former)
    for packet in [p for p in world.packets if p.to == following]:
        world.deliver(packet)
    world.blocked |= {
        (a, b) for a in world.disks for b in world.disks if a != b and former in (a, b)
    }
    world.go_well(0.05)
    assert world.nodes[following].leads
    assert world.nodes[former].leads, "it does not know yet"
    written = world.write(following, b"SET", b"a", b"1")
    world.go_well(0.02)
    assert written.result == "OK"
    world.read(former, b"GET", b"a")
    end_well(world)


def command_is_carried_out(node: type[Node], machine: type[KeyValueStore]) -> None:
    """The plainest history."""
    world, leader = in_the_beginning(node, machine)
    world.write(leader, b"APPEND", b"a", b"1")
    end_well(world)


def command_is_sent_again_after_a_snapshot(node: type[Node], machine: type[KeyValueStore]) -> None:
    """All nodes start from snapshots, and a client has not heard its answer."""
    world, leader = in_the_beginning(node, machine)
    opened = world.write(leader, b"SESSION", b"OPEN")
    world.go_well(0.1)
    world.operations.remove(opened)
    assert isinstance(opened.result, int)
    call = (b"%d" % opened.result, b"1", b"1")
    operation = world.write_in_session(leader, call, b"APPEND", b"a", b"1")
    for _ in range(12):
        world.write(leader, b"SET", b"c", b"1")
        world.go_well(0.02)
    assert all(each.server.log.snapshot is not None for each in world.nodes.values())
    for server in list(world.nodes):
        world.crash(server)
        world.start(server)
    world.go_well(1.0)
    world.send_again(leader, call, operation)
    end_well(world)


HISTORIES: list[tuple[Callable[[type[Node], type[KeyValueStore]], None], type, list[type]]] = [
    (power_fails_after_an_answer, Node, [SendsBeforeDurable, AnswersBeforeDurable]),
    (leader_does_not_hear_of_the_next, Node, [ReadsWithoutConfirming]),
    (command_is_carried_out, KeyValueStore, [AppliesTwice]),
    (command_is_sent_again_after_a_snapshot, KeyValueStore, [ForgetsSessions]),
]
"""What happens, and what of it each sabotage does not survive."""


@pytest.mark.parametrize("history", [h for h, _, _ in HISTORIES], ids=lambda h: h.__name__)
def test_the_node_survives(history: Callable[[type[Node], type[KeyValueStore]], None]) -> None:
    history(Node, KeyValueStore)


def test_what_no_server_sends_changes_nothing() -> None:
    world, leader = in_the_beginning(Node, KeyValueStore)
    node = world.nodes[leader]
    before = node.server
    forged = AppendEntries(
        term=before.current_term,
        leader_id=ServerId(leader % 3 + 1),
        prev_log_index=Index(0),
        prev_log_term=Term(0),
        entries=(),
        leader_commit=Index(0),
    )
    with pytest.raises(Impossible, match="two leaders in one term"):
        node.receive(forged.leader_id, forged)
    assert node.server is before
    end_well(world)


@pytest.mark.parametrize(
    ("history", "sabotage"),
    [(history, kind) for history, _, kinds in HISTORIES for kind in kinds],
    ids=lambda each: each.__name__,
)
def test_sabotage_is_found(
    history: Callable[[type[Node], type[KeyValueStore]], None], sabotage: type
) -> None:
    is_node = issubclass(sabotage, Node)
    with pytest.raises(AssertionError):
        history(sabotage if is_node else Node, KeyValueStore if is_node else sabotage)


def is_found(node: type[Node] = Node, machine: type[KeyValueStore] = KeyValueStore) -> None:
    """The machine above, with a sabotaged part, fails."""

    class Sabotaged(NodesUnderTest):
        make_node = node
        make_machine = machine

    looking = settings(SETTINGS, max_examples=2000, phases=[Phase.generate], derandomize=True)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Sabotaged, settings=looking)


@pytest.mark.long
@pytest.mark.parametrize(
    "sabotage",
    [SendsBeforeDurable, AnswersBeforeDurable, ReadsWithoutConfirming],
    ids=lambda kind: kind.__name__,
)
def test_sabotage_of_the_node_is_found(sabotage: type[Node]) -> None:
    is_found(node=sabotage)


@pytest.mark.long
@pytest.mark.parametrize(
    "sabotage", [AppliesTwice, ForgetsSessions], ids=lambda kind: kind.__name__
)
def test_sabotage_of_the_state_machine_is_found(sabotage: type[KeyValueStore]) -> None:
    is_found(machine=sabotage)


# --- The judge itself ---------------------------------------------------------------------------


def operation(words: str, result: object, invoked: int, returned: float) -> Operation:
    return Operation(tuple(words.encode().split()), invoked, result, returned)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        ([("SET a 1", "OK", 1, 2), ("GET a", b"1", 3, 4)], True),
        ([("SET a 1", "OK", 1, 2), ("GET a", None, 3, 4)], False),
        ([("SET a 1", "OK", 1, 4), ("GET a", None, 2, 3)], True),
        ([("SET a 1", None, 1, float("inf")), ("GET a", None, 2, 3), ("GET a", b"1", 4, 5)], True),
        ([("SET a 1", "OK", 1, 6), ("GET a", b"1", 2, 3), ("GET a", None, 4, 5)], False),
        ([("APPEND a x", 1, 1, 2), ("APPEND a y", 3, 3, 4)], False),
    ],
)
def test_judge_of_histories(history: list[tuple[str, object, int, float]], verdict: bool) -> None:
    assert is_linearizable([operation(*o) for o in history]) is verdict
