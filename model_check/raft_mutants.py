"""Known bugs of real Raft implementations, each put into one rule of ``spec``.

A mutant is a tuple of source patches: ``spec`` itself carries no trace of it. ``load`` makes
private copies of the rules, patched, which know the same types as everybody else. Its verdict says
how it must end: the claim that kills it at the smallest bounds that show it, or why nothing does.

``B..`` are the rows of a list of bugs that were seen; ``C..`` are controls, sabotages that are no
bug at their bounds; ``X..`` are other one-rule sabotages, ``L..`` those of liveness, which safety
cannot see. Sections are those of the Raft paper.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import cast

import spec.clients
from model_check.model import AnyStep, Outcome, Property
from model_check.raft_bounds import ClientBounds
from model_check.raft_disks import DISK_RULES, DiskRules
from model_check.raft_model import (
    Bounds,
    Membership,
    ParallelWrite,
    RaftModel,
    Snapshots,
    Step,
)
from model_check.trace import TraceStep, clash_of_state, clash_of_step
from spec import messages
from spec.cluster import Fact
from spec.events import (
    ClientRequest,
    ElectionTimeout,
    Event,
    HeartbeatTimeout,
    Restart,
    RetryTimeout,
)
from spec.messages import Message
from spec.state import Command, Server

PATCHED = (
    "spec.log",
    "spec.quorum",
    "spec.membership",
    "spec.snapshot",
    "spec.elections",
    "spec.reads",
    "spec.raft",
    "spec.disk",
    "spec.sessions",
    "spec.clients",
)
"""The modules with rules, in the order of their imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Replace ``before``, which occurs exactly once in the source of ``module``, by ``after``."""

    module: str = "spec.raft"
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """Exploration within these bounds ends with ``by``.

    That is a claim which is false, a goal that is not possible any more, or a witness not reached.
    """

    by: str
    servers: int
    terms: int
    log_length: int
    profile: str = "paper"
    config_changes: int = 0
    """Membership changes begun in one log; 0: none is asked for."""
    pending_writes: int = 0
    """Writes of one server that are not durable yet; 0: every write is durable at once."""
    settled: bool = True
    """As ``ParallelWrite.settled``."""
    snapshots: int = 0
    """As ``Snapshots.count``; 0: none are taken."""
    features: frozenset[str] = frozenset()
    """What else is switched on."""
    alone: bool = False
    """Is no other property judged? Others would forestall it, and show less of the harm."""
    clients: ClientBounds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Exhausted within these bounds without a finding, as expected: here it is no bug."""

    reason: str
    servers: int
    terms: int
    log_length: int
    profile: str = "paper"
    config_changes: int = 0
    pending_writes: int = 0
    snapshots: int = 0
    features: frozenset[str] = frozenset()
    clients: ClientBounds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """Killed by ``by`` in this schedule (see ``play``), where exhaustion is out of reach."""

    by: str
    schedule: tuple[str, ...]
    servers: int
    profile: str = "paper"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotExpressible:
    """The rule that it breaks is not in ``spec`` yet."""

    reason: str


Verdict = Killed | Control | Scripted | NotExpressible


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One bug: where it was seen, how to put it into ``spec``, and how it must end."""

    name: str
    title: str
    seen_in: str
    patches: tuple[Patch, ...] = ()
    verdict: Verdict


def model_of(
    verdict: Killed | Control,
    rules: Step,
    disk_rules: DiskRules = DISK_RULES,
    owed: ModuleType = spec.clients,
) -> RaftModel:
    """The model in which a mutant must end as its verdict says."""
    bounds = Bounds(servers=verdict.servers, terms=verdict.terms, log_length=verdict.log_length)
    parallel_write = parallel_write_of(verdict)
    snapshots = Snapshots(count=verdict.snapshots) if verdict.snapshots else None
    return RaftModel(
        bounds,
        verdict.profile,
        rules,
        membership_of(verdict),
        (),
        parallel_write,
        disk_rules,
        verdict.features,
        clients=verdict.clients,
        owed=owed,
        snapshots=snapshots,
    )


def parallel_write_of(verdict: Killed | Control) -> ParallelWrite | None:
    """How servers write in parallel, if they do."""
    if not verdict.pending_writes:
        return None
    settled = isinstance(verdict, Control) or verdict.settled
    return ParallelWrite(pending=verdict.pending_writes, settled=settled)


def membership_of(verdict: Killed | Control) -> Membership | None:
    """The membership changes that are asked for, if any."""
    if not verdict.config_changes:
        return None
    one_server = "single-server" in verdict.features
    return Membership(changes=verdict.config_changes, one_server=one_server)


class BadPatch(ValueError):
    """A patch does not apply: its snippet does not occur exactly once."""


class UnknownMutant(KeyError):
    """No mutant has this name."""


class BadSchedule(ValueError):
    """A line of a schedule is none of the language, or delivers what was never sent."""


# --- Loading ------------------------------------------------------------------------------------


def find(name: str) -> Mutant:
    """The mutant of this name."""
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise UnknownMutant(f"no mutant {name}; there are {', '.join(m.name for m in MUTANTS)}")


def load(mutant: Mutant) -> Step:
    """``step`` of freshly executed, patched copies of the rules."""
    return cast(Step, load_rooms(mutant)["spec.raft"].step)


def load_disk(mutant: Mutant) -> DiskRules:
    """What a disk does as the mutant has it."""
    return cast(DiskRules, load_rooms(mutant)["spec.disk"])


def load_rooms(mutant: Mutant) -> Mapping[str, ModuleType]:
    """All patched copies of modules with rules; nothing is left in sys.modules.

    Only rules are copied: the types are those that everybody else knows.
    """
    if not mutant.patches:
        raise BadPatch(f"mutant {mutant.name} has no patches: it is not expressible in spec yet")
    if strange := {patch.module for patch in mutant.patches} - set(PATCHED):
        raise BadPatch(f"mutant {mutant.name}: {', '.join(sorted(strange))} holds no rules")
    copies: dict[str, ModuleType] = {}

    def import_(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 (as the built-in names them)
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        return copies.get(name) or builtins.__import__(name, globals, locals, fromlist, level)

    for name in PATCHED:
        copies[name] = copy = ModuleType(name)
        copy.__dict__["__builtins__"] = {**vars(builtins), "__import__": import_}
        source = patched(mutant, name)
        exec(compile(source, f"<{name} of {mutant.name}>", "exec", dont_inherit=True), vars(copy))
        for known, value in vars(importlib.import_module(name)).items():
            if isinstance(value, type):
                setattr(copy, known, value)
    return copies


def patched(mutant: Mutant, module: str) -> str:
    """The source of ``module`` as the mutant has it."""
    source = inspect.getsource(importlib.import_module(module))
    for patch in mutant.patches:
        if patch.module != module:
            continue
        if (times := source.count(patch.before)) != 1:
            raise BadPatch(
                f"mutant {mutant.name}: this snippet occurs {times} times in {module}, "
                f"not once:\n{patch.before}"
            )
        source = source.replace(patch.before, patch.after)
    return source


# --- Playing a schedule -------------------------------------------------------------------------

TIMERS: dict[str, Event] = {
    "election timeout": ElectionTimeout(),
    "heartbeat": HeartbeatTimeout(),
    "restart": Restart(),
    "retry": RetryTimeout(),
}


def play(scripted: Scripted, step: Step) -> str | None:
    """Play a schedule; the first claim that is false along it, or ``None``.

    ``S1: election timeout`` (or ``heartbeat``, ``retry``, ``restart``, ``client x`` with command x)
    happens at a server; ``RequestVote S1 -> S2`` delivers the latest message of this kind, perhaps
    again.
    """
    no_bounds = Bounds(servers=scripted.servers, terms=1 << 30, log_length=1 << 30)
    model = RaftModel(no_bounds, scripted.profile, step)
    states = list(model.initial_states()[0])
    sent: list[tuple[int, int, Message]] = []
    facts: list[Fact] = []
    for line in scripted.schedule:
        process, taken = _taken(model, states, sent, line)
        outcome = taken.outcome
        assert outcome is not None
        states[process - 1] = outcome.state
        sent += [(process, to, message) for to, message in outcome.sends]
        facts += [fact for fact in outcome.facts if fact not in facts]
        for claim in model.properties():
            if _is_false(claim, model, taken, states, facts):
                return claim.name
    return None


def _taken(
    model: RaftModel, states: list[Server], sent: list[tuple[int, int, Message]], line: str
) -> tuple[int, TraceStep]:
    """The step that a line of a schedule describes, and whose it is."""
    outcome: Outcome[Server, Message, Fact]
    if match := re.fullmatch(r"(\w+) S(\d) -> S(\d)", line):
        kind = getattr(messages, match[1])
        source, to = int(match[2]), int(match[3])
        for message in (m for s, t, m in reversed(sent) if (s, t) == (source, to)):
            if isinstance(message, kind):
                before = states[to - 1]
                outcome = model.deliver(to, before, source, message)
                return to, TraceStep(process=to, before=before, outcome=outcome)
        raise BadSchedule(f"{line}: nothing of the kind was sent")
    if match := re.fullmatch(r"S(\d): (?:client (\w+)|([\w ]+))", line):
        process = int(match[1])
        before = states[process - 1]
        command = match[2] and ClientRequest(commands=(Command(data=match[2].encode()),))
        event = command or TIMERS.get(match[3])
        if event:
            outcome = model.act(process, before, event)
            return process, TraceStep(process=process, before=before, outcome=outcome)
    raise BadSchedule(f"{line}: not in the language of schedules")


def _is_false(
    claim: Property, model: RaftModel, taken: TraceStep, states: list[Server], facts: list[Fact]
) -> bool:
    if isinstance(claim.over[0], AnyStep):
        return clash_of_step(claim, taken) is not None
    return clash_of_state(model, claim, states, facts) is not None


# --- The rules, for patches that share them ------------------------------------------------------

HALF_IS_A_MAJORITY = Patch(
    module="spec.quorum",
    before="return 2 * len(servers & voters) > len(voters)",
    after="return 2 * len(servers & voters) >= len(voters)",
)
TWICE_COUNTED = Patch(
    before="candidate = replace(server.role, votes_granted=votes_granted | {voter})",
    after="""\
