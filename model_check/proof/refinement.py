"""How a step of ``spec.raft`` is a sequence of actions of the abstract protocol.

``check_step(before, event, after, effects)`` looks at one step of one server. It names the abstract
actions that the step consists of, with their arguments (``witness``), runs the very functions of
``actions`` on the server before the step, and demands three things:

1. every guard is true, of this server and of the message that arrived;
2. the server after the actions is the server after the step (``same_server``);
3. every message sent is one that the actions have sent (``covered``).

By induction over steps, then, each run of a cluster is a run of the abstract protocol: a message
that arrives was sent, so by (3) the abstract network has it. Nothing else need be compared, for the
guards look at one server and what was sent only: history is out of their reach here, and asking
for another server raises ``NotLocal``.

The abstraction: ``current_term``, ``log`` and ``commit_index`` are themselves; an entry's value is
its payload, with membership changes also what governs it (``abstraction``); ``match_index`` counts
while a server leads, ``votes_granted`` while it stands. ``next_index``, rejections, answers with a
newer term, pre-votes, who was heard and TimeoutNow have no abstract counterpart: safety does not
rest on them. What governs the entries of a request does not stand in it. It is read off the
receiver's log up to where the request begins, which is the sender's by Log Matching, a lemma;
``runs`` has the true one, and finds no other.

A snapshot stands for the entries that it covers. InstallSnapshot is an abstract request that
carries them all; besides, a snapshot is passed on as it was taken, and its term and configuration
are those of its last entry (``same_snapshot``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NoReturn, TypeAlias, assert_never

from model_check.proof import abstraction as seen
from model_check.proof import actions as act
from model_check.proof import membership as joint
from model_check.proof import reads as reading
from model_check.proof import rounds
from model_check.proof import snapshots as compaction
from model_check.proof.abstraction import (
    STATIC,
    Abstraction,
    NotLocal,
    NotRefined,
    covered_terms,
    entry_term,
    known_of,
    with_payload_of,
)
from model_check.proof.actions import Action
from model_check.proof.membership import JointState
from model_check.proof.reads import ReadState
from model_check.proof.state import State
from spec.events import (
    BecameLeader,
    ChangeLearners,
    ChangeMembership,
    ClientRequest,
    CommittedUpTo,
    DurableUpTo,
    Effects,
    ElectionTimeout,
    Event,
    HeartbeatTimeout,
    ReadRequest,
    Receive,
    Replicate,
    Restart,
    RetryTimeout,
    Send,
    TakeSnapshot,
    TransferLeadership,
)
from spec.log import base_index, entries_from, first_conflict, last_index, term_at
from spec.messages import (
    AppendEntries,
    AppendEntriesMismatch,
    AppendEntriesSuccess,
    InstallSnapshot,
    PreVote,
    PreVoteResponse,
    ReadIndexRequest,
    ReadIndexResponse,
    RequestVote,
    RequestVoteResponse,
    StaleTerm,
    TimeoutNow,
)
from spec.quorum import is_quorum, members
from spec.state import Candidate, Configuration, Entry, Index, Leader, Server, ServerId

Carrier: TypeAlias = AppendEntries | InstallSnapshot


@dataclass(frozen=True, slots=True)
class Request:
    """AppendEntries, or InstallSnapshot for all that it covers, with terms and values of entries.

    And with history: the count on which its ``leader_commit`` rests.
    """

    message: Carrier
    terms: tuple[Any, ...]
    values: tuple[Any, ...]
    commit_term: Any
    commit_event: Any


PLAIN = ("current_term", "has_voted", "last_index", "commit_index", "is_candidate", "is_leader")


@dataclass(frozen=True, slots=True)
class Of:
    """An argument that depends on the state in which its action is taken."""

    function: Callable[[Any], Any]


Call: TypeAlias = tuple[Action, tuple[Any, ...]]
Wrap: TypeAlias = Callable[[Carrier], Request]


# --- One server as an abstract state ------------------------------------------------------------


def server_functions(server: Server, abstraction: Abstraction) -> dict[str, Callable[..., Any]]:
    """Figure 2, "State", as functions of the server's own id, which they do not look at."""
    values, term = abstraction.values(server), entry_term(server.log)
    votes = server.role.votes_granted if isinstance(server.role, Candidate) else frozenset()
    match = server.role.match_index if isinstance(server.role, Leader) else {}
    return {
        "current_term": lambda n: server.current_term,
        "has_voted": lambda n: server.voted_for is not None,
        "voted_for": lambda n: server.voted_for,
        "last_index": lambda n: last_index(server.log),
        "entry_term": lambda n, i: term(i),
        "entry_value": lambda n, i: values[i - 1] if 1 <= i <= len(values) else None,
        "commit_index": lambda n: server.commit_index,
        "is_candidate": lambda n: isinstance(server.role, Candidate),
        "is_leader": lambda n: isinstance(server.role, Leader),
        "votes_granted": lambda n, k: k in votes,
        "match_index": lambda n, k: match.get(k, 0),
        "last_included_index": lambda n: base_index(server.log),
    }


