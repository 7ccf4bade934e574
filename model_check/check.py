"""``check(model)``: explore a model to the end and say what was found, honestly.

``exhausted`` never rests on a refuted reduction: if a side condition fails, the run says which,
shows how to get there, and the model is explored again without that reduction.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from model_check.explore import (
    Checkpoints,
    Exploration,
    Limits,
    Progress,
    Search,
    peak_memory_bytes,
)
from model_check.judge import Tally
from model_check.model import Goal, Model, Witness
from model_check.progress import Asymmetric, DeadEnd, Possible, SearchStopped, judge
from model_check.tables import Reductions, SideConditionFailure
from model_check.trace import CheckerFault, Retracer, Trace, tell

EXIT_OK = 0
EXIT_MUTANTS = 1
EXIT_USAGE = 2
EXIT_STOPPED = 3
EXIT_VIOLATED = 12
EXIT_WITNESS = 13
EXIT_DEAD_END = 14
EXIT_FAULT = 70
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often steps of one kind occurred."""

    kind: str
    evaluated: int
    """Distinct (state, action or message) for which the model was asked, up to renaming."""
    fired: int
    """Transitions of this kind that change a state of the search."""
    fresh: int
    """Those that led to a new state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuted:
    """A reduction that this model does not allow, and how to reach the state that shows it."""

    failure: SideConditionFailure
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a check found. ``exit_code`` is that of the command line."""

    model: Model[Any, Any, Any, Any]
    result: str
    """``exhausted``, ``violated``, ``dead end``, ``stopped`` or ``interrupted``."""
    reason: str
    reductions: Reductions
    refuted: tuple[Refuted, ...]
    states: int
    transitions: int
    moves: int
    depth: int
    seconds: float
    spec_evaluations: int
    equivariance_evaluations: int
    peak_memory_bytes: int
    bytes_per_state: float
    """Of the visited set, with the tables that its keys are folded by."""
    tallies: tuple[Tally, ...]
    coverage: tuple[Coverage, ...]
    side_conditions: dict[str, int] = field(default_factory=dict)
    goals: tuple[Possible, ...] = ()
    """Judged once everything was explored and every property holds."""
    dead_end: DeadEnd | None = None
    trace: Trace | None = None
    """To the violation or to the dead end."""

    @property
    def properties(self) -> tuple[Tally, ...]:
        """The tallies of properties."""
        return tuple(t for t in self.tallies if not isinstance(t.property, Witness))

    @property
    def witnesses(self) -> tuple[Tally, ...]:
        """The tallies of witnesses; one is reached if it no longer ``holds`` as never true."""
        return tuple(t for t in self.tallies if isinstance(t.property, Witness))

    @property
    def missing_witnesses(self) -> tuple[str, ...]:
        """Expected witnesses that were not reached."""
        return tuple(
            t.property.name
            for t in self.witnesses
            if t.holds and isinstance(t.property, Witness) and t.property.expected
        )

    @property
    def exit_code(self) -> int:
        """0 only if everything was explored, holds, and happened."""
        match self.result:
            case "exhausted":
                return EXIT_WITNESS if self.missing_witnesses else EXIT_OK
            case "violated":
                return EXIT_VIOLATED
            case "dead end":
                return EXIT_DEAD_END
            case "interrupted":
                return EXIT_INTERRUPTED
            case _:
                return EXIT_STOPPED


