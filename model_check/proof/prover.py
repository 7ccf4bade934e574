"""One lemma, one action, one query: "can the action lead from where all lemmas hold to where this
one does not?" The answer must be "unsat".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import z3

from model_check.proof.lemmas import Lemma
from model_check.proof.logic import Formula, Sort, all_of, any_of, implies, member, negation
from model_check.proof.theory import Theory, variables, vocabulary

LOGIC_SORTS = {"Truth": z3.BoolSort(), "Term": z3.IntSort(), "Index": z3.IntSort()}


def sort_of(sort: Sort) -> Any:
    return LOGIC_SORTS[sort.name] if sort.name in LOGIC_SORTS else z3.DeclareSort(sort.name)


def constants(function: Callable[..., Any], prefix: str) -> list[Any]:
    return [z3.Const(f"{prefix}{name}", sort_of(sort)) for name, sort in variables(function)]


def symbolic_state(theory: Theory) -> Any:
    found = {}
    for name, (arguments, result) in vocabulary(theory.state).items():
        function = z3.Function(name, *map(sort_of, arguments), sort_of(result))
        found[name] = function
    return theory.state(**found)


def formula(value: Formula) -> Any:
    return z3.BoolVal(value) if isinstance(value, bool) else value


def universal(s: Any, lemma: Lemma, premise: Callable[..., Formula] | None = None) -> Any:
    names = constants(lemma.holds, "")
    body = lemma.holds(s, *names)
    if premise is not None:
        body = implies(premise(*names), lambda: body)
    triggers = lemma.trigger(s, *names) if lemma.trigger else []
    patterns = [z3.MultiPattern(*t) if len(t) > 1 else t[0] for t in triggers]
    return z3.ForAll(names, body, patterns=patterns)


def quorums_meet(s: Any) -> Any:
    a, b = (z3.Const(x, z3.DeclareSort("ServerSet")) for x in "ab")
    c = z3.Const("c", z3.DeclareSort("Configuration"))
    common = z3.Function("common", a.sort(), a.sort(), z3.DeclareSort("Server"))
    k = common(a, b)
    body = z3.Implies(z3.And(s.is_quorum(a, c), s.is_quorum(b, c)), z3.And(member(k, a), member(k, b)))
    p=z3.MultiPattern(s.is_quorum(a, c), s.is_quorum(b, c))
    return z3.ForAll([a, b, c], body, patterns=[p])


@dataclass
class Obligation:
    lemma: str
    action: str
    assertions: list[tuple[str, Any]]


def obligations(theory: Theory) -> Iterator[Obligation]:
    s = symbolic_state(theory)
    hyps = [(l.name, universal(s, l)) for l in theory.lemmas]
    quorum = ("quorums_meet", quorums_meet(s))
    first = theory.initial(s)
    for l in theory.lemmas:
        goal = l.holds(first, *constants(l.holds, "the_"))
        yield Obligation(l.name, "initial", [("goal", z3.Not(formula(goal)))])
    usable = []
    for c in theory.consequences:
        names = constants(c.holds, "the_")
        more = []
        if c.measure:
            target = c.measure(s, *names)
            def less(*other, target=target, c=c):
                m = c.measure(s, *other)
                return any_of(*(all_of(*(a == b for a, b in zip(m[:i], target[:i])), m[i] < target[i], m[i]>=0) for i in range(len(m))))
            more = [("induction", universal(s, c, less))]
        yield Obligation(c.name, "consequence", [*hyps, quorum, *usable, *more, ("goal", negation(c.holds(s, *names)))])
        if c.trigger: usable.append((c.name, universal(s, c)))
    for a in theory.actions:
        args = constants(a, "a_")
        e = a(s, *args)
        guards = [(f"guard {k}", formula(v)) for k, v in e.guards.items()]
        cuts = []
        for k, v in e.consequences.items():
            yield Obligation(k, a.__name__, [*hyps, quorum, *guards, ("goal", negation(v))])
            cuts.append((k, v))
        for l in theory.lemmas:
            names = constants(l.holds, "the_")
            goal = formula(l.holds(e.after, *names))
            yield Obligation(l.name, a.__name__, [*hyps, *usable, *guards, *cuts, *mentioned(s, a, args, l, names, e), ("goal", z3.Not(goal))])


def solve(o: Obligation, timeout=10000, seed=0):
    z3.set_param("auto_config", False)
    solver = z3.SimpleSolver()
    solver.set("auto_config", False); solver.set("mbqi", False); solver.set("timeout", timeout)
    solver.set("random_seed", seed)
    for _, f in o.assertions: solver.add(f)
    t = time.perf_counter()
    r = solver.check()
    return r, time.perf_counter() - t, solver


def mentioned(s, action, args, lemma, names, effect):
    found = {}
    for f, consts in ((action.__globals__ and action, args), (lemma.holds, names)):
        for (name, sort), c in zip(variables(f), consts):
            found.setdefault(sort.name, []).append(c)
    terms = list(effect.mention)
    for i in found.get("Index", []):
        terms += [s.entry_term(n, i) for n in found.get("Server", [])]
        terms += [s.sent_term(m, i) for m in found.get("Request", [])]
        terms += [s.log_term(t, i) for t in found.get("Term", [])]
    seen = z3.Function("mentioned", z3.IntSort(), z3.BoolSort())
    return [("mention", seen(t)) for t in terms]
