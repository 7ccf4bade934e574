"""Figure 2, "State": what a server knows.

Every value here is immutable, hashable and compared by content, so that the same types serve the
model checker, the tests and the server. Indices are 1-based as in the paper; index 0 and term 0
stand for "before the first entry". "Nobody" is always ``None``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NewType

from spec.entries import Entries

ServerId = NewType("ServerId", int)
Term = NewType("Term", int)
Index = NewType("Index", int)
ClientId = NewType("ClientId", int)
Round = NewType("Round", int)
NO_ROUND = Round(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestId:
    """Names one request of one client, for ever: answers and retries are told by it (§8, D6.3)."""

    client_id: ClientId
    serial_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a client asks the state machine to do: bytes that Raft never looks into."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOp:
    """The blank entry a leader commits at the start of its term (§8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The servers whose majorities elect and commit: C_old, or C_old,new while it is joint (§6).

    An entry that carries one is in force on a server from the moment it is in its log.
    """

    old: frozenset[ServerId]
    new: frozenset[ServerId] | None = None


Payload = Command | NoOp | Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One log entry: the term in which a leader created it, and what it carries (§5.3)."""

    term: Term
    payload: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What replaces all entries up to ``last_included_index``, which are committed (§7)."""

    last_included_index: Index
    last_included_term: Term
    configuration: Configuration
    """The latest configuration as of ``last_included_index``."""
    data: bytes
    """The state machine's state, or where to find it: Raft never looks into it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A replicated log. Rules read and build it only through the algebra of ``spec.log``.

    ``entries[0]`` is the entry at index 1, or the first one after the snapshot.
    """

    snapshot: Snapshot | None = None
    entries: tuple[Entry, ...] | Entries[Entry] = ()
    """A tuple, or ``Entries`` where logs are long."""


@dataclass(frozen=True, slots=True)
class IndexOf(Mapping[ServerId, Index]):
    """An immutable, hashable ``server -> index`` table: next_index[] and match_index[] of Figure 2.

    ``items_by_server`` is sorted by server, so equal tables are equal values.
    """

    items_by_server: tuple[tuple[ServerId, Index], ...]

    @classmethod
    def of(cls, indices: Mapping[ServerId, Index]) -> IndexOf:
        """The table with these indices."""
        return cls(tuple(sorted(indices.items())))

    def extend(self, servers: Iterable[ServerId], index: Index) -> IndexOf:
        """A copy in which those of ``servers`` that are not in the table have ``index``."""
        return IndexOf.of({**dict.fromkeys(servers, index), **self})

    def put(self, server_id: ServerId, index: Index) -> IndexOf:
        """A copy in which ``server_id`` has ``index``; the server must be in the table."""
        assert server_id in self, "only the servers of the table have an index"
        return IndexOf(
            tuple((i, index if i == server_id else old) for i, old in self.items_by_server)
        )

    def __getitem__(self, server_id: ServerId) -> Index:
        """The index of one server; raises ``KeyError`` for a server that is not in the table."""
        for i, index in self.items_by_server:
            if i == server_id:
                return index
        raise KeyError(server_id)

    def __iter__(self) -> Iterator[ServerId]:
        """The servers, ascending."""
        return (i for i, _ in self.items_by_server)

    def __len__(self) -> int:
        """How many servers the table has."""
        return len(self.items_by_server)


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Passive: answers requests of leaders and candidates (§5.1)."""

    leader_heard: bool = False
    """Has it heard the leader of its term since its last election timeout (§6)?"""
    pre_votes: frozenset[ServerId] = frozenset()
    """Who would vote for it in the next term, while it hears no leader (D9.6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Standing for election in ``current_term`` (§5.2)."""

    votes_granted: frozenset[ServerId]
    pre_votes: frozenset[ServerId] = frozenset()
    """Who would vote for it in the next term (D9.6)."""
    transfer: bool = False
    """Did the leader of the term before ask for this election (D3.10)?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A read-only request that waits at a leader (§8, D6.4)."""

    read_id: RequestId
    asked_by: ServerId | None
    """The follower that asks for the index and answers the client itself; ``None``: nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """Reads that wait until their leader is sure to lead still (§8, D6.4)."""

    round: Round = NO_ROUND
    """Rounds of heartbeats begun for reads in this term."""
    confirming: frozenset[Read] = frozenset()
    """The reads for which the last of them is under way; none: none is."""
    confirmed_by: frozenset[ServerId] = frozenset()
    """Who has answered it."""
    waiting: frozenset[Read] = frozenset()
    """Reads that arrived since it began: they share the next one."""


NO_READS = Reads()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Leads ``current_term``; Figure 2, "Volatile state on leaders".

    For each *other* server: ``next_index``, the next entry to send to it, and ``match_index``, the
    highest entry known to be in its log. ``match_index < next_index`` always.
    """

    next_index: IndexOf
    match_index: IndexOf
    target: frozenset[ServerId] | None = None
    """The members that were asked for, while those of them that are new catch up (§6)."""
    learners: frozenset[ServerId] = frozenset()
    """Servers that get the log without being members, for as long as this server leads (§6)."""
    reads: Reads = NO_READS
    answered: frozenset[ServerId] | None = None
    """Who has answered since the last election timeout; ``None``: nobody asks (D6.2)."""
    transferring_to: ServerId | None = None
    """Who is to lead instead; until then no commands are accepted (D3.10)."""


Role = Follower | Candidate | Leader


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server: Figure 2, "State"."""

    server_id: ServerId
    first_configuration: Configuration
    """The configuration before the first entry that there ever was."""
    configuration: Configuration
    """The configuration in force: the latest one in the log, committed or not (§6)."""
    configuration_index: Index
    """Index of the entry that carries it, or up to where the log's snapshot goes."""

    # Persistent state on all servers: on stable storage before any message that depends on it.
    current_term: Term
    """Latest term the server has seen; increases only."""
    voted_for: ServerId | None
    """Candidate that got this server's vote in ``current_term``."""
    log: Log

    # Volatile state on all servers: lost in a crash.
    commit_index: Index
    """Highest entry known to be committed. ``last_applied`` belongs to the state machine's owner,
    who applies what the effect ``CommittedUpTo`` announces; it is as volatile as that machine."""
    durable_index: Index
    """Up to here the log is known to be on stable storage: all of it, but for writing in parallel
    (D10.2.1), where ``DurableUpTo`` raises it."""
    role: Role
