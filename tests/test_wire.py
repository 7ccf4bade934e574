"""The peers' codec: what goes in comes out, and hostile bytes end in ``Malformed`` alone."""

from __future__ import annotations

import types
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.wire import (
    HANDSHAKE,
    LENGTH,
    PEER,
    VERSION,
    Courier,
    Frames,
    Hello,
    Malformed,
    PeerMessage,
    codec,
)
from spec.messages import Message
from spec.state import Command, Configuration, Entry, NoOp, ServerId, Term

LIMIT = 1 << 16
NATURAL = st.integers(min_value=0, max_value=2**63 - 1)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type annotation, drawn from its dataclass fields; so new messages are in."""
    if hasattr(kind, "__supertype__"):
        return values_of(kind.__supertype__)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        int: NATURAL,
        bool: st.booleans(),
        bytes: st.binary(max_size=40),
        str: st.text(max_size=20),
        types.NoneType: st.none(),
    }
    if kind in simple:
        return simple[kind]
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{f.name: values_of(hints[f.name]) for f in fields(kind)})
    if get_origin(kind) in (types.UnionType, Union):
        return st.one_of([values_of(member) for member in get_args(kind)])
    if get_origin(kind) is tuple:
        return st.lists(values_of(get_args(kind)[0]), max_size=4).map(tuple)
    assert get_origin(kind) is frozenset
    return st.frozensets(values_of(get_args(kind)[0]), max_size=4)


EACH_MESSAGE = pytest.mark.parametrize("kind", get_args(PeerMessage), ids=lambda k: k.__name__)


@EACH_MESSAGE
@given(data=st.data())
def test_every_message_comes_out_as_it_went_in(kind: type, data: st.DataObject) -> None:
    message = data.draw(values_of(kind))
    (body,) = Frames(LIMIT).feed(PEER.frame(message))
    assert PEER.value(body) == message
    assert type(PEER.value(body)) is kind


def test_all_messages_of_spec_are_on_the_wire() -> None:
    assert set(get_args(PeerMessage)) == {*get_args(Message), *get_args(Courier)}


@given(messages=st.lists(values_of(PeerMessage), max_size=5), data=st.data())
def test_frames_are_found_however_the_stream_is_cut(
    messages: list[object], data: st.DataObject
) -> None:
    stream = b"".join(map(PEER.frame, messages))
    frames = Frames(LIMIT)
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += frames.feed(stream[:size])
        stream = stream[size:]
    assert [PEER.value(body) for body in found] == messages


def test_a_frame_that_is_too_long_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(Malformed, match=f"{LIMIT + 1} bytes"):
        Frames(LIMIT).feed(LENGTH.pack(LIMIT + 1))
    assert Frames(LIMIT).feed(LENGTH.pack(LIMIT)) == []


@given(body=st.binary(max_size=200))
def test_hostile_bytes_are_malformed_or_a_message(body: bytes) -> None:
    try:
        message = PEER.value(body)
    except Malformed:
        return
    assert PEER.value(PEER.frame(message)[LENGTH.size :]) == message


@given(message=values_of(PeerMessage), data=st.data())
def test_a_damaged_message_is_malformed_or_another_message(
    message: object, data: st.DataObject
) -> None:
    body = bytearray(PEER.frame(message)[LENGTH.size :])
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    for hostile in (bytes(body), cut):
        try:
            assert type(PEER.value(hostile)) in get_args(PeerMessage)
        except Malformed:
            continue


NESTED = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.binary(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner)),
    max_leaves=12,
)


@given(name=st.sampled_from([k.__name__ for k in get_args(PeerMessage)]), wrong=NESTED)
def test_fields_of_a_wrong_shape_are_malformed(name: str, wrong: object) -> None:
    body = msgspec.msgpack.encode((name, wrong))
    with suppress(Malformed):
        assert type(PEER.value(body)).__name__ == name


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (msgspec.msgpack.encode(("Pickle", ())), "unknown message 'Pickle'"),
        (msgspec.msgpack.encode(("StaleTerm", (-1,))), "Expected `int` >= 0"),
        (msgspec.msgpack.encode(("StaleTerm", (1, 2))), "length 1"),
        (b"\x91" * 5000 + b"\xc0", "array|recursion"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        PEER.value(body)


@given(hello=values_of(Hello))
def test_handshake_comes_out_as_it_went_in(hello: Hello) -> None:
    (body,) = Frames(LIMIT).feed(HANDSHAKE.frame(hello))
    assert HANDSHAKE.value(body) == hello


def test_bytes_of_version_1_stay_what_they_are() -> None:
    """Other versions of the program must understand each other, or say that they do not."""
    entries = (
        Entry(term=Term(2), payload=Command(data=b"x")),
        Entry(term=Term(3), payload=NoOp()),
        Entry(term=Term(3), payload=Configuration(old=frozenset({ServerId(2), ServerId(1)}))),
    )
    assert VERSION == 1
    dump = codec(tuple[Entry, ...]).dump
    assert dump is not None
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(dump(entries))) == [
        [2, ["Command", [b"x"]]],
        [3, ["NoOp", []]],
        [3, ["Configuration", [[1, 2], None]]],
    ]


def test_a_type_without_a_wire_form_is_refused_when_the_codec_is_made() -> None:
    with pytest.raises(TypeError, match="no wire form"):
        codec(float)
