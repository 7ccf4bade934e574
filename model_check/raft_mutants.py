"""Known bugs of real Raft implementations, each put into one rule of ``spec``.

A mutant is a handful of source patches. ``load`` applies them to private copies of ``spec.log``,
``spec.quorum`` and ``spec.raft`` and returns the sabotaged ``step``; the specification itself
carries no trace of it. "Seen in" names public reports; bug numbers with gaps are a catalogue's.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from model_check.raft_model import Step

SABOTAGED = ("spec.log", "spec.quorum", "spec.raft")
"""The modules that hold rules, each importing only those before it."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Replace ``before``, which must occur exactly once in ``module``, by ``after``."""

    module: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """The checker finds it at these bounds, by a property or by a witness that stays away."""

    by: str
    servers: int
    terms: int
    log_length: int
    profile: str = "paper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Exhausted without a violation at these bounds: for this reason no safety bug there."""

    reason: str
    servers: int
    terms: int
    log_length: int
    profile: str = "paper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """Found by this schedule, where exhaustion is out of reach.

    ``S1: ElectionTimeout`` is an event at S1; ``S2 <- S1`` delivers to S2 what S1 last sent to it.
    """

    by: str
    servers: int
    schedule: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotExpressible:
    """The rule that it breaks is not in ``spec``."""

    reason: str


Verdict = Killed | Control | Scripted | NotExpressible


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One bug: what it is, where it was seen, how to make it, how it ends."""

    name: str
    title: str
    seen_in: str
    patches: tuple[Patch, ...] = ()
    verdict: Verdict


class MutantError(Exception):
    """A patch does not fit the source any more."""


def find(name: str) -> Mutant:
    """The mutant of this name; raises ``KeyError`` with a line that lists all names."""
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise KeyError(f"unknown mutant {name!r}: there are {', '.join(m.name for m in MUTANTS)}")


