"""How the reads of ``spec`` are those of the abstract protocol (§8, D6.4).

A read there is a round of heartbeats here: begun by the leader of a term, and numbered within it.
Answers name the round. A request of a client is served by a round that began when it had arrived:
``same_reads`` demands that a request joins a round only when that begins. What was counted before
the request arrived was counted before the round began, so the theorem about rounds is one about
requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from model_check.proof import reads as reading
from model_check.proof.abstraction import NotRefined
from model_check.proof.actions import Action
from model_check.proof.reads import ReadState
from spec.events import Effects, Event, ReadReady, ReadRequest, Receive, Send
from spec.messages import (
    AppendEntries,
    AppendEntriesMismatch,
    AppendEntriesSuccess,
    Message,
    ReadIndexRequest,
    ReadIndexResponse,
)
from spec.state import (
    NO_READS,
    NO_ROUND,
    Index,
    Leader,
    Read,
    Reads,
    Round,
    Server,
    ServerId,
    Term,
)

Name: TypeAlias = tuple[Term, Round]
"""Of a round: the term whose leader began it, and its number."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A request that a leader has answered in a step, with what it must see."""

    read: Read
    index: Index


def named(message: Message | None) -> Name | None:
    """The round to which a heartbeat, or an answer to one, belongs."""
    match message:
        case AppendEntries() | AppendEntriesSuccess() | AppendEntriesMismatch():
            return None if message.round == NO_ROUND else (message.term, message.round)
        case _:
            return None


def functions(server: Server, event: Event) -> dict[str, Callable[..., Any]]:
    """What a server knows of reads: as a leader its own ones, and what the message says."""
    reads = _reads(server)
    source = event.source if isinstance(event, Receive) else None
    message = event.message if isinstance(event, Receive) else None
    spoken_of = named(message)
    is_answer = not isinstance(message, AppendEntries)

    def confirmed(r: Name, k: ServerId) -> bool:
        counted = r == (server.current_term, reads.round) and k in reads.confirmed_by
        return counted or (is_answer and (r, k) == (spoken_of, source))

    return {
        "read_begun": lambda r: (
            r == spoken_of or (r[0] == server.current_term and r[1] <= reads.round)
        ),
        "read_term": lambda r: r[0],
        "read_confirmed": confirmed,
        "read_served": lambda r: False,
        "read_index": lambda r: None,
    }


def _reads(server: Server) -> Reads:
    return server.role.reads if isinstance(server.role, Leader) else NO_READS


def answers(effects: Effects) -> list[Answer]:
    """The requests answered in a step, each with what it must see."""
    found = []
    for effect in effects:
        match effect:
            case ReadReady(read_id=read_id, read_index=index):
                found.append(Answer(Read(read_id=read_id, asked_by=None), index))
            case Send(to=to, message=ReadIndexResponse(read_id=read_id, read_index=index)):
                found.append(Answer(Read(read_id=read_id, asked_by=to), index))
            case _:
                pass
    return found


def led(
    before: Server, event: Event, after: Server, effects: Effects
) -> Iterator[tuple[Index, tuple[Action, tuple[Any, ...]]]]:
    """What a leader does for reads, in order; before each, the commit index by which it is done.

    The round under way is served if a request of it is answered; others begin, and all but the last
    one are served at once; that one too if nothing waits for it.
    """
    n, term, old = before.server_id, after.current_term, _of_term(before, after)
    given = answers(effects)
    index = max((answer.index for answer in given), default=after.commit_index)
    if any(answer.read in old.confirming for answer in given):
        quorum = {n, *old.confirmed_by}
        if isinstance(event, Receive) and named(event.message) == (term, old.round):
            quorum.add(event.source)
        index = next(answer.index for answer in given if answer.read in old.confirming)
        yield index, (reading.serve_read, (n, (term, old.round), frozenset(quorum)))
    new = _reads(after)
    for number in map(Round, range(old.round + 1, new.round + 1)):
        yield index, (reading.begin_read, (n, (term, number)))
        if number < new.round or not new.confirming:
            index = given[-1].index if given else index
            yield index, (reading.serve_read, (n, (term, number), frozenset({n})))


def is_confirmed(request: Message, effects: Effects) -> bool:
    """Does a server answer the round of a heartbeat?"""
    return (
        isinstance(request, AppendEntries)
        and named(request) is not None
        and any(isinstance(e, Send) and named(e.message) == named(request) for e in effects)
    )


def has_begun(state: Any, heartbeat: AppendEntries) -> bool:
    """Has the round begun to which a heartbeat belongs, if it belongs to any?"""
    r = named(heartbeat)
    return r is None or (isinstance(state, ReadState) and state.read_begun(r) is True)


def has_answered(
    state: Any, n: ServerId, answer: AppendEntriesSuccess | AppendEntriesMismatch
) -> bool:
    """Has a server confirmed the round that its answer names, if it names any?"""
    r = named(answer)
    return r is None or (isinstance(state, ReadState) and state.read_confirmed(r, n) is True)


def _of_term(before: Server, after: Server) -> Reads:
    """The reads with which a leader began the step; none if it was elected in it."""
    return _reads(before) if before.current_term == after.current_term else NO_READS


def same_reads(
    state: Any, before: Server, event: Event, after: Server, effects: Effects, *, leads: bool
) -> None:
    """Raises ``NotRefined`` unless requests are answered by rounds that they have waited for."""
    if not leads:
        _passed_on(event, answers(effects))
        return
    term, old, new = after.current_term, _of_term(before, after), _reads(after)
    waited = old.waiting | _arrives(event)
    begun = new.round > old.round
    for answer in answers(effects):
        rounds = [(term, old.round)] if answer.read in old.confirming else []
        if answer.read in waited and begun:
            rounds += [(term, Round(i)) for i in range(old.round + 1, new.round + 1)]
        if not any(state.read_served(r) and state.read_index(r) == answer.index for r in rounds):
            raise NotRefined("a read is answered without a round, or with another index")
    if not new.confirming <= (waited if begun else old.confirming):
        raise NotRefined("a read joins a round that began before it arrived")
    if not new.waiting <= waited:
        raise NotRefined("a read waits that nobody has asked for")
    for k in new.confirmed_by:
        if not state.read_confirmed((term, new.round), k):
            raise NotRefined(f"server {k} has not answered the round under way")


def _arrives(event: Event) -> frozenset[Read]:
    match event:
        case ReadRequest(read_id=read_id):
            return frozenset({Read(read_id=read_id, asked_by=None)})
        case Receive(source=source, message=ReadIndexRequest(read_id=read_id)):
            return frozenset({Read(read_id=read_id, asked_by=source)})
        case _:
            return frozenset()


def _passed_on(event: Event, given: list[Answer]) -> None:
    """Who does not lead answers what its leader has told it, no more."""
    told = None
    match event:
        case Receive(message=ReadIndexResponse(read_id=read_id, read_index=index)):
            told = Answer(Read(read_id=read_id, asked_by=None), index)
        case _:
            pass
    if any(answer != told for answer in given):
        raise NotRefined("a read is answered by a server that does not lead")
