"""Three real processes on loopback: clients that others wrote, crashes, and hostile bytes."""

from __future__ import annotations

import resource
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest
import redis

from impl.wire import LENGTH
from tests.processes import Node, Nodes, eventually

pytestmark = pytest.mark.xdist_group("processes")

REDIS_CLI = shutil.which("redis-cli")
REDIS_BENCHMARK = shutil.which("redis-benchmark")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Three nodes, for all tests here: starting them takes most of the time."""
    nodes = Nodes(tmp_path_factory.mktemp("cluster"), 3, snapshot_entries="50")
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.stop()


@pytest.fixture
def nodes(cluster: Nodes) -> Nodes:
    """All of them running, and with a leader."""
    for node in cluster.values():
        if node.process is None or node.process.poll() is not None:
            node.start(cluster.members)
    cluster.leader()
    return cluster


def client(node: Node, retries_s: float = 20.0) -> redis.Redis:
    """A client of one node."""
    return redis.Redis(port=node.clients, socket_timeout=retries_s)


def write(node: Node, key: str, value: str) -> None:
    """A write that must succeed in the end; the same value may be written twice."""
    with client(node) as connection:
        eventually(lambda: connection.set(key, value), f"SET {key} at n{node.member}")


def read(node: Node, key: str) -> bytes | None:
    """A read that must be answered in the end."""
    found: list[bytes | None] = []
    with client(node) as connection:

        def is_answered() -> bool:
            found.append(connection.get(key))
            return True

        eventually(is_answered, f"GET {key} at n{node.member}")
    return found[-1]


def test_every_node_takes_every_command(nodes: Nodes) -> None:
    for node in nodes.values():
        write(node, f"k{node.member}", "v")
    for node in nodes.values():
        with client(node) as connection:
            assert connection.mget("k1", "k2", "k3") == [b"v"] * 3
    with client(nodes.follower()) as connection, connection.pipeline(transaction=True) as pipe:
        assert pipe.set("a", 1).incr("a").get("a").execute() == [True, 2, b"2"]
    with client(nodes.leader()) as connection, connection.pipeline(transaction=False) as pipe:
        pipe.set("a", 5).get("a").incr("a").get("a")
        assert pipe.execute() == [True, b"5", 6, b"6"]


@pytest.mark.skipif(REDIS_CLI is None, reason="redis-cli is not installed")
def test_redis_cli(nodes: Nodes) -> None:
    assert REDIS_CLI is not None
    for node in nodes.values():
        base = [REDIS_CLI, "-p", str(node.clients)]
        for words, reply in ((["SET", "x", "1"], "OK"), (["GET", "x"], "1")):
            run = subprocess.run([*base, *words], capture_output=True, text=True, timeout=20)
            assert run.stdout.strip() == reply


@pytest.mark.skipif(REDIS_BENCHMARK is None, reason="redis-benchmark is not installed")
def test_redis_benchmark_runs_through(nodes: Nodes) -> None:
    assert REDIS_BENCHMARK is not None
    command = [REDIS_BENCHMARK, "-p", str(nodes.leader().clients), "-t", "set,get"]
    command += ["-n", "2000", "-c", "64", "-q"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0
    assert "SET" in run.stdout
    assert "GET" in run.stdout


def test_leader_is_killed_and_nothing_acknowledged_is_lost(nodes: Nodes) -> None:
    leader = nodes.leader()
    write(leader, "a", "1")
    leader.kill()
    others = [node for node in nodes.values() if node is not leader]
    assert read(others[0], "a") == b"1"
    write(others[1], "a", "2")
    leader.start(nodes.members)
    assert read(leader, "a") == b"2"


def test_all_are_killed_and_nothing_acknowledged_is_lost(nodes: Nodes) -> None:
    for number in range(20):
        write(nodes[1 + number % 3], f"k{number}", str(number))
    for node in nodes.values():
        node.kill()
    for node in nodes.values():
        node.start(nodes.members)
    assert [read(nodes[1], f"k{n}") for n in range(20)] == [b"%d" % n for n in range(20)]


def test_a_node_that_was_away_is_caught_up_by_a_snapshot(nodes: Nodes) -> None:
    away = nodes.follower()
    away.kill()
    leader = nodes.leader()
    end = away_until_compacted(leader)
    away.start(nodes.members)
    eventually(lambda: away.status()["snapshot_index"] >= end, "the snapshot is installed")
    assert "received a snapshot" in away.log
    assert read(away, "n0") == b"0"
    write(leader, "after", "1")
    assert read(away, "after") == b"1"


def away_until_compacted(leader: Node) -> int:
    """Writes until the log begins later than where it ended; that index."""
    end: int = leader.status()["last_index"]
    with client(leader) as connection:
        for number in range(400):
            connection.set(f"n{number}", number)
            if leader.status()["snapshot_index"] > end:
                break
    assert leader.status()["snapshot_index"] > end, "the log was compacted"
    return end


def test_without_a_quorum_the_error_says_who_is_missing(nodes: Nodes) -> None:
    last = nodes[1]
    for node in (nodes[2], nodes[3]):
        node.kill()
    with client(last) as connection, pytest.raises(redis.ResponseError) as refusal:
        connection.get("a")
    assert str(refusal.value).startswith("NOLEADER no quorum: reached 1 of 3")
    assert "n2 refused" in str(refusal.value)
    nodes[2].start(nodes.members)
    write(last, "a", "1")


def limit_files(nodes: Nodes, size: int) -> None:
    """No process may write beyond so many bytes of any file: to it, the disk is full."""
    for node in nodes.values():
        assert node.process is not None
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_is_told_and_loses_nothing(nodes: Nodes) -> None:
    write(nodes[1], "before", "1")
    limit_files(nodes, 1)
    with client(nodes.leader()) as connection:

        def is_refused() -> bool:
            try:
                connection.set("during", "1")
            except redis.ResponseError as error:
                return str(error).startswith("DISKFULL")
            return False

        eventually(is_refused, "a write is refused because the disk is full")
    limit_files(nodes, resource.RLIM_INFINITY)
    write(nodes[1], "after", "1")
    assert read(nodes[2], "before") == b"1"


def test_hostile_bytes_close_their_connection_and_nothing_else(nodes: Nodes) -> None:
    node = nodes[1]
    hostile = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x80\x04\x95" + b"\xff" * 200,
        LENGTH.pack(2**32 - 1),
        LENGTH.pack(40) + b"\xc1" * 40,
        b"*2000000000\r\n$-5\r\n",
    ]
    for port in (node.peers, node.clients):
        for data in hostile:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
    assert node.process is not None
    assert node.process.poll() is None
    write(node, "a", "1")
    assert "closes the connection with unknown peer" in node.log


def test_a_directory_has_one_process(nodes: Nodes) -> None:
    second = Node(member=1, directory=nodes[1].directory)
    second.start(f"1=127.0.0.1:{second.peers}")
    assert second.wait() != 0
    assert "is used by process" in nodes[1].log
    write(nodes[1], "a", "1")


def test_sigterm_ends_a_node_with_success(nodes: Nodes) -> None:
    write(nodes[1], "a", "1")
    for node in nodes.values():
        node.signal(signal.SIGTERM)
    assert [node.wait() for node in nodes.values()] == [0, 0, 0]
