"""Servers that write to disk in parallel (D10.2.1), as processes of a model.

A process is a server with its disk. Its steps begin writes; that the oldest one completes is an
action, and so is a crash, which leaves the disk as it was after any number of the pending writes.

**A server that leads nobody lets its writes complete at once** (``settled``), unless it has let a
message go before. Everything it sends waits for its writes, so nobody can tell whether a write
that is pending was ever begun: a crash that loses it is a crash before the step that began it, and
messages that wait for it are messages that travel longer. ``--reduction none`` does without, and so
do servers that answer clients, for answers do not wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

from model_check.model import Outcome
from model_check.raft_bounds import ParallelWrite
from model_check.raft_servers import Action, Part, Servers
from spec import disk as disk_of_spec
from spec.cluster import facts
from spec.disk import Crash, Disk, Image, ServerOnDisk, WriteCompletes, image_of, recovered
from spec.events import DurableUpTo, Effects, Event, Restart, Send
from spec.state import Leader, Server

Result = Outcome[ServerOnDisk, Any, Any]


class DiskRules(Protocol):
    """The functions of ``spec.disk``, or a sabotage of them."""

    def write(self, disk: Disk, effects: Effects) -> tuple[Disk, Effects]:
        """Begin writes; what goes out at once."""

    def complete(self, disk: Disk) -> tuple[Disk, DurableUpTo | None, tuple[Send, ...]]:
        """Complete the oldest write; what the server is told, and what goes out now."""

    def after_crash(self, disk: Disk, survived: int) -> Image:
        """What a crash leaves."""


DISK_RULES = cast(DiskRules, disk_of_spec)


class ServersOnDisks(Part[ServerOnDisk]):
    """The servers of a cluster, each with its disk."""

    def __init__(self, servers: Servers, how: ParallelWrite, rules: DiskRules) -> None:
        """Let ``servers`` write as the ``rules`` say, within the bounds of ``how``."""
        self.servers = servers
        self.how = how
        self.rules = rules

    def initial_state(self, process: int) -> ServerOnDisk:
        """Nothing is pending."""
        server = self.servers.initial_state(process)
        return ServerOnDisk(server=server, disk=Disk(image=image_of(server)))

    def actions(self, process: int, state: ServerOnDisk) -> Sequence[Action]:
        """What the server may do, and what may happen to the disk."""
        pending = len(state.disk.pending)
        return [
            *(a for a in self.servers.actions(process, state.server) if a != Restart()),
            *([WriteCompletes()] if pending else []),
            *(Crash(survived=survived) for survived in range(pending + 1)),
        ]

    def act(self, process: int, state: ServerOnDisk, action: Action) -> Result:
        """An event of the server's own, or of its disk."""
        match action:
            case WriteCompletes():
                return self._complete(state)
            case Crash(survived=survived):
                image = self.rules.after_crash(state.disk, survived)
                disk = Disk(image=image)
                found = ServerOnDisk(server=recovered(state.server, image), disk=disk)
                server, effects = self.servers.take(found.server, Restart())
                after = ServerOnDisk(server=server, disk=disk)
                return Outcome(state=after, step=(state, Restart(), after, effects))
            case _:
                return self._step(state, action)

    def deliver(self, process: int, state: ServerOnDisk, source: int, message: Any) -> Result:
        """A message arrives; what the driver answers by itself waits for no write."""
        found = self.servers.looked_up(state.server, message)
        if found is not None:
            return Outcome(state=state, sends=found[0], facts=found[1])
        event = self.servers.event_of(state.server, source, message)
        return Outcome(state=state) if event is None else self._step(state, event)

    def _step(self, state: ServerOnDisk, event: Event) -> Result:
        server, effects = self.servers.take(state.server, event)
        disk, at_once = self.rules.write(state.disk, effects)
        after = in_any_order(ServerOnDisk(server=server, disk=disk))
        sent = [effect for effect in at_once if isinstance(effect, Send)]
        if self.how.settled and not isinstance(server.role, Leader) and not (sent and disk.pending):
            while after.disk.pending:
                after, released, _ = self._completed(after)
                sent += released
        elif len(disk.pending) > self.how.pending:
            return Outcome(state=state)  # the bound: some write must complete first
        return self._outcome(state, event, after, effects, sent)

    def _complete(self, state: ServerOnDisk) -> Result:
        after, sent, (told, effects) = self._completed(state)
        if told is None:
            return Outcome(state=after, sends=tuple((e.to, e.message) for e in sent))
        return self._outcome(state, told, after, effects, sent)

    def _outcome(
        self,
        before: ServerOnDisk,
        event: Event,
        after: ServerOnDisk,
        effects: Effects,
        sent: Sequence[Send],
    ) -> Result:
        said, done = self.servers.answers(before.server, event, after.server, effects)
        return Outcome(
            state=after,
            sends=(*((effect.to, effect.message) for effect in sent), *said),
            facts=(*facts(before.server, after.server, effects), *done),
            step=(before, event, after, effects),
        )

    def _completed(
        self, state: ServerOnDisk
    ) -> tuple[ServerOnDisk, Sequence[Send], tuple[DurableUpTo | None, Effects]]:
        """The oldest write is durable: the server hears of it, and what waited is sent."""
        disk, told, released = self.rules.complete(state.disk)
        server = state.server
        effects: Effects = ()
        if told is not None:
            server, effects = self.servers.take(server, told)
        disk, at_once = self.rules.write(disk, effects)
        sent = [*released, *(effect for effect in at_once if isinstance(effect, Send))]
        return ServerOnDisk(server=server, disk=disk), sent, (told, effects)

    # What matters no more to the server, and would not after a crash either.

    def is_obsolete(self, process: int, state: ServerOnDisk, source: int, message: Any) -> bool:
        """As ``spec.relevance`` claims."""
        possible = self._possible(state)
        return all(self.servers.is_obsolete(process, s, source, message) for s in possible)

    def representative(self, process: int, state: ServerOnDisk, source: int, message: Any) -> Any:
        """As ``spec.relevance`` claims of the lowest term that the server may be in."""
        lowest = min(self._possible(state), key=lambda server: server.current_term)
        return self.servers.representative(process, lowest, source, message)

    def is_past(self, process: int, state: ServerOnDisk, fact: Any) -> bool:
        """As ``spec.relevance`` claims."""
        return all(self.servers.is_past(process, s, fact) for s in self._possible(state))

    def _possible(self, state: ServerOnDisk) -> Sequence[Server]:
        """The server as it is, and as it may be after a crash that loses writes."""
        return [
            state.server,
            *(
                recovered(state.server, self.rules.after_crash(state.disk, survived))
                for survived in range(len(state.disk.pending))
            ),
        ]

    def within_bounds(self, state: ServerOnDisk) -> bool:
        """Only elections raise the term, only clients and elections lengthen the log."""
        return self.servers.within_bounds(state.server)

    def name_of(self, process: int) -> str:
        """S1, S2, ... as in the paper's figures."""
        return self.servers.name_of(process)


def in_any_order(state: ServerOnDisk) -> ServerOnDisk:
    """The same for all orders and numbers in which equal messages wait for a write."""
    batches = [
        replace(batch, waiting=tuple(sorted(set(batch.waiting), key=repr)))
        for batch in state.disk.pending
    ]
    return replace(state, disk=replace(state.disk, pending=tuple(batches)))
