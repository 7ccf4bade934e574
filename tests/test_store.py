"""The key-value store: Redis' answers, on every node the same, and all of it in a snapshot."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import hiredis
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl import sessions, store
from impl.globs import matches
from impl.machine import Failure, Result, decode_result, encode_result, restore_at_once
from impl.sessions import EXPIRED
from impl.shards import ShardedMap
from impl.store import KeyValueStore
from spec.sessions import ClientCommand, StateMachine, apply_command
from spec.state import ClientId, RequestId
from tests.redis_commands import (
    CONNECTION_COMMANDS,
    DATA_COMMANDS,
    Server,
    Words,
    ask,
    encoded,
    parsed,
    real_redis,
)

pack = msgspec.msgpack.encode


def same(ours: object, theirs: object) -> bool:
    """Are two replies equal? Errors by their texts, a scan as a set."""
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, hiredis.ReplyError):
        return isinstance(theirs, hiredis.ReplyError) and str(ours) == str(theirs)
    return type(ours) is type(theirs) and ours == theirs


def in_order(reply: object) -> object:
    """A reply of SCAN has its keys in any order."""
    match reply:
        case [b"0", [*keys]]:
            return sorted(map(repr, keys))
        case [*replies]:  # of a transaction
            return [in_order(one) for one in replies]
    return reply


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis_says_the_same(tmp_path: Path) -> None:
    with real_redis(tmp_path) as redis:

        @settings(max_examples=400)
        @given(st.lists(DATA_COMMANDS | CONNECTION_COMMANDS, max_size=25))
        def compare(commands: list[Words]) -> None:
            reader = hiredis.Reader()
            server = Server()
            connection = server.connect()
            for begin in (b"RESET", b"FLUSHALL"):
                ask(redis, reader, (begin,))
            for words in commands:
                ours = in_order(parsed(connection.send(encoded(*words))))
                theirs = in_order(ask(redis, reader, words))
                assert same(ours, theirs), (words, ours, theirs)

        compare()


class Model:
    """Strings with expiry, as plainly as can be."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.times: dict[bytes, int] = {}

    def tell_time(self, now: int) -> None:
        """Remove what has expired."""
        for key in [key for key, at in self.times.items() if at <= now]:
            del self.values[key], self.times[key]

    def put(self, key: bytes, value: bytes, at: int | None = None) -> None:
        """Set a key that expires ``at`` some time, or never."""
        self.values[key] = value
        self.times.pop(key, None)
        if at is not None:
            self.times[key] = at


STEPS = st.one_of(
    st.tuples(st.just("tick"), st.integers(1, 300), st.just(b"")),
    st.tuples(st.just("set"), st.sampled_from([b"a", b"b"]), st.binary(max_size=3)),
    st.tuples(st.just("setpx"), st.sampled_from([b"a", b"b"]), st.integers(1, 500)),
    st.tuples(st.just("keep"), st.sampled_from([b"a", b"b"]), st.binary(max_size=3)),
    st.tuples(st.just("append"), st.sampled_from([b"a", b"b"]), st.binary(max_size=3)),
    st.tuples(st.just("expire"), st.sampled_from([b"a", b"b"]), st.integers(-1, 500)),
    st.tuples(st.just("persist"), st.sampled_from([b"a", b"b"]), st.just(b"")),
    st.tuples(st.just("del"), st.sampled_from([b"a", b"b"]), st.just(b"")),
)


