"""What Redis' commands mean: each becomes an operation of ``impl/store.py``, or is refused.

Names, options and the texts of errors are those of Redis 7, so that its clients work unchanged.
What depends on the connection (MULTI, HELLO, CLIENT, ...) is in ``impl/resp.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from impl.machine import Failure
from impl.store import integer

Operation: TypeAlias = tuple[object, ...]
"""A name and arguments, as ``KeyValueStore`` takes them."""

SYNTAX = Failure("ERR", "syntax error")
NOT_AN_INTEGER = Failure("ERR", "value is not an integer or out of range")
INVALID_CURSOR = Failure("ERR", "invalid cursor")

_MAX_TIME_MS = 1 << 53


class Refused(Exception):
    """The command is wrong by itself; ``failure`` is the reply."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Command:
    """A command on data: how many words it has, and what it asks of the store."""

    name: str
    least: int
    most: int | None
    writes: bool
    operation: Callable[[list[bytes]], Operation]
    """The operation that words ask for; raises ``Refused``."""
    summary: str

    @property
    def arity(self) -> int:
        """As COMMAND gives it: negative if there may be more words."""
        return self.least if self.most == self.least else -self.least

    @property
    def keys(self) -> tuple[int, int, int]:
        """As COMMAND gives it: first key, last key, step."""
        if self.name in ("mset", "msetnx"):
            return 1, -1, 2
        if self.name in ("del", "unlink", "exists", "touch", "mget", "revisions"):
            return 1, -1, 1
        return (0, 0, 0) if self.name in ("dbsize", "scan", "revision") else (1, 1, 1)


def number(word: bytes) -> int:
    """A word that must be a 64-bit number."""
    found = integer(word)
    if found is None:
        raise Refused(NOT_AN_INTEGER)
    return found


def _time(word: bytes, milliseconds_each: int, name: str, *, must_be_positive: bool) -> int:
    """A time or a duration in milliseconds."""
    found = number(word) * milliseconds_each
    if (must_be_positive and found <= 0) or abs(found) > _MAX_TIME_MS:
        raise Refused(Failure("ERR", f"invalid expire time in '{name}' command"))
    return found


_EXPIRIES = {
    b"": ("none", 0),
    b"KEEPTTL": ("keep", 0),
    b"EX": ("in", 1000),
    b"PX": ("in", 1),
    b"EXAT": ("at", 1000),
    b"PXAT": ("at", 1),
}
"""Kind, and milliseconds each if there is a time."""


def _set(words: list[bytes]) -> Operation:
    if len(words) == 3:
        return "set", words[1], words[2]
    condition, returns_old = b"", False
    expiry, argument = b"", b""
    options = iter(words[3:])
    for word in options:
        option = word.upper() or b"?"
        if option in (b"NX", b"XX") and condition in (b"", option):
            condition = option
        elif option == b"GET":
            returns_old = True
        elif option in _EXPIRIES and expiry in (b"", option):
            expiry = option
            if option != b"KEEPTTL":
                given = next(options, None)
                if given is None:
                    raise Refused(SYNTAX)
                argument = given
        else:
            raise Refused(SYNTAX)
    kind, unit = _EXPIRIES[expiry]
    time_ms = _time(argument, unit, "set", must_be_positive=True) if unit else 0
    return "set_with", words[1], words[2], condition.decode(), returns_old, (kind, time_ms)


def _setex(name: str, unit: int) -> Callable[[list[bytes]], Operation]:
    def operation(words: list[bytes]) -> Operation:
        duration = _time(words[2], unit, name, must_be_positive=True)
        return "set_with", words[1], words[3], "", False, ("in", duration)

    return operation


def _incr(sign: int, *, takes_number: bool) -> Callable[[list[bytes]], Operation]:
    def operation(words: list[bytes]) -> Operation:
        by = number(words[2]) if takes_number else 1
        if sign * by == 1 << 63:
            raise Refused(Failure("ERR", "decrement would overflow"))
        return "incr", words[1], sign * by

    return operation


def _expire(name: str, kind: str, unit: int) -> Callable[[list[bytes]], Operation]:
    def operation(words: list[bytes]) -> Operation:
        options = [word.upper() for word in words[3:]]
        for word, option in zip(words[3:], options, strict=True):
            if option not in (b"NX", b"XX", b"GT", b"LT"):
                raise Refused(Failure("ERR", f"Unsupported option {word.decode(errors='replace')}"))
        if b"NX" in options and len(set(options)) > 1:
            text = "NX and XX, GT or LT options at the same time are not compatible"
            raise Refused(Failure("ERR", text))
        if {b"GT", b"LT"} <= set(options):
            text = "GT and LT options at the same time are not compatible"
            raise Refused(Failure("ERR", text))
        time_ms = _time(words[2], unit, name, must_be_positive=False)
        # A key that GT or LT lets pass has a time already, or none, as XX would ask.
        condition = next((o.decode() for o in (b"GT", b"LT", b"NX", b"XX") if o in options), "")
        if condition == "LT" and b"XX" in options:
            condition = "XX LT"
        return "expire", words[1], kind, time_ms, condition

    return operation


