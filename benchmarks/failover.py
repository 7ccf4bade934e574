"""``python -m benchmarks.failover``: how long there is no leader after a crash (§9.3, Figure 16).

Five real processes on this machine. In each trial the leader is killed at a random moment of its
heartbeats, and the time is taken until another one leads; then the killed one comes back. One row
for each range of election timeouts in the paper. ``--write`` puts table and plot where they belong.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import re
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import log
from pathlib import Path

from impl.local_cluster import LocalCluster, wait_until_listening
from model_check.bench import machine, replace_between

BEGIN, END = "<!-- begin: make bench-election -->", "<!-- end: make bench-election -->"
PLOT = Path(__file__).parent / "failover.svg"
NODES = 5
GIVE_UP_S = 15.0
LEAST_S = 0.01
LEADS = re.compile(r"^(\S+)Z info +n(\d+) .*leads term \d+$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Range:
    """Election timeouts in milliseconds, and what the paper tells of them."""

    low: int
    high: int
    paper: str = ""

    def __str__(self) -> str:
        """As in Figure 16."""
        return f"{self.low}-{self.high} ms"


RANGES = (
    Range(150, 150, "consistently over 10 s, without randomness"),
    Range(150, 151),
    Range(150, 155, "median 287 ms"),
    Range(150, 175),
    Range(150, 200, "worst of 1000 trials 513 ms"),
    Range(150, 300),
    Range(12, 24, "mean 35 ms, worst 152 ms"),
    Range(25, 50),
    Range(50, 100),
    Range(100, 200),
)


@contextmanager
def cluster(timeouts: Range) -> Iterator[LocalCluster]:
    """Five nodes with these timeouts, and heartbeats as often as a third of the least."""
    settings = {
        "RAFT_ELECTION_TIMEOUT_MIN": f"{timeouts.low}ms",
        "RAFT_ELECTION_TIMEOUT_MAX": f"{timeouts.high}ms",
        "RAFT_HEARTBEAT": f"{timeouts.low / 3:.1f}ms",
    }
    os.environ.update(settings)
    with tempfile.TemporaryDirectory() as directory:
        nodes = LocalCluster.open(Path(directory), size=NODES, port=23001)
        try:
            for _ in nodes.start():
                pass
            yield nodes
        finally:
            nodes.stop()
            for name in settings:
                del os.environ[name]


def elections(nodes: LocalCluster) -> list[tuple[float, int]]:
    """When which node began to lead, by their logs, in order."""
    found = []
    for i in nodes.ports:
        text = (nodes.directory / f"n{i}.log").read_text(encoding="utf-8")
        for moment, _ in LEADS.findall(text):
            at = datetime.datetime.fromisoformat(moment).replace(tzinfo=datetime.UTC)
            found.append((at.timestamp(), i))
    return sorted(found)


def leader_since(nodes: LocalCluster, since: float) -> tuple[float, int] | None:
    """The first election after a moment, if there is one before patience ends."""
    deadline = time.time() + GIVE_UP_S
    while time.time() < deadline:
        later = [election for election in elections(nodes) if election[0] >= since]
        if later:
            return later[0]
        time.sleep(0.01)
    return None


def trial(nodes: LocalCluster, timeouts: Range) -> float:
    """Seconds without a leader; ``GIVE_UP_S`` if it was longer."""
    time.sleep(0.5 + random.uniform(0, timeouts.low / 3000))
    if leader_since(nodes, 0.0) is None:
        return GIVE_UP_S
    _, leader = elections(nodes)[-1]
    # The log has milliseconds, cut off; the crash is at most one earlier than this.
    crashed_at = int(1000 * time.time()) / 1000
    process = nodes.processes[leader]
    process.send_signal(signal.SIGKILL)
    process.wait()
    following = leader_since(nodes, crashed_at)
    nodes.start_node(leader)
    wait_until_listening(nodes.processes[leader], nodes.ports[leader].clients)
    return GIVE_UP_S if following is None else following[0] - crashed_at


def row(timeouts: Range, downtimes: Sequence[float]) -> str:
    """One line of the table, in milliseconds."""
    ordered = sorted(1000 * d for d in downtimes)
    ninth = ordered[min(len(ordered) - 1, round(0.9 * len(ordered)))]
    cells = [ordered[0], statistics.median(ordered), ninth, ordered[-1]]
    shown = [f"over {c:,.0f}" if c >= 1000 * GIVE_UP_S else f"{c:,.0f}" for c in cells]
    return f"| {timeouts} | {len(ordered)} | {' | '.join(shown)} | {timeouts.paper} |"


def plot(results: Sequence[tuple[Range, Sequence[float]]]) -> str:
    """Cumulative distributions on a logarithmic axis of time, as in Figure 16."""
    width, height, left, bottom = 720, 360, 50, 40
    inner_width, inner_height = width - left - 150, height - bottom - 20

    def x(seconds: float) -> float:
        shown = min(max(seconds, LEAST_S), GIVE_UP_S)
        return left + inner_width * log(shown / LEAST_S) / log(GIVE_UP_S / LEAST_S)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for milliseconds in (10, 30, 100, 300, 1000, 3000, 10000):
        at = x(milliseconds / 1000)
        parts.append(f'<path d="M{at:.1f} 20V{20 + inner_height}" stroke="#ddd"/>')
        parts.append(f'<text x="{at - 10:.1f}" y="{height - 22}">{milliseconds} ms</text>')
    for place, (timeouts, downtimes) in enumerate(results):
        colour = f"hsl({360 * place // len(results)} 70% 40%)"
        ordered = sorted(downtimes)
        line = f"M{x(ordered[0]):.1f} {20 + inner_height}"
        for number, downtime in enumerate(ordered, start=1):
            y = 20 + inner_height * (1 - number / len(ordered))
            line += f"H{x(downtime):.1f}V{y:.1f}"
        parts.append(f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        y = 30 + 16 * place
        parts.append(f'<text x="{width - 140}" y="{y}" fill="{colour}">{timeouts}</text>')
    parts.append(f'<text x="{left}" y="{height - 5}">time without a leader after a crash</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Print the table, and write it and the plot if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--write", action="store_true", help="write table and plot")
    options = parser.parse_args()
    lines = [
        machine(),
        "",
        "| election timeouts | trials | least | median | 9 of 10 | most (ms) | the paper reports |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    results = []
    for timeouts in RANGES:
        trials = 3 if timeouts.low == timeouts.high else options.trials
        with cluster(timeouts) as nodes:
            downtimes = [trial(nodes, timeouts) for _ in range(trials)]
        results.append((timeouts, downtimes))
        lines.append(row(timeouts, downtimes))
        print(lines[-1], flush=True)
    if options.write:
        PLOT.write_text(plot(results), encoding="utf-8")
        replace_between(
            BEGIN, END, "\n".join([*lines, "", "![Figure 16](benchmarks/failover.svg)"])
        )


if __name__ == "__main__":
    main()
