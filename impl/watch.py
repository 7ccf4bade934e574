"""Watching changes: ``XREAD`` on the streams ``watch:PREFIX``, and who is to be woken by what.

The changes of all keys that begin with PREFIX are a stream as Redis has them: entries with the
position ``revision-number``, read from a position on, waiting for more with BLOCK. Of all ways that
RESP has to follow changes it is the one that every client library and ``redis-cli`` know, and that
gives back-pressure: nobody is sent what he has not asked for. It is resumed by the position alone,
on any node, after any failure: in order, without a gap, without a duplicate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

from impl.machine import Failure, Result
from impl.operations import SYNTAX, Operation, Refused, number
from impl.store import ALL, MAX_CHANGES, KeyValueStore, Position, integer

STREAM = b"watch:"
_ONLY_STREAMS = Failure("ERR", "only streams can be read, which are named watch:PREFIX")
_INVALID_ID = Failure("ERR", "Invalid stream ID specified as stream command argument")

Change: TypeAlias = tuple[int, int, bytes, bytes | None]


@dataclass(slots=True)
class Cursor:
    """How far a reader is with a stream; ``None`` until it is known what "now" is."""

    stream: bytes
    position: Position | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What an XREAD asks."""

    cursors: list[Cursor]
    count: int
    block_ms: int | None
    """How long to wait for a change, 0 for ever; None not to wait."""

    @property
    def operations(self) -> list[Operation]:
        """What ``KeyValueStore`` is asked, one for each stream."""
        return [("changes", prefix_of(c.stream), c.position, self.count) for c in self.cursors]


def prefix_of(stream: bytes) -> bytes:
    """Of the keys whose changes are the stream."""
    return stream.removeprefix(STREAM)


def parse(words: list[bytes]) -> Asked:
    """``XREAD [COUNT n] [BLOCK ms] STREAMS watch:PREFIX ... position ...``; raises ``Refused``.

    A position is ``revision-number``; a revision alone stands behind all changes of it, ``$`` for
    now, and 0 before the oldest change that is kept.
    """
    count, block_ms = MAX_CHANGES, None
    at = 1
    while at + 1 < len(words) and (option := words[at].upper()) in (b"COUNT", b"BLOCK"):
        value = number(words[at + 1])
        if option == b"COUNT" and value > 0:
            count = value
        elif option == b"BLOCK":
            if value < 0:
                raise Refused(Failure("ERR", "timeout is negative"))
            block_ms = value
        at += 2
    if at >= len(words) or words[at].upper() != b"STREAMS":
        raise Refused(SYNTAX)
    rest = words[at + 1 :]
    if not rest or len(rest) % 2:
        text = "for each stream key an ID or '$' must be specified."
        raise Refused(Failure("ERR", f"Unbalanced 'xread' list of streams: {text}"))
    half = len(rest) // 2
    if not all(stream.startswith(STREAM) for stream in rest[:half]):
        raise Refused(_ONLY_STREAMS)
    cursors = [Cursor(s, _position(p)) for s, p in zip(rest[:half], rest[half:], strict=True)]
    return Asked(cursors, count, block_ms)


def _position(word: bytes) -> Position | None:
    if word == b"$":
        return None
    revision, dash, rank = word.partition(b"-")
    first, second = integer(revision), integer(rank) if dash else ALL
    if first is None or second is None or first < 0 or second < 0:
        raise Refused(_INVALID_ID)
    return first, second


def found(asked: Asked, results: list[Result]) -> dict[bytes, list[object]] | Failure:
    """The changes by stream, as XREAD gives them; the cursors move behind them."""
    by_stream: dict[bytes, list[object]] = {}
    for cursor, result in zip(asked.cursors, results, strict=True):
        if isinstance(result, Failure):
            return result
        (revision, rank), changes = cast(tuple[Position, list[Change]], result)
        cursor.position = revision, rank
        if changes:
            by_stream[cursor.stream] = [_entry(*change) for change in changes]
    return by_stream


def _entry(revision: int, rank: int, key: bytes, value: bytes | None) -> list[object]:
    fields: list[object] = [b"op", b"del", b"key", key]
    if value is not None:
        fields = [b"op", b"set", b"key", key, b"value", value]
    return [b"%d-%d" % (revision, rank), fields]


class Watchers:
    """Who waits for changes of which keys; a change costs nothing for those who wait for others."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        self._seen = store.revision
        self._waiting: dict[bytes, set[Callable[[], None]]] = {}
        store.on_change = self.notify

    def add(self, prefixes: list[bytes], wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` at the next change of a key that begins with one of ``prefixes``, once.

        Returns what takes that back. ``wake`` is called while a batch is applied.
        """

        def cancel() -> None:
            for prefix in prefixes:
                waiting = self._waiting.get(prefix, set())
                waiting.discard(once)
                if not waiting:
                    self._waiting.pop(prefix, None)

        def once() -> None:
            cancel()
            wake()

        for prefix in prefixes:
            self._waiting.setdefault(prefix, set()).add(once)
        return cancel

    def notify(self) -> None:
        """Wake those for whom something has changed since the last call."""
        seen, self._seen = self._seen, self._store.revision
        if not self._waiting or seen == self._seen:
            return
        events = self._store.events_after((seen, ALL))
        woken = (
            set().union(*self._waiting.values())
            if events is None
            else {
                once
                for length in {len(prefix) for prefix in self._waiting}
                for prefix in {event.key[:length] for event in events}
                for once in self._waiting.get(prefix, ())
            }
        )
        for once in woken:
            once()
