"""Why two quorums share a server, for arbitrary finite sets of servers.

The proofs take for granted that quorums of near configurations meet. Whether finite sets meet is a
matter of sizes only: of the regions of their Venn diagram, one number each. So each case is one
query of linear arithmetic, without any bound on the number of servers.

As in ``lemmas``, each claim is written once: ``Venn`` makes it a formula, ``Finite`` evaluates it
on sets, which is how the tests tie ``is_quorum`` here to ``spec.quorum``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import product
from typing import Any, Protocol, TypeAlias

import z3

from model_check.proof.logic import Formula, all_of, implies
from model_check.proof.prover import Obligation

ServerSet: TypeAlias = Any
Configuration: TypeAlias = tuple[ServerSet, ...]
"""One set, or the old and the new one while it is joint (§6)."""


class Sizes(Protocol):
    """Tells how many servers are in all of some sets."""

    def size(self, *sets: ServerSet) -> Any:
        """The number of servers in the intersection."""


@dataclass(frozen=True)
class Finite:
    """Sets of Python."""

    def size(self, *sets: ServerSet) -> int:
        """The number of servers in the intersection."""
        return len(frozenset.intersection(*sets))


@dataclass(frozen=True)
class Venn:
    """Sets that are only names, and how many servers there are in each region of their diagram."""

    names: Sequence[str]

    def regions(self) -> Iterator[tuple[tuple[bool, ...], Any]]:
        """Each region: in which of the sets it is, and its size."""
        for inside in product((False, True), repeat=len(self.names)):
            yield inside, z3.Int("in_" + "".join("01"[b] for b in inside))

    def size(self, *sets: ServerSet) -> Any:
        """The number of servers in the intersection."""
        positions = [self.names.index(name) for name in sets]
        return z3.Sum(
            [size for inside, size in self.regions() if all(inside[p] for p in positions)]
        )

    def possible(self) -> Any:
        """No region has less than no servers."""
        return z3.And([size >= 0 for _, size in self.regions()])


def is_quorum(s: Sizes, servers: ServerSet, configuration: Configuration) -> Formula:
    """Do the servers contain a majority of each set of the configuration (§5.2, §6)?"""
    return all_of(*(2 * s.size(servers, voters) > s.size(voters) for voters in configuration))


def meet(s: Sizes, a: ServerSet, c: Configuration, b: ServerSet, d: Configuration) -> Formula:
    """A quorum of c and a quorum of d share a server."""
    return implies(all_of(is_quorum(s, a, c), is_quorum(s, b, d)), lambda: s.size(a, b) > 0)


# The cases of "near" (``membership``): joint(c, d) follows c, and d follows joint(c, d).


def equal(s: Sizes, a: ServerSet, b: ServerSet, c: ServerSet) -> Formula:
    """Two majorities of the same servers meet."""
    return meet(s, a, (c,), b, (c,))


def equal_joint(s: Sizes, a: ServerSet, b: ServerSet, c: ServerSet, d: ServerSet) -> Formula:
    """Two quorums of the same joint configuration meet."""
    return meet(s, a, (c, d), b, (c, d))


def joint_follows_old(s: Sizes, a: ServerSet, b: ServerSet, c: ServerSet, d: ServerSet) -> Formula:
    """A majority of C_old and a quorum of C_old,new meet."""
    return meet(s, a, (c,), b, (c, d))


def new_follows_joint(s: Sizes, a: ServerSet, b: ServerSet, c: ServerSet, d: ServerSet) -> Formula:
    """A quorum of C_old,new and a majority of C_new meet."""
    return meet(s, a, (c, d), b, (d,))


def siblings(
    s: Sizes, a: ServerSet, b: ServerSet, c: ServerSet, d: ServerSet, e: ServerSet
) -> Formula:
    """Quorums of two joint configurations that follow the same C_old meet."""
    return meet(s, a, (c, d), b, (c, e))


NEAR: tuple[Callable[..., Formula], ...] = (
    equal,
    equal_joint,
    joint_follows_old,
    new_follows_joint,
    siblings,
)


def negated(claim: Callable[..., Formula]) -> Any:
    """The claim is false of some finite sets."""
    names = list(signature(claim).parameters)[1:]
    venn = Venn(names)
    return z3.And(venn.possible(), z3.Not(claim(venn, *names)))


def obligations() -> Iterator[Obligation]:
    """One for each case."""
    for claim in NEAR:
        yield Obligation("quorums", claim.__name__, "(finite sets)", (), negated(claim))
