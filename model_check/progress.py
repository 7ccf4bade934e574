"""Progress: is each goal still possible, wherever the processes have got to? Knows no Raft.

Judged after an exhausted search, for every tuple of process states that it visited, in an *empty
network*, and once more with each set of processes that a goal names down. In the plain system the
network never forgets, so a goal that is reachable there may hang on some old message; here a path
must make do with what it sends itself.

Two searches. The first, compiled, knows only *exchanges* (see ``model_check.exchanges``), which
lead from tuple to tuple: if one leads to a tuple from which the goal can be reached, then it can be
reached from here too. It goes forward from the tuples that are asked for something, one exchange
further at a time, until all have what they are asked for or nothing new is met. What then remains
is searched completely, with all that messages under way can do, tuples of least depth first: the
first one without a path is a *dead end*. So a tuple is reported if and only if no path exists.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_check import exchanges as x
from model_check import kernel as k
from model_check.explore import Search
from model_check.model import Goal, Model, ModelError, Outcome
from model_check.tables import Entry, Map, SideConditionFailure, entry_key
from model_check.trace import CheckerFault, Retracer, Trace
from model_check.visited import Words

CHUNK = 1 << 14
"""Tuples expanded between two looks at whether they fit."""
NOTHING = -1
"""The rank of no mark at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Possible:
    """What became of one goal."""

    goal: Goal
    judged: int
    """Tuples of process states, those with processes down counted apart."""
    applicable: int
    """Those of them that are asked for something."""
    shortest: int
    """Of the schedules found for these, in exchanges; 0 if the goal is reached at once."""
    longest: int
    searched: int
    """Tuples for which exchanges were not enough, so that a complete search was made."""
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadEnd:
    """Process states that are reached, from which a goal is not possible any more."""

    goal: Goal
    asked: object
    states: tuple[object, ...]
    """In the order of the processes, ``None`` for those that are down."""
    searched: int
    """States that can still be reached from here by what the goal allows."""
    trace: Trace


class SearchStopped(Exception):
    """A complete search met a limit; the message says which."""


class Asymmetric(Exception):
    """A goal changes when processes are renamed, which the model calls interchangeable."""

    def __init__(self, goal: Goal, state: int) -> None:
        """Say so of a state in which it shows."""
        super().__init__(goal.name)
        self.failure = SideConditionFailure(
            reduction="symmetry",
            claim=f"goal {goal.name} is the same after renaming the processes",
            state=state,
        )


def judge(search: Search, goals: Sequence[Goal]) -> tuple[tuple[Possible, ...], DeadEnd | None]:
    """Judge goals after ``search`` was exhausted; the second is a dead end of least depth, if any.

    Raises ``SearchStopped`` at a limit, ``Asymmetric`` if a goal is not the same after renaming.
    """
    found, dead_ends = [], []
    for goal in goals:
        judged = Judged(search, goal)
        found.append(judged.run())
        if judged.dead_end:
            dead_ends.append(judged.dead_end)
    return tuple(found), min(dead_ends, key=lambda end: end.trace.length, default=None)


