"""A counterexample: rebuilt, stripped, replayed through the model, and told.

The search keeps the keys of its levels and nothing else. A trace is rebuilt in two passes:
backwards, a predecessor in the level before is found for each state; forwards, the path is walked
in the *plain* system, calling the model and nothing but the model, with every message really sent
and no process renamed. Quiet steps (they only add messages or facts) are taken as needed, are
shown but not numbered, and those that nothing later depends on are dropped. Finally the stripped
steps are replayed once more from the initial state and the violation is judged again.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np

from model_check import kernel as k
from model_check.explore import Generation, Search
from model_check.judge import NO_EXCEPTION, Violation
from model_check.model import (
    AllWhere,
    AnyFact,
    AnyState,
    AnyStep,
    Model,
    Outcome,
    Property,
    Quantifier,
    misaddressed,
)


class CheckerFault(Exception):
    """The checker contradicts itself: a trace does not replay. Never the model's fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStep:
    """One step of one process: an action of its own, or a message that arrives."""

    process: int
    action: object = None
    source: int | None = None
    message: object = None
    before: object
    outcome: Outcome[Any, Any, Any] | None
    """``None`` if the step raised ``error``."""
    error: str = ""

    @property
    def moves(self) -> bool:
        """Does it change the process, or fail to?"""
        return self.outcome is None or self.outcome.state != self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """The property that is violated, and the values for which it is."""

    property: Property
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Steps from the initial state to a violation, or just to a state (no ``clash``)."""

    model: Model[Any, Any, Any, Any]
    initial: tuple[object, ...]
    steps: tuple[TraceStep, ...]
    clash: Clash | None

    @property
    def length(self) -> int:
        """The number of state-changing steps."""
        return sum(step.moves for step in self.steps)

    @property
    def final(self) -> tuple[object, ...]:
        """The process states after the last step."""
        states = list(self.initial)
        for step in self.steps:
            if step.outcome is not None:
                states[self.model.processes.index(step.process)] = step.outcome.state
        return tuple(states)


@dataclass(slots=True)
class _World:
    """A state of the plain system, with the step that first sent or recorded each thing."""

    states: list[Any]
    sent: dict[tuple[int, int, Any], int] = field(default_factory=dict)
    facts: dict[Any, int] = field(default_factory=dict)
    present: frozenset[Any] = frozenset()
    """The facts that the search has not forgotten."""
    before: frozenset[Any] = frozenset()
    """Those of them that were there before the last step that changed a state."""
    steps: list[TraceStep] = field(default_factory=list)

    def copy(self) -> _World:
        return _World(
            list(self.states),
            dict(self.sent),
            dict(self.facts),
            self.present,
            self.before,
            list(self.steps),
        )

    def take(self, model: Model[Any, Any, Any, Any], step: TraceStep, *, with_facts: bool) -> bool:
        """Take a step; did it do anything?"""
        assert step.outcome is not None, "a step that failed cannot be taken"
        number = len(self.steps)
        self.steps.append(step)
        size = len(self.sent) + len(self.facts)
        for target, message in step.outcome.sends:
            self.sent.setdefault((step.process, target, message), number)
        for fact in step.outcome.facts if with_facts else ():
            self.facts.setdefault(fact, number)
        self.states[model.processes.index(step.process)] = step.outcome.state
        return step.moves or len(self.sent) + len(self.facts) > size


class Retracer:
    """Rebuilds traces of one search."""

    def __init__(self, search: Search) -> None:
        """Use the levels and tables that ``search`` has left."""
        self.search = search
        self.model = search.model
        self.tables = search.tables
        self.with_facts = search.tables.with_facts
        self._outcomes: dict[tuple[Any, ...], Outcome[Any, Any, Any] | str] = {}

    def violation(self, violation: Violation) -> Trace:
        """The trace to a violation; raises ``CheckerFault`` if it does not replay."""
        found = self.search.locate(violation)
        if found is None:
            raise CheckerFault(f"no state shows the violation of {violation.property.name}")
        world = self._walk(*found)
        if isinstance(violation.property.over[0], AnyStep):
            world.steps.append(self._violating_step(world, violation.property))
        return self._finish(world, violation.property)

    def state(self, number: int) -> Trace | None:
        """The trace to a state in which some process has the state with this number."""
        found = self.search.locate(Violation(property=NO_EXCEPTION, states=(number,)))
        return self._finish(self._walk(*found), None) if found else None

    def position(self, generation: Generation, position: int) -> Trace:
        """The trace to a state of a level."""
        return self._finish(self._walk(generation, position), None)

    # --- Backwards: the keys of the path --------------------------------------------------------

    def _path(self, generation: Generation, position: int) -> list[tuple[int, bool]]:
        """The keys from an initial state to this one, each with "reached by a move"."""
        key = int(self.search.keys(generation)[position])
        path = [(key, generation.by_moves)]
        while True:
            if generation.by_moves and generation.depth == 0:
                return path[::-1]
            parents = (
                self.search.generations_at(generation.depth - 1)
                if generation.by_moves
                else [self.search.generations[self.search.generations.index(generation) - 1]]
            )
            which = k.MOVES if generation.by_moves else k.QUIET
            for parent in parents:
                at = self._parent(parent, key, which)
                if at is not None:
                    break
            else:
                raise CheckerFault("a state has no predecessor in the level before it")
            generation, key = parent, at
            path.append((key, generation.by_moves))

    def _parent(self, generation: Generation, key: int, which: int) -> int | None:
        """The first key of a generation from which steps lead to ``key``."""
        search, worker = self.search, self.search.workers[0]
        keys = np.ascontiguousarray(search.keys(generation))
        first = 0
        while first < len(keys):
            worker.reserve(search.room())
            end = min(first + (1 << 14), len(keys))
            first = search.expand_span(worker, keys, (first, end), which, fill=False)
            worker.take_missed()
            found, parents = worker.take_found()
            hit = np.flatnonzero(found == key)
            if len(hit):
                return int(keys[parents[hit[0]]])
        return None

    # --- Forwards: the same path in the plain system --------------------------------------------

    def _walk(self, generation: Generation, position: int) -> _World:
        path = self._path(generation, position)
        worlds = [_World(list(states)) for states in self.model.initial_states()]
        world = next((w for w in worlds if self._key(w) == path[0][0]), None)
        if world is None:
            raise CheckerFault("no initial state begins the path")
        for key, by_move in path[1:]:
            world = self._advance(world, key, by_move)
        self._settle(world)
        return world

    def _advance(self, world: _World, key: int, by_move: bool) -> _World:
        self._settle(world)
        target = tuple(int(s) for s in self.search.vectors(np.array([key], np.int64))[0])
        n = len(self.tables.processes)
        images = {self._renamed_states(target[:n], r) for r in range(len(self.tables.renamings))}
        for step in self._enabled(world):
            if step.outcome is None or step.moves != by_move:
                continue
            after = world.copy()
            if not self._take(after, step):
                continue
            numbers = tuple(self.tables.known_state(p, s) for p, s in enumerate(after.states))
            if numbers in images and self._key(after) == key:
                return after
        raise CheckerFault("a step of the path has no counterpart in the plain system")

    def _renamed_states(self, states: tuple[int, ...], number: int) -> tuple[int | None, ...]:
        renamed = [0] * len(states)
        for p, state in enumerate(states):
            renamed[self.tables.renamings[number][p]] = self.tables.renamed_state(state, number)
        return tuple(renamed)

    def _key(self, world: _World) -> int:
        """The key that the search gives to a state of the plain system."""
        tables = self.tables
        n = len(tables.processes)
        vector = np.zeros(tables.width, np.int64)
        vector[:n] = [tables.state_id(p, s) for p, s in enumerate(world.states)]
        channels: dict[int, list[int]] = {}
        for source, target, message in world.sent:
            q, p = tables.position[source], tables.position[target]
            token = tables.message_id(q, p, message)
            channels.setdefault(tables.channels.index((q, p)), []).append(token)
        for channel, tokens in channels.items():
            vector[n + channel] = tables.set_id(tokens)
        vector[-1] = tables.set_id([tables.fact_id(fact) for fact in world.present])
        before = tables.set_id([tables.fact_id(fact) for fact in world.before])
        return self.search.key_of(vector, before=before, visit=False)

    def _take(self, world: _World, step: TraceStep) -> bool:
        """Take a step in the plain system, forgetting the facts that the search forgets."""
        if step.moves:
            self._forget(world)
            world.before = world.present
        changed = world.take(self.model, step, with_facts=self.with_facts)
        if step.outcome is not None and self.with_facts:
            world.present |= frozenset(step.outcome.facts)
        return changed

    def _forget(self, world: _World) -> None:
        """Forget the facts with which no process can clash any more, as the search does."""
        by_process = list(zip(self.model.processes, world.states, strict=True))
        if self.search.reductions.obsolete:
            world.present = frozenset(
                fact
                for fact in world.present
                if not all(self.model.is_past(p, state, fact) for p, state in by_process)
            )

    def _settle(self, world: _World) -> None:
        """Take quiet steps until nothing is added, if the search did so."""
        changed = self.search.reductions.saturation
        while changed:
            changed = False
            for step in self._enabled(world):
                if step.outcome is None or step.moves:
                    continue
                changed |= self._take(world, step)
                if not self._adds(world, step):
                    world.steps.pop()
        if world.present == world.before:
            self._forget(world)

    def _adds(self, world: _World, step: TraceStep) -> bool:
        """Did the step just taken add anything that was not there before?"""
        assert step.outcome is not None, "a failed step was not taken"
        number = len(world.steps) - 1
        return any(
            world.sent[step.process, target, message] == number
            for target, message in step.outcome.sends
        ) or any(world.facts.get(fact) == number for fact in step.outcome.facts)

    def _enabled(self, world: _World) -> Iterator[TraceStep]:
        """Every step that any process can take."""
        for p, process in enumerate(self.model.processes):
            state = world.states[p]
            for action in self.model.actions(process, state):
                yield self._act(process, state, action)
        for source, target, message in list(world.sent):
            state = world.states[self.model.processes.index(target)]
            yield self._deliver(target, state, source, message)

    def _act(self, process: int, state: object, action: object) -> TraceStep:
        outcome, error = self._run(
            (process, state, action), lambda: self.model.act(process, state, action)
        )
        return TraceStep(process=process, action=action, before=state, outcome=outcome, error=error)

    def _deliver(self, process: int, state: object, source: int, message: object) -> TraceStep:
        outcome, error = self._run(
            (process, state, source, message),
            lambda: self.model.deliver(process, state, source, message),
        )
        return TraceStep(
            process=process, source=source, message=message, before=state,
            outcome=outcome, error=error,
        )  # fmt: skip

    def _run(self, key: tuple[Any, ...], run: Any) -> tuple[Outcome[Any, Any, Any] | None, str]:
        if key not in self._outcomes:
            try:
                outcome = run()
                wrong = misaddressed(self.model.processes, key[0], outcome)
                self._outcomes[key] = wrong or outcome
            except Exception as error:  # whatever the model raises is a finding
                self._outcomes[key] = f"{type(error).__name__}: {error}"
        found = self._outcomes[key]
        return (None, found) if isinstance(found, str) else (found, "")

    def _violating_step(self, world: _World, claim: Property) -> TraceStep:
        for step in self._enabled(world):
            if clash_of_step(claim, step):
                return step
        raise CheckerFault(f"no step violates {claim.name} where one should")

    # --- Stripping and the final replay ---------------------------------------------------------

    def _finish(self, world: _World, claim: Property | None) -> Trace:
        initial = next(s for s in self.model.initial_states() if self._begins(s, world))
        kept = self._needed(world, claim)
        trace = Trace(model=self.model, initial=tuple(initial), steps=kept, clash=None)
        replayed = self._replay(trace)
        if claim is None:
            return trace
        clash = (
            clash_of_step(claim, kept[-1])
            if isinstance(claim.over[0], AnyStep)
            else clash_of_state(self.model, claim, replayed.states, list(replayed.facts))
        )
        if clash is None:
            raise CheckerFault(f"the violation of {claim.name} does not replay")
        return replace(trace, clash=clash)

    def _begins(self, states: tuple[object, ...], world: _World) -> bool:
        """Are these the states in which the processes took their first steps?"""
        first: dict[int, object] = {}
        for step in world.steps:
            first.setdefault(step.process, step.before)
        return all(states[self.model.processes.index(p)] == s for p, s in first.items())

    def _needed(self, world: _World, claim: Property | None) -> tuple[TraceStep, ...]:
        """All state-changing steps, the last step, and the quiet ones that they depend on."""
        steps = world.steps
        needed = {i for i, step in enumerate(steps) if step.moves}
        if claim is not None and isinstance(claim.over[0], AnyStep):
            needed.add(len(steps) - 1)
        elif claim is not None and isinstance(claim.over[0], AnyFact):
            clash = clash_of_state(self.model, claim, world.states, list(world.facts))
            for value in clash.values.values() if clash else ():
                if isinstance(value, claim.over[0].kind) and value in world.facts:
                    needed.add(world.facts[value])
        waiting = list(needed)
        while waiting:
            step = steps[waiting.pop()]
            if step.source is not None:
                sender = world.sent[step.source, step.process, step.message]
                if sender not in needed:
                    needed.add(sender)
                    waiting.append(sender)
        return tuple(step for i, step in enumerate(steps) if i in needed)

    def _replay(self, trace: Trace) -> _World:
        """Take the steps again from the initial state; raises ``CheckerFault`` if one differs."""
        world = _World(list(trace.initial))
        for step in trace.steps:
            state = world.states[self.model.processes.index(step.process)]
            if step.source is None:
                again = self._act(step.process, state, step.action)
                lawful = step.action in self.model.actions(step.process, state)
            else:
                again = self._deliver(step.process, state, step.source, step.message)
                lawful = (step.source, step.process, step.message) in world.sent
            if not lawful or again != step:
                raise CheckerFault("a step of the trace does not replay")
            if again.outcome is not None:
                world.take(self.model, again, with_facts=self.with_facts)
        return world


# --- Judging plain states, one property at a time -----------------------------------------------


def clash_of_step(claim: Property, step: TraceStep) -> Clash | None:
    """Does this step violate a property of steps?"""
    if step.outcome is None:
        if claim.name != NO_EXCEPTION.name:
            return None
        return Clash(property=claim, values={"error": step.error})
    if claim.name == NO_EXCEPTION.name or not step.outcome.step:
        return None
    if claim.verdict(*step.outcome.step) is not False:
        return None
    return _clash(claim, step.outcome.step)


def clash_of_state(
    model: Model[Any, Any, Any, Any], claim: Property, states: list[Any], facts: list[Any]
) -> Clash | None:
    """Does this plain state violate a property?"""
    for values in combinations(model, claim, states, facts):
        if claim.verdict(*values) is False:
            return _clash(claim, values)
    return None


def combinations(
    model: Model[Any, Any, Any, Any], claim: Property, states: list[Any], facts: list[Any]
) -> Iterator[list[object]]:
    """All values over which a property of states and facts is quantified: the definition."""
    by_process = list(zip(model.processes, states, strict=True))

    def choices(quantifier: Quantifier) -> list[tuple[object, object]]:
        match quantifier:
            case AnyState():
                return [(p, s) for p, s in by_process]
            case AnyFact(kind=kind):
                return [(f, f) for f in facts if isinstance(f, kind)]
            case AllWhere() | AnyStep():
                return []

    bound = [q for q in claim.over if not isinstance(q, AllWhere)]
    last = claim.over[-1]
    for chosen in itertools.product(*map(choices, bound)):
        if len({identity for identity, _ in chosen}) < len(chosen):
            continue
        values = [value for _, value in chosen]
        if isinstance(last, AllWhere):
            values.append(frozenset(p for p, s in by_process if last.relation(values[-1], s)))
        yield values


def _clash(claim: Property, values: Sequence[object]) -> Clash:
    """The values under the names of the predicate's parameters, and how it fails if it raises."""
    names = list(inspect.signature(claim.predicate).parameters)
    if len(names) != len(values):
        names = [f"value {i}" for i in range(1, len(values) + 1)]
    named = dict(zip(names, values, strict=True))
    failure = claim.failure(*values)
    return Clash(
        property=claim, values={**named, "the property fails": failure} if failure else named
    )


