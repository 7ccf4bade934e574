"""A node's snapshot files on a real disk: ``impl.compaction.Files``, with a thread of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from impl.disk import StorageError
from impl.storage import SnapshotReceiver, Storage

log = logging.getLogger(__name__)

T = TypeVar("T")


class SnapshotThread:
    """The node's snapshot files: what takes long is done in a thread, a piece at a time."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "snapshots")
        self._tasks: set[asyncio.Task[None]] = set()
        self.chunks = storage.snapshot_chunks
        self.read = storage.read_snapshot
        self.receive = storage.receive_snapshot

    def save(self, chunks: Iterator[bytes], done: Callable[[bytes | None], None]) -> None:
        """Each chunk is made in the loop and written in the thread."""

        async def saving() -> None:
            try:
                data: bytes | None = await self._written(chunks)
            except StorageError as error:
                log.error("no snapshot is taken: %s", error)
                data = None
            done(data)

        self._do(saving())

    async def _written(self, chunks: Iterator[bytes]) -> bytes:
        writer = await self._in_thread(self._storage.begin_snapshot)
        try:
            for chunk in chunks:
                await self._in_thread(partial(writer.write, chunk))
            return await self._in_thread(writer.finish)
        except StorageError:
            await self._in_thread(writer.abort)
            raise

    def finish(self, receiver: SnapshotReceiver, done: Callable[[bool], None]) -> None:
        """The digest of a large file takes a while."""

        async def finishing() -> None:
            try:
                await self._in_thread(receiver.finish)
            except StorageError as error:
                log.warning("a snapshot that was received is refused: %s", error)
                done(False)
            else:
                done(True)

        self._do(finishing())

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._thread, work)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Leave what is begun: nothing refers to it."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.shutdown()
