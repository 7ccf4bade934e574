"""Breadth-first search to the end: every reachable state once, level by level.

The *depth* of a state is the least number of state-changing steps that lead to it; steps that only
add messages or facts cost nothing. Without saturation a level is therefore closed under them
before the next one begins, so the length of a shortest counterexample is the same under every
reduction.

Each chunk of a level is expanded by all workers at once, reading the tables only; steps that met a
gap in the tables are then done again by one thread that may fill it, asking the model where it
must. Then each worker visits the states that belong to its shards of the visited set. The outcome
does not depend on the number of workers. When a level is complete, the states that another one of
it dominates are dropped. The keys of all levels go to a file, a temporary one or that of a
checkpoint: counterexamples are rebuilt from it backwards, so nothing is stored per state but its
key.
"""

from __future__ import annotations

import gc
import itertools
import math
import resource
import signal
import sys
import tempfile
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import numpy as np

from model_check import kernel as k
from model_check.checkpoint import CheckpointError, Directory, Saved
from model_check.estimate import states_to_come
from model_check.judge import Judge, Tally, Violation
from model_check.model import Model, ModelError
from model_check.side_conditions import RelevanceCheck
from model_check.tables import MOST_KINDS, Reductions, SideConditionFailure, Tables
from model_check.visited import Words

CHUNK = 1 << 15
"""States expanded between two looks at limits and progress."""
SPAN = 1 << 10
"""States expanded before what was found is looked up: it should still be in the cache."""
SCRATCH = 4 * k.LARGEST_SET


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where to stop before the end; ``None`` is no limit."""

    states: int | None = None
    seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """Where a search keeps what it needs to go on after it was stopped or killed."""

    directory: Path
    resume: bool = False
    """Go on from the checkpoint that is there, instead of beginning one."""
    interval_s: float = 1.0
    """At least this long between two; more if making one takes more than a twentieth of it."""


class LimitReached(Exception):
    """The search stopped before its end; the message names the limit."""


@dataclass(slots=True)
class Progress:
    """How far the search is: handed to ``report`` after every chunk."""

    depth: int = 0
    states: int = 0
    transitions: int = 0
    queue: int = 0
    seconds: float = 0.0
    doing: str = "exploring"
    seconds_left: float | None = None
    """An estimate, if there is one."""


@dataclass(frozen=True, slots=True)
class Generation:
    """States of one depth that were found together, and where their keys are in the file."""

    depth: int
    first: int
    count: int
    by_moves: bool
    """Found by state-changing steps from the level before, or by quiet steps from its own."""


class Worker:
    """The memory of one thread: its records, its scratch vectors, its counters."""

    def __init__(self, processes: int, channels: int, links: int) -> None:
        """Allocate for vectors of this many processes and channels."""
        width = processes + channels + 1
        self.record = max(links, processes) + 2
        self.x = np.zeros(k.X_SLOTS, np.int64)
        self._held = {
            slot: np.zeros(size, np.int64)
            for slot, size in (
                (k.X_FROM, links + 1),
                (k.X_TO, links + 1),
                (k.X_LINKS, links),
                (k.X_STATES, processes),
                (k.X_TO_STATES, processes),
                (k.X_PRESENT, processes),
                (k.X_OTHERS, processes),
                (k.X_VECTOR, width),
                (k.X_VECTOR_2, width),
                (k.X_HALVES, processes * processes),
                (k.X_LAYERS, 3 * processes + 6),
                (k.X_NEW_LAYERS, 3 * processes + 6),
                (k.X_BEST, 2 * (links + 1)),
                (k.X_BUFFER, SCRATCH),
                (k.X_SUMS, processes),
                (k.X_FIRED, MOST_KINDS),
                (k.X_OUT, 0),
                (k.X_MISSED, 0),
                (k.X_FOUND, 0),
            )
        }
        self._held[k.X_HALVES][:] = self._held[k.X_LAYERS][:] = k.MISS  # of no state yet
        for slot, array in self._held.items():
            self.x[slot] = array.ctypes.data
        self.fresh = np.zeros(MOST_KINDS, np.int64)
        self.reserve(0)

    @property
    def address(self) -> int:
        """The kernel's block for this worker."""
        return self.x.ctypes.data

    def reserve(self, records: int) -> None:
        """Let at least this many records, tasks and found keys fit beside those that are there."""
        records = max(records, 1 << 16)
        self._extend(k.X_OUT, k.X_OUT_COUNT, k.X_OUT_CAPACITY, self.record, records)
        self._extend(k.X_MISSED, k.X_MISSED_COUNT, k.X_MISSED_CAPACITY, 1, records)
        more = int(self.x[k.X_OUT_CAPACITY])
        self._extend(k.X_FOUND, k.X_FOUND_COUNT, k.X_FOUND_CAPACITY, 2, more)

    def _extend(self, slot: int, count: int, capacity: int, row: int, more: int) -> None:
        rows = int(self.x[count])
        if rows + more > self.x[capacity]:
            grown = np.empty((rows + more) * 2 * row, np.int64)
            grown[: rows * row] = self._held[slot][: rows * row]
            self._held[slot] = grown
            self.x[slot] = grown.ctypes.data
            self.x[capacity] = (rows + more) * 2

    def take_missed(self) -> Words:
        """The tasks put aside since the last call."""
        count = int(self.x[k.X_MISSED_COUNT])
        self.x[k.X_MISSED_COUNT] = 0
        return self._held[k.X_MISSED][:count].copy()

    @property
    def found(self) -> int:
        """How many keys were found and not visited yet."""
        return int(self.x[k.X_FOUND_COUNT])

    def vector(self, slot: int) -> Words:
        """A scratch vector."""
        return self._held[slot]

    def take_found(self) -> tuple[Words, Words]:
        """The keys found since the last call, and the positions of the states they follow."""
        pairs = self._held[k.X_FOUND][: 2 * self.found].reshape(-1, 2).copy()
        self.x[k.X_FOUND_COUNT] = self.x[k.X_SIFTED] = 0
        self.x[k.X_OUT_COUNT] = self.x[k.X_OUT_TRIED] = 0
        return pairs[:, 0], pairs[:, 1] >> k.KIND_BITS


