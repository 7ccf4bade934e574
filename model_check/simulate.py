"""``python -m model_check simulate``: random walks in the plain system, beyond exhaustible bounds.

A walk takes enabled steps at random and judges every property in every state and step. Nothing is
reduced and nothing is remembered between walks; a clean run shows nothing but that these walks met
no violation. A violating walk is cut down, step by step, to one from which no step can be left out,
before it is shown.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from model_check.judge import NO_EXCEPTION
from model_check.model import AnyStep, Model, Property, Witness, misaddressed
from model_check.trace import (
    Clash,
    Trace,
    TraceStep,
    clash_of_state,
    clash_of_step,
    combinations,
)

DELIVERIES = 0.8
"""How often a walk delivers a message, if there is one, rather than taking an action."""
RECENT = 4
ATTEMPTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What a number of walks met."""

    seed: int
    walks: int
    steps: int
    moves: int
    lengths: tuple[tuple[int, int], ...]
    """(steps, walks of this length), ascending."""
    witnesses: tuple[tuple[str, int], ...]
    """(witness, walks that reached it)."""
    trace: Trace | None


class Walk:
    """One random walk, or the replay of a list of choices."""

    def __init__(self, model: Model[Any, Any, Any, Any], claims: Sequence[Property]) -> None:
        """Begin at the first initial state."""
        self.model = model
        self.claims = claims
        self.initial = tuple(next(iter(model.initial_states())))
        self.states = list(self.initial)
        self.sent: dict[tuple[int, int, Any], None] = {}
        self.facts: dict[Any, None] = {}
        self.steps: list[TraceStep] = []
        self.clash: Clash | None = None

    def choose(self, rng: random.Random) -> TraceStep | None:
        """A random enabled step, or nothing if there is none.

        Steps that do nothing are mostly passed over: a few others are tried first.
        """
        step = None
        for _ in range(ATTEMPTS):
            step = self._any_step(rng) or step
            if step and (step.moves or self._sends_something_new(step)):
                break
        return step

    def _any_step(self, rng: random.Random) -> TraceStep | None:
        process = rng.choice(self.model.processes)
        inbox = [(q, m) for q, to, m in self.sent if to == process]
        if inbox and rng.random() < DELIVERIES:
            # Every second time one of the latest messages, otherwise any, however old.
            return self.step(process, *rng.choice(inbox[-RECENT:] if rng.random() < 0.5 else inbox))
        offered = self.model.actions(process, self.states[self.model.processes.index(process)])
        if not offered:
            return None
        weights = [self.model.weight(action) for action in offered]
        return self.step(process, None, rng.choices(offered, weights)[0])

    def _sends_something_new(self, step: TraceStep) -> bool:
        assert step.outcome is not None, "a step that fails moves"
        return any((step.process, to, m) not in self.sent for to, m in step.outcome.sends)

    def step(self, process: int, source: int | None, what: object) -> TraceStep:
        """What an action, or a message from ``source``, does in the present state."""
        before = self.states[self.model.processes.index(process)]
        action = what if source is None else None
        message = None if source is None else what
        outcome, error = None, ""
        try:
            if source is None:
                outcome = self.model.act(process, before, what)
            else:
                outcome = self.model.deliver(process, before, source, what)
            error = misaddressed(self.model.processes, process, outcome)
        except Exception as failure:  # whatever the model raises is a finding
            error = f"{type(failure).__name__}: {failure}"
        return TraceStep(
            process=process,
            action=action,
            source=source,
            message=message,
            before=before,
            outcome=None if error else outcome,
            error=error,
        )

    def is_enabled(self, step: TraceStep) -> bool:
        """Can the same choice be made in the present state?"""
        if step.source is not None:
            return (step.source, step.process, step.message) in self.sent
        state = self.states[self.model.processes.index(step.process)]
        return step.action in self.model.actions(step.process, state)

    def take(self, step: TraceStep) -> None:
        """Take a step and judge it and the state that it leads to."""
        self.steps.append(step)
        grown = len(self.facts)
        if step.outcome is not None:
            self.states[self.model.processes.index(step.process)] = step.outcome.state
            self.sent.update({(step.process, to, m): None for to, m in step.outcome.sends})
            self.facts.update(dict.fromkeys(step.outcome.facts))
        for claim in self.claims:
            if isinstance(claim.over[0], AnyStep):
                self.clash = clash_of_step(claim, step)
            elif step.moves or len(self.facts) > grown:
                self.clash = clash_of_state(self.model, claim, self.states, list(self.facts))
            if self.clash:
                return

    def trace(self) -> Trace:
        """The walk as a trace."""
        return Trace(
            model=self.model, initial=self.initial, steps=tuple(self.steps), clash=self.clash
        )


