"""The node: events go into ``spec.raft.step``, what it asks for is carried out. No rule of Raft.

    gather what is ready -> step for each -> one durable write -> send, apply, answer

``Node`` does no I/O and knows no event loop. Clock, disk and network are three narrow seams, filled
by asyncio in ``impl.server`` and by fakes in the tests. The seams call back on the node's thread:

* the network calls ``receive``, ``connected`` and ``disconnected``;
* the disk calls what it was given once a batch is durable;
* clients' requests come by ``write`` and ``read``.

The order of effects (see ``spec.events``) is kept by counting: each ``Persist...`` effect has a
number, and what must not be done before it is durable waits in ``_held`` with that number.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol, assert_never

from impl.clock import Clock, Timing
from impl.requests import (
    Answer,
    Batch,
    Done,
    NotDone,
    Outcome,
    Read,
    Unknown,
    Write,
    command_of,
    commands_in,
)
from impl.wire import (
    Courier,
    FetchSnapshot,
    Forward,
    ForwardDone,
    ForwardFailed,
    PeerMessage,
    SnapshotPiece,
)
from spec.disk import durable_up_to
from spec.events import (
    BecameLeader,
    ChangeMembership,
    ClientRequest,
    ClientRequestAccepted,
    ClientRequestRefused,
    CommittedUpTo,
    DurableUpTo,
    Effect,
    Effects,
    ElectionTimeout,
    Event,
    HeardFromLeader,
    HeartbeatTimeout,
    MembershipChangeAccepted,
    MembershipChangeRefused,
    Persist,
    PersistEntries,
    PersistTermAndVote,
    ReadReady,
    ReadRefused,
    Receive,
    ResetElectionTimer,
    Restart,
    RetryTimeout,
    Send,
    SteppedDown,
)
from spec.log import entry_at, last_index
from spec.messages import Message
from spec.quorum import members
from spec.raft import Options, step
from spec.state import Command, Configuration, Index, Leader, NoOp, Server, ServerId

log = logging.getLogger(__name__)


class StateMachine(Protocol):
    """What the node needs of the replicated object; deterministic (see ``impl.store``)."""

    def apply(self, time_ms: int, commands: Sequence[bytes]) -> list[object]:
        """Carry out commands; one result each."""

    def query(self, time_ms: int, query: object) -> object:
        """Look without changing anything."""

    def next_due(self) -> int | None:
        """When it wants to be told the time next, by a batch without commands."""


class Disk(Protocol):
    """Stable storage, written by one batch at a time."""

    def write(self, batch: Sequence[Persist], durable: Callable[[], None]) -> None:
        """Write all of the batch or nothing, and call ``durable`` when it would survive a crash."""


class Network(Protocol):
    """Sends to peers; a message may be lost, doubled or late."""

    def send(self, to: ServerId, message: PeerMessage) -> bool:
        """Queue a message; ``False`` if it certainly was not and will not be sent."""

    def flush(self) -> None:
        """Put on their way what was queued since the last call."""

    def troubles(self) -> Mapping[ServerId, str]:
        """The peers that cannot be reached now, each with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a node's queues."""

    open_entries: int = 2
    """Entries a leader keeps under way at once: what comes later is gathered for the next one."""
    batch_commands: int = 8192
    batch_bytes: int = 4 << 20
    applied_commands_at_once: int = 4096
    queued_bytes: int = 64 << 20
    """Of clients' commands that wait; beyond this, clients are not read from."""


Observer = Callable[[Server, Event, Server, Effects], None]


