"""The HTTP port tells the truth: alive is not ready."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from impl.config import Address
from impl.observe import Metrics, application, serve_http, why_not_ready
from impl.status import PeerStatus, Status
from spec.state import Index, ServerId, Term

ANY_PORT = Address("127.0.0.1", 0)
ONE, TWO = ServerId(1), ServerId(2)
STATUS = Status(
    member=ONE,
    cluster="c",
    version="0",
    uptime_s=1.0,
    role="leader",
    term=Term(3),
    leader=ONE,
    members=(ONE, TWO),
    joint=False,
    commit_index=Index(8),
    applied_index=Index(7),
    last_index=Index(9),
    snapshot_index=Index(5),
    log_bytes=100,
    clients=0,
    queued=0,
    quorum_contact_s=0.01,
    peers=(PeerStatus(member=TWO, address="127.0.0.1:1", connected=False, lag=4),),
)


@dataclass(slots=True)
class FakeNode:
    """A node that says what it is told."""

    now: Status

    def status(self) -> Status:
        """What it was told."""
        return self.now


def fetch(
    node: FakeNode, path: str, headers: dict[str, str] | None = None, metrics: Metrics | None = None
) -> tuple[int, str]:
    async def exchange() -> tuple[int, str]:
        app = application(node, metrics or Metrics(), 0.3, ANY_PORT)
        runner, port = await serve_http(app, ANY_PORT)
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as response,
            ):
                return response.status, await response.text()
        finally:
            await runner.cleanup()

    return asyncio.run(exchange())


def test_a_node_that_is_cut_off_is_alive_but_not_ready() -> None:
    node = FakeNode(replace(STATUS, quorum_contact_s=2.0))
    assert fetch(node, "/livez") == (200, "ok\n")
    assert fetch(node, "/readyz") == (503, "no contact with a quorum for 2.0 s\n")
    assert fetch(node, "/readyz?serial") == (200, "ok\n")
    node.now = STATUS
    assert fetch(node, "/readyz") == (200, "ok\n")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (replace(STATUS, quorum_contact_s=None), "no contact with a quorum yet"),
        (replace(STATUS, leader=None), "no leader is known"),
        (replace(STATUS, stopped="the disk failed"), "the disk failed"),
    ],
)
def test_why_it_is_not_ready(status: Status, reason: str) -> None:
    assert why_not_ready(status, 0.3, serial=False) == reason


def test_a_node_whose_disk_failed_serves_no_old_reads_either() -> None:
    assert why_not_ready(replace(STATUS, stopped="the disk failed"), 0.3, serial=True)


def test_status_is_json() -> None:
    code, text = fetch(FakeNode(STATUS), "/status")
    assert code == 200
    assert '"commit_index": 8' in text
    assert '"lag": 4' in text


def test_metrics_are_prometheus_text() -> None:
    metrics = Metrics()
    node = FakeNode(STATUS)
    metrics.observe(node)
    metrics.sync_seconds.observe(0.001)
    metrics.rejected_frames.labels(reason="too long").inc()
    _, text = fetch(node, "/metrics", metrics=metrics)
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["raft_has_leader",] == 1
    assert values["raft_commit_index",] == 8
    assert values["raft_peer_lag_entries", "2"] == 4
    assert values["raft_peer_connected", "2"] == 0
    assert values["raft_sync_seconds_count",] == 1
    assert values["raft_rejected_frames_total", "too long"] == 1


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_web_pages_cannot_read_it(headers: dict[str, str]) -> None:
    assert fetch(FakeNode(STATUS), "/status", headers)[0] == 403
