"""RESP2 and RESP3 as bytes: commands of clients are parsed, replies are encoded.

hiredis parses what is plainly well-formed, which is nearly everything. It believes what a header
says, though: ``*2000000000`` makes it allocate, and later walk over, as many places. So it only
gets what has no large header in it, and whatever it does not parse to the end into commands is
parsed again, piece by piece, by the exact and bounded parser of this file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import hiredis

from impl.machine import Failure

MAX_ARGUMENTS = 1 << 17
"""Words of one command, at most."""
MAX_COMMAND_BYTES = 16 << 20
"""Bytes of all words of one command, at most."""
MAX_LINE_BYTES = 1 << 16
"""Bytes of a command without headers, as people type it."""

_is_plain_start = re.compile(rb"\*[1-9]\d{0,3}\r\n").match
_has_large_header = re.compile(rb"\n[*~%>|]\d{5}").search
_END = b"*1\r\n$1\r\n!\r\n"
_HEADER_BYTES = 20
_STAR, _DOLLAR = b"*$"


class ProtocolError(Exception):
    """What came is not RESP, or is too large: the connection is of no use any more."""


class Parser:
    """Bytes of one connection in any pieces -> its commands, each a list of words.

    Holds one incomplete command at most, whose size is bounded.
    """

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._exact = ExactParser()

    def feed(self, data: bytes, commands: list[list[bytes]]) -> None:
        """Append to ``commands`` those that ``data`` completes.

        Raises ``ProtocolError``; the commands before the error are in ``commands`` then.
        """
        if self._exact.is_busy or not _is_plain_start(data) or _has_large_header(data):
            self._exact.feed(data, commands)
            return
        last = data.rfind(b"\r\n*") + 2
        if last < 2:  # one command at most
            if not self._parse_one(data, commands):
                self._exact.feed(data, commands)
        elif not self._parse(data, commands):
            if self._parse(data[:last], commands):  # the last one was incomplete
                data = data[last:]
            self._exact.feed(data, commands)

    def _parse_one(self, data: bytes, commands: list[list[bytes]]) -> bool:
        """Parse ``data``, in which no second command begins, if it is a whole command."""
        reader = self._reader
        try:
            reader.feed(data)
            words = reader.gets()
            if words is not False and not reader.has_data():
                b"".join(words)  # raises unless it is a list of words
                commands.append(words)
                return True
        except (hiredis.HiredisError, TypeError):
            pass
        self._reader = hiredis.Reader()
        return False

    def _parse(self, data: bytes, commands: list[list[bytes]]) -> bool:
        """Parse ``data`` into commands, all of it or nothing.

        A command of ours is put behind it: it comes out as itself only if all before it is whole.
        """
        reader = self._reader
        start = len(commands)
        try:
            reader.feed(data)
            reader.feed(_END)
            while (words := reader.gets()) is not False:
                b"".join(words)  # raises unless it is a list of words
                if words:
                    commands.append(words)
            if not reader.has_data() and len(commands) > start and commands.pop() == [b"!"]:
                return True
        except (hiredis.HiredisError, TypeError):
            pass
        self._reader = hiredis.Reader()
        del commands[start:]
        return False


class ExactParser:
    """The same, for anything that may come; slower."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = 0
        """So long the rest must be before it is worth while to look at it again."""
        self._words: list[bytes] = []
        self._missing = 0
        """How many words of the command that has begun have not come yet."""
        self._size = 0

    @property
    def is_busy(self) -> bool:
        """Has it the beginning of a command whose end has not come yet?"""
        return bool(self._rest or self._missing)

    def feed(self, data: bytes, commands: list[list[bytes]]) -> None:
        """See ``Parser``."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest = bytearray()
        at = 0
        while at < len(data):
            self._needed = len(data) + 1
            parse = self._word if self._missing else self._head
            end = parse(data, at, commands)
            if end < 0:
                self._rest += data[at:]
                self._needed -= at
                return
            at = end

    def _head(self, data: bytes, at: int, commands: list[list[bytes]]) -> int:
        """The header of a command, or one in a line; where it ends, or -1 if it is incomplete."""
        if data[at] != _STAR:
            return _line(data, at, commands)
        count, end = _number(data, at, "multibulk")
        if end < 0:
            return end
        if count > MAX_ARGUMENTS:
            raise ProtocolError("invalid multibulk length")
        self._words, self._missing, self._size = [], max(count, 0), 0
        return end

    def _word(self, data: bytes, at: int, commands: list[list[bytes]]) -> int:
        """One word of a command; where it ends, or -1 if it is incomplete."""
        if data[at] != _DOLLAR:
            raise ProtocolError(f"expected '$', got '{chr(data[at])}'")
        length, start = _number(data, at, "bulk")
        if start < 0:
            return start
        if not 0 <= length <= MAX_COMMAND_BYTES - self._size:
            raise ProtocolError("invalid bulk length")
        end = start + length + 2
        if end > len(data):
            self._needed = end
            return -1
        self._size += length
        self._words.append(data[start : end - 2])
        self._missing -= 1
        if not self._missing:
            commands.append(self._words)
        return end


def _number(data: bytes, at: int, what: str) -> tuple[int, int]:
    """The number in a header and where the header ends, or -1 if it is incomplete."""
    end = data.find(b"\r\n", at, at + _HEADER_BYTES)
    if end < 0:
        if len(data) - at >= _HEADER_BYTES:
            raise ProtocolError(f"too big {what} count string")
        return 0, -1
    digits = data[at + 1 : end]
    if not digits.removeprefix(b"-").isdigit():
        raise ProtocolError(f"invalid {what} length")
    return int(digits), end + 2


def _line(data: bytes, at: int, commands: list[list[bytes]]) -> int:
    """A command without headers, as people type it; where it ends, or -1 if it is incomplete."""
    end = data.find(b"\n", at, at + MAX_LINE_BYTES)
    if end < 0:
        if len(data) - at >= MAX_LINE_BYTES:
            raise ProtocolError("too big inline request")
        return -1
    if words := _words(data[at:end]):
        commands.append(words)
    return end + 1


def _words(line: bytes) -> list[bytes]:
    """The words of a line; quotes keep spaces, and in double ones a backslash escapes."""
    if b'"' not in line and b"'" not in line:
        return line.split()
    words: list[bytes] = []
    at = 0
    while at < len(line):
        if line[at : at + 1].isspace():
            at += 1
            continue
        word = bytearray()
        while at < len(line) and not line[at : at + 1].isspace():
            quote = line[at : at + 1]
            if quote in (b'"', b"'"):
                at = _quoted(line, at + 1, quote, word)
                if at < len(line) and not line[at : at + 1].isspace():
                    raise ProtocolError("unbalanced quotes in request")
            else:
                word += quote
                at += 1
        words.append(bytes(word))
    return words


_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def _quoted(line: bytes, at: int, quote: bytes, word: bytearray) -> int:
    """Append what stands in quotes to ``word``; where the part behind them begins."""
    while at < len(line):
        char = line[at : at + 1]
        if char == quote:
            return at + 1
        if char == b"\\" and at + 1 < len(line):
            escaped = line[at + 1 : at + 2]
            if quote == b"'":
                word += b"'" if escaped == b"'" else char + escaped
            elif escaped == b"x" and _is_hex(line[at + 2 : at + 4]):
                word += bytes.fromhex(line[at + 2 : at + 4].decode())
                at += 2
            else:
                word += _ESCAPES.get(escaped, escaped)
            at += 2
        else:
            word += char
            at += 1
    raise ProtocolError("unbalanced quotes in request")


def _is_hex(digits: bytes) -> bool:
    return len(digits) == 2 and all(digit in b"0123456789abcdefABCDEF" for digit in digits)


# --- Replies ------------------------------------------------------------------------------------

OK = b"+OK\r\n"
_HEADS = [b"$%d\r\n" % size for size in range(1 << 12)]


def error(code: str, text: str) -> bytes:
    """An error reply, of one line whatever ``text`` is."""
    line = " ".join(f"{code} {text}".split("\r"))
    return b"-%b\r\n" % " ".join(line.split("\n")).encode()


def encode(value: object, protocol: int = 2) -> bytes:
    """A reply in RESP2 or RESP3: a result of the state machine, or a mapping."""
    if type(value) is bytes:
        size = len(value)
        head = _HEADS[size] if size < len(_HEADS) else b"$%d\r\n" % size
        return head + value + b"\r\n"
    match value:
        case str():
            return OK if value == "OK" else b"+%b\r\n" % value.encode()
        case None:
            return b"$-1\r\n" if protocol == 2 else b"_\r\n"
        case bool() if protocol == 3:
            return b"#t\r\n" if value else b"#f\r\n"
        case int():
            return b":%d\r\n" % value
        case float():
            text = repr(value).encode()
            return b"$%d\r\n%b\r\n" % (len(text), text) if protocol == 2 else b",%b\r\n" % text
        case Failure():
            return error(value.code, value.text)
        case Mapping():
            items = [encode(x, protocol) for item in value.items() for x in item]
            mark = b"*%d\r\n" % len(items) if protocol == 2 else b"%%%d\r\n" % (len(items) // 2)
            return mark + b"".join(items)
        case Sequence():
            return b"*%d\r\n" % len(value) + b"".join([encode(x, protocol) for x in value])
    raise TypeError(f"{type(value).__name__} has no form in RESP")
