"""Random histories of servers whose disks are late: any write may be lost in a crash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from spec.cluster import facts
from spec.disk import Disk, ServerOnDisk, after_crash, complete, image_of, recovered, write
from spec.events import Effects, Event, Receive, Restart
from spec.invariants import PROPERTIES, WITNESSES
from spec.raft import PAPER, SERVER, Options
from spec.state import ServerId
from tests.cluster import KINDS, S1, S2, SHAPES, ClaimBroken, Cluster, Packet, Shape
from tests.test_stateful import ANYONE, RANDOM, REPEATABLE, ClusterMachine, once_begun

PARALLEL = replace(PAPER, parallel_write=True)
Write = Callable[[Disk, Effects], tuple[Disk, Effects]]
OF_DISKS = [c for c in PROPERTIES + WITNESSES if ServerOnDisk in KINDS[c.name]]


class ClusterOnDisks(Cluster):
    """A cluster in which nothing is durable before ``completes`` says so."""

    def __init__(self, size: int, options: Options, write: Write = write) -> None:
        super().__init__(size, options)
        self.disks = {i: Disk(image=image_of(server)) for i, server in self.servers.items()}
        self.write = write

    def take_step(self, server_id: ServerId, event: Event) -> Effects:
        """Let ``event`` happen; what must wait for the disk is sent later."""
        if isinstance(event, Restart):
            return self.crash(server_id, 0)
        before = self.servers[server_id]
        after, effects = self.step(self.options, before, event)
        if isinstance(event, Receive):
            arrived = Packet(source=event.source, to=server_id, message=event.message)
            self.in_flight.pop(arrived, None)
        self.servers[server_id] = after
        self.disks[server_id], at_once = self.write(self.disks[server_id], effects)
        self.post(server_id, at_once)
        self.history |= dict.fromkeys(facts(before, after, effects))
        self.judge_step(before, event, after, effects)
        if self.options.streaming and after != before:
            self.stream(server_id)
        return effects

    def judge_step(self, *step: Any) -> None:
        """Hold the claims about steps of servers against this one."""
        for claim in PROPERTIES + WITNESSES:
            if SHAPES[claim.name] is Shape.STEP and claim.in_force(self.options):
                self.judge(claim, *step)

    def completes(self, server_id: ServerId) -> None:
        """The oldest pending write of a server becomes durable."""
        if self.disks[server_id].pending:
            self.disks[server_id], told, released = complete(self.disks[server_id])
            self.post(server_id, released)
            if told is not None:
                self.take_step(server_id, told)

    def crash(self, server_id: ServerId, survived: int) -> Effects:
        """A server starts again from what a crash has left."""
        image = after_crash(self.disks[server_id], survived)
        self.disks[server_id] = Disk(image=image)
        before = recovered(self.servers[server_id], image)
        after, effects = self.step(self.options, before, Restart())
        self.servers[server_id] = after
        self.judge_step(before, Restart(), after, effects)
        return effects

    def check_disks(self) -> None:
        """Hold the claims about servers and their disks against the present."""
        for claim in OF_DISKS:
            if KINDS[claim.name] == (ServerOnDisk,):
                for i, server in self.servers.items():
                    self.judge(claim, ServerOnDisk(server=server, disk=self.disks[i]))


class DiskMachine(ClusterMachine):
    """A cluster to which anything may happen, and to its disks too."""

    cluster: ClusterOnDisks

    def happen(self, server_id: ServerId, event: Event, heard_by: set[ServerId]) -> None:
        """The event, and then all that those who hear of it say; their disks are fast."""
        super().happen(server_id, event, heard_by)
        busy = True
        while heard_by and busy:
            busy = False
            for i in sorted({server_id, *heard_by}):
                while self.cluster.disks[i].pending:
                    self.cluster.completes(i)
                    busy = True
            self.cluster.exchange(server_id, *sorted(heard_by))

    @rule(server_id=ANYONE)
    def completes(self, server_id: ServerId) -> None:
        """A write becomes durable."""
        self.cluster.completes(server_id)

    @once_begun
    @rule(server_id=ANYONE, survived=st.integers(0, 3))
    def crash(self, server_id: ServerId, survived: int) -> None:
        """A crash loses all but some first writes."""
        self.cluster.crash(server_id, survived)

    @invariant()
    def disks(self) -> None:
        """The claims about disks."""
        self.cluster.check_disks()


def machine(size: int, options: Options, write: Write = write) -> type[DiskMachine]:
    """The machine for clusters of this kind."""

    class Machine(DiskMachine):
        new_cluster = staticmethod(partial(ClusterOnDisks, size, options, write))

    return Machine


@pytest.mark.parametrize("options", [PARALLEL, SERVER], ids=["paper", "server"])
@pytest.mark.parametrize("size", [2, 3])
def test_claims_hold_whatever_is_lost(size: int, options: Options) -> None:
    run_state_machine_as_test(machine(size, options), settings=RANDOM)


def test_disks_are_late_and_servers_lead_nonetheless() -> None:
    clusters: list[ClusterOnDisks] = []

    class Watched(DiskMachine):
        def new_cluster(self) -> Cluster:
            clusters.append(ClusterOnDisks(2, PARALLEL))
            return clusters[-1]

    run_state_machine_as_test(Watched, settings=REPEATABLE)
    applied = {name for cluster in clusters for name in +cluster.applied}
    assert {"disk_follows_server", "durable_index_truthful", "leader_elected"} <= applied


def sends_at_once(disk: Disk, effects: Effects) -> tuple[Disk, Effects]:
    """A disk that nobody waits for."""
    after, _ = write(disk, effects)
    return Disk(image=after.image, pending=tuple(replace(b, waiting=()) for b in after.pending)), (
        effects
    )


def acknowledged_and_lost(write: Write) -> None:
    """S2 acknowledges an entry of S1 and crashes before anything is durable."""
    cluster = ClusterOnDisks(2, PARALLEL, write)
    cluster.time_out(S1)
    cluster.exchange(S1, S2)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2)
    cluster.crash(S2, 0)
    cluster.heartbeat(S1)
    cluster.exchange(S1, S2)


def test_messages_that_do_not_wait_are_caught() -> None:
    acknowledged_and_lost(write)
    with pytest.raises(ClaimBroken):
        acknowledged_and_lost(sends_at_once)
