"""Evidence that a reduced exploration means what a plain one means."""

from __future__ import annotations

import random
from collections.abc import Callable, Set
from functools import partial

import numpy as np
import pytest

from model_check.explore import Search
from model_check.model import Model, Outcome
from model_check.raft_bounds import ClientBounds
from model_check.raft_model import Bounds, Membership, ParallelWrite, RaftModel, Snapshots
from model_check.raft_servers import Action
from model_check.tables import Reductions
from model_check.visited import Words
from spec.cluster import Committed, Fact
from spec.messages import Message
from spec.state import Server
from tests.reduction_evidence import ALL_REDUCTIONS, PLAIN, Seen, explored, successors

SMALL = [
    (1, 3, 2, "paper"),
    (1, 3, 2, "server"),
    (2, 1, 1, "paper"),
    (2, 2, 1, "paper"),
    (2, 1, 1, "server"),
    (3, 1, 1, "paper"),
]
LARGER = [(2, 2, 2, "paper"), (2, 3, 1, "paper")]


CLIENTS = [
    ((1, 2, 2, "paper"), ClientBounds(reads=2, rounds=2)),
    ((2, 1, 1, "paper"), ClientBounds(reads=1)),
    ((1, 1, 2, "paper"), ClientBounds(clients=2, commands=1)),
    ((2, 1, 1, "paper"), ClientBounds(commands=1)),
    ((1, 2, 2, "paper"), ClientBounds(reads=1, commands=2)),
]


@pytest.mark.parametrize(
    ("bounds", "clients"),
    [
        *((bounds, None) for bounds in SMALL),
        *CLIENTS,
        *(pytest.param(bounds, None, marks=pytest.mark.long) for bounds in LARGER),
    ],
    ids=str,
)
def test_every_combination_of_reductions_sees_the_same(
    bounds: tuple[int, int, int, str], clients: ClientBounds | None
) -> None:
    see_the_same(partial(explored, *bounds, clients=clients))


@pytest.mark.parametrize(
    ("bounds", "membership", "clients", "count"),
    [
        ((1, 2, 2, "paper"), None, None, 2),
        ((2, 1, 2, "paper"), None, None, 2),
        ((2, 1, 2, "paper"), Membership(), None, 1),
        ((2, 1, 1, "paper"), None, ClientBounds(commands=1), 1),
    ],
    ids=str,
)
def test_every_combination_sees_the_same_snapshots(
    bounds: tuple[int, int, int, str],
    membership: Membership | None,
    clients: ClientBounds | None,
    count: int,
) -> None:
    snapshots = Snapshots(count=count)
    see_the_same(
        partial(explored, *bounds, membership=membership, clients=clients, snapshots=snapshots)
    )


ONE_SERVER = Membership(one_server=True)


