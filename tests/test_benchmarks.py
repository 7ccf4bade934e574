"""The models of ``benchmarks/`` are one model: every checker that is installed counts the same."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks import checkers
from benchmarks.election import Election, Message, RequestVote, Server, Step
from benchmarks.peers import EVERY_STEP, PROMELA, NotInstalled, require, run_spin

EACH_SIZE = pytest.mark.parametrize("size", [(2, 3), (3, 1)], ids=str)
"""Servers and terms: some thousand states."""


class TwoFaced(Election):
    """A server grants its vote to whoever asks."""

    def deliver(self, process: int, state: Server, source: int, message: Message) -> Step:
        """Forget the vote before a request arrives."""
        if isinstance(message, RequestVote):
            state = replace(state, voted_for=None)
        return super().deliver(process, state, source, message)


def election(size: tuple[int, int]) -> Election:
    """The model of this size."""
    servers, terms = size
    return Election(servers=servers, terms=terms)


def skip_without(package: str) -> None:
    """Skip the test if a Python checker is missing."""
    try:
        require(package)
    except NotInstalled as missing:
        pytest.skip(f"{package} is {missing}")


@cache
def counts(size: tuple[int, int]) -> tuple[int, int, int]:
    """A dumb search: states, transitions, and those that lead to a different state."""
    model = election(size)
    (servers,) = model.initial_states()
    first: tuple[tuple[Server, ...], frozenset[tuple[int, int, Message]]] = (servers, frozenset())
    visited, frontier = {first}, [first]
    transitions = changing = 0
    for state in frontier:
        servers, sent = state
        own = [(p, model.act(p, s, a)) for p, s in enumerate(servers) for a in model.actions(p, s)]
        for p, step in own + [(p, model.deliver(p, servers[p], q, m)) for q, p, m in sent]:
            after = (
                (*servers[:p], step.state, *servers[p + 1 :]),
                sent | {(p, to, message) for to, message in step.sends},
            )
            transitions += 1
            changing += after != state
            if after not in visited:
                visited.add(after)
                frontier.append(after)
    return len(visited), transitions, changing


@pytest.mark.parametrize("workers", [1, 2])
@EACH_SIZE
def test_ours_counts_like_a_dumb_search(size: tuple[int, int], workers: int) -> None:
    found = checkers.run_ours(election(size), workers)()
    assert found["holds"]
    assert (found["states"], found["transitions"], found["changing"]) == counts(size)


@pytest.mark.parametrize("options", ["", EVERY_STEP, "-DCOLLAPSE", "-DBFS"])
@EACH_SIZE
def test_spin_counts_the_same(size: tuple[int, int], options: str, tmp_path: Path) -> None:
    try:
        found = run_spin(election(size), tmp_path, options)
    except NotInstalled as missing:
        pytest.skip(f"SPIN is {missing}")
    states, transitions, changing = counts(size)
    assert found.holds
    assert found.states == states
    if options == EVERY_STEP:
        assert found.transitions == transitions
    else:
        assert found.changing == changing


@EACH_SIZE
def test_minicheck_counts_the_same(size: tuple[int, int]) -> None:
    skip_without("minicheck")
    states, transitions, changing = counts(size)
    for make, steps in (
        (checkers.minicheck_plain, transitions),
        (checkers.minicheck_packed, changing),
    ):
        protocol = make(election(size))
        taken: list[int] = []

        def counted(state: Any, original: Any = protocol.transitions, taken: Any = taken) -> Any:
            found = original(state)
            taken.append(len(found))
            return found

        protocol.transitions = counted
        assert checkers.run_minicheck(protocol)() == {"states": states, "holds": True}
        assert (len(taken), sum(taken)) == (states, steps)


@EACH_SIZE
def test_musil_counts_the_same(size: tuple[int, int]) -> None:
    skip_without("musil")
    from musil import explore

    states, transitions, changing = counts(size)
    for make, steps in ((checkers.musil_plain, transitions), (checkers.musil_packed, changing)):
        model = make(election(size))
        assert checkers.run_musil(model)() == {"states": states, "holds": True}
        assert sum(map(len, explore(model).edges.values())) == steps


# --- Each of them checks Election Safety ---------------------------------------------------------


@pytest.mark.parametrize("name", checkers.CHECKERS)
def test_python_checkers_see_two_leaders(name: str) -> None:
    skip_without(name.partition("-")[0])
    assert not checkers.CHECKERS[name](TwoFaced(servers=3, terms=1), 1)()["holds"]


def test_spin_sees_two_leaders(tmp_path: Path) -> None:
    two_faced = tmp_path / "two_faced.pml"
    text = PROMELA.read_text(encoding="utf-8")
    assert text.count("(voted_for_##p == NOBODY ||") == 1
    text = text.replace("(voted_for_##p == NOBODY ||", "(true ||")
    two_faced.write_text(text, encoding="utf-8")
    try:
        found = run_spin(election((3, 1)), tmp_path, model=two_faced)
    except NotInstalled as missing:
        pytest.skip(f"SPIN is {missing}")
    assert not found.holds
