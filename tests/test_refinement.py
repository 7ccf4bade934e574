"""The rules of ``spec`` are steps of the abstract protocol, and its lemmas hold in their states."""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import replace

import pytest

from model_check.__main__ import main
from model_check.proof import lemmas, runs, snapshots
from model_check.proof.abstraction import (
    JOINT,
    Abstraction,
    NotLocal,
    NotRefined,
    entry_term,
    follows,
    is_near,
)
from model_check.proof.abstraction import STATIC as PLAIN
from model_check.proof.actions import ACTIONS
from model_check.proof.logic import Server as ServerVariable
from model_check.proof.logic import Term as TermVariable
from model_check.proof.logic import all_of, any_of, implies, negation
from model_check.proof.membership import JointState
from model_check.proof.reads import ReadState
from model_check.proof.refinement import check_step, local_state, refinement_of
from model_check.proof.snapshots import SnapshotState
from model_check.proof.state import State
from model_check.proof.theory import STATIC, THEORIES
from model_check.raft_model import Bounds, Membership, RaftModel, Snapshots
from model_check.raft_mutants import find, load
from spec.cluster import initial_server
from spec.events import (
    ChangeMembership,
    ClientRequest,
    ElectionTimeout,
    HeartbeatTimeout,
    ReadReady,
    ReadRequest,
    Receive,
    Restart,
)
from spec.log import last_index
from spec.messages import AppendEntriesSuccess, InstallSnapshot, RequestVoteResponse
from spec.raft import PAPER, step
from spec.snapshot import taken
from spec.state import (
    ClientId,
    Command,
    Configuration,
    Index,
    Leader,
    Log,
    RequestId,
    Round,
    Server,
    Snapshot,
    Term,
)
from tests.cluster import S1, S2, S3, Cluster, append_entries, follower, receive

# --- Single steps -------------------------------------------------------------------------------


def test_a_step_is_told_in_actions() -> None:
    before = follower(term=1, log=[1, 1])
    after, effects = step(PAPER, before, ElectionTimeout())
    assert check_step(before, ElectionTimeout(), after, effects) == [
        "start_election",
        "request_votes",
    ]


def test_a_newer_request_is_two_actions() -> None:
    cluster = Cluster()
    cluster.elect(S1, S2)
    before = follower(term=0, log=[])
    message = append_entries(term=1, terms=[1])
    after, effects = receive(before, S1, message)
    event = Receive(source=S1, message=message)
    assert check_step(before, event, after, effects) == ["update_term", "store_entries"]


def test_a_step_that_changes_nothing_is_a_stutter() -> None:
    before = follower(term=1)
    assert check_step(before, HeartbeatTimeout(), before, ()) == []
    assert refinement_of(PLAIN)(before, HeartbeatTimeout(), before, ()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"current_term": Term(0)},
        {"commit_index": Index(1)},
        {"voted_for": S2},
        {"log": follower(term=1, log=[1]).log},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_wrong_state_after_a_crash_is_refused(wrong: dict[str, object]) -> None:
    before = follower(term=1, log=[1, 1])
    after = replace(before, **wrong)  # type: ignore[arg-type]
    with pytest.raises(NotRefined):
        check_step(before, Restart(), after, ())


def test_an_action_cannot_look_at_another_server() -> None:
    state = local_state(follower(term=1), HeartbeatTimeout())
    with pytest.raises(NotLocal):
        state.current_term(S1)
    with pytest.raises(NotLocal):
        state.elected(1)


# --- All steps within bounds --------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["paper", "server"])
def test_every_step_within_bounds_is_refined(
    profile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = ["--servers", "3", "--terms", "2", "--log-length", "1", "--profile", profile]
    assert main([*bounds, "--refinement"]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("refinement "))
    _, checked, refined = line.replace(",", "").split()
    assert 100 < int(refined) < int(checked)


def test_every_step_of_a_membership_change_is_refined(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bounds = ["--servers", "2", "--terms", "2", "--log-length", "5"]
    changes = ["--with", "membership", "--config-changes", "2"]
    assert main([*bounds, *changes, "--refinement", "--no-goals"]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("refinement "))
    _, checked, refined = line.replace(",", "").split()
    assert 1000 < int(refined) < int(checked)


@pytest.mark.parametrize(
    "bounds",
    [
        ["--servers", "3", "--terms", "1", "--log-length", "2", "--with", "snapshot"],
        ["--servers", "2", "--terms", "2", "--log-length", "3", "--with", "snapshot,membership"],
    ],
    ids=["static", "joint"],
)
def test_every_step_with_snapshots_is_refined(
    bounds: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*bounds, "--refinement", "--property", "refinement", "--no-goals"]) == 0
    said = capsys.readouterr().out
    line = next(x for x in said.splitlines() if x.startswith("refinement "))
    _, checked, refined = line.replace(",", "").split()
    assert 500 < int(refined) < int(checked)
    for witness in ("snapshot_installed", "older_snapshot_arrives", "suffix_kept"):
        assert re.search(f"{witness} +reached", said)


@pytest.mark.parametrize(
    "bounds",
    [
        ["--servers", "3", "--terms", "1", "--log-length", "1", "--with", "reads"],
        ["--servers", "2", "--terms", "1", "--log-length", "3", "--with", "reads,membership"],
        ["--servers", "2", "--terms", "1", "--log-length", "2", "--with", "reads,snapshot"],
    ],
    ids=["static", "joint", "whole"],
)
def test_every_step_with_reads_is_refined(
    bounds: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*bounds, "--refinement", "--property", "refinement", "--no-goals"]) == 0
    said = capsys.readouterr().out
    line = next(x for x in said.splitlines() if x.startswith("refinement "))
    _, checked, refined = line.replace(",", "").split()
    assert 100 < int(refined) < int(checked)
    assert re.search("read_shows_known +reached", said)


