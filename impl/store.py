"""The key-value store: a ``StateMachine`` with Redis' strings, revisions, events and sessions.

A command is MessagePack, ``[name, arguments...]``, made by ``impl/resp.py``; a query is the same as
a tuple. Whatever depends on time uses the time in the log: a key has expired when a committed batch
says so, on every node at the same place among the other commands, and queries never look at a clock
to see whether a key is there. The node that leads therefore tells the time (an empty batch) when
``next_due`` has come.

Every command that changes something has a *revision*, one more than the last one. A key's revision
is that of its last change: WATCH compares them. The last changes are kept as events, in order, so
that a watcher can go on where it was, on any node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, takewhile
from typing import TypeAlias

import msgspec
from sortedcontainers import SortedList

from impl.globs import matches
from impl.machine import Failure, Result, StateMachine, decode_result, encode_result
from impl.sessions import Packed, Sessions
from impl.shards import SHARDS, ShardedMap

__all__ = ["Failure", "KeyValueStore", "Result", "StateMachine", "decode_result", "encode_result"]

FORMAT = 1
MAX_VALUE_BYTES = 8 << 20
"""A value cannot grow beyond it."""
MAX_EVENTS = 10_000
MAX_EVENT_BYTES = 16 << 20
"""How many of the last changes are kept, and how many bytes of keys and values."""
MAX_CHANGES = 1000
"""How many events one query returns at most."""
ALL = 1 << 62
"""As the number in a position: behind all events of the revision."""
MAX_SCAN = 10_000
"""How many keys one SCAN returns at most, about."""
EXPIRED_PER_BATCH = 200
"""How many keys are removed in one go when their time has come; the others wait, unseen."""

NOT_AN_INTEGER = Failure("ERR", "value is not an integer or out of range")
OVERFLOW = Failure("ERR", "increment or decrement would overflow")
TOO_LONG = Failure("ERR", "string exceeds maximum allowed size (proto-max-bulk-len)")
UNKNOWN = Failure("ERR", "this command is not understood by this version")

_NOT_STATE = frozenset({"_reads", "_writes", "_all", "on_change"})
_CHUNK_BYTES = 1 << 16
_MIN, _MAX = -(1 << 63), (1 << 63) - 1


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is at a key.

    Of millions of these no cycle can be made: the collector need not walk over them.
    """

    value: bytes
    revision: int
    expires_at: int
    """In milliseconds; 0 if it does not expire."""


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A change: ``value`` is None when the key was removed."""

    revision: int
    number: int
    """Which one of those of its revision, from 0 on."""
    key: bytes
    value: bytes | None


Position: TypeAlias = tuple[int, int]
"""(revision, number) of an event."""
Operation: TypeAlias = Callable[..., Result]
Shards: TypeAlias = list[tuple[int, dict[bytes, Record]]]
Due: TypeAlias = tuple[int, bytes]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list).decode
_decode_shards = msgspec.msgpack.Decoder(Shards).decode
_decode_events = msgspec.msgpack.Decoder(list[Event]).decode


class _Head(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The first chunk of a snapshot; the chunks of events and of shards follow."""

    format: int
    time_ms: int
    revision: int
    dropped: Position
    opened: int
    sessions: list[Packed]
    event_chunks: int


def integer(value: bytes) -> int | None:
    """The 64-bit number that ``value`` is the plain decimal form of, if it is."""
    if len(value) > 20:
        return None
    try:
        number = int(value)
    except ValueError:
        return None
    return number if b"%d" % number == value and _MIN <= number <= _MAX else None


