"""The protocol: Figure 2 of the extended Raft paper as pure functions, in Figure 2's order.

    step(options, server, event) -> (server, effects)

Read it beside the figure. This file knows no clock, no network, no disk and no bounds; what its
effects mean, and what must be durable before what, stands in ``spec/events.py``. A rule of Raft
stands here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from spec.elections import (
    hears_leader,
    is_answered,
    is_disregarded,
    may_take_over,
    nobody_answered,
    silent,
    transfer_target,
    why_no_transfer,
    with_answer,
    with_pre_votes,
    with_transfer,
    would_be_elected,
    would_vote,
)
from spec.events import (
    BecameLeader,
    ChangeLearners,
    ChangeMembership,
    ClientRequest,
    ClientRequestAccepted,
    ClientRequestRefused,
    CommittedUpTo,
    DurableUpTo,
    Effects,
    ElectionTimeout,
    Event,
    HeardFromLeader,
    HeartbeatTimeout,
    MembershipChangeAccepted,
    MembershipChangeRefused,
    PersistEntries,
    PersistSnapshot,
    PersistTermAndVote,
    ReadReady,
    ReadRefused,
    ReadRequest,
    Receive,
    Replicate,
    ResetElectionTimer,
    Restart,
    RestoreStateMachine,
    RetryTimeout,
    Send,
    SteppedDown,
    TakeSnapshot,
    TransferAborted,
    TransferLeadership,
    TransferRefused,
    TransferStarted,
)
from spec.log import (
    agrees_at,
    append,
    base_index,
    entries_from,
    first_conflict,
    is_up_to_date,
    last_index,
    last_term,
    splice,
    term_at,
)
from spec.membership import (
    in_force,
    is_outside,
    next_configuration,
    peers,
    why_refused,
    with_learners,
    with_log,
    with_target,
)
from spec.messages import (
    AppendEntries,
    AppendEntriesMismatch,
    AppendEntriesSuccess,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteResponse,
    ReadIndexRequest,
    ReadIndexResponse,
    RequestVote,
    RequestVoteResponse,
    StaleTerm,
    TimeoutNow,
)
from spec.quorum import agreed_index, is_quorum
from spec.reads import (
    add,
    answer_confirmed,
    begin_round,
    confirm,
    knows_what_is_committed,
    refuse_all,
    round_under_way,
)
from spec.records import replace
from spec.snapshot import compacted, install, is_of_use, taken
from spec.state import (
    NO_ROUND,
    Candidate,
    Configuration,
    Entry,
    Follower,
    Index,
    IndexOf,
    Leader,
    Log,
    NoOp,
    Read,
    RequestId,
    Round,
    Server,
    ServerId,
    Term,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which rules are in force beyond Figure 2."""

    no_op: bool
    """A new leader appends a blank entry at the start of its term (§8)."""
    parallel_write: bool
    """A leader sends its entries while it writes them, and counts itself once they are durable
    (D10.2.1)."""
    streaming: bool
    """A leader sends entries when its driver has room for them (``Replicate``), not by itself."""
    fast_backtracking: bool
    """A rejection skips all that the follower lacks (§5.3, "if desired")."""
    pre_vote: bool
    """A server asks who would vote for it before it raises its term (D9.6)."""
    check_quorum: bool
    """A leader steps down if no quorum answers it for an election timeout (D6.2), and servers that
    hear a leader disregard RequestVote (§6, D4.2.3)."""
    single_server_changes: bool = False
    """Membership changes by one server at a time, without a joint configuration (D4.1)."""


PAPER = Options(
    no_op=False,
    parallel_write=False,
    streaming=False,
    fast_backtracking=False,
    pre_vote=False,
    check_quorum=False,
)
"""Figure 2, nothing more."""
SERVER = Options(
    no_op=True,
    parallel_write=True,
    streaming=True,
    fast_backtracking=True,
    pre_vote=True,
    check_quorum=True,
)
"""Exactly what the server runs with by default."""


def step(options: Options, server: Server, event: Event) -> tuple[Server, Effects]:
    """What ``server`` becomes when ``event`` happens, and what its driver must do, in order."""
    match event:
        case Receive(source=source, message=message):
            return receive(options, server, source, message)
        case ElectionTimeout():
            return on_election_timeout(options, server)
        case HeartbeatTimeout():
            return on_heartbeat_timeout(server)
        case RetryTimeout():
            return on_retry_timeout(options, server)
        case Replicate():
            return on_replicate(server, event)
        case ClientRequest():
            return on_client_request(options, server, event)
        case ReadRequest(read_id=read_id):
            return on_read_request(server, read_id)
        case ChangeMembership():
            return on_change_membership(options, server, event)
        case ChangeLearners():
            return on_change_learners(server, event)
        case TransferLeadership(to=to):
            return on_transfer_leadership(options, server, to)
        case DurableUpTo():
            return on_durable_up_to(options, server, event)
        case TakeSnapshot():
            return on_take_snapshot(server, event)
        case Restart():
            return on_restart(server)
        case _:
            assert_never(event)


