"""The unbounded proof: everything is proved, nothing in it is idle, and its axioms are true."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import z3

from model_check.__main__ import main
from model_check.proof import (
    actions,
    counterexample,
    lemmas,
    membership,
    quorums,
    reads,
    reductions,
    snapshots,
)
from model_check.proof.actions import Action, Effect
from model_check.proof.lemmas import Lemma
from model_check.proof.logic import all_of, implies, larger, put
from model_check.proof.prover import FOLLOWS, functions_in, obligations, with_cvc5, with_z3
from model_check.proof.theory import (
    JOINT,
    STATIC,
    STATIC_READS,
    STATIC_SNAPSHOTS,
    THEORIES,
    WHOLE,
    Theory,
    without_guard,
    without_lemma,
)
from spec.quorum import is_quorum
from spec.state import Configuration, ServerId

PROOF = Path(lemmas.__file__).parent


def is_lost(theory: Theory, action: str | None = None) -> bool:
    """Is there an obligation that z3 does not prove?"""
    solve = with_z3(limit_s=2.0)
    return any(solve(o).status != "proved" for o in obligations(theory, action))


# --- The proof ----------------------------------------------------------------------------------


@pytest.mark.parametrize("theory", ["static", "whole", "quorums", "reductions"])
def test_all_obligations_are_proved(theory: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The other theories are parts of these; ``make check-all`` proves all, with more seeds."""
    assert main(["prove", "--theory", theory, "--quiet"]) == 0
    proved, of, total, *_ = capsys.readouterr().out.split()
    assert (proved, of) == (total, "of")


def test_another_seed_proves_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "--theory", "static", "--seed", "7", "--quiet"]) == 0


def test_another_solver_proves_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "--theory", "static", "--solver", "cvc5", "--only", "store_entries"]) == 0


def test_the_most_delicate_steps_by_both_solvers() -> None:
    """What follows from the lemmas in one state, by induction: no action is involved."""
    following = [o for o in islice(obligations(WHOLE), 150) if o.action == FOLLOWS]
    assert {o.lemma for o in following} >= {c.name for c in WHOLE.consequences}
    for obligation in following:
        for solve in (with_z3(seed=3), with_cvc5(seed=3)):
            assert solve(obligation).status == "proved", obligation.name


def test_every_query_says_what_it_claims(tmp_path: Path) -> None:
    """An exported script is the query: z3 reads it and answers unsat."""
    arguments = ["prove", "--theory", "static", "--only", "restart", "--export", str(tmp_path)]
    assert main(arguments) == 0
    scripts = sorted(tmp_path.rglob("*.smt2"))
    assert len(scripts) == len(STATIC.lemmas)
    for script in scripts:
        solver = z3.SimpleSolver()
        solver.set("mbqi", False)
        solver.from_string(script.read_text(encoding="utf-8"))
        assert solver.check() == z3.unsat, script


