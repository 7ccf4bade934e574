"""``python -m benchmarks.checkers NAME``: one Python checker once, in this process, as JSON.

What is timed is the call of the checker, from the model to the verdict: neither the start of the
interpreter and imports nor, for ours, loading the compiled code (a smaller run comes first).

minicheck and musil get the model twice: as it stands in ``election.py``, and packed by hand into
integers. They keep no count of transitions.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from itertools import combinations, permutations
from typing import Any

from benchmarks.election import Election, Message, Server, Step, election_safety
from benchmarks.packed import Memo, Packed, Rule
from model_check.check import check
from model_check.explore import peak_memory_bytes
from model_check.tables import Reductions

MOST_STATES = 10**9
"""Beyond what is explored here: the peers want a limit."""

Cluster = tuple[tuple[Server, ...], frozenset[tuple[int, int, Message]]]
"""All servers, and what was sent: (source, target, message)."""


def after(cluster: Cluster, process: int, step: Step) -> Cluster:
    """The cluster when one server has taken a step."""
    servers, network = cluster
    if step.sends:
        network |= {(process, target, message) for target, message in step.sends}
    return (*servers[:process], step.state, *servers[process + 1 :]), network


def start(election: Election) -> Cluster:
    """The initial state: nothing was sent."""
    (servers,) = election.initial_states()
    return servers, frozenset()


def is_safe(servers: tuple[Server, ...]) -> bool:
    """Election Safety of every pair."""
    return all(election_safety(a, b) for a, b in combinations(servers, 2))


# --- minicheck: a function from a state, which is a tuple of fields, to its successors -----------


def minicheck_plain(election: Election) -> Any:
    """The model as it stands."""
    from minicheck import Protocol

    def transitions(cluster: Cluster) -> list[tuple[str, Cluster]]:
        servers, network = cluster
        own = [
            (action, after(cluster, p, election.act(p, server, action)))
            for p, server in enumerate(servers)
            for action in election.actions(p, server)
        ]
        deliveries = [
            ("deliver", after(cluster, p, election.deliver(p, servers[p], q, message)))
            for q, p, message in network
        ]
        return [*own, *deliveries]

    return Protocol(
        name=election.name,
        candidate=True,
        fields=("servers", "network"),
        initial=start(election),
        transitions=transitions,
        invariants={"election_safety": lambda fields: is_safe(fields["servers"])},
    )


def minicheck_packed(election: Election) -> Any:
    """The model in one integer."""
    from minicheck import Protocol

    packed = Packed(election)
    servers, rules, safe = packed.servers, packed.rules, packed.safe

    def transitions(state: tuple[int]) -> list[tuple[str, tuple[int]]]:
        (x,) = state
        return [
            (label, (y,))
            for label, needs, keep, add in rules[x & servers]
            if x & needs == needs and (y := x & keep | add) != x
        ]

    return Protocol(
        name=election.name,
        candidate=True,
        fields=("packed",),
        initial=(packed.initial,),
        transitions=transitions,
        invariants={"election_safety": lambda fields: safe[fields["packed"] & servers]},
    )


def run_minicheck(protocol: Any) -> Callable[[], dict[str, Any]]:
    """Its search, to be timed."""
    from minicheck import check_safety

    def run() -> dict[str, Any]:
        found = check_safety(protocol, max_states=MOST_STATES)
        holds = found["exhaustive"] and found["properties"]["election_safety"]["holds"]
        return {"states": found["reachable_states"], "holds": bool(holds)}

    return run


# --- musil: guarded actions ----------------------------------------------------------------------


def musil_plain(election: Election) -> Any:
    """The model as it stands: one action for each that a server may take, one for each message."""
    from musil import Action, Model

    def own(p: int, action: Any) -> Any:
        return Action(
            f"{action} at {p}",
            lambda cluster: action in election.actions(p, cluster[0][p]),
            lambda cluster: after(cluster, p, election.act(p, cluster[0][p], action)),
        )

    def delivery(q: int, p: int, message: Message) -> Any:
        sent = (q, p, message)
        return Action(
            f"{message} from {q} at {p}",
            lambda cluster: sent in cluster[1],
            lambda cluster: after(cluster, p, election.deliver(p, cluster[0][p], q, message)),
        )

    kinds = ("restart", "election timeout")
    return Model(
        init=[start(election)],
        actions=[
            *(own(p, action) for p in election.processes for action in kinds),
            *(
                delivery(q, p, message)
                for q, p in permutations(election.processes, 2)
                for message in election.messages()
            ),
        ],
        invariants={"election_safety": lambda cluster: is_safe(cluster[0])},
    )


def musil_packed(election: Election) -> Any:
    """The model in one integer; the actions of equal servers are made once."""
    from musil import Action, Model

    packed = Packed(election)
    servers, safe = packed.servers, packed.safe

    def action(rule: Rule) -> tuple[int, int, int, Any]:
        label, needs, keep, add = rule
        return needs, keep, add, Action(label, lambda _: True, lambda x: x & keep | add)

    menus = Memo(lambda servers: [action(rule) for rule in packed.rules[servers]])

    def actions(x: int) -> list[Any]:
        menu = menus[x & servers]
        return [a for needs, keep, add, a in menu if x & needs == needs and x & keep | add != x]

    return Model(
        init=packed.initial,
        actions_fn=actions,
        invariants={"election_safety": lambda x: safe[x & servers]},
        terminal=lambda _: True,  # the steps left out would go on for ever
    )


def run_musil(model: Any) -> Callable[[], dict[str, Any]]:
    """Its search, to be timed."""
    from musil import check as musil_check

    def run() -> dict[str, Any]:
        found = musil_check(model, max_states=MOST_STATES)
        return {"states": found.states_explored, "holds": found.ok and not found.truncated}

    return run


# --- Ours ----------------------------------------------------------------------------------------


def run_ours(election: Election, workers: int) -> Callable[[], dict[str, Any]]:
    """The plain graph: no reduction, no history."""
    explore = partial(
        check,
        reductions=Reductions(**dict.fromkeys(Reductions.NAMES, False)),
        workers=workers,
        with_facts=False,
    )
    explore(Election(servers=len(election.processes), terms=1))

    def run() -> dict[str, Any]:
        found = explore(election)
        return {
            "states": found.states,
            "holds": found.exit_code == 0,
            "transitions": found.transitions,
            "changing": sum(c.fired for c in found.coverage),
        }

    return run


CHECKERS: dict[str, Callable[[Election, int], Callable[[], dict[str, Any]]]] = {
    "model_check": run_ours,
    "minicheck": lambda election, _: run_minicheck(minicheck_plain(election)),
    "minicheck-packed": lambda election, _: run_minicheck(minicheck_packed(election)),
    "musil": lambda election, _: run_musil(musil_plain(election)),
    "musil-packed": lambda election, _: run_musil(musil_packed(election)),
}


def main() -> None:
    """Run one checker, print what it found and what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkers", description=__doc__)
    parser.add_argument("checker", choices=CHECKERS)
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--terms", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="threads of model_check")
    options = parser.parse_args()
    election = Election(servers=options.servers, terms=options.terms)
    run = CHECKERS[options.checker](election, options.workers)
    before = peak_memory_bytes()
    seconds, cpu_seconds = time.perf_counter(), time.process_time()
    found = run()
    found["cpu_seconds"] = time.process_time() - cpu_seconds
    found["seconds"] = time.perf_counter() - seconds
    found["memory_bytes"] = peak_memory_bytes() - before
    print(json.dumps(found))


if __name__ == "__main__":
    main()