# --- State --------------------------------------------------------------------------------------


def recover(
    *,
    server_id: ServerId,
    configuration: Configuration,
    current_term: Term,
    voted_for: ServerId | None,
    log: Log,
) -> Server:
    """A server as it starts, for the first time or from its persistent state (§5.2, §5.5).

    What its snapshot covers is committed (§7).

    ``configuration`` is the one before the first entry that there ever was.
    """
    latest, index = in_force(configuration, log)
    return Server(
        server_id=server_id,
        first_configuration=configuration,
        configuration=latest,
        configuration_index=index,
        current_term=current_term,
        voted_for=voted_for,
        log=log,
        commit_index=base_index(log),
        durable_index=last_index(log),
        role=Follower(),
    )


def on_restart(server: Server) -> tuple[Server, Effects]:
    """A server starts again, its state machine from the snapshot if there is one (§5.5, §7)."""
    server = restart(server)
    if server.log.snapshot is None:
        return server, (ResetElectionTimer(),)
    return server, (RestoreStateMachine(snapshot=server.log.snapshot), ResetElectionTimer())


def restart(server: Server) -> Server:
    """Only the persistent state survives a crash (Figure 2, §5.5)."""
    return recover(
        server_id=server.server_id,
        configuration=server.first_configuration,
        current_term=server.current_term,
        voted_for=server.voted_for,
        log=server.log,
    )


# --- Rules for Servers: all servers -------------------------------------------------------------


def receive(
    options: Options, server: Server, source: ServerId, message: Message
) -> tuple[Server, Effects]:
    """Terms first (§5.1), then the rule for the message, which is now of the server's own term."""
    if message.term < server.current_term:
        return on_older_term(server, source, message)
    if options.check_quorum and is_disregarded(server, message):
        return server, ()
    updated: Effects = ()
    if not isinstance(message, PreVote | PreVoteResponse):  # they change no term (D9.6)
        server, updated = update_term(server, message.term)
    match message:
        case PreVote():
            handled = on_pre_vote(server, message)
        case RequestVote():
            server, handled = on_request_vote(server, message)
        case RequestVoteResponse():
            server, handled = on_request_vote_response(options, server, source, message)
        case PreVoteResponse():
            server, handled = on_pre_vote_response(options, server, source, message)
        case AppendEntries():
            server, handled = on_append_entries(options, server, message)
        case InstallSnapshot():
            server, handled = on_install_snapshot(options, server, message)
        case AppendEntriesSuccess():
            server, handled = on_append_entries_success(options, server, source, message)
            server, confirmed = on_heartbeat_answered(server, source, message.round)
            handled += confirmed
        case AppendEntriesMismatch():
            server, handled = on_append_entries_mismatch(options, server, source, message)
            server, confirmed = on_heartbeat_answered(server, source, message.round)
            handled += confirmed
        case ReadIndexRequest():
            server, handled = on_read_index_request(server, source, message)
        case ReadIndexResponse(read_id=read_id, read_index=read_index):
            handled = (ReadReady(read_id=read_id, read_index=read_index),)
        case TimeoutNow():
            server, handled = on_timeout_now(options, server)
        case StaleTerm():
            handled = ()
        case _:
            assert_never(message)
    return server, updated + handled


def update_term(server: Server, term: Term) -> tuple[Server, Effects]:
    """If an RPC contains a newer term: adopt it and convert to follower (§5.1)."""
    if term <= server.current_term:
        return server, ()
    deposed: Effects = ()
    if isinstance(server.role, Leader):
        stepped_down = SteppedDown(reason="a newer term has begun")
        deposed = (stepped_down, ResetElectionTimer(), *refuse_all(server.role))
    server = replace(server, current_term=term, voted_for=None, role=Follower())
    return server, (PersistTermAndVote(current_term=term, voted_for=None), *deposed)


