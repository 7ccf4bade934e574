"""``python -m model_check``: what it prints, writes and returns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model_check.__main__ import main

ROOT = Path(__file__).parent.parent
SMALL = ["--servers", "3", "--terms", "2", "--log-length", "1"]


def run(*arguments: str, seed: str = "0") -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "model_check", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=False,
    )


def test_an_exhausted_run_says_so_and_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SMALL) == 0
    out = capsys.readouterr().out
    assert out.index("hides what") < out.index("exhausted: ")
    assert "messages are lost, duplicated, reordered and delayed" in out
    assert "NEVER FIRED" not in out
    assert "VIOLATED" not in out
    assert "side conditions of obsolete:" in out


def test_the_json_has_the_promised_members(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert main([*SMALL, "--quiet", "--json", str(path)]) == 0
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert found["schema_version"] == 1
    assert (found["result"], found["exit_code"]) == ("exhausted", 0)
    assert found["bounds"] == {"servers": 3, "terms": 2, "log_length": 1}
    assert (found["profile"], found["reduction"], found["trace"]) == ("paper", "full", None)
    for name in ("states", "transitions", "depth", "seconds", "spec_evaluations"):
        assert found[name] > 0
    assert found["peak_memory_bytes"] > 1 << 20
    assert all(p["holds"] for p in found["properties"].values())
    assert found["properties"]["leader_completeness"]["non_vacuous"] > 0
    assert found["witnesses"]["two_leaders"] == {"reached": True, "expected": True}
    assert not found["witnesses"]["older_entry_committed"]["expected"]
    assert all(a["evaluated"] for a in found["actions"].values())
    assert set(found["side_conditions"]) == {"symmetry", "obsolete"}


def test_a_limit_ends_with_3_and_never_looks_like_a_pass(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    assert (
        main(["--servers", "3", "--terms", "2", "--max-states", "1000", "--json", str(path)]) == 3
    )
    out = capsys.readouterr().out
    assert "stopped at 1,000 states (--max-states): nothing is known" in out
    assert "exhausted" not in out
    assert json.loads(path.read_text(encoding="utf-8"))["result"] == "stopped"
    assert main(["--max-seconds", "0.001", "--quiet"]) == 3
    assert main(["--max-memory", "1M", "--quiet"]) == 3


def test_a_violation_is_told_step_by_step(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "trace.txt"
    assert main(["--mutant", "B07", "--trace", str(path)]) == 12
    out = capsys.readouterr().out
    trace = path.read_text(encoding="utf-8")
    assert trace.strip() in out
    assert "  1. S" in trace
    assert "current_term: 0 -> 1" in trace
    assert "is violated." in trace


def test_one_property_can_be_judged_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--mutant", "B03", "--property", "election_safety"]) == 12
    out = capsys.readouterr().out
    assert "violated: Election Safety (election_safety)" in out
    assert "a = Elected(term=1" in out
    assert "b = Elected(term=1" in out
    assert "leader_completeness" not in out


def test_all_parts_can_be_explored_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--servers", "2", "--terms", "1", "--log-length", "2", "--commands", "1"]
    assert main([*arguments, "--with", "all"]) == 0
    out = capsys.readouterr().out
    for said in ("membership:", "pending writes", "snapshots:", "transfer:", "reads:", "sessions:"):
        assert f"\n  {said}" in out


def test_facts_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--no-facts"]) == 0
    assert "leader_completeness" not in capsys.readouterr().out


BAD = {
    ("--servers", "0"): "0 is out of range: it must be from 1 to 9",
    ("--terms", "x"): "'x' is not a whole number",
    ("--terms", "-1"): "-1 is out of range",
    ("--reduction", "magic"): "unknown reduction 'magic'",
    ("--mutant", "B999"): "B999",
    ("--property", "no_such"): "unknown property 'no_such'",
    ("--profile", "fast"): "invalid choice: 'fast'",
    ("--json", "/nonexistent/out.json"): "cannot write /nonexistent/out.json",
    ("--trace", "/nonexistent/out.txt"): "cannot write /nonexistent/out.txt",
    ("--max-seconds", "soon"): "'soon' is not a number of seconds",
    ("--max-memory", "lots"): "'lots' is no size",
    ("--workers", "0"): "0 is out of range",
    ("--model", "nowhere.py:Model"): "there is no Python file nowhere.py",
    ("--model", "README.md"): "give a file and a name",
    ("--model", "examples/two_phase_commit.py:Nothing"): "has no attribute 'Nothing'",
    ("--model", "examples/two_phase_commit.py:Manager"): "Manager is no model_check.Model",
    ("--model", "examples/two_phase_commit.py:TwoPhaseCommit", "--terms", "3"): "--terms is about",
    ("--no-such-option",): "unrecognized arguments: --no-such-option",
}


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_bad_usage_gets_one_clear_line_and_exit_2(
    arguments: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert BAD[arguments] in error
    assert error.count("\n") == 1


def test_a_malformed_model_on_the_command_line_gets_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text(
        "from model_check import Model, Outcome\n"
        "class Odd(Model):\n"
        "    processes = (1, 2)\n"
        "    def initial_states(self): return [([], [])]\n"
        "    def deliver(self, process, state, source, message): return Outcome(state=state)\n",
        encoding="utf-8",
    )
    found = run("--model", f"{path}:Odd")
    assert found.returncode == 2
    assert "a state is not hashable" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_foreign_model_runs_from_the_command_line() -> None:
    found = run("--model", "examples/two_phase_commit.py:TwoPhaseCommit", "--reduction", "none")
    assert found.returncode == 0
    assert "states 288 " in found.stdout


def test_the_outcome_does_not_depend_on_workers_or_hash_seed(tmp_path: Path) -> None:
    outcomes = []
    for number, (workers, seed) in enumerate([("1", "0"), ("2", "1"), ("3", "12345")]):
        path = tmp_path / f"{number}.json"
        arguments = [*SMALL[:4], "--log-length", "2", "--workers", workers, "--json", str(path)]
        assert run(*arguments, "--mutant", "B07", seed=seed).returncode == 12
        violated = json.loads(path.read_text(encoding="utf-8"))
        assert run(*arguments, seed=seed).returncode == 0
        exhausted = json.loads(path.read_text(encoding="utf-8"))
        for found in (violated, exhausted):
            del found["seconds"], found["peak_memory_bytes"], found["bytes_per_state"]
        outcomes.append((violated, exhausted))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_the_version_and_the_help_are_there() -> None:
    assert run("--version").stdout.startswith("model_check ")
    text = run("--help").stdout
    for code in ("12 ", "13 ", "3 ", "130", "70"):
        assert f"\n  {code}" in text


def test_interrupting_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "model_check", "--terms", "9", "--json", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any("depth" in line for line in process.stderr)  # it is compiled, and explores
    process.send_signal(2)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: nothing is known" in out
    assert json.loads(path.read_text(encoding="utf-8"))["result"] == "interrupted"
