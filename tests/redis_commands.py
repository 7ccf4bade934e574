"""Commands as clients send them, a connection without sockets, and a real Redis to compare with."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hiredis
from hypothesis import strategies as st

from impl.resp import Action, Admin, Local, Read, Session, Write
from impl.store import KeyValueStore

Words = tuple[bytes, ...]

KEYS = st.sampled_from([b"a", b"b", b"c", b"{d}", b""])
VALUES = st.one_of(
    st.sampled_from(
        [b"", b"0", b"7", b"-1", b"007", b"9223372036854775807", b"-0", b" 1", b"1\r\n"]
    ),
    st.binary(max_size=12),
)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**63 - 1, -(2**63), 2**63]),
).map(lambda number: b"%d" % number)
TIMES = st.sampled_from([b"100", b"1000", b"0", b"-5", b"x", b"100"])
CURSORS = st.sampled_from([b"0", b"x"])


def _options(*options: st.SearchStrategy[Words]) -> st.SearchStrategy[Words]:
    return st.lists(st.one_of(*options), max_size=3).map(lambda found: sum(found, ()))


SET_OPTIONS = _options(
    st.sampled_from([(b"NX",), (b"xx",), (b"GET",), (b"KEEPTTL",), (b"EX",), (b"what",)]),
    st.tuples(st.sampled_from([b"EX", b"ex"]), TIMES),
)
EXPIRE_OPTIONS = _options(st.sampled_from([(b"NX",), (b"XX",), (b"GT",), (b"lt",), (b"what",)]))


def _command(*words: bytes | st.SearchStrategy[bytes]) -> st.SearchStrategy[Words]:
    return st.tuples(*(st.just(w) if isinstance(w, bytes) else w for w in words))


DATA_COMMANDS: st.SearchStrategy[Words] = st.one_of(
    _command(b"GET", KEYS),
    _command(b"SET", KEYS, VALUES),
    st.builds(lambda head, options: head + options, _command(b"SET", KEYS, VALUES), SET_OPTIONS),
    st.lists(KEYS, max_size=3).map(lambda keys: (b"DEL", *keys)),
    st.lists(KEYS, max_size=3).map(lambda keys: (b"exists", *keys)),
    st.lists(KEYS, max_size=3).map(lambda keys: (b"MGET", *keys)),
    st.lists(KEYS | VALUES, max_size=5).map(lambda words: (b"MSET", *words)),
    st.lists(KEYS, max_size=4).map(lambda words: (b"MSETNX", *words)),
    _command(b"INCR", KEYS),
    _command(b"Decr", KEYS),
    _command(b"INCRBY", KEYS, NUMBERS | VALUES),
    _command(b"DECRBY", KEYS, NUMBERS),
    _command(b"APPEND", KEYS, VALUES),
    _command(b"STRLEN", KEYS),
    _command(b"TYPE", KEYS),
    _command(b"TTL", KEYS),
    _command(b"PERSIST", KEYS),
    st.builds(
        lambda head, options: head + options, _command(b"EXPIRE", KEYS, TIMES), EXPIRE_OPTIONS
    ),
    _command(b"SETNX", KEYS, VALUES),
    _command(b"SETEX", KEYS, TIMES, VALUES),
    _command(b"GETSET", KEYS, VALUES),
    _command(b"GETDEL", KEYS),
    _command(b"DBSIZE"),
    _command(b"SCAN", CURSORS),
)
CONNECTION_COMMANDS: st.SearchStrategy[Words] = st.one_of(
    _command(b"MULTI"),
    _command(b"EXEC"),
    _command(b"DISCARD"),
    _command(b"UNWATCH"),
    st.lists(KEYS, max_size=2).map(lambda keys: (b"WATCH", *keys)),
    _command(b"PING"),
    _command(b"ECHO", VALUES),
    _command(b"nosuch", VALUES.filter(lambda v: b"\r" not in v and b"\n" not in v and v.isascii())),
    _command(b"SELECT", st.sampled_from([b"0", b"x"])),
)


def encoded(*words: bytes) -> bytes:
    """A command as a client library sends it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


class Server:
    """A state machine with connections to it; what a node does, without a cluster."""

    def __init__(self) -> None:
        self.store = KeyValueStore()
        self.time_ms = 1_000_000_000_000

    def connect(self) -> Connection:
        """A new connection."""
        return Connection(self)

    def carry_out(self, action: Action) -> bytes:
        """The reply to one action."""
        match action:
            case Write():
                return action.render(self.store.apply(self.time_ms, [action.command])[0])
            case Read():
                return action.render(self.store.query(self.time_ms, action.query))
            case Local():
                return action.reply
            case Admin():
                return b"+ADMIN\r\n"


class Connection:
    """One client."""

    def __init__(self, server: Server, *, password: str | None = None) -> None:
        self._server = server
        self.session = Session(lambda: {"node": 1, "Raft": {"term": 3}}, password=password)

    def send(self, data: bytes) -> bytes:
        """The replies to some bytes, as bytes."""
        return b"".join(map(self._server.carry_out, self.session.feed(data)))

    def call(self, *words: bytes | str) -> object:
        """The reply to a command, as a client library gives it."""
        as_bytes = [w.encode() if isinstance(w, str) else w for w in words]
        return parsed(self.send(encoded(*as_bytes)))


def parsed(reply: bytes) -> object:
    """One reply; an error is a ``hiredis.ReplyError``."""
    reader = hiredis.Reader()
    reader.feed(reply)
    found: object = reader.gets()
    assert not reader.has_data()
    return found


@contextmanager
def real_redis(directory: Path) -> Iterator[socket.socket]:
    """A connection to a Redis of its own."""
    program = shutil.which("redis-server")
    assert program is not None
    place = directory / "redis.sock"
    arguments = ["--port", "0", "--unixsocket", str(place), "--save", "", "--dir", str(directory)]
    process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL)
    try:
        while not place.exists():
            time.sleep(0.01)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(place))
            yield connection
    finally:
        process.terminate()
        process.wait()


def ask(connection: socket.socket, reader: hiredis.Reader, words: Words) -> object:
    """Redis' reply to one command."""
    connection.sendall(encoded(*words))
    while (found := reader.gets()) is False:
        reader.feed(connection.recv(1 << 16))
    return found