def on_older_term(server: Server, source: ServerId, message: Message) -> tuple[Server, Effects]:
    """A request of an older term is refused with the newer term; an answer is ignored (§5.1)."""
    match message:
        case RequestVote() | PreVote() | AppendEntries() | InstallSnapshot():
            return server, (Send(to=source, message=StaleTerm(term=server.current_term)),)
        case RequestVoteResponse() | PreVoteResponse() | TimeoutNow() | StaleTerm():
            return server, ()
        case AppendEntriesSuccess() | AppendEntriesMismatch():
            return server, ()
        case ReadIndexRequest() | ReadIndexResponse():
            return server, ()  # it was for another leader, or from one
        case _:
            assert_never(message)


# --- RequestVote RPC: receiver ------------------------------------------------------------------


def on_request_vote(server: Server, request: RequestVote) -> tuple[Server, Effects]:
    """One vote a term, first come first served, only for an up-to-date log (§5.2, §5.4.1)."""
    granted = server.voted_for in (None, request.candidate_id) and is_up_to_date(
        (request.last_log_term, request.last_log_index),
        (last_term(server.log), last_index(server.log)),
    )
    answer = Send(
        to=request.candidate_id,
        message=RequestVoteResponse(term=server.current_term, vote_granted=granted),
    )
    if not granted:
        return server, (answer,)
    vote = PersistTermAndVote(current_term=server.current_term, voted_for=request.candidate_id)
    return replace(server, voted_for=request.candidate_id), (vote, ResetElectionTimer(), answer)


# --- AppendEntries RPC: receiver ----------------------------------------------------------------


def on_append_entries(
    options: Options, server: Server, request: AppendEntries
) -> tuple[Server, Effects]:
    """Take the leader's entries if the log agrees up to ``prev_log_index`` (§5.3)."""
    server, heard = recognise(options, server, request.leader_id)
    if not agrees_at(server.log, request.prev_log_index, request.prev_log_term):
        mismatch = AppendEntriesMismatch(
            term=server.current_term,
            prev_log_index=request.prev_log_index,
            retry_from=retry_from(options, server, request),
            round=request.round,
        )
        return server, (*heard, Send(to=request.leader_id, message=mismatch))

    server, stored = store_entries(options, server, request)
    index_of_last_new_entry = Index(request.prev_log_index + len(request.entries))
    server, committed = commit_up_to(server, min(request.leader_commit, index_of_last_new_entry))
    success = AppendEntriesSuccess(
        term=server.current_term, match_index=index_of_last_new_entry, round=request.round
    )
    return server, (*stored, *heard, *committed, Send(to=request.leader_id, message=success))


def recognise(options: Options, server: Server, leader_id: ServerId) -> tuple[Server, Effects]:
    """A candidate recognises the leader of its term (§5.2), and remembers to have heard it (§6)."""
    assert not isinstance(server.role, Leader), "two leaders in one term: Election Safety is broken"
    server = replace(server, role=Follower(leader_heard=options.pre_vote or options.check_quorum))
    return server, (HeardFromLeader(leader_id=leader_id), ResetElectionTimer())


def retry_from(options: Options, server: Server, request: AppendEntries) -> Index:
    """The next_index that a leader should try after this request was rejected (§5.3).

    With ``options.fast_backtracking`` it skips at once what the follower does not have at all.
    """
    if options.fast_backtracking:
        return Index(min(request.prev_log_index, last_index(server.log) + 1))
    return request.prev_log_index


def store_entries(
    options: Options, server: Server, request: AppendEntries
) -> tuple[Server, Effects]:
    """Delete a conflicting entry and all that follow it; append what is not in the log (§5.3).

    Nothing is deleted without a conflict: the request may be an old one, and the entries after
    it may be committed.
    """
    conflict = first_conflict(server.log, request.prev_log_index, request.entries)
    if conflict is None:
        return server, ()
    missing = request.entries[conflict - request.prev_log_index - 1 :]
    log = splice(server.log, conflict, missing)
    stored = PersistEntries(first_index=conflict, entries=missing)
    server = with_log(server, log, conflict)
    return with_durable_index(options, server, conflict), (stored,)


def commit_up_to(
    server: Server, index: Index, counted_by: Configuration | None = None
) -> tuple[Server, Effects]:
    """Entries up to ``index`` are committed; ``commit_index`` never goes back (§5.3)."""
    if index <= server.commit_index:
        return server, ()
    committed = CommittedUpTo(commit_index=index, counted_by=counted_by)
    return replace(server, commit_index=index), (committed,)


# --- Rules for Servers: followers and candidates ------------------------------------------------