def _pairs(name: str) -> Callable[[list[bytes]], Operation]:
    def operation(words: list[bytes]) -> Operation:
        if len(words) % 2 == 0:
            raise Refused(wrong_number(name))
        return name, *words[1:]

    return operation


def _scan(words: list[bytes]) -> Operation:
    if not words[1].isdigit() or len(words[1]) > 20:
        raise Refused(INVALID_CURSOR)
    pattern, count, kind = None, 10, b"string"
    options = words[2:]
    if len(options) % 2:
        raise Refused(SYNTAX)
    for option, argument in zip(options[::2], options[1::2], strict=True):
        match option.upper():
            case b"MATCH":
                pattern = None if argument == b"*" else argument
            case b"COUNT":
                count = number(argument)
                if count < 1:
                    raise Refused(SYNTAX)
            case b"TYPE":
                kind = argument.lower()
            case _:
                raise Refused(SYNTAX)
    if kind != b"string":  # of other types there is nothing
        return "echo", [b"0", []]
    return "scan", int(words[1]), pattern, count


def _same(name: str) -> Callable[[list[bytes]], Operation]:
    """An operation that takes the words as they are."""
    return lambda words: (name, *words[1:])


def wrong_number(name: str) -> Failure:
    """The reply to a command with too few or too many words."""
    return Failure("ERR", f"wrong number of arguments for '{name}' command")


_READ, _WRITE = False, True
COMMANDS: Mapping[str, Command] = {
    command.name: command
    for command in (
        Command("get", 2, 2, _READ, lambda w: ("get", w[1]), "The value of a key"),
        Command("set", 3, None, _WRITE, _set, "Set a key: NX XX GET EX PX EXAT PXAT KEEPTTL"),
        Command("del", 2, None, _WRITE, _same("del"), "Remove keys"),
        Command("unlink", 2, None, _WRITE, _same("del"), "Remove keys"),
        Command("exists", 2, None, _READ, _same("exists"), "How many of the keys there are"),
        Command("touch", 2, None, _READ, _same("exists"), "How many of the keys there are"),
        Command("incr", 2, 2, _WRITE, _incr(1, takes_number=False), "Add one"),
        Command("incrby", 3, 3, _WRITE, _incr(1, takes_number=True), "Add a number"),
        Command("decr", 2, 2, _WRITE, _incr(-1, takes_number=False), "Subtract one"),
        Command("decrby", 3, 3, _WRITE, _incr(-1, takes_number=True), "Subtract a number"),
        Command("append", 3, 3, _WRITE, _same("append"), "Append to a value; its length"),
        Command("strlen", 2, 2, _READ, _same("strlen"), "The length of a value"),
        Command("mget", 2, None, _READ, _same("mget"), "The values of keys"),
        Command("mset", 3, None, _WRITE, _pairs("mset"), "Set keys, all at once"),
        Command("msetnx", 3, None, _WRITE, _pairs("msetnx"), "Set keys if none of them exists"),
        Command("setnx", 3, 3, _WRITE, _same("msetnx"), "Set a key if it does not exist"),
        Command("setex", 4, 4, _WRITE, _setex("setex", 1000), "Set a key for some seconds"),
        Command("psetex", 4, 4, _WRITE, _setex("psetex", 1), "Set a key for some milliseconds"),
        Command(
            "getset",
            3,
            3,
            _WRITE,
            lambda w: ("set_with", w[1], w[2], "", True, ("none", 0)),
            "Set a key; its value before",
        ),
        Command("getdel", 2, 2, _WRITE, _same("getdel"), "Remove a key; its value"),
        Command("expire", 3, None, _WRITE, _expire("expire", "in", 1000), "Expire in seconds"),
        Command("pexpire", 3, None, _WRITE, _expire("pexpire", "in", 1), "Expire in milliseconds"),
        Command(
            "expireat", 3, None, _WRITE, _expire("expireat", "at", 1000), "Expire at a Unix time"
        ),
        Command(
            "pexpireat", 3, None, _WRITE, _expire("pexpireat", "at", 1), "Expire at a time in ms"
        ),
        Command("ttl", 2, 2, _READ, _same("ttl"), "Seconds until a key expires"),
        Command("pttl", 2, 2, _READ, _same("pttl"), "Milliseconds until a key expires"),
        Command("persist", 2, 2, _WRITE, _same("persist"), "Do not expire a key"),
        Command("type", 2, 2, _READ, _same("type"), "The type of a key: string or none"),
        Command("scan", 2, None, _READ, _scan, "Some of the keys: MATCH COUNT TYPE"),
        Command("revision", 1, 1, _READ, _same("revision"), "When anything changed last"),
        Command("revisions", 2, None, _READ, _same("revisions"), "When keys changed last"),
        Command("dbsize", 1, 1, _READ, _same("dbsize"), "How many keys there are"),
    )
}
"""All commands on data, by their names in small letters."""
