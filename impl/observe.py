"""The HTTP port: ``/metrics``, ``/livez``, ``/readyz`` and ``/status``.

``/livez`` says that the process runs its loop. ``/readyz`` is about the cluster: 200 only if the
node had contact with a quorum within the last election timeout, so that a node that was cut off
does not attract clients; ``/readyz?serial`` asks only whether the node itself can answer reads that
may be old. Nothing here changes anything. A web page cannot read it through a browser: requests
with an ``Origin`` are refused, and on loopback those of a foreign ``Host`` too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.config import Address
from impl.status import Status
from spec.state import ServerId, Term

LATENCY_BUCKETS = tuple(2**i * 1e-4 for i in range(17))
"""From 0.1 ms to 6.6 s."""
ROLES = ("follower", "candidate", "leader")


class Observable(Protocol):
    """What is observed: a node."""

    def status(self) -> Status:
        """How it is now."""


class Metrics:
    """What is counted as it happens; the rest is read off ``Status`` when it is asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sync_seconds = Histogram(
            "raft_sync_seconds",
            "Time of one durable write",
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "raft_commit_seconds",
            "Time from the arrival of the first command of an entry to their answers; on a leader",
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.leader_changes = Counter(
            "raft_leader_changes", "Leaders that this node has heard of", registry=self.registry
        )
        self.rejected_frames = Counter(
            "raft_rejected_frames",
            "Connections of members that were closed for what came on them, or did not",
            ["reason"],
            registry=self.registry,
        )
        self.commands = Counter(
            "raft_commands",
            "Commands that clients have sent to this node",
            ["kind"],
            registry=self.registry,
        )
        self._kinds = {kind: self.commands.labels(kind) for kind in ("read", "write", "admin")}
        self._leads: tuple[ServerId, Term] | None = None

    def observe(self, node: Observable) -> None:
        """Add what the node's status says."""
        self.registry.register(_OfStatus(node))

    def count_commands(self, kind: str, number: int) -> None:
        """So many came, of one kind: ``read``, ``write`` or ``admin``."""
        self._kinds[kind].inc(number)

    def count_refused(self, why: str) -> None:
        """A connection was closed."""
        self.rejected_frames.labels(why).inc()

    def note_leader(self, leader: ServerId, term: Term) -> None:
        """One was heard of: count it unless it is the one that was lost out of sight."""
        if self._leads != (leader, term):
            self._leads = leader, term
            self.leader_changes.inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)


class _OfStatus(Collector):
    """Gauges that are read off the node's status."""

    def __init__(self, node: Observable) -> None:
        self._node = node

    def collect(self) -> Iterable[Metric]:
        status = self._node.status()
        yield _gauge("raft_has_leader", "Is a leader known?", status.leader is not None)
        yield _gauge("raft_is_leader", "Is it this node?", status.role == "leader")
        yield _gauge("raft_term", "Current term", status.term)
        yield _gauge("raft_commit_index", "Highest committed entry known", status.commit_index)
        yield _gauge("raft_applied_index", "Highest applied entry", status.applied_index)
        yield _gauge("raft_last_index", "Last entry of the log", status.last_index)
        yield _gauge("raft_snapshot_index", "Last entry in the snapshot", status.snapshot_index)
        yield _gauge("raft_members", "Members of the cluster", len(status.members))
        yield _gauge("raft_log_bytes", "Size of the data directory", status.log_bytes)
        yield _gauge("raft_clients", "Connected clients", status.clients)
        yield _gauge("raft_queued_commands", "Commands that wait for an answer", status.queued)
        yield _gauge("raft_uptime_seconds", "Time since the start", status.uptime_s)
        yield from self._of_peers(status)

    def _of_peers(self, status: Status) -> Iterable[Metric]:
        connected = GaugeMetricFamily(
            "raft_peer_connected", "Can it be reached?", labels=["member"]
        )
        lag = GaugeMetricFamily(
            "raft_peer_lag_entries", "Entries that it lacks, as its leader knows", labels=["member"]
        )
        for peer in status.peers:
            connected.add_metric([str(peer.member)], peer.connected)
            if peer.lag is not None:
                lag.add_metric([str(peer.member)], peer.lag)
        yield connected
        yield lag


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def why_not_ready(status: Status, contact_within_s: float, serial: bool) -> str:
    """Why clients should go elsewhere, in words; empty if they need not."""
    if status.stopped:
        return status.stopped
    if serial:
        return ""
    if status.quorum_contact_s is None:
        return "no contact with a quorum yet"
    if status.quorum_contact_s > contact_within_s:
        return f"no contact with a quorum for {status.quorum_contact_s:.1f} s"
    if status.leader is None:
        return "no leader is known"
    return ""


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(
    node: Observable, metrics: Metrics, contact_within_s: float, address: Address
) -> web.Application:
    """The HTTP application for a port at ``address``."""
    names = {address.host, "localhost", "127.0.0.1", "::1"} if address.is_loopback else None

    @web.middleware
    async def only_known_hosts(request: web.Request, handler: Handler) -> web.StreamResponse:
        foreign = names is not None and request.url.host not in names
        if foreign or "Origin" in request.headers:
            return web.Response(status=403, text="this is not for web pages\n")
        return await handler(request)

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        reason = why_not_ready(node.status(), contact_within_s, "serial" in request.query)
        return web.Response(status=503 if reason else 200, text=f"{reason or 'ok'}\n")

    async def status(_: web.Request) -> web.Response:
        return web.json_response(dataclasses.asdict(node.status()))

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    found = web.Application(middlewares=[only_known_hosts], client_max_size=1 << 10)
    found.router.add_get("/livez", livez)
    found.router.add_get("/readyz", readyz)
    found.router.add_get("/status", status)
    found.router.add_get("/metrics", exposition)
    return found


async def serve_http(app: web.Application, address: Address) -> tuple[web.AppRunner, int]:
    """Listen; the runner is to be cleaned up at the end. Also returns the port in use."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, address.host, address.port).start()
    bound: tuple[str, int] = runner.addresses[0][:2]
    return runner, bound[1]
