"""``python -m benchmarks.peers``: our checker beside SPIN, minicheck and musil, on one model.

Every run is a process of its own. ``--write`` puts the table into BENCHMARKS.md. A checker that
is not installed gets a row that says how to install it. Exit code 1 if a checker fails or they do
not agree.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.election import MODEL, Election
from model_check.bench import machine, replace_between

BEGIN, END = (
    "<!-- begin: python -m benchmarks.peers -->",
    "<!-- end: python -m benchmarks.peers -->",
)
ROOT = Path(__file__).parent.parent
PROMELA = Path(__file__).with_name("election.pml")
SPIN_BUILD = "-O2 -DSAFETY -DNOREDUCE -DMEMLIM=8192"
SPIN_RUN = "-m10000 -w20"
"""A stack far deeper than the search goes; a hash table of about as many places as states."""
EVERY_STEP = "-DEVERY_STEP"
SHELL = "--model benchmarks/election.py:MODEL --reduction none --no-facts"


class NotInstalled(Exception):
    """A checker is missing; the message says how to get it."""


class Failed(Exception):
    """A checker did not do what it was started for; the message is what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of a checker reports and takes. ``None`` is what it does not tell."""

    states: int
    holds: bool
    seconds: float
    cpu_seconds: float
    memory_bytes: int
    """What the search added to the process."""
    transitions: int | None = None
    changing: int | None = None
    """The transitions that lead to a different state."""

    def least(self, other: Run) -> Run:
        """The least times and memory of two runs, which found the same."""
        return replace(
            self,
            seconds=min(self.seconds, other.seconds),
            cpu_seconds=min(self.cpu_seconds, other.cpu_seconds),
            memory_bytes=min(self.memory_bytes, other.memory_bytes),
        )


def run_process(
    command: list[str], folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> tuple[str, resource.struct_rusage]:
    """Run a command to its end: its output and what it used. Raises ``Failed``."""
    variables = {**os.environ, **(environment or {})}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, env=variables)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        file.seek(0)
        out = file.read()
    if process.returncode:
        raise Failed(f"{' '.join(command)}: exit code {process.returncode}\n{out}")
    return out, usage


# --- Python checkers -----------------------------------------------------------------------------


def require(package: str) -> None:
    """Raise ``NotInstalled`` if a Python checker is missing."""
    if importlib.util.find_spec(package) is None:
        needs = " (needs Python 3.12)" if package == "musil" and sys.version_info < (3, 12) else ""
        raise NotInstalled(f"not installed: `pip install -e '.[bench]'`{needs}")


def run_python(name: str, election: Election, workers: int = 1) -> Run:
    """Run a checker of ``benchmarks.checkers`` in a process of its own."""
    require(name.partition("-")[0])
    bounds = ["--servers", str(len(election.processes)), "--terms", str(election.terms)]
    command = [sys.executable, "-m", "benchmarks.checkers", name, *bounds]
    out, _ = run_process([*command, "--workers", str(workers)])
    return Run(**json.loads(out))


def run_shell(compiled: Path) -> float:
    """Seconds for ours as a user starts it, one worker; ``compiled`` keeps compiled code."""
    command = [sys.executable, "-m", "model_check", *SHELL.split(), "--workers", "1", "--quiet"]
    started = time.perf_counter()
    run_process(command, environment={"NUMBA_CACHE_DIR": str(compiled)})
    return time.perf_counter() - started


# --- SPIN ----------------------------------------------------------------------------------------


def build_pan(election: Election, folder: Path, options: str = "", model: Path = PROMELA) -> float:
    """Generate and compile the verifier ``folder/pan``; returns the seconds that it took."""
    if not (shutil.which("spin") and shutil.which("gcc")):
        raise NotInstalled("not installed: `apt-get install spin gcc`")
    folder.mkdir()
    started = time.perf_counter()
    size = [f"-DSERVERS={len(election.processes)}", f"-DTERMS={election.terms}"]
    both = options.split()  # some are for the model, some for the verifier, none clash
    run_process(["spin", "-a", *size, *both, str(model)], folder)
    run_process(["gcc", *SPIN_BUILD.split(), *both, "-o", "pan", "pan.c"], folder)
    return time.perf_counter() - started


def run_spin(election: Election, scratch: Path, options: str = "", model: Path = PROMELA) -> Run:
    """Run the verifier with these macros defined; it is built the first time."""
    folder = scratch / f"pan{options}"
    if not folder.exists():
        build_pan(election, folder, options, model)
    started = time.perf_counter()
    out, usage = run_process(["./pan", *SPIN_RUN.split()], folder)
    seconds = time.perf_counter() - started

    def number(pattern: str) -> float:
        found = re.search(pattern, out)
        if found is None:
            raise Failed(f"pan does not say {pattern}:\n{out}")
        return float(found[1])

    transitions = int(number(r"(\d+) transitions \(")) - 1  # one is the begin of the search
    every_step = EVERY_STEP in options
    return Run(
        states=int(number(r"(\d+) states, stored")),
        holds="errors: 0" in out and "search depth too small" not in out,
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        memory_bytes=int(number(r"([\d.]+)\s+total actual memory usage") * 2**20),
        transitions=transitions if every_step else None,
        changing=None if every_step else transitions,
    )


def spin_version() -> list[str]:
    """The version that is installed, if any is."""
    if not shutil.which("spin"):
        return []
    return re.findall(r"Version ([\d.]+)", run_process(["spin", "-V"])[0])


# --- The table -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A checker, how it is run, and how often."""

    name: str
    run: Callable[[], Run]
    runs: int


