"""``python -m model_check.raft_features``: each part of Raft alone, and the pairs that interact.

Each row is a run of the command line in a process of its own, with every property, goal, fact and
side condition; its progress is shown. ``--write`` puts the rows that were run into the table of
proofs.md, where the others stay as they are; ``--only TEXT`` runs those whose command has the text.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_check.bench import replace_between

BEGIN = "<!-- begin: python -m model_check.raft_features --write -->"
END = "<!-- end: features -->"
HEADER = (
    "| `python -m model_check` ... | states | transitions | depth | s | MiB | ends |\n"
    "|---|---|---|---|---|---|---|"
)
DOCUMENT = Path("proofs.md")
ALONE = (
    "--servers 3 --terms 2 --log-length 2",
    "--servers 3 --terms 2 --log-length 3 --with membership",
    "--servers 3 --terms 2 --log-length 3 --with learners",
    "--servers 3 --terms 2 --log-length 2 --with single-server",
    "--servers 3 --terms 2 --log-length 2 --with snapshot",
    "--servers 3 --terms 2 --log-length 2 --with parallel-write",
    "--servers 3 --terms 2 --log-length 2 --with pre-vote",
    "--servers 3 --terms 2 --log-length 2 --with transfer",
    "--servers 3 --terms 2 --log-length 2 --with reads",
    "--servers 3 --terms 2 --log-length 2 --with sessions",
    "--servers 3 --terms 2 --log-length 2 --profile server",
    "--servers 3 --terms 3 --log-length 2 --profile server",
)
PAIRS = (
    "--servers 3 --terms 2 --log-length 3 --with membership,snapshot",
    "--servers 3 --terms 2 --log-length 2 --with snapshot,parallel-write",
    "--servers 3 --terms 2 --log-length 3 --with membership,pre-vote",
    "--servers 3 --terms 2 --log-length 4 --with membership,transfer",
    "--servers 3 --terms 2 --log-length 1 --with reads,transfer",
    "--servers 3 --terms 2 --log-length 2 --with sessions,snapshot --commands 1",
    "--servers 3 --terms 2 --log-length 1 --with pre-vote,transfer",
)


def measure(arguments: str, more: Sequence[str]) -> tuple[str, bool]:
    """Explore one row; a line of the table, and whether nothing was found to be wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.json"
        command = [sys.executable, "-m", "model_check", *arguments.split(), *more]
        done = subprocess.run(
            [*command, "--json", str(path)], check=False, stdout=subprocess.DEVNULL
        )
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    line = (
        f"| `{arguments}` | {found['states']:,} | {found['transitions']:,} | {found['depth']} "
        f"| {found['seconds']:.0f} | {found['peak_memory_bytes'] / 2**20:,.0f} "
        f"| {found['result']} |"
    )
    return line, done.returncode == 0


def known() -> dict[str, str]:
    """The rows of the document, by their commands."""
    _, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    lines = [line for line in rest.partition(END)[0].splitlines() if line.startswith("| `--")]
    return {line.split("`")[1]: line for line in lines}


def main() -> int:
    """Print the rows, and write them where they belong if asked to; 1 if one is not as it must."""
    parser = argparse.ArgumentParser(prog="python -m model_check.raft_features")
    parser.add_argument("--write", action="store_true", help="write the rows to proofs.md")
    parser.add_argument("--only", default="", metavar="TEXT", help="only commands with this text")
    parser.add_argument("--workers", metavar="N", help="threads (default: all cores)")
    options = parser.parse_args()
    more = ["--workers", options.workers] if options.workers else []
    rows = known()
    all_well = True
    print(HEADER, flush=True)
    for arguments in (a for a in (*ALONE, *PAIRS) if options.only in a):
        print(f"\n{arguments}", file=sys.stderr)
        rows[arguments], is_well = measure(arguments, more)
        all_well &= is_well
        print(rows[arguments], flush=True)
        if options.write:
            table = [rows[a] for a in (*ALONE, *PAIRS) if a in rows]
            replace_between(BEGIN, END, "\n".join((HEADER, *table)), DOCUMENT)
    return 0 if all_well else 1


if __name__ == "__main__":
    sys.exit(main())
