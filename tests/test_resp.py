"""Clients' connections: Redis' protocol in any pieces, hostile bytes, transactions, sessions."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from itertools import pairwise

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl import resp, resp_codec
from impl.machine import Failure
from impl.resp import Admin, Local, Read, Session, Write
from impl.resp_codec import ExactParser, Parser, ProtocolError, encode
from tests.redis_commands import Connection, Server, encoded, parsed

WORDS = st.lists(
    st.one_of(st.binary(max_size=20), st.sampled_from([b"\r\n*1\r\n", b"*99999999", b"\n*100000"])),
    min_size=1,
    max_size=5,
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """``data`` cut at some places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


@given(st.lists(WORDS, max_size=8), st.lists(st.integers(0, 10_000), max_size=8))
def test_commands_arrive_whole_in_any_pieces(commands: list[list[bytes]], cuts: list[int]) -> None:
    data = b"".join(encoded(*words) for words in commands)
    for parser in (Parser(), ExactParser()):
        found: list[list[bytes]] = []
        for piece in pieces(data, cuts):
            parser.feed(piece, found)
        assert found == commands
    assert isinstance(parser, ExactParser)
    assert not parser.is_busy


@given(st.lists(st.integers(0, 100), max_size=4))
def test_a_command_in_a_line(cuts: list[int]) -> None:
    data = b"SET \"a \\\"b\\x41\\n\" 'c\\'d'  e\r\n\r\nPING\n" + encoded(b"GET", b"k") + b"PING\r\n"
    parser, found = Parser(), list[list[bytes]]()
    for piece in pieces(data, cuts):
        parser.feed(piece, found)
    assert found == [
        [b"SET", b'a "bA\n', b"c'd", b"e"],
        [b"PING"],
        [b"GET", b"k"],
        [b"PING"],
    ]


MUTILATED = st.builds(
    lambda data, place, insertion: data[: place % (len(data) + 1)] + insertion + data[place:],
    st.lists(WORDS, min_size=1, max_size=3).map(lambda c: b"".join(encoded(*w) for w in c)),
    st.integers(0, 200),
    st.one_of(
        st.binary(max_size=4),
        st.sampled_from([b"*", b"$-1\r\n", b"*-1\r\n", b"%3\r\n", b"*1000000000\r\n", b"\r\n"]),
    ),
)


@settings(max_examples=300)
@given(st.binary(max_size=200) | MUTILATED, st.lists(st.integers(0, 300), max_size=4))
def test_hostile_bytes_end_in_replies_or_in_one_error_that_closes(
    data: bytes, cuts: list[int]
) -> None:
    session = Session(dict)
    actions = [action for piece in pieces(data, cuts) for action in session.feed(piece)]
    closing = [a for a in actions if isinstance(a, Local) and a.close]
    assert closing in ([], actions[-1:])
    if closing:
        assert session.feed(encoded(b"PING")) == []
    server = Server()
    for action in actions:
        if isinstance(action, Write | Read | Local):
            parsed(server.carry_out(action))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"*1000000000\r\n", "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*2\r\n$4\r\nPING\r\n*1000000000\r\n", "expected '$', got '*'"),
        (b"*1\r\n$4000000000\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*" + b"1" * 30, "too big multibulk count string"),
        (b"x" * 70_000, "too big inline request"),
        (b'GET "a\r\n', "unbalanced quotes in request"),
        (b'GET "a"b\r\n', "unbalanced quotes in request"),
    ],
)
def test_what_is_wrong_is_said_and_the_connection_closed(data: bytes, text: str) -> None:
    good = encoded(b"PING")
    for before in (b"", good):
        *rest, last = Session(dict).feed(before + data)
        assert rest == [Local(b"+PONG\r\n")] * bool(before)
        assert isinstance(last, Local)
        assert last.close
        assert f"Protocol error: {text}" in last.reply.decode()


def test_large_headers_take_no_memory() -> None:
    tracemalloc.start()
    try:
        for header in (b"*2000000000\r\n", b"*1\r\n$2000000000\r\n", b"%2000000000\r\n"):
            for before in (b"", encoded(b"PING"), b"*2\r\n$4\r\nECHO\r\n"):
                parser = Parser()
                with suppress(ProtocolError):
                    parser.feed(before + header[:6], [])
                    parser.feed(header[6:] + b"\r\n", [])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_command_is_bounded_by_all_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resp_codec, "MAX_COMMAND_BYTES", 100)
    parser = ExactParser()
    parser.feed(b"*3\r\n$60\r\n" + bytes(60), [])
    with pytest.raises(ProtocolError):
        parser.feed(b"\r\n$60\r\n", [])