@given(st.lists(STEPS, max_size=40))
def test_a_plain_dictionary_says_the_same(steps: list[tuple[str, object, object]]) -> None:
    server, model = Server(), Model()
    connection = server.connect()
    start = server.time_ms
    for step in steps:
        now = server.time_ms
        match step:
            case ("tick", int(milliseconds), _):
                server.time_ms += milliseconds
                server.store.apply(server.time_ms, [])
                model.tell_time(server.time_ms)
            case ("set", bytes(key), bytes(value)):
                connection.call(b"SET", key, value)
                model.put(key, value)
            case ("setpx", bytes(key), int(milliseconds)):
                connection.call(b"SET", key, b"v", b"PX", b"%d" % milliseconds)
                model.put(key, b"v", now + milliseconds)
            case ("keep", bytes(key), bytes(value)):
                connection.call(b"SET", key, value, b"KEEPTTL")
                model.put(key, value, model.times.get(key))
            case ("append", bytes(key), bytes(value)):
                model.put(key, model.values.get(key, b"") + value, model.times.get(key))
                assert connection.call(b"APPEND", key, value) == len(model.values[key])
            case ("expire", bytes(key), int(milliseconds)):
                assert connection.call(b"PEXPIRE", key, b"%d" % milliseconds) == (
                    key in model.values
                )
                if key in model.values:
                    model.times[key] = now + milliseconds
                    model.tell_time(now)
            case ("persist", bytes(key), _):
                was = model.times.pop(key, None)
                assert connection.call(b"PERSIST", key) == (was is not None)
            case ("del", bytes(key), _):
                assert connection.call(b"DEL", key) == (key in model.values)
                model.values.pop(key, None)
                model.times.pop(key, None)
        for key in (b"a", b"b"):
            assert connection.call(b"GET", key) == model.values.get(key)
            left = model.times[key] - server.time_ms if key in model.times else -1
            assert connection.call(b"PTTL", key) == (left if key in model.values else -2)
        assert server.store.next_due() == min(model.times.values(), default=None)
        assert server.time_ms >= start


def image_of(machine: KeyValueStore) -> list[bytes]:
    return list(machine.snapshot())


def carry_out(machine: KeyValueStore, commands: Iterable[Words], time_ms: int = 1) -> list[bytes]:
    """The replies to commands on data, one batch each."""
    server = Server()
    server.store, server.time_ms = machine, time_ms
    connection = server.connect()
    return [connection.send(encoded(*words)) for words in commands]


@given(st.lists(DATA_COMMANDS, max_size=15), st.lists(DATA_COMMANDS, min_size=1, max_size=15))
def test_a_restored_machine_goes_on_as_the_old_one(before: list[Words], after: list[Words]) -> None:
    old, new = KeyValueStore(), KeyValueStore()
    carry_out(old, before)
    carry_out(new, after)  # what was there before is forgotten
    restore_at_once(new, image_of(old))
    assert image_of(new) == image_of(old)
    assert carry_out(new, after, 150_000) == carry_out(old, after, 150_000)
    assert image_of(new) == image_of(old)
    assert new.events_after((0, 0)) == old.events_after((0, 0))
    assert new.next_due() == old.next_due()


@settings(max_examples=40)
@given(
    st.lists(DATA_COMMANDS, max_size=20),
    st.lists(st.lists(DATA_COMMANDS, max_size=3), min_size=1, max_size=8),
)
def test_a_snapshot_is_of_the_moment_it_was_taken(
    before: list[Words], meanwhile: list[list[Words]]
) -> None:
    machine = KeyValueStore()
    carry_out(machine, before)
    carry_out(machine, [(b"MSET", *(b"%d" % n for n in range(600)))])
    expected = image_of(machine)
    taken, chunks = machine.snapshot(), []
    carry_out(machine, meanwhile[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_CHUNK_BYTES", 200)
        for commands in meanwhile:
            chunks += [chunk for chunk in [next(taken, None)] if chunk is not None]
            carry_out(machine, commands)
            carry_out(machine, [(b"DEL", *(b"%d" % n for n in range(0, 600, 7)))])
        chunks += taken
    restored = KeyValueStore()
    restore_at_once(restored, chunks)
    assert image_of(restored) == expected


@given(
    st.lists(DATA_COMMANDS, max_size=20), st.lists(st.integers(0, 10**15), min_size=1, max_size=20)
)
def test_questions_and_clocks_of_a_node_change_nothing(
    commands: list[Words], clocks: list[int]
) -> None:
    here, there = KeyValueStore(), KeyValueStore()
    one, other = Server(), Server()
    one.store, other.store = here, there
    for number, words in enumerate([(b"SET", b"a", b"v", b"EX", b"100"), *commands]):
        if number < len(clocks):
            there.query(clocks[number], ("ttl", b"a"))
        transaction = [(b"MULTI",), words, (b"TTL", b"a"), (b"EXEC",)]
        left, right = one.connect(), other.connect()
        for part in transaction:
            assert left.send(encoded(*part)) == right.send(encoded(*part))
    assert image_of(here) == image_of(there)


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"\x00",
        b"\xc1",
        pack([]),
        pack(["nosuch"]),
        pack(["get"]),
        pack(["set", b"k"]),
        pack(7),
    ],
)
def test_a_command_of_another_version_is_answered_not_fatal(command: bytes) -> None:
    machine = KeyValueStore()
    result = machine.apply(1, [command, pack(["set", b"k", b"v"])])
    assert result == [store.UNKNOWN, "OK"]


