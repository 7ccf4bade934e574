"""What the claims see of processes that are not just servers."""

from __future__ import annotations

from inspect import signature

import pytest

from model_check.model import AllWhere, AnyState, AnyStep
from model_check.raft_claims import predicate_of, quantifiers
from spec.events import ElectionTimeout
from spec.invariants import PROPERTIES, Claim
from spec.raft import PAPER, step
from spec.state import Index
from tests.cluster import S1, S2, Cluster

STRANGER = object()
"""The state of a process that is no server."""
BY_NAME = {claim.name: claim for claim in PROPERTIES}
OF_STATES = [
    c
    for c in PROPERTIES
    if set(map(type, quantifiers(c))) == {AnyState}
    and "one" not in signature(c.predicate).parameters  # a server with its disk
]
OF_STEPS = [c for c in PROPERTIES if quantifiers(c) == (AnyStep(),) and not c.feature]


@pytest.fixture
def cluster() -> Cluster:
    """S1 leads and has committed an entry."""
    cluster = Cluster()
    cluster.elect(S1, S2)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2)
    return cluster


@pytest.mark.parametrize("claim", OF_STATES, ids=lambda c: c.name)
def test_claims_about_servers_say_nothing_of_others(claim: Claim, cluster: Cluster) -> None:
    predicate = predicate_of(claim, plain=False)
    leader, follower = cluster.servers[S1], cluster.servers[S2]
    of_servers = (leader, follower)[: len(quantifiers(claim))]
    assert predicate(*of_servers) == claim.predicate(*of_servers)
    assert predicate(*(leader, STRANGER)[-len(of_servers) :]) is None


@pytest.mark.parametrize("claim", OF_STEPS, ids=lambda c: c.name)
def test_claims_about_steps_of_servers_say_nothing_of_others(
    claim: Claim, cluster: Cluster
) -> None:
    before, event = cluster.servers[S2], ElectionTimeout()
    after, effects = step(PAPER, before, event)
    predicate = predicate_of(claim, plain=False)
    assert predicate(before, event, after, effects) == claim.predicate(
        before, event, after, effects
    )
    assert predicate(STRANGER, event, STRANGER, ()) is None


def test_sets_of_servers_have_no_others(cluster: Cluster) -> None:
    commit = next(fact for fact in cluster.history if getattr(fact, "index", None) == Index(1))
    leader = cluster.servers[S1]
    for claim, first in (("committed_on_a_quorum", commit), ("electable_holds_committed", leader)):
        where = quantifiers(BY_NAME[claim], plain=False)[-1]
        assert isinstance(where, AllWhere)
        assert where.relation(first, leader)
        assert not where.relation(first, STRANGER)
        assert not where.relation(STRANGER, leader)