def request_functions() -> dict[str, Callable[..., Any]]:
    """What an AppendEntries carries; a snapshot begins with the first entry, and is committed."""
    return {
        "request_term": lambda m: m.message.term,
        "prev_log_index": lambda m: _prev_log_index(m.message),
        "prev_log_term": lambda m: getattr(m.message, "prev_log_term", 0),
        "final_index": lambda m: _prev_log_index(m.message) + len(m.terms),
        "sent_term": lambda m, i: _sent(m, m.terms, i, 0),
        "sent_value": lambda m, i: _sent(m, m.values, i),
        "leader_commit": lambda m: getattr(m.message, "leader_commit", len(m.terms)),
        "request_commit_term": lambda m: m.commit_term,
        "request_commit_event": lambda m: m.commit_event,
    }


def _prev_log_index(message: Carrier) -> Index:
    return message.prev_log_index if isinstance(message, AppendEntries) else Index(0)


def _sent(request: Request, parts: Sequence[Any], index: int, otherwise: Any = None) -> Any:
    place = index - _prev_log_index(request.message)
    return parts[place - 1] if 1 <= place <= len(parts) else otherwise


def quorum_functions(configuration: Configuration) -> dict[str, Callable[..., Any]]:
    """Quorums are those of ``spec.quorum``."""
    return {
        "is_quorum": lambda servers, c: is_quorum(c, servers),
        "common": lambda a, b: min(a & b, default=None),
        "initial_configuration": lambda: configuration,
    }


def _beyond(*_: object) -> NoReturn:
    raise NotLocal