uncounted = set(peers(server)) - votes_granted
            counted = voter if voter in uncounted else min(uncounted)
            candidate = replace(server.role, votes_granted=votes_granted | {counted})""",
)
"""A set cannot hold a voter twice: the second time, the smallest other server is counted."""

MATCH_INDEX_SURVIVES = (
    Patch(
        before="def step(options",
        after='''\
@dataclass(frozen=True, slots=True, kw_only=True)
class FormerLeader(Follower):
    """A follower that remembers match_index[]."""

    match_index: IndexOf


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerLeaderStanding(Candidate):
    """A candidate that remembers match_index[]."""

    match_index: IndexOf


def following(role: Follower | Candidate | Leader) -> Follower:
    """A follower; match_index[] is kept if there is one."""
    match role:
        case Leader() | FormerLeader() | FormerLeaderStanding():
            return FormerLeader(match_index=role.match_index)
        case _:
            return Follower()


def standing(role: Follower | Candidate | Leader, votes: frozenset[ServerId]) -> Candidate:
    """A candidate; match_index[] is kept if there is one."""
    match role:
        case FormerLeader() | FormerLeaderStanding():
            return FormerLeaderStanding(match_index=role.match_index, votes_granted=votes)
        case _:
            return Candidate(votes_granted=votes)


def step(options''',
    ),
    Patch(
        before="voted_for=None, role=Follower())",
        after="voted_for=None, role=following(server.role))",
    ),
    Patch(
        before="server = replace(server, role=Follower(leader_heard=options.pre_vote or "
        "options.check_quorum))",
        after="server = replace(server, role=following(server.role))",
    ),
    Patch(
        before="role=Candidate(votes_granted=frozenset({server.server_id}), transfer=transfer)",
        after="role=standing(server.role, frozenset({server.server_id}))",
    ),
    Patch(
        before="    server = replace(server, role=role)\n    if options.check_quorum:",
        after="""\
    if isinstance(server.role, FormerLeaderStanding):
        role = replace(role, match_index=server.role.match_index)
    server = replace(server, role=role)
    if options.check_quorum:""",
    ),
)

CHANGES_AT_ONCE = Patch(
    module="spec.membership",
    before="if term_at(server.log, server.commit_index) != server.current_term:\n"
    '        return "no entry of this term is committed yet"',
    after="",
)
UNVOTED = "granted = server.voted_for in (None, request.candidate_id) and is_up_to_date("
MISMATCH = "if not agrees_at(server.log, request.prev_log_index, request.prev_log_term):"
TERM_IS_BEING_WRITTEN = (
    "return any(isinstance(write, PersistTermAndVote) for write in batch.writes)"
)
OLDER_TERM = "    if message.term < server.current_term:\n        return on_older"

S1_ELECTED = (
    "S1: election timeout",
    "RequestVote S1 -> S2",
    "RequestVote S1 -> S3",
    "RequestVoteResponse S2 -> S1",
    "RequestVoteResponse S3 -> S1",
    "S1: client x",
    "AppendEntries S1 -> S2",
)
S2_HAS_ACKNOWLEDGED = ("AppendEntriesSuccess S2 -> S1",)
S3_REPLACES_THE_ENTRY = (
    "S3: election timeout",
    "RequestVote S3 -> S4",
    "RequestVote S3 -> S5",
    "RequestVoteResponse S4 -> S3",
    "RequestVoteResponse S5 -> S3",
    "S3: client y",
    "AppendEntries S3 -> S2",
)
S1_ELECTED_AGAIN = (
    "RequestVote S3 -> S1",
    "S1: election timeout",
    "RequestVote S1 -> S4",
    "RequestVote S1 -> S5",
    "RequestVoteResponse S4 -> S1",
    "RequestVoteResponse S5 -> S1",
    "RequestVote S1 -> S2",
)
"""S1 leads terms 1 and 3, S3 term 2; at last S2 is in term 3 and has no longer what it had."""

# --- The catalogue ------------------------------------------------------------------------------

NO_FILES = "files, checksums and torn writes are the server's storage, not in spec"
ONE_READ = ClientBounds(reads=1)

_ROWS: tuple[Mutant, ...] = (
    # Elections (§5.1, §5.2, §5.4.1)
    Mutant(
        name="B01",
        title="a restart forgets the vote",
        seen_in="PySyncObj 0.3.14, akka-raft #56",
        patches=(
            Patch(
                before="voted_for=server.voted_for,\n        log=server.log,",
                after="voted_for=None,\n        log=server.log,",
            ),
        ),
        verdict=Killed(by="one_vote_per_term", servers=1, terms=1, log_length=0),
    ),
    Mutant(
        name="B02",
        title="a restart forgets the term",
        seen_in="PySyncObj 0.3.14, akka-raft #56",
        patches=(
            Patch(
                before="""\
current_term=server.current_term,
        voted_for=server.voted_for,
        log""",
                after="current_term=Term(0),\n        voted_for=server.voted_for,\n        log",
            ),
        ),
        verdict=Killed(by="term_never_decreases", servers=1, terms=1, log_length=0),
    ),
    Mutant(
        name="B03",
        title="a second vote in the same term",
        seen_in="camunda #5356, nebula #2405",
        patches=(
            Patch(
                before=UNVOTED,
                after="granted = is_up_to_date(",
            ),
        ),
        verdict=Killed(by="one_vote_per_term", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="B04",
        title="a candidate does not record its vote for itself",
        seen_in="xraft #44",
        patches=(
            Patch(
                before="        voted_for=server.server_id,\n        role=Candidate",
                after="        voted_for=None,\n        role=Candidate",
            ),
            Patch(
                before="current_term=server.current_term, voted_for=server.server_id)",
                after="current_term=server.current_term, voted_for=None)",
            ),
        ),
        verdict=Killed(by="election_safety", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="B05",
        title="a heartbeat of the same term clears the vote",
        seen_in="redpanda #14, CCF #8091 #8094, canonical/raft #196",
        patches=(
            Patch(
                before="server = replace(server, role=Follower(leader_heard",
                after="server = replace(server, voted_for=None, role=Follower(leader_heard",
            ),
        ),
        verdict=Killed(by="one_vote_per_term", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="B06",
        title="a leader votes for another in its own term",
        seen_in="daos raft #70",
        patches=(
            Patch(
                before=UNVOTED,
                after="""\
