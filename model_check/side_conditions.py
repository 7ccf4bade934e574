"""The claims on which forgetting and merging rest, verified on everything that a run met.

For every receiver p, every state s that p ever had, and *every* message m to p ever sent, those
dropped and those sent later included:

* if m is obsolete in s, receiving it changes nothing, sends nothing and records nothing;
* if m is represented by another message in s, both have the same effect, and the representative
  stands for itself;
* along every step s -> s' of p: obsolete messages stay obsolete, and a message and its
  representative still have one representative or are both obsolete;
* all this commutes with renaming.

And for every fact f ever recorded, if p in s is past f:

* p stays past f along every step, and no fact that p records on it clashes with f;
* s does not clash with f, and no property speaks of f and sets of processes;
* all this commutes with renaming.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from model_check.model import AllWhere, AnyFact, AnyState, Outcome, Property
from model_check.shares import shared
from model_check.tables import Entry, SideConditionFailure, Tables, kept_after_renaming

OBSOLETE = -1
FEW = 1 << 12
"""Cells that are verified sooner than shared."""
NOTHING: frozenset[object] = frozenset()
Effect = tuple[object, frozenset[object], frozenset[object]]


class RelevanceCheck:
    """The verification of one finished exploration."""

    def __init__(
        self,
        tables: Tables[Any, Any, Any, Any],
        properties: Iterable[Property],
        *,
        workers: int = 1,
    ) -> None:
        """Prepare to verify what these tables hold; ``properties`` are those that are judged."""
        self.tables = tables
        self.workers = workers
        self.properties = [p for p in properties if isinstance(p.over[0], AnyFact)]
        self.pairs = 0
        """Pairs of a state and a message, and of a step and a message, that were verified."""
        self._represented: dict[tuple[int, int], Effect] = {}

    def failures(self) -> Iterator[SideConditionFailure]:
        """Every violated claim, lazily; the first one refutes the reduction."""
        tables = self.tables
        n = len(tables.processes)
        states: list[list[int]] = [[] for _ in range(n)]
        for number, (p, _) in enumerate(tables.states):
            states[p].append(number)
        kept = self._table = self._kept()
        column = np.full(len(tables.tokens), -1, np.int64)
        for p in range(n):
            messages = self._messages(p)
            column[messages] = np.arange(len(messages))
        yield from tables.failures
        for p in range(n):
            messages = self._messages(p)
            table = kept[np.ix_(states[p], messages)]
            yield from self._cells(states[p], messages, table)
            yield from self._steps(states[p], messages, table, column)
        yield from self._facts()

    def _messages(self, p: int) -> list[int]:
        tokens = self.tables.tokens
        return [t for t, value in enumerate(tokens) if len(value) == 3 and value[1] == p]

    def _kept(self) -> np.ndarray[Any, Any]:
        """What is kept of each message in each state of its receiver, by their numbers."""
        tables = self.tables
        images = tables.images_of_states()
        least = np.flatnonzero(images.min(axis=1) == np.arange(len(images))).tolist()
        found: dict[int, list[int]] = {state: [] for state in least}
        complete = False
        while not complete:  # a representative may be a message never sent
            complete = True
            received = [self._messages(p) for p in range(len(tables.processes))]
            for state, represented in found.items():
                more = received[tables.process_of(state)][len(represented) :]
                represented += [tables.ask_kept(state, message) for message in more]
                complete = complete and not more
        names = tables.images_of_tokens()
        table = np.full((len(images), len(names)), OBSOLETE, np.int64)
        for state, represented in found.items():
            messages = received[tables.process_of(state)]
            there = np.array(represented, np.int64)
            for number, image in enumerate(images[state].tolist()):
                renamed = np.where(there == OBSOLETE, OBSOLETE, names[there, number])
                table[image, names[messages, number]] = renamed
        self._compare(found, received, table)
        return table

    def _compare(
        self, found: dict[int, list[int]], received: list[list[int]], table: np.ndarray[Any, Any]
    ) -> None:
        """Is each state's own answer, and each that the search relied on, that of the table?"""
        tables = self.tables
        for state, represented in found.items():
            messages = received[tables.process_of(state)]
            for j in np.flatnonzero(table[state, messages] != represented).tolist():
                tables.failures.append(kept_after_renaming(state, messages[j]))
        if tables.kept:
            used = np.array(list(tables.kept), np.int64)
            kept = np.fromiter(tables.kept.values(), np.int64, len(used))
            for i in np.flatnonzero(table[used[:, 0], used[:, 1]] != kept).tolist():
                tables.failures.append(kept_after_renaming(*used[i].tolist()))

    def _cells(
        self, states: list[int], messages: list[int], table: np.ndarray[Any, Any]
    ) -> Iterator[SideConditionFailure]:
        """Verify each cell of the table of what is kept of each message in each state."""
        self.pairs += table.size
        cells = np.argwhere(table != np.array(messages)).tolist()
        workers = self.workers if len(cells) >= FEW else 1

        def false_claims(share: int) -> list[tuple[int, str]]:
            found = []
            for number in range(share, len(cells), workers):
                i, j = cells[number]
                claim = self._claim(states[i], messages[j], int(table[i, j]))
                if claim:
                    found.append((number, claim))
            return found

        for number, claim in sorted(itertools.chain(*shared(false_claims, workers))):
            i, j = cells[number]
            yield SideConditionFailure(
                reduction="obsolete", claim=claim, state=states[i], message=messages[j]
            )

    def _claim(self, state: int, message: int, represented: int) -> str:
        """The claim about one state and message that is false, or nothing."""
        does = self._effect(state, message)
        if represented == OBSOLETE:
            nothing = (self.tables.state(state), NOTHING, NOTHING)
            return "" if does == nothing else "an obsolete message has no effect"
        if self._table[state, represented] != represented:
            return "a representative stands for itself"
        if (state, represented) not in self._represented:
            self._represented[state, represented] = self._effect(state, represented)
        if self._represented[state, represented] != does:
            return "a message and its representative have the same effect"
        return ""

    def _effect(self, state: int, message: int) -> Effect:
        """What delivering the message does, apart from its order; or how it fails."""
        try:
            outcome: Outcome[Any, Any, Any] = self.tables.run_delivery(state, message)
        except Exception as error:  # a step that fails has an effect
            return repr(error), NOTHING, NOTHING
        facts = outcome.facts if self.tables.with_facts else ()
        return outcome.state, frozenset(outcome.sends), frozenset(facts)

    def _steps(
        self,
        states: list[int],
        messages: list[int],
        kept: np.ndarray[Any, Any],
        column: np.ndarray[Any, Any],
    ) -> Iterator[SideConditionFailure]:
        """Along every step: obsolete stays obsolete, merged stays merged."""
        row = {state: i for i, state in enumerate(states)}
        edges = {
            (row[s], row[entry.after])
            for (s, _), entry in self.tables.steps.items()
            if s in row and entry.after != s
        }
        for s in states:
            edges |= {
                (row[s], row[entry.after])
                for _, entry in self.tables.local.get(s, ())
                if entry.after != s
            }
        identity = np.array(messages, np.int64)
        for before, after in sorted(edges):
            old, new = kept[before], kept[after]
            self.pairs += len(messages)
            lost = (old == OBSOLETE) & (new != OBSOLETE)
            merged = (old != OBSOLETE) & (old != identity)
            parted = np.zeros(len(messages), bool)
            parted[merged] = new[merged] != new[column[old[merged]]]
            for wrong, claim in (
                (lost, "an obsolete message stays obsolete"),
                (parted, "messages that were merged stay merged"),
            ):
                if wrong.any():
                    yield SideConditionFailure(
                        reduction="obsolete",
                        claim=claim,
                        state=states[after],
                        message=messages[int(np.argmax(wrong))],
                    )

    # --- Facts ----------------------------------------------------------------------------------

    def _facts(self) -> Iterator[SideConditionFailure]:
        """All claims about facts."""
        tables = self.tables
        facts = [t for t, value in enumerate(tables.tokens) if len(value) == 1]
        if not facts:
            return
        numbers = range(len(tables.states))
        past = np.array([[tables.is_past(state, fact) for fact in facts] for state in numbers])
        self.pairs += past.size
        if not past.any():
            return
        column = {fact: j for j, fact in enumerate(facts)}

        def failures(claim: str, wrong: np.ndarray[Any, Any]) -> Iterator[SideConditionFailure]:
            for state, j in np.argwhere(wrong)[:1].tolist():
                yield SideConditionFailure(
                    reduction="obsolete", claim=claim, state=state, message=facts[j]
                )

        states, names = tables.images_of_states(), tables.images_of_tokens()
        for number in range(1, len(tables.renamings)):
            there = [column[fact] for fact in names[facts, number].tolist()]
            image = past[states[:, number]][:, there]
            yield from failures("a fact that is past is so after renaming", past & ~image)
        clashes = self._clashes(facts)
        wrong = np.zeros_like(past)
        lost = np.zeros_like(past)
        for state, entry in self._entries():
            lost[state] |= past[state] & ~past[entry.after]
            for fact in entry.facts:
                wrong[state] |= past[state] & clashes[:, column[fact]]
        yield from failures("a fact that is past stays past", lost)
        yield from failures("no fact that is recorded clashes with one that is past", wrong)
        wrong = self._false_of(facts, past)
        yield from failures("no state clashes with a fact that is past", wrong)

    def _entries(self) -> Iterator[tuple[int, Entry]]:
        """Every step that was met, with the state that it begins in."""
        for (state, _), entry in self.tables.steps.items():
            yield state, entry
        for state, taken in self.tables.local.items():
            for _, entry in taken:
                yield state, entry

    def _clashes(self, facts: list[int]) -> np.ndarray[Any, Any]:
        """[fact, other fact] -> is a property false of them, in one order or the other?"""
        clashes = np.zeros((len(facts), len(facts)), bool)
        for claim in self.properties:
            if len(claim.over) != 2 or not isinstance(claim.over[1], AnyFact):
                continue
            for i, f in enumerate(facts):
                for j, g in enumerate(facts):
                    values = self.tables.tokens[f][0], self.tables.tokens[g][0]
                    kinds = [q.kind for q in claim.over if isinstance(q, AnyFact)]
                    if i != j and all(map(isinstance, values, kinds)):
                        self.pairs += 1
                        clashes[i, j] |= claim.verdict(*values) is False
        return clashes | clashes.T

    def _false_of(self, facts: list[int], past: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """[state, fact] -> is the fact past, yet a property of both false, or one of sets?"""
        wrong = np.zeros_like(past)
        for claim in self.properties:
            first, last = claim.over[0], claim.over[-1]
            assert isinstance(first, AnyFact)
            about = [isinstance(self.tables.tokens[f][0], first.kind) for f in facts]
            if isinstance(last, AllWhere):
                wrong |= past & about
            if isinstance(last, AnyState):
                for state, j in np.argwhere(past & about).tolist():
                    self.pairs += 1
                    fact = self.tables.tokens[facts[j]][0]
                    wrong[state, j] |= claim.verdict(fact, self.tables.state(state)) is False
        return wrong
