"""``python -m model_check prove``: all obligations of the unbounded proof, and their table."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model_check.check import EXIT_OK, EXIT_STOPPED, EXIT_VIOLATED
from model_check.proof import (
    counterexample,
    lemmas,
    membership,
    quorums,
    reads,
    reductions,
    snapshots,
)
from model_check.proof.abstraction import NotRefined
from model_check.proof.lemmas import Lemma
from model_check.proof.prover import (
    Answer,
    Obligation,
    Solver,
    guards,
    obligations,
    smt_lib,
    solver_version,
    with_cvc5,
    with_z3,
)
from model_check.proof.runs import Counts, LemmaBroken, Runs
from model_check.proof.theory import (
    THEORIES,
    WHOLE,
    Theory,
    theory_about,
    without_guard,
    without_lemma,
)
from model_check.raft_model import Bounds, Membership, Snapshots

OF_ANYTHING: dict[str, tuple[str, Callable[[], Iterator[Obligation]]]] = {
    "quorums": ("quorums of finite sets share a server", quorums.obligations),
    "reductions": ("dropping and merging messages loses nothing", reductions.obligations),
}
"""What is proved of no particular protocol: no theory, but chosen like one."""

PARTS = [name for name in THEORIES if name != WHOLE.name]
"""The proofs of which the whole is put together: in these nothing is idle."""
SOLVERS: dict[str, Callable[[int, float], Solver]] = {"z3": with_z3, "cvc5": with_cvc5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to prove, and how."""

    theories: Sequence[str]
    solver: str
    seed: int
    limit_s: float
    only: Sequence[str]
    """Obligations whose name contains all of these; names are theory/lemma/action."""

    def selected(self, theory: str) -> list[Obligation]:
        """The obligations of a theory that are to be proved."""
        all_ = OF_ANYTHING[theory][1]() if theory in OF_ANYTHING else obligations(THEORIES[theory])
        return [o for o in all_ if all(part in o.name for part in self.only)]


Answered = list[tuple[Obligation, Answer]]


class Progress:
    """How far it is, on the standard error output."""

    def __init__(self, quiet: bool) -> None:
        """Say nothing if ``quiet``."""
        self.quiet = quiet
        self.told = 0.0

    def __call__(self, title: str, done: int, total: int, open_: int) -> None:
        """Tell it once a second, or on one line of a terminal, and at the end."""
        now = time.monotonic()
        if self.quiet or (now - self.told < 1 and done < total):
            return
        self.told = now
        left = f", {open_} open" if open_ else ""
        end = "\r" if sys.stderr.isatty() and done < total else "\n"
        print(f"{title}: {done} of {total} obligations{left}", end=end, file=sys.stderr, flush=True)


def run(plan: Plan, json_path: str | None, quiet: bool) -> int:
    """Prove everything, print the tables, return the exit code."""
    started = time.process_time()
    progress = Progress(quiet)
    ask = SOLVERS[plan.solver](plan.seed, plan.limit_s)
    answered: Answered = []
    for theory in plan.theories:
        found: Answered = []
        selected = plan.selected(theory)
        for obligation in selected:
            found.append((obligation, answer(obligation, ask, plan.limit_s)))
            open_ = sum(a.status != "proved" for _, a in found)
            progress(theory, len(found), len(selected), open_)
        if not quiet and found:
            print(f"\n{title(theory)}\n{table(found)}\n")
        answered += found
    seconds = time.process_time() - started
    print(verdict(plan, answered, seconds))
    if json_path is not None:
        Path(json_path).write_text(to_json(plan, answered, seconds), encoding="utf-8")
    return exit_code(answered)


def answer(obligation: Obligation, ask: Solver, limit_s: float) -> Answer:
    """What the solver says; if it gives up, whether a small state refutes the obligation."""
    said = ask(obligation)
    if said.status != "unknown" or obligation.theory not in THEORIES:
        return said
    found = counterexample.find(THEORIES[obligation.theory], obligation, limit_s)
    return said if found is None else replace(said, status="refuted", counterexample=tuple(found))


def title(theory: str) -> str:
    """What is proved, in words."""
    return OF_ANYTHING[theory][0] if theory in OF_ANYTHING else THEORIES[theory].title


def exit_code(answered: Answered) -> int:
    """0 if all are proved, 12 if one is refuted, 3 if one stays open."""
    statuses = {answer.status for _, answer in answered}
    if "refuted" in statuses:
        return EXIT_VIOLATED
    return EXIT_STOPPED if "unknown" in statuses else EXIT_OK


