"""``python -m model_check.bench``: time the checker on this machine, print a Markdown table.

Each row is a run of the command line in a process of its own, compiled code in the cache, with
every property, fact and side condition. ``--write`` puts the table into BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- begin: make bench -->", "<!-- end: make bench -->"
HEADER = (
    "| run | workers | states | transitions | depth | s | states/s | transitions/s | bytes/state "
    "| spec evaluations | MiB |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: arguments of the command line, and how often they are run."""

    arguments: str
    runs: int = 3
    all_cores_only: bool = False


ROWS = (
    Row(arguments="--servers 3 --terms 3"),
    Row(arguments="--servers 3 --terms 2"),
    Row(arguments="--servers 3 --terms 4 --log-length 1", runs=1),
    Row(arguments="--servers 4 --terms 3 --log-length 1", runs=1),
    Row(arguments="--servers 4 --terms 2", runs=1),
    Row(arguments="--servers 5 --terms 2 --log-length 1", runs=1),
    Row(arguments="--servers 3 --terms 2 --log-length 4 --with membership", runs=1),
    Row(arguments="--servers 3 --terms 1 --reduction none --no-facts", runs=1),
    Row(arguments="--servers 3 --terms 4", runs=1, all_cores_only=True),
    Row(arguments="--servers 3 --terms 3 --profile server", runs=1, all_cores_only=True),
    Row(arguments="--servers 3 --terms 3 --log-length 3", runs=1, all_cores_only=True),
)


def measure(row: Row, workers: int) -> str:
    """Run a row; a line of the table with the medians."""
    found = [_run_once(row, workers) for _ in range(row.runs)]
    first = found[0]
    seconds = statistics.median(f["seconds"] for f in found)
    memory = statistics.median(f["peak_memory_bytes"] for f in found)
    return (
        f"| `{row.arguments}` | {workers} | {first['states']:,} | {first['transitions']:,} "
        f"| {first['depth']} | {seconds:.1f} | {first['states'] / seconds:,.0f} "
        f"| {first['transitions'] / seconds:,.0f} | {first['bytes_per_state']:.1f} "
        f"| {first['spec_evaluations']:,} | {memory / 2**20:,.0f} |"
    )


def measure_start() -> str:
    """How long the first row takes as a whole process, compiling and not; a sentence."""
    arguments = [*ROWS[0].arguments.split(), "--quiet"]
    seconds = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):
            began = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "model_check", *arguments],
                check=True,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "NUMBA_CACHE_DIR": cache},
            )
            seconds.append(time.monotonic() - began)
    return (
        f"\n`{ROWS[0].arguments}` from the shell takes {seconds[0]:.1f} s the first time ever, "
        f"when the search is compiled, and {seconds[1]:.1f} s from then on."
    )


def _run_once(row: Row, workers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.json"
        command = [sys.executable, "-m", "model_check", *row.arguments.split(), "--quiet"]
        subprocess.run(
            [*command, "--workers", str(workers), "--json", str(path)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found


def machine() -> str:
    """What was measured on."""
    return f"{os.cpu_count()} cores, {platform.machine()}, CPython {platform.python_version()}"


def replace_between(begin: str, end: str, text: str, path: Path = Path("BENCHMARKS.md")) -> None:
    """Write ``text`` between two markers of a document."""
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Print the table, and write it where it belongs if asked to."""
    parser = argparse.ArgumentParser(prog="python -m model_check.bench", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table to BENCHMARKS.md")
    parser.add_argument("--quick", action="store_true", help="only the first two rows, once")
    options = parser.parse_args()
    rows = [Row(arguments=r.arguments, runs=1) for r in ROWS[:2]] if options.quick else ROWS
    cores = os.cpu_count() or 1
    lines = [f"{machine()}\n", HEADER]
    print("\n".join(lines), flush=True)
    for row in rows:
        for workers in [cores] if row.all_cores_only else sorted({1, cores}):
            lines.append(measure(row, workers))
            print(lines[-1], flush=True)
    lines.append(measure_start())
    print(lines[-1], flush=True)
    if options.write:
        replace_between(BEGIN, END, "\n".join(lines))


if __name__ == "__main__":
    main()
