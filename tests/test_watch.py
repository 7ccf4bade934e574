"""Watching: changes in order, each once, none missing, wherever and whenever one goes on."""

from __future__ import annotations

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl import store
from impl.machine import restore_at_once
from impl.resp import Wait
from impl.store import KeyValueStore
from impl.watch import Watchers
from tests.redis_commands import Connection, Server, encoded, parsed

KEYS = st.sampled_from(["a", "a1", "a2", "b", "b1"])
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("SET"), KEYS, st.sampled_from(["x", "y"])),
        st.tuples(st.just("DEL"), KEYS),
        st.lists(KEYS, min_size=1, max_size=4).map(
            lambda keys: ("MSET", *(word for key in keys for word in (key, "m")))
        ),
    ),
    max_size=20,
)


def read(client: Connection, stream: str, position: str, *options: str) -> list[list[object]]:
    """The entries that an XREAD finds."""
    reply = client.call("XREAD", *options, "STREAMS", stream, position)
    if reply is None:
        return []
    assert isinstance(reply, list)
    ((name, entries),) = reply
    assert name == stream.encode()
    assert isinstance(entries, list)
    return entries


@given(CHANGES, CHANGES, st.sampled_from(["", "a", "b1", "c"]), st.integers(1, 4), st.booleans())
def test_all_changes_come_once_and_in_order(
    before: list[tuple[str, ...]],
    after: list[tuple[str, ...]],
    prefix: str,
    count: int,
    goes_elsewhere: bool,
) -> None:
    server = Server()
    client = server.connect()
    model: list[tuple[bytes, bytes, bytes | None]] = []
    for words in [*before, *after]:
        match client.call(*words), words:
            case [b"OK", ("SET" | "MSET", *pairs)]:
                keys, values = pairs[::2], pairs[1::2]
                model += [
                    (b"set", k.encode(), v.encode()) for k, v in zip(keys, values, strict=True)
                ]
            case [1, ("DEL", key)]:
                model.append((b"del", key.encode(), None))
    seen: list[tuple[bytes, bytes, bytes | None]] = []
    position = "0"
    while entries := read(client, f"watch:{prefix}", position, "COUNT", f"{count}"):
        assert len(entries) <= count
        for place, fields in entries:
            assert isinstance(fields, list)
            named = dict(zip(fields[::2], fields[1::2], strict=True))
            seen.append((named[b"op"], named[b"key"], named.get(b"value")))
            assert isinstance(place, bytes)
            position = place.decode()
        if goes_elsewhere:
            restored = Server()
            restore_at_once(restored.store, list(server.store.snapshot()))
            client = restored.connect()
    assert seen == [change for change in model if change[1].startswith(prefix.encode())]


def test_positions() -> None:
    client = Server().connect()
    client.call("MSET", "a", "1", "b", "2")
    client.call("SET", "a", "3")
    assert [place for place, _ in read(client, "watch:", "0")] == [b"1-0", b"1-1", b"2-0"]
    assert [place for place, _ in read(client, "watch:", "1-0")] == [b"1-1", b"2-0"]
    assert [place for place, _ in read(client, "watch:", "1")] == [b"2-0"]
    assert read(client, "watch:", "$") == []
    assert read(client, "watch:", "2-0") == []


def test_what_is_not_kept_any_more_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_EVENTS", 3)
    client = Server().connect()
    for number in range(6):
        client.call("SET", "k", f"{number}")
    reply = client.call("XREAD", "STREAMS", "watch:k", "2-0")
    assert isinstance(reply, hiredis.ReplyError)
    assert str(reply).startswith("TRIMMED only changes after 3-0 are kept")
    assert [place for place, _ in read(client, "watch:k", "3-0")] == [b"4-0", b"5-0", b"6-0"]
    assert len(read(client, "watch:k", "0")) == 3, "0 is the oldest that is kept"


@pytest.mark.parametrize(
    "words",
    [
        "STREAMS watch: x",
        "STREAMS other 0",
        "STREAMS watch:a",
        "STREAMS watch:a watch:b 0",
        "COUNT x STREAMS watch: 0",
        "BLOCK -1 STREAMS watch: 0",
        "WHAT 1 STREAMS watch: 0",
        "STREAMS watch: 0-x",
        "STREAMS watch: -1",
        "COUNT 1 BLOCK 1",
    ],
)
def test_what_is_wrong_is_refused(words: str) -> None:
    assert isinstance(Server().connect().call("XREAD", *words.split()), hiredis.ReplyError)


def test_several_streams_in_both_versions_of_the_protocol() -> None:
    client = Server().connect()
    client.call("SET", "a", "1")
    client.call("SET", "b", "2")
    entry = [b"op", b"set", b"key", b"a", b"value", b"1"]
    words = ("XREAD", "COUNT", "5", "STREAMS", "watch:a", "watch:c", "watch:b", "0", "0", "2")
    assert client.call(*words) == [[b"watch:a", [[b"1-0", entry]]]]
    client.call("HELLO", "3")
    assert client.call(*words) == {b"watch:a": [[b"1-0", entry]]}
    assert client.send(encoded(b"XREAD", b"STREAMS", b"watch:c", b"0")) == b"_\r\n"


def test_waiting_for_a_change() -> None:
    server = Server()
    client, other = server.connect(), server.connect()
    other.call("SET", "a", "old")
    (wait,) = client.session.feed(encoded(b"XREAD", b"BLOCK", b"0", b"STREAMS", b"watch:a", b"$"))
    assert isinstance(wait, Wait)
    assert (wait.prefixes, wait.timeout_ms) == ([b"a"], 0)
    assert wait.take(server.store.query(0, wait.query)) is None
    assert parsed(wait.nothing()) is None
    other.call("SET", "b", "not watched")
    assert wait.take(server.store.query(0, wait.query)) is None
    other.call("SET", "a", "new")
    reply = wait.take(server.store.query(0, wait.query))
    assert reply is not None
    fields = [b"op", b"set", b"key", b"a", b"value", b"new"]
    assert parsed(reply) == [[b"watch:a", [[b"3-0", fields]]]]


PREFIXES = st.lists(st.sampled_from([b"", b"a", b"a1", b"b", b"c"]), min_size=1, max_size=2)


@settings(max_examples=60)
@given(st.lists(PREFIXES, max_size=5), CHANGES, st.sets(st.integers(0, 4)))
def test_those_are_woken_for_whom_something_changed(
    waiting: list[list[bytes]], changes: list[tuple[str, ...]], cancelled: set[int]
) -> None:
    server = Server()
    client = server.connect()
    watchers = Watchers(server.store)
    woken: list[int] = []
    for number, prefixes in enumerate(waiting):
        cancel = watchers.add(prefixes, lambda number=number: woken.append(number))  # type: ignore[misc]
        if number in cancelled:
            cancel()
    expected: set[int] = set()
    for words in changes:
        before = server.store.revision
        client.call(*words)
        for event in server.store.events_after((before, store.ALL)) or ():
            expected |= {
                number
                for number, prefixes in enumerate(waiting)
                if number not in cancelled and event.key.startswith(tuple(prefixes))
            }
        assert sorted(woken) == sorted(expected), "each of them once"


def test_everybody_is_woken_when_changes_were_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_EVENTS", 1)
    machine = KeyValueStore()
    watchers, woken = Watchers(machine), []
    watchers.add([b"a"], lambda: woken.append(1))
    machine.apply(1, [b"\x93\xa3set\xc4\x01b\xc4\x01v"] * 3)
    assert woken == [1]
