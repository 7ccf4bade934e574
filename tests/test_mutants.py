"""Known bugs put into the rules: each ends as the table says, and no claim is idle."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from model_check import Reductions, check
from model_check.mutant_table import run
from model_check.raft_model import Bounds, ParallelWrite, RaftModel
from model_check.raft_mutants import (
    MUTANTS,
    Killed,
    Mutant,
    NotExpressible,
    find,
    load,
    load_disk,
    load_rooms,
    model_of,
)
from spec.invariants import PROPERTIES, WITNESSES
from spec.progress import GOALS
from tests.reduction_evidence import ALL_REDUCTIONS, PLAIN

RUNNABLE = [m for m in MUTANTS if not isinstance(m.verdict, NotExpressible)]
KILLED = {m.name: m.verdict for m in MUTANTS if isinstance(m.verdict, Killed)}


LONG = {"B51", "X68"}
"""Those that take up to a minute."""


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(m, marks=pytest.mark.long if m.name in LONG else ()) for m in RUNNABLE],
    ids=lambda m: m.name,
)
def test_every_mutant_ends_as_the_table_says(mutant: Mutant) -> None:
    row = run(mutant, workers=2)
    assert row.as_expected, str(row)


SLOWER = {
    # Claims that others forestall when all are judged: alone, they kill too.
    "log_matching": ("X12", 3, 2, 2),
    "log_matching_received": ("X12", 3, 2, 2),
    "committed_once": ("B07", 3, 2, 1),
    "commit_index_within_log": ("B49", 3, 1, 1),
    "electable_holds_committed": ("B31", 3, 3, 1),
    "committed_never_cut": ("B19", 2, 1, 2),
    "reads_are_linearizable": ("B61", 3, 2, 1),
}


def check_alone(claim: str, mutant: str, servers: int, terms: int, log_length: int) -> int:
    """The number of steps in which one claim, judged alone, kills a mutant; 0 if it does not."""
    bounds = Bounds(servers=servers, terms=terms, log_length=log_length)
    verdict = find(mutant).verdict
    clients = verdict.clients if isinstance(verdict, Killed) else None
    model = RaftModel(bounds, rules=load(find(mutant)), clients=clients)
    result = check(model, only=[claim], workers=2)
    if result.trace is None or result.trace.clash is None:
        return 0
    assert result.trace.clash.property.name == claim
    return result.trace.length


@pytest.mark.parametrize("claim", SLOWER)
def test_claims_that_are_forestalled_kill_alone(claim: str) -> None:
    mutant, *bounds = SLOWER[claim]
    assert check_alone(claim, mutant, *bounds)


def test_a_vote_that_is_in_memory_alone_shows_on_the_disk() -> None:
    bounds = Bounds(servers=2, terms=1, log_length=0)
    unrecorded = load(find("X01"))
    model = RaftModel(bounds, rules=unrecorded, parallel_write=ParallelWrite())
    result = check(model, only=["disk_follows_server"])
    assert result.trace is not None


def test_every_claim_kills_a_mutant() -> None:
    killers = {verdict.by for verdict in KILLED.values()} | set(SLOWER) | {"disk_follows_server"}
    assert {*(claim.name for claim in PROPERTIES), *(goal.name for goal in GOALS)} <= killers


def test_figure_8_breaks_leader_completeness_only_with_a_fourth_term() -> None:
    # The stronger claim sees the same bug with three terms, before it has done its harm.
    assert check_alone("leader_completeness", "B31", 3, 3, 1) == 0
    assert check_alone("electable_holds_committed", "B31", 3, 3, 1) > 0


SMALL = [
    name
    for name, verdict in KILLED.items()
    if (
        verdict.servers - bool(verdict.config_changes) <= 2
        or (
            verdict.servers == 3
            and verdict.terms == 1
            and not (verdict.snapshots or verdict.features or verdict.pending_writes)
        )
    )
    # Nor does a plain search end soon that judges what stays possible through every change.
    and not (verdict.config_changes and verdict.by in {goal.name for goal in GOALS})
    # Without reductions clients, or the server's rules, multiply what there is to explore.
    and not (
        (verdict.clients or verdict.profile == "server") and verdict.servers * verdict.terms > 2
    )
]


SLOW = {"B45", "L08", "X14", "X26", "X34", "X64"}
"""Those whose plain search takes many seconds."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if name in SLOW else ()) for name in SMALL],
)
def test_mutants_are_found_at_the_same_length_without_reductions(name: str) -> None:
    found_at_the_same_length(name, [Reductions(), PLAIN])


@pytest.mark.long
@pytest.mark.parametrize("name", SMALL)
def test_mutants_are_found_at_the_same_length_by_all_combinations(name: str) -> None:
    found_at_the_same_length(name, ALL_REDUCTIONS)


def found_at_the_same_length(name: str, choices: Sequence[Reductions]) -> None:
    """A shortest counterexample has the same length whatever is reduced."""
    verdict = KILLED[name]
    owed = load_rooms(find(name))["spec.clients"]
    model = model_of(verdict, load(find(name)), load_disk(find(name)), owed)
    lengths = set()
    for reductions in choices:
        result = check(model, reductions=reductions)
        assert result.exit_code != 0, str(reductions)
        if result.trace is not None:
            lengths.add(result.trace.length)
        else:
            assert verdict.by in {w.name for w in WITNESSES}
            assert verdict.by in result.missing_witnesses
    assert len(lengths) <= 1