class Node:
    """One server of the cluster."""

    def __init__(
        self,
        *,
        server: Server,
        options: Options,
        machine: StateMachine,
        disk: Disk,
        network: Network,
        clock: Clock,
        random: Random,
        timing: Timing,
        limits: Limits,
        encode_result: Callable[[object], bytes],
        decode_result: Callable[[bytes], object],
        observe: Observer | None = None,
    ) -> None:
        self.server = server
        self.leader_id: ServerId | None = None
        self.applied_index = Index(0)
        self.queued_bytes = 0
        self._options = options
        self._machine = machine
        self._disk = disk
        self._network = network
        self._clock = clock
        self._random = random
        self._timing = timing
        self._limits = limits
        self._encode_result = encode_result
        self._decode_result = decode_result
        self._observe = observe

        self._turn_is_due = False
        self._election_deadline = 0.0
        self._stopped: str | None = None

        self._unwritten: list[Persist] = []
        self._writing = False
        self._persists = 0  # asked for so far
        self._durable = 0  # of those, on stable storage
        self._held: deque[tuple[int, Send | CommittedUpTo]] = deque()
        self._committed = Index(0)  # may be applied: all that it rests on is durable

        self._queue: deque[Write] = deque()
        self._proposing: list[Write] = []
        self._open: dict[Index, list[Batch]] = {}
        self._forwarded: dict[int, tuple[ServerId, list[Write]]] = {}
        self._request_id = 0
        self._reads: deque[Read] = deque()
        self._confirming: list[Read] = []
        self._confirmed: deque[tuple[Index, list[Read]]] = deque()
        self._answer_change: Callable[[str], None] | None = None

    # --- What happens -----------------------------------------------------------------------

    def start(self) -> None:
        """Begin, for the first time or after a crash."""
        self.handle(Restart())
        self._clock.call_later(self._timing.heartbeat_s, self._on_heartbeat)
        self._clock.call_later(self._timing.retry_s, self._on_retry)
        self._arm_election_timer()

    def stop(self, reason: str) -> None:
        """Do nothing any more; who waits for an answer gets the one that is sure."""
        if self._stopped is not None:
            return
        self._stopped = reason
        for write in self._queue:
            write.answer(NotDone(reason, "SHUTDOWN"))
        confirmed = [reads for _, reads in self._confirmed]
        for reads in (self._reads, self._confirming, *confirmed):
            for read in reads:
                read.answer(NotDone(reason, "SHUTDOWN"))
        started = [batch.writes for batches in self._open.values() for batch in batches]
        for writes in (*started, *(w for _, w in self._forwarded.values())):
            self._fail_started(writes, reason)

    def write(self, commands: Sequence[bytes], answer: Answer, *, forwarded: bool = False) -> None:
        """Have commands applied, in this order; ``answer`` is called once, now or later."""
        if self._stopped is not None:
            answer(NotDone(self._stopped, "SHUTDOWN"))
            return
        write = Write(commands, self._clock.now() + self._timing.request_s, answer, forwarded)
        self._queue.append(write)
        self.queued_bytes += write.size
        self._schedule_turn()

    def read(self, queries: Sequence[object], answer: Answer) -> None:
        """Answer queries by a state that is not older than this call (linearizable, §8)."""
        if self._stopped is not None:
            answer(NotDone(self._stopped, "SHUTDOWN"))
            return
        self._reads.append(Read(queries, self._clock.now() + self._timing.request_s, answer))
        self._schedule_turn()

    def receive(self, source: ServerId, message: PeerMessage) -> None:
        """A message of a peer arrived."""
        match message:
            case Forward() | ForwardDone() | ForwardFailed() | FetchSnapshot() | SnapshotPiece():
                self._on_courier(source, message)
            case _:
                self._on_message(source, message)

    def _on_message(self, source: ServerId, message: Message) -> None:
        self.handle(Receive(source=source, message=message))

    def disconnected(self, peer: ServerId) -> None:
        """The connection on which ``peer`` would answer is gone, and its answers with it."""
        for request_id, (to, writes) in list(self._forwarded.items()):
            if to == peer:
                del self._forwarded[request_id]
                self._fail_started(writes, f"the connection to the leader n{peer} broke")

    def change_membership(
        self, members: frozenset[ServerId], answer: Callable[[str], None]
    ) -> None:
        """Ask for other members; ``answer`` gets the reason of a refusal, or nothing."""
        self._answer_change = answer
        self.handle(ChangeMembership(members=members))

    def handle(self, event: Event) -> None:
        """One step, and what it asks for."""
        if self._stopped is not None:
            return
        before = self.server
        self.server, effects = step(self._options, before, event)
        if self._observe is not None:
            self._observe(before, event, self.server, effects)
        for effect in effects:
            self._carry_out(effect)
        if self.leader_id == self.server.server_id and not self.leads:
            self.leader_id = None
        self._schedule_turn()

    @property
    def queued(self) -> int:
        """Requests of clients that wait to be begun."""
        return len(self._queue) + len(self._reads)

    @property
    def leads(self) -> bool:
        """Does this node take commands itself?"""
        return isinstance(self.server.role, Leader)

    # --- Timers -----------------------------------------------------------------------------

    def _arm_election_timer(self) -> None:
        delay = max(0.0, self._election_deadline - self._clock.now())
        self._clock.call_later(delay, self._on_election_timer)

    def _on_election_timer(self) -> None:
        """The timer is set once and looks again when it was reset meanwhile.

        Messages may have arrived while this thread was held up: they are dealt with first.
        """
        if self._stopped is not None:
            return
        if self._clock.now() < self._election_deadline:
            self._arm_election_timer()
        else:
            self._clock.call_later(0.001, self._on_election_timeout)

    def _on_election_timeout(self) -> None:
        if self._clock.now() >= self._election_deadline:
            self._reset_election_timer()
            if not self.leads:
                self.leader_id = None
            self.handle(ElectionTimeout())
        self._arm_election_timer()

    def _reset_election_timer(self) -> None:
        timeout = self._timing.draw_election_timeout(self._random)
        self._election_deadline = self._clock.now() + timeout

    def _on_heartbeat(self) -> None:
        if self._stopped is not None:
            return
        self.handle(HeartbeatTimeout())
        self._give_up_late()
        self._tell_time()
        self._clock.call_later(self._timing.heartbeat_s, self._on_heartbeat)

    def _on_retry(self) -> None:
        if self._stopped is not None:
            return
        self.handle(RetryTimeout())
        self._clock.call_later(self._timing.retry_s, self._on_retry)

    # --- One turn: what was gathered is written and sent ------------------------------------

    def _schedule_turn(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            self._clock.call_soon(self._turn)

    def _turn(self) -> None:
        """Clients' requests become events; then one write and one flush for all that happened."""
        self._turn_is_due = False
        if self._stopped is not None:
            return
        self._apply()
        if self._reads and not self._confirming:
            self._confirm()
        if self._queue:
            self._start_writes()
        if self._unwritten and not self._writing:
            self._write()
        self._network.flush()

    def _write(self) -> None:
        batch, self._unwritten = self._unwritten, []
        self._writing = True
        written = durable_up_to(self.server.log)
        self._disk.write(batch, lambda: self._on_durable(len(batch), written))

    def _on_durable(self, count: int, written: DurableUpTo) -> None:
        self._writing = False
        self._durable += count
        self.handle(written)
        held = self._held
        while held and held[0][0] <= self._durable:
            self._release(held.popleft()[1])
        self._turn()

    # --- Effects ----------------------------------------------------------------------------

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case PersistTermAndVote() | PersistEntries():
                self._unwritten.append(effect)
                self._persists += 1
            case Send() | CommittedUpTo():
                if self._durable == self._persists:
                    self._release(effect)
                else:
                    self._held.append((self._persists, effect))
            case ResetElectionTimer():
                self._reset_election_timer()
            case HeardFromLeader(leader_id=leader_id):
                self._hear_of_leader(leader_id)
            case BecameLeader(term=term):
                log.info("leads term %d", term, extra={"term": term})
                self._hear_of_leader(self.server.server_id)
            case ClientRequestAccepted(term=term, first_index=index):
                self._open.setdefault(index, []).append(Batch(term, self._proposing))
                self._proposing = []
            case ClientRequestRefused():
                pass  # the requests stay in ``_proposing``
            case ReadReady() | ReadRefused():
                pass  # no read was asked for
            case MembershipChangeAccepted():
                self._tell_administrator("")
            case MembershipChangeRefused(reason=reason):
                self._tell_administrator(reason)
            case SteppedDown():
                log.info("is no member any more and leads no longer")
            case _:
                assert_never(effect)

    def _release(self, effect: Send | CommittedUpTo) -> None:
        """All that came before is durable."""
        match effect:
            case Send(to=to, message=message):
                self._network.send(to, message)
            case CommittedUpTo(commit_index=commit_index):
                self._committed = max(self._committed, commit_index)
                self._schedule_turn()
            case _:
                assert_never(effect)

    def _hear_of_leader(self, leader_id: ServerId) -> None:
        if leader_id != self.leader_id:
            self.leader_id = leader_id
            log.info("n%d leads", leader_id, extra={"term": self.server.current_term})

    def _tell_administrator(self, refusal: str) -> None:
        answer, self._answer_change = self._answer_change, None
        if answer is not None:
            answer(refusal)

    # --- The state machine ------------------------------------------------------------------

    def _apply(self) -> None:
        """Apply what is committed, a bounded number of commands in one turn."""
        room = self._limits.applied_commands_at_once
        while self.applied_index < self._committed:
            if room <= 0:
                self._schedule_turn()
                return
            index = Index(self.applied_index + 1)
            entry = entry_at(self.server.log, index)
            assert entry is not None, "what is committed is in the log"
            results: list[object] = []
            match entry.payload:
                case Command() as command:
                    results = self._machine.apply(*commands_in(command))
                case NoOp() | Configuration():
                    pass
                case _:
                    assert_never(entry.payload)
            self.applied_index = index
            room -= len(results) + 1
            for batch in self._open.pop(index, ()):
                if batch.term == entry.term:
                    self._distribute(batch.writes, results, index)
                else:
                    self._try_again(batch.writes)
        while self._confirmed and self._confirmed[0][0] <= self.applied_index:
            now = self._clock.wall_ms()
            for read in self._confirmed.popleft()[1]:
                results = [self._machine.query(now, query) for query in read.queries]
                read.answer(Done(results, self.applied_index))

    def _distribute(self, writes: Sequence[Write], results: Sequence[object], index: Index) -> None:
        """Each write gets the results of its own commands."""
        start = 0
        for write in writes:
            end = start + len(write.commands)
            write.answer(Done(results[start:end], index))
            start = end

    def _tell_time(self) -> None:
        """Keys expire by a log entry, so that they do in one order on all servers."""
        due = self._machine.next_due()
        if self.leads and due is not None and due <= self._clock.wall_ms():
            self.write((), lambda outcome: None)

    # --- Reads ------------------------------------------------------------------------------

    def _confirm(self) -> None:
        """One round for all reads that wait; those that come meanwhile share the next one."""
        self._confirming.extend(self._reads)
        self._reads.clear()
        self.write((), self._on_confirmed)

    def _on_confirmed(self, outcome: Outcome) -> None:
        reads, self._confirming = self._confirming, []
        match outcome:
            case Done(index=index):
                self._confirmed.append((index, reads))
            case NotDone() | Unknown():
                self._reads.extendleft(reversed(reads))
            case _:
                assert_never(outcome)
        self._schedule_turn()

    # --- Writes -----------------------------------------------------------------------------

    def _start_writes(self) -> None:
        if self.leads:
            self._propose()
            return
        self._refuse_forwarded()
        if self._queue and self.leader_id is not None:
            self._forward(self.leader_id)

    def _propose(self) -> None:
        """One log entry for all that waits, unless enough entries are under way already."""
        server = self.server
        if last_index(server.log) - server.commit_index >= self._limits.open_entries:
            return
        self._proposing = self._take()
        commands = [c for write in self._proposing for c in write.commands]
        self.handle(ClientRequest(commands=(command_of(self._clock.wall_ms(), commands),)))
        if self._proposing:  # refused
            self._requeue(self._proposing)
            self._proposing = []

    def _take(self) -> list[Write]:
        """The writes of one batch, from the head of the queue."""
        queue, taken = self._queue, []
        commands, size = self._limits.batch_commands, self._limits.batch_bytes
        while queue and commands > 0 and size > 0:
            write = queue.popleft()
            taken.append(write)
            self.queued_bytes -= write.size
            commands -= len(write.commands)
            size -= write.size
        return taken

    def _requeue(self, writes: Sequence[Write]) -> None:
        self._queue.extendleft(reversed(writes))
        self.queued_bytes += sum(write.size for write in writes)

    def _forward(self, leader_id: ServerId) -> None:
        """All that waits here goes to the leader in one message."""
        writes = self._take()
        self._request_id += 1
        commands = tuple(c for write in writes for c in write.commands)
        message = Forward(request_id=self._request_id, commands=commands)
        if self._network.send(leader_id, message):
            self._forwarded[self._request_id] = (leader_id, writes)
        else:
            self._requeue(writes)

    def _refuse_forwarded(self) -> None:
        """What a peer forwarded to a node that does not lead goes back to it."""
        if not any(write.is_forwarded for write in self._queue):
            return
        queue, self._queue = self._queue, deque()
        for write in queue:
            if write.is_forwarded:
                self.queued_bytes -= write.size
                write.answer(NotDone(f"n{self.server.server_id} does not lead"))
            else:
                self._queue.append(write)

    def _on_courier(self, source: ServerId, message: Courier) -> None:
        match message:
            case Forward(request_id=request_id, commands=commands):
                self.write(
                    commands,
                    lambda outcome: self._answer_forward(source, request_id, outcome),
                    forwarded=True,
                )
            case ForwardDone(request_id=request_id, index=index, results=results):
                if request_id in self._forwarded:
                    _, writes = self._forwarded.pop(request_id)
                    decoded = [self._decode_result(result) for result in results]
                    self._distribute(writes, decoded, index)
            case ForwardFailed(request_id=request_id, unknown=unknown, reason=reason):
                if request_id in self._forwarded:
                    _, writes = self._forwarded.pop(request_id)
                    if unknown:
                        self._fail_started(writes, reason)
                    else:
                        if self.leader_id == source:
                            self.leader_id = None  # until a leader is heard
                        self._try_again(writes)
            case FetchSnapshot() | SnapshotPiece():
                pass
            case _:
                assert_never(message)

    def _answer_forward(self, to: ServerId, request_id: int, outcome: Outcome) -> None:
        answer: Courier
        match outcome:
            case Done(results=results, index=index):
                encoded = tuple(self._encode_result(result) for result in results)
                answer = ForwardDone(request_id=request_id, index=index, results=encoded)
            case NotDone(reason=reason):
                answer = ForwardFailed(request_id=request_id, unknown=False, reason=reason)
            case Unknown(reason=reason):
                answer = ForwardFailed(request_id=request_id, unknown=True, reason=reason)
            case _:
                assert_never(outcome)
        self._network.send(to, answer)
        self._schedule_turn()

    def _try_again(self, writes: Sequence[Write]) -> None:
        """These were certainly not done: they may be done now, by whoever leads now."""
        self._requeue(writes)
        self._schedule_turn()

    def _fail_started(self, writes: Sequence[Write], reason: str) -> None:
        """These may or may not be done."""
        for write in writes:
            write.answer(Unknown(reason))

    def _give_up_late(self) -> None:
        """Clients wait no longer than ``request_s``; what they are told is what is known."""
        now = self._clock.now()
        refusal = NotDone(self.why_no_leader()) if self._queue or self._reads else NotDone("")
        while self._queue and self._queue[0].deadline <= now:
            write = self._queue.popleft()
            self.queued_bytes -= write.size
            write.answer(refusal)
        while self._reads and self._reads[0].deadline <= now:
            self._reads.popleft().answer(refusal)
        for index, batches in list(self._open.items()):
            if all(w.deadline <= now for batch in batches for w in batch.writes):
                del self._open[index]
                for batch in batches:
                    self._fail_started(batch.writes, "not committed in time; it may be later")
        for request_id, (leader_id, writes) in list(self._forwarded.items()):
            if all(write.deadline <= now for write in writes):
                del self._forwarded[request_id]
                self._fail_started(writes, f"n{leader_id} did not answer in time")

    def why_no_leader(self) -> str:
        """What keeps the cluster from answering, as far as this node sees."""
        troubles = self._network.troubles()
        everyone = members(self.server.configuration)
        reached = [i for i in everyone if i not in troubles]
        causes = ", ".join(f"n{i} {troubles[i]}" for i in everyone if i in troubles)
        if causes:
            return f"no quorum: reached {len(reached)} of {len(everyone)} ({causes})"
        return f"no leader elected: reached {len(reached)} of {len(everyone)}"
