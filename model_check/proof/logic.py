"""The operations in which actions and lemmas are written.

Each works on Python values and on z3 terms alike: given only Python truth values it computes, given
a z3 term it builds a formula. Equality, order, ``+`` and ``-`` are Python's own operators, which z3
overloads. Quantifiers inside formulas are bounded, so that Python can evaluate them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import z3


@dataclass(frozen=True, slots=True)
class Sort:
    """What a variable ranges over; ``is_number`` for those with an order."""

    name: str
    is_number: bool = False


Server: TypeAlias = Annotated[Any, Sort("Server")]
ServerSet: TypeAlias = Annotated[Any, Sort("ServerSet")]
Configuration: TypeAlias = Annotated[Any, Sort("Configuration")]
Value: TypeAlias = Annotated[Any, Sort("Value")]
Request: TypeAlias = Annotated[Any, Sort("Request")]
Read: TypeAlias = Annotated[Any, Sort("Read")]
Term: TypeAlias = Annotated[Any, Sort("Term", is_number=True)]
Index: TypeAlias = Annotated[Any, Sort("Index", is_number=True)]
Truth: TypeAlias = Annotated[Any, Sort("Truth")]
Formula: TypeAlias = Any
"""A Python bool, or a z3 formula."""

UNCLEAR = z3.Bool("unclear")
"""The truth of what cannot be known here; a formula that rests on it is not ``True``."""


def all_of(*parts: Formula) -> Formula:
    """Conjunction."""
    if any(part is False for part in parts):
        return False
    unclear = [part for part in parts if part is not True]
    return z3.And(unclear) if unclear else True


def any_of(*parts: Formula) -> Formula:
    """Disjunction."""
    if any(part is True for part in parts):
        return True
    unclear = [part for part in parts if part is not False]
    return z3.Or(unclear) if unclear else False


def between(low: Any, number: Any, high: Any) -> Formula:
    """Is the number from ``low`` to ``high``, both included?"""
    return all_of(low <= number, number <= high)


def negation(part: Formula) -> Formula:
    """Is ``part`` false?"""
    return not part if isinstance(part, bool) else z3.Not(part)


def implies(premise: Formula, conclusion: Callable[[], Formula]) -> Formula:
    """If ``premise`` then ``conclusion``, which Python evaluates only where it is needed."""
    if isinstance(premise, bool):
        return conclusion() if premise else True
    return z3.Implies(premise, conclusion())


def choose(condition: Formula, then: Any, otherwise: Any) -> Any:
    """``then`` where the condition holds, else ``otherwise``."""
    if isinstance(condition, bool):
        return then if condition else otherwise
    return z3.If(condition, then, otherwise)


def larger(a: Any, b: Any) -> Any:
    """The maximum of two numbers."""
    return choose(a >= b, a, b)


def smaller(a: Any, b: Any) -> Any:
    """The minimum of two numbers."""
    return choose(a <= b, a, b)


@dataclass(frozen=True)
class Few:
    """A domain that is small enough to write a quantifier out."""

    servers: Sequence[Any]
    numbers: Sequence[Any]


FINITE: list[Few] = []
"""While it is not empty, formulas are about its last domain (see ``counterexample``)."""

Predicate: TypeAlias = Callable[[Any], Formula]


def every(
    first: Any, last: Any, holds: Predicate, trigger: Callable[[Any], list[Any]] | None = None
) -> Formula:
    """For all indices from ``first`` to ``last``, both included; ``trigger`` is for z3 only."""
    if isinstance(first, int) and isinstance(last, int):
        return all_of(*(holds(i) for i in range(first, last + 1)))
    if FINITE:
        return all_of(
            *(z3.Implies(z3.And(first <= i, i <= last), holds(i)) for i in FINITE[-1].numbers)
        )
    i = z3.FreshInt("i")
    body = z3.Implies(z3.And(first <= i, i <= last), holds(i))
    return z3.ForAll([i], body, patterns=_patterns(i, trigger))


def some(
    first: Any, last: Any, holds: Predicate, trigger: Callable[[Any], list[Any]] | None = None
) -> Formula:
    """For some term from ``first`` to ``last``, both included; ``trigger`` is for z3 only."""
    if isinstance(first, int) and isinstance(last, int):
        return any(holds(i) for i in range(first, last + 1))
    if FINITE:
        return any_of(*(z3.And(first <= i, i <= last, holds(i)) for i in FINITE[-1].numbers))
    i = z3.FreshInt("t")
    body = z3.And(first <= i, i <= last, holds(i))
    return z3.Exists([i], body, patterns=_patterns(i, trigger))


def _patterns(i: Any, trigger: Callable[[Any], list[Any]] | None) -> list[Any]:
    """The trigger; after an action it is hidden in an ``if``, then what it was before."""
    open_terms = [] if trigger is None else list(trigger(i))
    found = []
    for term in open_terms:
        if z3.is_app(term) and term.decl().kind() == z3.Z3_OP_UNINTERPRETED:
            if any(z3.eq(i, argument) for argument in term.children()):
                found.append(term)
        elif z3.is_app(term):
            open_terms.extend(term.children())
    return found


def every_member(servers: Any, holds: Predicate) -> Formula:
    """For all servers of a set."""
    if isinstance(servers, frozenset):
        return all(holds(k) for k in servers)
    if FINITE:
        return all_of(*(z3.Implies(member(k, servers), holds(k)) for k in FINITE[-1].servers))
    k = z3.FreshConst(z3.DeclareSort("Server"), "k")
    return z3.ForAll([k], z3.Implies(member(k, servers), holds(k)), patterns=[member(k, servers)])


def member(server: Any, servers: Any) -> Formula:
    """Is the server in the set?"""
    if isinstance(servers, frozenset):
        return server in servers
    return z3.Function("member", server.sort(), servers.sort(), z3.BoolSort())(server, servers)


def put(function: Callable[..., Any], *place: Any) -> Callable[..., Any]:
    """``function`` changed at one place: ``put(f, x, y, value)`` has ``value`` at (x, y)."""
    *key, value = place
    return lambda *at: choose(
        all_of(*(a == k for a, k in zip(at, key, strict=True))), value, function(*at)
    )