@dataclass(slots=True, kw_only=True)
class Exploration:
    """What one search found."""

    result: str
    """``exhausted``, ``violated``, ``stopped``, ``interrupted`` or ``refuted``: a side condition
    of a reduction is false, so that nothing is known."""
    reason: str = ""
    states: int = 0
    transitions: int = 0
    moves: int = 0
    depth: int = 0
    violation: Violation | None = None
    violation_depth: int = 0
    failure: SideConditionFailure | None = None
    side_conditions: dict[str, int] = field(default_factory=dict)


class Search:
    """One breadth-first exploration of a model under some reductions."""

    def __init__(
        self,
        model: Model[Any, Any, Any, Any],
        *,
        reductions: Reductions,
        workers: int = 1,
        limits: Limits = Limits(),
        only: Iterable[str] = (),
        with_facts: bool = True,
        checkpoints: Checkpoints | None = None,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """Prepare; ``only`` names the properties to judge (all if empty).

        Raises ``CheckpointError`` if ``checkpoints`` cannot be used as asked.
        """
        if not model.processes or list(model.processes) != sorted(set(model.processes)):
            raise ModelError("processes must be given, distinct and ascending")
        self.report = report
        self.progress = Progress()
        self._started = self._level_started = time.monotonic()
        self._compile()
        self.judge = Judge(model, with_facts=with_facts, only=only, workers=workers)
        self.tables: Tables[Any, Any, Any, Any] = Tables(
            model, reductions, self.judge.observe, with_facts=with_facts
        )
        self.judge.attach(self.tables)
        self.model = model
        self.reductions = reductions
        self.limits = limits
        n, channels = len(self.tables.processes), len(self.tables.channels)
        self.workers = [Worker(n, channels, self.tables.links) for _ in range(workers)]
        self.generations: list[Generation] = []
        self.fired = np.zeros(MOST_KINDS, np.int64)
        self._numbers = np.zeros(CHUNK * self.tables.links, np.int64)
        self.moves = 0
        self.dominated = 0
        self.side_conditions: dict[str, int] = {}
        self._last_saved = -math.inf  # the first checkpoint is made at once
        self._interval_s = checkpoints.interval_s if checkpoints else 0.0
        self._interrupted = False
        self._levels_checksum = 0
        self._first = 0
        self._found: list[Words] = []
        """New states of the level being expanded, and of which states of it they follow."""
        self.subject = {
            "model": model.description(),
            "reductions": str(reductions),
            "facts": with_facts,
            "properties": sorted(self.judge.tallies),
        }
        self._directory: Directory | None = None
        saved: Saved | None = None
        self._file: BinaryIO
        if checkpoints is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the search
        else:
            self._directory = Directory(checkpoints.directory)
            if checkpoints.resume:
                saved = self._directory.load(self.subject)
            elif self._directory.is_used():
                raise CheckpointError(
                    f"{checkpoints.directory} holds a checkpoint already: go on with --resume, or "
                    "remove it"
                )
            self._file = self._directory.open_levels()
        weakref.finalize(self, self._file.close)
        if saved is not None:
            self._resume(saved)

    @property
    def fresh(self) -> Words:
        """How many new states the steps of each kind led to."""
        total: Words = np.sum([worker.fresh for worker in self.workers], axis=0)
        return total

    @property
    def tallies(self) -> dict[str, Tally]:
        """What became of every property and witness."""
        return self.judge.tallies

    # --- The search -----------------------------------------------------------------------------

    def run(self) -> Exploration:
        """Explore to the end, to a violation, to a limit or to Ctrl-C."""
        in_charge = threading.current_thread() is threading.main_thread()
        former = signal.signal(signal.SIGINT, self._on_interrupt) if in_charge else None
        collects = gc.isenabled()
        self.tables.postpones = True
        gc.disable()  # the tables are large, live to the end and hold no cycles
        try:
            with ThreadPoolExecutor(len(self.workers)) as self._pool:
                ended = self._explore()
        except LimitReached as limit:
            # What the unfinished level has shown is true, and no lower level has shown anything.
            self.tables.verify_renamed(len(self.workers))
            found = self._first_violation(self.progress.depth + 1)
            ended = self._violated(*found) if found else self._ended("stopped", reason=str(limit))
        except MemoryError:
            ended = self._ended("stopped", reason="memory is exhausted")
        except KeyboardInterrupt:
            ended = self._ended("interrupted", reason="interrupted")
        finally:
            self.tables.postpones = False
            if collects:
                gc.enable()
            if in_charge:
                signal.signal(signal.SIGINT, former)
        if self._directory and ended.result not in ("stopped", "interrupted"):
            self._directory.clear()
        return ended

    def _on_interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        """At Ctrl-C, stop where a checkpoint can be made; at the second one, at once."""
        if self._interrupted or self._directory is None:
            raise KeyboardInterrupt
        self._interrupted = True

    def _compile(self) -> None:
        """Load what was compiled before; the first run ever compiles it, which takes a while."""
        functions = [*k.APART.values(), *k.ENTRY_POINTS]
        for number, function in enumerate(functions, start=1):
            self.progress.doing = (
                f"compiling the search, once for all runs: {number} of {len(functions)}"
            )
            self.progress.seconds = time.monotonic() - self._started
            self.report(self.progress)
            k.prepare(function)
        self.progress.doing = "exploring"

    def _explore(self) -> Exploration:
        depth = self.progress.depth
        if self.generations:  # of a checkpoint
            level = self._whole_level(depth)
        else:
            level = self._complete(self._initial(), depth)
        while len(level):
            self.progress.depth = depth
            self._level_started = time.monotonic()
            self.tables.verify_renamed(len(self.workers))
            for generation in self.generations_at(depth):
                self.judge.judge_states(self.keys(generation), self.workers[0].address)
            found = self._first_violation(depth)
            if found:
                return self._violated(*found)
            if self.tables.failures:
                return self._ended("refuted", failure=self.tables.failures[0])
            level = self._expand(level, k.MOVES)
            depth += 1
            if len(level):
                level = self._complete(level, depth)
        self.tables.verify_renamed(len(self.workers))
        found = self._first_violation(depth)  # by a step that leads nowhere new
        return self._violated(*found) if found else self._verified()

    def _initial(self) -> Words:
        keys = []
        for states in self.tables.ask_model(self.model.initial_states):
            if len(states) != len(self.tables.processes):
                raise ModelError("an initial state must have one state for each process")
            vector = np.zeros(self.tables.width, np.int64)
            vector[: len(states)] = [self.tables.state_id(p, s) for p, s in enumerate(states)]
            keys.append(self.key_of(vector, visit=True))
        return np.unique(np.array([key for key in keys if key >= 0], np.int64))

    def _complete(self, level: Words, depth: int) -> Words:
        """Record the states of a new level; returns all that are to be expanded."""
        if self.reductions.domination:
            level = self._maximal(level)
        self._record(level, depth, by_moves=True)
        return level if self.reductions.saturation else self._close(level, depth)

    def _whole_level(self, depth: int) -> Words:
        """All states of a depth, in the order in which they are expanded."""
        return np.concatenate([self.keys(g) for g in self.generations_at(depth)])

    def _close(self, level: Words, depth: int) -> Words:
        """Add the states that quiet steps lead to, at the same depth."""
        whole = [level]
        while len(level):
            level = self._expand(level, k.QUIET)
            if len(level):
                self._record(level, depth, by_moves=False)
                whole.append(level)
        return np.concatenate(whole)

    def _maximal(self, level: Words) -> Words:
        """The states of a level that no other of them dominates."""
        size = len(level)
        signs, order = np.empty(2 * size, np.int64), np.empty(size, np.int64)
        cuts = np.linspace(0, size, len(self.workers) + 1).astype(np.int64)
        tables = self.tables
        jobs = [
            self._pool.submit(
                k.sign, tables.address, worker.address, level.ctypes.data,
                first, end, signs.ctypes.data, order.ctypes.data,
            )
            for worker, first, end in zip(self.workers, cuts, cuts[1:], strict=False)
        ]  # fmt: skip
        for job in jobs:
            job.result()
        ranks = np.argsort(order)
        groups = order[ranks] >> k.LEVEL_BITS
        starts = np.concatenate([[0], np.flatnonzero(np.diff(groups)) + 1, [size]])
        cuts = starts[np.searchsorted(starts, cuts)]
        marks = np.zeros(size, np.int64)
        jobs = [
            self._pool.submit(
                k.mark_dominated, tables.address, worker.address, level.ctypes.data,
                signs.ctypes.data, order.ctypes.data, ranks.ctypes.data,
                first, end, marks.ctypes.data,
            )
            for worker, first, end in zip(self.workers, cuts, cuts[1:], strict=False)
        ]  # fmt: skip
        for job in jobs:
            job.result()
        self.dominated += int(marks.sum())
        return np.ascontiguousarray(level[marks == 0])

    def _record(self, keys: Words, depth: int, *, by_moves: bool) -> None:
        """Append a generation to the file."""
        first = sum(g.count for g in self.generations[-1:]) + sum(
            g.first for g in self.generations[-1:]
        )
        self._file.seek(first * 8)
        self._file.write(keys.tobytes())
        self._levels_checksum = zlib.crc32(keys.tobytes(), self._levels_checksum)
        self.generations.append(Generation(depth, first, len(keys), by_moves))

    def generations_at(self, depth: int) -> list[Generation]:
        """The generations of one depth, in the order in which they were found."""
        return [g for g in self.generations if g.depth == depth]

    def keys(self, generation: Generation) -> Words:
        """The keys of a generation, ascending."""
        self._file.seek(generation.first * 8)
        return np.frombuffer(self._file.read(generation.count * 8), np.int64)

    def _expand(self, keys: Words, which: int) -> Words:
        """The new states that steps of the states ``keys`` lead to, ascending."""
        for first in range(self._first, len(keys), CHUNK):
            self._first = first
            self._look(len(keys) - first, which)
            chunk = np.ascontiguousarray(keys[first : first + CHUNK])
            self._found += self._expand_chunk(chunk, which)
        self._first = len(keys)
        self._look(0, which)
        found, self._found, self._first = self._found, [], 0
        return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def _look(self, queue: int, which: int) -> None:
        """Report progress, make a checkpoint if it is time for one, and keep to the limits."""
        self.progress.queue = queue
        self.progress.states = self.tables.visited.count - self.dominated
        self.progress.seconds = time.monotonic() - self._started
        self.progress.seconds_left = self._estimate(queue)
        self.report(self.progress)
        try:
            self._keep_to_limits()
        except (LimitReached, KeyboardInterrupt):
            if which == k.MOVES:
                self._save()
            raise
        if which == k.MOVES and time.monotonic() - self._last_saved > self._interval_s:
            self._save()

    def _estimate(self, queue: int) -> float | None:
        """Seconds that are left if the levels go on as they do."""
        sizes: list[int] = []
        for generation in self.generations:
            sizes[generation.depth :] = [sum(sizes[generation.depth :]) + generation.count]
        to_come = states_to_come(sizes)
        done = sizes[-1] - queue
        if to_come is None or done < CHUNK:
            return None
        return (queue + to_come) / done * (time.monotonic() - self._level_started)

    def _keep_to_limits(self) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        limits = self.limits
        if limits.states is not None and self.progress.states >= limits.states:
            raise LimitReached(f"{limits.states:,} states (--max-states)")
        if limits.seconds is not None and self.progress.seconds >= limits.seconds:
            raise LimitReached(f"{limits.seconds:g} seconds (--max-seconds)")
        if limits.memory_bytes is not None and peak_memory_bytes() >= limits.memory_bytes:
            raise LimitReached(f"{limits.memory_bytes >> 20:,} MiB of memory (--max-memory)")

    # --- Checkpoints ----------------------------------------------------------------------------

    def _save(self) -> None:
        """Make a checkpoint of where the search is."""
        if self._directory is None:
            return
        began = time.monotonic()
        self._file.flush()
        last = self.generations[-1]
        found = np.concatenate([*self._found, np.zeros(0, np.int64)])
        self._directory.save(
            Saved(
                subject=self.subject,
                numbers={
                    "depth": self.progress.depth,
                    "first": self._first,
                    "transitions": self.progress.transitions,
                    "moves": self.moves,
                    "dominated": self.dominated,
                    "seconds": self.progress.seconds,
                    "generations": [asdict(generation) for generation in self.generations],
                },
                arrays=[self.fired, self.fresh, found, *self.tables.dump()],
                levels_bytes=8 * (last.first + last.count),
                levels_checksum=self._levels_checksum,
            )
        )
        self._last_saved = time.monotonic()
        self._interval_s = max(self._interval_s, 20 * (self._last_saved - began))

    def _resume(self, saved: Saved) -> None:
        """Go back to where a checkpoint was made."""
        fired, fresh, found, *arrays = saved.arrays
        numbers = saved.numbers
        for states in self.tables.ask_model(self.model.initial_states):
            for position, state in enumerate(states):
                self.tables.state_id(position, state)
        if not self.tables.restore(arrays):
            raise CheckpointError(
                "the rules of the model have changed since the checkpoint was made; begin again "
                "without it"
            )
        self.tables.place(arrays)
        self.generations = [Generation(**generation) for generation in numbers["generations"]]
        for generation in self.generations:
            self.judge.judge_states(self.keys(generation), self.workers[0].address)
        self.tables.place(arrays)  # judging again has found nothing new, but may have made room
        self.fired[:], self.workers[0].fresh[:] = fired, fresh
        self._found, self._first = [found], numbers["first"]
        self._levels_checksum = saved.levels_checksum
        self.progress.depth = numbers["depth"]
        self.progress.transitions = numbers["transitions"]
        self.moves, self.dominated = numbers["moves"], numbers["dominated"]
        self._started -= numbers["seconds"]

    def room(self) -> int:
        """More records than any one state can have successors."""
        tokens = max(self.tables.channel_tokens.values(), default=0)
        return len(self.tables.channels) * tokens + self.tables.most_actions + 2

    def _expand_chunk(self, chunk: Words, which: int) -> list[Words]:
        """The new states that steps of the states of a chunk lead to.

        What is put aside is in the order of the chunk, whoever met it: so all numbers are given in
        the same order by any number of workers.
        """
        parts = np.array_split(np.arange(len(chunk)), len(self.workers))
        spans = [(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]
        used = self.workers[: len(spans)]
        if not self.tables.w[k.W_PLAIN]:
            self._prepare(chunk, used, spans, which)
        jobs = [
            self._pool.submit(self._read, worker, chunk, span, which)
            for worker, span in zip(used, spans, strict=True)
        ]
        for job in jobs:
            job.result()
        ends = [[worker.found for worker in used]]
        tasks = np.concatenate([worker.take_missed() for worker in used])
        for worker in used:
            self.fold_records(worker)
            k.sift(self.tables.address, worker.address)
        ends.append([worker.found for worker in used])
        while len(tasks):
            tasks = self._fill(chunk, tasks, which)
        ends.append([worker.found for worker in used])
        for worker in used:
            worker.x[k.X_NUMBERS] = 0
        self._count(used, which)
        return self._visit(used, ends)

    def _prepare(
        self, chunk: Words, used: list[Worker], spans: list[tuple[int, int]], which: int
    ) -> None:
        """Number the links of the states of a chunk, and let there be memory for what they do."""
        jobs = []
        for worker, (first, end) in zip(used, spans, strict=True):
            worker.reserve(end - first)
            worker.x[k.X_NUMBERS] = self._numbers.ctypes.data
            self.tables.give_memory(worker.x)
            jobs.append(
                self._pool.submit(
                    k.prepare_links, self.tables.address, worker.address,
                    chunk.ctypes.data, first, end, which,
                )
            )  # fmt: skip
        for job in jobs:
            job.result()
        tasks = np.concatenate([worker.take_missed() for worker in used])
        while len(tasks):
            tasks = self._fill(chunk, tasks, which)

    def _read(self, worker: Worker, keys: Words, span: tuple[int, int], which: int) -> None:
        """What one thread does with its part of a chunk, changing no table."""
        first, end = span
        room = self.room()
        while first < end:
            worker.reserve(room)
            span = first, min(first + SPAN, end)
            first = self.expand_span(worker, keys, span, which, fill=False)
            k.sift(self.tables.address, worker.address)

    def _fill(self, keys: Words, tasks: Words, which: int) -> Words:
        """Do what was put aside, filling the tables; returns what must be tried again."""
        tables, worker = self.tables, self.workers[0]
        missed = []
        first = 0
        while first < len(tasks):
            tables.make_room()
            worker.reserve(self.room())
            first = k.redo(
                tables.address, worker.address, keys.ctypes.data, tasks.ctypes.data,
                first, len(tasks), which, self.room(), True,
            )  # fmt: skip
            missed.append(worker.take_missed())
            self.fold_records(worker)
            k.sift(tables.address, worker.address)
        tables.answer()
        return np.concatenate(missed)

    def fold_records(self, worker: Worker) -> None:
        """Give the records of a worker their keys."""
        worker.reserve(0)
        count, first = int(worker.x[k.X_OUT_COUNT]), 0
        while first < count:
            self.tables.make_room()
            first = k.fold_records(self.tables.address, worker.address, first)

    def _visit(self, used: list[Worker], ends: list[list[int]]) -> list[Words]:
        """Visit what these workers found, each the shards that it owns; returns the new keys.

        What they found first is visited first, up to ``ends[0]``, then up to ``ends[1]`` and so on.
        """
        starts = [[0] * len(used), *ends]
        parts = [
            (worker.vector(k.X_FOUND), first, end)
            for firsts, lasts in itertools.pairwise(starts)
            for worker, first, end in zip(used, firsts, lasts, strict=True)
        ]
        jobs = [self._pool.submit(self._visit_own, me, used, parts) for me in range(len(used))]
        news = [job.result() for job in jobs]
        for worker in used:
            worker.x[k.X_FOUND_COUNT] = worker.x[k.X_SIFTED] = 0
        return news

    def _visit_own(self, me: int, used: list[Worker], parts: list[tuple[Words, int, int]]) -> Words:
        """Visit the keys of one worker's shards, whoever found them."""
        news = np.empty(1 + sum(end - first for _, first, end in parts), np.int64)
        news[0] = 0
        for keys, start, end in parts:
            first = start
            while first < end:
                first = k.visit_found(
                    self.tables.address, keys.ctypes.data, first, end, me, len(used),
                    news.ctypes.data, used[me].fresh.ctypes.data,
                )  # fmt: skip
                if first < end:
                    self.tables.visited.grow_shard_of(int(keys[2 * first]))
        return news[1 : 1 + int(news[0])].copy()

    def _count(self, used: list[Worker], which: int) -> None:
        """Add up what the workers counted."""
        for worker in used:
            if which == k.MOVES:
                self.moves += int(worker.x[k.X_MOVES])
                steps = worker.x[k.X_MOVES if self.reductions.saturation else k.X_STEPS]
                self.progress.transitions += int(steps)
            worker.x[k.X_STEPS] = worker.x[k.X_MOVES] = 0
            self.fired += worker.vector(k.X_FIRED)
            worker.vector(k.X_FIRED)[:] = 0

    def expand_span(
        self, worker: Worker, keys: Words, span: tuple[int, int], which: int, *, fill: bool
    ) -> int:
        """Let a worker expand the states of a span; returns where it stopped."""
        return int(
            k.expand(
                self.tables.address,
                worker.address,
                keys.ctypes.data,
                *span,
                which,
                self.room(),
                fill,
            )
        )

    def key_of(self, vector: Words, *, before: int = 0, visit: bool) -> int:
        """The key of a vector, settled and made canonical; if ``visit``, -1 if it is not new.

        ``before`` is the set of facts before its last step.
        """
        worker, done = self.workers[0], False
        while not done:
            worker.vector(k.X_VECTOR)[:] = vector
            worker.take_found()
            done = k.enter(self.tables.address, worker.address, before, True)
            self.tables.answer()
        (key,) = worker.take_found()[0].tolist()
        return key if not visit or k.visit(self.tables.address, key) else -1

    def vectors(self, keys: Words) -> Words:
        """The vectors of many keys, one a row."""
        out = np.empty((len(keys), self.tables.width), np.int64)
        ordered = np.ascontiguousarray(keys)
        k.unfold_all(
            self.tables.address,
            self.workers[0].address,
            ordered.ctypes.data,
            len(keys),
            out.ctypes.data,
        )
        return out

    # --- What it ends with ----------------------------------------------------------------------

    def _first_violation(self, complete: int) -> tuple[Violation, int] | None:
        """The violation of least depth, if none of less depth can still be found."""
        order = list(self.tallies)
        candidates = []
        for violation in self.judge.violations:
            at = self.locate(violation)
            if at is not None:
                depth = at[0].depth + violation.moves
                if depth <= complete:
                    candidates.append(
                        (depth, order.index(violation.property.name), at[1], violation)
                    )
        if not candidates:
            return None
        depth, _, _, violation = min(candidates, key=lambda c: c[:3])
        return violation, depth

    def locate(self, violation: Violation) -> tuple[Generation, int] | None:
        """The first generation, and the position in it, of a state with the violating values."""
        for generation in self.generations:
            keys = self.keys(generation)
            for first in range(0, len(keys), 1 << 16):
                part = self.vectors(keys[first : first + (1 << 16)])
                hit = self._hits(violation, part)
                if hit.any():
                    return generation, first + int(np.argmax(hit))
        return None

    def tuples(self) -> Words:
        """All distinct tuples of process states that were met, one a row."""
        return self.tables.unfold_states(self.judge.nodes_of_states())

    def _hits(self, violation: Violation, vectors: Words) -> np.ndarray[Any, Any]:
        """Which of these states have the violating values, perhaps renamed."""
        hit = np.zeros(len(vectors), bool)
        for number in range(len(self.tables.renamings)):
            hit |= self._hits_renamed(violation, vectors, number)
        return hit

    def _hits_renamed(
        self, violation: Violation, vectors: Words, number: int
    ) -> np.ndarray[Any, Any]:
        tables = self.tables
        n = len(tables.processes)
        hit = np.ones(len(vectors), bool)
        for state in violation.states:
            image = tables.renamed_state(state, number)
            hit &= vectors[:, tables.process_of(image)] == image
        for fact in violation.facts:
            hit &= self._contains(vectors[:, -1], tables.renamed_token(fact, number))
        message = violation.cause.message if violation.cause else None
        if message is not None:
            source, target = tables.channel_of(tables.renamed_token(message, number))
            column = vectors[:, n + tables.channels.index((source, target))]
            hit &= self._contains(column, tables.renamed_token(message, number))
        if violation.mask is not None and hit.any():
            relation = violation.property.over[-1].relation  # type: ignore[union-attr]
            subject = (
                tables.state(tables.renamed_state(violation.states[0], number))
                if violation.states
                else self.judge.fact(tables.renamed_token(violation.facts[0], number))
            )
            names = tables.renamings[number]
            wanted = {names[p] for p in range(n) if violation.mask >> p & 1}
            for i in np.flatnonzero(hit):
                held = {p for p in range(n) if relation(subject, tables.state(int(vectors[i, p])))}
                hit[i] = held == wanted
        return hit

    def _contains(self, sets: Words, token: int) -> np.ndarray[Any, Any]:
        distinct, inverse = np.unique(sets, return_inverse=True)
        has = np.array([token in self.tables.tokens_of(int(s)) for s in distinct])
        return has[inverse]

    def _violated(self, violation: Violation, depth: int) -> Exploration:
        return self._ended("violated", violation=violation, violation_depth=depth)

    def _verified(self) -> Exploration:
        """The end is reached: are the reductions sound?"""
        self.progress.doing = "verifying what the reductions rest on"
        self.progress.seconds_left = None
        self.report(self.progress)
        failure = self.failed_side_condition()
        return self._ended("refuted", failure=failure) if failure else self._ended("exhausted")

    def failed_side_condition(self) -> SideConditionFailure | None:
        """Verify what the reductions rest on; returns the first claim that is false."""
        if self.reductions.symmetry:
            self.side_conditions["symmetry"] = self.tables.equivariance_evaluations
            if self.tables.failures:
                return self.tables.failures[0]
        if self.reductions.obsolete:
            judged = (tally.property for tally in self.tallies.values())
            check = RelevanceCheck(self.tables, judged, workers=len(self.workers))
            failure = next(check.failures(), None)
            self.side_conditions["obsolete"] = check.pairs
            return failure
        return None

    def _ended(self, result: str, **more: Any) -> Exploration:
        if self._directory and self._directory.is_used() and "reason" in more:
            more["reason"] += f"; go on with --resume {self._directory.path}"
        return Exploration(
            result=result,
            states=self.tables.visited.count - self.dominated,
            transitions=self.progress.transitions,
            moves=self.moves,
            depth=self.progress.depth,
            side_conditions=self.side_conditions,
            **more,
        )


def peak_memory_bytes() -> int:
    """The most memory this process has ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
