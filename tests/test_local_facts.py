"""Facts about single functions of ``spec``, for all numbers: by running them on unknown ones."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import z3

from model_check.proof import actions
from model_check.proof.prover import symbolic_state
from model_check.proof.theory import STATIC
from spec.log import first_conflict, is_up_to_date
from spec.messages import AppendEntries
from spec.quorum import agreed_index
from spec.raft import PAPER, commit_up_to, store_entries, update_term
from spec.state import Configuration, Entry, Index, Log, NoOp, ServerId, Term
from tests.cluster import S1, follower
from tests.symbolic import as_formula, as_term, is_valid, number, paths

A, B, C = ((number(f"{x}_term"), number(f"{x}_index")) for x in "abc")


def up_to_date(a: Any, b: Any) -> Any:
    """The comparison of §5.4.1, as a formula."""
    return as_formula(lambda: is_up_to_date(a, b))


def test_up_to_date_is_a_total_preorder() -> None:
    assert is_valid(up_to_date(A, A))
    assert is_valid(z3.Or(up_to_date(A, B), up_to_date(B, A)))
    assert is_valid(z3.Implies(z3.And(up_to_date(A, B), up_to_date(B, C)), up_to_date(A, C)))


def test_up_to_date_is_not_an_equality() -> None:
    """The prover can say no."""
    assert not is_valid(up_to_date(A, B))
    assert not is_valid(z3.Implies(up_to_date(A, B), up_to_date(B, A)))


def test_the_guard_of_a_vote_is_that_of_spec() -> None:
    """For all terms and indices: no bound of the refinement matters here."""
    s: Any = symbolic_state(STATIC)
    n, c = (z3.Const(x, z3.DeclareSort("Server")) for x in "nc")
    effect = actions.grant_vote(s, n, c, as_term(A[1]), as_term(A[0]))
    mine = (number("mine_term"), number("mine_index"))
    same = z3.And(as_term(mine[0]) == s.last_term(n), as_term(mine[1]) == s.last_index(n))
    assert is_valid(z3.Implies(same, up_to_date(A, mine) == effect.guards["up-to-date"]))


def test_commit_index_is_the_larger_one() -> None:
    known, told, new = number("known"), number("told"), number("new")
    server = replace(follower(term=1), commit_index=known)
    for condition, index in paths(lambda: commit_up_to(server, min(told, new))[0].commit_index):
        k, t, n = map(as_term, (known, told, new))
        smaller = z3.If(t <= n, t, n)
        expected = z3.If(smaller > k, smaller, k)
        assert is_valid(z3.Implies(condition, as_term(index) == expected))


def test_a_term_never_goes_back() -> None:
    now, seen = number("now"), number("seen")
    server = replace(follower(term=1), current_term=now)
    for condition, after in paths(lambda: update_term(server, seen)[0].current_term):
        n, s = as_term(now), as_term(seen)
        assert is_valid(z3.Implies(condition, as_term(after) == z3.If(s > n, s, n)))


@pytest.mark.parametrize("new", [None, frozenset({1, 2, 4})])
def test_agreed_index_is_the_highest_of_a_quorum(new: frozenset[ServerId] | None) -> None:
    servers = [ServerId(i) for i in (1, 2, 3, *([4] if new else []))]
    configuration = Configuration(old=frozenset(servers[:3]), new=new)
    reached = {i: number(f"reached_{i}") for i in servers}

    def of_quorum(index: Any) -> Any:
        """Have majorities of old and new reached the index?"""
        groups = [configuration.old, *([new] if new else [])]
        return z3.And(
            [
                z3.Sum([z3.If(as_term(reached[i]) >= index, 1, 0) for i in group]) * 2 > len(group)
                for group in groups
            ]
        )

    feasible = 0
    for condition, agreed in paths(lambda: agreed_index(configuration, reached)):
        feasible += 1
        index, higher = as_term(agreed), z3.Int("higher")
        assert is_valid(z3.Implies(condition, of_quorum(index)))
        assert is_valid(z3.Implies(z3.And(condition, higher > index), z3.Not(of_quorum(higher))))
    assert feasible > 5


def entries(name: str, length: int) -> tuple[Entry, ...]:
    """Entries of unknown terms."""
    return tuple(Entry(term=number(f"{name}{i}"), payload=NoOp()) for i in range(length))


@pytest.mark.parametrize("length", range(4))
@pytest.mark.parametrize("sent", range(3))
@pytest.mark.parametrize("prev", range(3))
def test_storing_again_changes_nothing_and_a_match_is_never_cut(
    length: int, sent: int, prev: int
) -> None:
    """For all terms (§5.3): lengths are small, and the rule looks at one entry after another."""
    if prev > length:
        return
    server = replace(follower(term=1), log=Log(entries=entries("log", length)))
    request = AppendEntries(
        term=Term(1),
        leader_id=S1,
        prev_log_index=Index(prev),
        prev_log_term=Term(0),
        entries=entries("new", sent),
        leader_commit=Index(0),
    )
    for condition, (after, effects) in paths(lambda: store_entries(PAPER, server, request)):
        matching = after.log.entries[prev : prev + sent]
        assert len(matching) == sent
        for mine, theirs in zip(matching, request.entries, strict=True):
            same = as_term(mine.term) == as_term(theirs.term)
            assert is_valid(z3.Implies(condition, same))
        again = partial(first_conflict, after.log, Index(prev), request.entries)
        for more, conflict in paths(again):
            assert conflict is None or is_valid(z3.Not(z3.And(condition, more)))
        if effects == ():
            assert after.log == server.log
        else:
            conflict_at = effects[0].first_index - 1
            kept = zip(after.log.entries[:conflict_at], server.log.entries, strict=False)
            assert all(a is b for a, b in kept)
            assert conflict_at >= prev
