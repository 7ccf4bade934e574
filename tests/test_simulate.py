"""``simulate``: random walks, repeatable by their seed, whose counterexamples are minimised."""

from __future__ import annotations

import pytest

from model_check.__main__ import main
from model_check.raft_model import Bounds, RaftModel
from model_check.raft_mutants import find, load
from model_check.simulate import simulate

WIDE = Bounds(servers=5, terms=8, log_length=6)


@pytest.mark.parametrize(("runs", "unmet"), [(15, 4), pytest.param(150, 0, marks=pytest.mark.long)])
def test_walks_beyond_exhaustible_bounds_meet_witnesses_and_no_violation(
    runs: int, unmet: int
) -> None:
    found = simulate(RaftModel(WIDE), runs=runs, depth=400, seed=1)
    assert found.trace is None
    assert found.steps == runs * 400
    assert found.moves > found.steps // 8
    assert sum(walks == 0 for _, walks in found.witnesses) <= unmet


def test_a_seed_repeats_its_walks() -> None:
    first, second, other = (
        simulate(RaftModel(WIDE), runs=5, depth=100, seed=seed) for seed in (3, 3, 4)
    )
    assert first == second
    assert first.moves != other.moves


@pytest.mark.parametrize("name", ["B03", "B07", "B31", "B49"])
def test_counterexamples_are_minimised(name: str) -> None:
    bounds = Bounds(servers=3, terms=4, log_length=3)
    found = simulate(RaftModel(bounds, rules=load(find(name))), runs=2000, depth=200, seed=2)
    assert found.trace is not None
    assert found.trace.clash is not None
    # The shortest counterexamples to these have 3 to 9 state-changing steps.
    assert found.trace.length <= 25


def test_the_command_prints_the_seed_first_and_a_histogram(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["simulate", "--servers", "3", "--runs", "4", "--depth", "30", "--seed", "5"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].endswith("seed 5")
    assert "nothing is exhausted" in out
    assert "steps in a walk   walks" in out
    assert main(["simulate", "--mutant", "B03", "--servers", "3", "--runs", "500"]) == 12
    assert "minimised" in capsys.readouterr().out
    assert main(["simulate", "--runs", "0"]) == 2
