"""Log compaction (§7): what it adds to the abstract protocol.

In the abstract state the entries that a snapshot covers stay where they were, as history: a
snapshot *is* the state after them. But no action looks at them any more. InstallSnapshot is a
request that carries the log from its begin, up to an index that is committed at the leader.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, TypeVar

from model_check.proof.actions import Action, Effect
from model_check.proof.lemmas import Lemma, register
from model_check.proof.logic import (
    Formula,
    Index,
    Request,
    Server,
    all_of,
    choose,
    larger,
    negation,
    put,
)
from model_check.proof.state import Function, State


@dataclass(frozen=True, kw_only=True)
class SnapshotState(State):
    """A state of Raft with log compaction."""

    last_included_index: Annotated[Function, (Server,), Index]
    """Up to where a server's log was replaced by a snapshot."""

    def compacted(self, server: Server) -> Index:
        """Up to where the log was replaced by a snapshot."""
        return self.last_included_index(server)


S = TypeVar("S", bound=SnapshotState)

LEMMAS: list[Lemma] = []
lemma = partial(register, LEMMAS)


def initial(s: S) -> S:
    """Nobody has a snapshot."""
    return replace(s, last_included_index=lambda n: 0)


def take_snapshot(s: SnapshotState, n: Server, index: Index) -> Effect:
    """A server replaces committed entries by a snapshot (§7)."""
    return Effect(
        {
            "forward": s.last_included_index(n) <= index,
            "committed": index <= s.commit_index(n),
        },
        replace(s, last_included_index=put(s.last_included_index, n, index)),
    )


def _installs(s: SnapshotState, n: Server, m: Request) -> dict[str, Formula]:
    """The request is a snapshot: all from the first entry on, and committed."""
    return {
        "sent": s.append_sent(m),
        "own term": s.request_term(m) == s.current_term(n),
        "whole": s.prev_log_index(m) == 0,
        "committed": s.final_index(m) <= s.leader_commit(m),
    }


def _has_last_entry(s: SnapshotState, n: Server, m: Request) -> Formula:
    last = s.final_index(m)
    return all_of(last <= s.last_index(n), s.entry_term(n, last) == s.sent_term(m, last))


def _installed(s: SnapshotState, n: Server, m: Request) -> SnapshotState:
    """The snapshot is in place, and what it covers is committed and acknowledged."""
    last = s.final_index(m)
    newer = last > s.commit_index(n)
    known = s.acknowledged(n, s.current_term(n))
    return replace(
        s,
        is_candidate=put(s.is_candidate, n, False),
        last_included_index=put(s.last_included_index, n, larger(s.last_included_index(n), last)),
        commit_index=put(s.commit_index, n, larger(s.commit_index(n), last)),
        commit_term=put(
            s.commit_term, n, choose(newer, s.request_commit_term(m), s.commit_term(n))
        ),
        commit_event=put(
            s.commit_event, n, choose(newer, s.request_commit_event(m), s.commit_event(n))
        ),
        acknowledged=put(s.acknowledged, n, s.current_term(n), larger(known, last)),
    )


def ignore_snapshot(s: SnapshotState, n: Server, m: Request) -> Effect:
    """A snapshot of what is known to be committed is acknowledged, no more (§7, Figure 13)."""
    known = s.acknowledged(n, s.current_term(n))
    return Effect(
        {
            "sent": s.append_sent(m),
            "own term": s.request_term(m) == s.current_term(n),
            "nothing new": s.final_index(m) <= s.commit_index(n),
        },
        replace(
            s,
            is_candidate=put(s.is_candidate, n, False),
            acknowledged=put(s.acknowledged, n, s.current_term(n), larger(known, s.final_index(m))),
        ),
    )


def install_and_keep_log(s: SnapshotState, n: Server, m: Request) -> Effect:
    """The log has the snapshot's last entry: what follows it is kept (§7, Figure 13)."""
    return Effect(
        _installs(s, n, m) | {"has the last entry": _has_last_entry(s, n, m)},
        _installed(s, n, m),
        mention=[s.sent_term(m, s.final_index(m))],
    )


def install_and_discard_log(s: SnapshotState, n: Server, m: Request) -> Effect:
    """The log lacks the snapshot's last entry: all of it is discarded (§7, Figure 13)."""
    last = s.final_index(m)
    return Effect(
        _installs(s, n, m)
        | {
            "newer": last > s.last_included_index(n),
            "lacks the last entry": negation(_has_last_entry(s, n, m)),
        },
        replace(
            _installed(s, n, m),
            last_index=put(s.last_index, n, last),
            entry_term=lambda k, i: choose(
                all_of(k == n, i <= last), s.sent_term(m, i), s.entry_term(k, i)
            ),
            entry_value=lambda k, i: choose(
                all_of(k == n, i <= last), s.sent_value(m, i), s.entry_value(k, i)
            ),
        ),
        mention=[s.sent_term(m, last)],
    )


ACTIONS: tuple[Action, ...] = (
    take_snapshot,
    ignore_snapshot,
    install_and_keep_log,
    install_and_discard_log,
)


@lemma("§7", lambda s, n: [(s.last_included_index(n),)])
def snapshots_are_committed(s: SnapshotState, n: Server) -> Formula:
    """A snapshot covers only committed entries."""
    return all_of(s.last_included_index(n) >= 0, s.last_included_index(n) <= s.commit_index(n))
