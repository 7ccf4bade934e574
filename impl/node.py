"""The node: events go into ``spec.raft.step``, what it asks for is carried out. No rule of Raft.

    gather what is ready -> step for each -> one durable write -> send, apply, answer

``Node`` does no I/O and knows no event loop. Clock, disk and network are three narrow seams, filled
by asyncio in ``impl.server`` and by fakes in the tests. The seams call back on the node's thread:

* the network calls ``receive``, ``connected`` and ``disconnected``;
* the disk calls what it was given once a batch is durable;
* clients' requests come by ``write`` and ``read``.

The durability contract of ``spec.events`` is kept by counting: each ``Persist...`` effect has a
number, and a message that must not leave before it is durable waits in ``_held`` with that number.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, assert_never

from impl.clock import Clock, Timing
from impl.compaction import Compaction, CompactionLimits, Files
from impl.machine import Result, StateMachine, decode_result, encode_result
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
    Impossible,
    PeerMessage,
    SnapshotPiece,
)
from spec.disk import Batch as DiskBatch
from spec.disk import durable_up_to, is_about_the_log, waits_for
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
    PersistSnapshot,
    PersistTermAndVote,
    ReadReady,
    ReadRefused,
    ReadRequest,
    Receive,
    Replicate,
    ResetElectionTimer,
    Restart,
    RestoreStateMachine,
    RetryTimeout,
    Send,
    SteppedDown,
    TransferAborted,
    TransferLeadership,
    TransferRefused,
    TransferStarted,
)
from spec.log import base_index, entry_at, last_index
from spec.messages import InstallSnapshot, Message, ReadIndexResponse
from spec.quorum import members
from spec.raft import Options, step
from spec.snapshot import taken
from spec.state import (
    ClientId,
    Command,
    Configuration,
    Index,
    Leader,
    NoOp,
    RequestId,
    Server,
    ServerId,
    Snapshot,
    Term,
)

log = logging.getLogger(__name__)

VOTE = DiskBatch(writes=(PersistTermAndVote(current_term=Term(0), voted_for=None),))
ENTRIES = DiskBatch(writes=(PersistEntries(first_index=Index(1), entries=()),))
"""The two kinds of writes that a message may have to wait for, see ``spec.disk.waits_for``."""
ENTRY_BYTES = 32
"""Of an entry beside its data, about."""


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

    open_entries: int = 1
    """Entries a leader keeps under way at once: what comes later is gathered for the next one."""
    unacknowledged_bytes: int = 8 << 20
    """Of entries on their way to one peer; beyond this, the peer gets no more."""
    message_bytes: int = 1 << 20
    """Of entries in one message, unless a single entry is longer."""
    batch_commands: int = 2048
    batch_bytes: int = 4 << 20
    applied_commands_at_once: int = 512
    compaction: CompactionLimits = field(default_factory=CompactionLimits)
    queued_bytes: int = 64 << 20
    """Of clients' commands that wait; beyond this, clients are not read from."""


@dataclass(slots=True, eq=False)
class Flow:
    """Entries on their way to one peer, while this node leads."""

    next_index: Index
    """As it was when the peer was looked at last."""
    sent: Index
    """The last entry that was sent and not taken for lost."""
    progress_at: float
    in_flight: deque[tuple[Index, int]] = field(default_factory=deque)
    """The last entry and the bytes of each message without an answer."""
    size: int = 0
    """Bytes in flight."""

    def lacks(self, next_index: Index, end: Index) -> bool:
        """Is there something to send, of a log that goes up to ``end``?"""
        if next_index < self.next_index:
            return True  # the peer has refused what was sent
        self.next_index = next_index
        return self.sent < end

    def in_flight_is_snapshot(self, base: Index) -> bool:
        """Is a snapshot on its way, of what the log has no more?"""
        return bool(self.in_flight) and self.in_flight[0][0] <= base


@dataclass(slots=True, eq=False)
class Confirming:
    """Reads for which a round was asked."""

    read_id: RequestId
    reads: list[Read]
    asked_at: float


