"""A long immutable sequence that is cheap to lengthen, to cut and to drop the beginning of.

The rules build logs by ``+`` and slices, which a tuple has too. A tuple is what the checker and the
tests use: short, quick to hash. A server's log is long, and a step must not copy it: ``Entries``
keeps full chunks that all versions share, and a tail in which it grows. To lengthen it copies the
tail, and the list of chunks only when the tail has become one. Equal in content is equal and has
the same hash, tuples included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar, overload

T_co = TypeVar("T_co", covariant=True)
CHUNK = 128
"""Items in a chunk: the list of the chunks of a million entries is copied once in so many."""


class Entries(Sequence[T_co], Generic[T_co]):
    """An immutable sequence: the items of ``chunks`` from ``skipped`` on, then those of ``tail``.

    All chunks have ``CHUNK`` items, the tail has less, and so has ``skipped``, which is 0 where
    there are no chunks.
    """

    __slots__ = ("_chunks", "_length", "_skipped", "_tail")

    def __init__(self, items: Iterable[T_co] = ()) -> None:
        """The sequence of these items."""
        chunks, tail = _cut(tuple(items))
        self._become(chunks, tail, 0)

    def _become(
        self, chunks: tuple[tuple[T_co, ...], ...], tail: tuple[T_co, ...], skipped: int
    ) -> None:
        self._chunks = chunks
        self._tail = tail
        self._skipped = skipped
        self._length = len(chunks) * CHUNK + len(tail) - skipped

    @classmethod
    def _of(
        cls, chunks: tuple[tuple[T_co, ...], ...], tail: tuple[T_co, ...], skipped: int
    ) -> Entries[T_co]:
        made: Entries[T_co] = cls.__new__(cls)
        made._become(chunks, tail, skipped)
        return made

    def _chunk(self, number: int) -> tuple[T_co, ...]:
        return self._chunks[number] if number < len(self._chunks) else self._tail

    def __len__(self) -> int:
        """How many items there are."""
        return self._length

    @overload
    def __getitem__(self, at: int) -> T_co: ...
    @overload
    def __getitem__(self, at: slice) -> Entries[T_co]: ...
    def __getitem__(self, at: int | slice) -> T_co | Entries[T_co]:
        """One item, or those of a slice whose step is 1."""
        if isinstance(at, slice):
            start, stop, step = at.indices(self._length)
            assert step == 1, "a log is read forwards, without gaps"
            return self._between(start, stop)
        position = at + self._length if at < 0 else at
        if not 0 <= position < self._length:
            raise IndexError(f"no item {at} of {self._length}")
        chunk, place = divmod(self._skipped + position, CHUNK)
        return self._chunk(chunk)[place]

    def _between(self, start: int, stop: int) -> Entries[T_co]:
        if start >= stop:
            return self._of((), (), 0)
        first, skipped = divmod(self._skipped + start, CHUNK)
        last, end = divmod(self._skipped + stop, CHUNK)
        tail = self._chunk(last)[:end]
        if first == last:
            return self._of((), tail[skipped:], 0)
        return self._of(self._chunks[first:last], tail, skipped)

    def __add__(self, items: tuple[T_co, ...]) -> Entries[T_co]:
        """The sequence with more items after its last one."""
        tail = self._tail + items
        if len(tail) < CHUNK:
            return self._of(self._chunks, tail, self._skipped)
        chunks, tail = _cut(tail)
        return self._of(self._chunks + chunks, tail, self._skipped)

    def __iter__(self) -> Iterator[T_co]:
        """All items in order."""
        skipped = self._skipped
        for chunk in (*self._chunks, self._tail):
            yield from chunk[skipped:] if skipped else chunk
            skipped = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entries | tuple):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Entries({tuple(self)!r})"


def _cut(items: tuple[T_co, ...]) -> tuple[tuple[tuple[T_co, ...], ...], tuple[T_co, ...]]:
    """The items in chunks, and those that are left over."""
    end = len(items) - len(items) % CHUNK
    return tuple(items[at : at + CHUNK] for at in range(0, end, CHUNK)), items[end:]
