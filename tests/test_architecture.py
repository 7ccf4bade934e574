"""Laws about the source: who may import whom, how claims are written, how long functions are."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest

from spec.invariants import PROPERTIES, WITNESSES, Claim
from spec.progress import GOALS, Goal

ROOT = Path(__file__).parent.parent
PACKAGES = ("spec", "model_check", "impl")
OTHERS = ("examples", "benchmarks", "tests")
READING_ORDER = (
    "entries",
    "records",
    "state",
    "messages",
    "events",
    "log",
    "quorum",
    "membership",
    "snapshot",
    "elections",
    "reads",
    "raft",
    "cluster",
    "disk",
    "sessions",
    "clients",
    "relevance",
    "invariants",
    "progress",
)
IMPURE = {"asyncio", "socket", "time", "random", "os", "logging"}
TEST_ONLY = {"hypothesis", "pytest"}
MAY_IMPORT = {
    "spec": {"spec"},
    "model_check": {"spec", "model_check"},
    "impl": {"spec", "impl"},
}


def sources(package: str) -> list[Path]:
    """The files of one package."""
    return sorted((ROOT / package).rglob("*.py"))


def imports(source: str) -> set[str]:
    """Every module that the source names in an import, wherever it stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, "imports are absolute"
                assert module is not None
                found |= {module} | {f"{module}.{alias.name}" for alias in names}
    return found


def roots(source: str) -> set[str]:
    """The top-level packages that the source imports."""
    return {name.partition(".")[0] for name in imports(source)}


def functions(source: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions of the source."""
    nodes = ast.walk(ast.parse(source))
    return [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


SPEC_FILES = pytest.mark.parametrize("path", sources("spec"), ids=lambda p: p.stem)
EACH_CLAIM = pytest.mark.parametrize("claim", PROPERTIES + WITNESSES, ids=lambda c: c.name)


def test_reading_order_is_the_one_that_spec_promises() -> None:
    text = (ROOT / "spec" / "__init__.py").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\d+\. ``(\w+)``", text, re.MULTILINE)) == READING_ORDER
    assert {p.stem for p in sources("spec")} == {*READING_ORDER, "__init__"}


@SPEC_FILES
def test_spec_imports_only_itself_and_the_standard_library(path: Path) -> None:
    assert roots(path.read_text(encoding="utf-8")) <= {"spec"} | sys.stdlib_module_names - IMPURE


@SPEC_FILES
def test_spec_file_imports_only_files_above_it(path: Path) -> None:
    named = {name for name in imports(path.read_text(encoding="utf-8")) if name.startswith("spec.")}
    above = READING_ORDER[: READING_ORDER.index(path.stem)] if path.stem in READING_ORDER else ()
    assert {name.split(".")[1] for name in named} <= set(above)


@pytest.mark.parametrize("package", PACKAGES)
def test_checker_and_server_do_not_know_each_other_or_the_tests(package: str) -> None:
    for path in sources(package):
        ours = roots(path.read_text(encoding="utf-8")) & {*PACKAGES, *OTHERS}
        assert ours <= MAY_IMPORT[package], path


@pytest.mark.parametrize("package", PACKAGES)
def test_test_libraries_stay_in_tests(package: str) -> None:
    for path in sources(package):
        assert not roots(path.read_text(encoding="utf-8")) & TEST_ONLY, path


@SPEC_FILES
def test_functions_of_spec_fit_on_a_screen(path: Path) -> None:
    for function in functions(path.read_text(encoding="utf-8")):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < 50, function.name


@SPEC_FILES
def test_public_functions_of_spec_say_what_they_do(path: Path) -> None:
    for function in functions(path.read_text(encoding="utf-8")):
        if not function.name.startswith("_") and function.name != "register":
            assert ast.get_docstring(function), function.name


@pytest.mark.parametrize("claim", [*PROPERTIES, *WITNESSES, *GOALS], ids=lambda c: c.name)
def test_claim_cites_paper_and_thesis(claim: Claim | Goal) -> None:
    assert re.search(r"§\d|Fig\. \d", claim.paper)
    assert re.search(r"D\d|D Fig\. \d|App\. B", claim.thesis)
    assert claim.title


@EACH_CLAIM
def test_claim_begins_with_a_sentence(claim: Claim) -> None:
    text = inspect.getdoc(claim.predicate)
    assert text is not None
    assert text.split("\n\n")[0].endswith(".")


@pytest.mark.parametrize("claim", PROPERTIES, ids=lambda c: c.name)
def test_property_says_where_it_is_not_vacuous(claim: Claim) -> None:
    text = inspect.getdoc(claim.predicate) or ""
    assert len(re.findall(r"[.](?:\s|$)", text)) > 1
    assert "Non-vacuous" in text


def test_claims_have_different_names_and_titles() -> None:
    claims = PROPERTIES + WITNESSES
    names = [*(c.name for c in claims), *(g.name for g in GOALS)]
    titles = [*(c.title for c in claims), *(g.title for g in GOALS)]
    assert len(set(names)) == len(set(titles)) == len(names)


def test_every_goal_is_said_in_a_sentence() -> None:
    assert all(goal.sentence.endswith(".") for goal in GOALS)


def test_only_witnesses_say_what_they_need() -> None:
    assert all(claim.needs is None for claim in PROPERTIES)
    assert all(claim.needs is not None for claim in WITNESSES)


def test_every_public_claim_is_registered() -> None:
    source = (ROOT / "spec" / "invariants.py").read_text(encoding="utf-8")
    decorated = {f.name for f in functions(source) if f.decorator_list}
    assert decorated == {c.name for c in PROPERTIES + WITNESSES}


def test_law_would_notice_a_breach() -> None:
    hidden = "def f():\n    import random.x\n    from model_check import kernel\n"
    assert roots(hidden) == {"random", "model_check"}
    assert imports("from spec import raft") == {"spec", "spec.raft"}
