"""Progress: a dead end is found if and only if there is one, at its least depth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.two_phase_commit import Manager, State, TwoPhaseCommit
from model_check import Goal, Limits, Model, Outcome, Reductions, Result, check
from model_check.__main__ import main
from model_check.check import EXIT_DEAD_END
from model_check.raft_model import Bounds, Membership, RaftModel
from model_check.raft_mutants import find, load
from model_check.report import counterexample
from tests.dumb_progress import AnyModel, dead_ends
from tests.reduction_evidence import ALL_REDUCTIONS


def compare(model: AnyModel, result: Result) -> None:
    """Hold a result against the definition."""
    dead = dead_ends(model)
    assert (result.dead_end is None) == (not dead)
    if result.dead_end:
        assert result.exit_code == EXIT_DEAD_END
        assert result.dead_end.trace.length == min(dead.values())
        key = result.dead_end.goal.name, result.dead_end.states
        assert dead[key] == min(dead.values())
    else:
        assert all(goal.holds for goal in result.goals)


# --- Raft ---------------------------------------------------------------------------------------

TINY = [
    (1, 2, 2, "paper"),
    (1, 2, 2, "server"),
    (2, 2, 1, "paper"),
    (2, 1, 1, "server"),
    (3, 1, 1, "paper"),
]


@pytest.mark.parametrize("bounds", TINY, ids=str)
def test_raft_is_nowhere_at_a_dead_end(bounds: tuple[int, int, int, str]) -> None:
    servers, terms, log_length, profile = bounds
    model = RaftModel(Bounds(servers=servers, terms=terms, log_length=log_length), profile)
    result = check(model)
    assert result.exit_code == 0
    compare(model, result)
    assert all(goal.applicable for goal in result.goals if log_length)


STUCK = [
    ("B10", 2, 2, 1),
    ("B16", 2, 2, 1),
    ("B35", 1, 2, 2),
    ("X19", 2, 2, 1),
    ("L01", 2, 2, 1),
    ("L02", 2, 2, 1),
    ("L03", 3, 1, 0),
    ("L04", 3, 1, 1),
    ("L07", 3, 1, 0),
]


@pytest.mark.parametrize("row", STUCK, ids=lambda row: row[0])
def test_dead_ends_are_those_of_the_definition(row: tuple[str, int, int, int]) -> None:
    name, servers, terms, log_length = row
    bounds = Bounds(servers=servers, terms=terms, log_length=log_length)
    model = RaftModel(bounds, rules=load(find(name)))
    result = check(model)
    assert result.result == "dead end"
    compare(model, result)


def test_a_minority_may_be_down() -> None:
    def needs_all(name: str, log_length: int) -> Result:
        bounds = Bounds(servers=3, terms=1, log_length=log_length)
        return check(RaftModel(bounds, rules=load(find(name))))

    for result in (needs_all("L03", 0), needs_all("L04", 1)):
        assert result.dead_end is not None
        assert sum(state is None for state in result.dead_end.states) == 1
        assert " down." in counterexample(result)


@pytest.mark.parametrize("reductions", ALL_REDUCTIONS, ids=str)
def test_reductions_judge_the_same(reductions: Reductions) -> None:
    model = RaftModel(Bounds(servers=2, terms=2, log_length=1))
    full, other = check(model), check(model, reductions=reductions)
    for a, b in zip(full.goals, other.goals, strict=True):
        assert (a.shortest, a.longest, a.searched) == (b.shortest, b.longest, b.searched)
        if reductions.symmetry:
            assert (a.judged, a.applicable) == (b.judged, b.applicable)


def test_goals_survive_a_change_of_membership() -> None:
    bounds = Bounds(servers=3, terms=2, log_length=3)
    result = check(RaftModel(bounds, membership=Membership()), workers=2)
    assert result.exit_code == 0
    assert all(goal.applicable for goal in result.goals)


# --- Random protocols ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """What steps do: (process, state, cause) -> state after, messages to the next process."""

    delivered: dict[tuple[int, int, str], tuple[int, str]]
    taken: dict[tuple[int, int, str], tuple[int, str]]
    marks: dict[tuple[int, ...], int]
    asked: dict[tuple[int, ...], int]
    otherwise: int | None
    """What is asked of all other tuples."""


class Random(Model[int, str, str, None]):
    """Processes in a ring that do what a table says."""

    def __init__(self, table: Table, processes: int, allowed: str, down: bool) -> None:
        self.processes = tuple(range(processes))
        self.table = table
        self.allowed = allowed
        self.may_be_down = down

    def initial_states(self) -> list[tuple[int, ...]]:
        """All begin alike."""
        return [tuple(0 for _ in self.processes)]

    def _outcome(self, process: int, after: int, sends: str) -> Outcome[int, str, None]:
        following = (process + 1) % len(self.processes)
        return Outcome(state=after, sends=tuple((following, m) for m in sends))

    def actions(self, process: int, state: int) -> Sequence[str]:
        """Those in the table."""
        return [a for p, s, a in self.table.taken if (p, s) == (process, state)]

    def act(self, process: int, state: int, action: str) -> Outcome[int, str, None]:
        """As the table says."""
        return self._outcome(process, *self.table.taken[process, state, action])

    def deliver(
        self, process: int, state: int, source: int, message: str
    ) -> Outcome[int, str, None]:
        """As the table says."""
        return self._outcome(
            process, *self.table.delivered.get((process, state, message), (state, ""))
        )

    def goals(self) -> list[Goal]:
        """Marks and demands as the table says."""

        def named(states: tuple[int | None, ...]) -> tuple[int, ...]:
            return tuple(-1 if s is None else s for s in states)

        return [
            Goal(
                name="random",
                allows=lambda action: action in self.allowed,
                asked=lambda s: self.table.asked.get(named(s), self.table.otherwise),
                reached=lambda s: self.table.marks.get(named(s)),
                down=(frozenset(), *([frozenset({0})] if self.may_be_down else [])),
            )
        ]


@st.composite
def random_models(draw: st.DrawFn) -> Random:
    """Tables with gaps: a message that is in none changes nothing."""
    processes = draw(st.integers(2, 3))
    who, states = st.integers(0, processes - 1), st.integers(0, 2)
    causes = st.sampled_from("ab")
    effects = st.tuples(states, st.sampled_from(["", "a", "b", "ab"]))
    tuples = st.tuples(*[st.integers(-1, 2)] * processes)
    table = Table(
        delivered=draw(
            st.dictionaries(st.tuples(who, states, causes), effects, min_size=6, max_size=18)
        ),
        taken=draw(st.dictionaries(st.tuples(who, states, causes), effects, min_size=2)),
        marks=draw(st.dictionaries(tuples, st.integers(0, 3), max_size=12)),
        asked=draw(st.dictionaries(tuples, st.integers(0, 3), max_size=8)),
        otherwise=draw(st.sampled_from([None, 0, 1])),
    )
    allowed = draw(st.sampled_from(["", "a", "ab"]))
    return Random(table, processes, allowed, draw(st.booleans()))


@settings(max_examples=60, deadline=None)
@given(random_models())
def test_random_protocols_are_judged_as_defined(model: Random) -> None:
    compare(model, check(model))


# --- Another protocol ---------------------------------------------------------------------------


class WithGoals(TwoPhaseCommit):
    """Two-phase commit: what stays possible, and what does not."""

    def __init__(self, *names: str, resend: bool = False) -> None:
        super().__init__(2)
        self.names = names
        self.resend = resend

    def actions(self, process: int, state: State) -> list[str]:
        """With ``resend``, the manager repeats its decision."""
        offered = super().actions(process, state)
        if self.resend and isinstance(state, Manager) and state.decided:
            offered = [*offered, "aborted"]
        return offered

    def goals(self) -> list[Goal]:
        """The manager can decide, with a resource manager down too; all can learn the decision."""

        def decided(states: tuple[State | None, ...]) -> bool:
            return isinstance(states[0], Manager) and states[0].decided

        def all_know(states: tuple[State | None, ...]) -> bool:
            return decided(states) and not {"working", "prepared"} & {*states[1:]}

        possible = {
            "decides": Goal(
                name="decides",
                asked=lambda states: True if not decided(states) else None,
                reached=decided,
                down=(frozenset(), frozenset({1}), frozenset({2})),
            ),
            "all_know": Goal(name="all_know", asked=lambda _: True, reached=all_know),
        }
        return [possible[name] for name in self.names]


@pytest.mark.parametrize("reductions", ALL_REDUCTIONS, ids=str)
def test_the_transaction_manager_can_always_decide(reductions: Reductions) -> None:
    model = WithGoals("decides")
    result = check(model, reductions=reductions)
    assert result.exit_code == 0
    (goal,) = result.goals
    assert (goal.shortest, goal.longest, goal.searched) == (1, 1, 0)
    compare(model, result)


@pytest.mark.parametrize("reductions", ALL_REDUCTIONS, ids=str)
def test_two_phase_commit_blocks_when_the_decision_is_lost(reductions: Reductions) -> None:
    model = WithGoals("decides", "all_know")
    result = check(model, reductions=reductions)
    assert result.exit_code == EXIT_DEAD_END
    compare(model, result)
    text = counterexample(result)
    assert "all_know" in text
    assert "not from here, all messages lost" in text


def test_every_goal_is_searched_completely_before_it_is_called_impossible() -> None:
    class Slow(Model[int, str, str, None]):
        """0 tells 1, which tells 2, which tells 0: no exchange of two goes round the ring."""

        processes = (0, 1, 2)

        def initial_states(self) -> list[tuple[int, ...]]:
            return [(0, 0, 0)]

        def actions(self, process: int, state: int) -> list[str]:
            return ["begin"] if process == 0 and state == 0 else []

        def act(self, process: int, state: int, action: str) -> Outcome[int, str, None]:
            return Outcome(state=0, sends=((1, "go"),))

        def deliver(
            self, process: int, state: int, source: int, message: str
        ) -> Outcome[int, str, None]:
            return Outcome(state=1 if process == 0 else 0, sends=(((process + 1) % 3, "go"),))

        def goals(self) -> list[Goal]:
            return [Goal(name="round", asked=lambda _: 1, reached=lambda states: states[0])]

    result = check(Slow())
    assert result.exit_code == 0
    assert result.goals[0].searched == 1


def test_a_goal_that_names_a_process_refutes_the_symmetry() -> None:
    class Favourite(WithGoals):
        def goals(self) -> list[Goal]:
            def of_one(states: tuple[State | None, ...]) -> bool | None:
                return True if states[1] == "working" else None

            return [Goal(name="favourite", asked=of_one, reached=lambda states: True)]

    class FavouriteDown(WithGoals):
        def goals(self) -> list[Goal]:
            (goal,) = WithGoals("decides").goals()
            return [Goal(name="down", asked=goal.asked, reached=goal.reached, down=goal.down[:2])]

    for model in (Favourite(), FavouriteDown()):
        result = check(model)
        assert [r.failure.reduction for r in result.refuted] == ["symmetry"]
        assert "the same after renaming" in result.refuted[0].text
        assert result.exit_code == 0


# --- What it says -------------------------------------------------------------------------------


def test_a_limit_on_a_complete_search_is_no_pass() -> None:
    result = check(WithGoals("all_know"), limits=Limits(states=57))
    assert result.result in ("dead end", "stopped")
    assert result.exit_code != 0


def test_goals_can_be_left_out_or_judged_alone() -> None:
    model = WithGoals("decides", "all_know")
    assert check(model, with_goals=False).exit_code == 0
    assert check(model, only=["decides"]).exit_code == 0
    assert check(model, only=["consistent"]).goals == ()
    assert check(model, only=["all_know"]).exit_code == EXIT_DEAD_END


def test_a_dead_end_is_told_with_its_own_exit_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trace, out = tmp_path / "trace.txt", tmp_path / "out.json"
    assert main(["--mutant", "B16", "--trace", str(trace), "--json", str(out)]) == EXIT_DEAD_END
    text = capsys.readouterr().out
    assert trace.read_text(encoding="utf-8").strip() in text
    assert (
        "A leader can be elected (leader_can_be_elected): not from here, all messages lost" in text
    )
    assert "DEAD END" in text
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["result"], found["exit_code"]) == ("dead end", EXIT_DEAD_END)
    assert found["dead_end"]["goal"] == "leader_can_be_elected"
    assert set(found["dead_end"]["states"]) == {"S1", "S2"}
    assert not found["goals"]["leader_can_be_elected"]["holds"]
    assert found["goals"]["leader_can_commit"]["judged"] > 0
    assert len(found["trace"]) == 2
    assert main(["--mutant", "B16", "--no-goals", "--quiet"]) == 0
    assert main(["--mutant", "B16", "--property", "leader_can_commit", "--quiet"]) == 0
