"""The evaluator of claims: signatures are read as quantifiers, and a false claim is noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spec.cluster import Committed, Elected
from spec.invariants import PROPERTIES, WITNESSES, Holders
from spec.state import Index, Server
from tests.cluster import KINDS, S1, S2, S3, SHAPES, ClaimBroken, Cluster, Shape, cases


def committed_by_two() -> Cluster:
    """S1 and S2 have the one committed entry, S3 has nothing."""
    cluster = Cluster()
    cluster.elect(S1, S2)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2)
    return cluster


def test_two_servers_are_never_the_same() -> None:
    cluster = Cluster()
    pairs = [(a.server_id, b.server_id) for a, b in cases((Server, Server), every(cluster), [])]
    assert pairs == [(S1, S2), (S1, S3), (S2, S1), (S2, S3), (S3, S1), (S3, S2)]


def test_relation_gathers_all_servers_that_stand_in_it() -> None:
    cluster = committed_by_two()
    ((commit, holders),) = cases((Committed, Holders), every(cluster), cluster.history)
    assert commit.index == 1
    assert holders == {S1, S2}


def test_every_shape_occurs_and_every_claim_has_one() -> None:
    assert set(SHAPES) == set(KINDS) == {c.name for c in PROPERTIES + WITNESSES}
    assert set(SHAPES.values()) == set(Shape)


@pytest.mark.parametrize(
    ("shape", "title"),
    [(Shape.PRESENT, "Commit index within the log"), (Shape.PRESENT_AND_HISTORY, "State Machine")],
)
def test_false_claim_about_the_present_is_noticed(shape: Shape, title: str) -> None:
    cluster = committed_by_two()
    cluster.check(shape)
    cluster.servers[S3] = replace(cluster.servers[S3], commit_index=Index(1))
    with pytest.raises(ClaimBroken, match=title):
        cluster.check(shape)


def test_false_claim_about_history_is_noticed() -> None:
    cluster = committed_by_two()
    cluster.check(Shape.HISTORY)
    (election,) = (fact for fact in cluster.history if isinstance(fact, Elected))
    cluster.history[replace(election, leader_id=S3)] = None
    with pytest.raises(ClaimBroken, match="Election Safety"):
        cluster.check(Shape.HISTORY)


def every(cluster: Cluster) -> list[Server]:
    """All servers as they are now."""
    return list(cluster.servers.values())