def on_election_timeout(options: Options, server: Server) -> tuple[Server, Effects]:
    """Followers and candidates start an election (§5.2), or ask first who would vote (D9.6).

    A server that knows itself to be in no cluster, not yet or no more, starts none (§6).
    """
    match server.role:
        case Follower() | Candidate() if is_outside(server):
            return silent(server), ()
        case Follower() | Candidate() if options.pre_vote:
            return start_pre_vote(options, server)
        case Follower() | Candidate():
            return start_election(options, server)
        case Leader() if options.check_quorum:
            return check_quorum(server)
        case Leader():
            return abort_transfer(server)
        case _:
            assert_never(server.role)


def start_pre_vote(options: Options, server: Server) -> tuple[Server, Effects]:
    """Ask all others whether they would vote, without a new term and a new role (D9.6)."""
    server = with_pre_votes(silent(server), frozenset())
    asked: Effects = (ResetElectionTimer(), *request_pre_votes(server))
    server, started = count_pre_votes(options, server)
    return server, asked + started


def start_election(
    options: Options, server: Server, *, transfer: bool = False
) -> tuple[Server, Effects]:
    """Increment the term, vote for self, reset the timer, ask all others for their vote (§5.2)."""
    server = replace(
        server,
        current_term=Term(server.current_term + 1),
        voted_for=server.server_id,
        role=Candidate(votes_granted=frozenset({server.server_id}), transfer=transfer),
    )
    vote = PersistTermAndVote(current_term=server.current_term, voted_for=server.server_id)
    asked: Effects = (vote, ResetElectionTimer(), *request_votes(server))
    server, elected = count_votes(options, server)
    return server, asked + elected


def request_votes(server: Server) -> Effects:
    """RequestVote to all other servers (§5.2)."""
    request = RequestVote(
        term=server.current_term,
        candidate_id=server.server_id,
        last_log_index=last_index(server.log),
        last_log_term=last_term(server.log),
        leadership_transfer=isinstance(server.role, Candidate) and server.role.transfer,
    )
    return tuple(Send(to=peer, message=request) for peer in peers(server))


def request_pre_votes(server: Server) -> Effects:
    """PreVote to all other servers (D9.6)."""
    request = PreVote(
        term=server.current_term,
        candidate_id=server.server_id,
        last_log_index=last_index(server.log),
        last_log_term=last_term(server.log),
    )
    return tuple(Send(to=peer, message=request) for peer in peers(server))


def on_pre_vote(server: Server, request: PreVote) -> Effects:
    """Say whether this server would vote; nothing is remembered (D9.6)."""
    answer = PreVoteResponse(term=request.term, vote_granted=would_vote(server, request))
    return (Send(to=request.candidate_id, message=answer),)


def on_pre_vote_response(
    options: Options, server: Server, voter: ServerId, response: PreVoteResponse
) -> tuple[Server, Effects]:
    """A server that hears no leader remembers who would vote for it (D9.6)."""
    wanted = response.vote_granted and response.term == server.current_term
    match server.role:
        case Follower(pre_votes=pre_votes) | Candidate(pre_votes=pre_votes) if (
            wanted and not hears_leader(server)
        ):
            return count_pre_votes(options, with_pre_votes(server, pre_votes | {voter}))
        case Follower() | Candidate() | Leader():
            return server, ()
        case _:
            assert_never(server.role)


def count_pre_votes(options: Options, server: Server) -> tuple[Server, Effects]:
    """If a majority would vote: start the election (D9.6)."""
    if not would_be_elected(server):
        return server, ()
    return start_election(options, server)


def on_request_vote_response(
    options: Options, server: Server, voter: ServerId, response: RequestVoteResponse
) -> tuple[Server, Effects]:
    """A candidate remembers who voted for it (§5.2)."""
    match server.role:
        case Candidate(votes_granted=votes_granted) if response.vote_granted:
            candidate = replace(server.role, votes_granted=votes_granted | {voter})
            return count_votes(options, replace(server, role=candidate))
        case Follower() | Candidate() | Leader():
            return server, ()
        case _:
            assert_never(server.role)


def count_votes(options: Options, server: Server) -> tuple[Server, Effects]:
    """If votes were received from a majority of servers: become leader (§5.2)."""
    match server.role:
        case Candidate(votes_granted=votes) if is_quorum(server.configuration, votes):
            return become_leader(options, server)
        case Follower() | Candidate() | Leader():
            return server, ()
        case _:
            assert_never(server.role)


# --- Rules for Servers: leaders -----------------------------------------------------------------


