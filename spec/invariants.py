"""The claims. Each is one sentence of the paper, written as a function that anyone can read.

**The signature is the quantifier.** ``def log_matching(a: Server, b: Server)`` says "for any two
distinct servers"; ``(commit: Committed, election: Elected)`` says "for any commit and any election,
ever" (facts are history, see ``spec.cluster``); ``Annotated[frozenset[ServerId], relation]`` is
*the set of all servers* that stand in that relation to the parameter just before it;
``(before: Server, event: Event, after: Server, effects: Effects)`` says "for every step".
``None`` means that the claim does not apply: drivers count these apart, and a claim that never
applies has shown nothing.

The same functions are this documentation, what the model checker evaluates, what hypothesis
checks after every rule, and what recorded runs of the real server are held against.
Sections are those of the extended Raft paper, "D" those of Ongaro's dissertation.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from spec.clients import (
    Answered,
    Client,
    Failed,
    ReadAnswer,
    ToClient,
    TookEffect,
    is_awaited,
)
from spec.cluster import Committed, Elected, led
from spec.disk import ServerOnDisk, after_crash, image_of
from spec.elections import hears_leader, transfer_target
from spec.events import (
    BecameLeader,
    ClientRequest,
    ClientRequestAccepted,
    CommittedUpTo,
    Effects,
    ElectionTimeout,
    Event,
    HeardFromLeader,
    Persist,
    PersistEntries,
    PersistSnapshot,
    PersistTermAndVote,
    ReadReady,
    ReadRefused,
    ReadRequest,
    Receive,
    ResetElectionTimer,
    Restart,
    RestoreStateMachine,
    Send,
    SteppedDown,
    TakeSnapshot,
)
from spec.log import (
    agreement,
    agrees_at,
    base_index,
    base_term,
    compact,
    configurations,
    entries_from,
    entry_at,
    first_conflict,
    is_up_to_date,
    last_index,
    last_term,
    latest_configuration,
    splice,
    term_at,
)
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
    TimeoutNow,
)
from spec.quorum import is_quorum, members
from spec.raft import Options
from spec.sessions import ClientCommand
from spec.state import (
    NO_READS,
    Candidate,
    Configuration,
    Follower,
    Index,
    Leader,
    Log,
    Server,
    ServerId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The smallest cluster, highest term and longest log in which a witness can show."""

    servers: int
    terms: int
    log_length: int
    membership: bool = False
    """Does it need membership changes?"""
    snapshot: bool = False
    """Does it need snapshots to be taken?"""
    backtracking: bool = False
    """Does it need rejections that skip entries?"""
    parallel_write: bool = False
    """Does it need disks that write in parallel?"""
    transfer: bool = False
    """Does it need transfers of leadership?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A property that holds always, or (with ``needs``) a witness that shows sometimes."""

    name: str
    title: str
    paper: str
    thesis: str
    predicate: Callable[..., bool | None]
    needs: Needs | None = None
    rule: str = ""
    """The option of ``spec.raft`` without which nothing is claimed."""

    feature: str = ""
    """It speaks of what there is with this feature alone: ``reads`` or ``sessions``."""

    def in_force(self, options: Options) -> bool:
        """Is the rule of which the claim speaks in force?"""
        return not self.rule or bool(getattr(options, self.rule))


PROPERTIES: list[Claim] = []
"""What holds in every reachable state and every step, in the order in which it is reported."""
WITNESSES: list[Claim] = []
"""What must happen somewhere: a system that does nothing would satisfy every property."""

P = TypeVar("P", bound=Callable[..., bool | None])


def always(
    *, title: str, paper: str, thesis: str, rule: str = "", feature: str = ""
) -> Callable[[P], P]:
    """Register a property with its title in the paper and its citations."""

    def register(predicate: P) -> P:
        name = predicate.__name__
        PROPERTIES.append(
            Claim(
                name=name,
                title=title,
                paper=paper,
                thesis=thesis,
                predicate=predicate,
                rule=rule,
                feature=feature,
            )
        )
        return predicate

    return register


def sometimes(
    *, title: str, paper: str, thesis: str, needs: Needs, rule: str = "", feature: str = ""
) -> Callable[[P], P]:
    """Register a witness: it must show wherever the bounds reach what it ``needs``."""

    def register(predicate: P) -> P:
        name = predicate.__name__
        WITNESSES.append(
            Claim(
                name=name,
                title=title,
                paper=paper,
                thesis=thesis,
                predicate=predicate,
                needs=needs,
                rule=rule,
                feature=feature,
            )
        )
        return predicate

    return register


# --- Relations that the claims quantify over ----------------------------------------------------


def holds(commit: Committed, server: Server) -> bool:
    """``server`` has the committed entry in its log, at its place, or a snapshot that covers it."""
    return _has(server.log, commit)


def could_vote_for(candidate: Server, voter: Server) -> bool:
    """The log of ``candidate`` is at least as up-to-date as that of ``voter`` (§5.4.1)."""
    return is_up_to_date(
        (last_term(candidate.log), last_index(candidate.log)),
        (last_term(voter.log), last_index(voter.log)),
    )


DURABLY = "durably"
"""Marks a relation that must still stand after a crash of the server."""
Holders = Annotated[frozenset[ServerId], holds, DURABLY]
PossibleVoters = Annotated[frozenset[ServerId], could_vote_for]


# --- Figure 3 -----------------------------------------------------------------------------------


@always(title="Election Safety", paper="Fig. 3, §5.2", thesis="D Fig. 3.2; App. B Lemma 2")
def election_safety(a: Elected, b: Elected) -> bool | None:
    """At most one leader can be elected in a given term.

    Trap: it speaks of all time, not of now. A leader may have crashed long before a second one is
    elected in its term, so two *elections* are compared, never two present leaders. Elections are
    distinct if they differ in term, leader or log. Non-vacuous: two elections have happened.
    """
    return a.term != b.term


