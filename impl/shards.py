"""A map that can be written down while it changes.

It is kept in many small dictionaries. An image of it walks over them one by one; a shard that is
about to change before the image has reached it is copied first. So neither beginning an image nor a
change has to wait longer than one small copy takes, however large the map is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar
from zlib import crc32

SHARDS = 4096
"""With 10^6 keys about 250 keys each. Where a key is depends on nothing but its bytes."""

Value = TypeVar("Value")


class Image(Iterator[tuple[int, dict[bytes, Value]]]):
    """The shards of a map as they were when it was made, with their numbers; empty ones left out.

    A shard that it yields must be used before the map changes again.
    """

    def __init__(self, shards: list[dict[bytes, Value]]) -> None:
        self._shards = shards
        self._kept: dict[int, dict[bytes, Value]] = {}
        self._next = 0

    def keep(self, number: int) -> None:
        """Shard ``number`` is about to change."""
        if number >= self._next and number not in self._kept:
            self._kept[number] = self._shards[number].copy()

    def __next__(self) -> tuple[int, dict[bytes, Value]]:
        """The next shard that is not empty."""
        while (number := self._next) < SHARDS:
            self._next += 1
            if shard := self._kept.pop(number, self._shards[number]):
                return number, shard
        raise StopIteration


class ShardedMap(Generic[Value]):
    """A map from bytes, with one image at a time: a new one ends the protection of the last."""

    def __init__(self) -> None:
        self._shards: list[dict[bytes, Value]] = [{} for _ in range(SHARDS)]
        self._image: Image[Value] | None = None
        self._count = 0

    def __len__(self) -> int:
        """How many keys there are."""
        return self._count

    def get(self, key: bytes) -> Value | None:
        """What is at ``key``, if anything."""
        return self._shards[crc32(key) % SHARDS].get(key)

    def put(self, key: bytes, value: Value) -> None:
        """Set what is at ``key``."""
        number = crc32(key) % SHARDS
        if self._image is not None:
            self._image.keep(number)
        shard = self._shards[number]
        if key not in shard:
            self._count += 1
        shard[key] = value

    def remove(self, key: bytes) -> None:
        """Remove ``key``, which is there."""
        number = crc32(key) % SHARDS
        if self._image is not None:
            self._image.keep(number)
        del self._shards[number][key]
        self._count -= 1

    def shard(self, number: int) -> dict[bytes, Value]:
        """One shard, to be read; a key never moves to another one."""
        return self._shards[number]

    def image(self) -> Image[Value]:
        """The map as it is now, shard by shard."""
        self._image = Image(self._shards)
        return self._image

    def fill(self, number: int, shard: dict[bytes, Value]) -> None:
        """Set a whole shard, as an image gave it."""
        self._count += len(shard) - len(self._shards[number])
        self._shards[number] = shard

    def check(self) -> None:
        """Raise ``ValueError`` if a shard that was filled has keys of another one."""
        for number, shard in enumerate(self._shards):
            if any(crc32(key) % SHARDS != number for key in shard):
                raise ValueError(f"shard {number} has keys of another one")
