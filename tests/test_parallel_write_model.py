"""Servers that write in parallel, as the checker explores them: evidence that it misses nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from model_check.explore import Search
from model_check.raft_model import Bounds, ParallelWrite, RaftModel
from model_check.tables import Reductions
from spec.disk import ServerOnDisk, recovered
from spec.state import Index, Leader, Server
from tests.reduction_evidence import ALL_REDUCTIONS, Seen

SMALL = [(1, 2, 2), (2, 1, 1), (2, 2, 1), (3, 1, 1)]


def search_of(size: tuple[int, int, int], *, settled: bool) -> Search:
    """A finished exploration of the paper profile with disks that write in parallel."""
    servers, terms, log_length = size
    bounds = Bounds(servers=servers, terms=terms, log_length=log_length)
    model = RaftModel(bounds, parallel_write=ParallelWrite(settled=settled))
    search = Search(model, reductions=Reductions())
    assert search.run().result == "exhausted"
    return search


class InMemory(Seen):
    """What the servers are, whatever is on their disks."""

    def seen_of(self, state: ServerOnDisk) -> Server:
        """The server; only a leader makes use of its durable_index."""
        if isinstance(state.server.role, Leader):
            return state.server
        return replace(state.server, durable_index=Index(0))

    def _write(self, what: str, number: int, renaming: dict[int, int]) -> str:
        if what != "state":
            return super()._write(what, number, renaming)
        server = self.seen_of(self.tables.state(number))
        return self.model.show(self.model.rename_state(renaming, server))


class OnDisk(InMemory):
    """What the servers would be if all of them crashed now."""

    def seen_of(self, state: ServerOnDisk) -> Server:
        """The server after a crash that loses all that is not durable."""
        return recovered(state.server, state.disk.image)


@pytest.mark.parametrize("size", SMALL, ids=str)
@pytest.mark.parametrize("view", [InMemory, OnDisk])
def test_nothing_is_missed_when_writes_complete_at_once_where_nobody_is_led(
    size: tuple[int, int, int], view: type[Seen]
) -> None:
    settled, free = (view(search_of(size, settled=settled)) for settled in (True, False))
    assert settled.server_tuples == free.server_tuples
    assert settled.search.progress.states <= free.search.progress.states


@pytest.mark.parametrize("size", [(1, 2, 2), (2, 1, 2), (2, 2, 1)], ids=str)
def test_every_combination_of_reductions_sees_the_same(size: tuple[int, int, int]) -> None:
    servers, terms, log_length = size
    bounds = Bounds(servers=servers, terms=terms, log_length=log_length)
    model = RaftModel(bounds, parallel_write=ParallelWrite())
    seen: list[Any] = []
    for reductions in ALL_REDUCTIONS:
        search = Search(model, reductions=reductions)
        assert search.run().result == "exhausted"
        found = Seen(search)
        seen.append((found.server_tuples, found.with_fact, found.fact_pairs, found.deliveries))
    assert all(found == seen[0] for found in seen)
