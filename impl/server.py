"""A node as a process: the seams of ``impl.node`` filled by asyncio and by the disk's thread."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from queue import SimpleQueue
from random import Random
from typing import Any

from aiohttp.web import AppRunner

from impl import tls
from impl.addresses import Place, WithAddresses, load, save
from impl.admin import Administration
from impl.clients import ClientLimits, ClientListener
from impl.clock import LoopClock, Timing
from impl.compaction import CompactionLimits, Files
from impl.config import Address, ConfigError, Settings
from impl.disk import DiskFull, StorageError
from impl.exports import Exports
from impl.journal import Stored
from impl.logs import set_level
from impl.machine import StateMachine
from impl.node import Limits, Node, Probes
from impl.observe import Metrics, application, serve_http
from impl.restoring import count_keys
from impl.snapshot_thread import SnapshotThread
from impl.status import PeerStatus, Status, version
from impl.storage import Storage, open_storage
from impl.store import KeyValueStore
from impl.transport import Identity, PeerLimits, Peers, Security
from impl.watch import Watchers
from spec.entries import Entries
from spec.events import Persist
from spec.log import base_index, last_index
from spec.quorum import is_quorum, members
from spec.raft import SERVER, recover
from spec.state import Configuration, Leader, Log, ServerId

log = logging.getLogger(__name__)


class DiskThread:
    """The node's disk: one thread writes batch after batch, each with one sync."""

    RETRY_S = 0.5

    def __init__(
        self,
        storage: Storage,
        failed: Callable[[str], None],
        took: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._storage = storage
        self._failed = failed
        self._took = took
        self._loop = asyncio.get_running_loop()
        self._batches: SimpleQueue[tuple[Sequence[Persist], Callable[[], None]] | None]
        self._batches = SimpleQueue()
        self._closing = threading.Event()
        self.is_full = False
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    def write(self, batch: Sequence[Persist], durable: Callable[[], None]) -> None:
        """Write the batch in the thread; ``durable`` is called in the loop."""
        self._batches.put((batch, durable))

    def close(self) -> None:
        """Finish the batch that is being written, and no other."""
        self._closing.set()
        self._batches.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._batches.get()) is not None and not self._closing.is_set():
            batch, durable = job
            began = time.perf_counter()
            try:
                self._write(batch)
            except StorageError as error:
                self._loop.call_soon_threadsafe(self._failed, f"cannot write: {error}")
                return
            self._took(time.perf_counter() - began)
            if not self._closing.is_set():
                self._loop.call_soon_threadsafe(durable)

    def _write(self, batch: Sequence[Persist]) -> None:
        """A full disk is waited out: nothing was written, and nothing that rests on it is said."""
        while True:
            try:
                self._storage.write(batch)
            except DiskFull as error:
                if not self.is_full:
                    log.error(
                        "the disk is full, nothing is accepted until there is room: %s", error
                    )
                self.is_full = True
                if self._closing.wait(self.RETRY_S):
                    return
            else:
                if self.is_full:
                    log.info("there is room on the disk again")
                self.is_full = False
                return


def peer_security(settings: Settings, contexts: tls.Contexts | None) -> Security:
    """How members prove to each other who they are."""
    if contexts is None:
        return Security()
    return Security(
        listening=contexts.server,
        connecting=contexts.client,
        names=lambda certificate, member: tls.names_member(certificate, settings.cluster, member),
    )


def check_first_members(settings: Settings, stored: Stored) -> None:
    """Before anything happened, see that a directory was begun with the members that are given.

    Later the log has them, and what the settings say is of no account. Raises ``ConfigError``.
    """
    if stored.current_term or stored.entries or stored.snapshot is not None:
        return
    begun, given = (sorted(members(c)) for c in (stored.configuration, first_members(settings)))
    if begun != given:
        raise ConfigError(
            f"{settings.data_dir} was begun with {begun or 'no'} as first members, now they are "
            f"{given or 'none'}: give the same, or remove the directory, which has no data yet"
        )


def first_members(settings: Settings) -> Configuration:
    """With whom a new directory begins: nobody, for a node that waits to be added."""
    return Configuration(old=frozenset(() if settings.join else (i for i, _ in settings.members)))


def make_node(
    settings: Settings,
    stored: Stored,
    machine: StateMachine,
    disk: DiskThread,
    network: Peers,
    files: Files,
    probes: Probes | None = None,
) -> Node:
    """The node as it stands in the directory and in the settings."""
    loop = asyncio.get_running_loop()
    check_first_members(settings, stored)
    return Node(
        server=recover(
            server_id=settings.member,
            configuration=stored.configuration,
            current_term=stored.current_term,
            voted_for=stored.voted_for,
            log=Log(snapshot=stored.snapshot, entries=Entries(stored.entries)),
        ),
        options=SERVER,
        machine=machine,
        disk=disk,
        network=network,
        clock=LoopClock(loop),
        random=Random(),
        timing=Timing(
            election_timeout_s=(settings.election_timeout_min, settings.election_timeout_max),
            heartbeat_s=settings.heartbeat,
            request_s=settings.request_timeout,
        ),
        limits=limits_of(settings),
        files=files,
        probes=probes,
    )