def become_leader(options: Options, server: Server) -> tuple[Server, Effects]:
    """Reinitialise next_index and match_index; heartbeat at once, to prevent elections (§5.2).

    With ``options.no_op`` a blank entry of the new term goes out with it, so that the leader soon
    knows which entries are committed (§8).
    """
    others = peers(server)
    role = Leader(
        next_index=IndexOf.of(dict.fromkeys(others, Index(last_index(server.log) + 1))),
        match_index=IndexOf.of(dict.fromkeys(others, Index(0))),
    )
    server = replace(server, role=role)
    if options.check_quorum:
        server = nobody_answered(server)
    elected = BecameLeader(term=server.current_term)
    if not options.no_op:
        return server, (elected, *heartbeats(server))
    server, stored = append_blank_entry(options, server)
    server, advanced = advance(options, server)
    asked = heartbeats(server) if options.streaming else replicate(options, server)
    return server, (*stored, elected, *advanced, *asked)


def check_quorum(server: Server) -> tuple[Server, Effects]:
    """A leader that a quorum did not answer for an election timeout steps down (D6.2)."""
    server, aborted = abort_transfer(server)
    if is_answered(server):
        return nobody_answered(server), (*aborted, ResetElectionTimer())
    stepped_down = SteppedDown(reason="no quorum answered for an election timeout")
    ended = (stepped_down, ResetElectionTimer(), *refuse_all(server.role))
    return replace(server, role=Follower()), (*aborted, *ended)


def on_heartbeat_timeout(server: Server) -> tuple[Server, Effects]:
    """A leader sends heartbeats to prevent election timeouts (§5.2)."""
    match server.role:
        case Leader():
            return server, heartbeats(server)
        case Follower() | Candidate():
            return server, ()
        case _:
            assert_never(server.role)


def on_retry_timeout(options: Options, server: Server) -> tuple[Server, Effects]:
    """Servers retry RPCs that are not answered in a timely manner (§5.1, §5.5)."""
    match server.role:
        case Leader():
            return server, (*replicate(options, server), *hand_over(server))
        case Candidate():
            return server, request_votes(server)
        case Follower():
            return server, ()
        case _:
            assert_never(server.role)


def on_client_request(
    options: Options, server: Server, request: ClientRequest
) -> tuple[Server, Effects]:
    """A leader appends the commands to its log and replicates them (§5.3)."""
    assert request.commands, "a client request has at least one command"
    match server.role:
        case Leader(transferring_to=int()):
            return server, (ClientRequestRefused(reason="leadership is being transferred"),)
        case Leader():
            accepted = ClientRequestAccepted(
                term=server.current_term, first_index=Index(last_index(server.log) + 1)
            )
            server, stored = append_entries(
                options,
                server,
                tuple(Entry(term=server.current_term, payload=c) for c in request.commands),
            )
            server, advanced = advance(options, server)
            return server, (*stored, *advanced, accepted, *replicate(options, server))
        case Follower() | Candidate():
            return server, (ClientRequestRefused(),)
        case _:
            assert_never(server.role)


def append_entries(
    options: Options, server: Server, entries: tuple[Entry, ...]
) -> tuple[Server, Effects]:
    """A leader only ever appends to its own log (Leader Append-Only, §5.3)."""
    stored = PersistEntries(first_index=Index(last_index(server.log) + 1), entries=entries)
    server = with_log(server, append(server.log, entries), stored.first_index)
    return with_durable_index(options, server, stored.first_index), (stored,)


def append_blank_entry(options: Options, server: Server) -> tuple[Server, Effects]:
    """The first entry of a leader's term (§8)."""
    return append_entries(options, server, (Entry(term=server.current_term, payload=NoOp()),))


def heartbeats(server: Server) -> Effects:
    """AppendEntries that carry no entries, to all other servers (§5.2).

    They begin at next_index, or where the log begins after its snapshot.
    """
    assert isinstance(server.role, Leader), "only a leader sends heartbeats"
    under_way = round_under_way(server.role)
    first = base_index(server.log) + 1
    from_index = {peer: Index(max(i, first)) for peer, i in server.role.next_index.items()}
    return tuple(
        append_entries_to(server, peer, from_index[peer], count=0, for_round=under_way)
        for peer in peers(server)
    )


def replicate(options: Options, server: Server) -> Effects:
    """AppendEntries to every other server that may lack entries (§5.3).

    A leader that has just stepped down sends none; with ``options.streaming`` the driver asks for
    them when it has room.
    """
    return tuple(effect for peer in peers(server) for effect in replicate_to(options, server, peer))


def replicate_to(options: Options, server: Server, peer: ServerId) -> Effects:
    """If last log index >= next_index: send the entries starting at next_index (§5.3)."""
    if options.streaming or not isinstance(server.role, Leader):
        return ()
    first_index = server.role.next_index[peer]
    if first_index > last_index(server.log):
        return ()
    return (send_from(server, peer, first_index),)


