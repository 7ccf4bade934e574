"""Structured logs: one line an event, text for people or JSON for machines.

Each line carries the node's number, and the term and index that the caller gives as
``extra={"term": ..., "index": ...}``. The same message more than ``BURST`` times within a
``WINDOW_S`` is held back, and how many were is said when it comes again: a peer that is down must
not fill the disk.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import TextIO

from spec.state import ServerId

BURST = 5
"""Lines of one kind in a window."""
WINDOW_S = 10.0
FIELDS = ("term", "index", "peer")
"""What a line says beside its message, where it is known."""


class RateLimit(logging.Filter):
    """Hold back floods: lines are of one kind if they come from the same call and peer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a line through, or count it."""
        if record.levelno >= logging.ERROR:
            return True
        kind = (record.name, record.msg, getattr(record, "peer", None))
        now = self._clock()
        since, count = self._kinds.get(kind, (now, 0))
        if now - since >= WINDOW_S:
            if count > BURST:
                record.held_back = count - BURST
            since, count = now, 0
        self._kinds[kind] = (since, count + 1)
        return count < BURST


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z info  n1 t3 i17 became leader``."""

    def __init__(self, member: ServerId) -> None:
        super().__init__()
        self._member = member

    def format(self, record: logging.LogRecord) -> str:
        """One line; an exception is told in one line as well."""
        fields = _fields(record)
        where = [f"n{self._member}"]
        where += [f"{name[0]}{fields[name]}" for name in FIELDS if name in fields]
        line = f"{_time(record)} {record.levelname.lower():<7} {' '.join(where)} {_message(record)}"
        if "held_back" in fields:
            line += f" ({fields['held_back']} more like this were held back)"
        return line


class JsonFormatter(logging.Formatter):
    """The same as an object a line."""

    def __init__(self, member: ServerId) -> None:
        super().__init__()
        self._member = member

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object; keys are ``time level logger node message`` and ``FIELDS``."""
        return json.dumps(
            {
                "time": _time(record),
                "level": record.levelname.lower(),
                "logger": record.name,
                "node": self._member,
                "message": _message(record),
                **_fields(record),
            }
        )


def _fields(record: logging.LogRecord) -> dict[str, object]:
    names = (*FIELDS, "held_back")
    return {name: getattr(record, name) for name in names if hasattr(record, name)}


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        text += f": {type(error).__name__}: {error}"
    return " ".join(text.splitlines())


def _time(record: logging.LogRecord) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def start_logging(
    member: ServerId, form: str, level: str, stream: TextIO | None = None
) -> logging.Handler:
    """Log to ``stream`` (standard error) as ``form``, ``text`` or ``json``, from ``level`` on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(member) if form == "json" else TextFormatter(member))
    handler.addFilter(RateLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    return handler


def set_level(level: str) -> None:
    """Change what is logged, while running."""
    logging.getLogger().setLevel(level.upper())