def test_until_it_is_restored_a_store_answers_as_before() -> None:
    old, new = KeyValueStore(), KeyValueStore()
    old.apply(1, [pack(["set", b"k", b"old"])])
    new.apply(1, [pack(["set", b"%d" % number, b"x" * 100]) for number in range(3000)])
    image = image_of(new)
    given_up = old.restore(image)
    for _ in range(3):
        next(given_up)
    del given_up
    assert (old.query(1, ("get", b"k")), old.query(1, ("dbsize",))) == (b"old", 1)
    seen = [old.query(1, ("dbsize",)) for _ in old.restore(image)]
    assert set(seen) == {1, 3000}
    assert seen[0] == 1
    assert seen[-1] == 3000
    assert image_of(old) == image


def test_a_snapshot_of_another_format_is_refused() -> None:
    machine = KeyValueStore()
    head, *_ = image_of(machine)
    values = msgspec.msgpack.decode(head)
    with pytest.raises(msgspec.DecodeError, match="format 99"):
        restore_at_once(machine, [pack([99, *values[1:]])])
    with pytest.raises(msgspec.DecodeError):
        restore_at_once(machine, [])


RESULTS: st.SearchStrategy[Result] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.binary(max_size=5),
        st.text(max_size=5),
        st.builds(Failure, st.text(max_size=3), st.text(max_size=3)),
    ),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(RESULTS)
def test_results_travel(result: Result) -> None:
    assert decode_result(encode_result(result)) == result


# --- Time ---------------------------------------------------------------------------------------


def test_a_key_expires_in_the_log_not_by_a_clock() -> None:
    server = Server()
    connection = server.connect()
    connection.call("SET", "k", "v", "PX", "50")
    due = server.store.next_due()
    assert due == server.time_ms + 50
    server.time_ms += 1000
    assert connection.call("GET", "k") == b"v", "the log has not said so yet"
    assert connection.call("PTTL", "k") == 0
    assert server.store.apply(due, []) == []
    assert connection.call("GET", "k") is None
    assert server.store.next_due() is None


def test_many_keys_that_expire_at_once_are_removed_bit_by_bit() -> None:
    server = Server()
    connection = server.connect()
    for number in range(store.EXPIRED_PER_BATCH + 5):
        connection.call("SET", f"{number}", "v", "EX", "1")
    server.time_ms += 1000
    server.store.apply(server.time_ms, [])
    assert connection.call("DBSIZE") == 5
    assert connection.call("EXISTS", *(f"{n}" for n in range(205))) == 0, "none of them is seen"
    assert server.store.next_due() == server.time_ms, "it wants to be called again"
    server.store.apply(server.time_ms, [])
    assert connection.call("DBSIZE") == 0


def test_the_time_never_goes_back() -> None:
    machine = KeyValueStore()
    set_px = pack(["set_with", b"k", b"v", "", False, ("in", 10)])
    machine.apply(1000, [])
    machine.apply(5, [set_px])
    assert machine.next_due() == 1010