class Judged:
    """One goal, judged for all tuples."""

    def __init__(self, search: Search, goal: Goal) -> None:
        """Number all tuples, and ask the goal about each."""
        for function in x.ENTRY_POINTS:
            k.prepare(function)
        self.search = search
        self.tables = search.tables
        self.goal = goal
        self.dead_end: DeadEnd | None = None
        self._g = np.zeros(x.G_SLOTS, np.int64)
        self._held: dict[int, Words] = {}
        self._views: dict[int, Hashable] = {}
        self._index = Map(1 << 10, self._g, x.G_INDEX)
        self._talks = Map(1 << 16, self._g, x.G_TALKS)
        n = len(self.tables.processes)
        self._g[x.G_NODES] = 1
        self._hold(x.G_TRIAL, np.zeros(2 * n, np.int64))
        self._hold(x.G_QUEUE, np.zeros(2 * x.LONGEST_TALK, np.int64))
        self._masks = self._masks_of_down()
        self._number_tuples()
        self._list_actions()
        self._compare_allowed()
        self._ask()

    def _hold(self, slot: int, array: Words) -> None:
        self._held[slot] = array
        self._g[slot] = array.ctypes.data

    # --- All tuples -----------------------------------------------------------------------------

    def _masks_of_down(self) -> list[np.ndarray[Any, Any]]:
        """For each set of processes that are down, which positions they have."""
        processes = self.tables.processes
        masks = []
        for down in self.goal.down:
            if not down <= set(processes):
                raise ModelError(f"goal {self.goal.name}: {sorted(down)} are not all processes")
            masks.append(np.array([process in down for process in processes]))
        return masks

    def _number_tuples(self) -> None:
        tuples = self.search.tuples()
        n = tuples.shape[1]
        self._hold(x.G_TUPLES, np.zeros(len(tuples) * len(self._masks) * n, np.int64))
        self._g[x.G_CAPACITY] = len(tuples) * len(self._masks)
        for mask in self._masks:
            self.numbers_of(np.where(mask, x.DOWN, tuples), add=True)
        count = int(self._g[x.G_COUNT])
        self.tuples = self._held[x.G_TUPLES][: count * n].reshape(count, n)

    def numbers_of(self, tuples: Words, *, add: bool = False) -> Words:
        """The numbers of tuples, up to renaming; ``MISS`` for those that were never visited."""
        rows = np.ascontiguousarray(tuples)
        out = np.empty(len(rows), np.int64)
        first = 0
        while first < len(rows):
            self._index.make_room(2 * rows.shape[1])
            first = x.number_all(
                self.tables.address, self._g.ctypes.data, rows.ctypes.data, first, len(rows),
                out.ctypes.data, int(add),
            )  # fmt: skip
        return out

    def _list_actions(self) -> None:
        """Write down, for each state, what the actions do that the goal allows."""
        tables = self.tables
        rows, words = np.zeros(len(tables.states), np.int64), [0]
        for state in self._states():
            taken = self._allowed(state)
            if len(taken) > x.MOST_ACTIONS:
                raise ModelError(f"more than {x.MOST_ACTIONS} actions in one state")
            at = len(words) + 1 + len(taken)
            rows[state] = len(words)
            places: list[int] = []
            entries: list[int] = []
            for entry in taken:
                places.append(at + len(entries))
                entries += tables.words_of(state, entry)
            words += [len(taken), *places, *entries]
        self._hold(x.G_ACTIONS, rows)
        self._hold(x.G_ROWS, np.array(words, np.int64))

    def _states(self) -> list[int]:
        """All process states that are in some tuple."""
        states: list[int] = np.unique(self.tuples[self.tuples != x.DOWN]).tolist()
        return states

    def _allowed(self, state: int) -> list[Entry]:
        """What the actions do that the goal allows in this state."""
        allows, ask = self.goal.allows, self.tables.ask_model
        return [entry for action, entry in self.tables.local_actions(state) if ask(allows, action)]

    # --- What is asked, and what is reached -----------------------------------------------------

    def values(self, numbers: Sequence[int]) -> tuple[Any, ...]:
        """Process states by their numbers, ``None`` for those that are down."""
        return tuple(None if s == x.DOWN else self.tables.state(s) for s in numbers)

    def _ask(self) -> None:
        """Rank the marks that tuples ask for, and those that they have reached.

        The goal is asked once for all tuples that look alike to it.
        """
        numbers: dict[Hashable, int] = {}
        view_of = np.full(len(self.tables.states) + 1, -1, np.int64)  # the last is for DOWN
        for state in self._states():
            view_of[state] = numbers.setdefault(self._view(state), len(numbers))
        first, which = _distinct_rows(view_of[self.tuples], len(numbers))
        found = [self._marks_of(row) for row in self.tuples[first].tolist()]
        self.marks: list[Any] = sorted({m for marks in found for m in marks if m is not None})
        rank = {mark: i for i, mark in enumerate(self.marks)}
        rank[None] = NOTHING
        ranks = np.array([[rank[m] for m in marks] for marks in found], np.int64)
        self.asked, self.reached = ranks[which].T.copy()
        for row, marks in zip(self.tuples[first].tolist(), found, strict=True):
            self._compare_renamed(row, marks)

    def _view(self, state: int) -> Hashable:
        """What the goal sees of a process state."""
        if state not in self._views:
            value = self.tables.state(state)
            self._views[state] = self.tables.ask_model(self.goal.view, value)
        return self._views[state]

    def _marks_of(self, row: Sequence[int]) -> tuple[Any, Any]:
        """The marks that a tuple asks for and has reached."""
        goal, ask = self.goal, self.tables.ask_model
        seen = tuple(None if state == x.DOWN else self._view(state) for state in row)
        return ask(goal.asked, seen), ask(goal.reached, seen)

    # --- That the goal is the same after renaming -----------------------------------------------

    def _compare_renamed(self, row: Sequence[int], marks: tuple[Any, Any]) -> None:
        """Are the marks of a tuple those of its renamings, by renamings that generate all?"""
        tables = self.tables
        for renaming in self.search.judge.generators:
            renamed = [x.DOWN] * len(row)
            for p, state in enumerate(row):
                if state != x.DOWN:
                    renamed[tables.renamings[renaming][p]] = tables.renamed_state(state, renaming)
            if self._marks_of(renamed) != marks:
                raise Asymmetric(self.goal, next(s for s in row if s != x.DOWN))

    def _compare_allowed(self) -> None:
        """Are the allowed actions those of renamed states, and the processes down?"""
        tables = self.tables
        for renaming in self.search.judge.generators:
            names = tables.renaming(renaming)
            if {frozenset(map(names.get, d)) for d in self.goal.down} != set(self.goal.down):
                raise Asymmetric(self.goal, 0)
            for state in self._states():
                image = self._allowed(tables.renamed_state(state, renaming))
                expected = [tables.renamed_entry(e, renaming) for e in self._allowed(state)]
                if sorted(image, key=entry_key) != sorted(expected, key=entry_key):
                    raise Asymmetric(self.goal, state)

    # --- By exchanges ---------------------------------------------------------------------------

    def run(self) -> Possible:
        """Judge all tuples."""
        self.best = self.reached.copy()
        self._order: list[Words] = []
        self._targets: list[Words] = []
        self._counts: list[Words] = []
        self._expanded = np.zeros(len(self.tuples), bool)
        asking = self.asked > NOTHING
        rounds = [np.flatnonzero(asking & (self.reached >= self.asked))]
        missing = np.flatnonzero(asking & (self.reached < self.asked))
        while len(missing):
            before = self.best
            grown = self._expand_around(missing, len(rounds))
            self._spread(len(rounds))
            if not grown and np.array_equal(self.best, before):
                break
            done = self.best[missing] >= self.asked[missing]
            rounds.append(missing[done])
            missing = missing[~done]
        searched = self._search_rest(missing) if len(missing) else 0
        lengths = [length for length, found in enumerate(rounds) if len(found)]
        return Possible(
            goal=self.goal,
            judged=len(self.tuples),
            applicable=int(asking.sum()),
            shortest=lengths[0] if lengths else 0,
            longest=lengths[-1] if lengths else 0,
            searched=searched,
            holds=self.dead_end is None,
        )

    def _expand_around(self, missing: Words, length: int) -> bool:
        """Expand all that is less than ``length`` exchanges from ``missing``; is any of it new?"""
        order, starts, targets = self._graph()
        near = np.zeros(len(self.tuples), bool)
        near[missing] = True
        for _ in range(length - 1):
            sources = np.repeat(order, np.diff(starts))
            near[targets[near[sources]]] = True
        fresh = np.flatnonzero(near & ~self._expanded)
        for first in range(0, len(fresh), CHUNK):
            self._expand(fresh[first : first + CHUNK])
        return len(fresh) > 0

    def _expand(self, tuples: Words) -> None:
        """Find where exchanges lead from these tuples."""
        counts = np.zeros(len(tuples), np.int64)
        room = max(1 << 16, 4 * (1 + len(self.tables.processes) ** 2 * x.MOST_ACTIONS))
        first = 0
        while first < len(tuples):
            begun = first
            out = np.empty(room, np.int64)
            self._talks.make_room(room)
            first = x.expand_tuples(
                self.tables.address, self._g.ctypes.data, tuples.ctypes.data, first, len(tuples),
                counts.ctypes.data, out.ctypes.data, room,
            )  # fmt: skip
            self._targets.append(out[: counts[begun:first].sum()].copy())
            self.tables.answer()
            if self._g[x.G_STRAY]:
                raise CheckerFault("an exchange leads to process states that were never visited")
        self._order.append(tuples)
        self._counts.append(counts)
        self._expanded[tuples] = True

    def _graph(self) -> tuple[Words, Words, Words]:
        """The tuples expanded, where the targets of each begin, and all targets."""
        if not self._order:
            none = np.zeros(0, np.int64)
            return none, np.zeros(1, np.int64), none
        self._order = [np.concatenate(self._order)]
        self._counts = [np.concatenate(self._counts)]
        self._targets = [np.concatenate(self._targets)]
        starts = np.concatenate([[0], np.cumsum(self._counts[0])])
        return self._order[0], starts, self._targets[0]

    def _spread(self, length: int) -> None:
        """The best marks that ``length`` exchanges can reach."""
        order, starts, targets = self._graph()
        self.best = self.reached.copy()
        for _ in range(length):
            self.best[order] = np.maximum.reduceat(self.best[targets], starts[:-1])

    # --- Complete searches ----------------------------------------------------------------------

    def _search_rest(self, missing: Words) -> int:
        """Search from each tuple that remains, until one is a dead end; how many were searched."""
        searched = 0
        for number in self._by_depth(missing):
            if self.best[number] >= self.asked[number]:
                continue
            searched += 1
            best, states = self._search_from(number)
            if best < self.asked[number]:
                self.dead_end = self._dead_end(number, states)
                break
            self.best[number] = best
            self._spread_all()
        return searched

    def _spread_all(self) -> None:
        """Spread what complete searches have found, until nothing changes."""
        order, starts, targets = self._graph()
        while True:
            better = np.maximum.reduceat(self.best[targets], starts[:-1])
            better = np.maximum(better, self.best[order])
            if np.array_equal(better, self.best[order]):
                return
            self.best[order] = better

    def _by_depth(self, missing: Words) -> Iterator[int]:
        """Tuples in the order in which the search met them."""
        left = np.zeros(len(self.tuples), bool)
        left[missing] = True
        for _, _, found in self._visits():
            met = np.unique(found[left[found]])
            left[met] = False
            yield from met.tolist()

    def _visits(self) -> Iterator[tuple[Any, np.ndarray[Any, Any], Words]]:
        """Each generation and each set of processes down, with the tuple number of each state."""
        n = len(self.tables.processes)
        for generation in self.search.generations:
            states = self.search.vectors(self.search.keys(generation))[:, :n]
            for mask in self._masks:
                yield generation, mask, self.numbers_of(np.where(mask, x.DOWN, states))

    def _search_from(self, number: int) -> tuple[int, int]:
        """The rank of the best mark that any path from this tuple reaches; the states it meets."""
        start = self.values(self.tuples[number].tolist())
        rest = Rest(self.search.model, self.goal, start)
        reductions = self.search.reductions
        while True:
            search = Search(
                rest, reductions=reductions, limits=self.search.limits, with_facts=False
            )
            ended = search.run()
            if ended.failure is None:
                break
            reductions = reductions.without(ended.failure.reduction)
        if ended.result != "exhausted":
            raise SearchStopped(ended.reason)
        best = int(self.reached[number])
        for row in search.tuples().tolist():
            states = (search.tables.state(s) for s in row)
            seen = (None if isinstance(s, Down) else self.goal.view(s) for s in states)
            mark = self.goal.reached(tuple(seen))
            if mark is not None:
                best = max(best, self._rank(mark))
        return best, ended.states

    def _rank(self, mark: object) -> int:
        """The rank of a mark; every tuple that a path meets was visited, and so was its mark."""
        try:
            return self.marks.index(mark)
        except ValueError:
            raise CheckerFault("a path leads to process states that were never visited") from None

    def _dead_end(self, number: int, searched: int) -> DeadEnd:
        generation, mask, position = next(
            (generation, mask, int(np.argmax(found == number)))
            for generation, mask, found in self._visits()
            if (found == number).any()
        )
        trace = Retracer(self.search).position(generation, position)
        return DeadEnd(
            goal=self.goal,
            asked=self.marks[self.asked[number]],
            states=self._renamed_back(number, trace.final, int(mask.sum())),
            searched=searched,
            trace=trace,
        )

    def _renamed_back(
        self, number: int, states: tuple[object, ...], size: int
    ) -> tuple[object, ...]:
        """Those of the last states of a trace that make the tuple with this number."""
        row = np.array([self.tables.state_id(p, s) for p, s in enumerate(states)], np.int64)
        for mask in self._masks:
            part = np.where(mask, x.DOWN, row)
            if mask.sum() == size and self.numbers_of(part.reshape(1, -1))[0] == number:
                return self.values(part.tolist())
        raise CheckerFault("a trace does not end where it should")


