"""How much of Raft is explored: bounds, each local to one process, and what each one hides."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from model_check.model import show
from spec.invariants import Claim
from spec.raft import PAPER, SERVER, Options
from spec.state import ServerId

PROFILES = {"paper": PAPER, "server": SERVER}
FEATURES = (
    "membership",
    "learners",
    "pre-vote",
    "transfer",
    "single-server",
    "parallel-write",
    "snapshot",
    "reads",
    "sessions",
)
"""What can be switched on beyond a profile: events of the environment, or rules."""
TOGETHER = tuple(f for f in FEATURES if f not in ("learners", "single-server"))
"""All that can be at once; of the ways to change the membership only joint consensus."""
DISK_AT_ONCE = (
    "disks: every write is durable at once, and the server told so; hides crashes that lose "
    "writes (--with parallel-write)"
)


def options_of(profile: str, features: Set[str]) -> Options:
    """The rules in force.

    ``pre-vote`` is a feature that is rules alone (D9.6, D6.2), ``single-server`` one that is the
    rule and its requests (D4.1).
    """
    options = PROFILES[profile]
    if "pre-vote" in features:
        options = replace(options, pre_vote=True, check_quorum=True)
    if "single-server" in features:
        options = replace(options, single_server_changes=True)
    return options


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How large a cluster, how high the terms and how long the logs that are explored."""

    servers: int
    terms: int
    log_length: int

    def sentences(self) -> tuple[str, ...]:
        """Each bound, and what it hides."""
        return (
            f"servers {self.servers}: hides what only shows in other, above all larger, clusters",
            f"terms 0 to {self.terms}: a server in term {self.terms} starts no election; hides "
            "what needs more elections in a row",
            f"log length {self.log_length}: a leader whose log is full takes no command and no "
            "no-op, yet is elected and replicates; hides what needs longer logs",
        )

    def reach(self, claim: Claim, members: int, places: int) -> bool:
        """Can a witness show in a cluster of ``members`` whose logs have so many ``places``?"""
        needs = claim.needs
        return needs is None or (
            members + needs.membership >= needs.servers
            and self.terms >= needs.terms
            and places >= needs.log_length
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Which membership changes are asked for (§6), and how often."""

    changes: int = 1
    """Begun changes in one log, at most."""
    targets: tuple[frozenset[ServerId], ...] | None = None
    """What is asked for at any time; ``None``: to replace any one member by any other server."""
    learners: bool = False
    """Is a leader asked, once, to replicate to any one server outside, without a change?"""
    one_server: bool = False
    """Is it asked to add or remove any one server, of a cluster of all servers at first (D4.1)?"""

    def targets_from(
        self, members: frozenset[ServerId], servers: Sequence[int]
    ) -> Sequence[frozenset[ServerId]]:
        """What an administrator may ask for when ``members`` are the cluster."""
        if self.targets is not None:
            return self.targets
        outside = [ServerId(i) for i in servers if i not in members]
        if self.one_server:
            smaller = [members - {old} for old in sorted(members) if len(members) > 1]
            return [*smaller, *(members | {new} for new in outside)]
        return [members - {old} | {new} for old in sorted(members) for new in outside]

    def sentence(self, first: Sequence[int]) -> str:
        """What is asked for, and what that hides."""
        what = "replace any one member by any other server"
        if self.one_server:
            what = "add or remove any one server"
        if self.targets is not None:
            what = " or ".join(f"make it {show(target)}" for target in self.targets)
        return (
            f"membership: the cluster begins as {show(frozenset(first))}, administrators ask to "
            f"{what}, at most {self.changes} begun in one log, in which a place is kept for each "
            "C_new; hides what needs other or more changes"
            + self.learners
            * "; a leader may be asked, once, to bring one server outside up to date"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelWrite:
    """How servers write to disk while they go on (D10.2.1)."""

    pending: int = 2
    """Writes of one server that are not durable yet, at most."""
    settled: bool = True
    """Do writes complete at once at servers that lead nobody (see ``raft_disks``)?"""

    def sentence(self) -> str:
        """What is bounded, and what that hides."""
        return (
            f"pending writes {self.pending}: a leader with so many writes that are not durable "
            "takes no step that writes; hides what needs more of them at once"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientBounds:
    """How many clients there are (§8), and what each of them does."""

    clients: int = 1
    reads: int = 0
    """Reads that each client begins, at most; 0: clients do not read."""
    commands: int = 0
    """Commands with a serial number that each begins; 0: commands come from nowhere instead."""
    rounds: int = 1
    """Rounds of heartbeats that a leader begins for reads in its term, at most."""

    def in_short(self) -> str:
        """What there is, for tables."""
        counts = (("clients", self.clients), ("reads", self.reads), ("commands", self.commands))
        return ", ".join(f"{name} {count}" for name, count in counts if count)

    def has(self, feature: str) -> bool:
        """Is the feature asked for?"""
        return bool({"reads": self.reads, "sessions": self.commands}.get(feature))

    def sentences(self) -> tuple[str, ...]:
        """What clients do, and what that hides."""
        found = []
        if self.reads:
            found.append(
                f"reads: {self.clients} client(s) with {self.reads} read(s) each, one at a time, "
                f"asked of all servers; a leader begins {self.rounds} round(s) of heartbeats for "
                "them in a term; hides what needs more of them"
            )
        if self.commands:
            found.append(
                f"sessions: {self.clients} client(s) with {self.commands} command(s) each, one at "
                "a time, each asked of all servers and again; there are no others; hides what "
                "needs more of them"
            )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshots:
    """Which snapshots servers take (§7)."""

    count: int = 1
    """A server takes one while its own snapshot covers fewer entries: hence so many, at most."""

    def sentence(self) -> str:
        """What is taken, and what that hides."""
        return (
            "snapshots: of any committed entries, at any time, by a server whose snapshot covers "
            f"fewer than {self.count}; hides what needs more in a row"
        )
