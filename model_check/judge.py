"""Properties and witnesses: each evaluated once for every distinct combination of values.

The kernel finds which combinations of process states and facts occur together; here the model's
predicates are called on them, their verdicts remembered, and checked and non-vacuous evaluations
counted. With symmetry the verdict is also compared under generating renamings.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model_check import kernel as k
from model_check.model import (
    AllWhere,
    AnyFact,
    AnyState,
    AnyStep,
    Model,
    ModelError,
    Outcome,
    Property,
    Witness,
)
from model_check.shares import shared
from model_check.tables import Cause, Map, SideConditionFailure, Tables
from model_check.visited import Words

ROOM = 1 << 15
MASK_BITS = 10
"""Processes of which the kernel can form sets."""
LOW = (1 << 32) - 1
FEW = 1 << 11
"""Pairs of states that are judged sooner than shared."""
VACUOUS, FALSE, TRUE, CHANGES = 0, 1, 2, 4
"""Verdicts in a byte; the last bit is added if renaming changes it."""

NO_EXCEPTION = Property(
    name="no_exception",
    over=(AnyStep(),),
    predicate=lambda: None,
    title="No step fails",
    sentence="No step of a process raises an exception.",
)


@dataclass(slots=True)
class Tally:
    """What became of one property or witness."""

    property: Property
    checked: int = 0
    non_vacuous: int = 0
    holds: bool = True
    """For a witness: it was never true so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A property and the numbers of the values for which it is false.

    A step has ``states[0]`` and a ``cause``; other combinations have states and facts.
    """

    property: Property
    states: tuple[int, ...] = ()
    facts: tuple[int, ...] = ()
    mask: int | None = None
    """Of a property over a set of processes: which were in it, bit by bit."""
    cause: Cause[Any, Any] | None = None
    moves: bool = False
    """Does the violating step change the state of its process?"""
    error: str = ""


@dataclass(slots=True)
class _Relation:
    """A property over a set of processes, as the kernel needs it."""

    property: Property
    where: AllWhere
    kind: type
    by_state: bool
    bit: int
    seen: Map = field(default_factory=Map)


class Judge:
    """All properties and witnesses of a model during one exploration."""

    def __init__(
        self,
        model: Model[Any, Any, Any, Any],
        *,
        with_facts: bool,
        only: Iterable[str],
        workers: int = 1,
    ) -> None:
        """Judge the properties named by ``only`` (all if empty), and all witnesses."""
        self._workers = workers
        chosen = set(only)
        self._processes = len(model.processes)
        everything = [NO_EXCEPTION, *model.properties()]
        named = [p for p in everything if not chosen or p.name in chosen or p is NO_EXCEPTION]
        judged = [*named, *model.witnesses()]
        self.tallies = {
            p.name: Tally(p)
            for p in judged
            if with_facts or not any(isinstance(q, AnyFact) for q in p.over)
        }
        self._by_shape: dict[tuple[type, ...], list[Tally]] = {}
        for tally in self.tallies.values():
            self._by_shape.setdefault(tuple(type(q) for q in tally.property.over), []).append(tally)
        self.violations: list[Violation] = []
        self._seen = (Map(), Map(), Map())
        self._fact_sets: set[int] = set()
        self._fact_pairs: set[tuple[int, int]] = set()
        """Those judged; a fact paired with itself was judged alone."""
        self._fact_states: set[tuple[int, int]] = set()
        self._pair_relations, self._fact_relations = Map(), Map()
        over_sets = [
            t.property for t in self.tallies.values() if isinstance(t.property.over[-1], AllWhere)
        ]
        self._relations = [self._relation(bit, claim) for bit, claim in enumerate(over_sets)]

    def attach(self, tables: Tables[Any, Any, Any, Any]) -> None:
        """Judge values of these tables."""
        self.tables = tables
        groups = [sorted(tables.position[p] for p in g) for g in tables.model.interchangeable()]
        swaps = {pair for group in groups for pair in itertools.pairwise(group)}
        self.generators = [
            number
            for number, renaming in enumerate(tables.renamings)
            if tuple(p for p, to in enumerate(renaming) if p != to) in swaps
        ]

    def _relation(self, bit: int, claim: Property) -> _Relation:
        where, first = claim.over[-1], claim.over[0]
        assert isinstance(where, AllWhere)
        if self._processes > MASK_BITS:
            raise ModelError(f"{claim.name}: sets of more than {MASK_BITS} processes")
        assert isinstance(first, AnyFact)
        by_state = isinstance(claim.over[1], AnyState)
        return _Relation(claim, where, first.kind, by_state, bit)

    def nodes_of_states(self) -> Words:
        """A node for each distinct tuple of process states that was judged."""
        keys: Words = self._seen[0].words[2::2]
        return np.unique((keys[keys > 0] - 1) >> 32)

    def tallies_over(self, *shape: type) -> list[Tally]:
        """The tallies of all properties with these quantifiers."""
        return self._by_shape.get(shape, [])

    # --- Verdicts -------------------------------------------------------------------------------

    def _judge(self, tally: Tally, arguments: tuple[object, ...]) -> bool | None:
        """Evaluate one combination for the first time."""
        verdict = tally.property.verdict(*arguments)
        tally.checked += 1
        if verdict or (verdict is not None and not isinstance(tally.property, Witness)):
            tally.non_vacuous += 1
        if verdict and isinstance(tally.property, Witness):
            tally.holds = False
        return verdict

    def _violated(self, tally: Tally, **values: Any) -> None:
        """Note that a property is false of these values; a witness may well be."""
        if not isinstance(tally.property, Witness):
            tally.holds = False
            self.violations.append(Violation(property=tally.property, **values))

    def observe(
        self, state: int, cause: Cause[Any, Any], outcome: Outcome[Any, Any, Any] | None,
        error: str, again: bool,
    ) -> None:  # fmt: skip
        """Judge one evaluated step; ``outcome`` is ``None`` if it raised ``error``."""
        exceptions = self.tallies[NO_EXCEPTION.name]
        if again and outcome is not None:
            return  # a renamed step: equal to the first one, or the symmetry is refuted
        exceptions.checked += 1
        exceptions.non_vacuous += 1
        if outcome is None:
            self._violated(exceptions, states=(state,), cause=cause, moves=True, error=error)
            return
        if not outcome.step:
            return
        for tally in self.tallies_over(AnyStep):
            if tally.property is NO_EXCEPTION:
                continue
            if self._judge(tally, outcome.step) is False:
                moves = outcome.state != self.tables.state(state)
                self._violated(tally, states=(state,), cause=cause, moves=moves)

    def _combination(self, tally: Tally, states: tuple[int, ...], facts: tuple[int, ...]) -> None:
        """Judge a property of these states and facts, and compare its renamings."""
        kinds = [q.kind for q in tally.property.over if isinstance(q, AnyFact)]
        if not all(isinstance(self.fact(f), k) for f, k in zip(facts, kinds, strict=True)):
            return
        tables = self.tables
        verdict = self._judge(tally, (*map(self.fact, facts), *map(tables.state, states)))
        if verdict is False:
            self._violated(tally, states=states, facts=facts)
        for renaming in self.generators:
            renamed = (
                *(self.fact(tables.renamed_token(f, renaming)) for f in facts),
                *(tables.state(tables.renamed_state(s, renaming)) for s in states),
            )
            if tally.property.verdict(*renamed) != verdict:
                self._asymmetric(tally, states)

    def _pairs(self, pairs: list[tuple[int, int]]) -> None:
        """Judge properties of these pairs of states: as above, for the most frequent shape."""
        tallies = self.tallies_over(AnyState, AnyState)
        values = [state for _, state in self.tables.states]
        images = self.tables.images_of_states()[:, self.generators].T.tolist()
        workers = self._workers if len(pairs) >= FEW else 1

        def verdicts(share: int) -> list[bytes]:
            part = pairs[share::workers]
            return [_verdicts(tally.property, part, values, images) for tally in tallies]

        shares = shared(verdicts, workers)
        for number, tally in enumerate(tallies):
            codes = bytearray(len(pairs))
            for share, found in enumerate(shares):
                codes[share::workers] = found[number]
            self._count(tally, pairs, codes)

    def _count(self, tally: Tally, pairs: list[tuple[int, int]], codes: bytearray) -> None:
        """Note the verdicts on these pairs of states."""
        true, false = (codes.count(v) + codes.count(v | CHANGES) for v in (TRUE, FALSE))
        tally.checked += len(pairs)
        if isinstance(tally.property, Witness):
            tally.non_vacuous += true
            tally.holds = tally.holds and not true
        else:
            tally.non_vacuous += true + false
        for (a, b), code in zip(pairs, codes, strict=True):
            if code & ~CHANGES == FALSE:
                self._violated(tally, states=(a, b))
            if code & CHANGES:
                self._asymmetric(tally, (a, b))

    def _asymmetric(self, tally: Tally, states: tuple[int, ...]) -> None:
        """Note that a property changes under renaming."""
        self.tables.failures.append(
            SideConditionFailure(
                reduction="symmetry",
                claim=f"property {tally.property.name} is the same after renaming the processes",
                state=states[0] if states else 0,
            )
        )

    def fact(self, token: int) -> object:
        """The fact of a token."""
        value = self.tables.tokens[token]
        assert len(value) == 1, "not a message"
        return value[0]

    # --- One level of the search ----------------------------------------------------------------

    def judge_states(self, keys: Words, x: int) -> None:
        """Judge every combination of values that occurs in these states for the first time."""
        tables = self.tables
        lists = [np.zeros(ROOM, np.int64) for _ in range(3)]
        position = 0
        while position < len(keys):
            for table in self._seen:
                table.make_room(ROOM)
            tables.make_room()
            seen = np.array([table.address for table in self._seen], np.int64)
            pending = np.array([*(a.ctypes.data for a in lists), 0, 0, 0], np.int64)
            position = k.combinations(
                tables.address, x, keys.ctypes.data, position, len(keys),
                seen.ctypes.data, pending.ctypes.data, ROOM,
            )  # fmt: skip
            tuples, pairs, facts = (a[:n] for a, n in zip(lists, pending[3:], strict=True))
            self._judge_pairs(pairs.tolist())
            self._judge_facts(facts.tolist())
            for relation in self._relations:
                self._judge_relation(relation, tuples, x)

    def _judge_pairs(self, pairs: list[int]) -> None:
        """Judge states alone (paired with themselves) and pairs of states, both ways."""
        both = [(p >> 32, p & LOW) for p in pairs if p >> 32 != p & LOW]
        both += [(b, a) for a, b in both]
        self._pairs(both)
        singles = self.tallies_over(AnyState)
        relations = [r for r in self._relations if r.by_state]
        for pair in pairs:
            a, b = pair >> 32, pair & LOW
            if a == b:
                for tally in singles:
                    self._combination(tally, (a,), ())
                self._relate(relations, self._pair_relations, a, self.tables.state(a), a)
                continue
            self._relate(relations, self._pair_relations, a, self.tables.state(a), b)
            self._relate(relations, self._pair_relations, b, self.tables.state(b), a)

    def _judge_facts(self, pairs: list[int]) -> None:
        """Judge facts alone, two facts that hold together, and facts with a state."""
        with_state = self.tallies_over(AnyFact, AnyState)
        relations = [r for r in self._relations if not r.by_state]
        for pair in pairs:
            facts, state = pair >> 32, pair & LOW
            tokens = self.tables.tokens_of(facts)
            self._judge_fact_set(facts, tokens)
            for token in tokens:
                if (token, state) in self._fact_states:
                    continue
                self._fact_states.add((token, state))
                for tally in with_state:
                    self._combination(tally, (state,), (token,))
                for relation in relations:
                    if isinstance(self.fact(token), relation.kind):
                        self._relate(
                            [relation], self._fact_relations, token, self.fact(token), state
                        )

    def _judge_fact_set(self, facts: int, tokens: tuple[int, ...]) -> None:
        if facts in self._fact_sets:
            return
        self._fact_sets.add(facts)
        for tally in self.tallies_over(AnyFact):
            for token in tokens:
                if (token, token) not in self._fact_pairs:
                    self._combination(tally, (), (token,))
        for tally in self.tallies_over(AnyFact, AnyFact):
            for a in tokens:
                for b in tokens:
                    if a != b and (a, b) not in self._fact_pairs:
                        self._combination(tally, (), (a, b))
        self._fact_pairs |= {(a, b) for a in tokens for b in tokens}

    def _relate(
        self, relations: list[_Relation], bits: Map, number: int, value: object, state: int
    ) -> None:
        """Note in which relations the state stands to the value with this number."""
        word = 0
        for relation in relations:
            if relation.where.relation(value, self.tables.state(state)):
                word |= 1 << relation.bit
        key = number << 32 | state
        old = k.map_find(bits.address, key)
        bits.put(key, word if old == k.MISS else word | old)

    def _judge_relation(self, relation: _Relation, keys: Words, x: int) -> None:
        """Judge a property over a set of processes in states with new tuples of values."""
        tables = self.tables
        bits = self._pair_relations if relation.by_state else self._fact_relations
        kinds: Words = np.array(
            [int(len(t) == 1 and isinstance(t[0], relation.kind)) for t in tables.tokens] or [0],
            np.int64,
        )
        about = np.array(
            (relation.bit, int(relation.by_state), bits.address, kinds.ctypes.data), np.int64
        )
        found = np.zeros(ROOM, np.int64)
        position = 0
        while position < len(keys):
            relation.seen.make_room(ROOM)
            pending = np.array([found.ctypes.data, 0], np.int64)
            position = k.masks(
                tables.address, x, keys.ctypes.data, position, len(keys),
                about.ctypes.data, relation.seen.address, pending.ctypes.data, ROOM,
            )  # fmt: skip
            for key in found[: pending[1]].tolist():
                self._judge_mask(relation, key >> 40, (key >> 10 & (1 << 30) - 1) - 1, key & 1023)

    def _judge_mask(self, relation: _Relation, fact: int, state: int, mask: int) -> None:
        tables = self.tables
        processes = frozenset(p for i, p in enumerate(tables.processes) if mask >> i & 1)
        states = (state,) if relation.by_state else ()
        arguments = (self.fact(fact), *(tables.state(s) for s in states), processes)
        tally = self.tallies[relation.property.name]
        if self._judge(tally, arguments) is False:
            self._violated(tally, states=states, facts=(fact,), mask=mask)


def _verdicts(
    claim: Property,
    pairs: list[tuple[int, int]],
    values: list[object],
    images: list[list[int]],
) -> bytes:
    """The verdicts of a property on pairs of states, compared with those on their renamings."""
    codes = {None: VACUOUS, False: FALSE, True: TRUE}
    found = bytearray()
    for a, b in pairs:
        verdict = claim.verdict(values[a], values[b])
        code = codes[verdict]
        for image in images:
            if claim.verdict(values[image[a]], values[image[b]]) != verdict:
                code |= CHANGES
        found.append(code)
    return bytes(found)