free = server.voted_for in (None, request.candidate_id)
    granted = (free or isinstance(server.role, Leader)) and is_up_to_date(""",
            ),
        ),
        verdict=Killed(by="one_vote_per_term", servers=3, terms=1, log_length=0),
    ),
    Mutant(
        name="B07",
        title="votes without looking at the logs",
        seen_in="the omission that the paper warns of in §5.4.1",
        patches=(
            Patch(
                before="""(None, request.candidate_id) and is_up_to_date(
        (request.last_log_term, request.last_log_index),
        (last_term(server.log), last_index(server.log)),
    )
""",
                after="(None, request.candidate_id)\n",
            ),
        ),
        verdict=Killed(by="leader_completeness", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B08",
        title="a vote compares only the lengths of the logs",
        seen_in="a common mistake in ports",
        patches=(
            Patch(
                module="spec.log",
                before="return candidate_last >= voter_last",
                after="return candidate_last[1] >= voter_last[1]",
            ),
        ),
        verdict=Killed(by="leader_completeness", servers=3, terms=3, log_length=1),
    ),
    Mutant(
        name="B10",
        title="no vote for a log that is just as up-to-date",
        seen_in="a common mistake in ports",
        patches=(
            Patch(
                module="spec.log",
                before="return candidate_last >= voter_last",
                after="return candidate_last > voter_last",
            ),
        ),
        verdict=Killed(by="leader_can_be_elected", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="B11",
        title="a vote of an older term is counted",
        seen_in="xraft #33, little-raft #44, akka-raft #46, nats #5149",
        patches=(
            Patch(
                before=OLDER_TERM,
                after="""\
    vote = isinstance(message, RequestVoteResponse)
    if message.term < server.current_term and not vote:
        return on_older""",
            ),
        ),
        verdict=Killed(by="election_safety", servers=3, terms=2, log_length=0),
    ),
    Mutant(
        name="B12",
        title="a vote that arrives twice is counted twice",
        seen_in="xraft #27, akka-raft #45, Coyote sample #8",
        patches=(TWICE_COUNTED,),
        verdict=Killed(by="elected_by_a_quorum", servers=4, terms=1, log_length=0),
    ),
    Mutant(
        name="B13",
        title="half of the servers is a majority",
        seen_in="an off-by-one mistake",
        patches=(HALF_IS_A_MAJORITY,),
        verdict=Killed(by="elected_by_a_quorum", servers=4, terms=1, log_length=0),
    ),
    Mutant(
        name="B14",
        title="an answer to a pre-vote is taken for a vote",
        seen_in="cockroach #123297, canonical/raft #196",
        patches=(
            Patch(
                before=OLDER_TERM,
                after="""\
    if isinstance(message, PreVoteResponse) and isinstance(server.role, Candidate):
        return on_request_vote_response(options, server, source, message)
    if message.term < server.current_term:
        return on_older""",
            ),
        ),
        verdict=Killed(
            by="elected_by_a_quorum",
            servers=2,
            terms=1,
            log_length=0,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="B15",
        title="an answer of an older term sets the term back",
        seen_in="WRaft (SandTable), nebula #2405 #685",
        patches=(
            Patch(
                before=OLDER_TERM,
                after="""\
    request = isinstance(message, RequestVote | AppendEntries)
    if message.term < server.current_term and request:
        return on_older""",
            ),
            Patch(
                before="    if term <= server.current_term:\n        return server, ()",
                after="    if term == server.current_term:\n        return server, ()",
            ),
        ),
        verdict=Killed(by="term_never_decreases", servers=2, terms=2, log_length=0),
    ),
    Mutant(
        name="B16",
        title="a new term keeps the vote of the old one",
        seen_in="Raft-KV #1",
        patches=(
            Patch(
                before="current_term=term, voted_for=None, role=Follower())",
                after="current_term=term, role=Follower())",
            ),
            Patch(
                before="PersistTermAndVote(current_term=term, voted_for=None)",
                after="PersistTermAndVote(current_term=term, voted_for=server.voted_for)",
            ),
        ),
        verdict=Killed(by="leader_can_be_elected", servers=2, terms=2, log_length=0),
    ),
    # Replication (§5.3)
    Mutant(
        name="B18",
        title="prev_log_term is not compared, only that there is an entry",
        seen_in="a mistake in ports",
        patches=(
            Patch(
                before=MISMATCH,
                after="if request.prev_log_index > last_index(server.log):",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=3, terms=3, log_length=1),
    ),
    Mutant(
        name="B19",
        title="every AppendEntries cuts the log after it, conflict or not",
        seen_in="willemt #37, lerna #151, PySyncObj 0.3.14",
        patches=(
            Patch(
                before="first_conflict(server.log, request.prev_log_index, request.entries)",
                after="Index(request.prev_log_index + 1)",
            ),
        ),
        verdict=Killed(by="match_index_truthful", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="B21",
        title="a conflicting entry is kept, yet acknowledged",
        seen_in="a mistake in ports",
        patches=(
            Patch(
                before="    if conflict is None:\n        return server, ()",
                after="""\
    if conflict is None or conflict <= last_index(server.log):
        return server, ()""",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B22",
        title="a conflicting entry is replaced, the stale ones after it are kept",
        seen_in="mofa #1151",
        patches=(
            Patch(
                before="missing = request.entries[conflict - request.prev_log_index - 1 :]\n",
                after="""\
missing = request.entries[conflict - request.prev_log_index - 1 :]
    missing += entries_from(server.log, Index(conflict + len(missing)))
""",
            ),
        ),
        verdict=Killed(by="log_terms_ascend", servers=3, terms=2, log_length=2),
    ),
    Mutant(
        name="B23",
        title="a follower acknowledges its own last entry, not the last one verified",
        seen_in="CCF #6016, etcd #1367",
        patches=(
            Patch(
                before="match_index=index_of_last_new_entry, round",
                after="match_index=last_index(server.log), round",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="B25",
        title="match_index is advanced when entries are sent",
        seen_in="PySyncObj #167",
        patches=(
            Patch(
                before="""\
            server, advanced = advance(options, server)
            return server, (*stored, *advanced, accepted, *replicate(options, server))
""",
                after="""\
            sent, end = replicate(options, server), last_index(server.log)
            role = Leader(
                next_index=IndexOf.of(dict.fromkeys(peers(server), Index(end + 1))),
                match_index=IndexOf.of(dict.fromkeys(peers(server), end)),
            )
            server, advanced = advance(options, replace(server, role=role))
            return server, (*stored, *advanced, accepted, *sent)
""",
            ),
        ),
        verdict=Killed(by="match_index_truthful", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="B26",
        title="a late acknowledgement sets match_index back",
        seen_in="PySyncObj #167, raftos #25, raft.tla #18",
        patches=(
            Patch(
                before="response.match_index > match_index[follower]",
                after="response.match_index != match_index[follower]",
            ),
        ),
        verdict=Killed(by="match_index_never_decreases", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="B27",
        title="a late rejection sets next_index back to what is known to match",
        seen_in="PySyncObj #167, WRaft, etcd-raft #149, CCF #5341",
        patches=(
            Patch(
                before="match_index[follower] < response.prev_log_index == next_index",
                after="response.prev_log_index == next_index",
            ),
        ),
        verdict=Killed(by="next_index_above_match_index", servers=2, terms=2, log_length=1),
    ),
    Mutant(
        name="B28",
        title="match_index is not cleared on election",
        seen_in="a mistake in ports",
        patches=MATCH_INDEX_SURVIVES,
        verdict=Scripted(
            by="match_index_truthful",
            schedule=S1_ELECTED + S2_HAS_ACKNOWLEDGED + S3_REPLACES_THE_ENTRY + S1_ELECTED_AGAIN,
            servers=5,
        ),
    ),
    # Commitment (§5.3, §5.4.2) and durability (Figure 2)
    Mutant(
        name="B30",
        title='"durable up to" is not lowered after a truncation',
        seen_in="rabbitmq ra #637",
        patches=(
            Patch(
                before="durable_index = min(server.durable_index, Index(first_index - 1))",
                after="durable_index = server.durable_index",
            ),
        ),
        verdict=Killed(
            by="durable_index_truthful", servers=3, terms=2, log_length=2, pending_writes=1
        ),
    ),
    Mutant(
        name="B31",
        title="an entry of an older term is committed by counting copies (Figure 8)",
        seen_in="LogCabin #44, goraft #27, PySyncObj #110 #169, canonical/raft #336, CCF #4485",
        patches=(
            Patch(
                before="""\
    if term_at(server.log, agreed) != server.current_term:
        return server, ()
""",
                after="",
            ),
        ),
        verdict=Killed(by="commit_by_current_term", servers=2, terms=2, log_length=1),
    ),
    Mutant(
        name="B32",
        title="a follower commits up to its own last entry, verified or not",
        seen_in="copycat #265, lerna #165 #166",
        patches=(
            Patch(
                before="min(request.leader_commit, index_of_last_new_entry)",
                after="min(request.leader_commit, last_index(server.log))",
            ),
        ),
        verdict=Killed(by="state_machine_safety", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B35",
        title="the search for the entry to commit stops at one of an older term",
        seen_in="raftos #30",
        patches=(
            Patch(
                before="if term_at(server.log, agreed) != server.current_term:",
                after="""\
if term_at(server.log, Index(server.commit_index + 1)) != server.current_term:""",
            ),
        ),
        verdict=Killed(by="leader_can_commit", servers=1, terms=2, log_length=2),
    ),
    Mutant(
        name="B36",
        title="a follower acknowledges entries before they are durable",
        seen_in="tikv #994, NATS 2.12.1, PySyncObj 0.3.14 (its journal is never flushed)",
        patches=(
            Patch(
                module="spec.disk",
                before="import AppendEntries,",
                after="import AppendEntries, AppendEntriesSuccess,",
            ),
            Patch(
                module="spec.disk",
                before="message=AppendEntries() |",
                after="message=AppendEntries() | AppendEntriesSuccess() |",
            ),
        ),
        verdict=Killed(
            by="match_index_truthful", servers=2, terms=1, log_length=1, pending_writes=1
        ),
    ),
    Mutant(
        name="B37",
        title="a leader counts its own entry before it is durable",
        seen_in="d-engine #329, etcd #14370",
        patches=(
            Patch(
                before="server.server_id: server.durable_index}",
                after="server.server_id: last_index(server.log)}",
            ),
        ),
        verdict=Killed(
            by="committed_on_a_quorum", servers=1, terms=1, log_length=1, pending_writes=1
        ),
    ),
    Mutant(
        name="B38",
        title="a server comes back under the same id with an empty log",
        seen_in="RethinkDB #5289, etcd #10166, etcd-raft #197",
        patches=(
            Patch(
                before="voted_for=server.voted_for,\n        log=server.log,",
                after="voted_for=server.voted_for,\n        log=Log(),",
            ),
        ),
        verdict=Killed(by="committed_on_a_quorum", servers=1, terms=1, log_length=1),
    ),
    Mutant(
        name="B39",
        title="damage in the middle of the log is taken for a torn tail and cut off",
        seen_in="LogCabin, ZooKeeper (Alagappan et al.: Protocol-Aware Recovery, FAST '18)",
        verdict=NotExpressible(reason=NO_FILES),
    ),
    Mutant(
        name="B40",
        title="a torn tail keeps the server from starting",
        seen_in="etcd #5230 #6515, dqlite #190",
        verdict=NotExpressible(reason=NO_FILES),
    ),
    Mutant(
        name="B41",
        title="fsync failed and is tried again, as if it could still succeed",
        seen_in='PostgreSQL ("fsyncgate")',
        verdict=NotExpressible(reason=NO_FILES),
    ),
    # Snapshots (§7)
    Mutant(
        name="B42",
        title="snapshot and log are replaced in the wrong order",
        seen_in="redisraft #43 #654",
        patches=(
            Patch(
                module="spec.snapshot",
                before="return server, (*conflict, stored, Restore",
                after="return server, (stored, *removed, Restore",
            ),
            Patch(
                module="spec.snapshot",
                before="    stored = PersistSnapshot(",
                after="""\
    removed = [replace(write, first_index=Index(index + 1)) for write in conflict]
    stored = PersistSnapshot(""",
            ),
        ),
        verdict=Killed(by="safe_between_writes", servers=3, terms=2, log_length=2, snapshots=2),
    ),
    Mutant(
        name="B44",
        title="a conflicting suffix is kept after a snapshot is installed",
        seen_in="scylla #9551, hashicorp/raft #704",
        patches=(
            Patch(
                module="spec.snapshot",
                before="if term_at(log, index) != snapshot.last_included_term and",
                after="if False and",
            ),
        ),
        verdict=Killed(by="log_terms_ascend", servers=3, terms=2, log_length=2, snapshots=1),
    ),
    Mutant(
        name="B45",
        title="an old uncommitted configuration outlives a newer snapshot",
        seen_in="openraft #1808, scylla #9551",
        patches=(
            Patch(
                module="spec.snapshot",
                before="= in_force(server.first_configuration, log)",
                after="= server.configuration, server.configuration_index",
            ),
        ),
        verdict=Killed(
            by="latest_configuration_in_force",
            servers=3,
            terms=2,
            log_length=3,
            config_changes=1,
            snapshots=1,
        ),
    ),
    Mutant(
        name="B46",
        title="after compaction, prev_log_index 0 appends again",
        seen_in="WRaft #118",
        patches=(
            Patch(
                module="spec.log",
                before="return index < base_index(log) or term_at(log, index) == term",
                after="return index == 0 or term_at(log, index) == term",
            ),
            Patch(
                module="spec.log",
                before="""\
    assert place >= 0, "the snapshot covers this entry"
    return place""",
                after="    return max(place, 0)",
            ),
        ),
        verdict=Killed(by="within_bounds", servers=2, terms=1, log_length=2, snapshots=1),
    ),
    Mutant(
        name="B47",
        title="a snapshot is merged into the state machine instead of replacing it",
        seen_in="jgroups-raft #301",
        patches=(
            Patch(
                module="spec.snapshot",
                before="    log = compact(log, snapshot)\n",
                after="""\
    if log.snapshot:
        snapshot = replace(snapshot, data=log.snapshot.data + b" " + snapshot.data)
    log = compact(log, snapshot)
""",
            ),
        ),
        verdict=Killed(by="snapshots_agree", servers=3, terms=1, log_length=2, snapshots=1),
    ),
    Mutant(
        name="B49",
        title="a heartbeat carries the leader's commit index, whatever the follower has",
        seen_in="cockroach #25173, etcd #3519",
        patches=(
            Patch(
                before="commit_up_to(server, min(request.leader_commit, index_of_last_new_entry))",
                after="commit_up_to(server, request.leader_commit)",
            ),
        ),
        verdict=Killed(by="state_machine_safety", servers=3, terms=1, log_length=1),
    ),
    Mutant(
        name="B50",
        title="a client is answered by the index alone, where another term's entry landed",
        seen_in="redisraft #23 (its shape), general",
        patches=(
            Patch(
                module="spec.clients",
                before="if term_at(server.log, waiting.index) != waiting.term:",
                after="if False:",
            ),
        ),
        verdict=Killed(
            by="answers_name_the_effect",
            servers=3,
            terms=2,
            log_length=1,
            clients=ClientBounds(clients=2, commands=1),
        ),
    ),
    # Membership (§6)
    Mutant(
        name="B51",
        title="a configuration changes before an entry of the leader's term is committed",
        seen_in="Ongaro 2015, copycat #23, AxonServer #120, braft #182",
        patches=(CHANGES_AT_ONCE,),
        # The published schedule of single-server changes: two leaders remove different servers.
        verdict=Killed(
            by="leader_completeness",
            servers=4,
            terms=3,
            log_length=1,
            config_changes=1,
            features=frozenset({"single-server"}),
            alone=True,
        ),
    ),
    Mutant(
        name="B52",
        title="more than one server changes without a joint configuration",
        seen_in="the mistake that §6 is about, D4",
        patches=(
            Patch(
                module="spec.membership",
                before="Configuration(old=configuration.old, new=target)",
                after="Configuration(old=target)",
            ),
        ),
        verdict=Killed(
            by="joint_consensus_between", servers=2, terms=1, log_length=3, config_changes=1
        ),
    ),
    Mutant(
        name="B53",
        title="a second change while one is uncommitted",
        seen_in="the mistake that D4.1 rules out",
        patches=(
            Patch(
                module="spec.membership",
                before="if server.configuration_index > server.commit_index:\n"
                '        return "the last change is not committed"',
                after="",
            ),
        ),
        verdict=Killed(
            by="one_change_at_a_time", servers=2, terms=1, log_length=5, config_changes=2
        ),
    ),
    Mutant(
        name="B54",
        title="a joint configuration decides by one majority, of the union or of C_new",
        seen_in="CCF #3948 #4018, async-raft #62, camunda #60086",
        patches=(
            Patch(
                module="spec.quorum",
                before="is_majority(servers, configuration.old) and (\n"
                "        configuration.new is None or is_majority(servers, configuration.new)\n"
                "    )",
                after="is_majority(servers, {*configuration.old, *(configuration.new or ())})",
            ),
        ),
        verdict=Killed(
            by="committed_on_a_quorum", servers=3, terms=1, log_length=3, config_changes=1
        ),
    ),
    Mutant(
        name="B55",
        title="a candidate stands while committed configurations are unapplied",
        seen_in="etcd #7625 #11284, etcd-raft #456",
        patches=(
            Patch(
                module="spec.membership",
                before="    configuration, index = server.configuration, "
                "server.configuration_index\n    if index >= since:",
                after="""\
    if not isinstance(server.role, Leader):
        return replace(server, log=log)
    configuration, index = server.configuration, server.configuration_index
    if index >= since:""",
            ),
            Patch(
                before="    committed = CommittedUpTo(commit_index=index, counted_by=counted_by)\n",
                after="""\
    committed = CommittedUpTo(commit_index=index, counted_by=counted_by)
    if not isinstance(server.role, Leader):  # it is applied as far as it was committed before
        first, count = Index(base_index(server.log) + 1), server.commit_index
        applied = replace(server.log, entries=entries_from(server.log, first, count))
        now, at = in_force(server.first_configuration, applied)
        server = replace(server, configuration=now, configuration_index=at)
""",
            ),
        ),
        verdict=Killed(
            by="latest_configuration_in_force",
            servers=2,
            terms=1,
            log_length=3,
            config_changes=1,
        ),
    ),
    Mutant(
        name="B57",
        title="a removed or isolated server disrupts the leader",
        seen_in="LogCabin #56, hashicorp/raft #526",
        patches=(
            Patch(
                before="if options.check_quorum and is_disregarded(server, message):",
                after="if False:",
            ),
        ),
        verdict=Killed(
            by="leader_not_disrupted",
            servers=3,
            terms=2,
            log_length=0,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="B58",
        title="a leader that reaches no quorum never steps down",
        seen_in="Cloudflare 2020, tikv raft-rs #84",
        patches=(Patch(before="    if is_answered(server):", after="    if True:"),),
        verdict=Killed(
            by="unanswered_leader_steps_down",
            servers=2,
            terms=1,
            log_length=0,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="B59",
        title="a learner that was made a voter refuses to vote",
        seen_in="etcd #10998, raft-rs #57",
        patches=(
            Patch(
                before="granted = server.voted_for in (None, request.candidate_id) and is_up",
                after="granted = server.server_id in server.first_configuration.old and "
                "server.voted_for in (None, request.candidate_id) and is_up",
            ),
        ),
        verdict=Killed(
            by="leader_can_be_elected", servers=3, terms=2, log_length=3, config_changes=1
        ),
    ),
    # Clients (§8)
    Mutant(
        name="B60",
        title="a deposed leader answers a read from its own state",
        seen_in="xraft #40, d-engine #381, adjoint raft #41",
        patches=(
            Patch(
                before="return await_round(server, server.role, Read(read_id=read_id, ask",
                after="return server, (ReadReady(read_id=read_id, read_index=server.commit_index),)"
                "\n            return await_round(server, server.role, Read(read_id=read_id, ask",
            ),
        ),
        verdict=Killed(
            by="reads_are_confirmed", servers=2, terms=1, log_length=1, clients=ONE_READ
        ),
    ),
    Mutant(
        name="B61",
        title="a read index from before the first commit of the leader's own term",
        seen_in="etcd #7331, redisraft #18 #19 #22, tikv #9239",
        patches=(
            Patch(
                module="spec.reads",
                before="return term_at(server.log, server.commit_index) == server.current_term",
                after="return True",
            ),
        ),
        verdict=Killed(
            by="reads_are_confirmed", servers=2, terms=2, log_length=1, clients=ONE_READ
        ),
    ),
    Mutant(
        name="B62",
        title="acknowledgements of a read are matched by a request id that was used before",
        seen_in="etcd #20418, etcd-raft #397",
        patches=(
            Patch(
                module="spec.reads",
                before="    if of_round != reads.round:\n        return reads\n",
                after="",
            ),
        ),
        verdict=Killed(
            by="reads_are_confirmed", servers=2, terms=1, log_length=1, clients=ONE_READ
        ),
    ),
    Mutant(
        name="B63",
        title="a lease outlives a leadership transfer or a jump of the clock",
        seen_in="raft-rs #234, etcd #12704, tikv #964, openraft #1747 #1749",
        verdict=NotExpressible(reason="leases and clocks are not in spec"),
    ),
    Mutant(
        name="B64",
        title="a command that was sent again is applied twice",
        seen_in="etcd #18424, akka-raft #64",
        patches=(
            Patch(
                module="spec.sessions",
                before="return Repeated() if serial_number in done else Fresh()",
                after="return Fresh()",
            ),
        ),
        verdict=Killed(
            by="exactly_once", servers=1, terms=1, log_length=2, clients=ClientBounds(commands=1)
        ),
    ),
    Mutant(
        name="B65",
        title="a timeout is reported to the client as a failure",
        seen_in="redisraft #23",
        patches=(
            Patch(
                module="spec.clients",
                before="    if waiting.index > server.commit_index:\n        return None",
                after="    if waiting.index > server.commit_index:\n"
                "        return Failed(term=waiting.term, index=waiting.index)",
            ),
        ),
        verdict=Killed(
            by="failed_is_not_done",
            servers=2,
            terms=1,
            log_length=1,
            clients=ClientBounds(commands=1),
        ),
    ),
    # Controls
    Mutant(
        name="C12",
        title="a vote that arrives twice is counted twice, among 3 servers",
        seen_in="B12",
        patches=(TWICE_COUNTED,),
        verdict=Control(
            reason="of 3 servers, one vote beside its own elects a candidate",
            servers=3,
            terms=2,
            log_length=1,
        ),
    ),
    Mutant(
        name="C13",
        title="half of the servers is a majority, among 3 servers",
        seen_in="B13",
        patches=(HALF_IS_A_MAJORITY,),
        verdict=Control(
            reason="half of an odd number, rounded up, is a majority",
            servers=3,
            terms=2,
            log_length=1,
        ),
    ),
    Mutant(
        name="C28",
        title="match_index is not cleared on election, among 3 servers",
        seen_in="B28",
        patches=MATCH_INDEX_SURVIVES,
        verdict=Control(
            reason="of 3 servers, one that acknowledged a leader of the entry's term commits it",
            servers=3,
            terms=3,
            log_length=1,
        ),
    ),
    # Sabotages of pre-vote, check-quorum and transfer
    Mutant(
        name="E01",
        title="a candidate that asks for pre-votes forgets its vote",
        seen_in="canonical/raft #196, by analogy with B05",
        patches=(
            Patch(
                before="server = with_pre_votes(silent(server), frozenset())",
                after="server = with_pre_votes(replace(silent(server), "
                "voted_for=None), frozenset())",
            ),
        ),
        verdict=Killed(
            by="one_vote_per_term",
            servers=2,
            terms=2,
            log_length=0,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="E02",
        title="a leader that steps down in its term forgets its vote",
        seen_in="by analogy with B05",
        patches=(
            Patch(
                before="return replace(server, role=Follower()), (*aborted, ",
                after="return replace(server, role=Follower(), voted_for=None), (*aborted, ",
            ),
        ),
        verdict=Killed(
            by="one_vote_per_term",
            servers=2,
            terms=1,
            log_length=0,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="E03",
        title="a PreVote of a newer term is adopted",
        seen_in="the disruption that D9.6 is about",
        patches=(
            Patch(
                before="isinstance(message, PreVote | PreVoteResponse)",
                after="isinstance(message, PreVoteResponse)",
            ),
        ),
        verdict=Killed(
            by="pre_vote_changes_nothing",
            servers=2,
            terms=2,
            log_length=0,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="E04",
        title="a pre-vote is granted though a leader is heard",
        seen_in="by analogy with B57",
        patches=(
            Patch(
                module="spec.elections",
                before="return not hears_leader(server) and is_up",
                after="return is_up",
            ),
        ),
        verdict=Killed(
            by="pre_votes_are_earned",
            servers=2,
            terms=2,
            log_length=0,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="E05",
        title="a pre-vote is granted to any log",
        seen_in="by analogy with B07",
        patches=(
            Patch(
                module="spec.elections",
                before="""\
    return not hears_leader(server) and is_up_to_date(
        (request.last_log_term, request.last_log_index),
        (last_term(server.log), last_index(server.log)),
    )""",
                after="    return not hears_leader(server)",
            ),
        ),
        verdict=Killed(
            by="pre_votes_are_earned",
            servers=2,
            terms=2,
            log_length=1,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="E06",
        title="a refused pre-vote is counted like a granted one",
        seen_in="by analogy with X07",
        patches=(
            Patch(
                before="wanted = response.vote_granted and ",
                after="wanted = ",
            ),
        ),
        verdict=Killed(
            by="elections_are_promising",
            servers=2,
            terms=2,
            log_length=0,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="E07",
        title="one pre-vote is enough to begin an election",
        seen_in="by analogy with X06",
        patches=(
            Patch(
                module="spec.elections",
                before="return is_quorum(server.configuration, pre_votes | {server.server_id})",
                after="return bool(pre_votes)",
            ),
        ),
        verdict=Killed(
            by="elections_are_promising",
            servers=4,
            terms=1,
            log_length=0,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="E08",
        title="a follower does not remember to have heard its leader",
        seen_in="by analogy with B57",
        patches=(
            Patch(
                before="role=Follower(leader_heard=options.pre_vote or options.check_quorum)",
                after="role=Follower()",
            ),
        ),
        verdict=Killed(
            by="leader_heard_until_timeout",
            servers=2,
            terms=1,
            log_length=0,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="E09",
        title="a follower hears its leader for ever",
        seen_in="etcd-raft: a lease that does not end",
        patches=(
            Patch(
                module="spec.elections",
                before="replace(server, role=Follower()) if isinstance(server.role, "
                "Follower) else server",
                after="server",
            ),
        ),
        verdict=Killed(
            by="leader_heard_until_timeout",
            servers=2,
            terms=2,
            log_length=0,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="E10",
        title="one answer counts as that of a quorum",
        seen_in="by analogy with B13",
        patches=(
            Patch(
                module="spec.elections",
                before="if is_answered(replace(server, role=role)):",
                after="if role:",
            ),
        ),
        verdict=Killed(
            by="only_answers_are_counted",
            servers=4,
            terms=1,
            log_length=0,
            features=frozenset({"pre-vote"}),
        ),
    ),
    Mutant(
        name="E11",
        title="TimeoutNow goes to a server that lacks entries",
        seen_in="the order that D3.10 demands",
        patches=(
            Patch(
                module="spec.elections",
                before="return match_index.get(to) == last_index(server.log)",
                after="return to in match_index",
            ),
        ),
        verdict=Killed(
            by="transferred_when_up_to_date",
            servers=2,
            terms=2,
            log_length=1,
            features=frozenset({"transfer"}),
        ),
    ),
    Mutant(
        name="E12",
        title="commands are accepted during a transfer",
        seen_in="the order that D3.10 demands",
        patches=(
            Patch(
                before="case Leader(transferring_to=int()):",
                after="case Leader(transferring_to=str()):",
            ),
        ),
        verdict=Killed(
            by="no_commands_during_transfer",
            servers=2,
            terms=2,
            log_length=1,
            features=frozenset({"transfer"}),
        ),
    ),
    Mutant(
        name="E13",
        title="a transfer is never aborted",
        seen_in="the timeout that D3.10 demands",
        patches=(
            Patch(
                before="return with_transfer(server, None), (TransferAborted(to=to),)",
                after="return server, ()",
            ),
        ),
        verdict=Killed(
            by="transfer_ends_with_timeout",
            servers=2,
            terms=2,
            log_length=0,
            features=frozenset({"transfer"}),
        ),
    ),
    Mutant(
        name="E14",
        title="RequestVote is disregarded though the leader wants the election",
        seen_in="the exception that D4.2.3 makes for D3.10",
        patches=(
            Patch(
                module="spec.elections",
                before="        and not message.leadership_transfer\n",
                after="",
            ),
        ),
        verdict=Killed(
            by="transfer_not_disregarded",
            servers=2,
            terms=2,
            log_length=0,
            features=frozenset({"pre-vote", "transfer"}),
        ),
    ),
    Mutant(
        name="E15",
        title="the election after TimeoutNow is not marked as wanted",
        seen_in="the exception that D4.2.3 makes for D3.10",
        patches=(
            Patch(
                before="start_election(options, server, transfer=True)",
                after="start_election(options, server)",
            ),
        ),
        verdict=Killed(
            by="transfer_completed",
            servers=2,
            terms=2,
            log_length=0,
            features=frozenset({"transfer"}),
        ),
    ),
    # Sabotages of progress, which safety cannot see
    Mutant(
        name="L01",
        title="a candidate whose election failed never stands again",
        seen_in="the rule of §5.2 on split votes",
        patches=(
            Patch(
                before="        case Follower() | Candidate():\n            return start_election",
                after="""\
        case Candidate():
            return server, ()
        case Follower():
            return start_election""",
            ),
        ),
        verdict=Killed(by="leader_can_be_elected", servers=2, terms=2, log_length=0),
    ),
    Mutant(
        name="L02",
        title="a leader sends its entries once and never again",
        seen_in="the rule of §5.3 that AppendEntries are retried indefinitely",
        patches=(
            Patch(
                before="return server, (*replicate(options, server), *hand_over(server))",
                after="return server, ()",
            ),
        ),
        verdict=Killed(by="leader_can_commit", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="L03",
        title="an election needs the votes of all servers",
        seen_in="by analogy with B13",
        patches=(
            Patch(
                before="is_quorum(server.configuration, votes):",
                after="votes >= server.configuration.old:",
            ),
        ),
        verdict=Killed(by="leader_can_be_elected", servers=3, terms=1, log_length=0),
    ),
    Mutant(
        name="L04",
        title="an entry is committed only when all servers have stored it",
        seen_in="by analogy with B13",
        patches=(
            Patch(
                before="agreed = agreed_index(server.configuration, known_to_have(server))",
                after="agreed = min(known_to_have(server).values())",
            ),
        ),
        verdict=Killed(by="leader_can_commit", servers=3, terms=1, log_length=1),
    ),
    Mutant(
        name="L05",
        title="a deposed leader begins no election timeout",
        seen_in="the rule of §5.2 that followers and candidates have one",
        patches=(
            Patch(
                before="deposed = (stepped_down, ResetElectionTimer(), ",
                after="deposed = (stepped_down, ",
            ),
        ),
        verdict=Killed(by="election_timeout_begins", servers=2, terms=2, log_length=0),
    ),
    Mutant(
        name="L06",
        title="a candidate begins no new election timeout",
        seen_in="the rule of §5.2 on split votes",
        patches=(
            Patch(
                before="asked: Effects = (vote, ResetElectionTimer(), *request_votes(server))",
                after="asked: Effects = (vote, *request_votes(server))",
            ),
        ),
        verdict=Killed(by="election_timeout_begins", servers=1, terms=1, log_length=0),
    ),
    Mutant(
        name="L07",
        title="a server votes for nobody but itself",
        seen_in="by analogy with B10",
        patches=(
            Patch(
                before=UNVOTED,
                after="granted = server.voted_for == request.candidate_id and is_up_to_date(",
            ),
        ),
        verdict=Killed(by="leader_can_be_elected", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="L08",
        title="a request of an older term is not answered",
        seen_in="the rule of §5.1 that it is rejected",
        patches=(
            Patch(
                before="server, (Send(to=source, message=StaleTerm(term=server.current_term)),)",
                after="server, ()",
            ),
        ),
        verdict=Killed(by="leader_can_be_elected", servers=2, terms=3, log_length=1),
    ),
    # Sabotages that nobody needs to have seen
    Mutant(
        name="X01",
        title="a vote is granted without being persisted",
        seen_in="by analogy with B36",
        patches=(
            Patch(
                before="voted_for=request.candidate_id), (vote, ResetElectionTimer(), answer)",
                after="voted_for=request.candidate_id), (ResetElectionTimer(), answer)",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X02",
        title="a newer term is adopted without being persisted",
        seen_in="by analogy with B36",
        patches=(
            Patch(
                before="(PersistTermAndVote(current_term=term, voted_for=None), *deposed)",
                after="deposed",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=2, terms=2, log_length=0),
    ),
    Mutant(
        name="X03",
        title="a candidate asks for votes before its own is durable",
        seen_in="by analogy with B36",
        patches=(
            Patch(
                before="(vote, ResetElectionTimer(), *request_votes(server))",
                after="(ResetElectionTimer(), *request_votes(server), vote)",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X04",
        title="a truncation is not persisted: the new entries are stored after the old ones",
        seen_in="by analogy with B30",
        patches=(
            Patch(
                before="PersistEntries(first_index=conflict, entries=missing)",
                after="""\
PersistEntries(
            first_index=Index(len(server.log.entries) + 1), entries=missing
        )""",
            ),
        ),
        verdict=Killed(by="safe_between_writes", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="X05",
        title="the no-op of a new leader is not persisted",
        seen_in="by analogy with B37",
        patches=(
            Patch(
                before="return server, (*stored, elected, *advanced, *asked)",
                after="return server, (elected, *advanced, *asked)",
            ),
        ),
        verdict=Killed(
            by="durable_before_sent", servers=1, terms=1, log_length=1, profile="server"
        ),
    ),
    Mutant(
        name="X06",
        title="a candidate's own vote is enough",
        seen_in="by analogy with B13",
        patches=(
            Patch(
                before="votes_granted=votes) if is_quorum(server.configuration, votes):",
                after="votes_granted=votes) if votes:",
            ),
        ),
        verdict=Killed(by="elected_by_a_quorum", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X07",
        title="a refused vote is counted like a granted one",
        seen_in="by analogy with B11",
        patches=(
            Patch(
                before="case Candidate(votes_granted=votes_granted) if response.vote_granted:",
                after="case Candidate(votes_granted=votes_granted):",
            ),
        ),
        verdict=Killed(by="elected_by_a_quorum", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X08",
        title="a leader that hears of a newer term leads on, in that term",
        seen_in="by analogy with B05",
        patches=(
            Patch(
                before="current_term=term, voted_for=None, role=Follower())",
                after="current_term=term, voted_for=None)",
            ),
        ),
        verdict=Killed(by="no_exception", servers=2, terms=2, log_length=0),
    ),
    Mutant(
        name="X09",
        title="AppendEntries of an older term is taken",
        seen_in="by analogy with B11",
        patches=(
            Patch(
                before=OLDER_TERM,
                after="""\
    entries = isinstance(message, AppendEntries)
    if message.term < server.current_term and not entries:
        return on_older""",
            ),
        ),
        verdict=Killed(by="no_exception", servers=2, terms=2, log_length=0),
    ),
    Mutant(
        name="X10",
        title="an acknowledgement of an older term is counted",
        seen_in="by analogy with B11 and B28",
        patches=(
            Patch(
                before=OLDER_TERM,
                after="""\
    acknowledged = isinstance(message, AppendEntriesSuccess)
    if message.term < server.current_term and not acknowledged:
        return on_older""",
            ),
        ),
        verdict=Scripted(
            by="match_index_truthful",
            schedule=(
                *S1_ELECTED,
                *S3_REPLACES_THE_ENTRY,
                *S1_ELECTED_AGAIN,
                *S2_HAS_ACKNOWLEDGED,
            ),
            servers=5,
        ),
    ),
    Mutant(
        name="X11",
        title="a leader puts a new entry in the place of its uncommitted ones",
        seen_in="by analogy with B19",
        patches=(
            Patch(
                before="""\
    stored = PersistEntries(first_index=Index(last_index(server.log) + 1), entries=entries)
    server = with_log(server, append(server.log, entries), stored.first_index)
""",
                after="""\
    first_index = Index(server.commit_index + 1)
    stored = PersistEntries(first_index=first_index, entries=entries)
    server = replace(server, log=splice(server.log, first_index, entries))
""",
            ),
        ),
        verdict=Killed(by="leader_append_only", servers=2, terms=1, log_length=2),
    ),
    Mutant(
        name="X12",
        title="a follower appends without any look at what comes before",
        seen_in="by analogy with B18",
        patches=(
            Patch(
                before=MISMATCH,
                after="if False:",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=2, terms=2, log_length=1),
    ),
    Mutant(
        name="X13",
        title="a follower stores entries under the leader's term, not under their own",
        seen_in="by analogy with B31",
        patches=(
            Patch(
                before="missing = request.entries[conflict - request.prev_log_index - 1 :]\n",
                after="""\
missing = tuple(
        replace(entry, term=request.term)
        for entry in request.entries[conflict - request.prev_log_index - 1 :]
    )
""",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=2, terms=2, log_length=1),
    ),
    Mutant(
        name="X14",
        title="a rejection does not decrement next_index",
        seen_in="by analogy with B27",
        patches=(
            Patch(
                before="next_index=next_index.put(follower, response.retry_from)",
                after="next_index=next_index",
            ),
        ),
        verdict=Killed(by="leader_can_commit", servers=2, terms=2, log_length=2),
    ),
    Mutant(
        name="X15",
        title="a leader sends entries from one too late",
        seen_in="an off-by-one mistake",
        patches=(
            Patch(
                before="entries=entries_from(server.log, first_index, count),",
                after="entries=entries_from(server.log, Index(first_index + 1), count),",
            ),
        ),
        verdict=Killed(by="log_matching_sent", servers=2, terms=1, log_length=2),
    ),
    Mutant(
        name="X16",
        title="a leader announces its last entry as committed",
        seen_in="by analogy with B49",
        patches=(
            Patch(
                before="leader_commit=server.commit_index,",
                after="leader_commit=last_index(server.log),",
            ),
        ),
        verdict=Killed(by="log_matching_sent", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="X17",
        title="a late AppendEntries sets commit_index back",
        seen_in="by analogy with B26",
        patches=(
            Patch(
                before="    if index <= server.commit_index:",
                after="    if index == server.commit_index:",
            ),
        ),
        verdict=Killed(by="commit_index_never_decreases", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="X18",
        title="a leader commits what it has stored itself",
        seen_in="by analogy with B37",
        patches=(
            Patch(
                before="agreed = agreed_index(server.configuration, known_to_have(server))",
                after="agreed = last_index(server.log)",
            ),
        ),
        verdict=Killed(by="committed_on_a_quorum", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="X19",
        title="a leader does not count its own copy",
        seen_in="by analogy with B04",
        patches=(
            Patch(
                before="{**server.role.match_index, server.server_id: server.durable_index}",
                after="{**server.role.match_index, server.server_id: Index(0)}",
            ),
        ),
        verdict=Killed(by="leader_can_commit", servers=1, terms=1, log_length=1),
    ),
    Mutant(
        name="X20",
        title="a vote is given and neither recorded nor persisted",
        seen_in="by analogy with B04",
        patches=(
            Patch(
                before="return replace(server, voted_for=request.candidate_id), (vote, ",
                after="return server, (",
            ),
        ),
        verdict=Killed(by="votes_are_recorded", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X21",
        title="a follower commits all that it has verified, whatever leader_commit says",
        seen_in="by analogy with B32",
        patches=(
            Patch(
                before="min(request.leader_commit, index_of_last_new_entry)",
                after="index_of_last_new_entry",
            ),
        ),
        verdict=Killed(by="followers_commit_as_told", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="X22",
        title="a leader announces a commit before its own write is durable",
        seen_in="by analogy with B37",
        patches=(
            Patch(
                before="(*stored, *advanced, accepted, *replicate(options, server))",
                after="(*advanced, *stored, accepted, *replicate(options, server))",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=1, terms=1, log_length=1),
    ),
    Mutant(
        name="X23",
        title="a newer term is adopted and raised at once",
        seen_in="by analogy with B15",
        patches=(
            Patch(
                before="    server = replace(server, current_term=term, voted_for=None, role",
                after="""\
    term = Term(term + 1)
    server = replace(server, current_term=term, voted_for=None, role""",
            ),
        ),
        verdict=Killed(by="within_bounds", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X24",
        title="a rejection skips what the follower lacks, even forwards",
        seen_in="by analogy with B27",
        patches=(
            Patch(
                before="Index(min(request.prev_log_index, last_index(server.log) + 1))",
                after="Index(last_index(server.log) + 1)",
            ),
        ),
        verdict=Killed(
            by="rejection_goes_back", servers=3, terms=3, log_length=2, profile="server"
        ),
    ),
    Mutant(
        name="X25",
        title="a rejection skips one entry too many",
        seen_in="an off-by-one mistake",
        patches=(
            Patch(
                before="min(request.prev_log_index, last_index(server.log) + 1)",
                after="min(request.prev_log_index, last_index(server.log))",
            ),
        ),
        verdict=Killed(
            by="next_index_above_match_index", servers=2, terms=2, log_length=2, profile="server"
        ),
    ),
    Mutant(
        name="X26",
        title="a late rejection of another request is heeded",
        seen_in="by analogy with B26",
        patches=(
            Patch(
                before="response.prev_log_index == next_index[follower] - 1",
                after="response.prev_log_index",
            ),
        ),
        verdict=Killed(by="rejection_goes_back", servers=2, terms=2, log_length=2),
    ),
    # Other sabotages of what clients are owed
    Mutant(
        name="X90",
        title="a follower serves a read before it has applied enough",
        seen_in="by analogy with B60",
        patches=(
            Patch(
                module="spec.clients",
                before="    if ready.read_index > server.commit_index:\n        return None\n",
                after="",
            ),
        ),
        verdict=Killed(
            by="reads_are_linearizable", servers=2, terms=1, log_length=1, clients=ONE_READ
        ),
    ),
    Mutant(
        name="X91",
        title="a read is served without waiting for a quorum",
        seen_in="by analogy with B13",
        patches=(
            Patch(
                module="spec.reads",
                before="if not is_quorum(server.configuration, "
                "reads.confirmed_by | {server.server_id}):",
                after="if False:",
            ),
        ),
        verdict=Killed(
            by="reads_are_confirmed", servers=2, terms=1, log_length=1, clients=ONE_READ
        ),
    ),
    Mutant(
        name="X92",
        title="a deposed leader forgets the reads that wait",
        seen_in="by analogy with B65",
        patches=(
            Patch(
                module="spec.reads",
                before="    if not isinstance(role, Leader) or role.reads == NO_READS:",
                after="    if True:",
            ),
        ),
        verdict=Killed(
            by="deposed_leader_refuses_read", servers=2, terms=2, log_length=1, clients=ONE_READ
        ),
    ),
    Mutant(
        name="X93",
        title="a session answers a repeated command with what came last",
        seen_in="by analogy with B64",
        patches=(
            Patch(
                module="spec.sessions",
                before="return machine, session.result",
                after="return machine, machine.count",
            ),
        ),
        verdict=Killed(
            by="answers_name_the_effect",
            servers=1,
            terms=1,
            log_length=3,
            clients=ClientBounds(clients=2, commands=1),
        ),
    ),
    # Other sabotages of membership changes
    Mutant(
        name="X30",
        title="a follower goes on with the configuration it had",
        seen_in="the rule of §6 on when a configuration is in force",
        patches=(
            Patch(
                before="server = with_log(server, log, conflict)",
                after="server = replace(server, log=log)",
            ),
        ),
        verdict=Killed(
            by="latest_configuration_in_force", servers=2, terms=1, log_length=3, config_changes=1
        ),
    ),
    Mutant(
        name="X31",
        title="C_new is appended before C_old,new is committed",
        seen_in="by analogy with B53",
        patches=(
            Patch(
                module="spec.membership",
                before="if configuration.new is not None and server.configuration_index <= server"
                ".commit_index:",
                after="if configuration.new is not None:",
            ),
        ),
        verdict=Killed(
            by="one_change_at_a_time", servers=2, terms=1, log_length=3, config_changes=1
        ),
    ),
    Mutant(
        name="X32",
        title="a leader that was removed leads on",
        seen_in="the second issue of §6",
        patches=(
            Patch(
                before="return replace(server, role=Follower()), (stepped_down, "
                "ResetElectionTimer(), *refused)",
                after="return server, ()",
            ),
        ),
        verdict=Killed(
            by="removed_leader_steps_down", servers=2, terms=1, log_length=3, config_changes=1
        ),
    ),
    Mutant(
        name="X33",
        title="servers that are no members count for a majority",
        seen_in="the mistake that D4.2.2 warns of",
        patches=(
            Patch(
                module="spec.quorum",
                before="return 2 * len(servers & voters) > len(voters)",
                after="return 2 * len(servers) > len(voters)",
            ),
        ),
        verdict=Killed(
            by="committed_on_a_quorum", servers=3, terms=1, log_length=3, config_changes=1
        ),
    ),
    Mutant(
        name="X34",
        title="votes are counted by the configuration that a server began with",
        seen_in="the rule of §6 on which configuration decides",
        patches=(
            Patch(
                before="is_quorum(server.configuration, votes)",
                after="is_quorum(server.first_configuration, votes)",
            ),
        ),
        verdict=Killed(
            by="elected_by_a_quorum", servers=3, terms=2, log_length=3, config_changes=1
        ),
    ),
    # Other sabotages of writing in parallel
    Mutant(
        name="X40",
        title="a follower acknowledges before it stores, within a step",
        seen_in="by analogy with B36",
        patches=(
            Patch(
                before="(*stored, *heard, *committed, Send(to=request.leader_id, message=success))",
                after="(*heard, *committed, Send(to=request.leader_id, message=success), *stored)",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="X41",
        title="a vote is sent before it is durable",
        seen_in="by analogy with B01",
        patches=(
            Patch(
                module="spec.disk",
                before="RequestVoteResponse(vote_granted=False)",
                after="RequestVoteResponse()",
            ),
            Patch(module="spec.disk", before=TERM_IS_BEING_WRITTEN, after="return False"),
        ),
        verdict=Killed(by="election_safety", servers=3, terms=1, log_length=0, pending_writes=1),
    ),
    Mutant(
        name="X42",
        title="votes are asked for before the term is durable",
        seen_in="by analogy with B02",
        patches=(
            Patch(
                module="spec.disk",
                before="import AppendEntries,",
                after="import AppendEntries, RequestVote,",
            ),
            Patch(
                module="spec.disk",
                before="message=AppendEntries() |",
                after="message=AppendEntries() | RequestVote() |",
            ),
            Patch(
                module="spec.disk",
                before=TERM_IS_BEING_WRITTEN,
                after="return False",
            ),
        ),
        verdict=Killed(by="election_safety", servers=3, terms=1, log_length=0, pending_writes=1),
    ),
    Mutant(
        name="X43",
        title="one write that is durable makes the whole log count as durable",
        seen_in="by analogy with B37",
        patches=(
            Patch(
                before="server = replace(server, durable_index=written.index)",
                after="server = replace(server, durable_index=last_index(server.log))",
            ),
        ),
        verdict=Killed(
            by="committed_on_a_quorum", servers=1, terms=1, log_length=2, pending_writes=2
        ),
    ),
    Mutant(
        name="X44",
        title="the newest write becomes durable first",
        seen_in="writes of a journal in no order",
        patches=(
            Patch(
                module="spec.disk",
                before="oldest, *later = disk.pending",
                after="*later, oldest = disk.pending",
            ),
        ),
        verdict=Killed(by="log_terms_ascend", servers=1, terms=1, log_length=2, pending_writes=2),
    ),
    Mutant(
        name="X45",
        title="a crash loses the first writes and leaves later ones",
        seen_in="writes of a journal in no order",
        patches=(
            Patch(
                module="spec.disk",
                before="disk.pending[:survived]",
                after="disk.pending[len(disk.pending) - survived :]",
            ),
        ),
        verdict=Killed(by="log_matching", servers=2, terms=1, log_length=2, pending_writes=2),
    ),
    Mutant(
        name="X46",
        title="no message of a leader waits for anything",
        seen_in="by analogy with B36",
        patches=(
            Patch(
                module="spec.disk",
                before=TERM_IS_BEING_WRITTEN,
                after="return False",
            ),
        ),
        verdict=Control(
            reason="a leader that others elected has stored its vote, and a refusal of a term that "
            "is not stored is true nonetheless",
            servers=2,
            terms=2,
            log_length=1,
            pending_writes=2,
        ),
    ),
    # Other sabotages of snapshots
    Mutant(
        name="X50",
        title="a snapshot claims to cover the last entry, committed or not",
        seen_in="the rule of §7 on what is discarded",
        patches=(
            Patch(
                before="snapshot = taken(server, event.last_included_index, event.data)",
                after="""\
snapshot = taken(server, event.last_included_index, event.data)
    snapshot = replace(snapshot, last_included_index=last_index(server.log))""",
            ),
        ),
        verdict=Killed(by="snapshot_is_committed", servers=2, terms=1, log_length=2, snapshots=1),
    ),
    Mutant(
        name="X51",
        title="a snapshot carries the configuration in force, even if its entry comes later",
        seen_in="the rule of §7 on the configuration as of last included index",
        patches=(
            Patch(
                module="spec.snapshot",
                before="configuration=configuration_as_of(server, last_included_index),",
                after="configuration=server.configuration,",
            ),
        ),
        verdict=Killed(
            by="joint_consensus_between",
            servers=2,
            terms=1,
            log_length=3,
            config_changes=1,
            snapshots=1,
        ),
    ),
    Mutant(
        name="X52",
        title="a snapshot carries the current term, not that of its last entry",
        seen_in="a mistake in ports",
        patches=(
            Patch(
                module="spec.snapshot",
                before="last_included_term=last_included_term,",
                after="last_included_term=server.current_term,",
            ),
        ),
        verdict=Killed(by="leader_append_only", servers=1, terms=2, log_length=2, snapshots=1),
    ),
    Mutant(
        name="X53",
        title="an older snapshot is installed, too",
        seen_in="by analogy with B26",
        patches=(
            Patch(
                module="spec.snapshot",
                before="    if index <= server.commit_index:\n        return server, ()\n",
                after="",
            ),
        ),
        verdict=Killed(by="older_snapshot_ignored", servers=3, terms=1, log_length=1, snapshots=1),
    ),
    Mutant(
        name="X54",
        title="a snapshot is installed without knowing that it is committed",
        seen_in="by analogy with X56",
        patches=(Patch(module="spec.snapshot", before="        commit_index=index,\n", after=""),),
        verdict=Killed(by="snapshot_is_committed", servers=3, terms=1, log_length=1, snapshots=1),
    ),
    Mutant(
        name="X55",
        title="the state machine is not restored from the snapshot that is installed",
        seen_in="by analogy with B47",
        patches=(
            Patch(
                module="spec.snapshot",
                before="(*conflict, stored, RestoreStateMachine(snapshot=snapshot))",
                after="(*conflict, stored)",
            ),
        ),
        verdict=Killed(
            by="state_machine_can_follow", servers=3, terms=1, log_length=1, snapshots=1
        ),
    ),
    Mutant(
        name="X56",
        title="a restart forgets that the snapshot is committed",
        seen_in="by analogy with B02",
        patches=(Patch(before="commit_index=base_index(log),", after="commit_index=Index(0),"),),
        verdict=Killed(by="snapshot_is_committed", servers=1, terms=1, log_length=1, snapshots=1),
    ),
    Mutant(
        name="X57",
        title="a snapshot is not persisted before the entries that it covers are gone",
        seen_in="by analogy with B36",
        patches=(
            Patch(
                before="compacted(server, snapshot), (PersistSnapshot(snapshot=snapshot),)",
                after="compacted(server, snapshot), ()",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=1, terms=1, log_length=1, snapshots=1),
    ),
    Mutant(
        name="X58",
        title="a leader sends from the start of its log to who lacks what is discarded",
        seen_in="by analogy with B27",
        patches=(
            Patch(
                before="if snapshot is None or first_index > snapshot.last_included_index:",
                after="""\
first_index = max(first_index, Index(base_index(server.log) + 1))
    if True:""",
            ),
        ),
        verdict=Killed(by="leader_can_commit", servers=3, terms=1, log_length=1, snapshots=1),
    ),
    Mutant(
        name="X59",
        title="a follower acknowledges its last entry, not that of the snapshot",
        seen_in="by analogy with B23",
        patches=(
            Patch(
                before="term=server.current_term, match_index=request.snapshot.last_included_index",
                after="term=server.current_term, match_index=last_index(server.log)",
            ),
        ),
        verdict=Killed(
            by="acknowledge_only_verified", servers=3, terms=1, log_length=2, snapshots=1
        ),
    ),
    Mutant(
        name="X60",
        title="a snapshot discards the whole log, also what follows its last entry",
        seen_in="by analogy with B19",
        patches=(
            Patch(
                module="spec.snapshot",
                before="if term_at(log, index) != snapshot.last_included_term and index",
                after="if index",
            ),
            Patch(
                module="spec.snapshot",
                before="        log = splice(log, index, ())\n        conflict = (PersistEntries("
                "first_index=index,",
                after="""\
        matches = term_at(log, index) == snapshot.last_included_term
        log = splice(log, Index(index + matches), ())
        conflict = (PersistEntries(first_index=Index(index + matches),""",
            ),
        ),
        verdict=Killed(by="snapshot_replaces_log", servers=3, terms=1, log_length=2, snapshots=1),
    ),
    Mutant(
        name="X61",
        title="a leader sends a snapshot to everybody",
        seen_in="a waste that §7 speaks of",
        patches=(
            Patch(
                before="if snapshot is None or first_index > snapshot.last_included_index:",
                after="if snapshot is None:",
            ),
        ),
        verdict=Killed(by="snapshot_sent_is_own", servers=2, terms=1, log_length=2, snapshots=1),
    ),
    Mutant(
        name="X62",
        title="a snapshot tells the state of the machine as it was one entry before",
        seen_in="an off-by-one mistake",
        patches=(
            Patch(
                before="snapshot = taken(server, event.last_included_index, event.data)",
                after="""\
data = event.data.rpartition(b" ")[0]
    snapshot = taken(server, event.last_included_index, data)""",
            ),
        ),
        verdict=Killed(by="snapshots_remember", servers=1, terms=1, log_length=1, snapshots=1),
    ),
    Mutant(
        name="X63",
        title="a follower that takes a snapshot discards what follows it",
        seen_in="by analogy with X60",
        patches=(
            Patch(
                module="spec.snapshot",
                before="log=compact(server.log, snapshot),",
                after="""\
log=compact(
            server.log
            if hasattr(server.role, "match_index") or server.commit_index > covered
            else splice(server.log, Index(covered + 1), ()),
            snapshot,
        ),""",
            ),
        ),
        verdict=Killed(by="compaction_only_covers", servers=2, terms=1, log_length=2, snapshots=1),
    ),
    Mutant(
        name="X64",
        title="a server that knows of no configuration yet takes a snapshot without one",
        seen_in="an earlier version of these rules, found by the checker",
        patches=(
            Patch(
                module="spec.snapshot",
                before="index > base_index(server.log) and bool(members(configuration))",
                after="index > base_index(server.log)",
            ),
        ),
        verdict=Killed(
            by="snapshots_agree",
            servers=3,
            terms=2,
            log_length=3,
            config_changes=1,
            snapshots=1,
        ),
    ),
    Mutant(
        name="X65",
        title="the session table is not in the snapshot",
        seen_in="etcd #18424, akka-raft #64 (their other form)",
        patches=(
            Patch(
                module="spec.sessions",
                before="return json.dumps([machine.count, sessions]).encode()",
                after="return json.dumps([machine.count, sessions[:0]]).encode()",
            ),
        ),
        verdict=Killed(
            by="exactly_once",
            servers=1,
            terms=1,
            log_length=2,
            snapshots=1,
            clients=ClientBounds(commands=1),
        ),
    ),
    Mutant(
        name="X67",
        title="a joint configuration begins before an entry of the leader's term is committed",
        seen_in="B51, where changes go through a joint configuration",
        patches=(CHANGES_AT_ONCE,),
        verdict=Killed(
            by="one_change_at_a_time", servers=2, terms=1, log_length=3, config_changes=1
        ),
    ),
    Mutant(
        name="X68",
        title="an entry is taken for durable when another one in its place was written",
        seen_in="rabbitmq ra #637 (its other form)",
        patches=(
            Patch(
                before="or term_at(server.log, written.index) != written.term:",
                after="or term_at(server.log, written.index) is None:",
            ),
        ),
        verdict=Killed(
            by="durable_index_truthful",
            servers=3,
            terms=2,
            log_length=1,
            pending_writes=2,
            settled=False,
            alone=True,
        ),
    ),
    Mutant(
        name="X66",
        title="a server that has discarded an entry says that it was another one",
        seen_in="an earlier version of these rules, found by the checker",
        patches=(
            Patch(
                module="spec.clients",
                before="    if waiting.index < base_index(server.log):\n        return None\n",
                after="",
            ),
        ),
        verdict=Killed(
            by="failed_is_not_done",
            servers=1,
            terms=1,
            log_length=2,
            snapshots=1,
            clients=ClientBounds(commands=2),
        ),
    ),
)

MUTANTS: tuple[Mutant, ...] = tuple(sorted(_ROWS, key=lambda mutant: mutant.name))
"""All of them, by name."""
