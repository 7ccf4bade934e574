"""What peers say to each other, as bytes: the only place where a peer's bytes become values.

A frame is its length (4 bytes, big-endian) and a MessagePack pair ``[name, fields]`` of one value.
The codec is derived once from the dataclass fields of ``spec`` and of the few messages below; there
is no second set of message classes to keep in step. Decoding is typed at every level, so that
malformed bytes end in ``Malformed`` and in nothing else. No clock and no socket here.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from operator import attrgetter
from struct import Struct
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from spec.messages import Message
from spec.state import Index, ServerId

VERSION = 1
"""Of the frames and messages; peers of different versions refuse each other in the handshake."""

LENGTH = Struct(">I")
NATURAL = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Malformed(Exception):
    """Bytes of a peer that are no frame or no message of this protocol."""


class Impossible(AssertionError):
    """A message that no server sends which follows the rules: it contradicts what is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first frame in each direction: who speaks, to whom, in which cluster and version."""

    version: int
    cluster_id: str
    sender: ServerId
    receiver: ServerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Commands of the sender's clients, for the leader, who does not send them on.

    ``request_id`` is the sender's own number for them.
    """

    request_id: int
    commands: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardDone:
    """The results of forwarded commands, encoded by the state machine; applied up to ``index``."""

    request_id: int
    index: Index
    results: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardFailed:
    """Forwarded commands were not done, or (``unknown``) may or may not have been."""

    request_id: int
    unknown: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSnapshot:
    """The sender lacks the snapshot file ``reference`` from ``offset`` on."""

    reference: bytes
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPiece:
    """A piece of the file ``reference``, empty if the sender has it no more."""

    reference: bytes
    offset: int
    data: bytes


Courier = Forward | ForwardDone | ForwardFailed | FetchSnapshot | SnapshotPiece
"""What servers carry for each other beside Raft's own messages."""
PeerMessage = Message | Courier


@dataclass(frozen=True, slots=True)
class Codec:
    """How values of one type look on the wire.

    ``wire`` is the type that MessagePack is decoded to and checked against; ``dump`` and ``load``
    convert between a value and that, ``None`` where the two are the same.
    """

    wire: Any
    dump: Callable[[Any], Any] | None = None
    load: Callable[[Any], Any] | None = None