# --- Telling it ---------------------------------------------------------------------------------


def differences(
    model: Model[Any, Any, Any, Any], before: object, after: object, name: str = ""
) -> list[tuple[str, str, str]]:
    """What differs between two values, field by field: (field, before, after)."""
    if before == after:
        return []
    if is_dataclass(before) and not isinstance(before, type) and type(before) is type(after):
        found = []
        for f in fields(before):
            inner = f"{name}.{f.name}" if name else f.name
            found += differences(model, getattr(before, f.name), getattr(after, f.name), inner)
        shown = {(old, new) for _, old, new in found}
        if len(fields(before)) > 1 or not name or len(shown) > 1:
            return found
    return [(name or "state", model.show(before), model.show(after))]


def title_of(trace: Trace, step: TraceStep) -> str:
    """A step in words: who, and what it does or receives."""
    model = trace.model
    who = model.name_of(step.process)
    if step.source is None:
        return f"{who}: {model.show(step.action)}"
    return f"{who} receives from {model.name_of(step.source)}: {model.show(step.message)}"


def tell(trace: Trace) -> str:
    """The whole counterexample as text."""
    model = trace.model
    lines = []
    number = 0
    for step in trace.steps:
        if step.moves:
            number += 1
            lines.append(f"{number:3}. {title_of(trace, step)}")
        else:
            lines.append(f"  ·  {title_of(trace, step)}")
        if step.outcome is None:
            lines.append(f"       fails: {step.error}")
            continue
        for name, old, new in differences(model, step.before, step.outcome.state):
            lines.append(f"       {name}: {old} -> {new}")
        if not step.moves:
            for target, message in step.outcome.sends:
                lines.append(f"       sends to {model.name_of(target)}: {model.show(message)}")
    if trace.clash:
        claim = trace.clash.property
        lines += ["", f"{claim.title or claim.name} ({claim.name}) is violated."]
        if claim.sentence:
            lines.append(f"  {claim.sentence}")
        lines += [f"  {name} = {model.show(v)}" for name, v in trace.clash.values.items()]
    return "\n".join(lines)


def as_json(trace: Trace) -> list[dict[str, object]]:
    """The steps as JSON values."""
    model = trace.model
    numbers = itertools.count(1)
    return [
        {
            "number": next(numbers) if step.moves else None,
            "process": step.process,
            "action": None if step.source is not None else model.show(step.action),
            "source": step.source,
            "message": None if step.source is None else model.show(step.message),
            "changes": []
            if step.outcome is None
            else [
                {"field": name, "before": old, "after": new}
                for name, old, new in differences(model, step.before, step.outcome.state)
            ],
            "sends": []
            if step.outcome is None
            else [{"to": to, "message": model.show(m)} for to, m in step.outcome.sends],
            "error": step.error or None,
        }
        for step in trace.steps
    ]
