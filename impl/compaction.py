"""Snapshots of one node: when one is taken, and how another server's gets here (§7). No I/O.

The state machine is written to a file a chunk at a time, between the node's turns. A snapshot in
``spec`` is a small reference to such a file: a follower that is sent one fetches the file first, in
pieces, and goes on where it stopped; only then is the message given to Raft.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from impl.clock import Clock
from impl.disk import StorageError
from impl.machine import StateMachine
from impl.snapshots import Reference
from impl.storage import SnapshotReceiver
from impl.wire import FetchSnapshot, SnapshotPiece
from spec.events import TakeSnapshot
from spec.log import base_index, last_index
from spec.messages import InstallSnapshot
from spec.state import Index, Server, ServerId

log = logging.getLogger(__name__)


class Files(Protocol):
    """Snapshot files, by the references in ``Snapshot.data``; calls come on the node's thread."""

    def save(self, chunks: Iterator[bytes], done: Callable[[bytes | None], None]) -> None:
        """Write a file; ``done`` gets its reference once it is durable, ``None`` if it failed."""

    def chunks(self, data: bytes) -> Iterable[bytes]:
        """The chunks of a file that was verified. Raises ``StorageError``."""

    def read(self, data: bytes, offset: int, size: int) -> bytes:
        """A piece of a file; raises ``StorageError`` if there is none."""

    def receive(self, data: bytes) -> SnapshotReceiver:
        """The place for a file that another server has. Raises ``StorageError``."""

    def finish(self, receiver: SnapshotReceiver, done: Callable[[bool], None]) -> None:
        """Verify a file and make it durable; ``done`` gets whether it is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionLimits:
    """How long a log may become."""

    entries: int = 100_000
    """In the log before a snapshot is taken, and"""
    bytes: int = 64 << 20
    """how many bytes of them were applied since the last one: whichever comes first."""
    trailing_entries: int = 1_000
    """That follow a snapshot when it takes the place of what is before it, so that a server that
    is a little behind gets entries, not all of the state."""
    piece_bytes: int = 512 << 10
    pause_s: float = 5.0
    """After a snapshot that could not be written, before the next one is tried."""
    slice_s: float = 0.002
    """So long the state machine may be restored from a snapshot before others have a turn, and"""
    turn_s: float = 0.0
    """so long is theirs at least."""
    patience_s: float = 0.5
    """A piece that has not come for so long is asked for again."""


@dataclass(slots=True, eq=False)
class Fetch:
    """A file on its way here, and the message that waits for it."""

    source: ServerId
    message: InstallSnapshot
    receiver: SnapshotReceiver
    size: int
    asked_at: float
    is_finishing: bool = False


class Compaction:
    """Takes snapshots, gives others theirs, and fetches those that it is sent."""

    def __init__(
        self,
        *,
        files: Files,
        machine: StateMachine,
        clock: Clock,
        limits: CompactionLimits,
        send: Callable[[ServerId, FetchSnapshot | SnapshotPiece], object],
        install: Callable[[ServerId, InstallSnapshot], None],
    ) -> None:
        self._files = files
        self._machine = machine
        self._clock = clock
        self._limits = limits
        self._send = send
        self._install = install
        self._is_saving = False
        self._saved: tuple[Index, bytes] | None = None
        self._not_before = 0.0
        self._bytes = 0
        self._fetch: Fetch | None = None
        self._restoring: Iterator[None] | None = None

    # --- Taking -----------------------------------------------------------------------------

    def applied(self, size: int) -> None:
        """So many bytes of entries were applied."""
        self._bytes += size

    def next_event(self, server: Server, applied_index: Index) -> TakeSnapshot | None:
        """Begin a snapshot if it is time; tell of one that is there."""
        if self._saved is not None:
            index, data = self._saved
            if last_index(server.log) - index < self._limits.trailing_entries:
                return None
            self._saved = None
            return TakeSnapshot(last_included_index=index, data=data)
        entries = applied_index - base_index(server.log)
        is_due = entries >= self._limits.entries or self._bytes >= self._limits.bytes
        can_begin = not self._is_saving and self._clock.now() >= self._not_before
        if is_due and entries > 0 and can_begin:
            self._begin(applied_index)
        return None

    def _begin(self, index: Index) -> None:
        """The image is that of now, whatever is applied while it is written."""
        self._is_saving = True
        self._bytes = 0

        def done(data: bytes | None) -> None:
            self._is_saving = False
            if data is None:
                self._not_before = self._clock.now() + self._limits.pause_s
            else:
                self._saved = (index, data)
                log.info("took a snapshot", extra={"index": index})

        self._files.save(self._machine.snapshot(), done)

    def begin_export(self) -> Iterator[bytes] | None:
        """An image for others; ``None`` while there is none, or another one is being drawn."""
        if self._is_saving or self._restoring is not None:
            return None
        self._is_saving = True
        return self._machine.snapshot()

    def end_export(self) -> None:
        """No more of it will be drawn."""
        self._is_saving = False

    def restore(self, data: bytes, done: Callable[[], None]) -> None:
        """The state machine becomes that of a file that is here; a later call ends an earlier one.

        The file was verified when it was received, or when the server started.
        """
        self._bytes = 0
        steps = self._restoring = iter(self._machine.restore(self._files.chunks(data)) or ())

        def go_on() -> None:
            if self._restoring is not steps:
                return
            until = self._clock.now() + self._limits.slice_s
            for _ in steps:
                if self._clock.now() >= until:
                    self._clock.call_later(self._limits.turn_s, go_on)
                    return
            self._restoring = None
            done()

        go_on()

    # --- Giving -----------------------------------------------------------------------------

    def on_fetch(self, source: ServerId, wanted: FetchSnapshot) -> None:
        """Another server lacks a piece."""
        try:
            data = self._files.read(wanted.reference, wanted.offset, self._limits.piece_bytes)
        except StorageError:
            data = b""  # a newer one took its place
        piece = SnapshotPiece(reference=wanted.reference, offset=wanted.offset, data=data)
        self._send(source, piece)

    # --- Fetching ---------------------------------------------------------------------------

    def on_install(self, source: ServerId, message: InstallSnapshot, server: Server) -> None:
        """A leader's snapshot: its file comes first, unless nothing of it is new."""
        if message.snapshot.last_included_index <= server.commit_index:
            self._install(source, message)
            return
        fetch = self._fetch
        if fetch is not None and fetch.message.snapshot.data == message.snapshot.data:
            fetch.source, fetch.message = source, message
            if self._clock.now() - fetch.asked_at > self._limits.patience_s:
                self._ask(fetch)
            return
        self._give_up()
        try:
            size = Reference.of(message.snapshot.data).size
            receiver = self._files.receive(message.snapshot.data)
        except StorageError as error:
            log.warning("cannot receive the snapshot of n%d: %s", source, error)
            return
        self._fetch = Fetch(source, message, receiver, size, self._clock.now())
        self._go_on(self._fetch)

    def _go_on(self, fetch: Fetch) -> None:
        if fetch.receiver.offset < fetch.size:
            self._ask(fetch)
        elif not fetch.is_finishing:
            fetch.is_finishing = True
            self._files.finish(fetch.receiver, lambda is_whole: self._on_finished(fetch, is_whole))

    def _ask(self, fetch: Fetch) -> None:
        fetch.asked_at = self._clock.now()
        data, offset = fetch.message.snapshot.data, fetch.receiver.offset
        self._send(fetch.source, FetchSnapshot(reference=data, offset=offset))

    def on_piece(self, piece: SnapshotPiece) -> None:
        """A piece came; it may be an old one."""
        fetch = self._fetch
        if fetch is None or fetch.message.snapshot.data != piece.reference or fetch.is_finishing:
            return
        if not piece.data:
            self._give_up()  # the leader will send another snapshot
            return
        if piece.offset != fetch.receiver.offset:
            return
        try:
            fetch.receiver.write(piece.offset, piece.data)
        except StorageError as error:
            log.warning("cannot receive the snapshot of n%d: %s", fetch.source, error)
            self._give_up()
            return
        self._go_on(fetch)

    def _on_finished(self, fetch: Fetch, is_whole: bool) -> None:
        if self._fetch is not fetch:
            return
        self._fetch = None
        if is_whole:
            log.info("received a snapshot of n%d", fetch.source)
            self._install(fetch.source, fetch.message)

    def _give_up(self) -> None:
        if self._fetch is not None:
            self._fetch.receiver.close()
            self._fetch = None
