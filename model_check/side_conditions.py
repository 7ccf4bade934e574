"""The claims on which forgetting and merging messages rest, verified on everything a run met.

For every receiver p, every state s that p ever had, and *every* message m to p ever sent, those
dropped and those sent later included:

* if m is obsolete in s, receiving it changes nothing, sends nothing and records nothing;
* if m is represented by another message in s, both have the same effect, and the representative
  stands for itself;
* along every step s -> s' of p: obsolete messages stay obsolete, and a message and its
  representative still have one representative or are both obsolete;
* all this commutes with renaming.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from model_check.model import Outcome
from model_check.tables import SideConditionFailure, Tables

OBSOLETE = -1
Effect = tuple[object, frozenset[object], frozenset[object]]


class RelevanceCheck:
    """The verification of one finished exploration."""

    def __init__(self, tables: Tables[Any, Any, Any, Any]) -> None:
        """Prepare to verify what these tables hold."""
        self.tables = tables
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
        kept: list[np.ndarray[Any, Any]] = []
        known = -1
        while known != len(tables.tokens):  # a representative may be a message never sent
            known = len(tables.tokens)
            for p in range(n):
                for message in self._messages(p):
                    for state in states[p]:
                        tables.keep_quietly(state, message)
        for p in range(n):
            yield from self._cells(p, states[p], kept)
        column = np.full(len(tables.tokens), -1, np.int64)
        for p in range(n):
            messages = self._messages(p)
            column[messages] = np.arange(len(messages))
        for p in range(n):
            yield from self._steps(states[p], self._messages(p), kept[p], column)
        yield from self._renamings(states, kept, column)

    def _messages(self, p: int) -> list[int]:
        tokens = self.tables.tokens
        return [t for t, value in enumerate(tokens) if len(value) == 3 and value[1] == p]

    def _cells(
        self, p: int, states: list[int], kept: list[np.ndarray[Any, Any]]
    ) -> Iterator[SideConditionFailure]:
        """Fill the table of what is kept of each message in each state, verifying each cell."""
        tables = self.tables
        messages = self._messages(p)
        table = np.empty((len(states), len(messages)), np.int64)
        for i, state in enumerate(states):
            for j, message in enumerate(messages):
                represented = tables.keep_quietly(state, message)
                table[i, j] = represented
                self.pairs += 1
                if represented == message:
                    continue
                claim = self._claim(state, message, represented)
                if claim:
                    yield SideConditionFailure(
                        reduction="obsolete", claim=claim, state=state, message=message
                    )
        kept.append(table)

    def _claim(self, state: int, message: int, represented: int) -> str:
        """The claim about one state and message that is false, or nothing."""
        does = self._effect(state, message)
        if represented == OBSOLETE:
            nothing = (self.tables.state(state), frozenset[object](), frozenset[object]())
            return "" if does == nothing else "an obsolete message has no effect"
        if self.tables.keep_quietly(state, represented) != represented:
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
            return repr(error), frozenset(), frozenset()
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

    def _renamings(
        self,
        states: list[list[int]],
        kept: list[np.ndarray[Any, Any]],
        column: np.ndarray[Any, Any],
    ) -> Iterator[SideConditionFailure]:
        """What is kept commutes with renaming."""
        tables = self.tables
        row = np.full(len(tables.states), -1, np.int64)
        for of_process in states:
            row[of_process] = np.arange(len(of_process))
        for number in range(1, len(tables.renamings)):
            renaming = tables.renamings[number]
            state_image = tables.state_images(number)
            token_image = tables.token_images(number)
            for p, of_process in enumerate(states):
                messages = self._messages(p)
                image = kept[renaming[p]][
                    np.ix_(row[state_image[of_process]], column[token_image[messages]])
                ]
                expected = np.where(kept[p] == OBSOLETE, OBSOLETE, token_image[kept[p]])
                self.pairs += image.size
                if not np.array_equal(image, expected):
                    i, j = np.argwhere(image != expected)[0]
                    yield SideConditionFailure(
                        reduction="obsolete",
                        claim="what is obsolete or merged is so after renaming the processes",
                        state=of_process[int(i)],
                        message=messages[int(j)],
                    )
