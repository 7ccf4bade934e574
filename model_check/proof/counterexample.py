"""Why an obligation is not proved: a small state in which it is false.

When a solver gives up on a query it says nothing. So the query is asked again of a handful of
servers, terms and indices: every quantifier is written out, what remains has none, and z3 decides
it. A state found satisfies all lemmas (within that domain) and all guards, and the action leads out
of them: the obligation is refuted. If there is none it stays unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import z3

from model_check.proof.lemmas import Lemma
from model_check.proof.logic import FINITE, Few, Formula, Sort
from model_check.proof.prover import FOLLOWS, INITIALLY, WELL_FOUNDED, Obligation, functions_in
from model_check.proof.theory import Theory, variables, vocabulary

SIZES = {"Server": 3, "ServerSet": 3, "Value": 2, "Configuration": 1, "Request": 1, "Read": 1}
LARGEST = 3
"""Terms and indices are 0 to 3."""


@dataclass(frozen=True)
class Domain:
    """The things of each sort."""

    members: dict[str, Sequence[Any]]
    sorts: dict[str, Any]

    def of(self, sort: Sort) -> Sequence[Any]:
        """All things of a sort."""
        return self.members["Number" if sort.is_number else sort.name]

    def sort(self, sort: Sort) -> Any:
        """The z3 sort of a sort."""
        return self.sorts["Number" if sort.is_number else sort.name]


def _domain() -> Domain:
    members: dict[str, Sequence[Any]] = {"Number": [z3.IntVal(i) for i in range(LARGEST + 1)]}
    sorts = {"Number": z3.IntSort(), "Truth": z3.BoolSort()}
    for name, size in SIZES.items():
        things = [f"{name[0].lower()}{i}" for i in range(1, size + 1)]
        sorts[name], members[name] = z3.EnumSort(f"few {name}", [f"{name} {t}" for t in things])
    return Domain(members, sorts)


DOMAIN = _domain()


def _written_out(s: Any, lemma: Lemma) -> list[Any]:
    domains = [DOMAIN.of(sort) for _, sort in variables(lemma.holds)]
    return [_formula(lemma.holds(s, *values)) for values in product(*domains)]


def _formula(value: Formula) -> Any:
    return z3.BoolVal(value) if isinstance(value, bool) else value


def _constants(function: Any, prefix: str) -> list[tuple[Any, Sort]]:
    return [
        (z3.Const(prefix + name, DOMAIN.sort(sort)), sort) for name, sort in variables(function)
    ]


def find(theory: Theory, obligation: Obligation, limit_s: float) -> list[str] | None:
    """A state that refutes the obligation, line by line; ``None`` if none is found in time."""
    if obligation.action in (INITIALLY, WELL_FOUNDED, FOLLOWS):
        return None
    action = next(a for a in theory.actions if a.__name__ == obligation.action)
    lemma = next((x for x in theory.lemmas if x.name == obligation.lemma), None)
    if lemma is None:
        return None
    FINITE.append(Few(DOMAIN.members["Server"], DOMAIN.members["Number"]))
    try:
        return _search(theory, action, lemma, limit_s)
    finally:
        FINITE.pop()


def _search(theory: Theory, action: Any, lemma: Lemma, limit_s: float) -> list[str] | None:
    words = vocabulary(theory.state)
    s = theory.state(
        **{
            name: z3.Function(name, *map(DOMAIN.sort, arguments), DOMAIN.sort(result))
            for name, (arguments, result) in words.items()
        }
    )
    solver = z3.Solver()
    solver.set("timeout", int(1000 * limit_s))
    numbers = [
        getattr(s, name)(*at)
        for name, (arguments, result) in words.items()
        if result.is_number
        for at in product(*map(DOMAIN.of, arguments))
    ]
    here, given = _constants(lemma.holds, "the_"), _constants(action, "a_")
    numbers += [constant for constant, sort in (*here, *given) if sort.is_number]
    solver.add([z3.And(number >= 0, number <= LARGEST) for number in numbers])
    for known in (*theory.axioms, *theory.lemmas, *theory.consequences):
        if known.measure is not None or known in theory.axioms or known in theory.lemmas:
            solver.add(_written_out(s, known))
    effect = action(s, *(constant for constant, _ in given))
    solver.add([_formula(guard) for guard in effect.guards.values()])
    solver.add(z3.Not(_formula(lemma.holds(effect.after, *(constant for constant, _ in here)))))
    if solver.check() != z3.sat:
        return None
    model = solver.model()
    read = functions_in(lemma.holds(s, *(c for c, _ in here)), *effect.guards.values())
    return _told(model, s, {name: words[name] for name in words if name in read}, [*given, *here])


def _told(model: Any, s: Any, words: Any, constants: Sequence[tuple[Any, Sort]]) -> list[str]:
    """The model in words: the arguments, then all that the lemma and the guards read, if not 0."""

    def value(term: Any) -> str:
        return str(model.eval(term, model_completion=True)).rpartition(" ")[2]

    lines = [f"{constant} = {value(constant)}" for constant, _ in constants]
    for name, (arguments, _) in words.items():
        known = [
            f"({', '.join(map(value, at))}) {found}"
            for at in product(*map(DOMAIN.of, arguments))
            if (found := value(getattr(s, name)(*at))) not in ("False", "0")
        ]
        if known:
            lines.append(f"{name}: {'; '.join(known)}")
    return lines