def _of(me: ServerId, function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda n, *more: function(n, *more) if n == me else _beyond()


def local_state(server: Server, event: Event, abstraction: Abstraction = STATIC) -> State:
    """All that a step may look at: the server, and the message that arrives, as having been sent.

    That no more than this was acknowledged before is the worst case: an action only raises it.
    """
    me = server.server_id
    source = event.source if isinstance(event, Receive) else None
    message = event.message if isinstance(event, Receive) else None

    def vote_requested(*at: Any) -> bool:
        return isinstance(message, RequestVote) and at == (
            source, message.term, message.last_log_index, message.last_log_term,
        )  # fmt: skip

    def vote_sent(*at: Any) -> bool:
        granted = isinstance(message, RequestVoteResponse) and message.vote_granted
        return granted and message is not None and at == (source, message.term, me)

    def acknowledged(*at: Any) -> int:
        if isinstance(message, AppendEntriesSuccess) and at == (source, message.term):
            return message.match_index
        return 0

    names = [field.name for field in fields(abstraction.state)]
    known: dict[str, Callable[..., Any]] = {
        **dict.fromkeys(names, _beyond),
        **{name: _of(me, f) for name, f in server_functions(server, abstraction).items()},
        **request_functions(),
        **quorum_functions(abstraction.first_of(server)),
        "vote_requested": vote_requested,
        "vote_sent": vote_sent,
        "acknowledged": acknowledged,
        "append_sent": lambda m: m.message == message,
        "commit_term": _of(me, lambda n: "of its commit index"),
        "commit_event": _of(me, lambda n: "of its commit index"),
    }
    if abstraction.joint:
        known |= seen.functions()
    if abstraction.reads:
        known |= rounds.functions(server, event)
    return abstraction.state(**{name: known[name] for name in names})


# --- The actions of a step ----------------------------------------------------------------------


def witness(
    before: Server,
    event: Event,
    after: Server,
    effects: Effects,
    received: Wrap,
    abstraction: Abstraction,
) -> Iterator[Call]:
    """The abstract actions that change the server, in order, with their arguments.

    ``received`` adds values and history to AppendEntries. Nothing here is trusted: wrong actions
    have false guards or lead elsewhere.
    """
    n = before.server_id
    match event:
        case Receive(message=message):
            if before.current_term < message.term <= after.current_term:
                yield act.update_term, (n, message.term)
            if message.term >= before.current_term:
                yield from _handled(before, event, after, effects, received)
                if abstraction.reads and rounds.is_confirmed(message, effects):
                    yield reading.confirm_read, (n, rounds.named(message))
        case ElectionTimeout():
            if after.current_term != before.current_term:
                yield act.start_election, (n, after.current_term)
            elif isinstance(before.role, Leader) and not isinstance(after.role, Leader):
                yield act.restart, (n, before.commit_index)
        case Restart():
            yield act.restart, (n, after.commit_index)
        case HeartbeatTimeout() | RetryTimeout() | Replicate() | ClientRequest():
            pass
        case ChangeMembership() | ChangeLearners():
            pass
        case TakeSnapshot():
            if after.log.snapshot != before.log.snapshot:
                yield compaction.take_snapshot, (n, base_index(after.log))
        case ReadRequest():
            pass
        case DurableUpTo():
            pass  # what is durable here and not known to be is stored nonetheless
        case TransferLeadership():
            pass
        case _:
            assert_never(event)
    if _leads(before, after, effects):
        yield from _led(before, event, after, effects, abstraction)


def _handled(
    before: Server, event: Receive, after: Server, effects: Effects, received: Wrap
) -> Iterator[Call]:
    """What the message does after its term was adopted."""
    n, source, message = before.server_id, event.source, event.message
    answers = [effect.message for effect in effects if isinstance(effect, Send)]
    match message:
        case RequestVote():
            if any(isinstance(a, RequestVoteResponse) and a.vote_granted for a in answers):
                yield (
                    act.grant_vote,
                    (n, message.candidate_id, message.last_log_index, message.last_log_term),
                )
        case RequestVoteResponse(vote_granted=granted):
            if granted and after.role != before.role:
                yield act.receive_vote, (n, source)
        case AppendEntries():
            if any(isinstance(a, AppendEntriesSuccess) for a in answers):
                request = received(message)
                conflict = first_conflict(before.log, message.prev_log_index, message.entries)
                if conflict is None:
                    yield act.keep_entries, (n, request)
                else:
                    yield act.store_entries, (n, request, conflict)
            elif isinstance(before.role, Candidate):
                yield act.restart, (n, before.commit_index)
        case AppendEntriesSuccess():
            if isinstance(before.role, Leader) and source in before.role.match_index:
                match = _match_index(before, event, after).get(source, 0)
                if match != before.role.match_index[source]:
                    yield act.receive_acknowledgement, (n, source, match)
        case PreVoteResponse(term=term) | TimeoutNow(term=term):
            if after.current_term > max(term, before.current_term):
                yield act.start_election, (n, after.current_term)
        case ReadIndexRequest() | ReadIndexResponse():
            pass
        case InstallSnapshot(snapshot=snapshot):
            if snapshot.last_included_index <= before.commit_index:
                yield compaction.ignore_snapshot, (n, received(message))
            elif term_at(before.log, snapshot.last_included_index) == snapshot.last_included_term:
                yield compaction.install_and_keep_log, (n, received(message))
            else:
                yield compaction.install_and_discard_log, (n, received(message))
        case PreVote() | AppendEntriesMismatch() | StaleTerm():
            pass
        case _:
            assert_never(message)


def _leads(before: Server, after: Server, effects: Effects) -> bool:
    """Was the step taken as leader, even if its last act was to step down (§6)?"""
    led = isinstance(before.role, Leader) and before.current_term == after.current_term
    return led or any(isinstance(effect, BecameLeader) for effect in effects)


def _match_index(before: Server, event: Event, after: Server) -> dict[ServerId, Index]:
    """What a leader knows of the others when it commits; it may have stepped down then."""
    if isinstance(after.role, Leader):
        return dict(after.role.match_index)
    known = dict(before.role.match_index) if isinstance(before.role, Leader) else {}
    if isinstance(event, Receive) and isinstance(event.message, AppendEntriesSuccess):
        known[event.source] = max(known.get(event.source, Index(0)), event.message.match_index)
    return known


def _led(
    before: Server, event: Event, after: Server, effects: Effects, abstraction: Abstraction
) -> Iterator[Call]:
    """What a leader does by itself: be elected, append, commit, step down."""
    n = before.server_id
    if not isinstance(before.role, Leader):
        votes = {n}
        if isinstance(before.role, Candidate) and isinstance(event, Receive):
            votes = {*before.role.votes_granted, event.source}
        yield act.become_leader, (n, frozenset(votes))
    match_index = _match_index(before, event, after)
    reads = list(rounds.led(before, event, after, effects)) if abstraction.reads else []
    for entry, index in _appended_and_committed(before, after, effects):
        while entry is None and reads and reads[0][0] < index:
            yield reads.pop(0)[1]
        if entry is None:
            stored = {k for k, match in match_index.items() if match >= index}
            yield act.advance_commit_index, (n, index, frozenset({n, *stored}))
        else:
            yield _append(n, entry, index, before, abstraction)
    yield from (call for _, call in reads)
    if not isinstance(after.role, Leader):
        yield act.restart, (n, after.commit_index)


def _appended_and_committed(
    before: Server, after: Server, effects: Effects
) -> Iterator[tuple[Entry | None, Index]]:
    """What is appended, and (without an entry) up to where is committed, in order (§5.3, §6).

    A command is appended before anything is counted. A configuration may be appended because the
    one before it was committed just now, which each count names.
    """
    first = Index(last_index(before.log) + 1)
    entries = list(enumerate(entries_from(after.log, first), start=first))
    counts = [effect for effect in effects if isinstance(effect, CommittedUpTo)]
    configuration = before.configuration
    while entries or counts:
        is_next = not entries or isinstance(entries[0][1].payload, Configuration)
        if counts and (not entries or (is_next and counts[0].counted_by == configuration)):
            yield None, counts.pop(0).commit_index
            continue
        index, entry = entries.pop(0)
        if isinstance(entry.payload, Configuration):
            configuration = entry.payload
        yield entry, Index(index)


def _append(
    n: ServerId, entry: Entry, index: Index, server: Server, abstraction: Abstraction
) -> Call:
    """A leader appends an entry; its value says what governs it."""
    if not abstraction.joint:
        return act.client_request, (n, entry.payload)

    def value(state: Any) -> Any:
        last = state.entry_value(n, index - 1) if index > 1 else None
        history = (state.commit_term(n), state.commit_event(n))
        return abstraction.value(server, last, entry, index, history)

    is_next = isinstance(entry.payload, Configuration)
    return joint.append_configuration if is_next else joint.append_command, (n, Of(value))


def sending(state: State, n: ServerId, effects: Effects) -> Iterator[Call]:
    """The abstract actions that send requests, once the server has changed."""
    messages = [effect.message for effect in effects if isinstance(effect, Send)]
    if any(isinstance(message, RequestVote) for message in messages):
        yield act.request_votes, (n,)
    for message in messages:
        if isinstance(message, AppendEntries | InstallSnapshot):
            yield act.send_entries, (n, sent_by(state, n, message))


def sent_by(state: State, n: ServerId, message: Carrier) -> Request:
    """A request with the values, and the history, of its sender; also the terms under a snapshot.

    But the term of a snapshot's last entry is the one that it tells.
    """
    if isinstance(message, AppendEntries):
        terms = tuple(entry.term for entry in message.entries)
        values = tuple(
            with_payload_of(state.entry_value(n, index), entry)
            for index, entry in enumerate(message.entries, start=message.prev_log_index + 1)
        )
    else:
        last = message.snapshot.last_included_index
        before = (state.entry_term(n, i) for i in range(1, last))
        terms = (*before, message.snapshot.last_included_term)
        values = tuple(state.entry_value(n, i) for i in range(1, last + 1))
    return Request(message, terms, values, state.commit_term(n), state.commit_event(n))


# --- The check ----------------------------------------------------------------------------------


def run(state: State, calls: Iterable[Call]) -> State:
    """The state after the actions; raises ``NotRefined`` at the first guard that is false."""
    for action, arguments in calls:
        effect = action(state, *(a.function(state) if isinstance(a, Of) else a for a in arguments))
        for name, guard in effect.guards.items():
            if guard is not True:
                raise NotRefined(f"{action.__name__}: the guard {name!r} is false")
        state = effect.after
    return state


def same_server(state: State, server: Server, abstraction: Abstraction) -> None:
    """Raises ``NotRefined`` unless the abstract state of the server is what ``server`` is."""
    n, base = server.server_id, base_index(server.log)
    expected = server_functions(server, abstraction)
    places: dict[str, list[tuple[Any, ...]]] = {name: [()] for name in PLAIN}
    if abstraction.snapshots:
        places["last_included_index"] = [()]
    elif base:
        raise NotRefined("nothing is said of snapshots here")
    if server.voted_for is not None:
        places["voted_for"] = [()]
    indices: list[tuple[Any, ...]] = [(i,) for i in range(base + 1, last_index(server.log) + 1)]
    places["entry_term"] = [*([(base,)] if base else []), *indices]
    places["entry_value"] = indices
    if isinstance(server.role, Candidate):
        places["votes_granted"] = [(k,) for k in members(server.configuration)]
    if isinstance(server.role, Leader):
        places["match_index"] = [(k,) for k in server.role.match_index]
    for name, at in places.items():
        for more in at:
            found, wanted = getattr(state, name)(n, *more), expected[name](n, *more)
            if (known_of(found, server) == known_of(wanted, server)) is not True:
                where = f" at {', '.join(map(str, more))}" if more else ""
                raise NotRefined(f"{name}{where} is {wanted}, but the actions make it {found}")
    if isinstance(state, JointState):
        _same_configuration(state, server)


def _same_configuration(state: JointState, server: Server) -> None:
    """Raises ``NotRefined`` unless the latest configuration of the log is in force (§6)."""
    n, last, base = server.server_id, last_index(server.log), base_index(server.log)
    now = state.governing(lambda i: state.entry_value(n, i), last)
    at_or_before = (now.index <= base) is True
    wanted = server.first_configuration if at_or_before and not base else now.configuration
    index = base if at_or_before else now.index
    if (index, wanted) != (server.configuration_index, server.configuration):
        raise NotRefined(f"another configuration is in force than that of index {now.index}")


def same_snapshot(state: State, before: Server, event: Event, after: Server) -> None:
    """Raises ``NotRefined`` unless the snapshot is the one before, one taken now, or one sent.

    A state machine's owner says what it takes for the state after the last entry. Of this entry
    the snapshot must tell the term (``same_server``) and the configuration.
    """
    snapshot, n = after.log.snapshot, after.server_id
    if snapshot is None:
        return
    lawful = snapshot == before.log.snapshot
    match event:
        case TakeSnapshot(last_included_index=index, data=data):
            taken = (snapshot.last_included_index, snapshot.data) == (index, data)
            lawful = lawful or taken
        case Receive(message=InstallSnapshot(snapshot=sent)):
            lawful = lawful or snapshot == sent
        case _:
            pass
    last = snapshot.last_included_index
    governing = state.configuration_of(lambda i: state.entry_value(n, i), last)
    lawful = lawful and bool(members(governing))  # a server that is being added may know of none
    if not lawful or snapshot.configuration != governing:
        raise NotRefined("the snapshot is not of the entries that it covers")


def covered(state: State, server: Server, effects: Effects) -> None:
    """Raises ``NotRefined`` unless the actions have sent all that the step of ``server`` sends."""
    n = server.server_id
    for effect in effects:
        if not isinstance(effect, Send):
            continue
        match effect.message:
            case RequestVote(term=term, last_log_index=index, last_log_term=last_term) as request:
                was_sent = request.candidate_id == n and state.vote_requested(
                    n, term, index, last_term
                )
            case RequestVoteResponse(term=term, vote_granted=granted):
                was_sent = not granted or state.vote_sent(n, term, effect.to)
            case AppendEntries() as entries:
                was_sent = entries.leader_id == n and state.append_sent(sent_by(state, n, entries))
                was_sent = was_sent and rounds.has_begun(state, entries)
            case AppendEntriesSuccess(term=term, match_index=match_index) as answer:
                was_sent = match_index <= state.acknowledged(n, term)
                was_sent = was_sent and rounds.has_answered(state, n, answer)
            case AppendEntriesMismatch() as answer:
                was_sent = rounds.has_answered(state, n, answer)
            case StaleTerm() | ReadIndexRequest():
                was_sent = True
            case ReadIndexResponse():
                was_sent = isinstance(state, ReadState)  # see same_reads
            case PreVote() | PreVoteResponse() | TimeoutNow():
                was_sent = True
            case InstallSnapshot(snapshot=snapshot) as install:
                is_own = install.leader_id == n and snapshot == server.log.snapshot
                was_sent = is_own and state.append_sent(sent_by(state, n, install))
            case _:
                assert_never(effect.message)
        if not was_sent:
            raise NotRefined(f"no action sends {type(effect.message).__name__} as it was sent")


@dataclass(frozen=True, slots=True)
class Taken:
    """A step of one server, as its rules have taken it."""

    before: Server
    event: Event
    after: Server
    effects: Effects


def follow(
    state: State, step: Taken, received: Wrap, abstraction: Abstraction
) -> tuple[State, list[Call]]:
    """The abstract state after a step, and its actions; raises ``NotRefined`` if there are none."""
    before, event, after, effects = step.before, step.event, step.after, step.effects
    changing = list(witness(before, event, after, effects, received, abstraction))
    state = run(state, changing)
    same_server(state, after, abstraction)
    same_snapshot(state, before, event, after)
    if isinstance(state, ReadState):
        leads = _leads(before, after, effects)
        rounds.same_reads(state, before, event, after, effects, leads=leads)
    sends = list(sending(state, before.server_id, effects))
    state = run(state, sends)
    covered(state, after, effects)
    return state, [*changing, *sends]


def check_step(
    before: Server,
    event: Event,
    after: Server,
    effects: Effects,
    abstraction: Abstraction = STATIC,
) -> list[str]:
    """The names of the actions that make up the step; raises ``NotRefined`` if there are none."""
    abstraction = _told(before, event, abstraction)
    state = local_state(before, event, abstraction)
    received = _received(before, abstraction)
    _, calls = follow(state, Taken(before, event, after, effects), received, abstraction)
    return [action.__name__ for action, _ in calls]


def _told(server: Server, event: Event, abstraction: Abstraction) -> Abstraction:
    """A server that is being added learns from a snapshot with which configuration all began.

    That is, if no entry that the snapshot covers brought another one; else it does not matter.
    """
    match event:
        case Receive(message=InstallSnapshot(snapshot=sent)) if (
            server.log.snapshot is None and not members(server.first_configuration)
        ):
            return replace(abstraction, first=sent.configuration)
        case _:
            return abstraction


def _received(server: Server, abstraction: Abstraction) -> Wrap:
    """How a server sees what it receives: the values of entries follow those of its log."""

    def received(message: Carrier) -> Request:
        if isinstance(message, InstallSnapshot):
            terms = covered_terms(message.snapshot)
            values = abstraction.covered_values(message.snapshot)
        else:
            terms = [entry.term for entry in message.entries]
            values = _values_of(server, message, abstraction)
        return Request(message, tuple(terms), tuple(values), "of its sender", "of its sender")

    return received


def _values_of(server: Server, message: AppendEntries, abstraction: Abstraction) -> list[Any]:
    """The values of the entries of a request; of those that a snapshot covers nothing is known."""
    log, start = abstraction.values(server), message.prev_log_index
    covered = max(base_index(server.log) - start, 0)
    begin = log[start : start + covered][: len(message.entries)]
    return begin + abstraction.following(server, log[: start + covered], message.entries[covered:])


def refinement_of(abstraction: Abstraction) -> Callable[..., bool | None]:
    """The property that ``--refinement`` judges of every step of a server."""

    def refinement(before: Server, event: Event, after: Server, effects: Effects) -> bool | None:
        """Each step is a sequence of abstract actions, or changes and sends nothing."""
        return bool(check_step(before, event, after, effects, abstraction)) or None

    return refinement
