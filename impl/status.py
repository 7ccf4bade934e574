"""What a node says of itself: one value for the command line, the HTTP port and the metrics."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass

from spec.state import Index, ServerId, Term


def version() -> str:
    """The version that runs."""
    try:
        return importlib.metadata.version("checked-raft")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatus:
    """How one other member looks from here."""

    member: ServerId
    address: str
    connected: bool
    problem: str = ""
    """Why it cannot be reached, in words; empty while it can."""
    match_index: Index | None = None
    """How far it is known to have the log; known to a leader only."""
    lag: int | None = None
    """Entries that it lacks of the leader's log; known to a leader only."""
    heard_s: float | None = None
    """Seconds since it was last heard; ``None`` if never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One node at one moment."""

    member: ServerId
    cluster: str
    version: str
    uptime_s: float
    role: str
    """``follower``, ``candidate`` (or standing for one), ``leader``."""
    term: Term
    leader: ServerId | None
    members: tuple[ServerId, ...]
    """The members in force here, committed or not; of both configurations while joint."""
    joint: bool
    """Is a membership change under way?"""
    learners: tuple[ServerId, ...] = ()
    """Who is catching up to become a member; known to a leader only."""
    commit_index: Index
    applied_index: Index
    last_index: Index
    snapshot_index: Index
    log_bytes: int
    """Size of the files in the data directory."""
    clients: int
    queued: int
    """Commands of clients that wait for an answer."""
    quorum_contact_s: float | None
    """Seconds since contact with a quorum: a leader's answers, a follower's leader; or never."""
    stopped: str = ""
    """Why the node serves no more, such as a disk that failed; empty while it does."""
    peers: tuple[PeerStatus, ...] = ()