# --- Revisions and events -----------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(DATA_COMMANDS, max_size=20), st.data())
def test_events_rebuild_the_data(commands: list[Words], data: st.DataObject) -> None:
    machine = KeyValueStore()
    revisions = [0]
    states: list[dict[bytes, bytes]] = [{}]
    for words in commands:
        carry_out(machine, [words])
        revisions.append(machine.revision)
        states.append(values_of(machine))
    assert revisions == sorted(revisions)
    start = data.draw(st.integers(0, len(commands)))
    events = machine.events_after((revisions[start], 10**9))
    assert events is not None
    state = dict(states[start])
    for event in events:
        if event.value is None:
            del state[event.key]
        else:
            state[event.key] = event.value
    assert state == states[-1]
    assert len({(e.revision, e.number) for e in events}) == len(events)


def values_of(machine: KeyValueStore) -> dict[bytes, bytes]:
    found = machine.query(0, ("scan", 0, None, 10_000))
    assert isinstance(found, list)
    assert isinstance(found[1], list)
    values = {key: machine.query(0, ("get", key)) for key in found[1] if isinstance(key, bytes)}
    return {key: value for key, value in values.items() if isinstance(value, bytes)}


@pytest.mark.parametrize(("limit", "value"), [("MAX_EVENTS", 4), ("MAX_EVENT_BYTES", 22)])
def test_events_are_bounded_and_say_when_some_are_missing(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, limit, value)
    machine = KeyValueStore()
    for number in range(6):
        carry_out(machine, [(b"MSET", b"k", b"%d" % number * 4, b"l", b"%d" % number * 4)])
    kept = machine.events_after((4, 1))
    assert kept is not None
    assert [(e.revision, e.key) for e in kept] == [(5, b"k"), (5, b"l"), (6, b"k"), (6, b"l")]
    assert machine.events_after((4, 0)) is None
    assert machine.events_after((6, 1)) == []
    restored = KeyValueStore()
    restore_at_once(restored, image_of(machine))
    assert restored.events_after((4, 0)) is None
    assert restored.events_after((4, 1)) == kept


def test_a_transaction_is_one_revision() -> None:
    machine = KeyValueStore()
    carry_out(machine, [(b"MULTI",), (b"SET", b"a", b"1"), (b"INCR", b"a"), (b"EXEC",)])
    assert machine.revision == 1
    assert [(e.number, e.value) for e in machine.events_after((0, 0)) or ()] == [
        (0, b"1"),
        (1, b"2"),
    ]


# --- Sessions (§8) ------------------------------------------------------------------------------


def call(machine: KeyValueStore, client: Result, serial: int, oldest: int = 0) -> Result:
    """INCR once, as request ``serial``."""
    return machine.apply(1, [pack(["session_call", client, serial, oldest, ["incr", b"n", 1]])])[0]


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), max_size=40), st.booleans())
def test_a_request_is_carried_out_once(requests: list[tuple[int, int]], restarts: bool) -> None:
    machine = KeyValueStore()
    clients = machine.apply(1, [pack(["session_open"])] * 2)
    done: dict[tuple[int, int], Result] = {}
    for who, serial in requests:
        result = call(machine, clients[who], serial)
        if (who, serial) in done:
            assert result == done[who, serial]
        else:
            assert result == len(done) + 1
            done[who, serial] = result
        if restarts:
            restored = KeyValueStore()
            restore_at_once(restored, image_of(machine))
            machine = restored


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 5)), max_size=40))
def test_with_one_request_at_a_time_it_is_the_rule_that_is_checked(
    requests: list[tuple[int, int]],
) -> None:
    """Clients of the model wait for one request; ours for many, and say which is the oldest."""
    machine, model = KeyValueStore(), StateMachine()
    clients = machine.apply(1, [pack(["session_open"])] * 2)
    for who, serial in requests:
        request_id = RequestId(client_id=ClientId(who), serial_number=serial)
        model, expected = apply_command(model, ClientCommand(data=b"", request_id=request_id))
        result = call(machine, clients[who], serial, oldest=serial)
        assert result == (sessions.ACKNOWLEDGED if expected is None else expected)


