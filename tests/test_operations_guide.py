"""The operations guide is true: its commands are run, and print what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("processes")

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "operations.md"
MARK = "--- done ---"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the guide, and the output that is promised."""

    text: str
    output: tuple[str, ...]


def commands() -> Iterator[Command]:
    """Those in the blocks of the language ``console``."""
    for block in re.findall(r"^```console\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE):
        for chunk in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = chunk.splitlines()
            more = [line for line in lines[1:] if line.startswith("> ")]
            text = "\n".join([lines[0], *(line.removeprefix("> ") for line in more)])
            yield Command(text, tuple(lines[1 + len(more) :]))


def fits(promised: tuple[str, ...], printed: list[str]) -> bool:
    """Is it the same, where ``...`` stands for anything in a line?"""
    patterns = [".*".join(map(re.escape, line.split("..."))) for line in promised]
    return len(patterns) == len(printed) and all(
        re.fullmatch(pattern, line) for pattern, line in zip(patterns, printed, strict=True)
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_command_prints_what_the_guide_says(tmp_path: Path) -> None:
    interpreters = tmp_path / "bin"
    interpreters.mkdir()
    script = "import sys; from impl.__main__ import main; sys.argv[0] = 'raftctl'; main()"
    for name, more in (("python", ""), ("raftctl", f'-c "{script}"')):
        program = interpreters / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {more} "$@"\n')
        program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{interpreters}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    shell = subprocess.Popen(
        ["bash"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    typed, shown = shell.stdin, shell.stdout
    assert typed is not None
    assert shown is not None
    try:
        for command in commands():
            typed.write(f"{command.text}\necho '{MARK}'\n")
            typed.flush()
            printed = [line.rstrip("\n") for line in iter(shown.readline, f"{MARK}\n")]
            assert fits(command.output, printed), (command, printed)
    finally:
        os.killpg(shell.pid, 9)
        shell.communicate()
