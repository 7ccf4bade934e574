"""One lemma, one action, one query.

The query asks for a state in which all lemmas hold and the guards of an action are true, but the
lemma is false in the state after it. The solver must answer that there is none. Three more kinds of
query make the argument complete: each lemma holds in the first state; what is said to follow from
the lemmas (in the same state, or from the guards of an action) does follow.

The solvers instantiate universal formulas only where their triggers match, and never search for
models of them. So the answer is "unsat", or the solver gives up, and ``counterexample`` looks for a
small state that refutes the obligation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal, TypeAlias

import z3

from model_check.proof.actions import Action, Effect
from model_check.proof.lemmas import Lemma, Triggers, quorums_meet
from model_check.proof.logic import Formula, Sort, all_of, any_of
from model_check.proof.theory import Theory, variables, vocabulary

Status: TypeAlias = Literal["proved", "refuted", "unknown"]
Named: TypeAlias = tuple[str, Any]

INITIALLY = "(first state)"
WELL_FOUNDED = "(well-founded)"
FOLLOWS = "(follows)"


@dataclass(frozen=True)
class Obligation:
    """``lemma`` after ``action``: the hypotheses and the negated goal contradict each other."""

    theory: str
    lemma: str
    action: str
    hypotheses: Sequence[Named]
    negated_goal: Any

    @property
    def name(self) -> str:
        """Theory, lemma and action."""
        return f"{self.theory}/{self.lemma}/{self.action.strip('()').replace(' ', '_')}"


@dataclass(frozen=True)
class Answer:
    """What a solver said of an obligation."""

    status: Status
    seconds: float
    """Of processor time."""
    core: tuple[str, ...] = ()
    """Names of the hypotheses that the refutation used, if they were asked for."""
    counterexample: tuple[str, ...] = ()
    """A small state that refutes the obligation, line by line."""


# --- From Python to z3 --------------------------------------------------------------------------


def _sort(sort: Sort) -> Any:
    if sort.is_number:
        return z3.IntSort()
    return z3.BoolSort() if sort.name == "Truth" else z3.DeclareSort(sort.name)


def _constants(function: Callable[..., Any], prefix: str = "") -> list[Any]:
    return [z3.Const(prefix + name, _sort(sort)) for name, sort in variables(function)]


def symbolic_state(theory: Theory) -> Any:
    """A state of which nothing is known: every field is an uninterpreted function."""
    return theory.state(
        **{
            name: z3.Function(name, *map(_sort, arguments), _sort(result))
            for name, (arguments, result) in vocabulary(theory.state).items()
        }
    )


def fields_of(theory: Theory, lemma: Lemma) -> list[str]:
    """The functions of the state on which the truth of a lemma depends."""
    body = lemma.holds(symbolic_state(theory), *_constants(lemma.holds))
    return sorted(functions_in(body) & set(vocabulary(theory.state)))


def functions_in(*formulas: Formula) -> set[str]:
    """The names of all functions that occur in the formulas."""
    found, terms = set(), [_term(formula) for formula in formulas]
    while terms:
        term = terms.pop()
        if z3.is_app(term):
            found.add(term.decl().name())
        terms.extend([term.body()] if z3.is_quantifier(term) else term.children())
    return found


def _term(value: Formula) -> Any:
    return z3.BoolVal(value) if isinstance(value, bool) else value


def _for_all(s: Any, lemma: Lemma) -> Any:
    """The lemma, for all values of its variables."""
    names = _constants(lemma.holds)
    triggers = lemma.trigger(s, *names) if lemma.trigger is not None else ()
    return _quantified(names, lemma.holds(s, *names), triggers)


def _quantified(names: Sequence[Any], body: Any, triggers: Triggers) -> Any:
    patterns = [z3.MultiPattern(*t) if len(t) > 1 else t[0] for t in triggers]
    return z3.ForAll(names, body, patterns=patterns)


def _induction(s: Any, lemma: Lemma, here: Sequence[Any]) -> Any:
    """The lemma where its measure is lexicographically smaller than here.

    Variables that are no part of the measure stay what they are here.
    """
    assert lemma.measure is not None
    assert lemma.trigger is not None
    bound = lemma.measure(s, *here)
    varies = [any(z3.eq(constant, number) for number in bound) for constant in here]
    names = [
        name if vary else constant
        for name, constant, vary in zip(_constants(lemma.holds), here, varies, strict=True)
    ]
    value = lemma.measure(s, *names)
    smaller = any_of(
        *(
            all_of(*(a == b for a, b in zip(value[:n], bound[:n], strict=True)), value[n] < b)
            for n, b in enumerate(bound)
        )
    )
    free = [name for name, vary in zip(names, varies, strict=True) if vary]
    body = z3.Implies(smaller, lemma.holds(s, *names))
    triggers = [
        tuple(term for term in trigger if any(_occurs(name, term) for name in free))
        for trigger in lemma.trigger(s, *names)
    ]
    return _quantified(free, body, triggers)


def _occurs(name: Any, term: Any) -> bool:
    return z3.eq(name, term) or any(_occurs(name, part) for part in term.children())


def _mentioned(
    s: Any, functions: Sequence[tuple[Callable[..., Any], Sequence[Any]]], more: Sequence[Any]
) -> list[Named]:
    """A meaningless predicate of all entries that the variables name, so that triggers match."""
    named: dict[str, list[Any]] = {}
    for function, constants in functions:
        for (_, sort), constant in zip(variables(function), constants, strict=True):
            named.setdefault(sort.name, []).append(constant)
    terms = list(more)
    for i in named.get("Index", ()):
        for n in named.get("Server", ()):
            terms += s.about(s.entry_term(n, i), s.entry_value(n, i))
        for t in named.get("Term", ()):
            terms += s.about(s.log_term(t, i), s.log_value(t, i))
        terms += [s.sent_term(m, i) for m in named.get("Request", ())]
    mentioned = z3.Function("mentioned", z3.IntSort(), z3.BoolSort())
    return [("mentioned", mentioned(term)) for term in terms]


# --- The obligations ----------------------------------------------------------------------------


def guards(theory: Theory) -> list[tuple[str, str]]:
    """Action and name of every guard."""
    s = symbolic_state(theory)
    return [
        (action.__name__, guard)
        for action in theory.actions
        for guard in action(s, *_constants(action)).guards
    ]


def obligations(theory: Theory, action: str | None = None) -> Iterator[Obligation]:
    """All of them in the order in which they are reported, or only those about one action."""
    s = symbolic_state(theory)
    axioms = [(axiom.name, _for_all(s, axiom)) for axiom in theory.axioms]
    layers = [[(lemma.name, _for_all(s, lemma)) for lemma in layer] for layer in theory.layers]
    known = [named for layer in layers for named in layer]
    if action is None:
        yield from _first_state(theory, s)
    followed: list[Named] = []
    for consequence in theory.consequences:
        if consequence.measure is not None and action is None:
            yield _well_founded(theory, s, consequence, known)
        if action is None:
            yield from _consequence(theory, s, consequence, [*axioms, *known, *followed])
        if consequence.trigger is not None:
            followed.append((consequence.name, _for_all(s, consequence)))
    for each in theory.actions:
        if action in (None, each.__name__):
            yield from _action(theory, s, each, layers, [*axioms, *followed])


def _first_state(theory: Theory, s: Any) -> Iterator[Obligation]:
    first = theory.initial(s)
    for lemma in theory.lemmas:
        goal = _term(lemma.holds(first, *_constants(lemma.holds, "the_")))
        yield Obligation(theory.name, lemma.name, INITIALLY, (), z3.Not(goal))


def _well_founded(theory: Theory, s: Any, lemma: Lemma, known: Sequence[Named]) -> Obligation:
    """Where the lemma could fail its measures are at least 0, so that the induction has a start."""
    assert lemma.measure is not None
    here = _constants(lemma.holds, "the_")
    below = any_of(*(number < 0 for number in lemma.measure(s, *here)))
    fails = z3.And(below, z3.Not(_term(lemma.holds(s, *here))))
    return Obligation(theory.name, lemma.name, WELL_FOUNDED, list(known), fails)


def _consequence(
    theory: Theory, s: Any, lemma: Lemma, hypotheses: Sequence[Named]
) -> Iterator[Obligation]:
    """The lemma follows from the hypotheses, in steps, perhaps by induction on its measure."""
    here = _constants(lemma.holds, "the_")
    more = _mentioned(s, [(lemma.holds, here)], ())
    if lemma.measure is not None:
        more.append(("induction", _induction(s, lemma, here)))
    for step in lemma.steps:
        claim = _term(step(s, *here))
        name = step.__name__
        without = [(n, h) for n, h in hypotheses if n != quorums_meet.__name__]
        yield Obligation(theory.name, name, FOLLOWS, [*without, *more], z3.Not(claim))
        more.append((name, claim))
    if lemma.instances is not None:
        for earlier, values in lemma.instances(s, *here):
            more.append((earlier.name, _term(earlier.holds(s, *values))))
    goal = _term(lemma.holds(s, *here))
    yield Obligation(theory.name, lemma.name, FOLLOWS, [*hypotheses, *more], z3.Not(goal))


def _action(
    theory: Theory,
    s: Any,
    action: Action,
    layers: Sequence[Sequence[Named]],
    followed: Sequence[Named],
) -> Iterator[Obligation]:
    """Each lemma holds after the action, if all lemmas held before and the guards were true."""
    arguments = _constants(action, "a_")
    effect: Effect = action(s, *arguments)
    guards = [(f"guard: {name}", _term(guard)) for name, guard in effect.guards.items()]
    known: list[Named] = [named for layer in layers for named in layer]
    facts = []
    for name, fact in effect.consequences().items():
        hypotheses = [*known, *followed, *guards]
        yield Obligation(theory.name, name, action.__name__, hypotheses, z3.Not(_term(fact)))
        facts.append((name, _term(fact)))
    known = [*((name, fact) for name, fact in followed if name in theory.used), *guards, *facts]
    for layer, lemmas in zip(layers, theory.layers, strict=True):
        known += layer
        for lemma in lemmas:
            here = _constants(lemma.holds, "the_")
            hints = _mentioned(s, [(action, arguments), (lemma.holds, here)], effect.mention)
            goal = _term(lemma.holds(effect.after, *here))
            hypotheses = [*known, *hints]
            yield Obligation(theory.name, lemma.name, action.__name__, hypotheses, z3.Not(goal))


# --- The solvers --------------------------------------------------------------------------------


Solver: TypeAlias = Callable[[Obligation], Answer]


def with_z3(seed: int = 0, limit_s: float = 10.0, cores: bool = False) -> Solver:
    """Ask z3 in this process; ``cores`` also tells which hypotheses were used."""

    def answer(obligation: Obligation) -> Answer:
        solver = z3.SimpleSolver()
        solver.set("auto_config", False)
        solver.set("mbqi", False)
        solver.set("random_seed", seed)
        solver.set("timeout", int(1000 * limit_s))
        tracked = {}
        for number, (name, hypothesis) in enumerate(obligation.hypotheses):
            if cores:
                tracked[f"h{number}"] = name
                solver.assert_and_track(hypothesis, f"h{number}")
            else:
                solver.add(hypothesis)
        solver.add(obligation.negated_goal)
        start = time.process_time()
        result = solver.check()
        seconds = time.process_time() - start
        if result == z3.unsat:
            used = tuple(tracked[str(h)] for h in solver.unsat_core()) if cores else ()
            return Answer("proved", seconds, used)
        return Answer("refuted" if result == z3.sat else "unknown", seconds)

    return answer


def smt_lib(obligation: Obligation) -> str:
    """The query as an SMT-LIB script; the answer must be ``unsat``."""
    solver = z3.SimpleSolver()
    for _, hypothesis in obligation.hypotheses:
        solver.add(hypothesis)
    solver.add(obligation.negated_goal)
    return f"; {obligation.name}: the answer must be unsat\n(set-logic ALL)\n{solver.to_smt2()}"


def with_cvc5(seed: int = 0, limit_s: float = 10.0) -> Solver:
    """Ask cvc5 in this process, by SMT-LIB; raises ``ImportError`` where it is not installed."""
    import cvc5

    def answer(obligation: Obligation) -> Answer:
        text = smt_lib(obligation)
        solver = cvc5.Solver()
        solver.setOption("user-pat", "strict")  # lemmas only at their triggers, like z3
        solver.setOption("seed", str(seed))
        solver.setOption("tlimit-per", str(int(1000 * limit_s)))
        parser = cvc5.InputParser(solver)
        parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, text, obligation.name)
        symbols = parser.getSymbolManager()
        said = ""
        start = time.process_time()
        while not (command := parser.nextCommand()).isNull():
            said += command.invoke(solver, symbols)
        seconds = time.process_time() - start
        status: dict[str, Status] = {"unsat": "proved", "sat": "refuted"}
        return Answer(status.get(said.strip(), "unknown"), seconds)

    return answer


def solver_version(name: str) -> str:
    """The name of a solver with its version."""
    return f"z3 {z3.get_version_string()}" if name == "z3" else f"{name} {version(name)}"
