"""Goals judged by definition: every plain state, and a search of its own from every tuple.

Nothing is reduced. Process states and messages are numbered, and steps remembered, because hashing
them over and over takes longer than all the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from model_check.model import Goal, Model, Outcome

AnyModel = Model[Any, Any, Any, Any]
Numbers = tuple[int, ...]
Sent = frozenset[int]
Effect = tuple[int, Sent]
DOWN = -1


class Dumb:
    """The plain graph of a model."""

    def __init__(self, model: AnyModel) -> None:
        """Nothing is known yet."""
        self.model = model
        self.values: list[Any] = []
        self.numbers: dict[Any, int] = {}
        self.known: dict[Any, Any] = {}

    def number(self, value: Any) -> int:
        """A state of a process, or a message on its channel, as a number."""
        if value not in self.numbers:
            self.numbers[value] = len(self.values)
            self.values.append(value)
        return self.numbers[value]

    def effect(self, process: int, outcome: Outcome[Any, Any, Any]) -> Effect:
        """The state after, and what is sent."""
        sends = (self.number((process, target, message)) for target, message in outcome.sends)
        return self.number(outcome.state), frozenset(sends)

    def acts(self, p: int, state: int, goal: Goal | None) -> list[Effect]:
        """What the actions do that the goal allows."""
        key = p, state, goal and goal.name
        if key not in self.known:
            process, value = self.model.processes[p], self.values[state]
            self.known[key] = [
                self.effect(process, self.model.act(process, value, action))
                for action in self.model.actions(process, value)
                if goal is None or goal.allows(action)
            ]
        found: list[Effect] = self.known[key]
        return found

    def delivery(self, p: int, state: int, message: int) -> Effect | None:
        """What a message does to its receiver; ``None`` for others."""
        key = p, state, message, "delivered"
        if key not in self.known:
            process = self.model.processes[p]
            source, target, content = self.values[message]
            self.known[key] = None
            if target == process:
                outcome = self.model.deliver(process, self.values[state], source, content)
                self.known[key] = self.effect(process, outcome)
        found: Effect | None = self.known[key]
        return found

    def steps(
        self, states: Numbers, sent: Sent, goal: Goal | None = None
    ) -> Iterator[tuple[Numbers, Sent]]:
        """Where one step leads; with a goal, by what it allows, and not of processes down."""
        for p, state in enumerate(states):
            if state == DOWN:
                continue
            delivered = (self.delivery(p, state, message) for message in sent)
            effects = [*self.acts(p, state, goal), *(e for e in delivered if e is not None)]
            for after, new in effects:
                yield (*states[:p], after, *states[p + 1 :]), sent | new

    def depths(self) -> dict[Numbers, int]:
        """All reachable tuples, each with the least number of steps that change a process."""
        seen: set[tuple[Numbers, Sent]] = set()
        tuples: dict[Numbers, int] = {}
        queue: deque[tuple[Numbers, Sent, int]] = deque(
            (tuple(map(self.number, states)), frozenset(), 0)
            for states in self.model.initial_states()
        )
        while queue:
            states, sent, depth = queue.popleft()
            if (states, sent) in seen:
                continue
            seen.add((states, sent))
            tuples.setdefault(states, depth)
            for after, sent_after in self.steps(states, sent):
                if (after, sent_after) in seen:
                    continue
                if after == states:
                    queue.appendleft((after, sent_after, depth))
                else:
                    queue.append((after, sent_after, depth + 1))
        return tuples

    def is_possible(self, goal: Goal, states: Numbers) -> bool:
        """Does some path lead to what is asked for, with an empty network at first?"""
        asked = self.mark(goal, goal.asked, states)
        if asked is None:
            return True
        seen: set[tuple[Numbers, Sent]] = set()
        stack: list[tuple[Numbers, Sent]] = [(states, frozenset())]
        while stack:
            here = stack.pop()
            if here in seen:
                continue
            seen.add(here)
            reached = self.mark(goal, goal.reached, here[0])
            if reached is not None and reached >= asked:
                return True
            stack += self.steps(*here, goal)
        return False

    def mark(self, goal: Goal, function: Any, states: Numbers) -> Any:
        """What is asked or reached; the goal sees the views of processes that are up."""
        return function(tuple(None if s == DOWN else goal.view(self.values[s]) for s in states))


def dead_ends(model: AnyModel) -> dict[tuple[str, tuple[Any, ...]], int]:
    """All dead ends, (goal, states with ``None`` for what is down), with the depth of each."""
    dumb = Dumb(model)
    dead: dict[tuple[str, tuple[Any, ...]], int] = {}
    judged: set[tuple[str, Numbers]] = set()
    for states, depth in sorted(dumb.depths().items(), key=lambda item: item[1]):
        for goal in model.goals():
            for down in goal.down:
                pairs = zip(model.processes, states, strict=True)
                up = tuple(DOWN if process in down else state for process, state in pairs)
                if (goal.name, up) not in judged:
                    judged.add((goal.name, up))
                    if not dumb.is_possible(goal, up):
                        values = tuple(None if s == DOWN else dumb.values[s] for s in up)
                        dead[goal.name, values] = depth
    return dead
