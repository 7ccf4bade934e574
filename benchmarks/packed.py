"""The elections of ``election.py`` by hand in one integer a state, as fast as pure Python goes.

The integer has a few bits for each server's state, then one bit for each message that can be sent.
What the servers can do in the states they are in is a list of rules, computed once from the
functions of ``election.py``; a step is then two operations. Steps that change nothing are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, permutations
from typing import TypeVar

from benchmarks.election import Election, Message, Server, Step, election_safety

T = TypeVar("T")


Rule = tuple[str, int, int, int]
"""(label, needs, keep, add): a step from ``x`` to ``x & keep | add``, if ``x & needs == needs``.

A plain tuple, because a loop unpacks it faster than a named one.
"""


class Memo(dict[int, T]):
    """A dictionary that asks once for what it does not have."""

    def __init__(self, ask: Callable[[int], T]) -> None:
        """``ask`` gives the value of a key."""
        super().__init__()
        self._ask = ask

    def __missing__(self, key: int) -> T:
        value = self[key] = self._ask(key)
        return value


class Packed:
    """An ``Election`` whose states are integers."""

    def __init__(self, election: Election) -> None:
        """Number the servers' states and the messages."""
        self._election = election
        self._numbered = [self._states(p) for p in election.processes]
        self._width = max(map(len, self._numbered)).bit_length()
        size = self._width * len(election.processes)
        sent = [
            (q, p, m) for q, p in permutations(election.processes, 2) for m in election.messages()
        ]
        self._bits = {key: 1 << size + i for i, key in enumerate(sent)}
        self.initial = 0  # of each server, the initial state has number 0
        self.servers = (1 << size) - 1
        """The bits of a state that hold the servers; the following are known by them."""
        self.rules = Memo(self._rules)
        self.safe = Memo(self._is_safe)

    def _states(self, process: int) -> list[Server]:
        """Every state that a server can get into, whatever arrives; the initial one first."""
        states = [self._election.initial_states()[0][process]]
        for state in states:
            for _, _, step in self._steps(process, state):
                if step.state not in states:
                    states.append(step.state)
        return states

    def _steps(
        self, process: int, state: Server
    ) -> Iterator[tuple[str, tuple[int, int, Message] | None, Step]]:
        """What a server can do: the label, the message that it takes, the outcome."""
        election = self._election
        for action in election.actions(process, state):
            yield f"{action} at {process}", None, election.act(process, state, action)
        for source in election.processes:
            for message in election.messages() if source != process else ():
                step = election.deliver(process, state, source, message)
                yield f"{message} from {source} at {process}", (source, process, message), step

    def _server(self, x: int, process: int) -> Server:
        return self._numbered[process][x >> process * self._width & (1 << self._width) - 1]

    def _rules(self, servers: int) -> list[Rule]:
        found = []
        for p in self._election.processes:
            state, shift = self._server(servers, p), p * self._width
            keep = ~((1 << self._width) - 1 << shift)
            for label, message, step in self._steps(p, state):
                if step.state == state and not step.sends:
                    continue
                add = self._numbered[p].index(step.state) << shift
                for target, answer in step.sends:
                    add |= self._bits[p, target, answer]
                needs = self._bits[message] if message else 0
                found.append((label, needs, keep, add))
        return found

    def _is_safe(self, servers: int) -> bool:
        all_servers = [self._server(servers, p) for p in self._election.processes]
        return all(election_safety(a, b) for a, b in combinations(all_servers, 2))