def simulate(
    model: Model[Any, Any, Any, Any],
    *,
    runs: int,
    depth: int,
    seed: int,
    only: Iterable[str] = (),
) -> Simulation:
    """Walk ``runs`` times ``depth`` steps, or until a property is violated."""
    named = set(only)
    properties = [p for p in model.properties() if not named or p.name in named]
    claims = [NO_EXCEPTION, *properties]
    steps = moves = walks = 0
    lengths: Counter[int] = Counter()
    reached: Counter[str] = Counter({w.name: 0 for w in model.witnesses()})
    trace: Trace | None = None
    while walks < runs and trace is None:
        walk = Walk(model, claims)
        rng = random.Random(f"{seed}/{walks}")
        seen: set[str] = set()
        while len(walk.steps) < depth and not walk.clash:
            step = walk.choose(rng)
            if step is None:
                break
            walk.take(step)
            seen |= _reached(model.witnesses(), walk, step, seen)
        walks += 1
        steps += len(walk.steps)
        moves += sum(step.moves for step in walk.steps)
        lengths[len(walk.steps)] += 1
        reached.update(seen)
        if walk.clash:
            trace = minimised(walk)
    return Simulation(
        seed=seed,
        walks=walks,
        steps=steps,
        moves=moves,
        lengths=tuple(sorted(lengths.items())),
        witnesses=tuple(reached.items()),
        trace=trace,
    )


def _reached(witnesses: Sequence[Witness], walk: Walk, step: TraceStep, seen: set[str]) -> set[str]:
    """The witnesses not seen before that this step or state shows."""
    found = set()
    for witness in witnesses:
        if witness.name in seen or step.outcome is None:
            continue
        if isinstance(witness.over[0], AnyStep):
            shown = bool(step.outcome.step) and bool(witness.verdict(*step.outcome.step))
        else:
            values = combinations(walk.model, witness, walk.states, list(walk.facts))
            shown = any(witness.verdict(*chosen) for chosen in values)
        if shown:
            found.add(witness.name)
    return found


def minimised(walk: Walk) -> Trace:
    """A shortened walk that violates the same property; no single step of it can be left out."""
    assert walk.clash is not None, "only a violation is minimised"
    claim = walk.clash.property
    best = walk
    size = max(len(best.steps) // 2, 1)
    while True:
        shorter = _without_some(best, claim, size)
        if shorter is not None:
            best = shorter
        elif size == 1:
            return best.trace()
        else:
            size //= 2


def _without_some(walk: Walk, claim: Property, size: int) -> Walk | None:
    """The walk without some ``size`` steps in a row, if it still violates the property."""
    for first in range(len(walk.steps) - size, -1, -1):
        shorter = Walk(walk.model, [claim])
        for step in (*walk.steps[:first], *walk.steps[first + size :]):
            if not shorter.is_enabled(step):
                continue
            what = step.action if step.source is None else step.message
            shorter.take(shorter.step(step.process, step.source, what))
            if shorter.clash and len(shorter.steps) < len(walk.steps):
                return shorter
    return None