def test_a_large_value_in_small_pieces_is_not_parsed_again_and_again() -> None:
    data = encoded(b"SET", b"k", bytes(4 << 20))
    parser, found = Parser(), list[list[bytes]]()
    for start in range(0, len(data), 1 << 12):
        parser.feed(data[start : start + (1 << 12)], found)
    assert [len(word) for word in found[0]] == [3, 1, 4 << 20]


# --- Replies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "two", "three"),
    [
        (None, None, None),
        (True, 1, True),
        (7, 7, 7),
        (1.5, b"1.5", 1.5),
        (b"a\r\nb", b"a\r\nb", b"a\r\nb"),
        ("OK", b"OK", b"OK"),
        ([1, [b"x", None]], [1, [b"x", None]], [1, [b"x", None]]),
        ({b"a": 1}, [b"a", 1], {b"a": 1}),
    ],
)
def test_replies_in_both_versions(value: object, two: object, three: object) -> None:
    assert [parsed(encode(value, 2)), parsed(encode(value, 3))] == [two, three]


def test_an_error_is_one_line_whatever_its_text_is() -> None:
    reply = encode(Failure("ERR", "a\r\n+OK\r\nb\nc"))
    assert reply.count(b"\n") == 1
    assert isinstance(parsed(reply), hiredis.ReplyError)


# --- Transactions -------------------------------------------------------------------------------


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client(server: Server) -> Connection:
    return server.connect()


def test_a_transaction_is_one_write(client: Connection) -> None:
    data = b"".join(
        encoded(*words)
        for words in [(b"MULTI",), (b"SET", b"a", b"1"), (b"INCR", b"a"), (b"EXEC",)]
    )
    kinds = [type(action).__name__ for action in client.session.feed(data)]
    assert kinds == ["Local", "Local", "Local", "Execute"]


@pytest.mark.parametrize("is_changed", [False, True])
def test_watch_sees_changes_of_others(server: Server, client: Connection, is_changed: bool) -> None:
    client.call("SET", "a", "1")
    assert client.call("WATCH", "a", "b") == b"OK"
    if is_changed:
        server.connect().call("SET", "b", "1")
    client.call("MULTI")
    client.call("SET", "a", "2")
    assert client.call("EXEC") == (None if is_changed else [b"OK"])
    assert client.call("GET", "a") == (b"1" if is_changed else b"2")
    client.call("MULTI")
    assert client.call("EXEC") == [], "EXEC has ended the watch"


def test_a_key_watched_twice_counts_from_the_first_time(server: Server, client: Connection) -> None:
    client.call("WATCH", "a")
    server.connect().call("SET", "a", "1")
    client.call("WATCH", "a")
    client.call("MULTI")
    assert client.call("EXEC") is None


def test_a_watch_that_failed_does_not_let_the_transaction_pass(client: Connection) -> None:
    (watch,) = client.session.feed(encoded(b"WATCH", b"a"))
    assert isinstance(watch, Read)
    assert watch.render(Failure("NOLEADER", "no quorum")) == b"-NOLEADER no quorum\r\n"
    client.call("MULTI")
    assert client.call("EXEC") is None


def test_a_wrong_command_aborts_and_a_wrong_argument_fails_alone(client: Connection) -> None:
    client.call("MULTI")
    assert isinstance(client.call("GET"), hiredis.ReplyError)
    assert str(client.call("EXEC")).startswith("EXECABORT")
    client.call("MULTI")
    client.call("INCRBY", "a", "x")
    client.call("INCR", "a")
    replies = client.call("EXEC")
    assert isinstance(replies, list)
    assert [str(reply) for reply in replies] == [
        "ERR value is not an integer or out of range",
        "1",
    ]


def test_a_transaction_is_bounded(client: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resp, "MAX_QUEUED", 2)
    client.call("MULTI")
    replies = [client.call("INCR", "a") for _ in range(3)]
    assert str(replies[2]) == "ERR the transaction is too large"
    assert str(client.call("EXEC")).startswith("EXECABORT")