def load(mutant: Mutant) -> Step:
    """The sabotaged ``step``; raises ``MutantError`` if a patch does not fit."""
    private: dict[str, types.ModuleType] = {}

    def import_private(
        name: str,
        globals_: Mapping[str, object] | None = None,
        locals_: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        if name in private:
            return private[name]
        return builtins.__import__(name, globals_, locals_, fromlist or (), level)

    for name in SABOTAGED:
        original = importlib.import_module(name)
        module = types.ModuleType(name, f"{name}, sabotaged by {mutant.name}")
        module.__file__ = original.__file__
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": import_private}
        source = patched(mutant, name, inspect.getsource(original))
        exec(compile(source, f"{original.__file__} ({mutant.name})", "exec"), module.__dict__)
        private[name] = module
    return cast(Step, private["spec.raft"].__dict__["step"])


def patched(mutant: Mutant, module: str, source: str) -> str:
    """The source of a module with the mutant's patches applied."""
    for patch in mutant.patches:
        if patch.module != module:
            continue
        if source.count(patch.before) != 1:
            raise MutantError(
                f"mutant {mutant.name}: {source.count(patch.before)} places in {module} instead of "
                f"one read {patch.before.strip().splitlines()[0]!r}"
            )
        source = source.replace(patch.before, patch.after)
    return source


def _raft(before: str, after: str) -> Patch:
    return Patch("spec.raft", before, after)


# Places that several bugs share.
_VOTED_FOR = "server.voted_for in (None, request.candidate_id) and is_up_to_date("
_UP_TO_DATE = """ and is_up_to_date(
        (request.last_log_term, request.last_log_index),
        (last_term(server.log), last_index(server.log)),
    )"""
_OLDER = "    if message.term < server.current_term:\n"
_FOLLOWER_AGAIN = "current_term=term, voted_for=None, role=Follower())"
_RECOGNISED = "server = replace(server, role=Follower())  # a candidate"
_ACKNOWLEDGED = (
    "AppendEntriesSuccess(term=server.current_term, match_index=index_of_last_new_entry)"
)
_COMMIT = "min(request.leader_commit, index_of_last_new_entry)"
_NEW_MATCH_INDEX = "match_index=IndexOf.of(dict.fromkeys(others, Index(0))),"

_SECTION_6 = "membership changes (§6) are not in the spec"
_SECTION_7 = "snapshots (§7) are not in the spec"
_READS = "linearizable reads (§8, D6.4) are not in the spec"
_SESSIONS = "client sessions (§8, D6.3) are not in the spec"
_DISK = "a fault of the storage of a server, which is not here"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="B01",
        title="vote lost on restart",
        seen_in="PySyncObj 0.3.14 (term and vote live only in memory); akka-raft #56",
        patches=(
            _raft("voted_for=server.voted_for,\n        log", "voted_for=None,\n        log"),
        ),
        verdict=Killed(by="one_vote_per_term", servers=3, terms=1, log_length=0),
    ),
    Mutant(
        name="B02",
        title="term lost on restart",
        seen_in="PySyncObj 0.3.14",
        patches=(
            _raft(
                "current_term=server.current_term,\n"
                "        voted_for=server.voted_for,\n        log",
                "current_term=Term(0),\n        voted_for=None,\n        log",
            ),
        ),
        verdict=Killed(by="term_never_decreases", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="B03",
        title="second vote in the same term",
        seen_in="camunda #5356, nebula #2405",
        patches=(_raft(_VOTED_FOR, "is_up_to_date("),),
        verdict=Killed(by="one_vote_per_term", servers=3, terms=1, log_length=0),
    ),
    Mutant(
        name="B04",
        title="candidate's vote for itself not recorded",
        seen_in="xraft #44",
        patches=(
            _raft(
                "voted_for=server.server_id,\n        role=Candidate",
                "voted_for=None,\n        role=Candidate",
            ),
            _raft(
                "PersistTermAndVote(current_term=server.current_term, voted_for=server.server_id)",
                "PersistTermAndVote(current_term=server.current_term, voted_for=None)",
            ),
        ),
        verdict=Killed(by="election_safety", servers=3, terms=1, log_length=0),
    ),
    Mutant(
        name="B05",
        title="voted_for cleared by a heartbeat of the same term",
        seen_in="redpanda #14, CCF #8091 #8094, canonical/raft #196",
        patches=(
            _raft(_RECOGNISED, "server = replace(server, role=Follower(), voted_for=None)  # a"),
        ),
        verdict=Killed(by="one_vote_per_term", servers=3, terms=1, log_length=0),
    ),
    Mutant(
        name="B06",
        title="leader grants a vote in its own term",
        seen_in="daos raft #70",
        patches=(
            _raft(
                "granted = server.voted_for in (None, request.candidate_id)",
                "granted = (\n        isinstance(server.role, Leader)\n"
                "        or server.voted_for in (None, request.candidate_id)\n    )",
            ),
        ),
        verdict=Killed(by="one_vote_per_term", servers=3, terms=1, log_length=0),
    ),
    Mutant(
        name="B07",
        title="vote without looking at the logs",
        seen_in="the paper, §5.4.1: what the rule is for",
        patches=(_raft(_UP_TO_DATE, ""),),
        verdict=Killed(by="leader_completeness", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B08",
        title="logs compared by length only",
        seen_in="a common error of ports",
        patches=(
            Patch(
                "spec.log",
                "return candidate_last >= voter_last",
                "return candidate_last[1] >= voter_last[1]",
            ),
        ),
        verdict=Killed(by="leader_completeness", servers=3, terms=3, log_length=1),
    ),
    Mutant(
        name="B10",
        title="vote only for a log that is strictly more up-to-date",
        seen_in="a common error of ports",
        patches=(
            Patch(
                "spec.log",
                "return candidate_last >= voter_last",
                "return candidate_last > voter_last",
            ),
        ),
        verdict=Killed(by="leader_elected", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B11",
        title="vote of an older term counted",
        seen_in="xraft #33, little-raft #44, akka-raft #46, nats #5149",
        patches=(
            _raft(
                _OLDER,
                "    if message.term < server.current_term and not isinstance(\n"
                "        message, RequestVoteResponse\n    ):\n",
            ),
        ),
        verdict=Killed(by="election_safety", servers=3, terms=2, log_length=0),
    ),
    Mutant(
        name="B12",
        title="doubled vote counted twice",
        seen_in="xraft #27, akka-raft #45, Coyote sample #8",
        patches=(
            _raft(
                "votes_granted=votes_granted | {voter})",
                "votes_granted=votes_granted | (\n"
                "                {voter} if voter not in votes_granted else {*sorted(\n"
                "                    set(members(server.configuration)) - votes_granted)[:1]}\n"
                "            ))",
            ),
        ),
        verdict=Killed(by="election_safety", servers=4, terms=1, log_length=0),
    ),
    Mutant(
        name="B13",
        title="half of the servers taken for a majority, even size",
        seen_in="an off-by-one of ports",
        patches=(Patch("spec.quorum", "> len(voters)", ">= len(voters)"),),
        verdict=Killed(by="election_safety", servers=4, terms=1, log_length=0),
    ),
    Mutant(
        name="B13-odd",
        title="half of the servers taken for a majority, odd size",
        seen_in="as B13",
        patches=(Patch("spec.quorum", "> len(voters)", ">= len(voters)"),),
        verdict=Control(
            reason="equivalent: no integer is half of an odd number",
            servers=3,
            terms=2,
            log_length=1,
        ),
    ),
    Mutant(
        name="B14",
        title="pre-vote answer taken for a vote",
        seen_in="cockroach #123297, canonical/raft #196",
        verdict=NotExpressible("pre-vote (D9.6) is not in the spec"),
    ),
    Mutant(
        name="B15",
        title="term set back by a message of an older term",
        seen_in="WRaft (SandTable), nebula #2405 #685",
        patches=(
            _raft(_OLDER + "        return on_older_term(server, source, message)\n", ""),
            _raft("if term <= server.current_term:", "if term == server.current_term:"),
        ),
        verdict=Killed(by="term_never_decreases", servers=2, terms=2, log_length=0),
    ),
    Mutant(
        name="B16",
        title="voted_for not reset by a newer term",
        seen_in="Raft-KV #1",
        patches=(
            _raft(_FOLLOWER_AGAIN, "current_term=term, role=Follower())"),
            _raft(
                "PersistTermAndVote(current_term=term, voted_for=None)",
                "PersistTermAndVote(current_term=term, voted_for=server.voted_for)",
            ),
        ),
        verdict=Control(
            reason="not a safety bug: votes are only withheld",
            servers=3,
            terms=3,
            log_length=1,
        ),
    ),
    Mutant(
        name="B18",
        title="prev_log_term not compared",
        seen_in="an error of ports",
        patches=(
            _raft(
                "request.prev_log_index) != request.prev_log_term:",
                "request.prev_log_index) is None:",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=3, terms=3, log_length=1),
    ),
    Mutant(
        name="B19",
        title="tail cut by every AppendEntries, not only on conflict",
        seen_in="willemt #37, lerna #151, PySyncObj 0.3.14",
        patches=(
            _raft(
                "conflict = first_conflict(server.log, request.prev_log_index, request.entries)",
                "conflict = Index(request.prev_log_index + 1) if "
                "last_index(server.log) > request.prev_log_index or request.entries else None",
            ),
        ),
        verdict=Killed(by="match_index_truthful", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="B21",
        title="conflicting entry kept, yet acknowledged",
        seen_in="an error of ports",
        patches=(
            Patch(
                "spec.log",
                "if term_at(log, Index(index)) != entry.term:",
                "if term_at(log, Index(index)) is None:",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B22",
        title="conflicting entry replaced, stale tail kept",
        seen_in="mofa #1151",
        patches=(
            Patch(
                "spec.log",
                "return Log(entries=log.entries[: first_index - 1] + entries)",
                "return Log(\n        entries=log.entries[: first_index - 1]\n        + entries\n"
                "        + log.entries[first_index - 1 + len(entries) :]\n    )",
            ),
            _raft(
                "PersistEntries(first_index=conflict, entries=missing),",
                "PersistEntries(\n            first_index=conflict,\n            entries="
                "entries_from(splice(server.log, conflict, missing), conflict),\n        ),",
            ),
        ),
        verdict=Killed(by="log_terms_ascend", servers=3, terms=2, log_length=2),
    ),
    Mutant(
        name="B23",
        title="follower acknowledges its own last index",
        seen_in="CCF #6016, etcd #1367",
        patches=(
            _raft(
                _ACKNOWLEDGED,
                "AppendEntriesSuccess(\n        term=server.current_term, "
                "match_index=last_index(server.log)\n    )",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B25",
        title="match_index taken from next_index",
        seen_in="PySyncObj #167",
        patches=(
            _raft(
                _NEW_MATCH_INDEX,
                "match_index=IndexOf.of(dict.fromkeys(others, last_index(server.log))),",
            ),
        ),
        verdict=Killed(by="match_index_truthful", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B26",
        title="match_index set back by a reordered acknowledgement",
        seen_in="PySyncObj #167, raftos #25, raft.tla #18",
        patches=(
            _raft(
                "response.match_index > match_index[follower]",
                "response.match_index != match_index[follower]",
            ),
        ),
        verdict=Killed(by="match_index_never_decreases", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="B27",
        title="next_index set back below match_index by a late rejection",
        seen_in="PySyncObj #167, WRaft, etcd-raft #149, CCF #5341",
        patches=(
            _raft(
                "match_index[follower] < response.prev_log_index == next_index[follower] - 1",
                "response.prev_log_index == next_index[follower] - 1",
            ),
        ),
        verdict=Killed(by="next_index_above_match_index", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B28",
        title="match_index not cleared on election",
        seen_in="an error of ports",
        patches=(
            _raft(
                "# --- State --",
                "@dataclass(frozen=True, slots=True, kw_only=True)\n"
                "class FormerLeader(Follower):\n    match_index: IndexOf\n\n\n"
                "@dataclass(frozen=True, slots=True, kw_only=True)\n"
                "class FormerLeaderStanding(Candidate):\n    match_index: IndexOf\n\n\n"
                "# --- State --",
            ),
            _raft(
                _FOLLOWER_AGAIN,
                "current_term=term, voted_for=None, role=(\n"
                "        FormerLeader(match_index=server.role.match_index)\n"
                "        if hasattr(server.role, 'match_index') else Follower()))",
            ),
            _raft(
                "server = replace(server, role=Follower())  # a",
                "server = replace(server, role=(\n"
                "        FormerLeader(match_index=server.role.match_index)\n"
                "        if hasattr(server.role, 'match_index') else Follower()))  # a",
            ),
            _raft(
                "role=Candidate(votes_granted=frozenset({server.server_id})),",
                "role=(\n            FormerLeaderStanding(\n"
                "                votes_granted=frozenset({server.server_id}),\n"
                "                match_index=server.role.match_index)\n"
                "            if hasattr(server.role, 'match_index')\n"
                "            else Candidate(votes_granted=frozenset({server.server_id}))),",
            ),
            _raft(
                "candidate = Candidate(votes_granted=votes_granted | {voter})",
                "candidate = replace(server.role, votes_granted=votes_granted | {voter})",
            ),
            _raft(
                _NEW_MATCH_INDEX,
                "match_index=getattr(server.role, 'match_index', None)\n"
                "        or IndexOf.of(dict.fromkeys(others, Index(0))),",
            ),
        ),
        # With three servers, what one follower has acknowledged is on a majority and never lost.
        verdict=Scripted(
            by="match_index_truthful",
            servers=5,
            schedule=(
                # S1 leads term 1; S2 acknowledges its entry.
                *("S1: ElectionTimeout", "S2 <- S1", "S3 <- S1", "S1 <- S2", "S1 <- S3"),
                *("S1: ClientRequest", "S2 <- S1", "S1 <- S2"),
                # S3 leads term 2, as S1 hears; its entry replaces the one of S2.
                *("S3: ElectionTimeout", "S1 <- S3", "S4 <- S3", "S5 <- S3"),
                *("S3 <- S4", "S3 <- S5", "S3: ClientRequest", "S2 <- S3"),
                # S1 leads term 3 and still counts S2, which hears of it.
                *("S1: ElectionTimeout", "S4 <- S1", "S5 <- S1"),
                *("S1 <- S4", "S1 <- S5", "S2 <- S1"),
            ),
        ),
    ),
    Mutant(
        name="B30",
        title="durable index not lowered by a truncation",
        seen_in="rabbitmq ra #637",
        verdict=NotExpressible("writing in parallel (D10.2.1) is not in the spec"),
    ),
    Mutant(
        name="B31",
        title="entry of an older term committed by counting (Figure 8)",
        seen_in="LogCabin #44, goraft #27, PySyncObj #110 #169, canonical/raft #336, CCF #4485",
        patches=(
            _raft(
                "    if term_at(server.log, agreed) != server.current_term:\n"
                "        return server, ()\n",
                "",
            ),
        ),
        verdict=Killed(by="commit_by_current_term", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B32",
        title="follower commits up to its own last index",
        seen_in="copycat #265, lerna #165 #166",
        patches=(_raft(_COMMIT, "min(request.leader_commit, last_index(server.log))"),),
        verdict=Killed(by="state_machine_safety", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B35",
        title="commit scan stops at the first entry of an older term",
        seen_in="raftos #30",
        patches=(
            _raft(
                "agreed = agreed_index(server.configuration, stored)",
                "agreed = min(\n        Index(server.commit_index + 1), "
                "agreed_index(server.configuration, stored)\n    )",
            ),
        ),
        verdict=Killed(by="older_entry_committed", servers=2, terms=2, log_length=2),
    ),
    Mutant(
        name="B36",
        title="follower acknowledges before its write is durable",
        seen_in="tikv #994, NATS 2.12.1, PySyncObj 0.3.14",
        patches=(
            _raft(
                "(*stored, *heard, *committed, Send(to=request.leader_id, message=success))",
                "(*heard, *committed, Send(to=request.leader_id, message=success), *stored)",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="B37",
        title="leader sends and counts before its own write is durable",
        seen_in="d-engine #329, etcd #14370",
        patches=(
            _raft(
                "(*stored, accepted, *replicate(server), *committed)",
                "(accepted, *replicate(server), *committed, *stored)",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=1, terms=1, log_length=1),
    ),
    Mutant(
        name="B38",
        title="server comes back with an empty log",
        seen_in="RethinkDB #5289, etcd #10166, etcd-raft #197",
        patches=(_raft("        log=server.log,\n", "        log=Log(),\n"),),
        verdict=Killed(by="committed_on_a_quorum", servers=1, terms=1, log_length=1),
    ),
    *(
        Mutant(name=name, title=title, seen_in=seen_in, verdict=NotExpressible(_DISK))
        for name, title, seen_in in (
            ("B39", "damage in the log's middle taken for a torn tail", "FAST'18, LogCabin"),
            ("B40", "torn tail taken for damage", "etcd #5230 #6515, dqlite #190"),
            ("B41", "failed sync tried again", "PostgreSQL's fsyncgate"),
            ("B42", "snapshot and log replaced in the wrong order", "redisraft #43 #654"),
        )
    ),
    *(
        Mutant(name=name, title=title, seen_in=seen_in, verdict=NotExpressible(_SECTION_7))
        for name, title, seen_in in (
            (
                "B44",
                "conflicting suffix kept after a snapshot",
                "scylla #9551, hashicorp/raft #704",
            ),
            ("B45", "old configuration outlives a newer snapshot", "openraft #1808, scylla #9551"),
            ("B46", "request from index 0 appended again after compaction", "WRaft #118"),
            ("B47", "snapshot merged into the state", "jgroups-raft #301"),
        )
    ),
    Mutant(
        name="B49",
        title="follower takes leader_commit as it is",
        seen_in="cockroach #25173, etcd #3519",
        patches=(_raft(_COMMIT, "request.leader_commit"),),
        verdict=Killed(by="state_machine_safety", servers=3, terms=1, log_length=1),
    ),
    Mutant(
        name="B50",
        title="client answered by index though another term's entry is there",
        seen_in="redisraft #23",
        verdict=NotExpressible("answers to clients are the server's, which is not here"),
    ),
    *(
        Mutant(name=name, title=title, seen_in=seen_in, verdict=NotExpressible(reason))
        for name, title, seen_in, reason in (
            ("B51", "membership change before a commit of the term", "braft #182", _SECTION_6),
            ("B52", "several servers changed without a joint phase", "the paper, §6", _SECTION_6),
            ("B53", "second change while one is uncommitted", "D4", _SECTION_6),
            ("B54", "joint phase counted over the union", "CCF #3948, async-raft #62", _SECTION_6),
            ("B55", "campaign with unapplied configurations", "etcd #7625 #11284", _SECTION_6),
            ("B57", "removed server disrupts", "LogCabin #56, hashicorp/raft #526", _SECTION_6),
            ("B58", "leader without a quorum never steps down", "raft-rs #84", _READS),
            ("B59", "promoted learner refuses to vote", "etcd #10998, raft-rs #57", _SECTION_6),
            ("B60", "deposed leader answers a local read", "xraft #40, d-engine #381", _READS),
            ("B61", "read before a commit of the term", "etcd #7331, tikv #9239", _READS),
            ("B62", "reads matched by a reused request id", "etcd #20418, etcd-raft #397", _READS),
            ("B63", "lease read across a transfer or a clock jump", "raft-rs #234", _READS),
            ("B64", "retry applied twice", "etcd #18424, akka-raft #64", _SESSIONS),
            ("B65", "timeout reported as failure", "redisraft #23", _SESSIONS),
        )
    ),
    Mutant(
        name="X01",
        title="vote granted but not persisted",
        seen_in="our own",
        patches=(_raft("(vote, ResetElectionTimer(), answer)", "(ResetElectionTimer(), answer)"),),
        verdict=Killed(by="durable_before_sent", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X02",
        title="newer term not persisted",
        seen_in="our own",
        patches=(
            _raft("(PersistTermAndVote(current_term=term, voted_for=None), *timer)", "timer"),
        ),
        verdict=Killed(by="durable_before_sent", servers=3, terms=2, log_length=0),
    ),
    Mutant(
        name="X03",
        title="one vote is enough",
        seen_in="our own",
        patches=(_raft("if is_quorum(server.configuration, votes):", "if votes:"),),
        verdict=Killed(by="election_safety", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X04",
        title="leader does not step down for a newer term",
        seen_in="our own",
        patches=(_raft(_FOLLOWER_AGAIN, "current_term=term, voted_for=None)"),),
        verdict=Killed(by="no_exception", servers=2, terms=2, log_length=0),
    ),
    Mutant(
        name="X05",
        title="AppendEntries of an older term accepted",
        seen_in="our own",
        patches=(
            _raft(
                _OLDER,
                "    if message.term < server.current_term and not isinstance(\n"
                "        message, AppendEntries\n    ):\n",
            ),
        ),
        verdict=Killed(by="no_exception", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="X06",
        title="next_index not decremented by a rejection",
        seen_in="our own",
        patches=(
            _raft(
                "next_index=next_index.put(follower, response.prev_log_index),",
                "next_index=next_index,",
            ),
        ),
        verdict=Killed(by="next_index_decremented", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="X07",
        title="leader commits what a single server has",
        seen_in="our own",
        patches=(
            _raft(
                "agreed = agreed_index(server.configuration, stored)",
                "agreed = max(stored.values())",
            ),
        ),
        verdict=Killed(by="committed_on_a_quorum", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="X08",
        title="leader overwrites its own uncommitted entries",
        seen_in="our own",
        patches=(
            _raft(
                "stored = PersistEntries("
                "first_index=Index(last_index(server.log) + 1), entries=entries)",
                "first = Index(server.commit_index + 1)\n"
                "    stored = PersistEntries(first_index=first, entries=entries)",
            ),
            _raft(
                "log=append(server.log, entries)), (stored,)",
                "log=splice(server.log, first, entries)), (stored,)",
            ),
        ),
        verdict=Killed(by="leader_append_only", servers=2, terms=1, log_length=2),
    ),
    Mutant(
        name="X09",
        title="leader sends entries from one place too far",
        seen_in="our own",
        patches=(
            _raft(
                "entries = entries_from(server.log, server.role.next_index[peer])",
                "entries = entries_from(server.log, Index(server.role.next_index[peer] + 1))",
            ),
        ),
        verdict=Killed(by="log_matching_sent", servers=2, terms=1, log_length=2),
    ),
    Mutant(
        name="X10",
        title="follower's commit_index set back by an older request",
        seen_in="our own",
        patches=(_raft("if index <= server.commit_index:", "if index == server.commit_index:"),),
        verdict=Killed(by="commit_index_never_decreases", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="X11",
        title="a newer term adopted and raised at once",
        seen_in="our own",
        patches=(
            _raft(
                "    server = replace(server, current_term=term, voted_for=None",
                "    term = Term(term + 1)\n"
                "    server = replace(server, current_term=term, voted_for=None",
            ),
        ),
        verdict=Killed(by="within_bounds", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X12",
        title="new leader's next_index beyond the end of its log",
        seen_in="our own",
        patches=(
            _raft("Index(last_index(server.log) + 1))),", "Index(last_index(server.log) + 2))),"),
        ),
        verdict=Killed(by="no_exception", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X13",
        title="entries stored without looking at what precedes them",
        seen_in="our own",
        patches=(
            _raft(
                "    if term_at(server.log, request.prev_log_index) != request.prev_log_term:\n",
                "    if False:\n",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="X14",
        title="server 3 votes for anybody",
        seen_in="our own: hides from symmetry",
        patches=(
            _raft(
                "granted = server.voted_for in (None, request.candidate_id)",
                "granted = (\n        server.server_id == 3\n        or server.voted_for in "
                "(None, request.candidate_id)\n    )",
            ),
        ),
        verdict=Killed(by="one_vote_per_term", servers=3, terms=1, log_length=0),
    ),
    Mutant(
        name="X15",
        title="a vote is granted to whom it was not given",
        seen_in="our own",
        patches=(
            _raft(
                "    return replace(server, voted_for=request.candidate_id), (vote,",
                "    if server.voted_for is None and request.term % 2:\n"
                "        return server, (answer,)\n"
                "    return replace(server, voted_for=request.candidate_id), (vote,",
            ),
        ),
        verdict=Killed(by="votes_are_recorded", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X16",
        title="follower commits whatever it stores",
        seen_in="our own",
        patches=(_raft(_COMMIT, "index_of_last_new_entry"),),
        verdict=Killed(by="followers_commit_as_told", servers=2, terms=1, log_length=1),
    ),
)
