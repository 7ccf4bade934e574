"""What the documents say is what the programs print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from model_check import prove, raft_features
from model_check.__main__ import main
from model_check.proof.prover import obligations
from model_check.proof.theory import THEORIES
from model_check.raft_mutants import MUTANTS

ROOT = Path(__file__).parent.parent
PROOFS = (ROOT / "proofs.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(--servers [^`]+)` \| ([\d,]+) \| ([\d,]+) \| (\d+) \|$", re.MULTILINE)
GAIN = re.compile(r"^\| ([a-z,]+) \| ([\d,]+) \| ([\d,]+) \|$", re.MULTILINE)


def rows_of(pattern: re.Pattern[str], text: str = PROOFS, few: int = 60_000) -> list[ParameterSet]:
    """The rows of a table; those of many states take long, those of most are not run again."""
    found = []
    for match in pattern.finditer(text):
        number = int(match[2].replace(",", ""))
        if number < 2_000_000:
            marks = [pytest.mark.long] if number > few else []
            found.append(pytest.param(match.groups(), marks=marks, id=match[1]))
    assert len(found) >= 5
    return found


@pytest.mark.parametrize("row", rows_of(ROW))
def test_exhausted_rows_are_what_a_run_finds(
    row: tuple[str, str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, states, transitions, depth = row
    assert main(arguments.split()) == 0
    out = capsys.readouterr().out
    assert f"states {states}   transitions {transitions} " in out
    assert f"depth {depth} " in out


@pytest.mark.parametrize("row", rows_of(GAIN))
def test_gains_are_what_a_run_finds(
    row: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    reduction, states, transitions = row
    assert main(["--terms", "1", "--log-length", "2", "--reduction", reduction]) == 0
    assert f"states {states}   transitions {transitions} " in capsys.readouterr().out


def test_the_mutant_table_has_every_mutant_in_order() -> None:
    table = PROOFS[PROOFS.index("<!-- begin: python -m model_check --all-mutants") :]
    table = table.split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")][1:]
    assert [(name.strip(), bug.strip()) for name, bug in rows] == [
        (mutant.name, mutant.title) for mutant in MUTANTS
    ]


def test_the_table_of_features_has_every_row_in_order() -> None:
    table = PROOFS[PROOFS.index(raft_features.BEGIN) : PROOFS.index(raft_features.END)]
    rows = re.findall(r"^\| `(--[^`]+)` \| .* \| exhausted \|$", table, re.MULTILINE)
    assert tuple(rows) == raft_features.ALONE + raft_features.PAIRS


def test_the_readme_names_files_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", readme):
        assert (ROOT / target).exists(), target


def test_the_lemmas_in_the_documents_are_those_that_are_proved() -> None:
    begin, end = "<!-- begin: python -m model_check prove --list -->\n", "\n<!-- end -->"
    start = PROOFS.index(begin) + len(begin)
    assert PROOFS[start : PROOFS.index(end, start)] == prove.list_lemmas()


def test_every_lemma_is_in_the_list() -> None:
    listed = {lemma.name for group in prove.GROUPS.values() for lemma in group}
    for theory in THEORIES.values():
        assert {x.name for x in (*theory.axioms, *theory.lemmas, *theory.consequences)} <= listed


def test_the_sizes_of_the_proofs_are_those_in_the_documents() -> None:
    row = re.compile(r"^\| `([a-z-]+)` \| [^|]+ \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
    told = {name: tuple(map(int, sizes)) for name, *sizes in row.findall(PROOFS)}
    assert told == {
        name: (len(t.lemmas), len(t.actions), len(list(obligations(t))))
        for name, t in THEORIES.items()
    }


POSSIBLE = re.compile(r"^\| `(--servers [^`]+)` \| ([\d,]+) \| (.*) \|$", re.MULTILINE)


@pytest.mark.parametrize("row", rows_of(POSSIBLE, PROOFS.split("\n## 8.")[1], few=9_000))
def test_what_is_judged_possible_is_what_a_run_finds(
    row: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, judged, rest = row
    assert main(arguments.split()) == 0
    told = re.findall(r"^leader_can_\w+ +([\d,]+) +([\d,]+) +(.*)$", capsys.readouterr().out, re.M)
    assert {goal[0] for goal in told} == {judged}
    found = [[applicable, *_exchanges(remark)] for _, applicable, remark in told]
    assert " | ".join(found[0] + found[1]) == rest


def _exchanges(remark: str) -> list[str]:
    """The lengths of schedules, and how many tuples were searched completely."""
    lengths, _, searched = remark.partition(", ")
    return [lengths, searched.split()[0] if searched else "0"]
