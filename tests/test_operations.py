"""Operating a cluster of real processes: members come and go, the truth is told, TLS by name."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import ssl
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from impl.client import Client
from impl.restoring import read_state
from impl.saved_snapshots import verify
from tests.processes import Node, Nodes, eventually

pytestmark = pytest.mark.xdist_group("processes")

SLOW = {"election_timeout_min": "300ms", "election_timeout_max": "600ms", "heartbeat": "60ms"}
"""Two cores and many processes: elections that nobody needs would only take time."""


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    cluster = Nodes(tmp_path, 3, **SLOW)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class Load:
    """A client that counts up one key until it is stopped, and knows what was acknowledged."""

    def __init__(self, port: int) -> None:
        self.acknowledged = 0
        self.unknown = 0
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        client = redis.Redis(port=self._port, socket_timeout=10)
        while not self._stop.is_set():
            try:
                client.incr("load")
                self.acknowledged += 1
            except (redis.RedisError, OSError):
                self.unknown += 1
                self._stop.wait(0.05)

    def end(self) -> None:
        """Stop it."""
        self._stop.set()
        self._thread.join()


def rows(nodes: Nodes, *words: str) -> list[dict[str, Any]]:
    done = nodes.run(*words, "-w", "json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_members_come_and_go_under_load(nodes: Nodes) -> None:
    follower = nodes.follower()
    load = Load(follower.clients)
    try:
        four = nodes.new(4)
        four.start(nodes.members, "--join", "true")
        where = f"4=127.0.0.1:{four.peers}"
        dry = rows(nodes, "member", "add", where, "--dry-run")[0]
        assert (dry["after"], dry["quorum_after"], dry["done"]) == ([1, 2, 3, 4], 3, False)

        assert rows(nodes, "member", "add", where, "--learner")[0]["done"]
        eventually(lambda: four.status()["commit_index"] > 0, "the learner is brought up to date")
        roles = {row["member"]: row["role"] for row in rows(nodes, "member", "list")}
        assert roles[4] == "learner"
        assert rows(nodes, "member", "promote", "4")[0]["after"] == [1, 2, 3, 4]
        eventually(lambda: four.status()["members"] == [1, 2, 3, 4], "the new member knows")

        least = load.acknowledged
        saved = nodes.directory / "saved"
        assert nodes.run("snapshot", "save", str(saved)).returncode == 0
        most = load.acknowledged + load.unknown + 1  # one is on its way
        found = read_state(verify(saved)).query(0, ("get", b"load"))
        assert isinstance(found, bytes)
        assert 0 < least <= int(found) <= most

        leader = nodes.leader()
        assert leader is not four
        rest = [m for m in (1, 2, 3, 4) if m != leader.member]
        assert rows(nodes, "member", "remove", str(leader.member))[0]["after"] == rest
        eventually(lambda: nodes[rest[0]].status()["members"] == rest, "the leader is removed")
        leader.signal(signal.SIGTERM)
        assert leader.wait() == 0

        dead = next(m for m in rest if m not in (follower.member, nodes.leader().member))
        nodes[dead].kill()
        five = nodes.new(5)
        five.start(nodes.members, "--join", "true")
        replaced = rows(nodes, "member", "replace", str(dead), f"5=127.0.0.1:{five.peers}")[0]
        assert replaced["after"] == sorted({*rest, 5} - {dead})
    finally:
        load.end()
    value = int(redis.Redis(port=five.clients, decode_responses=True).get("load") or 0)
    assert load.acknowledged > 0
    assert load.acknowledged <= value <= load.acknowledged + load.unknown


def test_an_unwise_change_is_refused_with_its_reason(nodes: Nodes) -> None:
    leader = nodes.leader()
    wrong = nodes.run("member", "add", "4=127.0.0.1:1")
    assert wrong.returncode == 1
    assert "n4" in wrong.stderr
    assert "nothing was changed" in wrong.stderr
    down = next(m for m in nodes if nodes[m] is not leader)
    nodes[down].kill()
    other = next(m for m in nodes if m not in (down, leader.member))
    eventually(lambda: any(p["problem"] for p in leader.status()["peers"]), "the leader notices it")
    unwise = nodes.run("member", "remove", str(other))
    assert unwise.returncode == 1
    assert "only 1 can be reached and 2 are needed" in unwise.stderr
    assert rows(nodes, "member", "remove", str(down))[0]["done"]  # that one is wise


def test_status_shows_who_cannot_be_reached(nodes: Nodes) -> None:
    nodes[2].kill()
    told = {row["endpoint"]: row for row in rows(nodes, "status")}
    assert told[f"127.0.0.1:{nodes[2].clients}"]["problem"] == "connection refused"
    assert {told[f"127.0.0.1:{nodes[m].clients}"]["problem"] for m in (1, 3)} == {""}
    nodes[1].kill()
    nodes[3].kill()
    assert nodes.run("status").returncode == 3
    assert nodes.run("get", "a").returncode == 3


def test_a_node_that_is_cut_off_is_not_ready(nodes: Nodes) -> None:
    survivor = nodes.follower()
    assert survivor.get("/readyz") == (200, "ok\n")
    for member in nodes:
        if nodes[member] is not survivor:
            nodes[member].signal(signal.SIGSTOP)
    # An election timeout after the last contact, and a second for a busy machine.
    eventually(lambda: survivor.get("/readyz")[0] == 503, "it is not ready", patience_s=0.6 + 1)
    assert survivor.get("/livez") == (200, "ok\n")
    assert survivor.get("/readyz?serial")[0] == 200
    for member in nodes:
        nodes[member].signal(signal.SIGCONT)
    eventually(lambda: survivor.get("/readyz")[0] == 200, "it is ready again")
    assert "raft_has_leader 1.0" in survivor.get("/metrics")[1]


def test_scripts_can_set_get_and_delete(nodes: Nodes) -> None:
    assert nodes.run("set", "k", "v").stdout == "OK\n"
    assert nodes.run("get", "k").stdout == "v\n"
    assert nodes.run("del", "k").stdout == "1\n"
    missing = nodes.run("get", "k")
    assert (missing.returncode, missing.stdout) == (1, "")
    nodes.run("set", "k", "v")
    saved = str(nodes.directory / "saved")
    assert rows(nodes, "snapshot", "save", saved)[0]["keys"] == 1
    assert nodes.run("snapshot", "verify", saved).returncode == 0
    measured = {
        row["kind"]: row for row in rows(nodes, "bench", "--seconds", "0.3", "--reads", "0.5")
    }
    assert all(measured[kind]["requests"] for kind in ("read", "write")), measured
    assert all(row["p50_ms"] <= row["p99_ms"] <= row["max_ms"] for row in measured.values())
    with redis.Redis(port=nodes[1].clients) as client:
        assert client.dbsize() == 1  # nothing is left of it
        client.set("bench:7", "precious")
        refused = nodes.run("bench", "--seconds", "0.1")
        assert (refused.returncode, "give another --prefix" in refused.stderr) == (1, True)
        assert client.get("bench:7") == b"precious"
    dump = rows(nodes, "log", "dump")
    assert any("commands" in str(row["holds"]) for row in dump)
    for name in ("raft_commit_seconds_count", "raft_sync_seconds_count"):
        assert sum(node.metric(name) for node in nodes.values()) >= 3, name
    for kind, least in (("write", 3), ("read", 2), ("admin", 2)):
        told = sum(n.metric("raft_commands_total", kind=kind) for n in nodes.values())
        assert told >= least, kind


def test_tls_by_member_and_password_for_clients(tmp_path: Path) -> None:
    certificates = tmp_path / "certs"
    secret = tmp_path / "password"
    secret.write_text("hush\n")
    cluster = Nodes(tmp_path, 3, **SLOW, password_file=str(secret))
    made = cluster.run("dev-certs", str(certificates), "-n", "3")
    assert made.returncode == 0, made.stderr
    ca = str(certificates / "ca.crt")
    for member in cluster:
        own = str(certificates / f"member-{member}")
        cluster[member].settings |= {
            "cert": f"{own}.crt",
            "key": f"{own}.key",
            "peer-cert": f"{own}.crt",
            "peer-key": f"{own}.key",
            "peer-cacert": ca,
        }
    try:
        cluster.start()
        access = ["--cacert", ca, "--password-file", str(secret)]
        endpoint = f"localhost:{cluster[1].clients}"
        assert cluster.run("set", "k", "v", "--endpoints", endpoint, *access).stdout == "OK\n"
        unknown = cluster.run("get", "k", "--endpoints", endpoint, "--cacert", ca)
        assert unknown.returncode == 1
        assert "NOAUTH" in unknown.stderr
        for program in cluster.values():
            assert "hush" not in program.log
        _a_client_cannot_speak_to_a_peer_port(cluster, certificates)
    finally:
        cluster.stop()


def _a_client_cannot_speak_to_a_peer_port(cluster: Nodes, certificates: Path) -> None:
    """Its certificate is of the same authority, but names no member."""
    from impl.wire import HANDSHAKE, VERSION, Hello
    from spec.state import ServerId

    hello = Hello(version=VERSION, cluster_id="raft", sender=ServerId(2), receiver=ServerId(1))
    context = ssl.create_default_context(cafile=certificates / "ca.crt")
    context.load_cert_chain(certificates / "client.crt", certificates / "client.key")
    import socket

    with (
        socket.create_connection(("127.0.0.1", cluster[1].peers), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(HANDSHAKE.frame(hello))
        assert connection.recv(1) == b""
    eventually(lambda: "certificate does not name n2" in cluster[1].log, "the refusal is logged")
    assert cluster[1].metric("raft_rejected_frames_total", reason="certificate") >= 1


def test_leadership_is_handed_over_on_demand_and_at_the_end(nodes: Nodes) -> None:
    leader, heir = nodes.leader(), nodes.follower()
    before = leader.metric("raft_leader_changes_total")
    assert before >= 1
    done = nodes.run("transfer", str(heir.member))
    assert (done.returncode, done.stdout) == (0, f"member {heir.member} leads\n"), done.stderr
    assert nodes.leader() is heir
    term = heir.status()["term"]
    heir.signal(signal.SIGTERM)
    assert heir.wait() == 0
    assert "handed over" not in heir.log  # no complaint
    assert nodes.leader() is not heir
    assert leader.status()["term"] > term
    assert leader.metric("raft_leader_changes_total") >= before + 2


def test_sighup_reads_the_log_level_again_and_tells_what_needs_a_restart(tmp_path: Path) -> None:
    cluster = Nodes(tmp_path, 1, heartbeat="30ms")
    settings = tmp_path / "settings.toml"
    settings.write_text('log-level = "warning"\n')
    node = cluster[1]
    try:
        node.start(cluster.first, "--config", str(settings))
        eventually(cluster.leader, "it leads itself")
        assert "leads" not in node.log
        settings.write_text('log-level = "info"\nheartbeat = "20ms"\nmax-clients = 7\n')
        node.signal(signal.SIGHUP)
        eventually(lambda: "log-level is info, it was warning" in node.log, "it is told")
        assert "changed in max-clients needs a restart" in node.log  # a flag still wins
        settings.write_text('log-level = "loud"\n')
        node.signal(signal.SIGHUP)
        eventually(
            lambda: "'loud' is unknown" in node.log, "a mistake is told, and changes nothing"
        )
        assert _is_ready(node)
    finally:
        cluster.stop()


def test_a_directory_of_an_older_format_is_refused_in_one_line(tmp_path: Path) -> None:
    cluster = Nodes(tmp_path, 1)
    shutil.copytree(Path(__file__).parent / "data" / "format-1", cluster[1].directory)
    cluster[1].start(cluster.first)
    assert cluster[1].wait() == 1
    (line,) = [line for line in cluster[1].log.splitlines() if "settings:" not in line]
    assert "written in format 1, and this version reads format 2" in line


def _is_ready(node: Node) -> bool:
    return node.get("/readyz")[0] == 200


def test_a_rolling_restart_under_load_loses_nothing(nodes: Nodes) -> None:
    """Nor does the client library let its user see any of it."""

    async def count_while_restarting() -> tuple[int, int]:
        addresses = [f"127.0.0.1:{node.clients}" for node in nodes.values()]
        restarting = asyncio.create_task(asyncio.to_thread(_restart_one_by_one, nodes))
        acknowledged = 0
        async with Client(addresses, timeout_s=30) as client:
            while not restarting.done():
                assert await client.increment("load") == acknowledged + 1
                acknowledged += 1
            await restarting
            return acknowledged, int(await client.get("load") or 0)

    acknowledged, value = asyncio.run(count_while_restarting())
    assert value == acknowledged > 0


def _restart_one_by_one(nodes: Nodes) -> None:
    for node in nodes.values():
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        node.start(nodes.first)
        eventually(partial(_is_ready, node), "it is back")
