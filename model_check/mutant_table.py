"""The kill table: every known bug is explored, and must end as ``raft_mutants`` expects."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from typing import assert_never, cast

from model_check.check import EXIT_MUTANTS, EXIT_OK, check
from model_check.raft_disks import DiskRules
from model_check.raft_mutants import (
    MUTANTS,
    Control,
    Killed,
    Mutant,
    NotExpressible,
    Scripted,
    load,
    load_rooms,
    model_of,
    play,
)

HEADER = (
    "| mutant | the bug | ends | by | servers / terms / log | steps | states | s |\n"
    "|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How one mutant ended."""

    mutant: Mutant
    as_expected: bool
    ends: str
    by: str = ""
    bounds: str = ""
    steps: str = ""
    states: str = ""
    seconds: float | None = None

    def __str__(self) -> str:
        """The row of the table, in Markdown."""
        seconds = "" if self.seconds is None else f"{self.seconds:.1f}"
        cells = (self.mutant.name, self.mutant.title, self.ends, self.by, self.bounds)
        return "| " + " | ".join((*cells, self.steps, self.states, seconds)) + " |"


def run(mutant: Mutant, workers: int) -> Row:
    """Explore one mutant, if it can be made."""
    match mutant.verdict:
        case NotExpressible(reason=reason):
            return Row(mutant=mutant, as_expected=True, ends=f"not expressible here: {reason}")
        case Scripted() as scripted:
            return _scripted(mutant, scripted)
        case Killed() | Control():
            return _explored(mutant, mutant.verdict, workers)
        case _:
            assert_never(mutant.verdict)


def _scripted(mutant: Mutant, scripted: Scripted) -> Row:
    found = play(scripted, load(mutant))
    return Row(
        mutant=mutant,
        as_expected=found == scripted.by,
        ends="killed by a scripted schedule",
        by=f"`{found}`" if found else "nothing",
        bounds=f"{scripted.servers} servers",
        steps=str(len(scripted.schedule)),
    )


def _explored(mutant: Mutant, expected: Killed | Control, workers: int) -> Row:
    rooms = load_rooms(mutant)
    model = model_of(
        expected,
        rooms["spec.raft"].step,
        cast(DiskRules, rooms["spec.disk"]),
        rooms["spec.clients"],
    )
    bounds = model.bounds
    only = [expected.by] if isinstance(expected, Killed) and expected.alone else []
    result = check(model, workers=workers, only=only)
    found = ", ".join(result.missing_witnesses)
    if result.trace and result.trace.clash:
        found = result.trace.clash.property.name
    elif result.dead_end:
        found = result.dead_end.goal.name
    match expected:
        case Killed(by=by):
            as_expected = result.exit_code != EXIT_OK and by in found.split(", ")
            ends = "killed" if result.trace else "killed: the witness is not reached"
            ends = "killed: a dead end" if result.dead_end else ends
            ends = ends if result.exit_code != EXIT_OK else "survives"
            found = by if as_expected else found
        case Control(reason=reason):
            as_expected = result.exit_code == EXIT_OK
            ends = f"control: {reason}"
    return Row(
        mutant=mutant,
        as_expected=as_expected,
        ends=ends,
        by=f"`{found}`" if found else "nothing",
        bounds=f"{bounds.servers} / {bounds.terms} / {bounds.log_length}"
        + (" server profile" if expected.profile == "server" else "")
        + (f" membership {expected.config_changes}" if expected.config_changes else "")
        + (f" pending writes {expected.pending_writes}" if expected.pending_writes else "")
        + (" not settled" if isinstance(expected, Killed) and not expected.settled else "")
        + (f" snapshots {expected.snapshots}" if expected.snapshots else "")
        + "".join(f" {feature}" for feature in model.features)
        + (f" {expected.clients.in_short()}" if expected.clients else ""),
        steps=str(result.depth) if result.trace else "",
        states=f"{result.states:,}",
        seconds=result.seconds,
    )


def run_all(workers: int, *, quiet: bool) -> int:
    """Explore all mutants and print the table; 1 if a row does not end as expected."""
    if not quiet:
        print(HEADER)
    failed = []
    for mutant in MUTANTS:
        row = run(mutant, workers)
        if not quiet:
            print(row, flush=True)
        if not row.as_expected:
            failed.append(row)
    for row in failed:
        print(f"model_check: not as expected: {row}", file=sys.stderr)
    print(f"\n{len(MUTANTS) - len(failed)} of {len(MUTANTS)} mutants end as expected")
    return EXIT_MUTANTS if failed else EXIT_OK


def catalogue() -> str:
    """All mutants, with where each bug was seen."""
    lines = []
    for mutant in MUTANTS:
        lines.append(f"{mutant.name:5} {mutant.title}")
        seen = f"seen in: {mutant.seen_in}"
        lines.append(textwrap.fill(seen, 100, initial_indent=" " * 6, subsequent_indent=" " * 6))
    return "\n".join(lines)
