"""The command line: ``python -m model_check --servers 3 --terms 3``."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, cast

import spec.clients
from model_check.check import (
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    EXIT_VIOLATED,
    check,
)
from model_check.checkpoint import CheckpointError
from model_check.explore import Checkpoints, Limits
from model_check.model import AnyStep, Goal, Model, ModelError, Property
from model_check.mutant_table import catalogue, run_all
from model_check.raft_bounds import ClientBounds
from model_check.raft_claims import of_steps
from model_check.raft_disks import DISK_RULES, DiskRules
from model_check.raft_model import (
    FEATURES,
    PROFILES,
    TOGETHER,
    Bounds,
    Membership,
    ParallelWrite,
    RaftModel,
    Snapshots,
    Step,
)
from model_check.raft_mutants import (
    Control,
    Killed,
    NotExpressible,
    find,
    load_rooms,
    membership_of,
    parallel_write_of,
)
from model_check.report import (
    ProgressLine,
    counterexample,
    simulation_summary,
    summary,
    to_json,
    verdict,
)
from model_check.simulate import simulate
from model_check.tables import Reductions
from model_check.trace import CheckerFault
from spec.raft import step
from spec.state import Server, ServerId

OF_RAFT = ("servers", "terms", "log_length", "profile", "mutant")
"""Options that a model of somebody's own does not have."""
EPILOG = """\
python -m model_check simulate --help: random walks beyond exhaustible bounds
python -m model_check prove --help: the proof without bounds

exit codes:
  0    exhausted: every property holds, every expected witness was reached
  12   a property is violated; the counterexample is shown
  13   a witness that these bounds should reach was not reached
  14   a goal is not possible any more in a state that is reached: how to get there is shown
  3    stopped at a limit before the end: nothing is known of the rest
  1    --all-mutants: a mutant did not end as the table expects
  2    usage, or a malformed model
  130  interrupted
  70   a fault of the checker itself

Bounds are inclusive. The paper profile is Figure 2 and nothing more; the server profile is what
the server runs with by default: a leader begins its term with a no-op entry (section 8), servers
ask for pre-votes before an election (dissertation 9.6), disregard RequestVote while they hear a
leader (section 6), and a leader that no quorum answers steps down (dissertation 6.2).
"""

NETWORK = "messages are lost, duplicated, reordered and delayed without limit"
CRASHES = (
    "every server may crash and restart at any time, any number of times, keeping what it persisted"
)


class UsageError(Exception):
    """The command line cannot be carried out; the message says what to do, in one line."""


