"""Reads without an entry in the log: ReadIndex (§8, D6.4).

A leader that answers from its own state must know that no other has been elected meanwhile: after
the read has arrived it begins a *round* of heartbeats, and waits until a quorum has answered one
of that round, or of a later one. Rounds are numbered within a term, requests and answers carry the
number, so that a late answer is not taken for one of a later round. All reads that arrive during a
round share the next one. What was committed before must be known too: until a leader has committed
an entry of its own term, it does not know its commit index.

The index that a read must see is the commit index when its round is confirmed (the dissertation
takes it when the read arrives: older, and as good); the state machine's owner answers once it has
applied that far, on the leader or on the follower that asked. No clock is looked at.
"""

from __future__ import annotations

from spec.events import Effects, ReadReady, ReadRefused, Send
from spec.log import term_at
from spec.messages import ReadIndexResponse
from spec.quorum import is_quorum
from spec.records import replace
from spec.state import NO_READS, NO_ROUND, Leader, Read, Reads, Role, Round, Server, ServerId


def knows_what_is_committed(server: Server) -> bool:
    """Has a leader committed an entry of its own term, and with it all before (§8, D6.4)?"""
    return term_at(server.log, server.commit_index) == server.current_term


def add(reads: Reads, read: Read) -> Reads:
    """A read waits for the next round, unless it is waiting already."""
    if read in reads.confirming:
        return reads
    return replace(reads, waiting=reads.waiting | {read})


def begin_round(reads: Reads) -> Reads:
    """All reads that wait share the round that begins now."""
    return Reads(round=Round(reads.round + 1), confirming=reads.waiting)


def confirm(reads: Reads, follower: ServerId, of_round: Round) -> Reads:
    """A follower has answered a heartbeat: the leader led when that was sent (D6.4).

    Only answers of the round under way count; those of earlier ones were sent before it began.
    """
    if of_round != reads.round:
        return reads
    return replace(reads, confirmed_by=reads.confirmed_by | {follower})


def can_confirm(reads: Reads, follower: ServerId, of_round: Round) -> bool:
    """Can an answer of this round, by this follower, ever tell anything new?"""
    if of_round == reads.round:
        return bool(reads.confirming) and follower not in reads.confirmed_by
    return of_round > reads.round


def round_under_way(role: Leader) -> Round:
    """The round to which a heartbeat belongs, if a read waits for its answers."""
    return role.reads.round if role.reads.confirming else NO_ROUND


def answer_confirmed(server: Server, role: Leader) -> tuple[Reads, Effects]:
    """If a quorum has answered the round: answer its reads (D6.4)."""
    reads = role.reads
    if not is_quorum(server.configuration, reads.confirmed_by | {server.server_id}):
        return reads, ()
    answers = tuple(_answer(server, read) for read in _in_order(reads.confirming))
    return Reads(round=reads.round, waiting=reads.waiting), answers


def _answer(server: Server, read: Read) -> ReadReady | Send:
    index = server.commit_index
    if read.asked_by is None:
        return ReadReady(read_id=read.read_id, read_index=index)
    response = ReadIndexResponse(term=server.current_term, read_id=read.read_id, read_index=index)
    return Send(to=read.asked_by, message=response)


def refuse_all(role: Role) -> Effects:
    """A leader that steps down answers no read: those that wait here are refused (D6.4).

    Followers that have asked get no answer, as if it were lost.
    """
    if not isinstance(role, Leader) or role.reads == NO_READS:
        return ()
    waiting = _in_order(role.reads.confirming | role.reads.waiting)
    return tuple(ReadRefused(read_id=read.read_id) for read in waiting if read.asked_by is None)


def _in_order(reads: frozenset[Read]) -> list[Read]:
    """The same order for the same reads."""
    return sorted(
        reads, key=lambda r: (r.asked_by or 0, r.read_id.client_id, r.read_id.serial_number)
    )
