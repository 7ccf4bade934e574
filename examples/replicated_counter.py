"""``python -m examples.replicated_counter MEMBER``: an object of one's own, replicated.

Start it for the members 1, 2 and 3 in three terminals; kill and restart any of them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator, Sequence

from impl.machine import Result
from impl.replica import Replica

MEMBERS = {i: f"127.0.0.1:{7700 + i}" for i in (1, 2, 3)}


class Counter:
    """Adds what it is told."""

    def __init__(self) -> None:
        self.value = 0

    def apply(self, time_ms: int, commands: Sequence[bytes]) -> list[Result]:
        """Carry out commands, the same in the same order on every member."""
        return [self._add(int(command)) for command in commands]

    def _add(self, number: int) -> int:
        self.value += number
        return self.value

    def query(self, time_ms: int, query: object) -> Result:
        """Answer without changing anything."""
        return self.value

    def next_due(self) -> int | None:
        """Nothing here depends on time."""
        return None

    def snapshot(self) -> Iterator[bytes]:
        """All there is to know."""
        return iter([str(self.value).encode()])

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Become what a snapshot says."""
        self.value = int(b"".join(chunks))


async def main(member: int) -> None:
    """Count together with the others, once a second."""
    place = f"counter-{member}"
    async with Replica(Counter(), member=member, members=MEMBERS, data_dir=place) as counter:
        while True:
            print(await counter.write(b"1"), flush=True)
            await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
