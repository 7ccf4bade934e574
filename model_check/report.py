"""What a run says while it runs and when it ends: progress, summary, JSON."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from model_check.check import Result
from model_check.explore import Progress
from model_check.model import Witness
from model_check.simulate import Simulation
from model_check.trace import as_json, tell

SCHEMA_VERSION = 1
PLAIN_INTERVAL_S = 5.0
TERMINAL_INTERVAL_S = 0.2
FIRST_S = 0.5


class ProgressLine:
    """Progress on a stream: in place on a terminal, a plain line at intervals otherwise."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        """Write to ``stream``."""
        self.stream = stream
        self.in_place = stream.isatty()
        self.interval_s = TERMINAL_INTERVAL_S if self.in_place else PLAIN_INTERVAL_S
        self._next = time.monotonic() + min(self.interval_s, FIRST_S)
        self._width = 0
        self._last = (0.0, 0, 0)

    def __call__(self, progress: Progress) -> None:
        """Show the progress if it is time."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self.interval_s
        seconds, states, transitions = self._last
        elapsed = max(progress.seconds - seconds, 1e-9)
        if elapsed < 0 or progress.states < states:
            elapsed, states, transitions = max(progress.seconds, 1e-9), 0, 0
        left = progress.seconds_left
        line = (
            progress.doing
            if progress.doing != "exploring"
            else (
                f"depth {progress.depth}  states {progress.states:,}  "
                f"transitions {progress.transitions:,}  queue {progress.queue:,}  "
                f"{(progress.states - states) / elapsed:,.0f} states/s  "
                f"{(progress.transitions - transitions) / elapsed:,.0f} transitions/s  "
                f"{progress.seconds:.1f} s"
                + (f", about {left:,.0f} s left (an estimate)" if left is not None else "")
            )
        )
        self._last = (progress.seconds, progress.states, progress.transitions)
        if self.in_place:
            self.stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Clear the line on a terminal."""
        if self.in_place and self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self.stream.flush()


def verdict(result: Result) -> str:
    """The verdict in one line; a stopped run never looks like a pass."""
    match result.result:
        case "exhausted" if result.missing_witnesses:
            missing = ", ".join(result.missing_witnesses)
            return f"exhausted: every property holds, but never seen: {missing}"
        case "exhausted":
            return (
                "exhausted: every behaviour within these bounds was explored, every property holds"
            )
        case "violated":
            assert result.trace is not None, "a violation has a trace"
            assert result.trace.clash is not None, "and says what is violated"
            claim = result.trace.clash.property
            return f"violated: {claim.title or claim.name} ({claim.name})"
        case "dead end":
            assert result.dead_end is not None, "which is shown"
            goal = result.dead_end.goal
            return f"dead end: {goal.title or goal.name} ({goal.name}): no more from here"
        case "interrupted":
            return f"{result.reason}: nothing is known of what was not explored"
        case _:
            return f"stopped at {result.reason}: nothing is known of what was not explored"


def summary(result: Result) -> str:
    """Everything that the run found, as text."""
    lines = []
    for refuted in result.refuted:
        lines += [refuted.text, "explored again without this reduction", ""]
    if result.trace:
        lines += ["counterexample:", counterexample(result), ""]
    lines += [
        verdict(result),
        "",
        f"states {result.states:,}   transitions {result.transitions:,} "
        f"({result.moves:,} change a process)   depth {result.depth}   {result.seconds:.1f} s",
        f"steps evaluated {result.spec_evaluations:,} (and {result.equivariance_evaluations:,} "
        f"to verify symmetry)   peak memory {result.peak_memory_bytes / 2**20:,.0f} MiB",
        "",
    ]
    lines += _property_lines(result)
    lines += _witness_lines(result)
    lines += _goal_lines(result)
    lines += _coverage_lines(result)
    lines += _side_condition_lines(result)
    return "\n".join(lines)


def _property_lines(result: Result) -> list[str]:
    width = max((len(t.property.name) for t in result.tallies), default=0)
    lines = [f"{'property':{width}}  {'checked':>10}  {'non-vacuous':>11}"]
    for tally in result.properties:
        remark = "" if tally.holds else "  VIOLATED"
        if tally.holds and not tally.non_vacuous:
            remark = "  never applied"
        lines.append(
            f"{tally.property.name:{width}}  {tally.checked:10,}  {tally.non_vacuous:11,}{remark}"
        )
    return [*lines, ""]


def _witness_lines(result: Result) -> list[str]:
    width = max((len(t.property.name) for t in result.tallies), default=0)
    lines = [f"{'witness':{width}}"]
    for tally in result.witnesses:
        expected = isinstance(tally.property, Witness) and tally.property.expected
        state = "not expected at these bounds"
        if not tally.holds:
            state = "reached"
        elif expected:
            state = "not reached yet" if result.result != "exhausted" else "NOT REACHED"
        lines.append(f"{tally.property.name:{width}}  {state}")
    return [*lines, ""] if len(lines) > 1 else []


def counterexample(result: Result) -> str:
    """How to get to the violation or to the dead end, and what it is."""
    if result.trace is None:
        return "no counterexample"
    lines = [tell(result.trace)]
    dead_end = result.dead_end
    if dead_end:
        goal, model = dead_end.goal, result.model
        states = list(zip(model.processes, dead_end.states, strict=True))
        down = [model.name_of(p) for p, state in states if state is None]
        where = f", {', '.join(down)} down" if down else ""
        lines += [
            "",
            f"{goal.title or goal.name} ({goal.name}): not from here, all messages lost{where}.",
            *([f"  {goal.sentence}"] if goal.sentence else []),
            f"  asked = {model.show(dead_end.asked)}",
            *(f"  {model.name_of(p)} = {model.show(s)}" for p, s in states if s is not None),
            f"  none of the {dead_end.searched:,} states that can follow reaches it",
        ]
    return "\n".join(lines)


def _goal_lines(result: Result) -> list[str]:
    width = max(
        [len(g.goal.name) for g in result.goals]
        + [len(t.property.name) for t in result.tallies]
        + [4]
    )
    lines = [f"{'goal':{width}}  {'judged':>10}  {'applicable':>11}  exchanges"]
    for g in result.goals:
        remark = f"{g.shortest} to {g.longest}" if g.applicable else "never asked"
        remark += f", {g.searched:,} searched completely" if g.searched else ""
        remark += "" if g.holds else "  DEAD END"
        lines.append(f"{g.goal.name:{width}}  {g.judged:10,}  {g.applicable:11,}  {remark}")
    return [*lines, ""] if result.goals else []


def _coverage_lines(result: Result) -> list[str]:
    width = max([len(c.kind) for c in result.coverage] + [6])
    lines = [f"{'action':{width}}  {'evaluated':>10}  {'transitions':>12}  {'new states':>11}"]
    for c in result.coverage:
        remark = "" if c.evaluated else "  NEVER FIRED"
        lines.append(f"{c.kind:{width}}  {c.evaluated:10,}  {c.fired:12,}  {c.fresh:11,}{remark}")
    return [*lines, ""]


def _side_condition_lines(result: Result) -> list[str]:
    said = {
        "symmetry": "renamed steps evaluated and equal",
        "obsolete": "pairs of a message and a state or step verified",
    }
    lines = [f"reductions: {result.reductions}"]
    for name, count in result.side_conditions.items():
        lines.append(f"side conditions of {name}: {count:,} {said[name]}")
    return lines


def simulation_summary(simulation: Simulation) -> str:
    """What the random walks met, with a histogram of their lengths."""
    lines = []
    if simulation.trace:
        lines += ["counterexample, minimised:", tell(simulation.trace), ""]
    met = "a property is violated" if simulation.trace else "no violation met; nothing is exhausted"
    lines += [
        f"simulated: {met}",
        "",
        f"seed {simulation.seed}   walks {simulation.walks:,}   steps {simulation.steps:,} "
        f"({simulation.moves:,} change a process)",
        "",
        "steps in a walk   walks",
    ]
    most = max((walks for _, walks in simulation.lengths), default=1)
    for length, walks in _ranges(simulation.lengths):
        bar = "#" * max(1, round(40 * walks / most))
        lines.append(f"{length:>15}   {walks:5,}  {bar}")
    lines.append("")
    width = max((len(name) for name, _ in simulation.witnesses), default=7)
    lines.append(f"{'witness':{width}}  walks that reached it")
    lines += [f"{name:{width}}  {walks:,}" for name, walks in simulation.witnesses]
    return "\n".join(lines)


def _ranges(lengths: tuple[tuple[int, int], ...]) -> list[tuple[str, int]]:
    """At most ten ranges of lengths, with the walks in each."""
    longest = max((length for length, _ in lengths), default=0)
    size = max(1, -(-longest // 10))
    found: dict[int, int] = {}
    for length, walks in lengths:
        found[max(length - 1, 0) // size] = found.get(max(length - 1, 0) // size, 0) + walks
    return [(f"{i * size + 1} to {(i + 1) * size}", walks) for i, walks in sorted(found.items())]


def to_json(result: Result, bounds: dict[str, int], profile: str | None) -> dict[str, object]:
    """The machine-readable result; the schema is described in the README."""
    return {
        "schema_version": SCHEMA_VERSION,
        "model": result.model.name,
        "result": result.result,
        "reason": result.reason or None,
        "exit_code": result.exit_code,
        "states": result.states,
        "transitions": result.transitions,
        "state_changing_transitions": result.moves,
        "depth": result.depth,
        "seconds": round(result.seconds, 3),
        "spec_evaluations": result.spec_evaluations,
        "equivariance_evaluations": result.equivariance_evaluations,
        "peak_memory_bytes": result.peak_memory_bytes,
        "bytes_per_state": round(result.bytes_per_state, 2),
        "bounds": bounds,
        "profile": profile,
        "reduction": str(result.reductions),
        "refuted_reductions": [
            {"reduction": r.failure.reduction, "claim": r.failure.claim} for r in result.refuted
        ],
        "properties": {
            t.property.name: {
                "checked": t.checked,
                "non_vacuous": t.non_vacuous,
                "holds": t.holds,
            }
            for t in result.properties
        },
        "witnesses": {
            t.property.name: {
                "reached": not t.holds,
                "expected": isinstance(t.property, Witness) and t.property.expected,
            }
            for t in result.witnesses
        },
        "actions": {
            c.kind: {
                "evaluated": c.evaluated,
                "transitions": c.fired,
                "new_states": c.fresh,
            }
            for c in result.coverage
        },
        "side_conditions": result.side_conditions,
        "goals": {
            g.goal.name: {
                "judged": g.judged,
                "applicable": g.applicable,
                "shortest": g.shortest,
                "longest": g.longest,
                "searched": g.searched,
                "holds": g.holds,
            }
            for g in result.goals
        },
        "dead_end": _dead_end_json(result),
        "violated": result.trace.clash.property.name
        if result.trace and result.trace.clash
        else None,
        "trace": as_json(result.trace) if result.trace else None,
    }


def _dead_end_json(result: Result) -> dict[str, object] | None:
    dead_end, model = result.dead_end, result.model
    if dead_end is None:
        return None
    return {
        "goal": dead_end.goal.name,
        "asked": model.show(dead_end.asked),
        "states": {
            model.name_of(p): None if state is None else model.show(state)
            for p, state in zip(model.processes, dead_end.states, strict=True)
        },
        "searched": dead_end.searched,
    }