def limits_of(settings: Settings) -> Limits:
    """The bounds of a node's queues and of its log."""
    entries = settings.snapshot_entries
    return Limits(
        compaction=CompactionLimits(entries=entries, trailing_entries=min(1000, entries // 2))
    )


class Server:
    """One running node and all that belongs to it."""

    def __init__(
        self, settings: Settings, storage: Storage, read_again: Callable[[], Settings]
    ) -> None:
        self._settings = settings
        self._read_again = read_again
        self._storage = storage
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._failure: asyncio.Future[str] = self._loop.create_future()
        self.files = SnapshotThread(storage)
        self._tls = (tls.for_members(settings), tls.for_clients(settings))
        self.metrics = Metrics()
        self.disk = DiskThread(storage, self._fail, self.metrics.sync_seconds.observe)
        self.peers = Peers(
            identity=Identity(cluster_id=settings.cluster, server_id=settings.member),
            listen=settings.peer_address,
            addresses=self._first_addresses(),
            limits=PeerLimits(),
            security=peer_security(settings, self._tls[0]),
        )
        store = KeyValueStore()
        self.machine = WithAddresses(store)
        self.node = make_node(
            settings,
            storage.load(),
            self.machine,
            self.disk,
            self.peers,
            self.files,
            Probes(committed=self.metrics.commit_seconds.observe, leader=self.metrics.note_leader),
        )
        self.peers.on_refused = self.metrics.count_refused
        self.peers.deliver = self.node.receive
        self.peers.on_connected = self.node.connected
        self.peers.on_disconnected = self.node.disconnected
        self.exports = Exports(
            node=self.node,
            directory=settings.data_dir / "snapshots",
            cluster=settings.cluster,
            member=settings.member,
            count_keys=lambda: count_keys(self.machine),
        )
        self.administration = Administration(
            node=self.node,
            network=self.peers,
            machine=self.machine,
            own=Place(settings.peer_address, settings.advertise_clients or settings.listen_clients),
            status=self.status,
            exports=self.exports,
            remember=lambda book: save(settings.data_dir, book),
        )
        self.listener = ClientListener(
            node=self.node,
            limits=ClientLimits(connections=settings.max_clients, value=settings.max_value),
            queued_bytes=limits_of(settings).queued_bytes,
            is_full=lambda: self.disk.is_full,
            about=self.about,
            admin=self.administration.answer,
            watchers=Watchers(store),
            query=lambda query: store.query(int(1000 * time.time()), query),
            password=_password(settings),
            count=self.metrics.count_commands,
        )
        self.metrics.observe(self)

    def _first_addresses(self) -> dict[ServerId, Address]:
        """Where to look for the others: what was known last, or else what the settings say."""
        known = {member: place.peers for member, place in load(self._settings.data_dir).items()}
        addresses = {**dict(self._settings.members), **known}
        addresses.pop(self._settings.member, None)
        return addresses

    async def run(self, stop: asyncio.Event) -> str | None:
        """Serve until ``stop`` is set, or something breaks: then the reason."""
        _, contexts = self._tls
        settings = self._settings
        with listening("listen-peers", settings.peer_address):
            await self.peers.start()
        self.node.start()
        with listening("listen-clients", settings.listen_clients):
            await self.listener.start(
                settings.listen_clients, contexts.server if contexts else None
            )
        http = await self._observe()
        scheme = "rediss" if contexts else "redis"
        log.info("serves %s://%s", scheme, self._settings.listen_clients)
        stopping = self._loop.create_task(stop.wait())
        tending = self._loop.create_task(self.administration.tend())
        ends: list[asyncio.Future[Any]] = [stopping, tending, self._failure]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not self._failure.done():
            await self.administration.hand_over()
        stopping.cancel()
        tending.cancel()
        failure = self._failure.result() if self._failure.done() else None
        self.node.stop(failure or "this node is shutting down")
        if http is not None:
            await http.cleanup()
        await self.listener.close()
        await self.peers.close()
        await self.files.close()
        self.exports.close()
        self.disk.close()
        self._storage.close()
        return failure

    async def _observe(self) -> AppRunner | None:
        """Open the HTTP port, if there is to be one."""
        address = self._settings.listen_http
        if address is None:
            return None
        app = application(self, self.metrics, self._settings.election_timeout_max, address)
        with listening("listen-http", address):
            runner, port = await serve_http(app, address)
        log.info("is observed at http://%s", Address(address.host, port))
        return runner

    def reload(self) -> None:
        """Read the certificates and the log level again; the rest needs a restart, and is told."""
        self._reload_certificates()
        try:
            settings = self._read_again()
        except ConfigError as error:
            log.error("the former settings stay in use: %s", error)
            return
        before, self._settings = (
            self._settings,
            replace(self._settings, log_level=settings.log_level),
        )
        if settings.log_level != before.log_level:
            set_level(settings.log_level)
            log.warning("log-level is %s, it was %s", settings.log_level, before.log_level)
        waiting = [
            f.name.replace("_", "-")
            for f in fields(settings)
            if getattr(settings, f.name) != getattr(self._settings, f.name)
        ]
        if waiting:
            log.warning("what has changed in %s needs a restart", ", ".join(waiting))

    def _reload_certificates(self) -> None:
        """New connections are made with them."""
        used = [contexts for contexts in self._tls if contexts is not None]
        try:
            for contexts in used:
                contexts.reload()
        except ConfigError as error:
            log.error("the former certificates stay in use: %s", error)
        else:
            if used:
                log.info("certificates were read again")

    def _fail(self, reason: str) -> None:
        if not self._failure.done():
            log.critical("%s", reason)
            self._failure.set_result(reason)

    def status(self) -> Status:
        """How this node is now."""
        node, server = self.node, self.node.server
        target = server.role.target if isinstance(server.role, Leader) else None
        everyone = members(server.configuration)
        return Status(
            member=server.server_id,
            cluster=self._settings.cluster,
            version=version(),
            uptime_s=self._loop.time() - self._started_at,
            role=type(server.role).__name__.lower(),
            term=server.current_term,
            leader=node.leader_id,
            members=everyone,
            joint=server.configuration.new is not None,
            learners=tuple(sorted((target or frozenset()) - set(everyone))),
            commit_index=server.commit_index,
            applied_index=node.applied_index,
            last_index=last_index(server.log),
            snapshot_index=base_index(server.log),
            log_bytes=sum(f.stat().st_size for f in self._settings.data_dir.rglob("*.db*")),
            clients=len(self.listener.clients),
            queued=node.queued,
            quorum_contact_s=self._quorum_contact_s(),
            peers=tuple(self._peer_status(peer, a) for peer, a in self.peers.addresses.items()),
        )

    def _peer_status(self, peer: ServerId, address: Address) -> PeerStatus:
        server = self.node.server
        match_index = server.role.match_index if isinstance(server.role, Leader) else {}
        problem = self.peers.troubles().get(peer, "")
        return PeerStatus(
            member=peer,
            address=str(address),
            connected=not problem,
            problem=problem,
            match_index=match_index.get(peer),
            lag=last_index(server.log) - match_index[peer] if peer in match_index else None,
            heard_s=self.peers.heard_s().get(peer),
        )

    def _quorum_contact_s(self) -> float | None:
        """Since when has this node heard of a quorum, by itself or by its leader?"""
        node, server = self.node, self.node.server
        heard = self.peers.heard_s()
        if not node.leads:
            return heard.get(node.leader_id) if node.leader_id is not None else None
        heard = {**heard, server.server_id: 0.0}
        for age in sorted(heard.values()):
            if is_quorum(server.configuration, {i for i, h in heard.items() if h <= age}):
                return age
        return None

    def about(self) -> Mapping[str, object]:
        """The fields of INFO."""
        server = self.node.server
        return {
            "member": server.server_id,
            "role": type(server.role).__name__.lower(),
            "term": server.current_term,
            "leader": self.node.leader_id,
            "commit_index": server.commit_index,
            "applied_index": self.node.applied_index,
            "last_index": last_index(server.log),
        }


async def serve(settings: Settings, read_again: Callable[[], Settings]) -> str | None:
    """Open the data directory and serve until SIGTERM or SIGINT; the reason if something broke.

    At SIGHUP ``read_again`` gives the settings as they are now; it raises ``ConfigError``.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tls.for_members(settings), tls.for_clients(settings)  # complain before a directory is made
    storage = open_storage(
        settings.data_dir,
        cluster_id=settings.cluster,
        server_id=settings.member,
        configuration=first_members(settings),
    )
    server = Server(settings, storage, read_again)
    loop.add_signal_handler(signal.SIGHUP, server.reload)
    return await server.run(stop)


def _password(settings: Settings) -> str | None:
    if settings.password_file is None:
        return None
    try:
        password = settings.password_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"--password-file: {settings.password_file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--password-file: {settings.password_file} is no text") from None
    if not password:
        raise ConfigError(f"--password-file: {settings.password_file} is empty")
    return password


@contextmanager
def listening(flag: str, address: Address) -> Iterator[None]:
    """Say which of the ports cannot be opened. Raises ``ConfigError``."""
    try:
        yield
    except OSError as error:
        # uvloop repeats the address in its own words; a name without an address has a number < 0.
        number = error.errno or 0
        cause = os.strerror(number) if number > 0 else error.strerror
        raise ConfigError(f"{flag} {address}: {cause}") from None
