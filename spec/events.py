"""What happens to a server (``Event``) and what it asks of its driver (``Effect``); both closed.

**The durability contract.** A driver carries out the effects of a step in their order. Before it
carries out a ``Send`` or answers a client, every ``Persist...`` effect that came earlier, in this
step or in a former one, is on stable storage ("Updated on stable storage before responding to
RPCs", Figure 2). It may gather many steps into one durable write; it may not send first. Within
one step all ``Persist...`` effects come before the first effect that depends on them. A crash
loses everything but what was persisted; ``Restart`` is the step that follows it.

With the option ``parallel_write`` (D10.2.1) a leader need not wait for its own entries: its
AppendEntries wait only for the term and the vote, and so may refusals (StaleTerm, no vote), which
promise nothing about a log; ``CommittedUpTo`` waits for nothing, since a quorum has stored what it
speaks of. Every other message still waits for every earlier ``Persist...``, a follower's
acknowledgement above all. Writes become durable in their order, and when one with entries has, the
driver says so to the server (``DurableUpTo``) before it gives it any other event: until then the
leader does not count itself. A crash loses the writes that are not durable, and leaves those before
them. ``spec.disk`` says all of this as functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from spec.messages import Message
from spec.state import (
    Command,
    Configuration,
    Entry,
    Index,
    RequestId,
    ServerId,
    Snapshot,
    Term,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receive:
    """``message`` arrived from ``source``, perhaps late, twice or out of order."""

    source: ServerId
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionTimeout:
    """No leader was heard and no vote granted for an election timeout (§5.2).

    At a leader: an election timeout has passed since it was elected or last had one (D6.2).
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatTimeout:
    """It is time for a leader to assert its authority, lest elections begin (§5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryTimeout:
    """RPCs were not answered in a timely manner: repeat them (§5.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicate:
    """There is room to send ``count`` entries from ``first_index`` on to server ``to`` (§5.3).

    Lawful from next_index on, to any length: batching, pipelining and flow control are the
    driver's. A step that only sends.
    """

    to: ServerId
    first_index: Index
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequest:
    """Clients ask this server to replicate ``commands``, in this order (§5.3)."""

    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """Clients ask this server for reads, which share ``read_id``; never one used before (D6.4).

    It may be repeated with the same id: messages to the leader may be lost.
    """

    read_id: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMembership:
    """An administrator asks this server to make ``members`` the cluster (§6)."""

    members: frozenset[ServerId]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLearners:
    """An administrator asks this server to replicate to ``learners`` too, without a vote (§6).

    Only a leader knows its learners: the next one must be asked again.
    """

    learners: frozenset[ServerId]


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableUpTo:
    """A write became durable whose last entry is at ``index``, of ``term`` (D10.2.1).

    All that was persisted before it is durable too. Only told with the option ``parallel_write``;
    it may come late, when that entry has been replaced already.
    """

    term: Term
    index: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLeadership:
    """An administrator asks this server to let server ``to`` lead (D3.10)."""

    to: ServerId


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSnapshot:
    """The state machine's owner has a snapshot of all that it applied up to an index (§7)."""

    last_included_index: Index
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """The server crashed and starts again from what it had persisted (§5.5)."""


Event = (
    Receive
    | ElectionTimeout
    | HeartbeatTimeout
    | RetryTimeout
    | Replicate
    | ClientRequest
    | ReadRequest
    | ChangeMembership
    | ChangeLearners
    | DurableUpTo
    | TransferLeadership
    | TakeSnapshot
    | Restart
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistTermAndVote:
    """Write ``current_term`` and ``voted_for``."""

    current_term: Term
    voted_for: ServerId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistEntries:
    """Drop the stored log from ``first_index`` on, then store ``entries`` from there."""

    first_index: Index
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistSnapshot:
    """Write ``snapshot``, and drop the stored entries that it covers; later ones stay (§7)."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send ``message`` to server ``to``; the network may lose it."""

    to: ServerId
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class BecameLeader:
    """The server was elected leader of ``term``."""

    term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardFromLeader:
    """``leader_id`` leads the current term: redirect clients to it (§8)."""

    leader_id: ServerId


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetElectionTimer:
    """Begin a new randomised election timeout (§5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedUpTo:
    """Entries up to and with ``commit_index`` may be applied to the state machine (§5.3)."""

    commit_index: Index
    counted_by: Configuration | None = None
    """On a leader: the configuration of which a quorum has stored them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreStateMachine:
    """Replace the state machine's state by that of ``snapshot``; it counts as applied (§7)."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequestAccepted:
    """The commands are the entries from ``first_index`` on, of ``term``.

    They are not committed yet: answer the clients when entries of *that term* at those indices
    are applied, and tell them that they failed if other entries are.
    """

    term: Term
    first_index: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequestRefused:
    """The commands were not taken; ``reason`` says why."""

    reason: str = "this server is not the leader"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReady:
    """Answer the reads from any state in which ``read_index`` is applied; wait for it (D6.4)."""

    read_id: RequestId
    read_index: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRefused:
    """The server does not know that it leads, or no more: ask again, perhaps elsewhere (D6.4)."""

    read_id: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipChangeAccepted:
    """The leader replicates to the new servers; the change begins when they have caught up.

    It is done when an entry with the configuration that was asked for is committed.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipChangeRefused:
    """The change was not begun; ``reason`` says why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStarted:
    """The leader takes no commands until server ``to`` leads, or the transfer is aborted (D3.10).

    It ends with ``SteppedDown``, when there is a newer term, or with ``TransferAborted``.
    """

    to: ServerId


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRefused:
    """The transfer was not begun; ``reason`` says why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferAborted:
    """Server ``to`` did not take over within an election timeout: commands are taken again."""

    to: ServerId


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppedDown:
    """The server leads no more; ``reason`` says why."""

    reason: str


Persist = PersistTermAndVote | PersistEntries | PersistSnapshot
Effect = (
    PersistTermAndVote
    | PersistEntries
    | PersistSnapshot
    | Send
    | BecameLeader
    | HeardFromLeader
    | ResetElectionTimer
    | CommittedUpTo
    | RestoreStateMachine
    | ClientRequestAccepted
    | ClientRequestRefused
    | ReadReady
    | ReadRefused
    | MembershipChangeAccepted
    | MembershipChangeRefused
    | TransferStarted
    | TransferRefused
    | TransferAborted
    | SteppedDown
)
Effects = tuple[Effect, ...]
