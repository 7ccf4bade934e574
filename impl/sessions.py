"""Clients that send again without being carried out twice: sessions and serial numbers (§8, D6.3).

The table is part of the replicated state: it changes only by committed commands, is in every
snapshot, and what it forgets depends on nothing but the commands and the time they carry.
A client numbers its requests, may have several on their way, and says with each which is the oldest
that it still waits for; results of older ones are forgotten. What is carried out, and what is
answered from memory, ``spec/sessions.py`` says.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias, assert_never

import msgspec

from impl.machine import Failure, Result, revived
from spec.sessions import Fresh, Outdated, Repeated, recognise

MAX_SESSIONS = 10_000
"""Of more, the one that was not used for the longest time is ended."""
MAX_OUTSTANDING = 1024
"""How many results a session keeps: a client may have so many requests on their way."""
MAX_RESULT_BYTES = 16 << 20
"""How many bytes all results have together, about; of more, the longest unused sessions end."""
IDLE_MS = 3_600_000
"""A session that is not used so long may be ended when another one begins."""

EXPIRED = Failure(
    "SESSIONEXPIRED", "the session has ended: whether its last requests were done is not known"
)
ACKNOWLEDGED = Failure("ERR", "the session no longer waits for this request")
TOO_MANY = Failure("ERR", f"the session waits for {MAX_OUTSTANDING} results already")

Packed: TypeAlias = tuple[int, int, int, dict[int, object]]


class _Session(msgspec.Struct):
    used_ms: int
    oldest: int = 0
    results: dict[int, Result] = {}


def _size(result: Result) -> int:
    """About how many bytes a result takes."""
    match result:
        case bytes():
            return 64 + len(result)
        case list():
            return 64 + sum(map(_size, result))
        case _:
            return 64


class Sessions:
    """All sessions, the longest unused first."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[int, _Session] = OrderedDict()
        self._opened = 0
        self._bytes = 0

    def open(self, time_ms: int) -> int:
        """Begin a session; its number, which was never given before."""
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if len(self._sessions) < MAX_SESSIONS and oldest.used_ms + IDLE_MS > time_ms:
                break
            self._end_oldest()
        self._opened += 1
        self._sessions[self._opened] = _Session(time_ms)
        return self._opened

    def call(
        self, time_ms: int, client_id: int, serial: int, oldest: int, run: Callable[[], Result]
    ) -> Result:
        """The result of request ``serial``, which is ``run`` only if it never was."""
        session = self._sessions.get(client_id)
        if session is None:
            return EXPIRED
        session.used_ms = time_ms
        self._sessions.move_to_end(client_id)
        if oldest > session.oldest:
            session.oldest = oldest
            for number in [n for n in session.results if n < oldest]:
                self._bytes -= _size(session.results.pop(number))
        match known := recognise(session.oldest, session.results, serial):
            case Outdated():
                return ACKNOWLEDGED
            case Repeated():
                return session.results[serial]
            case Fresh():
                return self._carry_out(session, serial, run)
            case _:
                assert_never(known)

    def _carry_out(self, session: _Session, serial: int, run: Callable[[], Result]) -> Result:
        if len(session.results) >= MAX_OUTSTANDING:
            return TOO_MANY
        result = session.results[serial] = run()
        self._bytes += _size(result)
        while self._bytes > MAX_RESULT_BYTES and len(self._sessions) > 1:
            self._end_oldest()
        return result

    def _end_oldest(self) -> None:
        _, session = self._sessions.popitem(last=False)
        self._bytes -= sum(map(_size, session.results.values()))

    def pack(self) -> tuple[int, list[Packed]]:
        """The table as plain values, which share nothing with it."""
        return self._opened, [
            (client_id, s.used_ms, s.oldest, dict(s.results))
            for client_id, s in self._sessions.items()
        ]

    def unpack(self, opened: int, sessions: list[Packed]) -> None:
        """Become what ``pack`` described."""
        self._opened = opened
        self._sessions = OrderedDict(
            (client_id, _Session(used_ms, oldest, {n: revived(r) for n, r in results.items()}))
            for client_id, used_ms, oldest, results in sessions
        )
        results = (r for s in self._sessions.values() for r in s.results.values())
        self._bytes = sum(map(_size, results))