def _distinct_rows(rows: Words, values: int) -> tuple[Words, Words]:
    """Where each distinct row of numbers from -1 to ``values`` - 1 is first, and which each is."""
    key = np.zeros(len(rows), np.int64)
    room = 1
    for column in rows.T:
        room *= values + 1
        key = key * (values + 1) + column + 1
        if room * (values + 1) >= 1 << 62:  # the next column does not fit
            distinct, key = np.unique(key, return_inverse=True)
            room = len(distinct)
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    return first, which


@dataclass(frozen=True, slots=True)
class Down:
    """A process that is down, and stays it."""


class Rest(Model[Any, Any, Any, Any]):
    """What a model can still do from some states, by the actions that a goal allows."""

    def __init__(
        self, model: Model[Any, Any, Any, Any], goal: Goal, states: tuple[Any, ...]
    ) -> None:
        """Begin in ``states``, ``None`` for processes that are down, with an empty network."""
        self.name = model.name
        self.processes = model.processes
        self.interchangeable = model.interchangeable  # type: ignore[method-assign]
        self.rename_message = model.rename_message  # type: ignore[method-assign]
        self._model = model
        self._goal = goal
        self._states = states

    def initial_states(self) -> list[tuple[Any, ...]]:
        """The given ones."""
        return [tuple(Down() if s is None else s for s in self._states)]

    def actions(self, process: int, state: Any) -> list[Any]:
        """Those that the goal allows."""
        offered = [] if isinstance(state, Down) else self._model.actions(process, state)
        return [action for action in offered if self._goal.allows(action)]

    def act(self, process: int, state: Any, action: Any) -> Outcome[Any, Any, Any]:
        """As in the model."""
        return _silent(self._model.act(process, state, action))

    def deliver(
        self, process: int, state: Any, source: int, message: Any
    ) -> Outcome[Any, Any, Any]:
        """As in the model; a process that is down takes nothing."""
        if isinstance(state, Down):
            return Outcome(state=state)
        return _silent(self._model.deliver(process, state, source, message))

    def rename_state(self, renaming: Any, state: Any) -> Any:
        """As in the model."""
        return state if isinstance(state, Down) else self._model.rename_state(renaming, state)

    def is_obsolete(self, process: int, state: Any, source: int, message: Any) -> bool:
        """As in the model; nothing matters to a process that is down."""
        return isinstance(state, Down) or self._model.is_obsolete(process, state, source, message)

    def representative(self, process: int, state: Any, source: int, message: Any) -> Any:
        """As in the model."""
        if isinstance(state, Down):
            return message
        return self._model.representative(process, state, source, message)


def _silent(outcome: Outcome[Any, Any, Any]) -> Outcome[Any, Any, Any]:
    """A step without history and without what properties are told of it."""
    return Outcome(state=outcome.state, sends=outcome.sends)