def on_replicate(server: Server, room: Replicate) -> tuple[Server, Effects]:
    """A leader sends what there is room for: any slice of its log from next_index on (§5.3)."""
    match server.role:
        case Leader(next_index=next_index) if (
            room.to in next_index
            and next_index[room.to] <= room.first_index <= last_index(server.log) + 1
        ):
            return server, (send_from(server, room.to, room.first_index, room.count),)
        case Follower() | Candidate() | Leader():
            return server, ()
        case _:
            assert_never(server.role)


def send_from(server: Server, peer: ServerId, first_index: Index, count: int | None = None) -> Send:
    """The entries from ``first_index`` on, or the snapshot if they were discarded (§5.3, §7)."""
    snapshot = server.log.snapshot
    if snapshot is None or first_index > snapshot.last_included_index:
        return append_entries_to(server, peer, first_index, count)
    request = InstallSnapshot(
        term=server.current_term, leader_id=server.server_id, snapshot=snapshot
    )
    return Send(to=peer, message=request)


def append_entries_to(
    server: Server,
    peer: ServerId,
    first_index: Index,
    count: int | None = None,
    for_round: Round = NO_ROUND,
) -> Send:
    """AppendEntries with ``count`` entries from ``first_index`` on, or all of them (§5.3)."""
    prev_log_index = Index(first_index - 1)
    prev_log_term = term_at(server.log, prev_log_index)
    assert prev_log_term is not None, (
        "what precedes the entries is in the log, or the last that its snapshot covers"
    )
    request = AppendEntries(
        term=server.current_term,
        leader_id=server.server_id,
        prev_log_index=prev_log_index,
        prev_log_term=prev_log_term,
        entries=entries_from(server.log, first_index, count),
        leader_commit=server.commit_index,
        round=for_round,
    )
    return Send(to=peer, message=request)


def on_append_entries_success(
    options: Options, server: Server, follower: ServerId, response: AppendEntriesSuccess
) -> tuple[Server, Effects]:
    """If successful: update next_index and match_index for the follower (§5.3).

    An answer that tells nothing new, late or doubled, changes no index: match_index only grows.
    """
    server = with_answer(server, follower)
    match server.role:
        case Leader(next_index=next_index, match_index=match_index) if (
            follower in match_index and response.match_index > match_index[follower]
        ):
            role = replace(
                server.role,
                next_index=next_index.put(follower, Index(response.match_index + 1)),
                match_index=match_index.put(follower, response.match_index),
            )
            end = last_index(server.log)
            server, advanced = advance(options, replace(server, role=role))
            if last_index(server.log) > end:
                return server, advanced + replicate(options, server)
            asked = replicate_to(options, server, follower)
            return server, (*advanced, *asked, *hand_over(server))
        case Follower() | Candidate() | Leader():
            return server, ()
        case _:
            assert_never(server.role)


def on_append_entries_mismatch(
    options: Options, server: Server, follower: ServerId, response: AppendEntriesMismatch
) -> tuple[Server, Effects]:
    """If it fails because of log inconsistency: decrement next_index and retry (§5.3).

    Only an answer about the current next_index counts, and none about entries known to match:
    a late one must not set next_index back.
    """
    server = with_answer(server, follower)
    match server.role:
        case Leader(next_index=next_index, match_index=match_index) if (
            follower in match_index
            and match_index[follower] < response.prev_log_index == next_index[follower] - 1
        ):
            role = replace(server.role, next_index=next_index.put(follower, response.retry_from))
            server = replace(server, role=role)
            return server, replicate_to(options, server, follower)
        case Follower() | Candidate() | Leader():
            return server, ()
        case _:
            assert_never(server.role)


def advance(options: Options, server: Server) -> tuple[Server, Effects]:
    """Commit what can be committed, and go on with a membership change (§5.3, §6)."""
    server, committed = advance_commit_index(server)
    appended: Effects = ()
    one_server = options.single_server_changes
    while configuration := next_configuration(server, one_server=one_server):
        server, stored = append_configuration(options, server, configuration)
        appended += stored
        server, more = advance_commit_index(server)  # it may have stored enough already
        committed += more
    server, removed = step_down_if_removed(server)
    answered: Effects = ()
    if appended and isinstance(server.role, Leader):
        # Who has answered may be a quorum of the new configuration, which may have no other member.
        server, answered = answer_reads(server, server.role)
    return server, (*appended, *committed, *removed, *answered)