def test_values_are_bounded(server: Server) -> None:
    client = Connection(server)
    client.session = Session(dict, max_value=100)
    assert client.call("SET", "k", "v" * 100) == b"OK"
    client.call("SESSION", "OPEN")
    for words in (
        ("SET", "k", "v" * 101),
        ("SESSION", "CALL", "1", "1", "1", "SET", "k", "v" * 101),
    ):
        reply = client.call(*words)
        assert str(reply) == "ERR 101 bytes are too long: at most 100, max-value"
    client.call("MULTI")
    client.call("APPEND", "k", "v" * 101)
    assert str(client.call("EXEC")).startswith("EXECABORT")


# --- Sessions (§8) ------------------------------------------------------------------------------


def test_a_command_with_a_serial_number_is_done_once(client: Connection) -> None:
    number = client.call("SESSION", "OPEN")
    assert number == 1
    for _ in range(2):
        assert client.call("SESSION", "CALL", "1", "1", "1", "INCR", "a") == 1
    assert client.call("SESSION", "CALL", "1", "2", "1", "GET", "a") == b"1"
    client.call("MULTI")
    client.call("INCR", "a")
    for attempt in range(2):
        assert client.call("SESSION", "CALL", "1", "3", "1", "EXEC") == [2]
        if attempt == 0:
            client.call("MULTI")
            client.call("INCR", "a")
    assert client.call("GET", "a") == b"2"


@pytest.mark.parametrize(
    "words", ["OPEN now", "CALL 1 1 1", "CALL 1 x 1 INCR a", "CALL 1 1 1 PING", "NOSUCH"]
)
def test_wrong_uses_of_sessions(client: Connection, words: str) -> None:
    assert isinstance(client.call("SESSION", *words.split()), hiredis.ReplyError)


# --- The connection -----------------------------------------------------------------------------


def test_without_the_password_nothing_works() -> None:
    client = Connection(Server(), password="secret")
    assert str(client.call("GET", "a")) == "NOAUTH Authentication required."
    assert str(client.call("INFO")) == "NOAUTH Authentication required."
    assert str(client.call("HELLO", "3")).startswith("NOAUTH")
    assert str(client.call("AUTH", "wrong")).startswith("WRONGPASS")
    assert str(client.call("AUTH", "somebody", "secret")).startswith("WRONGPASS")
    assert client.call("AUTH", "secret") == b"OK"
    assert client.call("GET", "a") is None
    client.call("RESET")
    assert str(client.call("GET", "a")).startswith("NOAUTH")
    assert isinstance(client.call("HELLO", "3", "AUTH", "default", "secret"), dict)
    assert client.call("GET", "a") is None


def test_what_clients_ask_when_they_connect(client: Connection) -> None:
    hello = client.call("HELLO", "3", "SETNAME", "me")
    assert isinstance(hello, dict)
    assert hello[b"proto"] == 3
    assert client.call("CLIENT", "GETNAME") == b"me"
    assert client.call("CLIENT", "SETINFO", "LIB-NAME", "x") == b"OK"
    assert client.call("CONFIG", "GET", "save", "append*") == {
        b"save": b"",
        b"appendonly": b"yes",
        b"appendfsync": b"always",
    }
    assert str(client.call("HELLO", "4")) == "NOPROTO unsupported protocol version"
    assert client.call("COMMAND", "COUNT") == len(client.call("COMMAND"))  # type: ignore[arg-type]
    info = client.call("COMMAND", "INFO", "get", "nosuch")
    assert info == [[b"get", 2, [b"readonly"], 1, 1, 1], None]
    text = client.call("INFO")
    assert isinstance(text, bytes)
    assert b"redis_version:" in text
    assert b"node:1" in text
    assert b"# Raft\r\nterm:3" in text
    assert client.call("INFO", "raft") == b"# Raft\r\nterm:3\r\n"


def test_quit_is_the_last_word(client: Connection) -> None:
    actions = client.session.feed(encoded(b"QUIT") + encoded(b"SET", b"a", b"1"))
    assert actions == [Local(b"+OK\r\n", close=True)]


def test_administration_is_for_the_node(client: Connection) -> None:
    assert client.session.feed(encoded(b"RAFT", b"STATUS", b"x")) == [Admin([b"STATUS", b"x"])]


def test_replies_are_in_the_version_of_their_connection(server: Server, client: Connection) -> None:
    other = server.connect()
    other.call("HELLO", "3")
    assert client.send(encoded(b"GET", b"none")) == b"$-1\r\n"
    assert other.send(encoded(b"GET", b"none")) == b"_\r\n"
