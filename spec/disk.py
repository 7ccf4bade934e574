"""A disk that writes while the server goes on: the durability contract as functions (D10.2.1).

The contract in words stands in ``spec.events``. Here is what it is about, as a value: what is on
stable storage (``Image``), the writes on their way to it, oldest first, and what waits for each.
The checker explores every such disk; tests and simulated disks are driven by the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import assert_never

from spec.events import (
    DurableUpTo,
    Effect,
    Effects,
    Persist,
    PersistEntries,
    PersistSnapshot,
    PersistTermAndVote,
    Send,
)
from spec.log import compact, last_index, last_term, splice
from spec.messages import AppendEntries, InstallSnapshot, RequestVoteResponse, StaleTerm
from spec.raft import recover
from spec.records import replace
from spec.state import Log, Server, ServerId, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a server finds when it starts again: Figure 2, "Persistent state on all servers"."""

    current_term: Term
    voted_for: ServerId | None
    log: Log


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Writes that become durable together, and the messages that are sent when they are."""

    writes: tuple[Persist, ...]
    waiting: tuple[Send, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What is durable, and the writes that are not yet, oldest first."""

    image: Image
    pending: tuple[Batch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOnDisk:
    """A server and its disk: what it knows, and what it would know after a crash."""

    server: Server
    disk: Disk


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteCompletes:
    """The oldest write that was pending is durable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """The server crashes when the first ``survived`` of the pending writes were durable."""

    survived: int


DiskEvent = WriteCompletes | Crash
"""What happens to a disk, besides writes being begun."""


def image_of(server: Server) -> Image:
    """All that a server has to store."""
    return Image(current_term=server.current_term, voted_for=server.voted_for, log=server.log)


def stored(image: Image, write: Persist) -> Image:
    """The image after one write."""
    match write:
        case PersistTermAndVote(current_term=current_term, voted_for=voted_for):
            return replace(image, current_term=current_term, voted_for=voted_for)
        case PersistEntries(first_index=first_index, entries=entries):
            return replace(image, log=splice(image.log, first_index, entries))
        case PersistSnapshot(snapshot=snapshot):
            return replace(image, log=compact(image.log, snapshot))
        case _:
            assert_never(write)


def waits_for(effect: Effect, batch: Batch) -> bool:
    """Must this effect of a server, or of its later steps, wait until the batch is durable?

    A leader's entries go out while it writes them itself, and so do refusals, which promise
    nothing about a log; but no message before its term is stored. What a server tells its own
    driver says nothing to others.
    """
    match effect:
        case (
            Send(message=AppendEntries() | InstallSnapshot() | StaleTerm())
            | Send(message=RequestVoteResponse(vote_granted=False))
        ):
            return any(isinstance(write, PersistTermAndVote) for write in batch.writes)
        case Send():
            return True
        case _:
            return False


def write(disk: Disk, effects: Effects) -> tuple[Disk, Effects]:
    """Begin the writes among the effects of a step; also the other effects that need not wait."""
    writes = tuple(e for e in effects if isinstance(e, Persist))
    pending = [*disk.pending, *([Batch(writes=writes)] if writes else [])]
    at_once: list[Effect] = []
    for effect in effects:
        if isinstance(effect, Persist):
            continue
        places = [place for place, batch in enumerate(pending) if waits_for(effect, batch)]
        if places and isinstance(effect, Send):
            batch = pending[places[-1]]
            pending[places[-1]] = replace(batch, waiting=(*batch.waiting, effect))
        else:
            at_once.append(effect)
    return replace(disk, pending=tuple(pending)), tuple(at_once)


def complete(disk: Disk) -> tuple[Disk, DurableUpTo | None, tuple[Send, ...]]:
    """The oldest write becomes durable: what the server is told, and what is sent then."""
    oldest, *later = disk.pending
    image = reduce(stored, oldest.writes, disk.image)
    told = durable_up_to(image.log) if is_about_the_log(oldest.writes) else None
    return Disk(image=image, pending=tuple(later)), told, oldest.waiting


def after_crash(disk: Disk, survived: int) -> Image:
    """What a crash leaves when the first ``survived`` pending writes had become durable."""
    writes = [write for batch in disk.pending[:survived] for write in batch.writes]
    return reduce(stored, writes, disk.image)


def is_about_the_log(effects: Sequence[Effect | Persist]) -> bool:
    """Is the log written?"""
    return any(isinstance(effect, PersistEntries | PersistSnapshot) for effect in effects)


def durable_up_to(log: Log) -> DurableUpTo:
    """What a server is told when its log is durable as it is here."""
    return DurableUpTo(term=last_term(log), index=last_index(log))


def recovered(server: Server, image: Image) -> Server:
    """The server as it starts again from an image."""
    return recover(
        server_id=server.server_id,
        configuration=server.first_configuration,
        current_term=image.current_term,
        voted_for=image.voted_for,
        log=image.log,
    )
