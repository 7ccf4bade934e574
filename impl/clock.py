"""Time: the seam behind which the node sees a clock, and the durations it runs with (§5.6).

Only a monotonic clock decides anything here; the wall clock is stamped into commands for the state
machine's own use (expiry of keys), and Raft's safety depends on neither.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations in seconds: broadcast time << election timeout << time between failures (§5.6)."""

    election_timeout_s: tuple[float, float] = (0.150, 0.300)
    """Each timeout is drawn anew from this range (§5.2, §9.3)."""
    heartbeat_s: float = 0.040
    retry_s: float = 0.100
    """A request to a peer that is not answered for so long is taken for lost (§5.1)."""
    request_s: float = 5.0
    """How long a client waits for the outcome of a command before it is told what is known."""

    def __post_init__(self) -> None:
        low, high = self.election_timeout_s
        if not 0 < self.heartbeat_s < low <= high:
            raise ValueError("heartbeats must be faster than any election timeout")

    def draw_election_timeout(self, random: Random) -> float:
        """One election timeout."""
        return random.uniform(*self.election_timeout_s)


class Timer(Protocol):
    """A call that was asked for and has not come yet."""

    def cancel(self) -> None:
        """Do not call."""


class Clock(Protocol):
    """What the node knows of time; calls come on the node's own thread."""

    def now(self) -> float:
        """Seconds on a monotonic clock."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as well as this machine knows."""

    def call_soon(self, call: Callable[[], None]) -> None:
        """Call when what has arrived already is dealt with."""

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call after a while."""


class LoopClock:
    """The clock of a running event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        """Seconds on the loop's monotonic clock."""
        return self._loop.time()

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def call_soon(self, call: Callable[[], None]) -> None:
        """At the end of the loop's current round."""
        self._loop.call_soon(call)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """By the loop's timer."""
        return self._loop.call_later(delay_s, call)
