"""The memory of the visited set: exact, compact, and owned shard by shard by the workers.

A shard is a table of eight-byte words that is at most 85 percent full and grows by a quarter, one
shard at a time: 9.4 to 11.8 bytes a state, and at no time is more than one shard held twice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model_check import kernel as k

Words = npt.NDArray[np.int64]
SMALLEST = 1 << 6


class Visited:
    """The tables of all shards."""

    def __init__(self) -> None:
        """Make an empty set."""
        self.shards = np.zeros((k.SHARDS, 3), np.int64)
        self.tables: list[Words] = [np.zeros(0, np.int64)] * k.SHARDS
        for shard in range(k.SHARDS):
            self._place(shard, np.zeros(SMALLEST + k.MARGIN, np.int64))

    @property
    def address(self) -> int:
        """Where the kernel finds it."""
        return self.shards.ctypes.data

    @property
    def count(self) -> int:
        """How many keys it has."""
        return int(self.shards[:, 2].sum())

    @property
    def memory(self) -> int:
        """Bytes held."""
        return sum(table.nbytes for table in self.tables)

    def replace(self, shards: Words, tables: list[Words]) -> None:
        """Hold these shards instead."""
        self.shards[:, 2] = shards.reshape(-1, 3)[:, 2]
        for shard, table in enumerate(tables):
            self._place(shard, table)

    def grow_shard_of(self, key: int) -> None:
        """Make the shard of this key larger."""
        shard = int(k.shard_of(k.scramble(key)))
        old, size = self.tables[shard], int(self.shards[shard, 1])
        while True:
            size += size // 4 if size >= 1 << 14 else size
            grown = np.zeros(size + k.MARGIN, np.int64)
            if k.copy_shard(
                old.ctypes.data, len(old) - k.MARGIN, grown.ctypes.data, len(grown) - k.MARGIN
            ):
                break
        self._place(shard, grown)

    def _place(self, shard: int, table: Words) -> None:
        self.tables[shard] = table
        self.shards[shard, :2] = table.ctypes.data, len(table) - k.MARGIN