def rows(election: Election, scratch: Path, cores: int) -> list[Row]:
    """All rows, ours first; the last one of ours has all cores."""

    def ours(workers: int) -> Row:
        return Row(
            f"`model_check`, workers: {workers}",
            partial(run_python, "model_check", election, workers),
            5,
        )

    def spin(what: str, options: str) -> Row:
        name = f"{' '.join(['SPIN', *spin_version()])}, {what}"
        return Row(name, partial(run_spin, election, scratch, options), 5)

    def python(package: str, what: str, suffix: str, runs: int) -> Row:
        name = f"{' '.join([package, *package_version(package)])}, {what}"
        return Row(name, partial(run_python, package + suffix, election), runs)

    return [
        *map(ours, sorted({1, cores})),
        spin("depth first", ""),
        spin("depth first, every step", EVERY_STEP),
        spin("depth first, `-DCOLLAPSE`", "-DCOLLAPSE"),
        spin("breadth first, `-DBFS`", "-DBFS"),
        python("minicheck", "packed by hand", "-packed", 5),
        python("musil", "packed by hand", "-packed", 5),
        python("minicheck", "the model as it stands", "", 1),
        python("musil", "the model as it stands", "", 1),
    ]


def package_version(package: str) -> list[str]:
    """The version that is installed, if any is."""
    try:
        return [importlib.metadata.version(package)]
    except importlib.metadata.PackageNotFoundError:
        return []


def header(cores: int) -> str:
    """The head of the table."""
    columns = [
        "checker",
        "states",
        "transitions",
        "changing",
        "s",
        "CPU s",
        "states/CPU s",
        "bytes/state",
        "CPU s ÷ ours, 1 worker",
        f"s ÷ ours, {cores} workers",
    ]
    return f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"


def line(name: str, run: Run, first: Run, fastest: Run) -> str:
    """A line of the table; ``first`` is ours with one worker, ``fastest`` with all."""
    counts = (run.states, run.transitions, run.changing)
    counted = " | ".join("-" if n is None else f"{n:,}" for n in counts)
    return (
        f"| {name} | {counted} | {run.seconds:.2f} | {run.cpu_seconds:.2f} "
        f"| {run.states / run.cpu_seconds:,.0f} | {run.memory_bytes / run.states:,.0f} "
        f"| {run.cpu_seconds / first.cpu_seconds:.2f} | {run.seconds / fastest.seconds:.2f} |"
    )


def measure(rows: list[Row]) -> dict[str, Run | NotInstalled]:
    """Run the rows in turns, so that what else the machine does meets them all; the least times."""
    found: dict[str, Run | NotInstalled] = {}
    for turn in range(max(row.runs for row in rows)):
        for row in rows:
            best = found.get(row.name)
            if isinstance(best, NotInstalled) or turn >= row.runs:
                continue
            try:
                run = row.run()
            except NotInstalled as missing:
                found[row.name] = missing
                continue
            print(f"{row.name}: {run.seconds:.2f} s", file=sys.stderr, flush=True)
            found[row.name] = run if best is None else best.least(run)
    return found


def table(found: dict[str, Run | NotInstalled], cores: int) -> list[str]:
    """The lines of the table. Raises ``Failed`` if the checkers do not agree."""
    runs = [run for run in found.values() if isinstance(run, Run)]
    if len({(run.states, run.holds) for run in runs}) > 1:
        raise Failed(f"the checkers do not agree: {found}")
    for counted in ({run.transitions for run in runs}, {run.changing for run in runs}):
        if len(counted - {None}) > 1:
            raise Failed(f"the checkers do not agree about transitions: {found}")
    first, fastest = runs[0], runs[1 if cores > 1 else 0]
    return [
        header(cores),
        *(
            line(name, run, first, fastest)
            if isinstance(run, Run)
            else f"| {name} | {run} |" + " |" * 8
            for name, run in found.items()
        ),
    ]


def starts(election: Election, scratch: Path) -> str:
    """What the table leaves out: how long it takes to start."""
    first, again = (run_shell(scratch / "compiled") for _ in range(2))
    text = (
        f"From the shell, `python -m model_check {SHELL} --workers 1` takes {again:.1f} s, "
        f"and {first:.1f} s the first time ever, when its kernel is compiled."
    )
    with contextlib.suppress(NotInstalled):
        seconds = build_pan(election, scratch / "fresh")
        text += f" SPIN takes {seconds:.1f} s to make and compile a verifier."
    return text


def main() -> int:
    """Print the table, and write it where it belongs if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table to BENCHMARKS.md")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(rows(MODEL, Path(folder), cores))
            lines = [machine(), "", *table(found, cores), "", starts(MODEL, Path(folder))]
    except Failed as failure:
        print(f"benchmarks.peers: {failure}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    if options.write:
        replace_between(BEGIN, END, "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