@pytest.mark.parametrize(
    "feature", ["parallel-write", "single-server"], ids=lambda feature: str(feature)
)
def test_what_no_theory_is_about_is_usage(feature: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--servers", "2", "--terms", "2", "--with", feature, "--refinement"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--refinement is to" in line


def test_a_read_is_told_in_actions() -> None:
    """A round begins, is confirmed, and serves the request that had arrived (§8)."""
    seen = Abstraction(ReadState)
    leader, answer = leader_that_has_committed()
    answered = answer.message
    assert isinstance(answered, AppendEntriesSuccess)
    name = RequestId(client_id=ClientId(9), serial_number=1)
    asked, effects = step(PAPER, leader, ReadRequest(read_id=name))
    actions = check_step(leader, ReadRequest(read_id=name), asked, effects, seen)
    assert actions == ["begin_read", "send_entries", "send_entries"]
    event = replace(answer, message=replace(answered, round=Round(1)))
    served, effects = step(PAPER, asked, event)
    assert check_step(asked, event, served, effects, seen) == ["serve_read"]
    (ready,) = effects
    assert ready == ReadReady(read_id=name, read_index=leader.commit_index)
    for wrong in (Index(0), Index(leader.commit_index + 1)):
        answers = (ReadReady(read_id=name, read_index=wrong),)
        with pytest.raises(NotRefined, match="another index"):
            check_step(asked, event, served, answers, seen)
    with pytest.raises(NotRefined, match="without a round"):
        check_step(leader, ReadRequest(read_id=name), leader, (ready,), seen)


def test_a_read_that_joins_a_round_under_way_is_refused() -> None:
    """Heartbeats of that round were sent before it arrived (D6.4)."""
    leader, _ = leader_that_has_committed()
    first, second = (
        ReadRequest(read_id=RequestId(client_id=ClientId(9), serial_number=i)) for i in (1, 2)
    )
    asked, _ = step(PAPER, leader, first)
    both, effects = step(PAPER, asked, second)
    assert isinstance(both.role, Leader)
    assert check_step(asked, second, both, effects, Abstraction(ReadState)) == []
    reads = both.role.reads
    joined = replace(reads, confirming=reads.confirming | reads.waiting, waiting=frozenset())
    wrong = replace(both, role=replace(both.role, reads=joined))
    with pytest.raises(NotRefined, match="before it arrived"):
        check_step(asked, second, wrong, effects, Abstraction(ReadState))


def leader_that_has_committed() -> tuple[Server, Receive]:
    """A leader of three that has committed an entry of its term, and the answer that let it."""
    server, _ = step(PAPER, initial_server(S1, [S1, S2, S3]), ElectionTimeout())
    granted = RequestVoteResponse(term=server.current_term, vote_granted=True)
    server, _ = step(PAPER, server, Receive(source=S2, message=granted))
    server, _ = step(PAPER, server, ClientRequest(commands=(Command(data=b"x"),)))
    answer = success(server, last_index(server.log))
    server, _ = step(PAPER, server, answer)
    assert server.commit_index == 1
    return server, answer


def test_what_a_snapshot_covers_decides_nothing() -> None:
    """A guard that rests on it is no more true than its negation."""
    snapshot = Snapshot(
        last_included_index=Index(2),
        last_included_term=Term(1),
        configuration=Configuration(old=frozenset({S1, S2})),
        data=b"",
    )
    term = entry_term(Log(snapshot=snapshot))
    assert term(2) == 1
    assert (term(1) == term(1)) is True
    for guard in (term(1) == 1, term(1) != 1, term(1) == term(2)):
        assert guard is not True
        assert negation(guard) is not True
        assert all_of(True, guard) is not True
        assert any_of(guard, negation(guard)) is not True
    assert any_of(term(1) == 1, snapshot.last_included_index >= 1) is True


def test_a_snapshot_in_place_of_a_longer_log_that_has_its_last_entry_is_refused() -> None:
    """What follows the snapshot stays (§7, Figure 13)."""
    leader = follower(term=1, log=[1])
    snapshot = taken(replace(leader, commit_index=Index(1)), Index(1), b"t1")
    before = follower(term=1, log=[1, 1])
    event = Receive(
        source=S1, message=InstallSnapshot(term=Term(1), leader_id=S1, snapshot=snapshot)
    )
    after, effects = step(PAPER, before, event)
    seen = Abstraction(SnapshotState)
    assert check_step(before, event, after, effects, seen) == ["install_and_keep_log"]
    cut = replace(after, log=Log(snapshot=snapshot), durable_index=Index(1))
    with pytest.raises(NotRefined, match="last_index"):
        check_step(before, event, cut, effects, seen)


def test_committing_one_configuration_and_appending_the_next_is_one_step() -> None:
    """C_new is appended, and committed by the leader alone, when C_old,new is committed (§6)."""
    alone, both = frozenset({S1}), frozenset({S1, S2})
    server, _ = step(PAPER, initial_server(S1, [S1]), ElectionTimeout())
    server, _ = step(PAPER, server, ClientRequest(commands=(Command(data=b"x"),)))
    server, _ = step(PAPER, server, ChangeMembership(members=both))
    server, _ = step(PAPER, server, success(server, last_index(server.log)))
    event = success(server, last_index(server.log))
    after, effects = step(PAPER, server, event)
    assert after.configuration == Configuration(old=both)
    assert server.configuration == Configuration(old=alone, new=both)
    assert check_step(server, event, after, effects, JOINT) == [
        "receive_acknowledgement",
        "advance_commit_index",
        "append_configuration",
        "send_entries",
    ]


def success(leader: Server, match_index: Index) -> Receive:
    """S2 acknowledges the leader's log up to an index."""
    message = AppendEntriesSuccess(term=leader.current_term, match_index=match_index)
    return Receive(source=S2, message=message)


def test_a_direct_change_is_refused() -> None:
    """C_new does not follow C_old without C_old,new between them (§6)."""
    old, new = Configuration(old=frozenset({S1})), Configuration(old=frozenset({S2}))
    joint = Configuration(old=old.old, new=new.old)
    assert follows(old, joint)
    assert follows(joint, new)
    assert not follows(old, new)
    assert not is_near(old, new)


REFUSED = [
    *("B52", "B53", "B54", "X30", "X31", "X33", "X34"),
    *("B01", "B02", "B03", "B04", "B07", "B11", "B13", "B18", "B19", "B21", "B22", "B23", "B31"),
    *("B32", "B38", "B49", "X06", "X09", "X16", "X18"),
    *("B45", "B46", "B47"),
    *("B60", "B61", "B62", "X91"),
    *("X50", "X51", "X52", "X53", "X54", "X56", "X59", "X60", "X62", "X63", "X64"),
]
"""Of those that break safety by what a server becomes or sends."""


@pytest.mark.parametrize("mutant", REFUSED)
def test_sabotaged_rules_are_refused(mutant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--mutant", mutant, "--refinement", "--property", "refinement"]) == 12
    assert "Refinement" in capsys.readouterr().out


@pytest.mark.parametrize("mutant", ["X55", "X57", "X61", "X90"])
def test_what_the_abstract_protocol_does_not_speak_of_refines(
    mutant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not to restore the machine, not to persist, to send in vain, to answer before applying."""
    arguments = ["--mutant", mutant, "--refinement", "--property", "refinement", "--no-goals"]
    assert main(arguments) == 0


def test_random_walks_with_five_servers_are_refined(capsys: pytest.CaptureFixture[str]) -> None:
    bounds = ["--servers", "5", "--terms", "4", "--log-length", "4"]
    walks = ["--runs", "20", "--depth", "200", "--seed", "1"]
    arguments = ["simulate", *bounds, *walks, "--refinement", "--property", "refinement"]
    assert main(arguments) == 0


# --- The lemmas on states of spec ---------------------------------------------------------------


def test_every_lemma_holds_in_every_plain_state_of_two_servers() -> None:
    counts = runs.Runs(Bounds(servers=2, terms=1, log_length=2)).exhaust()
    assert set(counts.actions) == {action.__name__ for action in ACTIONS}
    assert counts.states > 500


@pytest.mark.parametrize("seed", range(4))
def test_every_lemma_holds_on_random_walks(seed: int) -> None:
    walk = runs.Runs(Bounds(servers=3, terms=3, log_length=3), "server" if seed % 2 else "paper")
    assert walk.walk(steps=250, seed=seed).states == 250


def test_every_lemma_holds_while_the_membership_changes() -> None:
    theory = THEORIES["joint"]
    small = runs.Runs(Bounds(servers=2, terms=2, log_length=3), "paper", theory, Membership())
    counts = small.exhaust(limit=600)
    assert counts.actions["append_configuration"] > 0
    membership = Membership(changes=2)
    walk = runs.Runs(Bounds(servers=3, terms=1, log_length=5), "paper", theory, membership)
    for seed in range(3):
        walk.walk(steps=250, seed=seed)
    assert walk.counts.actions["append_configuration"] > 0
    happened = set(counts.actions) | set(walk.counts.actions)
    assert happened == {action.__name__ for action in theory.actions}


@pytest.mark.parametrize("changes", [0, 1])
def test_every_lemma_holds_with_snapshots(changes: int) -> None:
    theory = THEORIES["joint-snapshots" if changes else "static-snapshots"]
    walk = runs.Runs(
        Bounds(servers=3, terms=2, log_length=3 + changes),
        "server",
        theory,
        Membership(changes=changes) if changes else None,
        Snapshots(count=2),
    )
    compaction = {action.__name__ for action in snapshots.ACTIONS}
    for seed in range(50):
        walk.walk(steps=300, seed=seed)
        if compaction <= set(walk.counts.actions):
            break
    assert compaction <= set(walk.counts.actions)


@pytest.mark.parametrize("theory", ["static-reads", "whole"])
def test_every_lemma_holds_with_reads(theory: str) -> None:
    whole = theory == "whole"
    walk = runs.Runs(
        Bounds(servers=3, terms=2, log_length=4),
        "server",
        THEORIES[theory],
        Membership() if whole else None,
        Snapshots(count=2) if whole else None,
        rounds=2,
    )
    for seed in range(50):
        walk.walk(steps=300, seed=seed)
        if walk.counts.actions["serve_read"] > 0:
            break
    assert {"begin_read", "confirm_read", "serve_read"} <= set(walk.counts.actions)


def test_a_false_lemma_about_configurations_is_noticed() -> None:
    def never_changes(s: JointState, n: ServerVariable) -> object:
        """The configuration never changes."""
        return s.configuration(n) == s.initial_configuration()

    never_changes.__annotations__ |= {"n": ServerVariable}
    theory = THEORIES["joint"]
    wrong = replace(theory, layers=[[lemmas.Lemma(never_changes, "§6", None)]])
    with pytest.raises(runs.LemmaBroken, match="never_changes"):
        runs.Runs(
            Bounds(servers=2, terms=1, log_length=3), theory=wrong, membership=Membership()
        ).exhaust()


def test_no_lemma_is_vacuous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each premise is true of some values in some state that is reached."""
    applied: Counter[str] = Counter()
    names = {x.holds.__code__: x.name for x in (*STATIC.lemmas, *STATIC.consequences)}

    def counting(premise: object, conclusion: object) -> object:
        name = names.get(sys._getframe(1).f_code)
        if name is not None and premise is True:
            applied[name] += 1
        return implies(premise, conclusion)  # type: ignore[arg-type]

    monkeypatch.setattr(lemmas, "implies", counting)
    walk = runs.Runs(Bounds(servers=3, terms=3, log_length=3))
    conditional = {name for code, name in names.items() if "implies" in code.co_names}
    for seed in range(36, 236):  # earlier ones take longer to bring everything about
        walk.walk(steps=200, seed=seed)
        if conditional <= set(applied):
            break
    assert conditional - set(applied) == set()


def test_a_false_lemma_is_noticed() -> None:
    def nobody_votes(s: State, k: ServerVariable, t: TermVariable) -> object:
        """Nobody ever votes."""
        return negation(s.vote_sent(k, t, k))

    nobody_votes.__annotations__ |= {"k": ServerVariable, "t": TermVariable}
    wrong = replace(STATIC, layers=[[*lemmas.LEMMAS, lemmas.Lemma(nobody_votes, "§5.2", None)]])
    with pytest.raises(runs.LemmaBroken, match="nobody_votes"):
        runs.Runs(Bounds(servers=2, terms=1, log_length=1), theory=wrong).exhaust()


def test_sabotaged_rules_leave_the_abstract_protocol() -> None:
    sabotaged = runs.Runs(Bounds(servers=2, terms=1, log_length=1))
    sabotaged.model = RaftModel(sabotaged.bounds, rules=load(find("B03")))
    with pytest.raises(NotRefined, match="one vote"):
        sabotaged.exhaust()