@always(title="Leader Append-Only", paper="Fig. 3, §5.3", thesis="D Fig. 3.2; App. B Lemma 3")
def leader_append_only(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A leader never overwrites or deletes entries in its log; it only appends new entries.

    Trap: it binds a leader for as long as it leads; the step that ends its leadership may adopt
    another leader's log. Non-vacuous: every step of a leader with entries that stays leader.
    """
    if not (_leads_on(before, after) and last_index(before.log)):
        return None
    return agreement(before.log, after.log) == last_index(before.log)


@always(title="Log Matching", paper="Fig. 3, §5.3", thesis="D Fig. 3.2; App. B Lemma 4")
def log_matching(a: Server, b: Server) -> bool | None:
    """If two logs contain an entry with the same index and term, then the logs are identical in
    all entries up through that index.

    Trap: comparing terms alone would miss a wrong command under a right term, so entries are
    compared whole. Non-vacuous: wherever two logs share an (index, term).
    """
    return _logs_match(a.log, b.log)


@always(
    title="Log Matching of AppendEntries as received", paper="§5.3", thesis="D3.5; App. B Lemma 5"
)
def log_matching_received(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """Log Matching holds between a log and the slice that any AppendEntries to it carries.

    Trap: a delayed request of an old term carries a log that no server may still have, so it is
    compared when it arrives, however late, whether or not it is accepted.
    Non-vacuous: the request and the receiver's log share an (index, term).
    """
    match event:
        case Receive(message=AppendEntries() as request):
            return _slice_matches(before.log, request)
        case _:
            return None


@always(title="Log Matching of AppendEntries as sent", paper="§5.3", thesis="D3.5; App. B Lemma 5")
def log_matching_sent(before: Server, event: Event, after: Server, effects: Effects) -> bool | None:
    """What a leader sends is a slice of its own log, of its own term, with its own commit index.

    Trap: judged when it is sent; the leader's log may be another one when it arrives.
    Non-vacuous: every step that sends an AppendEntries.
    """
    requests = [e.message for e in effects if isinstance(e, Send)]
    sent = [m for m in requests if isinstance(m, AppendEntries)]
    if not sent:
        return None
    return all(
        isinstance(after.role, Leader)
        and request.term == after.current_term
        and request.leader_id == after.server_id
        and request.prev_log_term == term_at(after.log, request.prev_log_index)
        and request.entries
        == entries_from(after.log, Index(request.prev_log_index + 1))[: len(request.entries)]
        and request.leader_commit <= after.commit_index
        for request in sent
    )


@always(title="Leader Completeness", paper="Fig. 3, §5.4", thesis="D Fig. 3.2; App. B Lemmas 8, 9")
def leader_completeness(commit: Committed, election: Elected) -> bool | None:
    """If a log entry is committed in a given term, then that entry will be present in the logs of
    the leaders for all higher-numbered terms.

    Trap: "committed in term T" is when a leader whose current term is T counted it, not the term
    stored in the entry (§5.4.2, Figure 8). A stale leader of a term before T may lawfully lack an
    entry that carries a still older term. Non-vacuous: an election after a commit.
    """
    if election.term <= commit.term:
        return None
    return _has(election.log, commit)


@always(title="State Machine Safety", paper="Fig. 3, §5.4.3", thesis="D Fig. 3.2; App. B Thm. 1")
def state_machine_safety(commit: Committed, server: Server) -> bool | None:
    """If a server has applied a log entry at a given index to its state machine, no other server
    will ever apply a different log entry for the same index.

    Trap: the other server may have applied it and crashed since, so the committed entry is
    remembered as a fact. Non-vacuous: a server whose commit_index has reached a commit.
    """
    if server.commit_index < commit.index:
        return None
    return holds(commit, server)


@always(title="State Machine Safety, ever", paper="Fig. 3, §5.4.3", thesis="D App. B Thm. 1")
def committed_once(a: Committed, b: Committed) -> bool | None:
    """No two leaders ever commit different entries at the same index.

    Trap: the second one may commit when no server of the first majority is up any more.
    Non-vacuous: two leaders counted the same index.
    """
    if a.index != b.index:
        return None
    return a.entry == b.entry


# --- What they rest on: logs and commitment -----------------------------------------------------


@always(title="Commit index within the log", paper="Fig. 2, §5.3", thesis="D Fig. 3.1")
def commit_index_within_log(server: Server) -> bool | None:
    """A server never takes for committed what it does not have.

    Trap: a follower must bound leaderCommit by the last entry *of that request*.
    Non-vacuous: a server that knows of a committed entry.
    """
    if server.commit_index == 0:
        return None
    return server.commit_index <= last_index(server.log)


@always(title="Log terms ascend", paper="§5.3, §5.4", thesis="D App. B Lemmas 6, 7")
def log_terms_ascend(server: Server) -> bool | None:
    """Terms in a log never decrease along it, and none is above the server's current term.

    Trap: it is what makes "last entry's term" a fair summary of a log (§5.4.1); a stale tail left
    behind a replaced entry shows here first. Non-vacuous: a log that is not empty.
    """
    if not last_index(server.log):
        return None
    terms = [base_term(server.log), *(e.term for e in server.log.entries), server.current_term]
    return terms == sorted(terms)


@always(title="match_index is truthful", paper="Fig. 2, §5.3", thesis="D Fig. 3.1")
def match_index_truthful(leader: Server, follower: Server) -> bool | None:
    """What a leader believes a follower of its own term to have, the follower has.

    Trap: a follower that went on to a later term may have lost it, and that is lawful.
    Non-vacuous: the follower is in the leader's term and has acknowledged something.
    """
    match leader.role:
        case Leader(match_index=match_index) if (
            leader.current_term == follower.current_term and follower.server_id in match_index
        ):
            matched = match_index[follower.server_id]
            return agreement(leader.log, follower.log) >= matched if matched else None
        case _:
            return None


@always(title="next_index is above match_index", paper="Fig. 2, §5.3", thesis="D Fig. 3.1")
def next_index_above_match_index(server: Server) -> bool | None:
    """A leader never goes back to entries that it knows to match, nor beyond its log's end.

    Trap: a late rejection must not undo an acknowledgement. Non-vacuous: every leader with peers.
    """
    match server.role:
        case Leader(next_index=next_index, match_index=match_index) if len(next_index):
            beyond = last_index(server.log) + 1
            return all(match_index[i] < next_index[i] <= beyond for i in next_index)
        case _:
            return None


@always(title="Committed entries are on a quorum", paper="§5.3, §5.4", thesis="D App. B Def. 2")
def committed_on_a_quorum(commit: Committed, holders: Holders) -> bool | None:
    """A committed entry is in the durable logs of a quorum of the configuration in force at its
    commit, then and ever after.

    Trap: "on a majority" at the time of counting is not enough; no member of that quorum may lose
    it later. Non-vacuous: every commit.
    """
    return is_quorum(commit.configuration, holders)


@always(title="No other can be elected", paper="§5.4.1, §5.4.3", thesis="D App. B Lemma 8")
def electable_holds_committed(
    commit: Committed, candidate: Server, voters: PossibleVoters
) -> bool | None:
    """A server to which a quorum could still give its votes holds every committed entry.

    It shows Figure 8's fault a term earlier than Leader Completeness does, since it need not wait
    for the election. Trap: "any log at least as up-to-date as mine holds my committed prefix" is
    simpler and false. Non-vacuous: such a quorum (the candidate itself included) exists.
    """
    if not is_quorum(candidate.configuration, voters | {candidate.server_id}):
        return None
    return holds(commit, candidate)


# --- Membership changes (§6) --------------------------------------------------------------------


@always(title="The latest configuration is in force", paper="§6", thesis="D4.1, D4.3")
def latest_configuration_in_force(server: Server) -> bool | None:
    """A server always uses the latest configuration in its log, whether it is committed or not.

    Trap: when a conflict cuts the entry off, the configuration before it is in force again.
    Non-vacuous: a log that carries a configuration or has a snapshot, or a server that uses another
    than its first.
    """
    carried = configurations(server.log)
    unchanged = server.configuration == server.first_configuration
    if not carried and unchanged and server.log.snapshot is None:
        return None
    at = entry_at(server.log, server.configuration_index)
    return server.configuration == (_first_configuration(server), *carried)[-1] and (
        server.configuration == at.payload if at else bool(not carried)
    )


@always(title="Changes go through joint consensus", paper="§6, Fig. 11", thesis="D4.3, Fig. 4.8")
def joint_consensus_between(server: Server) -> bool | None:
    """In every log C_old is followed by C_old,new, and that by C_new, or at once by a configuration
    that differs from it by one server (D4.1).

    Trap: two configurations whose majorities need not meet must never be in force next to each
    other. A server that is added knows of none before its first. Non-vacuous: a log that carries a
    configuration.
    """
    carried = configurations(server.log)
    if not carried:
        return None
    first = _first_configuration(server)
    pairs = itertools.pairwise((*([first] if members(first) else []), *carried))
    return all(
        len(before.old ^ after.old) == 1
        if before.new is None and after.new is None
        else after.old == (before.old if before.new is None else before.new)
        and (before.new is None) != (after.new is None)
        for before, after in pairs
    )


@always(title="One change at a time", paper="§6", thesis="D4.1, D4.3")
def one_change_at_a_time(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A leader appends a configuration only when the one before it is committed, and begins a
    change only when an entry of its own term is committed too.

    Trap: without the second half, a change that an earlier leader left uncommitted can still win
    (Ongaro's erratum of 2015). Non-vacuous: a leader appends a configuration.
    """
    appended = configurations(after.log)[len(configurations(before.log)) :]
    if not appended or not led(before, after):
        return None
    _, former = latest_configuration(after.log, Index(after.configuration_index - 1))
    begins = before.configuration.new is None
    return former <= after.commit_index and (
        not begins or term_at(after.log, after.commit_index) == after.current_term
    )


@always(title="A removed leader steps down", paper="§6", thesis="D4.2.2")
def removed_leader_steps_down(server: Server) -> bool | None:
    """A leader that knows a configuration without itself to be committed leads no more.

    Trap: until then it leads a cluster of which it is no member, and does not count itself.
    Non-vacuous: a leader that is not in its latest configuration.
    """
    if not isinstance(server.role, Leader) or server.server_id in members(server.configuration):
        return None
    return server.configuration_index > server.commit_index


# --- Writing to disk in parallel (D10.2.1) ------------------------------------------------------


@always(title="The disk follows the server", paper="Fig. 2, §5.5", thesis="D3.8, D10.2.1")
def disk_follows_server(one: ServerOnDisk) -> bool | None:
    """What is durable and what is being written is together all that the server has to store.

    Trap: a server that changes its log in memory alone looks well until it crashes.
    Non-vacuous: a write is pending.
    """
    if not one.disk.pending:
        return None if one.disk.image == image_of(one.server) else False
    return after_crash(one.disk, len(one.disk.pending)) == image_of(one.server)


@always(title="durable_index is truthful", paper="§5.5", thesis="D10.2.1")
def durable_index_truthful(one: ServerOnDisk) -> bool | None:
    """The log is durable up to durable_index, whichever pending writes a crash may lose.

    Trap: an entry that was replaced is durable no more; an entry of an older term that came back
    may be known too early, but such entries are not counted. Non-vacuous: durable_index is at an
    entry of the current term.
    """
    server, disk = one.server, one.disk
    index = server.durable_index
    if index == 0 or term_at(server.log, index) not in (server.current_term, None):
        return None
    images = [after_crash(disk, survived) for survived in range(len(disk.pending) + 1)]
    return all(agreement(server.log, image.log) >= index for image in images)


# --- Clients (§8) -------------------------------------------------------------------------------


@always(title="Reads are confirmed", paper="§8", thesis="D6.4")
def reads_are_confirmed(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A leader serves a read only when it has committed an entry of its term, and a quorum of the
    configuration in force has answered the round of heartbeats that the read waits for.

    Trap: an answer to a heartbeat of an earlier round says nothing of what happened since.
    Non-vacuous: every read that a leader serves.
    """
    reads = before.role.reads if isinstance(before.role, Leader) else NO_READS
    served = [e.message for e in effects if isinstance(e, Send)]
    responses = [m for m in served if isinstance(m, ReadIndexResponse)]
    ready = [e for e in effects if isinstance(e, ReadReady)]
    match event:
        case Receive(message=ReadIndexResponse()):
            return None
        case _ if not responses and not ready:
            return None
        case ReadRequest() | Receive(message=ReadIndexRequest()):
            confirmed = {after.server_id}
        case Receive(
            source=source,
            message=AppendEntriesSuccess(round=answered) | AppendEntriesMismatch(round=answered),
        ) if answered == reads.round:
            confirmed = {after.server_id, *reads.confirmed_by, source}
        case _:  # what made the quorum smaller
            confirmed = {after.server_id, *reads.confirmed_by}
    return (
        isinstance(after.role, Leader)
        and is_quorum(after.configuration, confirmed)
        and term_at(after.log, after.commit_index) == after.current_term
    )


@always(title="Reads are linearizable", paper="§8", thesis="D6.4", feature="reads")
def reads_are_linearizable(before: Client, message: ToClient, after: Client) -> bool | None:
    """A read shows all that was acknowledged or read before it began.

    Trap: what is acknowledged while it is under way it may show or not. The client asks for it all
    itself, so that "before" is the order of its own steps. Non-vacuous: every answer to a read
    that is under way.
    """
    if not isinstance(message, ReadAnswer) or not is_awaited(before, message):
        return None
    return before.floor is not None and message.index >= before.floor


@always(title="A command takes effect once", paper="§8", thesis="D6.3", feature="sessions")
def exactly_once(a: TookEffect, b: TookEffect) -> bool | None:
    """Each command takes effect once, however often it is in the log; no two have one effect.

    Trap: the second time may be on another leader, from a log that was compacted.
    Non-vacuous: two commands have taken effect.
    """
    return a.request_id != b.request_id and a.result != b.result


@always(title="Answers name the effect", paper="§8", thesis="D6.3", feature="sessions")
def answers_name_the_effect(answer: Answered, effect: TookEffect) -> bool | None:
    """A command that is acknowledged has taken effect, and its result is that of the one effect.

    Trap: an entry of another term may have taken the place of the one that the client waits for.
    Non-vacuous: an answer and an effect of one command, or with one result.
    """
    same = answer.request_id == effect.request_id
    if not same and answer.result != effect.result:
        return None
    return same and answer.result == effect.result


@always(title="What has failed is not done", paper="§8", thesis="D6.3", feature="sessions")
def failed_is_not_done(failure: Failed, commit: Committed) -> bool | None:
    """A try that was reported to its client as failed is never committed.

    Trap: a leader that steps down does not know; neither does one that has waited for long.
    Non-vacuous: an entry was committed at an index where a try has failed.
    """
    if failure.index != commit.index:
        return None
    return failure.term != commit.entry.term


# --- Log compaction (§7) ------------------------------------------------------------------------


@always(title="Snapshots cover only committed entries", paper="§7", thesis="D5.1")
def snapshot_is_committed(server: Server) -> bool | None:
    """A snapshot replaces committed entries only, and a server knows that they are.

    Trap: after a restart, too, when the commit index is forgotten. Non-vacuous: every snapshot.
    """
    if server.log.snapshot is None:
        return None
    return server.commit_index >= server.log.snapshot.last_included_index


@always(title="Snapshots of the same entries are the same", paper="§5.3, §7", thesis="D3.5, D5.1")
def snapshots_agree(a: Server, b: Server) -> bool | None:
    """If two snapshots go up to the same index, they are the same, the configuration included.

    Trap: state machines are deterministic, so a snapshot that tells something else was not made of
    the entries that it covers. Non-vacuous: two servers with snapshots up to the same index.
    """
    one, other = a.log.snapshot, b.log.snapshot
    if one is None or other is None or one.last_included_index != other.last_included_index:
        return None
    return one == other


@always(title="Compaction changes nothing else", paper="§7, Fig. 12", thesis="D5.1, Fig. 5.1")
def compaction_only_covers(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A server that takes a snapshot discards the entries that it covers, and nothing else.

    Trap: what follows is not committed yet, and still needed. Non-vacuous: every snapshot taken.
    """
    if not isinstance(event, TakeSnapshot) or after == before:
        return None
    end = last_index(before.log)
    kept = base_index(after.log) == event.last_included_index and last_index(after.log) == end
    return kept and agreement(before.log, after.log) == end


@always(title="Snapshots sent are the leader's own", paper="§7, Fig. 13", thesis="D5.1, Fig. 5.3")
def snapshot_sent_is_own(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A leader sends the snapshot that its log begins with, in its own term, to who lacks entries.

    Trap: not to a follower that needs an entry that is still in the log.
    Non-vacuous: every step that sends a snapshot.
    """
    sent = [(e.to, e.message) for e in effects if isinstance(e, Send)]
    snapshots = [(to, m) for to, m in sent if isinstance(m, InstallSnapshot)]
    if not snapshots:
        return None
    match after.role:
        case Leader(next_index=next_index):
            return all(
                message.snapshot == after.log.snapshot
                and (message.term, message.leader_id) == (after.current_term, after.server_id)
                and next_index[to] <= message.snapshot.last_included_index
                for to, message in snapshots
            )
        case _:
            return False


@always(title="An older snapshot changes nothing", paper="§7, Fig. 13", thesis="D5.1, Fig. 5.3")
def older_snapshot_ignored(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A snapshot of what a server knows to be committed leaves its log as it is.

    Trap: a late or doubled one would take the state machine back in time.
    Non-vacuous: such a snapshot arrives.
    """
    match event:
        case Receive(message=InstallSnapshot(snapshot=snapshot)) if (
            snapshot.last_included_index <= before.commit_index
        ):
            return after.log == before.log and after.commit_index == before.commit_index
        case _:
            return None


@always(title="A snapshot takes the log's place", paper="§7, Fig. 13", thesis="D5.1, Fig. 5.3")
def snapshot_replaces_log(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A snapshot that is installed leaves of the log what follows its last entry, if the log has
    that entry; else nothing.

    Trap: kept without that entry, the suffix may conflict with what is committed; discarded with
    it, entries are lost that were acknowledged. Non-vacuous: a snapshot is installed.
    """
    match event:
        case Receive(message=InstallSnapshot(snapshot=snapshot)) if after.log != before.log:
            index = snapshot.last_included_index
            matches = term_at(before.log, index) == snapshot.last_included_term
            end = last_index(before.log) if matches else index
            kept = last_index(after.log) == end and agreement(before.log, after.log) >= end
            return after.log.snapshot == snapshot and (kept or not (matches or after.log.entries))
        case _:
            return None


@always(title="The state machine can follow", paper="§5.3, §7", thesis="D3.5, D5.1")
def state_machine_can_follow(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """All that becomes committed is announced, and the log has each entry that is to be applied,
    or its state machine is restored from a snapshot that covers it.

    Trap: a crash forgets the state machine, which begins again from the snapshot.
    Non-vacuous: a step that raises commit_index, and the restart of a server with a snapshot.
    """
    applied = 0 if isinstance(event, Restart) else before.commit_index
    if after.commit_index == applied:
        return None
    for effect in effects:
        match effect:
            case RestoreStateMachine(snapshot=snapshot):
                applied = snapshot.last_included_index
            case CommittedUpTo(commit_index=upto):
                if any(entry_at(after.log, Index(i)) is None for i in range(applied + 1, upto + 1)):
                    return False
                applied = upto
            case _:
                pass
    return applied == after.commit_index


@always(title="A crash between two writes", paper="§5.5, Fig. 13", thesis="D3.8, Fig. 5.3")
def safe_between_writes(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """What is stored between two writes of a step is a beginning of the log before or of the one
    after, and has all that both have.

    Trap: a snapshot stored before a conflicting entry is removed would be followed by it.
    Non-vacuous: every step that writes its log.
    """
    stored = before.log
    writes = [e for e in effects if isinstance(e, Persist)]
    if not any(isinstance(e, PersistEntries | PersistSnapshot) for e in writes):
        return None
    common = agreement(before.log, after.log)
    for write in writes:
        match write:
            case PersistEntries(first_index=first_index, entries=entries):
                stored = splice(stored, first_index, entries)
            case PersistSnapshot(snapshot=snapshot):
                stored = compact(stored, snapshot)
            case _:
                continue
        end = last_index(stored)
        beginning = any(agreement(stored, log) == end for log in (before.log, after.log))
        if not beginning or end < common:
            return False
    return True


# --- What they rest on: single steps ------------------------------------------------------------


@always(title="Terms never decrease", paper="§5.1", thesis="D3.3; App. B Lemma 1")
def term_never_decreases(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """Current terms increase monotonically over time.

    Trap: a crash must not set the term back either. Non-vacuous: every step.
    """
    return after.current_term >= before.current_term


@always(title="One vote a term", paper="§5.2", thesis="D3.4")
def one_vote_per_term(before: Server, event: Event, after: Server, effects: Effects) -> bool | None:
    """Each server votes for at most one candidate in a given term.

    Trap: a vote that is forgotten can be given again; a step back to follower in the same term,
    or a restart, keeps it. Non-vacuous: a step within a term in which the server has voted.
    """
    if before.voted_for is None or after.current_term != before.current_term:
        return None
    return after.voted_for == before.voted_for


@always(title="Votes are recorded", paper="§5.2", thesis="D3.4")
def votes_are_recorded(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A server that grants its vote has recorded it, for the candidate to which it sends it.

    Trap: "one vote a term" speaks of what is recorded; a vote given and not recorded is free to be
    given again. Non-vacuous: every vote granted.
    """
    votes = [
        effect.to
        for effect in effects
        if isinstance(effect, Send)
        and isinstance(effect.message, RequestVoteResponse)
        and effect.message.vote_granted
    ]
    return all(after.voted_for == candidate for candidate in votes) if votes else None


@always(title="Elected by a quorum", paper="§5.2, §6", thesis="D3.4, D4.3")
def elected_by_a_quorum(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A leader has the votes of a quorum of the configuration in force.

    Trap: Election Safety sees a leader without a quorum only when a second one is elected.
    Non-vacuous: every election.
    """
    if not any(isinstance(effect, BecameLeader) for effect in effects):
        return None
    match before.role, event:
        case Candidate(votes_granted=votes), Receive(
            source=voter, message=RequestVoteResponse(vote_granted=True)
        ):
            return is_quorum(after.configuration, votes | {voter})
        case _, _:
            # It stood for election in this very step, and needed no other's vote.
            return after.current_term > before.current_term and is_quorum(
                after.configuration, {after.server_id}
            )


@always(title="Commit only by an entry of the leader's term", paper="§5.4.2", thesis="D3.6.2")
def commit_by_current_term(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """Only entries of the leader's current term are committed by counting replicas.

    Trap: older entries are committed too, but only below one of the current term (Figure 8).
    Non-vacuous: a leader advances its commit_index.
    """
    if not led(before, after) or after.commit_index <= before.commit_index:
        return None
    return term_at(after.log, after.commit_index) == after.current_term


@always(title="Followers commit what they are told", paper="Fig. 2, §5.3", thesis="D Fig. 3.1")
def followers_commit_as_told(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """Who is not the leader learns of commits from the leader alone, and no more than it says.

    Trap: State Machine Safety sees a commit that nobody counted only when it clashes with another.
    Non-vacuous: a server that does not lead advances its commit_index.
    """
    if led(before, after) or after.commit_index <= before.commit_index:
        return None
    match event:
        case Receive(message=AppendEntries() as request):
            return after.commit_index <= request.leader_commit
        case Receive(message=InstallSnapshot(snapshot=snapshot)):
            return after.commit_index <= snapshot.last_included_index
        case _:
            return False


@always(title="Commit index never decreases", paper="Fig. 2, §5.3", thesis="D Fig. 3.1")
def commit_index_never_decreases(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """commit_index increases monotonically, but for a restart, which forgets it.

    Non-vacuous: a step other than Restart of a server that knows of a committed entry.
    """
    if isinstance(event, Restart) or before.commit_index == 0:
        return None
    return after.commit_index >= before.commit_index


@always(title="match_index never decreases", paper="Fig. 2, §5.3", thesis="D Fig. 3.1")
def match_index_never_decreases(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """match_index increases monotonically while a leader leads.

    Trap: a late or doubled acknowledgement must not set it back. Non-vacuous: a leader that has
    been acknowledged stays leader.
    """
    match before.role, after.role:
        case Leader(match_index=old), Leader(match_index=new) if (
            before.current_term == after.current_term and any(old.values())
        ):
            return all(new[i] >= old[i] for i in old if i in new)
        case _:
            return None


@always(title="A rejection goes back", paper="§5.3", thesis="D3.5")
def rejection_goes_back(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """After a rejection the leader decrements nextIndex, by one or by more.

    Trap: a late rejection of another request must not raise it.
    Non-vacuous: a rejection changes a next_index.
    """
    match event, before.role, after.role:
        case Receive(source=source, message=AppendEntriesMismatch()), Leader(
            next_index=old
        ), Leader(next_index=new) if old != new and source in old:
            return new[source] < old[source]
        case _:
            return None


@always(title="Committed entries are never cut", paper="§5.3, §5.4.3", thesis="D3.5, App. B Thm. 1")
def committed_never_cut(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """No step changes an entry that the server knows to be committed.

    Non-vacuous: a step of a server that knows of a committed entry.
    """
    if before.commit_index == 0:
        return None
    return agreement(before.log, after.log) >= before.commit_index


@always(title="Acknowledge only what was verified", paper="§5.3", thesis="D3.5")
def acknowledge_only_verified(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """An AppendEntriesSuccess covers what its request carried, all of which the log then holds or
    its snapshot covers.

    Trap: entries beyond the request may be leftovers of another term. Non-vacuous: every success.
    """
    answers = [e.message for e in effects if isinstance(e, Send)]
    acknowledged = [m.match_index for m in answers if isinstance(m, AppendEntriesSuccess)]
    if not acknowledged:
        return None
    match event:
        case Receive(message=AppendEntries() as request):
            end = request.prev_log_index + len(request.entries)
            return (
                all(index <= end for index in acknowledged)
                and agrees_at(after.log, request.prev_log_index, request.prev_log_term)
                and first_conflict(after.log, request.prev_log_index, request.entries) is None
            )
        case Receive(message=InstallSnapshot(snapshot=snapshot)):
            end = snapshot.last_included_index
            known = agrees_at(after.log, end, snapshot.last_included_term)
            return all(index <= end for index in acknowledged) and known
        case _:
            return False


@always(title="Durable before sent", paper="Fig. 2, §5.1, §5.2", thesis="D Fig. 3.1, D3.8")
def durable_before_sent(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """Whatever of its persistent state a server changes is persisted before it sends, lets entries
    be applied, or answers.

    The persist effects of a step, carried out on what was stored, must give exactly the state
    that a restart would need, and none may come after a message.
    Trap: a vote that is only in memory is a second vote after a crash.
    Non-vacuous: every step that persists, sends, or changes the persistent state.
    """
    stored = (before.current_term, before.voted_for, before.log)
    needed = (after.current_term, after.voted_for, after.log)
    acted = False
    answered = False
    for effect in effects:
        match effect:
            case PersistTermAndVote(current_term=term, voted_for=vote):
                stored = (term, vote, stored[2])
            case PersistEntries(first_index=first_index, entries=entries):
                stored = (stored[0], stored[1], splice(stored[2], first_index, entries))
            case PersistSnapshot(snapshot=snapshot):
                stored = (stored[0], stored[1], compact(stored[2], snapshot))
            case (
                Send()
                | CommittedUpTo()
                | RestoreStateMachine()
                | ClientRequestAccepted()
                | ReadReady()
            ):
                answered = True
                acted = True
                continue
            case _:
                continue
        acted = True
        if answered:
            return False
    if not acted and stored == needed:
        return None
    return stored == needed


@always(title="An election timeout begins", paper="§5.2, §5.6", thesis="D3.4, D3.9")
def election_timeout_begins(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A server that stops leading, stands for election or restarts begins an election timeout.

    Trap: no state shows a missing timer, and in the model any server may time out at any moment, so
    only the effect tells that the driver is asked for one.
    Non-vacuous: every step that ends a leadership, begins a candidacy or is a restart.
    """
    stepped_down = isinstance(before.role, Leader) and not isinstance(after.role, Leader)
    stands = isinstance(event, ElectionTimeout) and after.current_term > before.current_term
    if not (stepped_down or stands or isinstance(event, Restart)):
        return None
    return ResetElectionTimer() in effects


# --- Elections that do not disrupt (§6, D4.2.3, D6.2, D9.6), leadership transfer (D3.10) ----------


@always(
    title="RequestVote does not disturb who hears a leader",
    paper="§6",
    thesis="D4.2.3",
    rule="check_quorum",
)
def leader_not_disrupted(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A server that has heard a leader since its last election timeout neither grants its vote nor
    changes its term on RequestVote.

    Trap: a leader hears itself; and an election that the leader asked for is not meant (D3.10).
    Non-vacuous: RequestVote reaches a server that hears a leader.
    """
    match event:
        case Receive(message=RequestVote(leadership_transfer=False)) if hears_leader(before):
            return after == before
        case _:
            return None


@always(
    title="A wanted election is not disregarded",
    paper="§6",
    thesis="D3.10, D4.2.3",
    rule="check_quorum",
)
def transfer_not_disregarded(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """RequestVote of an election that the leader asked for is heard even by who hears the leader.

    Trap: the leader itself must hear it, or it never steps down for its successor.
    Non-vacuous: such a RequestVote of a newer term.
    """
    match event:
        case Receive(message=RequestVote(leadership_transfer=True, term=term)) if (
            term > before.current_term
        ):
            return after.current_term == term
        case _:
            return None


@always(
    title="A leader is heard until the timeout",
    paper="§6",
    thesis="D4.2.3, D9.6",
    rule="check_quorum",
)
def leader_heard_until_timeout(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A follower that hears a leader has had AppendEntries or InstallSnapshot of it since its last
    election timeout, in this term and this life.

    Trap: what is forgotten too early protects nobody, what is kept too long lets nobody be elected.
    Non-vacuous: a follower that heard a leader before the step or hears it after.
    """
    if not isinstance(after.role, Follower):
        return None
    if any(isinstance(effect, HeardFromLeader) for effect in effects):
        return hears_leader(after)
    if not hears_leader(before) and not hears_leader(after):
        return None
    kept = isinstance(before.role, Follower) and before.current_term == after.current_term
    forgets = isinstance(event, ElectionTimeout | Restart) or not kept
    return hears_leader(after) is (hears_leader(before) and not forgets)


@always(
    title="A leader steps down unless a quorum answers",
    paper="§8",
    thesis="D6.2",
    rule="check_quorum",
)
def unanswered_leader_steps_down(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A leader steps down if an election timeout elapses without answers of a quorum, else not.

    Trap: without it, clients wait for ever for a leader that is cut off.
    Non-vacuous: an election timeout at a leader.
    """
    if not (isinstance(before.role, Leader) and isinstance(event, ElectionTimeout)):
        return None
    answered = before.role.answered or frozenset()
    return _leads_on(before, after) == is_quorum(
        before.configuration, answered | {before.server_id}
    )


@always(
    title="A leader counts only answers of its term",
    paper="§5.1",
    thesis="D6.2",
    rule="check_quorum",
)
def only_answers_are_counted(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """Who counts as having answered a leader has answered an AppendEntries or InstallSnapshot of
    its term since its last election timeout, or a quorum has.

    Trap: that a request was sent, or an answer of an older term, says nothing.
    Non-vacuous: the step of a leader after which another server counts.
    """
    if not isinstance(after.role, Leader):
        return None
    known: frozenset[ServerId] = frozenset()
    if isinstance(before.role, Leader):
        known = before.role.answered or frozenset()
    new = (after.role.answered or frozenset()) - known
    if not new:
        return None
    match event:
        case Receive(
            source=source,
            message=AppendEntriesSuccess(term=term) | AppendEntriesMismatch(term=term),
        ):
            counted = known | {source}
            return term == before.current_term and (
                new == {source} or is_quorum(before.configuration, counted | {before.server_id})
            )
        case _:
            return False


@always(title="A pre-vote changes nothing", paper="§5.2", thesis="D9.6", rule="pre_vote")
def pre_vote_changes_nothing(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """Who is asked for a pre-vote keeps its term, its vote and all else.

    Trap: a term that is adopted from a PreVote is the disruption that pre-votes are to prevent.
    Non-vacuous: every PreVote that arrives.
    """
    match event:
        case Receive(message=PreVote()):
            return after == before
        case _:
            return None


@always(title="Pre-votes are granted sparingly", paper="§5.4.1", thesis="D9.6", rule="pre_vote")
def pre_votes_are_earned(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A pre-vote is granted only for an up-to-date log, to no server of an older term, and only by
    a server that hears no leader.

    Trap: a leader hears itself. Non-vacuous: every pre-vote granted.
    """
    if not any(
        isinstance(effect, Send)
        and isinstance(effect.message, PreVoteResponse)
        and effect.message.vote_granted
        for effect in effects
    ):
        return None
    match event:
        case Receive(message=PreVote() as request):
            return (
                not hears_leader(before)
                and request.term >= before.current_term
                and is_up_to_date(
                    (request.last_log_term, request.last_log_index),
                    (last_term(before.log), last_index(before.log)),
                )
            )
        case _:
            return False


@always(
    title="Elections begin with a quorum of pre-votes", paper="§5.2", thesis="D9.6", rule="pre_vote"
)
def elections_are_promising(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A server stands for election only after a quorum said that it would vote for it, or because
    the leader wants it.

    Trap: votes of an election, refusals, and pre-votes of another term do not count.
    Non-vacuous: every election begun.
    """
    if after.voted_for != after.server_id or after.current_term == before.current_term:
        return None
    willing: frozenset[ServerId] = frozenset()
    if not isinstance(before.role, Leader):
        willing = before.role.pre_votes
    match event:
        case Receive(message=TimeoutNow()):
            return True
        case Receive(source=source, message=PreVoteResponse(term=term, vote_granted=True)):
            asked = term == before.current_term and not hears_leader(before)
            return asked and is_quorum(before.configuration, willing | {source, before.server_id})
        case ElectionTimeout():
            return is_quorum(before.configuration, {before.server_id})
        case _:
            return False


@always(title="Leadership goes to a server that has the log", paper="§5.4.1", thesis="D3.10")
def transferred_when_up_to_date(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A leader sends TimeoutNow only to the server to which it hands over, and only when that is
    known to have the leader's whole log.

    Trap: a target that lacks entries would lose its election, and the cluster its leader for
    nothing. Non-vacuous: every TimeoutNow sent.
    """
    targets = [e.to for e in effects if isinstance(e, Send) and isinstance(e.message, TimeoutNow)]
    if not targets:
        return None
    return isinstance(after.role, Leader) and all(
        to == after.role.transferring_to and after.role.match_index[to] == last_index(after.log)
        for to in targets
    )


@always(title="No commands during a transfer", paper="§5.3", thesis="D3.10")
def no_commands_during_transfer(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A leader that hands over accepts no commands.

    Trap: with every new command its successor would have to catch up again.
    Non-vacuous: commands reach a leader that hands over.
    """
    if transfer_target(before) is None or not isinstance(event, ClientRequest):
        return None
    return after == before and not any(isinstance(e, ClientRequestAccepted) for e in effects)


@always(title="A transfer ends with the timeout", paper="§5.2", thesis="D3.10")
def transfer_ends_with_timeout(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool | None:
    """A transfer that is not completed within an election timeout is aborted.

    Trap: the successor may be down, and until then the cluster takes no commands.
    Non-vacuous: an election timeout at a leader that hands over.
    """
    if transfer_target(before) is None or not isinstance(event, ElectionTimeout):
        return None
    return transfer_target(after) is None


# --- Witnesses ----------------------------------------------------------------------------------


@sometimes(
    title="A leader is elected",
    paper="§5.2",
    thesis="D3.4",
    needs=Needs(servers=1, terms=1, log_length=0),
)
def leader_elected(election: Elected) -> bool:
    """Some server wins an election."""
    return True


@sometimes(
    title="An entry is committed",
    paper="§5.3",
    thesis="D3.5",
    needs=Needs(servers=1, terms=1, log_length=1),
)
def entry_committed(commit: Committed) -> bool:
    """Some leader counts an entry as committed."""
    return True


@sometimes(
    title="A follower learns of a commit",
    paper="§5.3",
    thesis="D3.5",
    needs=Needs(servers=2, terms=1, log_length=1),
)
def follower_commits(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """A follower hears from its leader that an entry is committed."""
    return isinstance(after.role, Follower) and after.commit_index > before.commit_index


@sometimes(
    title="Two leaders at once",
    paper="§5.2, §8",
    thesis="D3.4",
    needs=Needs(servers=3, terms=2, log_length=0),
)
def two_leaders(a: Server, b: Server) -> bool:
    """An old leader has not yet heard of the new one, of a later term."""
    return isinstance(a.role, Leader) and isinstance(b.role, Leader)


@sometimes(
    title="A conflicting suffix is cut",
    paper="§5.3, Fig. 7",
    thesis="D3.5, Fig. 3.6",
    needs=Needs(servers=3, terms=2, log_length=1),
)
def conflict_truncated(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """A follower replaces entries that conflict with its leader's."""
    return agreement(before.log, after.log) < last_index(before.log)


@sometimes(
    title="An older entry is committed indirectly",
    paper="§5.4.2, Fig. 8",
    thesis="D3.6.2, Fig. 3.7",
    needs=Needs(servers=1, terms=2, log_length=2),
)
def older_entry_committed(commit: Committed) -> bool:
    """An entry of an older term is committed because one of the leader's own term is."""
    return commit.entry.term < commit.term


@sometimes(
    title="A rejected AppendEntries is retried further back",
    paper="§5.3",
    thesis="D3.5",
    needs=Needs(servers=2, terms=2, log_length=1),
)
def next_index_decremented(server: Server) -> bool:
    """A leader's next_index is at or below the end of its log, though it began above it."""
    match server.role:
        case Leader(next_index=next_index, match_index=match_index):
            return any(
                match_index[i] == 0
                and next_index[i] <= last_index(server.log)
                and term_at(server.log, next_index[i]) != server.current_term
                for i in next_index
            )
        case _:
            return False


@sometimes(
    title="A rejection skips more than one entry",
    paper="§5.3",
    thesis="D3.5",
    needs=Needs(servers=3, terms=2, log_length=2, backtracking=True),
)
def next_index_skips(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """A leader goes back by more than one entry at once."""
    match before.role, after.role:
        case Leader(next_index=old), Leader(next_index=new):
            return any(new[i] < old[i] - 1 for i in old if i in new)
        case _:
            return False


@sometimes(
    title="Followers commit an entry before its leader has stored it",
    paper="§5.3",
    thesis="D10.2.1",
    needs=Needs(servers=3, terms=1, log_length=1, parallel_write=True),
)
def committed_before_durable(server: Server) -> bool:
    """A leader knows an entry to be committed that its own disk may still lose."""
    return isinstance(server.role, Leader) and server.durable_index < server.commit_index


@sometimes(
    title="A crash loses a write",
    paper="§5.5",
    thesis="D10.2.1",
    needs=Needs(servers=2, terms=1, log_length=1, parallel_write=True),
)
def write_lost(before: ServerOnDisk, event: Event, after: ServerOnDisk, effects: Effects) -> bool:
    """A server starts again without entries that it had."""
    return isinstance(event, Restart) and last_index(after.server.log) < last_index(
        before.server.log
    )


@sometimes(
    title="A joint configuration is committed",
    paper="§6, Fig. 11",
    thesis="D4.3",
    needs=Needs(servers=2, terms=1, log_length=2, membership=True),
)
def joint_configuration_committed(commit: Committed) -> bool:
    """C_old,new is stored by majorities of C_old and of C_new."""
    payload = commit.entry.payload
    return isinstance(payload, Configuration) and payload.new is not None


@sometimes(
    title="A change is completed",
    paper="§6, Fig. 11",
    thesis="D4.3",
    needs=Needs(servers=2, terms=1, log_length=2, membership=True),
)
def change_completed(commit: Committed) -> bool:
    """C_new is committed."""
    return isinstance(commit.entry.payload, Configuration) and commit.configuration.new is None


@sometimes(
    title="A leader outside C_new steps down",
    paper="§6",
    thesis="D4.2.2",
    needs=Needs(servers=2, terms=1, log_length=2, membership=True),
)
def leader_outside_steps_down(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool:
    """The leader commits a configuration that it is not in, and becomes a follower."""
    return any(isinstance(effect, SteppedDown) for effect in effects)


@sometimes(
    title="A configuration is cut off again",
    paper="§6",
    thesis="D4.1",
    needs=Needs(servers=4, terms=2, log_length=2, membership=True),
)
def configuration_truncated(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """A conflict removes an entry with a configuration: the one before it is in force again."""
    return after.configuration_index < before.configuration_index


@sometimes(
    title="RequestVote is disregarded",
    paper="§6",
    thesis="D4.2.3",
    needs=Needs(servers=3, terms=2, log_length=0),
    rule="check_quorum",
)
def request_vote_disregarded(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """RequestVote of a newer term reaches a server that hears a leader, and changes nothing."""
    match event:
        case Receive(message=RequestVote(term=term)):
            return hears_leader(before) and term > before.current_term and after == before
        case _:
            return False


@sometimes(
    title="A removed server is disregarded",
    paper="§6",
    thesis="D4.2.3",
    needs=Needs(servers=3, terms=2, log_length=2, membership=True),
    rule="check_quorum",
)
def removed_server_disregarded(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool:
    """A server that is no member any more asks for votes; who hears the leader does not listen."""
    match event:
        case Receive(source=source, message=RequestVote(term=term)):
            return (
                source not in members(before.configuration)
                and bool(before.configuration_index)
                and hears_leader(before)
                and term > before.current_term
                and after == before
            )
        case _:
            return False


@sometimes(
    title="A leader that is not answered steps down",
    paper="§8",
    thesis="D6.2",
    needs=Needs(servers=2, terms=1, log_length=0),
    rule="check_quorum",
)
def leader_steps_down_unanswered(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool:
    """An election timeout ends a leadership."""
    return (
        isinstance(event, ElectionTimeout)
        and isinstance(before.role, Leader)
        and (isinstance(after.role, Follower))
    )


@sometimes(
    title="A pre-vote is refused because a leader is heard",
    paper="§6",
    thesis="D9.6",
    needs=Needs(servers=2, terms=2, log_length=0),
    rule="pre_vote",
)
def pre_vote_refused(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """The log of the sender is up-to-date and its term is not older, but there is a leader."""
    match event:
        case Receive(message=PreVote() as request):
            return (
                hears_leader(before)
                and request.term >= before.current_term
                and request.last_log_term >= last_term(before.log)
                and request.last_log_index >= last_index(before.log)
            )
        case _:
            return False


@sometimes(
    title="A transfer completes",
    paper="§5.2",
    thesis="D3.10",
    needs=Needs(servers=2, terms=2, log_length=0, transfer=True),
)
def transfer_completed(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """The server that was asked to lead wins its election."""
    elected = any(isinstance(effect, BecameLeader) for effect in effects)
    return elected and isinstance(before.role, Candidate) and before.role.transfer


@sometimes(
    title="A transfer is aborted",
    paper="§5.2",
    thesis="D3.10",
    needs=Needs(servers=2, terms=2, log_length=0, transfer=True),
)
def transfer_aborted(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """An election timeout passes, and the leader leads on."""
    return (
        transfer_target(before) is not None
        and isinstance(event, ElectionTimeout)
        and (isinstance(after.role, Leader))
    )


@sometimes(
    title="A command is refused during a transfer",
    paper="§5.3",
    thesis="D3.10",
    needs=Needs(servers=2, terms=2, log_length=1, transfer=True),
)
def transfer_holds_commands(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """A client asks a leader that hands over."""
    return transfer_target(before) is not None and isinstance(event, ClientRequest)


@sometimes(
    title="An added server votes",
    paper="§6",
    thesis="D4.2.1",
    needs=Needs(servers=3, terms=2, log_length=2, membership=True),
)
def added_server_votes(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """A server that began outside the cluster grants a vote."""
    return before.server_id not in members(before.first_configuration) and any(
        isinstance(effect, Send)
        and isinstance(effect.message, RequestVoteResponse)
        and effect.message.vote_granted
        for effect in effects
    )


@sometimes(
    title="A read is confirmed by a round",
    paper="§8",
    thesis="D6.4",
    needs=Needs(servers=2, terms=1, log_length=1),
    feature="reads",
)
def read_confirmed(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """A leader serves a read because a follower has answered."""
    confirmed = isinstance(event, Receive) and isinstance(
        event.message, AppendEntriesSuccess | AppendEntriesMismatch
    )
    return confirmed and any(isinstance(effect, ReadReady) for effect in effects)


@sometimes(
    title="A follower serves a read",
    paper="§8",
    thesis="D6.4",
    needs=Needs(servers=2, terms=1, log_length=1),
    feature="reads",
)
def follower_serves_read(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """A follower that has applied enough hears from the leader what a read must see."""
    match event:
        case Receive(message=ReadIndexResponse(read_index=index)):
            return isinstance(after.role, Follower) and after.commit_index >= index
        case _:
            return False


@sometimes(
    title="A deposed leader refuses a read",
    paper="§8",
    thesis="D6.4",
    needs=Needs(servers=2, terms=2, log_length=1),
    feature="reads",
)
def deposed_leader_refuses_read(
    before: Server, event: Event, after: Server, effects: Effects
) -> bool:
    """A leader hears of a newer term while a read waits."""
    return after.current_term > before.current_term and any(
        isinstance(effect, ReadRefused) for effect in effects
    )


@sometimes(
    title="A read shows what was known before",
    paper="§8",
    thesis="D6.4",
    needs=Needs(servers=1, terms=1, log_length=1),
    feature="reads",
)
def read_shows_known(before: Client, message: ToClient, after: Client) -> bool:
    """A client that knows of a committed entry gets an answer to its read."""
    return isinstance(message, ReadAnswer) and is_awaited(before, message) and bool(before.floor)


@sometimes(
    title="A retried command is in the log twice",
    paper="§8",
    thesis="D6.3",
    needs=Needs(servers=1, terms=1, log_length=2),
    feature="sessions",
)
def retry_deduplicated(server: Server) -> bool:
    """A server has applied two entries with the same command; only one had an effect."""
    applied = entries_from(server.log, Index(base_index(server.log) + 1))
    applied = applied[: server.commit_index - base_index(server.log)]
    commands = [e.payload.request_id for e in applied if isinstance(e.payload, ClientCommand)]
    return len(set(commands)) < len(commands)


@sometimes(
    title="A client learns the result",
    paper="§8",
    thesis="D6.3",
    needs=Needs(servers=1, terms=1, log_length=1),
    feature="sessions",
)
def command_answered(answer: Answered) -> bool:
    """A command is applied, and its client told."""
    return True


@sometimes(
    title="A command fails",
    paper="§8",
    thesis="D6.3",
    needs=Needs(servers=3, terms=2, log_length=1),
    feature="sessions",
)
def command_failed(failure: Failed) -> bool:
    """Another leader's entry takes the place of a client's command."""
    return True


@sometimes(
    title="A snapshot is installed",
    paper="§7, Fig. 13",
    thesis="D5.1",
    needs=Needs(servers=3, terms=1, log_length=1, snapshot=True),
)
def snapshot_installed(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """A follower that is too far behind gets the leader's snapshot."""
    return isinstance(event, Receive) and after.log.snapshot != before.log.snapshot


@sometimes(
    title="An older snapshot arrives",
    paper="§7",
    thesis="D5.1",
    needs=Needs(servers=3, terms=1, log_length=1, snapshot=True),
)
def older_snapshot_arrives(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """A snapshot arrives late, or once more."""
    match event:
        case Receive(message=InstallSnapshot(term=term)):
            return term == before.current_term and after.log == before.log
        case _:
            return False


@sometimes(
    title="A suffix outlives a snapshot",
    paper="§7, Fig. 13",
    thesis="D5.1",
    needs=Needs(servers=3, terms=1, log_length=2, snapshot=True),
)
def suffix_kept(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """The follower had entries after the last one that the snapshot covers."""
    return snapshot_installed(before, event, after, effects) and bool(after.log.entries)


@sometimes(
    title="A snapshot discards a conflicting log",
    paper="§7, Fig. 13",
    thesis="D5.1",
    needs=Needs(servers=3, terms=2, log_length=1, snapshot=True),
)
def conflict_discarded(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """The follower had another entry where the snapshot ends."""
    return snapshot_installed(before, event, after, effects) and agreement(
        before.log, after.log
    ) < base_index(after.log) <= last_index(before.log)


@sometimes(
    title="A snapshot brings a configuration",
    paper="§6, §7",
    thesis="D4.1, D5.1",
    needs=Needs(servers=3, terms=1, log_length=2, membership=True, snapshot=True),
)
def configuration_installed(before: Server, event: Event, after: Server, effects: Effects) -> bool:
    """A follower learns of a configuration whose entry is discarded already."""
    return (
        snapshot_installed(before, event, after, effects)
        and after.configuration != before.configuration
    )


# --- Shared by the claims -----------------------------------------------------------------------


def _leads_on(before: Server, after: Server) -> bool:
    """The server leads the same term before and after the step."""
    return (
        isinstance(before.role, Leader)
        and isinstance(after.role, Leader)
        and before.current_term == after.current_term
    )


def _has(log: Log, commit: Committed) -> bool:
    """The log has the committed entry at its place, or a snapshot that covers it."""
    if commit.index <= base_index(log):
        return agrees_at(log, commit.index, commit.entry.term)
    return entry_at(log, commit.index) == commit.entry


def _first_configuration(server: Server) -> Configuration:
    """The configuration before the first entry that the log still has."""
    snapshot = server.log.snapshot
    return server.first_configuration if snapshot is None else snapshot.configuration


def _logs_match(a: Log, b: Log) -> bool | None:
    """Log Matching of two logs; ``None`` when they share no (index, term)."""
    start = max(base_index(a), base_index(b), 1)
    end = min(last_index(a), last_index(b))
    both = map(Index, range(end, start - 1, -1))
    shared = next((index for index in both if term_at(a, index) == term_at(b, index)), None)
    return None if shared is None else agreement(a, b) >= shared


def _slice_matches(log: Log, request: AppendEntries) -> bool | None:
    """Log Matching of a log and the entries of a request; ``None`` when they share nothing."""
    terms = [request.prev_log_term, *(entry.term for entry in request.entries)]
    shared = [
        offset
        for offset, term in enumerate(terms)
        if request.prev_log_index + offset >= max(base_index(log), 1)
        and term_at(log, Index(request.prev_log_index + offset)) == term
    ]
    if not shared:
        return None
    upto = shared[-1]
    return agrees_at(log, request.prev_log_index, request.prev_log_term) and all(
        entry_at(log, Index(request.prev_log_index + offset)) == request.entries[offset - 1]
        for offset in range(1, upto + 1)
        if request.prev_log_index + offset > base_index(log)
    )
