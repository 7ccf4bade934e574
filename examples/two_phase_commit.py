"""Two-phase commit (Gray, Lamport: "Consensus on Transaction Commit") as a model of the checker.

python -m model_check --model examples/two_phase_commit.py:TwoPhaseCommit
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from model_check import AnyState, Model, Outcome, Property, Witness


@dataclass(frozen=True)
class Manager:
    """The transaction manager: who is prepared, and whether it has decided."""

    prepared: frozenset[int] = frozenset()
    decided: bool = False


State = str | Manager  # a resource manager is "working", "prepared", "committed" or "aborted"
Step = Outcome[State, str, None]


class TwoPhaseCommit(Model[State, str, str, None]):
    """Process 0 is the transaction manager; the others are resource managers, three by default."""

    name = "two-phase commit"

    def __init__(self, managers: int = 3) -> None:
        """Name the processes."""
        self.managers = tuple(range(1, managers + 1))
        self.processes = (0, *self.managers)

    def initial_states(self) -> list[tuple[State, ...]]:
        """Nobody is prepared."""
        return [(Manager(), *("working" for _ in self.managers))]

    def actions(self, process: int, state: State) -> list[str]:
        """A resource manager prepares or aborts; the transaction manager decides once."""
        if isinstance(state, Manager):
            everybody = state.prepared == set(self.managers)
            return [] if state.decided else ["aborted", *(["committed"] if everybody else [])]
        return ["prepared", "aborted"] if state == "working" else []

    def act(self, process: int, state: State, action: str) -> Step:
        """Tell those whom it concerns."""
        if isinstance(state, Manager):
            everybody = tuple((manager, action) for manager in self.managers)
            return Outcome(state=replace(state, decided=True), sends=everybody)
        return Outcome(state=action, sends=((0, action),) if action == "prepared" else ())

    def deliver(self, process: int, state: State, source: int, message: str) -> Step:
        """Resource managers obey; the transaction manager notes who is prepared."""
        if not isinstance(state, Manager):
            return Outcome(state=message)
        if state.decided:
            return Outcome(state=state)
        return Outcome(state=replace(state, prepared=state.prepared | {source}))

    def properties(self) -> Sequence[Property]:
        """Nobody aborts what another one commits."""
        clash = {"committed", "aborted"}
        both = (AnyState(), AnyState())
        return [Property(name="consistent", over=both, predicate=lambda a, b: {a, b} != clash)]

    def witnesses(self) -> Sequence[Witness]:
        """Sometimes it works."""
        return [Witness(name="commits", over=(AnyState(),), predicate=lambda a: a == "committed")]

    def interchangeable(self) -> Sequence[Sequence[int]]:
        """Resource managers may be renamed among each other; only ``prepared`` names them."""
        return [self.managers]

    def rename_state(self, renaming: Mapping[int, int], state: State) -> State:
        """Rename them there."""
        if not isinstance(state, Manager):
            return state
        return replace(state, prepared=frozenset(renaming[p] for p in state.prepared))
