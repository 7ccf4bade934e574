"""Servers that doubt at once that there is a leader: nothing is lost, and what is found is so."""

from __future__ import annotations

import itertools

import pytest

from model_check import check
from model_check.explore import Search
from model_check.raft_model import Bounds, Membership, RaftModel, Step
from model_check.raft_mutants import find, load
from model_check.tables import Reductions
from spec.events import Effects, Event, Receive
from spec.messages import AppendEntries
from spec.raft import Options, step
from spec.relevance import doubting, trusting
from spec.state import Follower, Server


def model(
    bounds: tuple[int, int, int],
    profile: str,
    *,
    doubts: bool,
    rules: Step = step,
    membership: Membership | None = None,
    transfer: bool = False,
) -> RaftModel:
    """Raft with pre-vote and check-quorum."""
    servers, terms, log_length = bounds
    return RaftModel(
        Bounds(servers=servers, terms=terms, log_length=log_length),
        profile,
        rules,
        membership,
        features={"pre-vote", "transfer"} if transfer else {"pre-vote"},
        doubts=doubts,
    )


def doubting_tuples(raft: RaftModel) -> tuple[int, set[tuple[str, ...]]]:
    """How many states there are; all tuples of servers as they doubt, up to renaming."""
    search = Search(raft, reductions=Reductions())
    assert search.run().result == "exhausted"
    ids = raft.processes
    renamings = [dict(zip(ids, image, strict=True)) for image in itertools.permutations(ids)]
    names: dict[int, list[str]] = {}
    found = set()
    for row in search.tuples().tolist():
        for state in row:
            if state not in names:
                server = doubting(search.tables.state(state))
                names[state] = [raft.show(raft.rename_state(r, server)) for r in renamings]
        found.add(min(tuple(sorted(names[s][i] for s in row)) for i in range(len(renamings))))
    return search.progress.states, found


@pytest.mark.parametrize(
    ("bounds", "profile", "membership", "transfer"),
    [
        ((2, 2, 1), "paper", None, False),
        ((2, 2, 1), "server", None, False),
        ((3, 1, 1), "paper", None, False),
        ((2, 2, 1), "paper", None, True),
        ((2, 1, 3), "paper", Membership(), False),
    ],
    ids=str,
)
def test_the_same_servers_are_met_but_for_what_they_have_heard(
    bounds: tuple[int, int, int], profile: str, membership: Membership | None, transfer: bool
) -> None:
    states, met = doubting_tuples(
        model(bounds, profile, doubts=False, membership=membership, transfer=transfer)
    )
    fewer, reduced = doubting_tuples(
        model(bounds, profile, doubts=True, membership=membership, transfer=transfer)
    )
    assert reduced == met
    assert fewer < states


def test_a_server_that_doubts_may_have_trusted_before() -> None:
    search = Search(model((3, 1, 1), "server", doubts=True), reductions=Reductions())
    search.run()
    servers = [search.tables.state(number) for number in range(len(search.tables.states))]
    assert all(doubting(server) == server for server in servers)
    assert any(trusting(server) for server in servers)
    assert all(doubting(one) == server for server in servers for one in trusting(server))


@pytest.mark.parametrize("name", ["B14", "B57", "B58"])
def test_a_mutant_is_shown_as_it_is_without_the_reduction(name: str) -> None:
    bounds, rules = (3, 2, 0), load(find(name))
    short = check(model(bounds, "paper", doubts=True, rules=rules))
    full = check(model(bounds, "paper", doubts=False, rules=rules))
    assert short.trace is not None
    assert full.trace is not None
    assert short.trace.length == full.trace.length


def deaf(options: Options, server: Server, event: Event) -> tuple[Server, Effects]:
    """A follower that hears its leader takes nothing more from it: that is more than hindering."""
    match server.role, event:
        case Follower(leader_heard=True), Receive(message=AppendEntries(term=term)) if (
            term == server.current_term
        ):
            return server, ()
        case _:
            return step(options, server, event)


@pytest.mark.parametrize(("rules", "ends"), [(step, "exhausted"), (deaf, "violated")])
def test_that_hearing_only_hinders_is_judged(rules: Step, ends: str) -> None:
    raft = model((2, 1, 1), "paper", doubts=True, rules=rules)
    found = Search(raft, reductions=Reductions(), only=["hearing_only_hinders"]).run()
    assert found.result == ends


def test_rules_by_which_hearing_does_more_are_explored_without_the_reduction() -> None:
    raft = model((2, 1, 1), "paper", doubts=True, rules=deaf)
    result = check(raft)
    assert isinstance(result.model, RaftModel)
    assert result.model.without_shortcuts() is None
    full = check(result.model)
    assert (result.result, result.states) == (full.result, full.states)


def test_what_is_judged_alone_is_judged_without_the_reduction() -> None:
    result = check(model((2, 1, 0), "paper", doubts=True), only=["election_safety"])
    assert isinstance(result.model, RaftModel)
    assert result.model.without_shortcuts() is None