@cache
def codec(kind: Any) -> Codec:
    """Derive the codec of a type annotation of ``spec``; raises ``TypeError`` for unknown ones."""
    if hasattr(kind, "__supertype__"):
        return codec(kind.__supertype__)
    if kind is int:
        return Codec(NATURAL)
    if kind in (bool, bytes, str):
        return Codec(kind)
    if is_dataclass(kind):
        return _of_dataclass(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        return _of_union(arguments)
    if origin is tuple and arguments[1:] == (...,):
        return _of_items(arguments[0], tuple)
    if origin is frozenset:
        return _of_items(arguments[0], frozenset)
    raise TypeError(f"no wire form for {kind!r}")


def _of_dataclass(kind: Any) -> Codec:
    """The tuple of the fields, in their order; a constructor that refuses them is ``Malformed``."""
    names = tuple(field.name for field in fields(kind))
    hints = get_type_hints(kind)
    parts = tuple(codec(hints[name]) for name in names)
    dumps = tuple(part.dump for part in parts)
    loads = tuple(part.load for part in parts)
    read = attrgetter(*names) if len(names) > 1 else _read_one(*names)

    def dump(value: Any) -> tuple[Any, ...]:
        return tuple(_converted(read(value), dumps))

    def load(wire: tuple[Any, ...]) -> Any:
        return kind(**dict(zip(names, _converted(wire, loads), strict=True)))

    def load_as_it_is(wire: tuple[Any, ...]) -> Any:
        return kind(**dict(zip(names, wire, strict=True)))

    return Codec(
        tuple[tuple(part.wire for part in parts)],  # type: ignore[misc]
        dump if any(dumps) else read,
        load if any(loads) else load_as_it_is,
    )


def _read_one(*names: str) -> Callable[[Any], tuple[Any, ...]]:
    """What ``attrgetter`` does for two names or more."""
    return lambda value: tuple(getattr(value, name) for name in names)


def _converted(
    values: tuple[Any, ...], converts: tuple[Callable[[Any], Any] | None, ...]
) -> list[Any]:
    pairs = zip(values, converts, strict=True)
    return [value if convert is None else convert(value) for value, convert in pairs]


def _of_items(kind: Any, collection: Callable[[Iterator[Any]], Any]) -> Codec:
    """Items of one kind; those of a set are sorted, so that equal sets are equal bytes."""
    item = codec(kind)

    def dump(value: Any) -> list[Any]:
        items = value if collection is tuple else sorted(value)
        return list(items) if item.dump is None else [item.dump(i) for i in items]

    def load(wire: list[Any]) -> Any:
        return collection(iter(wire) if item.load is None else (item.load(i) for i in wire))

    return Codec(list[item.wire], dump, load)  # type: ignore[name-defined]


def _of_union(kinds: tuple[Any, ...]) -> Codec:
    """``None``, or the pair of a class's name and its fields."""
    optional = types.NoneType in kinds
    kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
    if len(kinds) == 1 and not is_dataclass(kinds[0]):
        part = codec(kinds[0])
        assert part.load is None or optional
        return Codec(part.wire | None, _unless_none(part.dump), _unless_none(part.load))
    named = {kind.__name__: codec(kind) for kind in kinds}
    decoders = {name: (msgspec.msgpack.Decoder(c.wire), c.load) for name, c in named.items()}
    encode = msgspec.msgpack.Encoder().encode

    def dump(value: Any) -> tuple[str, msgspec.Raw]:
        name = type(value).__name__
        convert = named[name].dump
        assert convert is not None, "members of a union are dataclasses"
        return name, msgspec.Raw(encode(convert(value)))

    def load(wire: tuple[str, msgspec.Raw]) -> Any:
        name, raw = wire
        if name not in decoders:
            raise Malformed(f"unknown message {name[:40]!r}")
        decoder, convert = decoders[name]
        assert convert is not None, "members of a union are dataclasses"
        return convert(decoder.decode(raw))

    pair = tuple[str, msgspec.Raw]
    if optional:
        return Codec(pair | None, _unless_none(dump), _unless_none(load))
    return Codec(pair, dump, load)


def _unless_none(convert: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    if convert is None:
        return None
    return lambda value: None if value is None else convert(value)


class Wire:
    """Encoder and decoder of the values of one union type."""

    def __init__(self, kind: Any) -> None:
        self._codec = codec(kind)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(self._codec.wire)

    def frame(self, value: object) -> bytes:
        """The value as a frame, its length before it."""
        assert self._codec.dump is not None
        body = self._encoder.encode(self._codec.dump(value))
        return LENGTH.pack(len(body)) + body

    def value(self, body: bytes | memoryview) -> Any:
        """The value in the body of a frame; raises ``Malformed``."""
        assert self._codec.load is not None
        try:
            return self._codec.load(self._decoder.decode(body))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Malformed(str(error)) from error


HANDSHAKE = Wire(Hello)
PEER = Wire(PeerMessage)
_array = msgspec.msgpack.Decoder(list[msgspec.Raw])


def version_in(body: bytes) -> int:
    """The version that a first frame begins with, whatever else that version has in it.

    Raises ``Malformed``.
    """
    try:
        return msgspec.msgpack.decode(_array.decode(body)[0], type=int)
    except (msgspec.MsgspecError, IndexError, RecursionError) as error:
        raise Malformed(f"no handshake: {error}") from error


class Frames:
    """Cuts a stream into frames; one longer than ``limit`` is refused as soon as it says so."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._rest = bytearray()
        self._needed = 0
        """So long the rest must be before there is a whole frame in it."""

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies of the frames that ``data`` completes; raises ``Malformed``."""
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                return []
            data = bytes(rest)
            rest.clear()
        bodies = []
        start, end = 0, LENGTH.size
        while end <= len(data):
            (length,) = LENGTH.unpack_from(data, start)
            if length > self.limit:
                raise Malformed(f"a frame of {length} bytes, longer than {self.limit}")
            end += length
            if end <= len(data):
                bodies.append(data[start + LENGTH.size : end])
                start, end = end, end + LENGTH.size
        rest += data[start:]
        self._needed = end - start
        return bodies