def test_results_that_the_client_no_longer_waits_for_are_forgotten() -> None:
    machine = KeyValueStore()
    client = machine.apply(1, [pack(["session_open"])])[0]
    assert [call(machine, client, serial) for serial in (1, 2, 3)] == [1, 2, 3]
    assert call(machine, client, 4, oldest=3) == 4
    assert call(machine, client, 3) == 3
    assert call(machine, client, 2) == sessions.ACKNOWLEDGED
    assert machine.query(1, ("get", b"n")) == b"4"


def test_a_session_that_was_ended_is_told_so() -> None:
    machine = KeyValueStore()
    assert call(machine, 7, 1) == EXPIRED
    assert machine.query(1, ("get", b"n")) is None


def test_the_longest_unused_session_ends_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 2)
    machine = KeyValueStore()
    one, two = machine.apply(1, [pack(["session_open"])] * 2)
    call(machine, one, 1)
    (three,) = machine.apply(1, [pack(["session_open"])])
    assert call(machine, two, 1) == EXPIRED
    assert [call(machine, client, 1) for client in (one, three)] == [1, 2]


def test_idle_sessions_end_by_the_time_in_the_log() -> None:
    machine = KeyValueStore()
    (one,) = machine.apply(1, [pack(["session_open"])])
    machine.apply(2 + sessions.IDLE_MS, [pack(["session_open"])])
    assert call(machine, one, 1) == EXPIRED


def test_what_sessions_keep_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_OUTSTANDING", 3)
    monkeypatch.setattr(sessions, "MAX_RESULT_BYTES", 1000)
    machine = KeyValueStore()
    carry_out(machine, [(b"SET", b"big", bytes(600))])
    one, two = machine.apply(1, [pack(["session_open"])] * 2)
    read = ["get", b"big"]
    for client in (one, two):
        machine.apply(1, [pack(["session_call", client, 1, 0, read])])
    assert call(machine, one, 2) == EXPIRED, "two results of 600 bytes are too many"
    assert [call(machine, two, serial) for serial in (2, 3, 4)] == [1, 2, sessions.TOO_MANY]
    assert machine.query(1, ("get", b"n")) == b"2"


# --- Parts --------------------------------------------------------------------------------------

SMALL = st.text("ab*?", max_size=8)


@given(SMALL, st.text("ab", max_size=8))
def test_stars_and_question_marks_are_those_of_the_library(pattern: str, text: str) -> None:
    assert matches(pattern.encode(), text.encode()) == fnmatchcase(text, pattern)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (b"h[ae]llo", b"hallo", True),
        (b"h[ae]llo", b"hillo", False),
        (b"h[^e]llo", b"hallo", True),
        (b"h[^e]llo", b"hello", False),
        (b"h[b-a]llo", b"hallo", True),
        (b"h[a-", b"ha", True),
        (b"h[\\]]", b"h]", True),
        (b"h\\*", b"h*", True),
        (b"h\\*", b"hx", False),
        (b"h\\", b"h\\", True),
        (b"*a" * 30 + b"b", b"a" * 3000, False),
    ],
)
def test_classes_and_escapes(pattern: bytes, text: bytes, expected: bool) -> None:
    assert matches(pattern, text) == expected


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=30),
    st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.integers(0, 3)), max_size=30),
)
def test_an_image_is_of_the_moment_it_was_made(
    before: list[tuple[int, bool]], after: list[tuple[int, bool, int]]
) -> None:
    found: ShardedMap[int] = ShardedMap()
    model: dict[bytes, int] = {}

    def change(number: int, is_put: bool, value: int) -> None:
        key = b"%d" % number
        if is_put:
            found.put(key, value)
            model[key] = value
        elif key in model:
            found.remove(key)
            del model[key]

    for number, is_put in before:
        change(number, is_put, 0)
    image, expected, seen = found.image(), dict(model), {}
    for number, is_put, steps in after:
        for _ in range(steps):
            seen.update((next(image, None) or (0, {}))[1])
        change(number, is_put, 1)
    for _, shard in image:
        seen.update(shard)
    assert seen == expected
    assert len(found) == len(model)
    assert {key: found.get(key) for key in model} == model