class KeyValueStore:
    """See the module. The names of the operations are those of Redis, in small letters."""

    def __init__(self) -> None:
        self._reads: dict[str, Operation] = {
            "get": self._get,
            "mget": self._mget,
            "exists": self._exists,
            "strlen": self._strlen,
            "type": self._type,
            "pttl": self._pttl,
            "ttl": self._ttl,
            "dbsize": self._dbsize,
            "scan": self._scan,
            "echo": lambda value: value,
            "fail": Failure,
            "revision": lambda: self.revision,
            "revisions": self._revisions,
            "changes": self._changes,
            "exec": self._exec_reads,
        }
        self._writes: dict[str, Operation] = {
            "set": self._set,
            "set_with": self._set_with,
            "del": self._del,
            "getdel": self._getdel,
            "incr": self._incr,
            "append": self._append,
            "mset": self._mset,
            "msetnx": self._msetnx,
            "expire": self._expire,
            "persist": self._persist,
            "exec": self._exec,
            "session_open": self._session_open,
            "session_call": self._session_call,
        }
        self._all = self._reads | self._writes
        self.on_change: Callable[[], None] = lambda: None
        """Is called when a batch has changed something, or all was restored."""
        self._clear()

    def _clear(self) -> None:
        self._records: ShardedMap[Record] = ShardedMap()
        self._due: SortedList[Due] = SortedList()
        self._events: deque[Event] = deque()
        self._event_bytes = 0
        self._dropped: Position = (0, 0)
        """The last event that is not kept any more."""
        self._sessions = Sessions()
        self._time_ms = 0
        self._clock_ms = 0
        self.revision = 0
        """Of the last change."""
        self._command_revision = 1
        """Of the next change: all that one command changes has one revision."""
        self._number = 0
        """Of the next event of that revision."""

    # --- The state machine ----------------------------------------------------------------------

    def apply(self, time_ms: int, commands: Sequence[bytes]) -> list[Result]:
        """See ``StateMachine``."""
        before = self.revision
        if time_ms > self._time_ms:
            self._time_ms = time_ms
        self._clock_ms = self._time_ms
        if self._due and self._due[0][0] <= self._time_ms:
            self._remove_expired()
        results = []
        operations = self._all
        for command in commands:
            self._command_revision = self.revision + 1
            self._number = 0
            try:
                name, *arguments = _decode(command)
                result = operations[name](*arguments)
            except (msgspec.DecodeError, LookupError, TypeError, ValueError):
                result = UNKNOWN  # made by another version; the same on every node of this one
            results.append(result)
        if self.revision != before:
            self.on_change()
        return results

    def query(self, time_ms: int, query: object) -> Result:
        """See ``StateMachine``; ``query`` is a tuple, its first member one of ``_reads``."""
        assert isinstance(query, tuple)
        self._clock_ms = time_ms
        name, *arguments = query
        return self._reads[name](*arguments)

    def next_due(self) -> int | None:
        """When the next key expires."""
        return self._due[0][0] if self._due else None

    def snapshot(self) -> Iterator[bytes]:
        """See ``StateMachine``."""
        events = list(self._events)
        opened, sessions = self._sessions.pack()
        head = _Head(
            format=FORMAT,
            time_ms=self._time_ms,
            revision=self.revision,
            dropped=self._dropped,
            opened=opened,
            sessions=sessions,
            event_chunks=-(-len(events) // 100),
        )
        return _chunks(head, events, self._records.image())

    def restore(self, chunks: Iterable[bytes]) -> Iterator[None]:
        """See ``StateMachine``; raises ``msgspec.DecodeError`` if the chunks are no snapshot."""
        new = KeyValueStore()
        yield from new._fill(chunks)
        former = self._records
        for name, value in vars(new).items():
            if name not in _NOT_STATE:
                setattr(self, name, value)
        self.on_change()
        for number in range(SHARDS):  # to free millions of keys at once would take long
            former.fill(number, {})
            if number % 64 == 0:
                yield

    def _fill(self, chunks: Iterable[bytes]) -> Iterator[None]:
        """An empty store becomes what the chunks describe, one after the other."""
        rest = iter(chunks)
        head = msgspec.msgpack.decode(next(rest, b""), type=_Head)
        if head.format != FORMAT:
            raise msgspec.DecodeError(f"the snapshot has format {head.format}, not {FORMAT}")
        self._time_ms = head.time_ms
        self.revision = head.revision
        self._dropped = head.dropped
        self._sessions.unpack(head.opened, head.sessions)
        for chunk in islice(rest, head.event_chunks):
            events = _decode_events(chunk)
            self._events.extend(events)
            self._event_bytes += sum(len(e.key) + len(e.value or b"") for e in events)
            yield
        for chunk in rest:
            for number, shard in _decode_shards(chunk):
                self._records.fill(number, shard)
                due = ((r.expires_at, key) for key, r in shard.items() if r.expires_at)
                self._due.update(due)
            yield

    def check(self) -> None:
        """Raise ``ValueError`` if what was restored is nothing that ``snapshot`` makes."""
        self._records.check()

    # --- Changes --------------------------------------------------------------------------------

    def _live(self, key: bytes) -> Record | None:
        """What is at ``key`` for a reader: nothing, if its time has come."""
        record = self._records.get(key)
        if record is not None and 0 < record.expires_at <= self._time_ms:
            return None
        return record

    def _put(self, key: bytes, value: bytes, expires_at: int = 0) -> None:
        """Set a key; every change but a removal ends here."""
        if self._due and (old := self._records.get(key)) is not None and old.expires_at:
            self._due.discard((old.expires_at, key))
        if expires_at:
            self._due.add((expires_at, key))
        revision = self.revision = self._command_revision
        self._records.put(key, Record(value, revision, expires_at))
        self._note(key, value, len(key) + len(value))

    def _remove(self, key: bytes, record: Record) -> None:
        if record.expires_at:
            self._due.discard((record.expires_at, key))
        self.revision = self._command_revision
        self._records.remove(key)
        self._note(key, None, len(key))

    def _remove_expired(self) -> None:
        """One revision for all keys whose time has come, oldest first; some of them, if many."""
        self._command_revision, self._number = self.revision + 1, 0
        due = self._due.irange(maximum=(self._time_ms + 1, b""), inclusive=(True, False))
        for _, key in list(islice(due, EXPIRED_PER_BATCH)):
            record = self._records.get(key)
            assert record is not None, "what is due is there"
            self._remove(key, record)

    def _note(self, key: bytes, value: bytes | None, size: int) -> None:
        """Keep an event, and no more of them than there is room for."""
        events = self._events
        events.append(Event(self.revision, self._number, key, value))
        self._number += 1
        self._event_bytes += size
        while len(events) > MAX_EVENTS or self._event_bytes > MAX_EVENT_BYTES:
            dropped = events.popleft()
            self._event_bytes -= len(dropped.key) + len(dropped.value or b"")
            self._dropped = dropped.revision, dropped.number

    def events_after(self, position: Position) -> list[Event] | None:
        """The changes after an event, in order; None if they are not all kept any more."""
        if position < self._dropped:
            return None
        newest_first = reversed(self._events)
        found = list(takewhile(lambda e: (e.revision, e.number) > position, newest_first))
        return found[::-1]

    def _changes(self, prefix: bytes, position: Position | None, count: int) -> Result:
        """The first changes after ``position`` of keys that begin with ``prefix``.

        [the position from which to go on, the changes, each [revision, number, key, value]].
        ``None`` stands for now, revision 0 for the oldest change that is kept. The failure TRIMMED,
        if some of the changes are not kept any more.
        """
        if position is None:
            return [[self.revision, ALL], []]
        events = self.events_after(position if position[0] else self._dropped)
        if events is None:
            oldest = "-".join(map(str, self._dropped))
            text = f"only changes after {oldest} are kept: read the keys again, then go on from now"
            return Failure("TRIMMED", text)
        theirs = (e for e in events if e.key.startswith(prefix))
        found = list(islice(theirs, min(count, MAX_CHANGES)))
        end = (found[-1].revision, found[-1].number) if found else position
        return [list(end), [[e.revision, e.number, e.key, e.value] for e in found]]

    # --- Operations that write ------------------------------------------------------------------

    def _set(self, key: bytes, value: bytes) -> Result:
        self._put(key, value)
        return "OK"

    def _set_with(
        self,
        key: bytes,
        value: bytes,
        condition: str,
        returns_old: bool,
        expiry: tuple[str, int],
    ) -> Result:
        """SET with options: condition "", "NX" or "XX"; expiry ("none" | "keep" | "in" | "at")."""
        old = self._live(key)
        before = None if old is None else old.value
        if condition and (old is None) != (condition == "NX"):
            return before if returns_old else None
        kind, milliseconds = expiry
        if kind == "keep":
            expires_at = 0 if old is None else old.expires_at
        else:
            expires_at = milliseconds + (self._time_ms if kind == "in" else 0)
        if kind == "at" and expires_at <= self._time_ms:
            if old is not None:
                self._remove(key, old)
        else:
            self._put(key, value, expires_at)
        return before if returns_old else "OK"

    def _del(self, *keys: bytes) -> Result:
        return sum(self._getdel(key) is not None for key in keys)

    def _getdel(self, key: bytes) -> Result:
        record = self._live(key)
        if record is None:
            return None
        self._remove(key, record)
        return record.value

    def _incr(self, key: bytes, by: int) -> Result:
        record = self._live(key)
        number = 0 if record is None else integer(record.value)
        if number is None:
            return NOT_AN_INTEGER
        number += by
        if not _MIN <= number <= _MAX:
            return OVERFLOW
        self._put(key, b"%d" % number, 0 if record is None else record.expires_at)
        return number

    def _append(self, key: bytes, data: bytes) -> Result:
        record = self._live(key)
        value = data if record is None else record.value + data
        if len(value) > MAX_VALUE_BYTES:
            return TOO_LONG
        self._put(key, value, 0 if record is None else record.expires_at)
        return len(value)

    def _mset(self, *keys_and_values: bytes) -> Result:
        for key, value in zip(keys_and_values[::2], keys_and_values[1::2], strict=True):
            self._put(key, value)
        return "OK"

    def _msetnx(self, *keys_and_values: bytes) -> Result:
        if self._exists(*keys_and_values[::2]):
            return 0
        self._mset(*keys_and_values)
        return 1

    def _expire(self, key: bytes, kind: str, milliseconds: int, condition: str) -> Result:
        """EXPIRE and its kin: kind "in" or "at"; condition NX, XX, GT, LT, "XX LT" or empty."""
        record = self._live(key)
        if record is None:
            return 0
        expires_at = milliseconds + (self._time_ms if kind == "in" else 0)
        old = record.expires_at
        is_met = {
            "": True,
            "NX": old == 0,
            "XX": old != 0,
            "GT": old != 0 and expires_at > old,
            "LT": old == 0 or expires_at < old,
            "XX LT": old != 0 and expires_at < old,
        }[condition]
        if not is_met:
            return 0
        if expires_at <= self._time_ms:
            self._remove(key, record)
        else:
            self._put(key, record.value, expires_at)
        return 1

    def _persist(self, key: bytes) -> Result:
        record = self._live(key)
        if record is None or not record.expires_at:
            return 0
        self._put(key, record.value)
        return 1

    def _exec(self, watched: list[tuple[bytes, int]], operations: list[list[object]]) -> Result:
        """Carry out all operations, or none (None) if a watched key has another revision."""
        if self._revisions(*(key for key, _ in watched)) != [revision for _, revision in watched]:
            return None
        return [self._all[str(name)](*arguments) for name, *arguments in operations]

    def _exec_reads(self, watched: list[tuple[bytes, int]], reads: list[list[object]]) -> Result:
        if self._revisions(*(key for key, _ in watched)) != [revision for _, revision in watched]:
            return None
        return [self._reads[str(name)](*arguments) for name, *arguments in reads]

    def _session_open(self) -> Result:
        return self._sessions.open(self._time_ms)

    def _session_call(
        self, client_id: int, serial: int, oldest: int, operation: list[object]
    ) -> Result:
        name, *arguments = operation
        return self._sessions.call(
            self._time_ms, client_id, serial, oldest, lambda: self._all[str(name)](*arguments)
        )

    # --- Operations that read -------------------------------------------------------------------

    def _get(self, key: bytes) -> Result:
        record = self._live(key)
        return None if record is None else record.value

    def _mget(self, *keys: bytes) -> Result:
        return [self._get(key) for key in keys]

    def _exists(self, *keys: bytes) -> Result:
        return sum(self._live(key) is not None for key in keys)

    def _strlen(self, key: bytes) -> Result:
        record = self._live(key)
        return 0 if record is None else len(record.value)

    def _type(self, key: bytes) -> Result:
        return "none" if self._live(key) is None else "string"

    def _pttl(self, key: bytes) -> Result:
        """How long a key will be there: the only answer that depends on a clock besides the log."""
        record = self._live(key)
        if record is None:
            return -2
        now = max(self._clock_ms, self._time_ms)
        return max(0, record.expires_at - now) if record.expires_at else -1

    def _ttl(self, key: bytes) -> Result:
        left = self._pttl(key)
        assert isinstance(left, int)
        return left if left < 0 else (left + 500) // 1000

    def _dbsize(self) -> Result:
        return len(self._records)

    def _revisions(self, *keys: bytes) -> Result:
        """The revision of each key's last change; 0 where nothing is."""
        return [0 if (record := self._live(key)) is None else record.revision for key in keys]

    def _scan(self, cursor: int, pattern: bytes | None, count: int) -> Result:
        """Keys of whole shards, at least ``count`` if there are, and the cursor to go on with."""
        found: list[Result] = []
        seen = 0
        while cursor < SHARDS and seen < min(count, MAX_SCAN):
            shard = self._records.shard(cursor)
            cursor += 1
            seen += len(shard)
            found += (
                key
                for key in shard
                if self._live(key) is not None and (pattern is None or matches(pattern, key))
            )
        return [b"0" if cursor >= SHARDS else b"%d" % cursor, found]


def _chunks(
    head: _Head, events: list[Event], shards: Iterator[tuple[int, dict[bytes, Record]]]
) -> Iterator[bytes]:
    """A snapshot, a piece at a time."""
    yield _encode(head)
    for start in range(0, len(events), 100):
        yield _encode(events[start : start + 100])
    # A shard is encoded before the next one is asked for: the map may change after a yield.
    encoded: list[msgspec.Raw] = []
    size = 0
    for shard in shards:
        encoded.append(msgspec.Raw(_encode(shard)))
        size += len(encoded[-1])
        if size > _CHUNK_BYTES:
            yield _encode(encoded)
            encoded, size = [], 0
    if encoded:
        yield _encode(encoded)
