"""What an exploration saw, in a form that does not depend on how it was reduced."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Set
from typing import Any

import numpy as np

from model_check import kernel as k
from model_check.explore import Search
from model_check.raft_bounds import ClientBounds
from model_check.raft_model import Bounds, Membership, ParallelWrite, RaftModel, Snapshots
from model_check.tables import Reductions

PLAIN = Reductions(saturation=False, obsolete=False, symmetry=False, domination=False)
ALL_REDUCTIONS = [
    Reductions(saturation=a, obsolete=b, symmetry=c, domination=d)
    for a, b, c, d in itertools.product((False, True), repeat=4)
]


def explored(
    servers: int,
    terms: int,
    log_length: int,
    profile: str,
    reductions: Reductions,
    clients: ClientBounds | None = None,
    membership: Membership | None = None,
    snapshots: Snapshots | None = None,
    features: Set[str] = frozenset(),
    parallel_write: ParallelWrite | None = None,
) -> Search:
    """A finished exploration of correct Raft."""
    model = RaftModel(
        Bounds(servers=servers, terms=terms, log_length=log_length),
        profile,
        membership=membership,
        snapshots=snapshots,
        clients=clients,
        features=features,
        parallel_write=parallel_write,
    )
    search = Search(model, reductions=reductions)
    assert search.run().result == "exhausted"
    return search


def distinct(columns: np.ndarray[Any, Any]) -> list[list[int]]:
    """The distinct rows of a matrix of small numbers."""
    sizes = tuple(int(size) + 1 for size in columns.max(axis=0))
    packed = np.unique(np.ravel_multi_index(tuple(columns.T), sizes))
    rows: list[list[int]] = np.column_stack(np.unravel_index(packed, sizes)).tolist()
    return rows


class Seen:
    """The combinations of values that occurred, modulo renaming, as sets of numbers' names."""

    def __init__(self, search: Search) -> None:
        """Read all levels of a search."""
        self.search = search
        self.tables = search.tables
        self.model: RaftModel = search.model  # type: ignore[assignment]
        ids = self.model.processes
        self.renamings = [dict(zip(ids, p, strict=True)) for p in itertools.permutations(ids)]
        self.names: dict[tuple[str, int], list[str]] = {}
        rows = np.concatenate([search.vectors(search.keys(g)) for g in search.generations])
        n = len(ids)
        self.server_tuples: set[Any] = set()
        self.with_fact: set[Any] = set()
        self.fact_pairs: set[Any] = set()
        for row in distinct(rows[:, [*range(n), -1]]):
            states = row[:n]
            facts = [f for f in self.tables.tokens_of(row[n]) if not self.is_past(states, f)]
            self.server_tuples.add(self._least(states, ()))
            self.with_fact |= {self._least(states, (f,)) for f in facts}
            self.fact_pairs |= {self._least((), pair) for pair in itertools.combinations(facts, 2)}
        self.deliveries = set(self._deliveries(rows))

    def is_past(self, states: list[int], fact: int) -> bool:
        """Can nobody clash with the fact any more?"""
        return all(self.tables.is_past(state, fact) for state in states)

    def _deliveries(self, rows: np.ndarray[Any, Any]) -> Iterable[Any]:
        """(Server state, class of a message that can be delivered to it and still matters)."""
        n = len(self.model.processes)
        seen: set[tuple[int, int]] = set()
        for i, (_, target) in enumerate(self.tables.channels):
            for state, channel in distinct(rows[:, [target, n + i]]):
                for token in self.tables.tokens_of(channel):
                    kept = self.tables.kept_for(state, token)
                    if kept >= 0 and (state, kept) not in seen:
                        seen.add((state, kept))
                        yield self._least((state,), (kept,))

    def _least(self, states: Iterable[int], tokens: Iterable[int]) -> Any:
        """The least of the renamings of a combination of values."""
        spelled = [self._spelled("state", s) for s in states]
        spelled += [self._spelled("token", t) for t in tokens]
        return min(tuple(sorted(names[i] for names in spelled)) for i in range(len(self.renamings)))

    def _spelled(self, what: str, number: int) -> list[str]:
        """A state or token written out under each renaming."""
        if (what, number) not in self.names:
            self.names[what, number] = [
                self._write(what, number, renaming) for renaming in self.renamings
            ]
        return self.names[what, number]

    def _write(self, what: str, number: int, renaming: dict[int, int]) -> str:
        model = self.model
        if what == "state":
            return model.show(model.rename_state(renaming, self.tables.state(number)))
        value = self.tables.tokens[number]
        if len(value) == 1:
            return model.show(model.rename_fact(renaming, value[0]))
        source, target, message = value
        ends = [renaming[model.processes[p]] for p in (source, target)]
        return f"{ends} {model.show(model.rename_message(renaming, message))}"


def successors(search: Search, key: int) -> set[int]:
    """The keys of the states that one state-changing step of the compiled search leads to."""
    worker = search.workers[0]
    keys = np.array([key], np.int64)
    missed = True
    while missed:
        worker.take_found()
        worker.reserve(search.room())
        search.expand_span(worker, keys, (0, 1), k.MOVES, fill=True)
        missed = len(worker.take_missed()) > 0
        search.tables.answer()
    search.fold_records(worker)
    return set(worker.take_found()[0].tolist())