def table(answered: Answered) -> str:
    """Lemmas down, actions across, milliseconds in the cells."""
    columns = list(dict.fromkeys(obligation.action for obligation, _ in answered))
    rows = list(dict.fromkeys(obligation.lemma for obligation, _ in answered))
    cells = {(o.lemma, o.action): _cell(a) for o, a in answered}
    width = max(len(row) for row in rows)
    lines = [f"{letter}  {action}" for letter, action in zip(_letters(), columns, strict=False)]
    lines += [
        "",
        " " * width + "".join(f"{c:>5}" for c, _ in zip(_letters(), columns, strict=False)),
    ]
    lines += [
        row.ljust(width) + "".join(f"{cells.get((row, c), ''):>5}" for c in columns) for row in rows
    ]
    return "\n".join([*lines, "(milliseconds; ? open, X refuted)"])


def _letters() -> Iterator[str]:
    return iter("abcdefghijklmnopqrstuvwxyz")


def _cell(answer: Answer) -> str:
    marks = {"unknown": "?", "refuted": "X"}
    return marks.get(answer.status, f"{1000 * answer.seconds:.0f}")


def verdict(plan: Plan, answered: Answered, seconds: float) -> str:
    """One line; before it, every obligation that is not proved."""
    open_ = [(o, a) for o, a in answered if a.status != "proved"]
    lines = ["\n    ".join([f"{a.status}: {o.name}", *a.counterexample]) for o, a in open_]
    proved = len(answered) - len(open_)
    slowest = max((a.seconds for _, a in answered), default=0.0)
    return "\n".join(
        [
            *lines,
            f"{proved} of {len(answered)} obligations proved by {solver_version(plan.solver)}, "
            f"seed {plan.seed}, in {seconds:.1f} s of processor time; "
            f"the slowest took {slowest:.2f} s",
        ]
    )


def to_json(plan: Plan, answered: Answered, seconds: float) -> str:
    """Every obligation with its status and time."""
    return (
        json.dumps(
            {
                "solver": solver_version(plan.solver),
                "seed": plan.seed,
                "seconds": round(seconds, 3),
                "obligations": [
                    {
                        "theory": o.theory,
                        "lemma": o.lemma,
                        "action": o.action,
                        "status": a.status,
                        "seconds": round(a.seconds, 4),
                    }
                    for o, a in answered
                ],
            },
            indent=2,
        )
        + "\n"
    )


def export(plan: Plan, directory: str) -> int:
    """Write each query as an SMT-LIB script; returns how many."""
    count = 0
    for theory in plan.theories:
        for obligation in plan.selected(theory):
            path = Path(directory) / f"{obligation.name}.smt2"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(smt_lib(obligation), encoding="utf-8")
            count += 1
    return count


# --- What is proved, in words -------------------------------------------------------------------

GROUPS: dict[str, Sequence[Lemma]] = {
    "taken for granted, and proved of finite sets": [*lemmas.AXIOMS, *membership.AXIOMS],
    "basic Raft": lemmas.LEMMAS,
    "reads and membership": [*lemmas.FOR_READS, *lemmas.FOR_MEMBERSHIP],
    "snapshots": snapshots.LEMMAS,
    "membership": [*membership.ORIGINS, *membership.SPANS],
    "reads": [*reads.LEMMAS, *reads.FOR_MEMBERSHIP],
    "what follows": [*membership.with_steps(lemmas.CONSEQUENCES), *reads.CONSEQUENCES],
}


def list_lemmas() -> str:
    """Every lemma with its sentence and source, group by group."""
    rows = ["| of | lemma | says | paper |", "|---|---|---|---|"]
    rows += [
        f"| {group} | `{lemma.name}` | {lemma.sentence} | {lemma.paper} |"
        for group, members in GROUPS.items()
        for lemma in members
    ]
    return "\n".join(rows)


# --- The lemmas on states of spec ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cluster:
    """What runs of a cluster are bounded by."""

    bounds: Bounds
    changes: int = 0
    snapshots: int = 0
    rounds: int = 0

    def runs(self, profile: str) -> Runs:
        """Its runs, of the protocol that is about all that may happen there."""
        theory = theory_about(
            joint=self.changes > 0, snapshots=self.snapshots > 0, reads=self.rounds > 0
        )
        membership = Membership(changes=self.changes) if self.changes else None
        snapshots = Snapshots(count=self.snapshots) if self.snapshots else None
        return Runs(self.bounds, profile, theory, membership, snapshots, self.rounds)

    def __str__(self) -> str:
        sizes = (self.bounds.servers, self.bounds.terms, self.bounds.log_length)
        return " / ".join(map(str, (*sizes, self.changes, self.snapshots, self.rounds)))


