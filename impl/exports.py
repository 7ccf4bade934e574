"""Snapshots that are being fetched through the clients' port, piece by piece.

Each is a file without a name beside the node's own snapshots: its state machine as it was at one
moment, whatever is applied, or compacted, while it is written and read. The system removes it when
it is closed, or when the process ends in whatever way.
"""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Protocol

from impl.disk import StorageError, disk_errors
from impl.saved_snapshots import About
from impl.snapshots import Chunked
from impl.status import version
from spec.state import ServerId, Snapshot

MAX_OPEN = 2
"""Of more, the one that was not read for the longest time is closed."""
IDLE_S = 60.0
"""One that is not read so long is closed."""
PIECE_BYTES = 512 << 10
POLL_S = 0.01


class ExportingNode(Protocol):
    """What is needed of a node."""

    def begin_export(self) -> tuple[Snapshot, Iterator[bytes]] | None:
        """The state as it is now; ``None`` while another image of it is being written."""

    def end_export(self) -> None:
        """All chunks of the image were drawn, or no more of them will be."""


@dataclass(slots=True)
class _Export:
    file: IO[bytes]
    used_at: float


def describe(
    snapshot: Snapshot, *, cluster: str, member: ServerId, keys: int, written: Chunked
) -> About:
    """What a file says of itself."""
    configuration = snapshot.configuration
    reference = written.reference
    return About(
        cluster=cluster,
        member=member,
        index=snapshot.last_included_index,
        term=snapshot.last_included_term,
        members=sorted(configuration.old),
        joining=None if configuration.new is None else sorted(configuration.new),
        keys=keys,
        saved_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        version=version(),
        size=reference.size,
        sha256=reference.digest.hex(),
    )


class Exports:
    """Those of one node; all calls come from its loop."""

    def __init__(
        self,
        *,
        node: ExportingNode,
        directory: Path,
        cluster: str,
        member: ServerId,
        count_keys: Callable[[], int],
    ) -> None:
        self._node = node
        self._directory = directory
        self._cluster = cluster
        self._member = member
        self._count_keys = count_keys
        self._open: dict[str, _Export] = {}

    async def take(self) -> About:
        """Write the state as it is now to a file; raises ``StorageError``.

        Each chunk is made in the loop and written in a thread.
        """
        while (image := self._node.begin_export()) is None:
            await asyncio.sleep(POLL_S)
        snapshot, chunks = image
        keys = self._count_keys()
        try:
            if snapshot.last_included_index == 0:
                raise StorageError("there is nothing to save yet: nothing was committed")
            with disk_errors(self._directory):
                file: IO[bytes] = TemporaryFile(dir=self._directory)  # noqa: SIM115 (kept open)
            try:
                written = Chunked(self._directory, file)
                for chunk in chunks:
                    await asyncio.to_thread(written.write, chunk)
                with disk_errors(self._directory):
                    file.flush()
            except BaseException:
                file.close()
                raise
        finally:
            self._node.end_export()
        about = describe(
            snapshot, cluster=self._cluster, member=self._member, keys=keys, written=written
        )
        self._keep(about.sha256, file)
        return about

    def _keep(self, sha256: str, file: IO[bytes]) -> None:
        self._close(sha256)
        while len(self._open) >= MAX_OPEN:
            self._close(min(self._open, key=lambda name: self._open[name].used_at))
        self._open[sha256] = _Export(file, asyncio.get_running_loop().time())

    def read(self, sha256: str, offset: int) -> bytes | None:
        """A piece, empty at the end; ``None`` if there is no such file, or not any more."""
        export = self._open.get(sha256)
        if export is None:
            return None
        export.used_at = asyncio.get_running_loop().time()
        with disk_errors(self._directory):
            return os.pread(export.file.fileno(), PIECE_BYTES, offset)

    def close_idle(self) -> None:
        """Close those that nobody reads any more."""
        before = asyncio.get_running_loop().time() - IDLE_S
        for sha256 in [name for name, export in self._open.items() if export.used_at < before]:
            self._close(sha256)

    def close(self) -> None:
        """Close all."""
        for sha256 in list(self._open):
            self._close(sha256)

    def _close(self, sha256: str) -> None:
        export = self._open.pop(sha256, None)
        if export is not None:
            export.file.close()
