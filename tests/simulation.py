"""Real nodes on a fake clock, network and disk: one thread, one random order, no waiting.

``World`` owns time, the packets on their way and the disks; a node that crashes leaves its disk
without what was not synced. Every step that a node takes is held against the claims of
``spec.invariants``, every client's operation goes into a history.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from impl.clock import Timing
from impl.compaction import CompactionLimits
from impl.node import Limits, Node
from impl.requests import Done, NotDone, Outcome, Unknown
from impl.resp import Session
from impl.storage import MemoryStorage, SnapshotReceiver
from impl.store import KeyValueStore
from impl.wire import LENGTH, PEER, Courier, PeerMessage
from spec.cluster import facts
from spec.entries import Entries
from spec.events import Effects, Event, Persist
from spec.invariants import PROPERTIES, WITNESSES
from spec.raft import SERVER, recover
from spec.state import Configuration, Log, Server, ServerId
from tests.cluster import SHAPES, Cluster, Shape

TIMING = Timing(request_s=0.8)
LIMITS = Limits(
    compaction=CompactionLimits(
        entries=4, trailing_entries=2, piece_bytes=64, patience_s=0.01, slice_s=0, turn_s=0.001
    )
)
"""Snapshots are frequent, and their files come in many pieces."""


@dataclass(slots=True)
class Call:
    """A call that a clock was asked for; also its timer."""

    call: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Do not call."""
        self.is_cancelled = True


class FakeClock:
    """The clock of one life of one node: it moves when the world says so."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._calls: list[tuple[float, int, Call]] = []
        self.ready: deque[Callable[[], None]] = deque()

    def now(self) -> float:
        """The world's time."""
        return self._world.now

    def wall_ms(self) -> int:
        """The world's time since 1970."""
        return 1_700_000_000_000 + int(1000 * self._world.now)

    def call_soon(self, call: Callable[[], None]) -> None:
        """When the node's turn is over."""
        self.ready.append(call)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Call:
        """When time has passed."""
        timer = Call(call)
        heapq.heappush(self._calls, (self.now() + delay_s, self._world.number(), timer))
        return timer

    def next_call(self) -> float:
        """When the next timer is due."""
        return self._calls[0][0] if self._calls else float("inf")

    def run(self) -> None:
        """Everything that is due, and what follows from it."""
        while self.ready or self.next_call() <= self.now():
            if self.ready:
                self.ready.popleft()()
            else:
                timer = heapq.heappop(self._calls)[2]
                if not timer.is_cancelled:
                    timer.call()


@dataclass(slots=True)
class FakeDisk:
    """A disk that syncs when the world says so."""

    storage: MemoryStorage
    waiting: deque[Callable[[], None]] = field(default_factory=deque)

    def write(self, batch: Sequence[Persist], durable: Callable[[], None]) -> None:
        """Queue the batch."""
        self.storage.write(batch)
        self.waiting.append(durable)


@dataclass(slots=True)
class FakeFiles:
    """Snapshot files that survive crashes."""

    storage: MemoryStorage
    clock: FakeClock

    def save(self, chunks: Iterator[bytes], done: Callable[[bytes | None], None]) -> None:
        """Write a file, a chunk between two turns."""
        writer = self.storage.begin_snapshot()

        def go_on() -> None:
            chunk = next(chunks, None)
            if chunk is None:
                done(writer.finish())
            else:
                writer.write(chunk)
                self.clock.call_later(0.001, go_on)

        self.clock.call_later(0.001, go_on)

    def chunks(self, data: bytes) -> Iterable[bytes]:
        """See ``impl.compaction``."""
        return self.storage.snapshot_chunks(data)

    def read(self, data: bytes, offset: int, size: int) -> bytes:
        """See ``impl.compaction``."""
        return self.storage.read_snapshot(data, offset, size)

    def receive(self, data: bytes) -> SnapshotReceiver:
        """See ``impl.compaction``."""
        return self.storage.receive_snapshot(data)

    def finish(self, receiver: SnapshotReceiver, done: Callable[[bool], None]) -> None:
        """Between two turns."""

        def finish() -> None:
            receiver.finish()  # pieces are not damaged here
            done(True)

        self.clock.call_soon(finish)