EXHAUSTED = (
    Cluster(Bounds(servers=2, terms=1, log_length=2)),
    Cluster(Bounds(servers=2, terms=2, log_length=1)),
    Cluster(Bounds(servers=3, terms=1, log_length=0)),
    Cluster(Bounds(servers=2, terms=2, log_length=3), changes=1),
    Cluster(Bounds(servers=2, terms=1, log_length=2), snapshots=2),
    Cluster(Bounds(servers=2, terms=1, log_length=1), rounds=1),
)
WALKED = (
    Cluster(Bounds(servers=3, terms=3, log_length=3)),
    Cluster(Bounds(servers=5, terms=4, log_length=4)),
    Cluster(Bounds(servers=3, terms=3, log_length=5), changes=2),
    Cluster(Bounds(servers=4, terms=3, log_length=4), changes=1),
    Cluster(Bounds(servers=3, terms=3, log_length=3), snapshots=2),
    Cluster(Bounds(servers=3, terms=3, log_length=3), rounds=2),
    Cluster(Bounds(servers=3, terms=3, log_length=4), changes=1, snapshots=2, rounds=2),
)
WALKS, WALK_LENGTH = 20, 300


def run_states(seed: int) -> int:
    """Evaluate every lemma in plain states of small clusters. Prints the table."""
    of = "servers / terms / log / changes / snapshots / rounds"
    print(f"| {of} | which | states | steps | lemma evaluations | s |")
    print("|---|---|---|---|---|---|")
    try:
        for cluster in EXHAUSTED:
            started, runs = time.process_time(), cluster.runs("paper")
            _tell_counts(cluster, "all plain states", runs.exhaust(), started)
        for cluster in WALKED:
            started, runs = time.process_time(), cluster.runs("server")
            for walk in range(WALKS):
                runs.walk(WALK_LENGTH, seed + walk)
            which = f"{WALKS} random walks of {WALK_LENGTH} steps"
            _tell_counts(cluster, which, runs.counts, started)
    except (NotRefined, LemmaBroken) as error:
        print(f"refuted: {error}")
        return EXIT_VIOLATED
    return EXIT_OK


def _tell_counts(cluster: Cluster, which: str, counts: Counts, started: float) -> None:
    print(
        f"| {cluster} | {which} | {counts.states:,} "
        f"| {counts.transitions:,} | {counts.evaluations:,} "
        f"| {time.process_time() - started:.0f} |",
        flush=True,
    )


# --- Deleting what the proof rests on -----------------------------------------------------------


def first_lost(theory: Theory, action: str | None, solve: Solver) -> str | None:
    """The first obligation, of one action or at all, that is not proved."""
    lost = (f"{o.lemma}, {o.action}" for o in obligations(theory, action) if not proved(o, solve))
    return next(lost, None)


def proved(obligation: Obligation, solve: Solver) -> bool:
    """Does the solver prove it?"""
    return solve(obligation).status == "proved"


def run_mutants(plan: Plan) -> int:
    """Delete each guard and each lemma in turn; each must lose an obligation. Prints the table.

    The time for each query is ample, lest one be lost only because the machine is busy.
    """
    solve = SOLVERS[plan.solver](plan.seed, plan.limit_s)
    print("| proof | deleted | no longer proved, among others |\n|---|---|---|")
    survived = 0
    for theory in (THEORIES[name] for name in plan.theories if name in THEORIES):
        deletions: list[tuple[str, Theory, str | None]] = [
            (f"{action}: {guard}", without_guard(theory, action, guard), action)
            for action, guard in guards(theory)
        ]
        deletions += [
            (f"lemma {lemma.name}", without_lemma(theory, lemma.name), None)
            for lemma in (*theory.axioms, *theory.lemmas)
        ]
        for deleted, weak, action in deletions:
            lost = first_lost(weak, action, solve)
            survived += lost is None
            print(
                f"| {theory.name} | {deleted} | {f'`{lost}`' if lost else '**none**'} |", flush=True
            )
    print(f"\n{survived} could be deleted without a loss")
    return EXIT_VIOLATED if survived else EXIT_OK


def theory_names() -> tuple[str, ...]:
    """All that can be proved."""
    return (*THEORIES, *OF_ANYTHING)