def test_result_as_json(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    assert main(["prove", "--theory", "quorums", "--json", str(path)]) == 0
    result = json.loads(path.read_text(encoding="utf-8"))
    assert {o["status"] for o in result["obligations"]} == {"proved"}
    assert len(result["obligations"]) == len(quorums.NEAR)


@pytest.mark.parametrize(
    "arguments", [["--theory", "none"], ["--theory", "quorums", "--only", "nothing"]]
)
def test_unknown_names_are_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_refuted_obligation_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weak = without_guard(STATIC, "grant_vote", "up-to-date")
    monkeypatch.setitem(THEORIES, "static", weak)
    assert main(["prove", "--theory", "static", "--only", "grant_vote", "--quiet"]) == 12
    said = capsys.readouterr().out
    name = "static/candidate_has_what_its_voter_acknowledged/grant_vote"
    assert f"refuted: {name}\n    a_n = " in said


def test_a_query_that_runs_out_of_time_is_open(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--theory", "joint", "--only", "leader_completeness/follows", "--limit", "0.001"]
    assert main(["prove", *arguments, "--quiet"]) == 3


# --- Nothing is idle ----------------------------------------------------------------------------

SAMPLE = [
    ("static", "grant_vote", "one vote"),
    ("static", "grant_vote", "up-to-date"),
    ("static", "become_leader", "quorum"),
    ("static", "keep_entries", "previous entry"),
    ("static", "store_entries", "conflict"),
    ("static", "advance_commit_index", "own term"),
    ("static-snapshots", "take_snapshot", "committed"),
    ("static-snapshots", "install_and_discard_log", "lacks the last entry"),
    ("joint", "append_configuration", "latest is committed"),
    ("joint", "append_configuration", "next configuration"),
    ("static-reads", "serve_read", "own term is committed"),
    ("static-reads", "serve_read", "confirmed"),
    ("static-reads", "confirm_read", "same term"),
]


@pytest.mark.parametrize(("theory", "action", "guard"), SAMPLE, ids=str)
def test_guards_are_needed(theory: str, action: str, guard: str) -> None:
    """A sample: ``prove --mutants`` deletes every guard and every lemma."""
    weak = without_guard(THEORIES[theory], action, guard)
    assert is_lost(weak, action)


@pytest.mark.parametrize(
    ("theory", "lemma"),
    [
        ("static", "quorums_meet"),
        ("static", "candidate_reached_the_term"),
        ("joint", "siblings_are_near"),
        ("joint", "next_is_near"),
    ],
    ids=str,
)
def test_lemmas_are_needed(theory: str, lemma: str) -> None:
    assert is_lost(without_lemma(THEORIES[theory], lemma))


Change = Callable[..., dict[str, Any]]


def changed(action: Action, change: Change) -> Action:
    """The action with a different effect."""

    @wraps(action)
    def wrong(s: Any, *arguments: Any) -> Effect:
        effect = action(s, *arguments)
        return replace(effect, after=replace(effect.after, **change(s, effect.after, *arguments)))

    return wrong


WRONG: dict[str, tuple[Theory, Action, Change]] = {
    "a crash forgets the vote": (
        STATIC,
        actions.restart,
        lambda s, after, n, i: {"has_voted": put(s.has_voted, n, False)},
    ),
    "a crash forgets the term": (
        STATIC,
        actions.restart,
        lambda s, after, n, i: {"current_term": put(s.current_term, n, 0)},
    ),
    "a crash forgets the end of the log": (
        STATIC,
        actions.restart,
        lambda s, after, n, i: {"last_index": put(s.last_index, n, i)},
    ),
    "a new term keeps the candidature": (
        STATIC,
        actions.update_term,
        lambda s, after, n, t: {"is_candidate": s.is_candidate},
    ),
    "votes of an older term are kept": (
        STATIC,
        actions.start_election,
        lambda s, after, n, t: {"votes_granted": s.votes_granted},
    ),
    "match_index is kept on election": (
        STATIC,
        actions.become_leader,
        lambda s, after, n, q: {"match_index": s.match_index},
    ),
    "the whole log is acknowledged": (
        STATIC,
        actions.keep_entries,
        lambda s, after, n, m: {
            "acknowledged": put(
                s.acknowledged,
                n,
                s.current_term(n),
                larger(s.acknowledged(n, s.current_term(n)), s.last_index(n)),
            )
        },
    ),
    "leader_commit is taken beyond the request": (
        STATIC,
        actions.keep_entries,
        lambda s, after, n, m: {
            "commit_index": put(s.commit_index, n, larger(s.commit_index(n), s.leader_commit(m)))
        },
    ),
    "the log is cut after every request": (
        STATIC,
        actions.keep_entries,
        lambda s, after, n, m: {"last_index": put(s.last_index, n, s.final_index(m))},
    ),
    "a leader overwrites its last entry": (
        STATIC,
        actions.client_request,
        lambda s, after, n, v: {"last_index": s.last_index},
    ),
    "a snapshot keeps a log that contradicts it": (
        STATIC_SNAPSHOTS,
        snapshots.install_and_discard_log,
        lambda s, after, n, m: {"entry_term": s.entry_term, "entry_value": s.entry_value},
    ),
    "a snapshot keeps what follows though it contradicts the log": (
        STATIC_SNAPSHOTS,
        snapshots.install_and_discard_log,
        lambda s, after, n, m: {"last_index": s.last_index},
    ),
    "a read is confirmed as soon as it begins": (
        STATIC_READS,
        reads.begin_read,
        lambda s, after, n, r: {"read_confirmed": lambda q, k: True},
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_effects_are_not_provable(name: str) -> None:
    theory, action, change = WRONG[name]
    wrong = replace(
        theory,
        actions=[changed(action, change) if a is action else a for a in theory.actions],
    )
    assert is_lost(wrong, action.__name__)


def test_finite_counterexamples_are_found_for_lost_lemmas() -> None:
    weak = without_guard(STATIC, "advance_commit_index", "copies")
    solve = with_z3(limit_s=2.0)
    lost = [o for o in obligations(weak, "advance_commit_index") if solve(o).status != "proved"]
    assert [o.lemma for o in lost] == ["holders_acknowledged"]
    assert counterexample.find(weak, lost[0], limit_s=60.0)


def test_no_small_state_refutes_what_is_proved() -> None:
    proved = next(o for o in obligations(STATIC, "grant_vote") if o.lemma == "one_vote")
    assert counterexample.find(STATIC, proved, limit_s=60.0) is None


# --- How it is written --------------------------------------------------------------------------

ALL: list[Lemma] = list(
    {
        lemma.name: lemma
        for theory in THEORIES.values()
        for lemma in (*theory.axioms, *theory.lemmas, *theory.consequences)
    }.values()
)


@pytest.mark.parametrize("lemma", ALL, ids=lambda lemma: lemma.name)
def test_lemmas_are_sentences_with_a_source(lemma: Lemma) -> None:
    assert lemma.sentence.endswith(".")
    assert "§" in lemma.paper


HISTORY = {
    "elected", "leader_of", "voters", "election_last", "term_last", "log_term", "log_value",
    "counted", "holders", "count_last", "commit_term", "commit_event",
    "counted_before", "elected_before", "term_before", "index_before",
    "commit_term_before", "commit_event_before",
}  # fmt: skip


@pytest.mark.parametrize("theory", THEORIES.values(), ids=lambda theory: theory.name)
def test_no_guard_looks_at_history(theory: Theory) -> None:
    """But those that only say what history a request or a value takes along."""
    for action in theory.actions:
        obligation = next(obligations(theory, action.__name__))
        guards = [(n, g) for n, g in obligation.hypotheses if n.startswith("guard: ")]
        for name, guard in guards:
            if name not in ("guard: history", "guard: same history"):
                assert not functions_in(guard) & HISTORY, (action.__name__, name)


# --- Quorums ------------------------------------------------------------------------------------


def refutable(claim: Any) -> bool:
    """Do finite sets exist that make the claim false?"""
    solver = z3.Solver()
    solver.add(claim)
    return bool(solver.check() == z3.sat)


def replaced_at_once(s: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    return quorums.meet(s, a, (c,), b, (d,))


def two_added_at_once(s: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    grown = all_of(s.size(c, d) == s.size(c), s.size(d) == s.size(c) + 2)
    return implies(grown, lambda: quorums.meet(s, a, (c,), b, (d,)))


def siblings_of_single_changes(s: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    """Two single-server changes of one configuration: the published bug of D4's first version."""
    one_more = all_of(
        *(all_of(s.size(c, x) == s.size(c), s.size(x) == s.size(c) + 1) for x in (d, e))
    )
    return implies(one_more, lambda: quorums.meet(s, a, (d,), b, (e,)))


@pytest.mark.parametrize("claim", [replaced_at_once, two_added_at_once, siblings_of_single_changes])
def test_what_need_not_meet_is_refuted(claim: Any) -> None:
    assert refutable(quorums.negated(claim))


SERVERS = [ServerId(i) for i in range(1, 5)]
SETS = [
    frozenset(chosen) for size in range(1, 5) for chosen in itertools.combinations(SERVERS, size)
]


def test_quorums_of_the_proof_are_those_of_spec() -> None:
    finite = quorums.Finite()
    cases = 0
    for old, voters in itertools.product(SETS, SETS):
        assert quorums.is_quorum(finite, voters, (old,)) == is_quorum(
            Configuration(old=old), voters
        )
        for new in SETS:
            joint = Configuration(old=old, new=new)
            assert quorums.is_quorum(finite, voters, (old, new)) == is_quorum(joint, voters)
            cases += 1
    assert cases == 15**3


@pytest.mark.parametrize("claim", quorums.NEAR, ids=lambda claim: claim.__name__)
def test_claims_about_quorums_hold_for_small_sets(claim: Any) -> None:
    """The same text that was proved for sets of any size, brute force."""
    configurations = len(signature(claim).parameters) - 3
    sets = SETS if configurations < 3 else SETS[:10]
    for chosen in itertools.product(sets, repeat=2 + configurations):
        assert claim(quorums.Finite(), *chosen) is True


@pytest.mark.parametrize("condition", [name for name, _ in reductions.SIDE_CONDITIONS])
def test_every_side_condition_of_the_reductions_is_needed(condition: str) -> None:
    solve = with_z3(limit_s=2.0)
    weaker = [
        replace(o, hypotheses=[(n, h) for n, h in o.hypotheses if n != condition])
        for o in reductions.obligations()
    ]
    assert any(solve(o).status != "proved" for o in weaker)


def test_the_proof_knows_nothing_of_the_server() -> None:
    for path in PROOF.glob("*.py"):
        assert "impl" not in path.read_text(encoding="utf-8").split(), path
    assert membership.NEAR in JOINT.consequences