@dataclass(frozen=True, slots=True, eq=False)
class Packet:
    """A message on its way, as bytes."""

    source: ServerId
    to: ServerId
    frame: bytes
    may_double: bool
    """Raft's own messages may. The others are carried once: a connection doubles nothing."""


@dataclass(slots=True)
class FakeNetwork:
    """What one node sends goes to the world's packets."""

    world: World
    me: ServerId

    def send(self, to: ServerId, message: PeerMessage) -> bool:
        """Put a packet on its way, unless nobody is there."""
        if to not in self.world.nodes:
            return False
        may_double = not isinstance(message, Courier)
        self.world.packets.append(Packet(self.me, to, PEER.frame(message), may_double))
        return True

    def flush(self) -> None:
        """Packets are on their way at once."""

    def troubles(self) -> Mapping[ServerId, str]:
        """Who is down."""
        return {i: "refused" for i in self.world.disks if i not in self.world.nodes}


@dataclass(slots=True, eq=False)
class Operation:
    """What one client asked and, if it was told, what it was answered."""

    words: tuple[bytes, ...]
    invoked: int
    result: object = None
    returned: float = float("inf")
    """Place in the order of all invocations and returns; never, while the outcome is unknown."""
    is_void: bool = False
    """It certainly did not happen."""


MakeNode = Callable[..., Node]


