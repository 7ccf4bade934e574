"""The checker knows no Raft: another protocol, with counts that are known from TLA+."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from examples.two_phase_commit import Manager, State, Step, TwoPhaseCommit
from model_check import (
    AnyFact,
    AnyStep,
    Limits,
    Model,
    ModelError,
    Outcome,
    Property,
    Reductions,
    check,
)
from model_check.check import EXIT_WITNESS
from model_check.model import AllWhere, AnyState
from model_check.trace import tell
from tests.reduction_evidence import ALL_REDUCTIONS, PLAIN


@pytest.mark.parametrize(("managers", "states"), [(1, 12), (2, 56), (3, 288), (4, 1568), (5, 8832)])
def test_plain_counts_are_those_of_the_published_tla_specification(
    managers: int, states: int
) -> None:
    result = check(TwoPhaseCommit(managers), reductions=PLAIN)
    assert (result.result, result.states, result.exit_code) == ("exhausted", states, 0)


@pytest.mark.parametrize("reductions", ALL_REDUCTIONS, ids=str)
def test_every_reduction_gives_the_same_verdict(reductions: Reductions) -> None:
    result = check(TwoPhaseCommit(3), reductions=reductions)
    assert result.exit_code == 0
    assert not result.refuted
    assert result.states <= 288


class Impatient(TwoPhaseCommit):
    """A resource manager may change its mind after it has prepared."""

    def actions(self, process: int, state: State) -> list[str]:
        """Abort although prepared."""
        return ["aborted"] if state == "prepared" else super().actions(process, state)


@pytest.mark.parametrize("reductions", ALL_REDUCTIONS, ids=str)
def test_a_broken_protocol_gives_a_shortest_counterexample(reductions: Reductions) -> None:
    result = check(Impatient(2), reductions=reductions)
    assert result.exit_code == 12
    assert result.trace is not None
    # Both prepare, both votes arrive, the decision, one obeys, the other one aborts.
    assert result.trace.length == 7
    assert "consistent is violated" in tell(result.trace).replace(" (consistent)", "")


def test_an_unreached_witness_has_its_own_exit_code() -> None:
    class Pessimist(TwoPhaseCommit):
        def actions(self, process: int, state: State) -> list[str]:
            offered = super().actions(process, state)
            return [a for a in offered if a != "committed"]

    assert check(Pessimist(2)).exit_code == EXIT_WITNESS


def test_a_false_claim_of_symmetry_is_refuted_and_the_verdict_does_not_rest_on_it() -> None:
    class Favourite(TwoPhaseCommit):
        def deliver(self, process: int, state: State, source: int, message: str) -> Step:
            if isinstance(state, Manager) and source == 2:
                return Outcome(state=state)
            return super().deliver(process, state, source, message)

    result = check(Favourite(3))
    assert [r.failure.reduction for r in result.refuted] == ["symmetry"]
    assert not result.reductions.symmetry
    assert result.exit_code == EXIT_WITNESS


def test_a_false_claim_of_obsolescence_is_refuted() -> None:
    class Forgetful(TwoPhaseCommit):
        def is_obsolete(self, process: int, state: State, source: int, message: str) -> bool:
            return process == 0

    result = check(Forgetful(2))
    assert [r.failure.reduction for r in result.refuted] == ["obsolete"]
    assert "an obsolete message has no effect" in result.refuted[0].text
    assert result.exit_code == 0


def test_a_false_claim_of_equivalence_is_refuted() -> None:
    class Blurred(TwoPhaseCommit):
        def representative(self, process: int, state: State, source: int, message: str) -> str:
            return "aborted" if process == 1 else message

    result = check(Blurred(2))
    assert result.refuted[0].failure.reduction == "obsolete"


def test_a_false_claim_that_a_fact_is_past_is_refuted() -> None:
    class Hasty(Model[int, str, str, str]):
        """Two processes that each go on twice, and record when they do."""

        processes = (1, 2)

        def initial_states(self) -> list[tuple[int, int]]:
            return [(0, 0)]

        def actions(self, process: int, state: int) -> list[str]:
            return ["go on"] if state < 2 else []

        def act(self, process: int, state: int, action: str) -> Outcome[int, str, str]:
            return Outcome(state=state + 1, facts=(f"{process} left {state}",))

        def deliver(
            self, process: int, state: int, source: int, message: str
        ) -> Outcome[int, str, str]:
            raise AssertionError("nothing is sent")

        def properties(self) -> list[Property]:
            return [Property(name="told", over=(AnyFact(str),), predicate=bool)]

        def is_past(self, process: int, state: int, fact: str) -> bool:
            return state == 1

    result = check(Hasty())
    assert [r.failure.reduction for r in result.refuted] == ["obsolete"]
    assert "fact: " in result.refuted[0].text
    assert result.exit_code == 0


def test_a_limit_is_never_a_pass() -> None:
    result = check(TwoPhaseCommit(5), limits=Limits(states=100))
    assert (result.result, result.exit_code) == ("stopped", 3)


def test_an_exception_in_a_step_is_a_violation_with_a_trace() -> None:
    class Fragile(TwoPhaseCommit):
        def deliver(self, process: int, state: State, source: int, message: str) -> Step:
            if message == "committed":
                raise ZeroDivisionError("nobody expects a commit")
            return super().deliver(process, state, source, message)

    result = check(Fragile(1))
    assert result.exit_code == 12
    assert result.trace is not None
    assert "fails: ZeroDivisionError: nobody expects a commit" in tell(result.trace)


@pytest.mark.parametrize("reductions", ALL_REDUCTIONS, ids=str)
def test_a_violation_by_a_step_that_leads_nowhere_is_found(reductions: Reductions) -> None:
    class Stuck(TwoPhaseCommit):
        def act(self, process: int, state: State, action: str) -> Step:
            return Outcome(state=state, sends=((process, "to myself"),))

    result = check(Stuck(1), reductions=reductions)
    assert (result.exit_code, result.states) == (12, 1)


def test_a_violation_that_was_met_outweighs_a_limit() -> None:
    class Fragile(TwoPhaseCommit):
        def act(self, process: int, state: State, action: str) -> Step:
            raise ZeroDivisionError("at once")

    assert check(Fragile(1), limits=Limits(states=1)).exit_code in (3, 12)
    assert check(Fragile(1), limits=Limits(states=2)).exit_code == 12


def test_a_property_that_raises_is_violated_and_says_so() -> None:
    class Careless(TwoPhaseCommit):
        def properties(self) -> list[Property]:
            def careless(*values: State) -> bool:
                return 1 // (values[0] != "aborted") > 0

            return [Property(name="careless", over=(AnyState(),), predicate=careless)]

    result = check(Careless(1))
    assert result.exit_code == 12
    assert result.trace is not None
    assert "the property fails = ZeroDivisionError" in tell(result.trace)


@dataclass(frozen=True)
class Decided:
    """The transaction manager has decided."""

    how: str


def test_facts_and_steps_can_be_judged() -> None:
    class Recorded(TwoPhaseCommit):
        def act(self, process: int, state: State, action: str) -> Step:
            outcome = super().act(process, state, action)
            if not isinstance(state, Manager):
                return outcome
            return Outcome(
                state=outcome.state,
                sends=outcome.sends,
                facts=(Decided(action),),  # type: ignore[arg-type]
                step=(state, action),
            )

        def properties(self) -> list[Property]:
            def obeyed(decision: Decided, manager: State) -> bool | None:
                final = manager in ("committed", "aborted")
                return manager == decision.how or manager == "aborted" if final else None

            def all_prepared(decision: Decided, who: frozenset[int]) -> bool | None:
                return who == {1, 2} if decision.how == "committed" else None

            def not_working(_: object, manager: State) -> bool:
                return manager in ("prepared", "committed")

            def decides_once(before: Manager, action: str) -> bool:
                return not before.decided

            over_set = (AnyFact(Decided), AllWhere(not_working))
            return [
                Property(name="obeyed", over=(AnyFact(Decided), AnyState()), predicate=obeyed),
                Property(name="all_prepared", over=over_set, predicate=all_prepared),
                Property(name="decides_once", over=(AnyStep(),), predicate=decides_once),
            ]

    for reductions in ALL_REDUCTIONS:
        result = check(Recorded(2), reductions=reductions)
        tallies = {t.property.name: t for t in result.properties}
        assert result.exit_code == 0, str(reductions)
        assert all(t.non_vacuous for t in tallies.values())


def test_properties_that_reductions_do_not_preserve_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot be quantified"):
        Property(name="three", over=(AnyState(), AnyState(), AnyState()), predicate=lambda *_: True)


MALFORMED: dict[str, Callable[[TwoPhaseCommit], None]] = {
    "not hashable": lambda m: setattr(m, "initial_states", lambda: [([], "working")]),
    "not a pure function": lambda m: setattr(m, "act", _Impure()),
    "must return an Outcome": lambda m: setattr(m, "act", lambda *_: "prepared"),
    "one state for each process": lambda m: setattr(m, "initial_states", lambda: [("working",)]),
    "distinct and ascending": lambda m: setattr(m, "processes", (1, 0)),
    "of the model raised ZeroDivisionError": lambda m: setattr(m, "actions", lambda *_: 1 // 0),
}


class _Impure:
    """A step that never does the same twice."""

    __name__ = "act"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: object) -> Step:
        self.calls += 1
        return Outcome(state=f"state {self.calls}")


@pytest.mark.parametrize("complaint", MALFORMED)
def test_a_malformed_model_gets_one_clear_line(complaint: str) -> None:
    model = TwoPhaseCommit(1)
    MALFORMED[complaint](model)
    with pytest.raises(ModelError, match=complaint) as raised:
        check(model)
    assert "\n" not in str(raised.value)


def test_the_smallest_model_needs_three_members() -> None:
    class Ring(Model[int, str, str, None]):
        processes = (1, 2)

        def initial_states(self) -> list[tuple[int, ...]]:
            return [(0, 0), (1, 0)]

        def deliver(
            self, process: int, state: int, source: int, message: str
        ) -> Outcome[int, str, None]:
            return Outcome(state=state)

    assert check(Ring()).states == 2
