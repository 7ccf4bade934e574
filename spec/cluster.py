"""What the drivers share: the first cluster, and the history that properties speak about.

A *fact* records something that happened once and stays true: "ever elected", "ever committed".
Facts never live on a server; drivers collect them from steps. No network and no bounds here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from spec.events import BecameLeader, CommittedUpTo, Effects
from spec.log import base_index, entries_from, entry_at
from spec.raft import recover
from spec.state import (
    Command,
    Configuration,
    Entry,
    Index,
    Leader,
    Log,
    NoOp,
    Server,
    ServerId,
    Snapshot,
    Term,
)


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
C_OLD_NEW, C_NEW = b"C_old,new", b"C_new"
"""What ``remembered`` calls configurations: no server is named, so that they can be renamed."""


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


def remembered(log: Log, upto: Index) -> bytes:
    """The state of the simplest state machine, which remembers what each entry was, up to an index.

    Data for a snapshot (§7) in which every mistake shows; ``upto`` is at or above the base. Lines
    may follow this one, if the machine has more to remember.
    """
    known = _words(log.snapshot) if log.snapshot else []
    new = entries_from(log, Index(base_index(log) + 1), upto - base_index(log))
    return b" ".join([*known, *(_word(entry) for entry in new)])


def remembers(snapshot: Snapshot, index: Index, entry: Entry) -> bool:
    """Was ``entry`` what the state machine of the snapshot was given at ``index``?"""
    words = _words(snapshot)
    return len(words) == snapshot.last_included_index and words[index - 1] == _word(entry)


def _words(snapshot: Snapshot) -> list[bytes]:
    return snapshot.data.partition(b"\n")[0].split()


def _word(entry: Entry) -> bytes:
    match entry.payload:
        case Command(data=data):
            return data
        case NoOp():
            return b"no-op"
        case Configuration(new=new):
            return C_NEW if new is None else C_OLD_NEW
        case _:
            assert_never(entry.payload)


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