def advance_commit_index(server: Server) -> tuple[Server, Effects]:
    """If a majority has stored an entry *of the leader's term*, it and all before are committed.

    Entries of older terms are never committed by counting, only with a newer one (§5.3, §5.4.2,
    Figure 8).
    """
    agreed = agreed_index(server.configuration, known_to_have(server))
    if term_at(server.log, agreed) != server.current_term:
        return server, ()
    return commit_up_to(server, agreed, counted_by=server.configuration)


def known_to_have(server: Server) -> Mapping[ServerId, Index]:
    """Up to where each server has stored the leader's log, as far as the leader knows (§5.3)."""
    assert isinstance(server.role, Leader), "only a leader counts"
    return {**server.role.match_index, server.server_id: server.durable_index}


# --- Writing to disk in parallel (D10.2.1) ------------------------------------------------------


def with_durable_index(options: Options, server: Server, first_index: Index) -> Server:
    """The log is being written from ``first_index`` on: how far it is known to be durable.

    Unless writes go on in parallel, nothing else happens before they are durable.
    """
    durable_index = last_index(server.log)
    if options.parallel_write:
        durable_index = min(server.durable_index, Index(first_index - 1))
    return replace(server, durable_index=durable_index)


def on_durable_up_to(
    options: Options, server: Server, written: DurableUpTo
) -> tuple[Server, Effects]:
    """The server's own log is durable up to an entry, unless that has been replaced (D10.2.1).

    A leader counts itself only for what is durable. Entries of its own term it never replaces, so
    that what it is told about them stays true, however late.
    """
    if written.index <= server.durable_index or term_at(server.log, written.index) != written.term:
        return server, ()
    server = replace(server, durable_index=written.index)
    match server.role:
        case Leader():
            end = last_index(server.log)
            server, advanced = advance(options, server)
            if last_index(server.log) > end:
                advanced += replicate(options, server)
            return server, advanced
        case Follower() | Candidate():
            return server, ()
        case _:
            assert_never(server.role)


# --- Reads (§8, D6.4) ---------------------------------------------------------------------------


def on_read_request(server: Server, read_id: RequestId) -> tuple[Server, Effects]:
    """A leader confirms that it leads; a follower asks the leader, whoever that is (D6.4)."""
    match server.role:
        case Leader() if knows_what_is_committed(server):
            return await_round(server, server.role, Read(read_id=read_id, asked_by=None))
        case Leader() | Candidate():
            return server, (ReadRefused(read_id=read_id),)
        case Follower():
            request = ReadIndexRequest(term=server.current_term, read_id=read_id)
            return server, tuple(Send(to=peer, message=request) for peer in peers(server))
        case _:
            assert_never(server.role)


def on_read_index_request(
    server: Server, follower: ServerId, request: ReadIndexRequest
) -> tuple[Server, Effects]:
    """A leader serves the reads of followers like its own; others do not answer (D6.4)."""
    match server.role:
        case Leader() if knows_what_is_committed(server):
            read = Read(read_id=request.read_id, asked_by=follower)
            return await_round(server, server.role, read)
        case Leader() | Candidate() | Follower():
            return server, ()
        case _:
            assert_never(server.role)


def await_round(server: Server, role: Leader, read: Read) -> tuple[Server, Effects]:
    """A read waits for a round of heartbeats that begins after it has arrived (D6.4)."""
    role = replace(role, reads=add(role.reads, read))
    return begin_next_round(replace(server, role=role), role)


def begin_next_round(server: Server, role: Leader) -> tuple[Server, Effects]:
    """If reads wait and no round is under way: begin one, with heartbeats to all (D6.4)."""
    if role.reads.confirming or not role.reads.waiting:
        return server, ()
    role = replace(role, reads=begin_round(role.reads))
    server = replace(server, role=role)
    begun = heartbeats(server)
    server, answered = answer_reads(server, role)  # a leader alone needs no answers
    return server, begun + answered


def on_heartbeat_answered(
    server: Server, follower: ServerId, of_round: Round
) -> tuple[Server, Effects]:
    """An answer, success or mismatch, says that the leader led when its round began (D6.4)."""
    match server.role:
        case Leader(reads=reads) if reads.confirming:
            role = replace(server.role, reads=confirm(reads, follower, of_round))
            return answer_reads(replace(server, role=role), role)
        case Leader() | Candidate() | Follower():
            return server, ()
        case _:
            assert_never(server.role)


