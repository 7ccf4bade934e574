"""A search that was stopped, interrupted or killed goes on as if nothing had happened."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from model_check.__main__ import main
from model_check.check import Result, check
from model_check.checkpoint import CheckpointError, Directory
from model_check.estimate import states_to_come
from model_check.explore import Checkpoints, Limits, Search
from model_check.raft_model import Bounds, RaftModel
from model_check.raft_mutants import find, load
from model_check.tables import Reductions

BOUNDS = Bounds(servers=3, terms=2, log_length=1)
PROGRAM = """
import sys
from pathlib import Path
from model_check.check import check
from model_check.explore import Checkpoints
from model_check.raft_model import Bounds, RaftModel
model = RaftModel(Bounds(servers=3, terms=2, log_length=2))
check(model, workers=2, checkpoints=Checkpoints(directory=Path(sys.argv[1]), interval_s=0))
"""


def outcome(result: Result) -> tuple[Any, ...]:
    """All that must be equal, however often the search was stopped."""
    return (
        result.result,
        result.states,
        result.transitions,
        result.moves,
        result.depth,
        result.spec_evaluations,
        result.equivariance_evaluations,
        [(t.property.name, t.checked, t.non_vacuous, t.holds) for t in result.tallies],
        result.coverage,
        result.side_conditions,
    )


@pytest.mark.parametrize("reductions", [Reductions(), Reductions(saturation=False)], ids=str)
def test_stopped_again_and_again_it_finds_the_same(tmp_path: Path, reductions: Reductions) -> None:
    model = RaftModel(Bounds(servers=2, terms=2, log_length=1))
    wanted = outcome(check(model, reductions=reductions))
    stops = 0
    for limit in range(10, 100_000, 97):
        result = check(
            model,
            reductions=reductions,
            workers=1 + stops % 2,
            limits=Limits(states=limit),
            checkpoints=Checkpoints(directory=tmp_path / "here", resume=stops > 0),
        )
        if result.result != "stopped":
            break
        stops += 1
        assert result.exit_code == 3
        assert "--resume" in result.reason
    assert stops >= 2
    assert outcome(result) == wanted
    assert not Directory(tmp_path / "here").is_used(), "a finished search needs no checkpoint"


def test_killed_at_any_moment_it_goes_on(tmp_path: Path) -> None:
    model = RaftModel(Bounds(servers=3, terms=2, log_length=2))
    wanted = outcome(check(model))
    killed = 0
    for delay in (0.2, 0.5, 0.8):
        place = tmp_path / str(delay)
        with subprocess.Popen([sys.executable, "-c", PROGRAM, str(place)]) as process:
            deadline = time.monotonic() + 120
            while not Directory(place).is_used() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        if not Directory(place).is_used():
            continue  # it was done already
        killed += 1
        result = check(model, checkpoints=Checkpoints(directory=place, resume=True))
        assert outcome(result) == wanted
    assert killed


def test_interrupted_it_leaves_a_checkpoint(tmp_path: Path) -> None:
    place = tmp_path / "here"
    arguments = ["--servers", "3", "--terms", "3", "--checkpoint", str(place)]
    command = [sys.executable, "-m", "model_check", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not (place / "levels").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.stderr is not None
        for line in process.stderr:  # progress is told once the search is under way
            if "depth" in line:
                break
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"--resume {place}" in out
    assert Directory(place).is_used()


def stopped(place: Path) -> None:
    """Leave a checkpoint in a directory."""
    limits = Limits(states=2000)
    result = check(RaftModel(BOUNDS), limits=limits, checkpoints=Checkpoints(directory=place))
    assert result.result == "stopped"


def test_any_damage_is_refused(tmp_path: Path) -> None:
    stopped(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    for path in files:
        content = path.read_bytes()
        size = len(content)
        flips = [0, 1, size // 3, size // 2, size - 1]
        broken = [content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :] for i in flips]
        broken += [content[: size // 2], b"", content[:-1]]
        if path.name.startswith("tables"):
            broken.append(content + b"x")
        for bad in broken:
            path.write_bytes(bad)
            with pytest.raises(CheckpointError):
                Search(
                    RaftModel(BOUNDS),
                    reductions=Reductions(),
                    checkpoints=Checkpoints(directory=tmp_path, resume=True),
                )
        path.write_bytes(content)
        path.unlink()
        with pytest.raises(CheckpointError):
            Directory(tmp_path).load({})
        path.write_bytes(content)


def test_what_was_written_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    stopped(tmp_path)
    with (tmp_path / "levels").open("ab") as file:
        file.write(b"a level that a killed search had begun to write")
    result = check(RaftModel(BOUNDS), checkpoints=Checkpoints(directory=tmp_path, resume=True))
    assert outcome(result) == outcome(check(RaftModel(BOUNDS)))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--servers", "3", "--terms", "3", "--log-length", "1"], "it has model 'Raft, paper"),
        (["--servers", "3", "--terms", "2", "--log-length", "1", "--no-facts"], "it has facts"),
        (
            ["--servers", "3", "--terms", "2", "--log-length", "1", "--reduction", "symmetry"],
            "it has reductions 'full'",
        ),
        (
            ["--servers", "3", "--terms", "2", "--log-length", "1", "--mutant", "B07"],
            "the rules of the model have changed",
        ),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_foreign_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    stopped(tmp_path)
    assert main([*arguments, "--resume", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1


def test_misuse_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--resume", str(tmp_path / "none")]) == 2
    assert "there is no checkpoint in" in capsys.readouterr().err
    stopped(tmp_path / "used")
    assert main(["--checkpoint", str(tmp_path / "used")]) == 2
    assert "holds a checkpoint already" in capsys.readouterr().err
    assert main(["--checkpoint", "a", "--resume", "b"]) == 2
    (tmp_path / "file").write_text("")
    assert main(["--checkpoint", str(tmp_path / "file" / "inside")]) == 2


def test_a_violation_is_found_after_going_on(tmp_path: Path) -> None:
    model = RaftModel(Bounds(servers=3, terms=2, log_length=1), rules=load(find("B07")))
    wanted = check(model)
    assert wanted.trace is not None
    place = Checkpoints(directory=tmp_path)
    limits = Limits(states=wanted.states // 2)
    assert check(model, limits=limits, checkpoints=place).result == "stopped"
    found = check(model, checkpoints=Checkpoints(directory=tmp_path, resume=True))
    assert found.trace is not None
    assert found.trace.length == wanted.trace.length


def test_the_estimate_is_near_what_comes() -> None:
    search = Search(RaftModel(Bounds(servers=3, terms=2, log_length=2)), reductions=Reductions())
    search.run()
    sizes = [generation.count for generation in search.generations]
    assert states_to_come(sizes[:5]) is None
    for depth in range(len(sizes) * 2 // 3, len(sizes)):
        estimate = states_to_come(sizes[:depth])
        assert estimate is not None
        assert sum(sizes[depth:]) / 4 < estimate + 1000 < sum(sizes[depth:]) * 4 + 4000