class World:
    """A cluster of real nodes and everything around them."""

    def __init__(
        self,
        size: int = 3,
        outside: int = 0,
        seed: int = 0,
        node: MakeNode = Node,
        machine: Callable[[], Any] = KeyValueStore,
        limits: Limits | None = None,
    ) -> None:
        first = Configuration(old=frozenset(ServerId(i) for i in range(1, size + 1)))
        nobody = Configuration(old=frozenset())
        self.now = 0.0
        self.packets: list[Packet] = []
        self.disks = {
            ServerId(i): FakeDisk(MemoryStorage(first if i <= size else nobody, syncs_itself=False))
            for i in range(1, size + outside + 1)
        }
        self.nodes: dict[ServerId, Node] = {}
        self.clocks: dict[ServerId, FakeClock] = {}
        self.blocked: set[tuple[ServerId, ServerId]] = set()
        """(source, to): what is sent there is lost."""
        self.judge = Cluster(size=0, options=SERVER)
        self.operations: list[Operation] = []
        self.random = Random(seed)
        self._number = 0
        self._has_changed = True
        self._node = node
        self._machine = machine
        self._limits = limits or LIMITS
        for server_id in self.disks:
            self.start(server_id)

    def number(self) -> int:
        """A number greater than those before."""
        self._number += 1
        return self._number

    # Nodes

    def start(self, server_id: ServerId) -> None:
        """A node starts from what its disk has."""
        stored = self.disks[server_id].storage.load()
        clock = FakeClock(self)
        node = self._node(
            server=recover(
                server_id=server_id,
                configuration=stored.configuration,
                current_term=stored.current_term,
                voted_for=stored.voted_for,
                log=Log(snapshot=stored.snapshot, entries=Entries(stored.entries)),
            ),
            options=SERVER,
            machine=self._machine(),
            disk=self.disks[server_id],
            network=FakeNetwork(self, server_id),
            clock=clock,
            random=Random(self.random.random()),
            timing=TIMING,
            limits=self._limits,
            files=FakeFiles(self.disks[server_id].storage, clock),
            observe=self.observe,
        )
        self.nodes[server_id] = node
        self.clocks[server_id] = clock
        node.start()
        self.settle(server_id)

    def crash(self, server_id: ServerId, synced: int = 0) -> None:
        """A node dies at once; ``synced`` of its pending writes have reached the disk."""
        disk = self.disks[server_id]
        disk.storage.sync(min(synced, len(disk.waiting)))
        disk.storage.crash()
        disk.waiting.clear()
        del self.nodes[server_id]
        del self.clocks[server_id]
        for other in self.nodes:
            self.nodes[other].disconnected(server_id)
            self.settle(other)

    def settle(self, server_id: ServerId) -> None:
        """Let a node finish what it has begun; then the claims about states are checked."""
        self.clocks[server_id].run()

    def observe(self, before: Server, event: Event, after: Server, effects: Effects) -> None:
        """A node took a step."""
        if after is before and not effects:
            return
        self._has_changed = True
        judge = self.judge
        judge.servers[after.server_id] = after
        judge.history |= dict.fromkeys(facts(before, after, effects))
        for claim in PROPERTIES + WITNESSES:
            if SHAPES[claim.name] is Shape.STEP:
                judge.judge(claim, before, event, after, effects)

    def check(self) -> None:
        """Hold all claims about states and history against this moment, if it is a new one."""
        if not self._has_changed:
            return
        self._has_changed = False
        for shape in (Shape.PRESENT, Shape.PRESENT_AND_HISTORY, Shape.HISTORY):
            self.judge.check(shape)

    # Network, disk, time

    def deliver(self, packet: Packet) -> None:
        """A packet arrives, unless nobody is there or the way is blocked."""
        node = self.nodes.get(packet.to)
        if node is not None and (packet.source, packet.to) not in self.blocked:
            node.receive(packet.source, PEER.value(packet.frame[LENGTH.size :]))
            self.settle(packet.to)

    def sync(self, server_id: ServerId) -> None:
        """The oldest pending write of a node becomes durable."""
        disk = self.disks[server_id]
        if disk.waiting:
            disk.storage.sync(1)
            disk.waiting.popleft()()
            self.settle(server_id)

    def pass_time(self, seconds: float) -> None:
        """Time passes; timers go off in their order."""
        end = self.now + seconds
        while (due := min((c.next_call() for c in self.clocks.values()), default=end)) < end:
            self.now = max(self.now, due)
            for server_id in list(self.clocks):
                self.settle(server_id)
        self.now = end

    def go_well(self, seconds: float, *, disks_sync: bool = True) -> None:
        """All works as it should for a while: packets take 1 ms, and so does a sync."""
        end = self.now + seconds
        while self.now < end:
            packets, self.packets = self.packets, []
            for packet in packets:
                self.deliver(packet)
            if disks_sync:
                for server_id in list(self.nodes):
                    self.sync(server_id)
            is_busy = self.packets or (disks_sync and any(d.waiting for d in self.disks.values()))
            due = min((clock.next_call() for clock in self.clocks.values()), default=end)
            self.pass_time(0.001 if is_busy else min(max(due - self.now, 0.001), end - self.now))

    # Clients

    def write(self, at: ServerId, *words: bytes) -> Operation:
        """A client sends one command that changes something."""
        return self._ask(at, words, lambda node, answer: node.write([command(*words)], answer))

    def write_in_session(self, at: ServerId, call: tuple[bytes, ...], *words: bytes) -> Operation:
        """A client sends a command of a session, ``call``, that it may send again (§8)."""
        operation = Operation(words, self.number())
        self.operations.append(operation)
        self.send_again(at, call, operation)
        return operation

    def send_again(self, at: ServerId, call: tuple[bytes, ...], operation: Operation) -> None:
        """The same command of the same session; every answer to it is the same."""
        data = command(b"SESSION", b"CALL", *call, *operation.words)

        def answer(outcome: Outcome) -> None:
            if isinstance(outcome, Done):
                (result,) = outcome.results
                if operation.returned < float("inf"):
                    assert result == operation.result, "a command sent again was done again"
                else:
                    operation.result, operation.returned = result, self.number()

        self.nodes[at].write([data], answer)
        self.settle(at)

    def read(self, at: ServerId, *words: bytes) -> Operation:
        """A client sends one command that only looks."""
        return self._ask(at, words, lambda node, answer: node.read([query(*words)], answer))

    def _ask(
        self,
        at: ServerId,
        words: tuple[bytes, ...],
        begin: Callable[[Node, Callable[[Outcome], None]], None],
    ) -> Operation:
        operation = Operation(words, self.number())
        self.operations.append(operation)

        def answer(outcome: Outcome) -> None:
            match outcome:
                case Done(results=results):
                    (operation.result,) = results
                    operation.returned = self.number()
                case NotDone():
                    operation.is_void = True
                    operation.returned = self.number()
                case Unknown():
                    pass

        begin(self.nodes[at], answer)
        self.settle(at)
        return operation


def one_action(*words: bytes) -> Any:
    """What the clients' protocol makes of one command."""
    parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)]
    (action,) = Session(dict).feed(b"".join(parts))
    return action


def command(*words: bytes) -> bytes:
    """The bytes in the log for one command of a client."""
    encoded: bytes = one_action(*words).command
    return encoded


def query(*words: bytes) -> object:
    """The query for one command of a client."""
    return one_action(*words).query