@pytest.mark.parametrize(
    ("bounds", "features", "membership"),
    [
        ((2, 1, 0), {"pre-vote"}, None),
        ((2, 2, 0), {"transfer"}, None),
        ((2, 2, 1), {"single-server"}, ONE_SERVER),
        pytest.param((2, 1, 1), {"pre-vote"}, None, marks=pytest.mark.long),
        pytest.param((2, 2, 0), {"pre-vote"}, None, marks=pytest.mark.long),
        pytest.param((2, 2, 1), {"transfer"}, None, marks=pytest.mark.long),
        pytest.param((2, 2, 0), {"pre-vote", "transfer"}, None, marks=pytest.mark.long),
        pytest.param((2, 2, 2), {"single-server"}, ONE_SERVER, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_every_combination_sees_the_same_with_features(
    bounds: tuple[int, int, int], features: Set[str], membership: Membership | None
) -> None:
    see_the_same(partial(explored, *bounds, "paper", membership=membership, features=features))


@pytest.mark.long
@pytest.mark.parametrize("clients", [ClientBounds(reads=1), ClientBounds(commands=1)], ids=str)
def test_every_combination_sees_the_same_features_of_clients_and_disks(
    clients: ClientBounds,
) -> None:
    see_the_same(
        partial(
            explored, 2, 1, 1, "paper", clients=clients, parallel_write=ParallelWrite(pending=1)
        )
    )


def see_the_same(explore: Callable[..., Search]) -> None:
    """Explore with every combination of reductions, and compare with none."""
    plain = Seen(explore(reductions=PLAIN))
    assert plain.server_tuples
    for reductions in ALL_REDUCTIONS:
        if reductions == PLAIN:
            continue
        seen = Seen(explore(reductions=reductions))
        assert seen.server_tuples == plain.server_tuples, str(reductions)
        assert seen.with_fact == plain.with_fact, str(reductions)
        assert seen.fact_pairs == plain.fact_pairs, str(reductions)
        assert seen.deliveries == plain.deliveries, str(reductions)


def test_full_reduction_sees_the_same_where_millions_of_unsaturated_states_exist() -> None:
    plain = explored(
        3, 1, 2, "paper", Reductions(saturation=False, obsolete=False, domination=False)
    )
    reduced = Seen(explored(3, 1, 2, "paper", Reductions()))
    assert plain.progress.states > 500 * reduced.search.progress.states
    assert Seen(plain).server_tuples == reduced.server_tuples


# --- Against a dumb search ----------------------------------------------------------------------

Sent = frozenset[tuple[int, int, Message]]
Global = tuple[tuple[Server, ...], Sent, frozenset[Fact]]


def dumb_search(model: RaftModel) -> tuple[int, int, int]:
    """States, transitions, and state-changing ones, of the plain graph."""

    def steps(state: Global) -> list[tuple[int, Outcome[Server, Message, Fact]]]:
        servers, sent, _ = state
        taken = [
            (p, model.act(p, server, action))
            for p, server in enumerate(servers, start=1)
            for action in model.actions(p, server)
        ]
        taken += [(p, model.deliver(p, servers[p - 1], q, m)) for q, p, m in sent]
        return taken

    (initial,) = model.initial_states()
    first: Global = (tuple(initial), frozenset(), frozenset())
    visited = {first}
    frontier = [first]
    transitions = moves = 0
    for servers, sent, facts in frontier:
        for p, outcome in steps((servers, sent, facts)):
            transitions += 1
            moves += outcome.state != servers[p - 1]
            after: Global = (
                (*servers[: p - 1], outcome.state, *servers[p:]),
                sent | {(p, q, m) for q, m in outcome.sends},
                facts | set(outcome.facts),
            )
            if after not in visited:
                visited.add(after)
                frontier.append(after)
    return len(visited), transitions, moves


@pytest.mark.parametrize(
    "bounds",
    [
        (1, 2, 2, "paper"),
        (1, 2, 2, "server"),
        (2, 2, 1, "paper"),
        (2, 1, 2, "paper"),
        (3, 1, 0, "paper"),
    ],
    ids=str,
)
def test_plain_counts_are_those_of_a_dumb_search(bounds: tuple[int, int, int, str]) -> None:
    search = explored(*bounds, PLAIN)
    servers, terms, log_length, profile = bounds
    model = RaftModel(Bounds(servers=servers, terms=terms, log_length=log_length), profile)
    counts = (search.progress.states, search.progress.transitions, search.moves)
    assert counts == dumb_search(model)


# --- Domination walks: at bounds that never finish plainly --------------------------------------


class Walk:
    """A random walk in the plain system, followed in the reduced one."""

    def __init__(self, model: RaftModel, rng: random.Random) -> None:
        self.model: Model[Server, Message, Action, Fact] = model
        self.rng = rng
        # Not renamed, so that plain and reduced states can be compared process by process ...
        self.followed = Search(model, reductions=Reductions(symmetry=False))
        # ... and renamed, to see that the search itself makes the followed step.
        self.canonical = Search(model, reductions=Reductions())
        self.moves = self.steps = 0

    def run(self, length: int) -> None:
        """Walk this many steps from the initial state."""
        (initial,) = self.model.initial_states()
        self.servers: list[Server] = list(initial)
        self.sent: dict[tuple[int, int, Message], None] = {}
        self.facts: set[Fact] = set()
        n = len(self.servers)
        vector = np.zeros(self.followed.tables.width, np.int64)
        vector[:n] = [self.followed.tables.state_id(p, s) for p, s in enumerate(self.servers)]
        self.reduced = self._settled(vector)
        for _ in range(length):
            self._step()

    def _settled(
        self, vector: np.ndarray[tuple[int], np.dtype[np.int64]], before: int = 0
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        key = self.followed.key_of(vector, before=before, visit=False)
        settled: Words = self.followed.vectors(np.array([key], np.int64))[0]
        return settled

    def _step(self) -> None:
        model, rng = self.model, self.rng
        p = rng.choice(model.processes)
        server = self.servers[p - 1]
        inbox = [(q, m) for q, to, m in self.sent if to == p]
        if inbox and rng.random() < 0.9:
            source, message = rng.choice(inbox)
            outcome = model.deliver(p, server, source, message)
        else:
            # Restarts are rarer than what makes progress.
            offered = [
                a
                for a in model.actions(p, server)
                for _ in range(1 + 3 * (type(a).__name__ != "Restart"))
            ]
            outcome = model.act(p, server, rng.choice(offered))
        self.steps += 1
        self.servers[p - 1] = outcome.state
        self.sent.update({(p, q, m): None for q, m in outcome.sends})
        self.facts.update(outcome.facts)
        if outcome.state != server:
            self.moves += 1
            self._follow(p, outcome)
        self._check(p)

    def _follow(self, p: int, outcome: Outcome[Server, Message, Fact]) -> None:
        tables = self.followed.tables
        n = len(self.servers)
        vector = self.reduced.copy()
        facts = [f for f in tables.tokens_of(int(vector[-1])) if self._matters(vector[:n], f)]
        vector[p - 1] = tables.state_id(p - 1, outcome.state)
        for q, message in outcome.sends:
            channel = n + tables.channels.index((p - 1, q - 1))
            token = tables.message_id(p - 1, q - 1, message)
            vector[channel] = tables.set_id([*tables.tokens_of(int(vector[channel])), token])
        vector[-1] = tables.set_id([*facts, *map(tables.fact_id, outcome.facts)])
        before, self.reduced = self.reduced, self._settled(vector, tables.set_id(facts))
        if self.moves % 20 == 0:
            assert self._key(self.reduced) in successors(self.canonical, self._key(before))

    def _matters(self, states: Words, fact: int) -> bool:
        """Can some process still clash with the fact?"""
        return not all(self.followed.tables.is_past(int(state), fact) for state in states)

    def _key(self, vector: Words) -> int:
        """The same state as the search with symmetry names it."""
        here, there = self.followed.tables, self.canonical.tables
        n = len(self.servers)
        image = np.zeros(there.width, np.int64)
        image[:n] = [there.state_id(p, here.state(int(s))) for p, s in enumerate(vector[:n])]
        for i, (q, p) in enumerate(here.channels):
            messages = [here.message(t)[1] for t in here.tokens_of(int(vector[n + i]))]
            image[n + i] = there.set_id([there.message_id(q, p, m) for m in messages])
        facts = [here.tokens[t] for t in here.tokens_of(int(vector[-1]))]
        image[-1] = there.set_id([there.fact_id(f[0]) for f in facts if len(f) == 1])
        return self.canonical.key_of(image, visit=False)

    def _check(self, p: int) -> None:
        """The reduced state dominates the plain one."""
        tables = self.followed.tables
        n = len(self.servers)
        assert [tables.state(int(s)) for s in self.reduced[:n]] == self.servers
        held = set(tables.tokens_of(int(self.reduced[-1])))
        facts = {f for f in map(tables.fact_id, self.facts) if self._matters(self.reduced[:n], f)}
        assert facts <= held
        channels = {
            c: set(tables.tokens_of(int(self.reduced[n + i])))
            for i, c in enumerate(tables.channels)
        }
        for q, to, message in self.sent:
            if p not in (q, to):
                continue  # nothing about this channel has changed
            token = tables.message_id(q - 1, to - 1, message)
            kept = tables.kept_for(int(self.reduced[to - 1]), token)
            assert kept == -1 or kept in channels[q - 1, to - 1]


WIDE: list[tuple[Bounds, str, Snapshots | None]] = [
    (Bounds(servers=3, terms=3, log_length=2), "paper", None),
    (Bounds(servers=3, terms=3, log_length=3), "server", None),
    (Bounds(servers=5, terms=3, log_length=2), "paper", None),
    (Bounds(servers=3, terms=2, log_length=3), "paper", Snapshots(count=2)),
]


@pytest.mark.parametrize(
    ("bounds", "profile", "walks", "snapshots"),
    [
        *((bounds, profile, 40, snapshots) for bounds, profile, snapshots in WIDE),
        *(
            pytest.param(bounds, profile, 250, snapshots, marks=pytest.mark.long)
            for bounds, profile, snapshots in WIDE
        ),
    ],
    ids=str,
)
def test_reduced_states_dominate_plain_walks(
    bounds: Bounds, profile: str, walks: int, snapshots: Snapshots | None
) -> None:
    walk = Walk(RaftModel(bounds, profile, snapshots=snapshots), random.Random(20261123))
    commits = 0
    for _ in range(walks):
        walk.run(200)
        commits += any(isinstance(fact, Committed) for fact in walk.facts)
    assert walk.steps == walks * 200
    assert walk.moves > walk.steps // 20
    assert commits > walks // 20
