"""What the drivers share: the first cluster, and the history that properties speak about.

A *fact* records something that happened once and stays true: "ever elected", "ever committed".
Facts never live on a server; drivers collect them from steps. No network and no bounds here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spec.events import BecameLeader, CommittedUpTo, Effects
from spec.log import entry_at
from spec.raft import recover
from spec.state import Configuration, Entry, Index, Leader, Log, Server, ServerId, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Elected:
    """``leader_id`` won the election of ``term`` with this ``log``."""

    term: Term
    leader_id: ServerId
    log: Log


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A leader of ``term`` counted the entry at ``index`` as committed, alone or with later ones.

    ``term`` is the leader's, not the entry's own (§5.4.2); ``configuration`` was in force there.
    """

    term: Term
    index: Index
    entry: Entry
    configuration: Configuration


Fact = Elected | Committed


def initial_server(server_id: ServerId, server_ids: Iterable[ServerId]) -> Server:
    """A server that starts for the first time, with an empty log (Figure 2, "State").

    ``server_ids`` is the cluster; empty for a server that waits to be added to one (§6).
    """
    return recover(
        server_id=server_id,
        configuration=Configuration(old=frozenset(server_ids)),
        current_term=Term(0),
        voted_for=None,
        log=Log(),
    )


def facts(before: Server, after: Server, effects: Effects) -> tuple[Fact, ...]:
    """What the step from ``before`` to ``after`` adds to history."""
    elected = tuple(
        Elected(term=effect.term, leader_id=after.server_id, log=after.log)
        for effect in effects
        if isinstance(effect, BecameLeader)
    )
    return elected + _committed(before, after, effects)


def led(before: Server, after: Server) -> bool:
    """Was the step taken as leader, even if its last act was to step down (§6)?"""
    was_leader = isinstance(before.role, Leader) and before.current_term == after.current_term
    return was_leader or isinstance(after.role, Leader)


def _committed(before: Server, after: Server, effects: Effects) -> tuple[Committed, ...]:
    if after.commit_index == before.commit_index or not led(before, after):
        return ()
    committed = []
    for index in range(before.commit_index + 1, after.commit_index + 1):
        entry = entry_at(after.log, Index(index))
        if entry is not None:
            committed.append(
                Committed(
                    term=after.current_term,
                    index=Index(index),
                    entry=entry,
                    configuration=_counted_by(effects, Index(index)) or after.configuration,
                )
            )
    return tuple(committed)


def _counted_by(effects: Effects, index: Index) -> Configuration | None:
    """The configuration that a leader says has stored the entry at ``index``."""
    for effect in effects:
        if isinstance(effect, CommittedUpTo) and effect.commit_index >= index:
            return effect.counted_by
    return None
