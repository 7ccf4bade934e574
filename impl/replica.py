"""Replicate an object of your own, without a server for Redis clients in front of it.

    async with Replica(Counter(), member=1, members=members, data_dir="data/1") as replica:
        await replica.write(b"5")
        await replica.read("value")

The object is a ``StateMachine`` (``impl/machine.py``); there is one of it in each of the processes
of the cluster, and all go through the same states. Any replica takes writes and reads, and forwards
what the leader must decide. The same checked steps run as in the server, on the same disk and wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from impl import tls
from impl.client import OutcomeUnknown, Unavailable
from impl.config import Settings, configure
from impl.machine import Result, StateMachine
from impl.requests import Done, NotDone, Outcome, Unknown
from impl.server import DiskThread, first_members, make_node, peer_security
from impl.snapshot_thread import SnapshotThread
from impl.storage import open_storage
from impl.transport import Identity, PeerLimits, Peers


class Replica:
    """One of the copies; to be used in ``async with``, by tasks of one event loop.

    ``members`` says where each member listens, the same in all processes; ``settings`` are those of
    ``python -m impl serve`` by name, as text. Without TLS the members trust the network: they
    listen on this machine only, unless told otherwise.
    """

    def __init__(
        self,
        machine: StateMachine,
        *,
        member: int,
        members: Mapping[int, str],
        data_dir: Path | str,
        **settings: str,
    ) -> None:
        self.machine = machine
        flags = {
            "member": str(member),
            "members": ",".join(f"{i}={address}" for i, address in members.items()),
            "data_dir": str(data_dir),
            **settings,
        }
        self._settings: Settings = configure(flags, {}, None).settings
        self._failure: str | None = None

    async def __aenter__(self) -> Self:
        """Begin, or go on from what is in the directory."""
        settings = self._settings
        self._storage = open_storage(
            settings.data_dir,
            cluster_id=settings.cluster,
            server_id=settings.member,
            configuration=first_members(settings),
        )
        self._disk = DiskThread(self._storage, self._fail)
        self._files = SnapshotThread(self._storage)
        others = {i: a for i, a in settings.members if i != settings.member}
        self._peers = Peers(
            identity=Identity(cluster_id=settings.cluster, server_id=settings.member),
            listen=settings.peer_address,
            addresses=others,
            limits=PeerLimits(),
            security=peer_security(settings, tls.for_members(settings)),
        )
        stored = self._storage.load()
        self.node = make_node(settings, stored, self.machine, self._disk, self._peers, self._files)
        self._peers.deliver = self.node.receive
        self._peers.on_connected = self.node.connected
        self._peers.on_disconnected = self.node.disconnected
        await self._peers.start()
        self.node.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; what was written stays."""
        self.node.stop("this replica is shutting down")
        await self._peers.close()
        await self._files.close()
        self._disk.close()
        self._storage.close()

    def _fail(self, reason: str) -> None:
        self._failure = reason
        self.node.stop(reason)

    async def write(self, command: bytes) -> Result:
        """Have a command applied everywhere; its result.

        Raises ``Unavailable`` if it was not applied and never will be, ``OutcomeUnknown`` if that
        cannot be told.
        """
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.node.write([command], done.set_result)
        return _result(await done)

    async def read(self, query: object) -> Result:
        """Ask this process's copy, when it has all that was written before; linearizable."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.node.read([query], done.set_result)
        return _result(await done)


def _result(outcome: Outcome) -> Result:
    match outcome:
        case Done(results=results):
            return results[0]
        case NotDone(reason=reason, code=code):
            raise Unavailable(f"{code} {reason}")
        case Unknown(reason=reason):
            raise OutcomeUnknown(reason)
