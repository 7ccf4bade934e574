"""Figure 2, the RPCs: one class per request and per kind of answer, never one struct for all.

A message carries its sender's ``term`` (but see PreVoteResponse); who sent it to whom is known to
the network. Requests name their sender too, because the paper does. There are three answers to
AppendEntries where the paper has one boolean (see the list of deviations in ``spec/__init__.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

from spec.state import NO_ROUND, Entry, Index, RequestId, Round, ServerId, Snapshot, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVote:
    """Invoked by candidates to gather votes (§5.2)."""

    term: Term
    candidate_id: ServerId
    last_log_index: Index
    last_log_term: Term
    leadership_transfer: bool = False
    """Does the leader itself want this election (D3.10)? Then it is not disregarded (D4.2.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVoteResponse:
    """Answer to a RequestVote of the voter's own term."""

    term: Term
    vote_granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PreVote:
    """Invoked by servers that want to begin an election, to learn whether they could win (D9.6).

    ``term`` is the sender's, which stays as it is; the election would be for the next one.
    """

    term: Term
    candidate_id: ServerId
    last_log_index: Index
    last_log_term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class PreVoteResponse:
    """Answer to a PreVote that is not of an older term; no vote, and nothing is remembered of it.

    ``term`` is that of the request, whatever the answering server's own is: a pre-vote changes
    nobody's term.
    """

    term: Term
    vote_granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendEntries:
    """Invoked by the leader to replicate entries; also its heartbeat (§5.2, §5.3).

    ``entries`` follow ``prev_log_index``; any slice of the leader's log is lawful.
    """

    term: Term
    leader_id: ServerId
    prev_log_index: Index
    prev_log_term: Term
    entries: tuple[Entry, ...]
    leader_commit: Index
    round: Round = NO_ROUND
    """The round of heartbeats to which it belongs (D6.4), if a read waits for its answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSnapshot:
    """Invoked by the leader to send a snapshot to a follower that is too far behind (§7)."""

    term: Term
    leader_id: ServerId
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendEntriesSuccess:
    """The follower's log equals the leader's up to ``match_index``."""

    term: Term
    match_index: Index
    round: Round = NO_ROUND
    """That of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendEntriesMismatch:
    """The follower has no entry at ``prev_log_index`` with the ``prev_log_term`` of the request."""

    term: Term
    prev_log_index: Index
    retry_from: Index
    """The next_index to try: one less than that of the request, or still less (§5.3)."""
    round: Round = NO_ROUND
    """That of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutNow:
    """The leader wants the receiver, which has its whole log, to lead instead (D3.10)."""

    term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleTerm:
    """Answer to any request of an older term: "your term is over, this is the newer one" (§5.1)."""

    term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadIndexRequest:
    """A follower asks the leader up to where it must have applied to serve a read (D6.4).

    Only a leader of that term answers.
    """

    term: Term
    read_id: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadIndexResponse:
    """The leader led when the request had arrived; the read must see ``read_index``."""

    term: Term
    read_id: RequestId
    read_index: Index


Request = RequestVote | PreVote | AppendEntries | InstallSnapshot | TimeoutNow | ReadIndexRequest
Response = (
    RequestVoteResponse
    | PreVoteResponse
    | AppendEntriesSuccess
    | AppendEntriesMismatch
    | StaleTerm
    | ReadIndexResponse
)
Message = Request | Response
