"""The goals of ``spec.progress`` as goals of a model: servers that are up, and the bounds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

from model_check.model import Goal
from model_check.raft_claims import server_in
from model_check.raft_servers import Action, Servers
from spec import progress
from spec.disk import WriteCompletes
from spec.state import Server


def goals(servers: Servers) -> list[Goal]:
    """With all servers up, and with every largest minority down.

    With membership changes, the smaller sets of servers that may be down are tried too.
    """
    most = len(servers.processes) - len(servers.first_members) // 2 - 1
    sizes = range(most + 1) if servers.membership else sorted({0, most})
    down = [frozenset(c) for n in sizes for c in itertools.combinations(servers.processes, n)]
    return [
        Goal(
            name=goal.name,
            title=goal.title,
            sentence=goal.sentence,
            allows=partial(_allows, goal),
            asked=partial(_asked, goal, servers),
            reached=partial(_reached, goal),
            view=partial(_view, goal),
            down=tuple(down),
        )
        for goal in progress.GOALS
    ]


def _allows(goal: progress.Goal, action: Action) -> bool:
    """A disk that works completes its writes, whatever the goal."""
    return isinstance(action, goal.events) or action == WriteCompletes()


def _asked(goal: progress.Goal, room: progress.Room, seen: Sequence[Server | None]) -> object:
    return goal.asked([server for server in seen if server is not None], room)


def _reached(goal: progress.Goal, seen: Sequence[Server | None]) -> object:
    return goal.reached([server for server in seen if server is not None])


def _view(goal: progress.Goal, state: object) -> Server | None:
    """What of a process the goal sees, if it is a server."""
    server = server_in(state)
    return None if server is None else goal.view(server)