def answer_reads(server: Server, role: Leader) -> tuple[Server, Effects]:
    """If the round is confirmed: answer its reads, and go on with those that wait (D6.4)."""
    reads, answers = answer_confirmed(server, role)
    if not answers:
        return server, ()
    role = replace(role, reads=reads)
    server, begun = begin_next_round(replace(server, role=role), role)
    return server, answers + begun


# --- Log compaction (§7) ------------------------------------------------------------------------


def on_take_snapshot(server: Server, event: TakeSnapshot) -> tuple[Server, Effects]:
    """Each server takes snapshots by itself, of committed entries; an older one is of no use."""
    if not is_of_use(server, event.last_included_index):
        return server, ()
    snapshot = taken(server, event.last_included_index, event.data)
    return compacted(server, snapshot), (PersistSnapshot(snapshot=snapshot),)


def on_install_snapshot(
    options: Options, server: Server, request: InstallSnapshot
) -> tuple[Server, Effects]:
    """InstallSnapshot RPC, receiver: the leader's log is known up to the snapshot (Figure 13)."""
    server, heard = recognise(options, server, request.leader_id)
    server, installed = install(server, request.snapshot)
    if installed:
        first_index = request.snapshot.last_included_index
        server = with_durable_index(options, server, first_index)
    success = AppendEntriesSuccess(
        term=server.current_term, match_index=request.snapshot.last_included_index
    )
    return server, (*installed, *heard, Send(to=request.leader_id, message=success))


# --- Cluster membership changes (§6) ------------------------------------------------------------


def on_change_membership(
    options: Options, server: Server, request: ChangeMembership
) -> tuple[Server, Effects]:
    """A leader lets the new servers catch up first, as non-voting members (§6)."""
    one_server = options.single_server_changes
    reason = why_refused(server, request.members, one_server=one_server)
    if reason:
        return server, (MembershipChangeRefused(reason=reason),)
    server, begun = advance(options, with_target(server, request.members))
    asked = replicate(options, server) if begun else heartbeats(server)
    return server, (*begun, MembershipChangeAccepted(), *asked)


def on_change_learners(server: Server, request: ChangeLearners) -> tuple[Server, Effects]:
    """A leader may bring servers up to date long before they become members (§6)."""
    match server.role:
        case Leader():
            server = with_learners(server, request.learners)
            return server, (MembershipChangeAccepted(), *heartbeats(server))
        case Follower() | Candidate():
            return server, (MembershipChangeRefused(reason="this server is not the leader"),)
        case _:
            assert_never(server.role)


def append_configuration(
    options: Options, server: Server, configuration: Configuration
) -> tuple[Server, Effects]:
    """A leader appends a configuration, and counts by it from now on (§6)."""
    assert isinstance(server.role, Leader), "only a leader changes the configuration"
    server = replace(server, role=replace(server.role, target=None))
    entry = Entry(term=server.current_term, payload=configuration)
    return append_entries(options, server, (entry,))


def step_down_if_removed(server: Server) -> tuple[Server, Effects]:
    """A leader that is not in C_new leads until C_new is committed (§6)."""
    if not is_outside(server):
        return server, ()
    stepped_down = SteppedDown(reason="the configuration without it is committed")
    refused = refuse_all(server.role)
    return replace(server, role=Follower()), (stepped_down, ResetElectionTimer(), *refused)


# --- Leadership transfer (D3.10) ----------------------------------------------------------------


def on_transfer_leadership(
    options: Options, server: Server, to: ServerId
) -> tuple[Server, Effects]:
    """A leader stops accepting commands and brings ``to`` up to date (D3.10)."""
    if reason := why_no_transfer(server, to):
        return server, (TransferRefused(reason=reason),)
    server = with_transfer(server, to)
    started = (TransferStarted(to=to), ResetElectionTimer())
    return server, (*started, *replicate_to(options, server, to), *hand_over(server))


def hand_over(server: Server) -> Effects:
    """TimeoutNow to the server that is to lead, once it has the whole log (D3.10)."""
    to = transfer_target(server)
    if to is None or not may_take_over(server):
        return ()
    return (Send(to=to, message=TimeoutNow(term=server.current_term)),)


def on_timeout_now(options: Options, server: Server) -> tuple[Server, Effects]:
    """Start an election at once, whoever leads: the leader wants it (D3.10)."""
    if isinstance(server.role, Leader) or is_outside(server):
        return server, ()
    return start_election(options, server, transfer=True)


def abort_transfer(server: Server) -> tuple[Server, Effects]:
    """If the transfer does not complete after an election timeout, go on as leader (D3.10)."""
    to = transfer_target(server)
    if to is None:
        return server, ()
    return with_transfer(server, None), (TransferAborted(to=to),)