class _Parser(argparse.ArgumentParser):
    """One line about what is wrong, then exit 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _whole(least: int, most: int | None = None) -> Any:  # what argparse takes as a type
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if number < least or (most is not None and number > most):
            span = f"at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{number} is out of range: it must be {span}")
        return number

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text} is out of range: it must be above 0")
    return seconds


def _memory(text: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    number, unit = (text[:-1], units[text[-1].upper()]) if text[-1:].upper() in units else (text, 1)
    try:
        return int(_whole(1)(number)) * unit
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size: give bytes, or a number with K, M or G"
        ) from None


def _reductions(text: str) -> Reductions:
    if text == "full":
        return Reductions()
    names = [] if text == "none" else text.split(",")
    unknown = [name for name in names if name not in Reductions.NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown reduction {unknown[0]!r}: give full, none, or a comma list of "
            + ", ".join(Reductions.NAMES)
        )
    return Reductions(**{name: name in names for name in Reductions.NAMES})


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    bounds = parser.add_argument_group("bounds (each run says what they hide)")
    bounds.add_argument("--servers", type=_whole(1, 9), metavar="N", help="servers (default 3)")
    bounds.add_argument("--terms", type=_whole(1, 1000), metavar="N", help="last term (default 3)")
    bounds.add_argument(
        "--log-length",
        type=_whole(0, 1000),
        metavar="N",
        help="entries in a log (default 2; server profile: as many as terms)",
    )
    bounds.add_argument(
        "--with",
        dest="features",
        type=_features,
        default=frozenset(),
        metavar="FEATURES",
        help=f"what is beyond a profile, a comma list of {', '.join(FEATURES)}, or all: membership "
        "and transfer are events, pre-vote is the rules of dissertation 9.6 and 6.2; single-server "
        "is changes of the membership of all servers by one at a time, without a joint "
        "configuration (4.1)",
    )
    bounds.add_argument(
        "--config-changes",
        type=_whole(1, 10),
        metavar="N",
        help="membership changes begun in one log (default 1)",
    )
    bounds.add_argument(
        "--targets",
        type=_targets,
        metavar="LIST",
        help="memberships asked for, as in '2,3,4;1,2' (default: replace any one member)",
    )
    for name, what in (
        ("clients", "clients that read or send commands (default 1)"),
        ("reads", "reads that each client begins (default 1)"),
        ("commands", "commands that each client begins (default 2)"),
        ("rounds", "rounds of heartbeats that a leader begins for reads in a term (default 1)"),
    ):
        bounds.add_argument(f"--{name}", type=_whole(1, 9), metavar="N", help=what)
    bounds.add_argument(
        "--pending-writes",
        type=_whole(1, 10),
        metavar="N",
        help="writes of one server that are not durable yet (default 2)",
    )
    bounds.add_argument(
        "--snapshots",
        type=_whole(1, 10),
        metavar="N",
        help="a server takes a snapshot while its own covers fewer than N entries (default 1)",
    )
    bounds.add_argument(
        "--profile", choices=sorted(PROFILES), help="which rules are in force (default paper)"
    )


def _features(text: str) -> frozenset[str]:
    names = TOGETHER if text == "all" else tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in FEATURES:
            raise argparse.ArgumentTypeError(
                f"unknown feature {name!r}: there are {', '.join(FEATURES)}, or all"
            )
    return frozenset(names)


def _targets(text: str) -> tuple[frozenset[ServerId], ...]:
    try:
        return tuple(
            frozenset(ServerId(int(i)) for i in part.split(",")) for part in text.split(";")
        )
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give server numbers, as in '2,3,4' or '2,3,4;1,2'"
        ) from None


def _add_subject(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to explore instead of Raft as specified")
    what.add_argument("--mutant", metavar="NAME", help="a known bug put into one rule of Raft")
    what.add_argument("--model", metavar="FILE.py:NAME", help="a model of your own")


def _add_refinement(group: Any) -> None:
    group.add_argument(
        "--refinement",
        action="store_true",
        help="also demand that every step is one of the abstract protocol that `prove` is about",
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m model_check",
        description="Explore all behaviours of a Raft cluster within bounds, to the end.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_bounds(parser)
    how = parser.add_argument_group("how to explore")
    how.add_argument(
        "--reduction",
        type=_reductions,
        default=Reductions(),
        metavar="R",
        help="full (default), none, or a comma list of saturation, obsolete, symmetry, domination",
    )
    how.add_argument(
        "--no-facts",
        action="store_true",
        help="keep no history, so that counts can be compared with other checkers",
    )
    how.add_argument(
        "--no-goals",
        action="store_true",
        help="do not judge whether progress stays possible",
    )
    how.add_argument(
        "--property",
        action="append",
        default=[],
        metavar="NAME",
        help="judge only this property or goal (repeatable)",
    )
    how.add_argument(
        "--workers", type=_whole(1, 256), metavar="N", help="threads (default: all cores)"
    )
    how.add_argument("--max-states", type=_whole(1), metavar="N", help="stop at this many states")
    how.add_argument("--max-seconds", type=_seconds, metavar="S", help="stop after this time")
    how.add_argument("--max-memory", type=_memory, metavar="SIZE", help="stop at e.g. 4G")
    how.add_argument(
        "--checkpoint",
        metavar="DIR",
        help="keep there, from time to time and when stopped, what is needed to go on later",
    )
    how.add_argument("--resume", metavar="DIR", help="go on from the checkpoint in DIR")
    _add_subject(parser)
    known = parser.add_argument_group("known bugs")
    known.add_argument("--list-mutants", action="store_true", help="list them")
    known.add_argument(
        "--all-mutants", action="store_true", help="explore them all and print the table"
    )
    _add_refinement(how)
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="write the result as JSON")
    output.add_argument("--trace", metavar="FILE", help="write the counterexample as text")
    output.add_argument("--quiet", action="store_true", help="only the verdict, no progress")
    output.add_argument(
        "--version", action="version", version=f"model_check {_version()}", help="print the version"
    )
    return parser


def _simulate_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m model_check simulate",
        description="Walk at random through the behaviours of a cluster that is too large to "
        "exhaust, judging every property in every state. It proves nothing.",
        epilog="exit codes: 0 no violation met, 12 a property violated, 2 usage, 130 interrupted",
        allow_abbrev=False,
    )
    _add_bounds(parser)
    _add_subject(parser)
    how = parser.add_argument_group("how to walk")
    how.add_argument("--runs", type=_whole(1), default=100, metavar="N", help="walks (default 100)")
    how.add_argument(
        "--depth", type=_whole(1), default=200, metavar="D", help="steps in a walk (default 200)"
    )
    how.add_argument("--seed", type=_whole(0), metavar="S", help="repeat the walks of a seed")
    _add_refinement(how)
    how.add_argument(
        "--property",
        action="append",
        default=[],
        metavar="NAME",
        help="judge only this property (repeatable)",
    )
    return parser


def _prove_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m model_check prove",
        description="Prove that Raft is safe for any number of servers, any term and any length "
        "of log: one query for each lemma and action, about the abstract protocol of "
        "model_check/proof. --refinement of the explorer ties it to the rules of spec.",
        epilog="exit codes: 0 all proved, 12 an obligation is refuted, 3 one stays open, 2 usage",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--theory", action="append", default=[], metavar="NAME", help="only this proof (repeatable)"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="TEXT",
        help="only obligations whose name, theory/lemma/action, contains TEXT (repeatable)",
    )
    parser.add_argument(
        "--solver", choices=["z3", "cvc5"], default="z3", help="which solver (default z3)"
    )
    parser.add_argument("--seed", type=_whole(0), default=0, metavar="S", help="of the solver")
    parser.add_argument(
        "--limit",
        type=_seconds,
        default=10.0,
        metavar="S",
        help="seconds for one query (default 10)",
    )
    parser.add_argument(
        "--mutants",
        action="store_true",
        help="delete each guard and lemma in turn and print what is lost",
    )
    parser.add_argument("--list", action="store_true", help="list the lemmas, in words")
    parser.add_argument(
        "--states",
        action="store_true",
        help="evaluate the lemmas in states of spec: all plain ones of two servers, random walks",
    )
    parser.add_argument("--export", metavar="DIR", help="write the queries as SMT-LIB, prove none")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON")
    parser.add_argument("--quiet", action="store_true", help="only the verdict, no progress")
    return parser


def _prove(options: argparse.Namespace) -> int:
    """The unbounded proof; z3 is loaded only here."""
    from model_check import prove

    if options.solver == "cvc5" and importlib.util.find_spec("cvc5") is None:
        raise UsageError("--solver cvc5: it is not installed; run: pip install cvc5")
    _refuse_unwritable(options.json)
    for name in options.theory:
        if name not in prove.theory_names():
            raise UsageError(
                f"unknown theory {name!r}: there are {', '.join(prove.theory_names())}"
            )
    theories = options.theory or prove.theory_names()
    plan = prove.Plan(
        theories=theories,
        solver=options.solver,
        seed=options.seed,
        limit_s=options.limit,
        only=options.only,
    )
    if options.list:
        print(prove.list_lemmas())
        return EXIT_OK
    if options.states:
        return prove.run_states(options.seed)
    if options.mutants:
        return prove.run_mutants(plan if options.theory else replace(plan, theories=prove.PARTS))
    if options.only and not any(plan.selected(theory) for theory in theories):
        raise UsageError(f"--only {' --only '.join(options.only)}: no obligation has such a name")
    if options.export:
        try:
            count = prove.export(plan, options.export)
        except OSError as error:
            raise UsageError(f"--export {options.export}: {error.strerror}") from None
        print(f"{count} queries written to {options.export}; every answer must be unsat")
        return EXIT_OK
    return prove.run(plan, options.json, options.quiet)


def _simulate(options: argparse.Namespace) -> int:
    """Random walks; the seed is printed first, so that nothing is lost with an interrupted run."""
    model = _foreign_model(options) if options.model else _raft_model(options)
    _refuse_unknown(options.property, model.properties())
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    print(f"{model.name}, {len(model.processes)} processes, seed {seed}", flush=True)
    found = simulate(
        model, runs=options.runs, depth=options.depth, seed=seed, only=options.property
    )
    print(simulation_summary(found))
    return EXIT_VIOLATED if found.trace else EXIT_OK


def _refuse_unknown(names: Sequence[str], claims: Sequence[Property | Goal]) -> None:
    known = [claim.name for claim in claims]
    for name in names:
        if name not in known:
            raise UsageError(f"unknown property {name!r}: there are {', '.join(known)}")


def _version() -> str:
    try:
        return importlib.metadata.version("checked-raft")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        if given[:1] == ["simulate"]:
            return _simulate(_simulate_parser().parse_args(given[1:]))
        if given[:1] == ["prove"]:
            return _prove(_prove_parser().parse_args(given[1:]))
        return _run(_parser().parse_args(given))
    except (UsageError, ModelError, CheckpointError) as error:
        print(f"model_check: {error}", file=sys.stderr)
        return EXIT_USAGE
    except CheckerFault as error:
        print(f"model_check: a fault of the checker itself: {error}", file=sys.stderr)
        return EXIT_FAULT
    except KeyboardInterrupt:
        print("model_check: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_USAGE
    except Exception as error:  # no traceback reaches a user
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        print(f"model_check: a fault of the checker itself: {what}", file=sys.stderr)
        return EXIT_FAULT


def _run(options: argparse.Namespace) -> int:
    if options.list_mutants:
        print(catalogue())
        return 0
    for path in (options.json, options.trace):
        _refuse_unwritable(path)
    workers = options.workers or _cores()
    if options.all_mutants:
        return run_all(workers, quiet=options.quiet)
    if options.model:
        model, bounds, profile = _foreign_model(options), {}, None
        if not options.quiet:
            _introduce_network(model, options)
    else:
        raft = _raft_model(options)
        model, profile = raft, raft.profile
        bounds = {
            "servers": raft.bounds.servers,
            "terms": raft.bounds.terms,
            "log_length": raft.bounds.log_length,
        }
        if not options.quiet:
            _introduce(raft, options)
    _refuse_unknown(options.property, [*model.properties(), *model.goals()])
    progress = ProgressLine()
    result = check(
        model,
        reductions=options.reduction,
        workers=workers,
        limits=Limits(
            states=options.max_states,
            seconds=options.max_seconds,
            memory_bytes=options.max_memory,
        ),
        only=options.property or _judged_alone(options),
        with_facts=not options.no_facts,
        with_goals=not options.no_goals,
        checkpoints=_checkpoints(options),
        report=(lambda _: None) if options.quiet else progress,
    )
    progress.close()
    print(verdict(result) if options.quiet else summary(result))
    if options.json:
        text = json.dumps(to_json(result, bounds, profile), indent=2) + "\n"
        Path(options.json).write_text(text, encoding="utf-8")
    if options.trace:
        Path(options.trace).write_text(counterexample(result) + "\n", encoding="utf-8")
    return result.exit_code


def _judged_alone(options: argparse.Namespace) -> list[str]:
    """The only property of a mutant that others would forestall."""
    verdict = find(options.mutant).verdict if options.mutant and not options.model else None
    return [verdict.by] if isinstance(verdict, Killed) and verdict.alone else []


def _checkpoints(options: argparse.Namespace) -> Checkpoints | None:
    if options.resume and options.checkpoint not in (None, options.resume):
        raise UsageError("--resume goes on in its directory: leave --checkpoint out")
    given = options.resume or options.checkpoint
    return Checkpoints(directory=Path(given), resume=bool(options.resume)) if given else None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _refuse_unwritable(path: str | None) -> None:
    """Find out before the work, not after it."""
    if path is None:
        return
    try:
        with Path(path).open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _raft_model(options: argparse.Namespace) -> RaftModel:
    rules: Step = step
    disk_rules = DISK_RULES
    owed = spec.clients
    given: Killed | Control | None = None
    if options.mutant:
        try:
            mutant = find(options.mutant)
        except KeyError as error:
            raise UsageError(str(error.args[0])) from None
        if isinstance(mutant.verdict, NotExpressible):
            raise UsageError(f"mutant {mutant.name} cannot be run: {mutant.verdict.reason}")
        rooms = load_rooms(mutant)
        rules, owed = rooms["spec.raft"].step, rooms["spec.clients"]
        disk_rules = cast(DiskRules, rooms["spec.disk"])
        # Without bounds of its own, a mutant runs at the smallest ones that show it.
        if isinstance(mutant.verdict, Killed | Control):
            given = mutant.verdict
    profile = options.profile or (given.profile if given else "paper")
    terms = options.terms or (given.terms if given else 3)
    length = options.log_length
    if length is None:
        length = given.log_length if given else (2 if profile == "paper" else terms)
        length += bool(options.features & {"membership", "learners"}) and not given
    servers = options.servers or (given.servers if given else 3)
    bounds = Bounds(servers=servers, terms=terms, log_length=length)
    membership = _membership(options, servers)
    if membership and length < membership.changes + (not membership.one_server):
        raise UsageError("--log-length must be larger than --config-changes: C_new needs a place")
    if membership is None and given:
        membership = membership_of(given)
    clients = _clients(options) or (given.clients if given else None)
    snapshots = _snapshots(options, given)
    features = options.features or (given.features if given else frozenset())
    parallel_write = _parallel_write(options)
    if parallel_write is None and given:
        parallel_write = parallel_write_of(given)
    more: tuple[Property, ...] = ()
    if options.refinement:
        _refuse_unrefined(membership, parallel_write)
        more = _refinement(membership, snapshots, clients)
    return RaftModel(
        bounds,
        profile,
        rules,
        membership,
        more,
        parallel_write,
        disk_rules,
        features,
        clients=clients,
        owed=owed,
        snapshots=snapshots,
        doubts=str(getattr(options, "reduction", "none")) == "full" and not options.mutant,
    )


def _clients(options: argparse.Namespace) -> ClientBounds | None:
    """Clients, if a feature asks for them."""
    needed_by = {"reads": "reads", "rounds": "reads", "commands": "sessions"}
    for name, feature in needed_by.items():
        if getattr(options, name) is not None and feature not in options.features:
            raise UsageError(f"--{name} needs --with {feature}")
    if not options.features & set(needed_by.values()):
        if options.clients is not None:
            raise UsageError("--clients needs --with reads or --with sessions")
        return None
    return ClientBounds(
        clients=options.clients or 1,
        reads=(options.reads or 1) if "reads" in options.features else 0,
        commands=(options.commands or 2) if "sessions" in options.features else 0,
        rounds=options.rounds or 1,
    )


def _snapshots(options: argparse.Namespace, given: Killed | Control | None) -> Snapshots | None:
    """Snapshots, if a feature asks for them."""
    if "snapshot" in options.features:
        return Snapshots(count=options.snapshots or 1)
    if options.snapshots is not None:
        raise UsageError("--snapshots needs --with snapshot")
    return Snapshots(count=given.snapshots) if given and given.snapshots else None


def _membership(options: argparse.Namespace, servers: int) -> Membership | None:
    learners = "learners" in options.features
    one_server = "single-server" in options.features
    if not options.features & {"membership", "learners", "single-server"}:
        for name in ("config_changes", "targets"):
            if getattr(options, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} needs --with membership")
        return None
    if servers < 2:
        raise UsageError("--with membership needs --servers 2 or more: one is outside at first")
    for target in options.targets or ():
        if not target or not all(1 <= i <= servers for i in target):
            raise UsageError(f"--targets: servers are numbered 1 to {servers}")
    return Membership(
        changes=options.config_changes or 1,
        targets=options.targets,
        learners=learners,
        one_server=one_server,
    )


def _parallel_write(options: argparse.Namespace) -> ParallelWrite | None:
    if "parallel-write" not in options.features:
        if options.pending_writes is not None:
            raise UsageError("--pending-writes needs --with parallel-write")
        return None
    return ParallelWrite(
        pending=options.pending_writes or 2,
        settled=str(getattr(options, "reduction", "none")) != "none",
    )


def _refuse_unrefined(membership: Membership | None, disks: ParallelWrite | None) -> None:
    """Say what no abstract protocol is about."""
    if membership and membership.one_server:
        raise UsageError("--refinement is to joint consensus, not to single-server changes")
    if disks:
        raise UsageError(
            "--refinement is to a protocol whose writes are durable at once, not to parallel-write"
        )


def _refinement(
    membership: Membership | None, snapshots: Snapshots | None, clients: ClientBounds | None
) -> tuple[Property, ...]:
    """Every step of a server is one of the abstract protocol; loaded only here, with z3."""
    from model_check.proof.abstraction import Abstraction
    from model_check.proof.refinement import refinement_of
    from model_check.proof.theory import theory_about

    reads = clients is not None and clients.reads > 0
    theory = theory_about(joint=bool(membership), snapshots=bool(snapshots), reads=reads)
    predicate = refinement_of(Abstraction(theory.state))
    return (
        Property(
            name="refinement",
            over=(AnyStep(),),
            predicate=of_steps(predicate, Server),
            title="Refinement",
            sentence=" ".join((predicate.__doc__ or "").split()),
        ),
    )


def _introduce(model: RaftModel, options: argparse.Namespace) -> None:
    print(f"{model.name}{f', mutant {options.mutant}' if options.mutant else ''}")
    for sentence in model.sentences():
        print(f"  {sentence}")
    print(f"  faults: {NETWORK}; {CRASHES}")
    _introduce_reductions(options)


def _introduce_network(model: Model[Any, Any, Any, Any], options: argparse.Namespace) -> None:
    print(f"{model.name}, {len(model.processes)} processes")
    print(f"  faults: {NETWORK}")
    _introduce_reductions(options)


def _introduce_reductions(options: argparse.Namespace) -> None:
    print(f"  reductions: {options.reduction} (what they rest on is verified in this run)\n")
    sys.stdout.flush()


def _foreign_model(options: argparse.Namespace) -> Model[Any, Any, Any, Any]:
    """Load NAME from FILE.py: a model, or a class or function that makes one."""
    for name in (
        *OF_RAFT,
        "config_changes",
        "targets",
        "clients",
        "reads",
        "commands",
        "rounds",
        "snapshots",
    ):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is about Raft; a --model has its own")
    if options.refinement:
        raise UsageError("--refinement is about Raft; a --model has no abstract protocol")
    path, colon, name = options.model.rpartition(":")
    if not colon or not path or not name:
        raise UsageError(f"--model {options.model}: give a file and a name, as in FILE.py:NAME")
    spec = importlib.util.spec_from_file_location("foreign_model", path)
    if not Path(path).is_file() or spec is None or spec.loader is None:
        raise UsageError(f"--model {options.model}: there is no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        spec.loader.exec_module(module)
        found = getattr(module, name)
        model = found if isinstance(found, Model) else found()
    except Exception as error:  # whatever is wrong with somebody else's file
        raise UsageError(f"--model {options.model}: {type(error).__name__}: {error}") from None
    if not isinstance(model, Model):
        raise UsageError(f"--model {options.model}: {name} is no model_check.Model")
    return model


if __name__ == "__main__":
    sys.exit(main())