Observer = Callable[[Server, Event, Server, Effects], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Who is told what happens, to count it."""

    committed: Callable[[float], None] = lambda seconds: None
    """An entry was, so long after the first of its commands had come to this node."""
    leader: Callable[[ServerId, Term], None] = lambda leader_id, term: None
    """This one was heard of."""


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
        files: Files,
        observe: Observer | None = None,
        probes: Probes | None = None,
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
        self._observe = observe
        self._probes = probes or Probes()

        self._compaction = Compaction(
            files=files,
            machine=machine,
            clock=clock,
            limits=limits.compaction,
            send=self._send_courier,
            install=self._on_message,
        )

        self._turn_is_due = False
        self._apply_is_due = False
        self._is_restoring = False  # the state machine, from a snapshot: it is not used meanwhile
        self._election_deadline = 0.0
        self._flows: dict[ServerId, Flow] = {}
        self._may_be_late = True  # look whether something is to be sent again
        self._awaiting_commit: set[ServerId] = set()
        self._stopped: str | None = None

        self._unwritten: list[Persist] = []
        self._writing = False
        self._persists = 0  # asked for so far
        self._durable = 0  # of those, on stable storage
        self._told: DurableUpTo | None = None  # what to tell the server of them when it leads
        self._votes = 0  # asked for up to and with the last term or vote
        self._held: deque[tuple[int, Send]] = deque()

        self._queue: deque[Write] = deque()
        self._proposing: list[Write] = []
        self._open: dict[Index, list[Batch]] = {}
        self._forwarded: dict[int, tuple[ServerId, list[Write]]] = {}
        self._request_id = 0
        self._reads: deque[Read] = deque()
        self._confirming: Confirming | None = None
        self._may_ask = True
        self._read_serial = random.getrandbits(60)
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
        asked = self._confirming.reads if self._confirming is not None else []
        for reads in (self._reads, asked, *confirmed):
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
            case InstallSnapshot():
                self._compaction.on_install(source, message, self.server)
            case _:
                self._on_message(source, message)

    def _on_message(self, source: ServerId, message: Message) -> None:
        self.handle(Receive(source=source, message=message))

    def connected(self, peer: ServerId) -> None:
        """What was on its way to ``peer`` did not arrive."""
        self._flows.pop(peer, None)
        self._schedule_turn()

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

    def transfer_leadership(self, to: ServerId, answer: Callable[[str], None]) -> None:
        """Let ``to`` lead; ``answer`` gets the reason of a refusal, or nothing when it begins."""
        self._answer_change = answer
        self.handle(TransferLeadership(to=to))

    def begin_export(self) -> tuple[Snapshot, Iterator[bytes]] | None:
        """The state machine as it is now, and what it covers; see ``impl.exports``."""
        chunks = self._compaction.begin_export()
        return None if chunks is None else (taken(self.server, self.applied_index, b""), chunks)

    def end_export(self) -> None:
        """The image is not drawn any further."""
        self._compaction.end_export()

    def handle(self, event: Event) -> None:
        """One step, and what it asks for."""
        if self._stopped is not None:
            return
        before = self.server
        try:
            self.server, effects = step(self._options, before, event)
        except AssertionError as error:  # no step was taken
            raise Impossible(str(error)) from error
        if self._observe is not None:
            self._observe(before, event, self.server, effects)
        for effect in effects:
            self._carry_out(effect)
        if self.leader_id == self.server.server_id and not self.leads:
            self.leader_id = None
            self._flows.clear()
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
        self._may_be_late = True
        self._repeat_confirming()
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
        if not self._turn_is_due or self._stopped is not None:
            return  # another one came before it
        try:
            if self._told is not None and self.leads:
                told, self._told = self._told, None
                self.handle(told)
            if self._reads and self._confirming is None and self._may_ask:
                self._confirm()
            if self._queue:
                self._start_writes()
            if self.leads:
                self._replicate()
            self._network.flush()
            if self._unwritten and not self._writing:
                self._write()
        finally:
            self._turn_is_due = False
        if self._can_apply() and not self._apply_is_due:
            self._apply_is_due = True
            if self._writing or self._confirming is not None:
                self._clock.call_soon(self._apply)  # others can work meanwhile
            else:
                self._apply()

    def _write(self) -> None:
        """Everything that is not written yet; then the disk has the log that the server has."""
        batch, self._unwritten = self._unwritten, []
        self._writing = True
        told = durable_up_to(self.server.log) if is_about_the_log(batch) else None
        self._disk.write(batch, lambda: self._on_durable(len(batch), told))

    def _on_durable(self, count: int, told: DurableUpTo | None) -> None:
        self._writing = False
        self._durable += count
        self._turn_is_due = True  # it follows here
        if told is not None and self._options.parallel_write:
            self._told = told
        held, self._held = self._held, deque()
        for number, send in held:
            if number <= self._durable:
                self._network.send(send.to, send.message)
            else:
                self._held.append((number, send))
        self._turn()

    # --- Replication: how much is sent when, of what spec allows -----------------------------

    def _replicate(self) -> None:
        """Send each peer what it lacks, as far as there is room on the way."""
        role = self.server.role
        assert isinstance(role, Leader), "asked only while this node leads"
        base, end = base_index(self.server.log), last_index(self.server.log)
        for peer, next_index in role.next_index.items_by_server:
            flow = self._flows.get(peer)
            if flow is None or flow.lacks(next_index, end) or self._may_be_late:
                flow = self._flow(peer, next_index, role.match_index[peer])
                while flow.sent < end and flow.size < self._limits.unacknowledged_bytes:
                    is_unsure = role.match_index[peer] == 0 or flow.in_flight_is_snapshot(base)
                    if flow.in_flight and is_unsure:
                        break  # one message, until its answer tells where the logs agree
                    self._send_entries(peer, flow)
            if peer in self._awaiting_commit:
                first_index = Index(flow.sent + 1)
                self.handle(Replicate(to=peer, first_index=first_index, count=0))
        self._awaiting_commit.clear()
        self._may_be_late = False

    def _flow(self, peer: ServerId, next_index: Index, match_index: Index) -> Flow:
        """The peer's flow, after what is acknowledged, or lost, was taken out of it."""
        now = self._clock.now()
        flow = self._flows.get(peer) or Flow(next_index, Index(next_index - 1), now)
        while flow.in_flight and flow.in_flight[0][0] <= match_index:
            flow.size -= flow.in_flight.popleft()[1]
            flow.progress_at = now
        is_late = flow.in_flight and now - flow.progress_at > self._timing.retry_s
        if is_late or next_index < flow.next_index:
            flow = Flow(next_index, Index(next_index - 1), now)
        self._flows[peer] = flow
        flow.next_index = next_index
        flow.sent = max(flow.sent, Index(next_index - 1))
        return flow

    def _send_entries(self, peer: ServerId, flow: Flow) -> None:
        """One message, with as many entries as fit."""
        first_index, count, size = Index(flow.sent + 1), 0, 0
        base = base_index(self.server.log)
        if first_index <= base:
            count = base - flow.sent  # of which there is a snapshot instead
        while first_index > base and size < self._limits.message_bytes:
            entry = entry_at(self.server.log, Index(first_index + count))
            if entry is None:
                break
            payload = entry.payload
            size += ENTRY_BYTES + (len(payload.data) if isinstance(payload, Command) else 0)
            count += 1
        if not flow.in_flight:
            flow.progress_at = self._clock.now()
        flow.sent = Index(flow.sent + count)
        flow.in_flight.append((flow.sent, size))
        flow.size += size
        self.handle(Replicate(to=peer, first_index=first_index, count=count))

    # --- Effects ----------------------------------------------------------------------------

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case PersistTermAndVote() | PersistEntries() | PersistSnapshot():
                self._unwritten.append(effect)
                self._persists += 1
                if isinstance(effect, PersistTermAndVote):
                    self._votes = self._persists
            case RestoreStateMachine():
                self._restore(effect.snapshot)
            case Send():
                self._send(effect)
            case CommittedUpTo():
                self._may_ask = True  # the turn that follows applies what is committed
            case ReadReady() | ReadRefused():
                self._on_read_answer(effect)
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
            case MembershipChangeAccepted():
                self._tell_administrator("")
            case MembershipChangeRefused(reason=reason):
                self._tell_administrator(reason)
            case TransferStarted():
                self._tell_administrator("")
            case TransferRefused(reason=reason):
                self._tell_administrator(reason)
            case TransferAborted(to=to):
                log.info("leadership was not taken over by node %d in time", to)
            case SteppedDown(reason=reason):
                log.info("leads no longer: %s", reason)
            case _:
                assert_never(effect)

    def _send(self, send: Send) -> None:
        """At once, or when the writes are durable that the contract of ``spec`` names."""
        if waits_for(send, ENTRIES):
            number = self._persists
        elif waits_for(send, VOTE):
            number = self._votes
        else:
            number = 0
        if isinstance(send.message, ReadIndexResponse):
            self._awaiting_commit.add(send.to)
        if number <= self._durable:
            self._network.send(send.to, send.message)
        else:
            self._held.append((number, send))

    def _hear_of_leader(self, leader_id: ServerId) -> None:
        if leader_id != self.leader_id:
            self.leader_id = leader_id
            self._probes.leader(leader_id, self.server.current_term)
            log.info("n%d leads", leader_id, extra={"term": self.server.current_term})

    def _tell_administrator(self, refusal: str) -> None:
        answer, self._answer_change = self._answer_change, None
        if answer is not None:
            answer(refusal)

    # --- The state machine ------------------------------------------------------------------

    def _apply(self) -> None:
        """Apply what is committed, a bounded number of commands in one go, and answer."""
        self._apply_is_due = False
        if self._stopped is not None or self._is_restoring:
            return
        room = self._limits.applied_commands_at_once
        while self.applied_index < self.server.commit_index and room > 0:
            room -= self._apply_next()
        while self._confirmed and self._confirmed[0][0] <= self.applied_index:
            now = self._clock.wall_ms()
            for read in self._confirmed.popleft()[1]:
                results = [self._machine.query(now, query) for query in read.queries]
                read.answer(Done(results, self.applied_index))
        taken = self._compaction.next_event(self.server, self.applied_index)
        if taken is not None:
            self.handle(taken)
        if self._can_apply():
            self._schedule_turn()

    def _apply_next(self) -> int:
        """Apply one entry and answer those who wait for it; about how much work that was."""
        index = Index(self.applied_index + 1)
        entry = entry_at(self.server.log, index)
        assert entry is not None, "what is committed is in the log"
        results: list[Result] = []
        match entry.payload:
            case Command() as command:
                results = self._machine.apply(*commands_in(command))
                self._compaction.applied(len(command.data))
            case NoOp() | Configuration():
                pass
            case _:
                assert_never(entry.payload)
        self.applied_index = index
        for batch in self._open.pop(index, ()):
            if batch.term == entry.term:
                self._tell_how_long(batch.writes[0])
                self._distribute(batch.writes, results, index)
            else:
                self._try_again(batch.writes)
        return len(results) + 1

    def _can_apply(self) -> bool:
        """Is something committed that is not applied, or confirmed that is not answered?"""
        if self._is_restoring:
            return False
        is_confirmed = self._confirmed and self._confirmed[0][0] <= self.applied_index
        return self.applied_index < self.server.commit_index or bool(is_confirmed)

    def _restore(self, snapshot: Snapshot) -> None:
        """What the snapshot covers was applied elsewhere: with which results is not known here."""
        covered = snapshot.last_included_index
        self._is_restoring = True
        for index in [i for i in self._open if i <= covered]:
            for batch in self._open.pop(index):
                self._fail_started(batch.writes, "this node got a snapshot instead of its result")

        def restored() -> None:
            self._is_restoring = False
            self.applied_index = covered
            self._schedule_turn()

        self._compaction.restore(snapshot.data, restored)

    def _tell_how_long(self, write: Write) -> None:
        came_at = write.deadline - self._timing.request_s
        self._probes.committed(self._clock.now() - came_at)

    def _distribute(self, writes: Sequence[Write], results: Sequence[Result], index: Index) -> None:
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
        self._read_serial += 1
        read_id = RequestId(
            client_id=ClientId(self.server.server_id), serial_number=self._read_serial
        )
        self._confirming = Confirming(read_id, list(self._reads), self._clock.now())
        self._reads.clear()
        self.handle(ReadRequest(read_id=read_id))

    def _repeat_confirming(self) -> None:
        """Messages may have been lost, or the leader may be another one now."""
        self._may_ask = True
        asked = self._confirming
        if asked is not None and self._clock.now() - asked.asked_at >= self._timing.retry_s:
            asked.asked_at = self._clock.now()
            self.handle(ReadRequest(read_id=asked.read_id))

    def _on_read_answer(self, effect: ReadReady | ReadRefused) -> None:
        asked = self._confirming
        if asked is None or asked.read_id != effect.read_id:
            return
        self._confirming = None
        match effect:
            case ReadReady(read_index=read_index):
                self._confirmed.append((read_index, asked.reads))
            case ReadRefused():
                self._reads.extendleft(reversed(asked.reads))
                self._may_ask = False  # until something has changed
            case _:
                assert_never(effect)

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
                    decoded = [decode_result(result) for result in results]
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
            case FetchSnapshot():
                self._compaction.on_fetch(source, message)
            case SnapshotPiece():
                self._compaction.on_piece(message)
            case _:
                assert_never(message)

    def _send_courier(self, to: ServerId, message: Courier) -> None:
        self._network.send(to, message)
        self._schedule_turn()

    def _answer_forward(self, to: ServerId, request_id: int, outcome: Outcome) -> None:
        answer: Courier
        match outcome:
            case Done(results=results, index=index):
                encoded = tuple(encode_result(result) for result in results)
                answer = ForwardDone(request_id=request_id, index=index, results=encoded)
            case NotDone(reason=reason):
                answer = ForwardFailed(request_id=request_id, unknown=False, reason=reason)
            case Unknown(reason=reason):
                answer = ForwardFailed(request_id=request_id, unknown=True, reason=reason)
            case _:
                assert_never(outcome)
        self._send_courier(to, answer)

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
        asked = self._confirming
        if asked is not None and all(read.deadline <= now for read in asked.reads):
            self._confirming = None
            refusal = NotDone(self.why_no_leader())
            for read in asked.reads:
                read.answer(refusal)
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
