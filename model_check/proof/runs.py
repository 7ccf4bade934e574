"""The lemmas on states of ``spec``: plain runs of a cluster, each followed by its abstract state.

A plain state is a tuple of servers, the set of messages ever sent, and the whole abstract state,
history included. The abstract state is never computed from the servers: it starts as ``initial``
and is changed only by the actions of ``actions``, run on tables. At each step the servers' part of
it must be what the servers are, and every lemma and consequence must hold, for all values of its
variables. Slow and simple, with no reduction of any kind: for small bounds to the end, and for
random walks beyond.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, TypeAlias

from model_check.proof import abstraction
from model_check.proof.abstraction import Abstraction, NotRefined, Value
from model_check.proof.lemmas import Lemma
from model_check.proof.logic import Sort
from model_check.proof.prover import fields_of
from model_check.proof.refinement import (
    Carrier,
    Request,
    Taken,
    follow,
    quorum_functions,
    request_functions,
    same_server,
)
from model_check.proof.theory import STATIC, Theory, variables, vocabulary
from model_check.raft_model import Bounds, Membership, RaftModel, Snapshots
from spec.cluster import remembered
from spec.events import Event, ReadRequest
from spec.log import base_index
from spec.messages import Message
from spec.state import ClientId, Entry, Index, Leader, Log, RequestId, Server

Packet: TypeAlias = tuple[int, int, Message]
Table: TypeAlias = frozenset[tuple[tuple[Any, ...], Any]]

TRIES = 20
"""How often a random walk looks for a step that is no stutter."""
DEFAULTS: dict[str, Any] = {"Truth": False, "ServerSet": frozenset()}


def _payload(value: Any) -> Any:
    """What an entry with this value carries."""
    return value.payload if isinstance(value, Value) else value


class LemmaBroken(Exception):
    """A lemma is false in a reachable state; the message says which, and for which values."""


@dataclass(frozen=True, slots=True)
class Node:
    """A plain state: the servers, what was sent, and for each changing function its table.

    Tables are numbered, function by function, so that states are short.
    """

    servers: tuple[Server, ...]
    network: frozenset[Packet]
    tables: tuple[int, ...]


@dataclass
class Counts:
    """What was done."""

    states: int = 0
    transitions: int = 0
    stutters: int = 0
    evaluations: int = 0
    """Of a lemma, for some values of its variables."""
    actions: Counter[str] = field(default_factory=Counter)


@dataclass
class Judged:
    """A lemma, its variables, and the tables that it reads; ``seen`` are those it was true of."""

    lemma: Lemma
    names: tuple[tuple[str, Sort], ...]
    reads: Callable[[tuple[int, ...]], Any]
    seen: set[Any] = field(default_factory=set)


class Runs:
    """All plain runs of a cluster within bounds."""

    def __init__(
        self,
        bounds: Bounds,
        profile: str = "paper",
        theory: Theory = STATIC,
        membership: Membership | None = None,
        snapshots: Snapshots | None = None,
        rounds: int = 0,
    ) -> None:
        """Prepare the tables; the theory must be about all that is asked for.

        Reads are requested if a leader may begin ``rounds`` for them in a term.
        """
        self.rounds = rounds
        self.model = RaftModel(bounds, profile, membership=membership, snapshots=snapshots)
        self.bounds = bounds
        self.theory = theory
        self.counts = Counts()
        self.sorts = vocabulary(theory.state)
        first = next(iter(self.model.initial_states()))[0].configuration
        self.abstraction = Abstraction(theory.state, first)
        self.fixed = {**request_functions(), **quorum_functions(first)}
        if self.abstraction.joint:
            self.fixed |= abstraction.functions()
        self._configurations = {first}
        self.changing = [name for name in self.sorts if name not in self.fixed]
        self._numbers: list[dict[Table, int]] = [{} for _ in self.changing]
        self._functions: list[list[Callable[..., Any]]] = [[] for _ in self.changing]
        self._requests = self.changing.index("append_sent")
        self._requests_of: dict[int, list[Request]] = {}
        self.lemmas = [self._judged(lemma) for lemma in (*theory.lemmas, *theory.consequences)]

    def _judged(self, lemma: Lemma) -> Judged:
        fields = fields_of(self.theory, lemma)
        reads = [at for at, name in enumerate(self.changing) if name in fields]
        return Judged(lemma, variables(lemma.holds), itemgetter(*reads) if reads else len)

    # --- Abstract states as tables ---

    def first(self) -> Node:
        """All servers start for the first time."""
        (servers,) = self.model.initial_states()
        empty = tuple(self._number(p, frozenset()) for p in range(len(self.changing)))
        nothing = self.state(empty)
        node = Node(
            servers, frozenset(), self._tables(nothing, self.theory.initial(nothing), empty, ())
        )
        for server in servers:
            same_server(self.state(node.tables), server, self.abstraction)
        self.judge(node)
        return node

    def state(self, tables: tuple[int, ...]) -> Any:
        """The abstract state of these tables."""
        functions = {
            name: known[number]
            for name, known, number in zip(self.changing, self._functions, tables, strict=True)
        }
        return self.theory.state(**functions, **self.fixed)

    def _number(self, position: int, table: Table) -> int:
        """The number of a table of the function at this position."""
        numbers = self._numbers[position]
        if table not in numbers:
            numbers[table] = len(numbers)
            values, default = dict(table), self._default(position)
            self._functions[position].append(lambda *at: values.get(at, default))
            if position == self._requests:
                self._requests_of[numbers[table]] = [m for (m,) in values]
        return numbers[table]

    def _default(self, position: int) -> Any:
        result = self.sorts[self.changing[position]][1]
        return 0 if result.is_number else DEFAULTS.get(result.name)

    def _sent(self, node: Node) -> list[Request]:
        """Every AppendEntries ever sent."""
        return self._requests_of[node.tables[self._requests]]

    def _domain(self, sort: Sort, requests: Iterable[Request]) -> Iterable[Any]:
        match sort.name:
            case "Server":
                return self.model.processes
            case "Term":
                return range(self.bounds.terms + 1)
            case "Index":
                return range(self.bounds.log_length + 1)
            case "Request":
                return requests
            case "Read":
                terms, numbers = range(self.bounds.terms + 1), range(1, self.rounds + 1)
                return [*itertools.product(terms, numbers)]
            case "ServerSet":
                processes = self.model.processes
                sizes = range(len(processes) + 1)
                return [frozenset(c) for n in sizes for c in itertools.combinations(processes, n)]
            case "Configuration":
                return self._configurations
            case _:
                raise AssertionError(f"nothing is quantified over {sort.name}")

    def _tables(
        self, before: Any, after: Any, tables: tuple[int, ...], requests: Iterable[Request]
    ) -> tuple[int, ...]:
        """The functions of ``after`` as tables; what an action did not change stays as it is."""
        numbers = list(tables)
        for position, name in enumerate(self.changing):
            function = getattr(after, name)
            if function is getattr(before, name):
                continue
            default = self._default(position)
            domains = [self._domain(sort, requests) for sort in self.sorts[name][0]]
            table = frozenset(
                (at, value)
                for at in itertools.product(*domains)
                if (value := function(*at)) != default
            )
            numbers[position] = self._number(position, table)
        return tuple(numbers)

    # --- Steps ---

    def successors(self, node: Node) -> Iterator[Node]:
        """The state after each step that is possible."""
        for position, process in enumerate(self.model.processes):
            server = node.servers[position]
            for action in self._actions(process, server):
                yield self.step(node, position, self.model.act(process, server, action))
            for source, target, message in node.network:
                if target == process:
                    outcome = self.model.deliver(process, server, source, message)
                    yield self.step(node, position, outcome)

    def _actions(self, process: int, server: Server) -> list[Event]:
        """What may happen to a server by itself; requests for reads have one name in a term."""
        name = RequestId(client_id=ClientId(0), serial_number=server.current_term)
        request = ReadRequest(read_id=name)
        return [*self.model.actions(process, server), *([request] if self.rounds else [])]

    def step(self, node: Node, position: int, outcome: Any) -> Node:
        """The plain and the abstract state after a step, which must agree.

        A step that changes nothing, and sends nothing that was not sent before, is a stutter.
        """
        before, event, after, effects = outcome.step
        process = self.model.processes[position]
        packets = {(process, target, message) for target, message in outcome.sends}
        self.counts.transitions += 1
        leads = isinstance(after.role, Leader)
        if leads and after.role.reads.round > self.rounds:
            return node  # the bound
        if after == before and packets <= node.network:
            self.counts.stutters += 1
            return node
        old, sent = self.state(node.tables), self._sent(node)

        def received(message: Carrier) -> Request:
            return min(
                (m for m in sent if m.message == message),
                key=lambda m: (m.commit_term, m.commit_event),
            )

        taken = Taken(before, event, after, effects)
        state, calls = follow(old, taken, received, self.abstraction)
        self._same_machine(state, after)
        self.counts.actions.update(action.__name__ for action, _ in calls)
        new = {a for _, arguments in calls for a in arguments if isinstance(a, Request)}
        servers = (*node.servers[:position], after, *node.servers[position + 1 :])
        tables = self._tables(old, state, node.tables, new.union(sent))
        if tables != node.tables:
            settled = self.state(tables)
            for server in servers:
                same_server(settled, server, self.abstraction)
        return Node(servers, node.network | packets, tables)

    def _same_machine(self, state: Any, server: Server) -> None:
        """A snapshot is the state of the model's machine after the entries that it covers."""
        n, base = server.server_id, base_index(server.log)
        entries = tuple(
            Entry(term=state.entry_term(n, i), payload=_payload(state.entry_value(n, i)))
            for i in range(1, base + 1)
        )
        known = server.log.snapshot.data if server.log.snapshot else b""
        if remembered(Log(entries=entries), Index(base)) != known:
            raise NotRefined("a snapshot tells of other entries than those that it covers")

    def judge(self, node: Node) -> None:
        """Evaluate each lemma, once for each combination of the tables that it reads."""
        self._configurations |= {server.configuration for server in node.servers}
        state: Any = None
        for judged in self.lemmas:
            key = judged.reads(node.tables)
            if key not in judged.seen:
                judged.seen.add(key)
                state = self.state(node.tables) if state is None else state
                self._evaluate(judged, state, self._sent(node))

    def _evaluate(self, judged: Judged, state: Any, sent: Sequence[Request]) -> None:
        holds = judged.lemma.holds
        for values in itertools.product(*(self._domain(sort, sent) for _, sort in judged.names)):
            self.counts.evaluations += 1
            if holds(state, *values) is not True:
                named = zip(judged.names, values, strict=True)
                at = ", ".join(f"{name}={value}" for (name, _), value in named)
                raise LemmaBroken(f"{judged.lemma.name} is false for {at}")

    # --- Drivers ---

    def exhaust(self, limit: int | None = None) -> Counts:
        """Visit every plain state, or ``limit`` of them, breadth first."""
        level = [self.first()]
        seen = set(level)
        while level and (limit is None or len(seen) < limit):
            fresh = []
            for node in level:
                for after in self.successors(node):
                    if after not in seen:
                        seen.add(after)
                        self.judge(after)
                        fresh.append(after)
                        if limit is not None and len(seen) >= limit:
                            break
            level = fresh
        self.counts.states = len(seen)
        return self.counts

    def walk(self, steps: int, seed: int) -> Counts:
        """One random run of steps, most of which change something; only new states are judged."""
        chance = random.Random(seed)
        node = self.first()
        for _ in range(steps):
            before, tries = node, 0
            while node is before and tries < TRIES:
                node, tries = self._random_step(before, chance), tries + 1
            self.judge(node)
            self.counts.states += 1
        return self.counts

    def _random_step(self, node: Node, chance: random.Random) -> Node:
        position = chance.randrange(len(node.servers))
        process, server = self.model.processes[position], node.servers[position]
        arrivals = sorted(((s, m) for s, target, m in node.network if target == process), key=repr)
        if arrivals and chance.random() < 0.8:
            source, message = chance.choice(arrivals)
            return self.step(node, position, self.model.deliver(process, server, source, message))
        actions = self._actions(process, server)
        weights = [self.model.weight(action) for action in actions]
        action = chance.choices(actions, weights)[0]
        return self.step(node, position, self.model.act(process, server, action))