def check(
    model: Model[Any, Any, Any, Any],
    *,
    reductions: Reductions = Reductions(),
    workers: int = 1,
    limits: Limits = Limits(),
    only: Iterable[str] = (),
    with_facts: bool = True,
    with_goals: bool = True,
    checkpoints: Checkpoints | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Result:
    """Explore all behaviours of a model, breadth first; then judge its goals.

    ``only`` names the properties and goals to judge (all if empty); ``report`` is called with the
    progress after every chunk of states. Raises ``ModelError`` if the model is malformed,
    ``CheckerFault`` if a counterexample does not replay.
    """
    started = time.monotonic()
    named = tuple(only)
    if named:  # what shortcuts rest on may not be among it
        model = model.without_shortcuts() or model
    goals = [g for g in model.goals() if with_goals and (not named or g.name in named)]
    refuted: list[Refuted] = []
    while True:
        search = Search(
            model,
            reductions=reductions,
            workers=workers,
            limits=limits,
            only=named,
            with_facts=with_facts,
            checkpoints=checkpoints,
            report=report,
        )
        found = search.run()
        failure, trace = found.failure, None
        possible: tuple[Possible, ...] = ()
        dead_end: DeadEnd | None = None
        if found.violation:
            try:
                trace = Retracer(search).violation(found.violation)
            except CheckerFault:
                # A false claim may have led the search to where the model never goes.
                failure = search.failed_side_condition()
                if failure is None:
                    raise
        elif found.result == "exhausted":
            try:
                possible, dead_end = _judge_goals(search, goals, found)
            except Asymmetric as asymmetric:
                failure = asymmetric.failure
        full = model.without_shortcuts() if _is_found(found, search) else None
        if full is not None:
            model, goals = (
                full,
                [g for g in full.goals() if g.name in {goal.name for goal in goals}],
            )
            checkpoints = None  # a checkpoint is of the model that was asked for
            continue
        if failure is None:
            break
        refuted.append(_refuted(search, failure))
        checkpoints = None  # a checkpoint is of the run that was asked for
        reductions = reductions.without(failure.reduction)
    seconds = time.monotonic() - started
    return replace(
        _result(search, found, tuple(refuted), dead_end.trace if dead_end else trace, seconds),
        goals=possible,
        dead_end=dead_end,
    )


def _is_found(found: Exploration, search: Search) -> bool:
    """Is anything wrong?"""
    missing = any(
        tally.holds and isinstance(tally.property, Witness) and tally.property.expected
        for tally in search.tallies.values()
    )
    ended = found.result == "exhausted" and missing
    return ended or found.failure is not None or found.result in ("violated", "dead end")


def _judge_goals(
    search: Search, goals: Sequence[Goal], found: Exploration
) -> tuple[tuple[Possible, ...], DeadEnd | None]:
    """Judge goals after an exhausted search; changes the outcome in ``found`` if it is another."""
    search.progress.doing = "judging progress"
    search.report(search.progress)
    possible: tuple[Possible, ...] = ()
    dead_end = None
    try:
        possible, dead_end = judge(search, goals)
    except SearchStopped as stopped:
        found.result, found.reason = "stopped", f"{stopped}, while looking for a dead end"
    except MemoryError:
        found.result, found.reason = "stopped", "memory is exhausted"
    except KeyboardInterrupt:
        found.result, found.reason = "interrupted", "interrupted"
    if dead_end:
        found.result = "dead end"
    return possible, dead_end


def _refuted(search: Search, failure: SideConditionFailure) -> Refuted:
    """A failed side condition in words, with the steps that lead there."""
    tables, model = search.tables, search.model
    process = tables.processes[tables.process_of(failure.state)]
    lines = [
        f"reduction {failure.reduction}: it does not hold that {failure.claim}",
        f"  {model.name_of(process)} = {model.show(tables.state(failure.state))}",
    ]
    match tables.token(failure.message) if failure.message is not None else None:
        case (source, message):
            sender = model.name_of(tables.processes[source])
            lines.append(f"  message from {sender}: {model.show(message)}")
        case (fact,):
            lines.append(f"  fact: {model.show(fact)}")
    with contextlib.suppress(CheckerFault):
        trace = Retracer(search).state(failure.state)
        lines += [tell(trace)] if trace else []
    return Refuted(failure=failure, text="\n".join(lines))


def _result(
    search: Search,
    found: Exploration,
    refuted: tuple[Refuted, ...],
    trace: Trace | None,
    seconds: float,
) -> Result:
    tables = search.tables
    number = {kind: i for i, kind in enumerate(tables.kinds)}
    kinds = dict.fromkeys([*search.model.kinds(), *tables.kinds])
    return Result(
        model=search.model,
        result=found.result,
        reason=found.reason,
        reductions=search.reductions,
        refuted=refuted,
        states=found.states,
        transitions=found.transitions,
        moves=found.moves,
        depth=trace.length if trace else found.depth,
        seconds=seconds,
        spec_evaluations=tables.evaluations,
        equivariance_evaluations=tables.equivariance_evaluations,
        peak_memory_bytes=peak_memory_bytes(),
        bytes_per_state=tables.state_memory / max(tables.visited.count, 1),
        tallies=tuple(search.tallies.values()),
        coverage=tuple(
            Coverage(
                kind=kind,
                evaluated=tables.evaluated.get(kind, 0),
                fired=int(search.fired[number[kind]]) if kind in number else 0,
                fresh=int(search.fresh[number[kind]]) if kind in number else 0,
            )
            for kind in kinds
        ),
        side_conditions=found.side_conditions,
        trace=trace,
    )
