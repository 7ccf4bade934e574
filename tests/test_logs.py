"""Logs: fields on every line, floods held back, one line an event."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from impl.logs import BURST, WINDOW_S, RateLimit, set_level, start_logging
from spec.state import ServerId


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(form: str) -> list[str]:
    stream = io.StringIO()
    start_logging(ServerId(2), form, "info", stream)
    logger = logging.getLogger("impl.node")
    logger.info("became leader", extra={"term": 3, "index": 17})
    logger.debug("not at this level")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("odd")
    return stream.getvalue().splitlines()


def test_text_for_people() -> None:
    first, second = lines("text")
    assert first.endswith("info    n2 t3 i17 became leader")
    assert second.endswith("error   n2 odd: ValueError: two lines")


def test_json_for_machines() -> None:
    first, second = map(json.loads, lines("json"))
    assert (first["node"], first["term"], first["index"]) == (2, 3, 17)
    assert (first["level"], first["message"]) == ("info", "became leader")
    assert second["message"] == "odd: ValueError: two lines"


def test_the_level_changes_while_running() -> None:
    stream = io.StringIO()
    start_logging(ServerId(1), "text", "error", stream)
    set_level("debug")
    logging.getLogger("impl").debug("seen")
    assert "seen" in stream.getvalue()


def test_a_flood_is_held_back_and_counted() -> None:
    now = [0.0]
    limit = RateLimit(lambda: now[0])

    def passes(peer: int, level: int = logging.WARNING) -> logging.LogRecord | None:
        record = logging.LogRecord("impl", level, "", 0, "peer is down", (), None)
        record.peer = peer
        return record if limit.filter(record) else None

    passed = [passes(2) for _ in range(100)]
    assert sum(record is not None for record in passed) == BURST
    assert passes(3) is not None  # another peer is another story
    assert all(passes(2, logging.ERROR) for _ in range(100))  # errors are never held back
    now[0] = WINDOW_S
    again = passes(2)
    assert again is not None
    assert again.__dict__["held_back"] == 100 - BURST
