"""Run a function of ``spec`` on unknown numbers: every path, each with its condition, for z3.

``Number`` behaves like an int that is not known yet. Each comparison whose truth is open is decided
one way, and the function is run again for the other, until all feasible paths are seen. What a path
returns is then a z3 term, true of all numbers that satisfy its condition. No bound on the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import z3


@dataclass
class Path:
    """The decisions of one run, and the condition under which it is taken."""

    decisions: list[bool]
    condition: list[Any] = field(default_factory=list)

    def decide(self, claim: Any) -> bool:
        """The truth of the claim on this path."""
        position = len(self.condition)
        if position == len(self.decisions):
            self.decisions.append(_possible([*self.condition, claim]))
        truth = self.decisions[position]
        self.condition.append(claim if truth else z3.Not(claim))
        return truth


_path: list[Path] = []


class Number:
    """An unknown whole number."""

    def __init__(self, term: Any) -> None:
        """Stand for a z3 term."""
        self.term = term

    def _compare(self, other: object, claim: Callable[[Any, Any], Any]) -> bool:
        term = other.term if isinstance(other, Number) else other
        return _path[-1].decide(claim(self.term, term))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int | Number) and self._compare(other, lambda a, b: a == b)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: object) -> bool:
        return self._compare(other, lambda a, b: a < b)

    def __le__(self, other: object) -> bool:
        return self._compare(other, lambda a, b: a <= b)

    def __gt__(self, other: object) -> bool:
        return self._compare(other, lambda a, b: a > b)

    def __ge__(self, other: object) -> bool:
        return self._compare(other, lambda a, b: a >= b)

    def __hash__(self) -> int:
        raise TypeError("an unknown number has no hash")


def number(name: str) -> Any:
    """An unknown number; typed as anything, so that it passes for a term or an index."""
    return Number(z3.Int(name))


def _possible(conditions: list[Any]) -> bool:
    solver = z3.Solver()
    solver.add(conditions)
    return bool(solver.check() == z3.sat)


def paths(run: Callable[[], Any]) -> Iterator[tuple[Any, Any]]:
    """Condition and result of every feasible path of ``run``."""
    pending: list[list[bool]] = [[]]
    while pending:
        start = pending.pop()
        path = Path(list(start))
        _path.append(path)
        try:
            result = run()
        finally:
            _path.pop()
        yield z3.And(path.condition), result
        for position in range(len(start), len(path.decisions)):
            other = [*path.condition[:position], z3.Not(path.condition[position])]
            if _possible(other):
                pending.append([*path.decisions[:position], not path.decisions[position]])


def as_formula(run: Callable[[], bool]) -> Any:
    """The truth of a function of unknown numbers."""
    return z3.Or([condition for condition, result in paths(run) if result])


def as_term(value: Any) -> Any:
    """What z3 knows of a number."""
    return value.term if isinstance(value, Number) else value


def is_valid(claim: Any) -> bool:
    """Is the claim true of all numbers?"""
    return not _possible([z3.Not(claim)])
