"""Random histories: every event at any server at any time, every message ever sent may arrive.

Messages are lost by never arriving, doubled by arriving again, and reordered by arriving in any
order. The claims about steps are checked in every step, the others after every rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import get_args

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from spec.cluster import remembered
from spec.disk import ServerOnDisk
from spec.events import (
    ChangeLearners,
    ChangeMembership,
    Effects,
    ElectionTimeout,
    Event,
    HeartbeatTimeout,
    PersistEntries,
    ReadRequest,
    Receive,
    Replicate,
    Restart,
    RetryTimeout,
    Send,
    TakeSnapshot,
    TransferLeadership,
)
from spec.invariants import PROPERTIES
from spec.log import base_index, splice
from spec.messages import AppendEntries, AppendEntriesSuccess, InstallSnapshot, RequestVote
from spec.raft import PAPER, SERVER, Options, step
from spec.state import ClientId, Follower, Index, RequestId, Server, ServerId, Term
from tests.cluster import (
    KINDS,
    S1,
    S2,
    S3,
    ClaimBroken,
    Cluster,
    Packet,
    Shape,
    Step,
    client_request,
)

RANDOM = settings(
    max_examples=30,
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
)
REPEATABLE = settings(RANDOM, derandomize=True, max_examples=60, phases=[Phase.generate])

# Drawn from the machine that runs: ``runner`` is the machine.
ANYONE = st.runner().flatmap(lambda machine: st.sampled_from(sorted(machine.cluster.servers)))
A_LEADER = st.runner().flatmap(
    lambda machine: st.sampled_from(
        [i for i in machine.cluster.servers if machine.cluster.leads(i)] or [S1]
    )
)
ANY_PACKET = st.runner().flatmap(lambda machine: st.sampled_from(list(machine.cluster.network)))
A_SNAPSHOT = st.runner().flatmap(
    lambda machine: st.sampled_from(
        [p for p in machine.cluster.network if isinstance(p.message, InstallSnapshot)]
        or list(machine.cluster.network)
    )
)
SOME = st.sets(ANYONE)
COMMANDS = st.lists(st.sampled_from("xyz"), min_size=1, max_size=2)


FRESH = settings(REPEATABLE, derandomize=False)
RARE = {"older_snapshot_ignored"}
"""What so few histories seldom come to: a snapshot that arrives too late. Section 7's tests do."""

once_begun = precondition(lambda machine: machine.cluster.network)
"""Nothing can come of a history before its first election: spend no example on it."""


class ClusterMachine(RuleBasedStateMachine):
    """A cluster to which anything may happen."""

    new_cluster: Callable[[], Cluster] = Cluster

    def __init__(self) -> None:
        super().__init__()
        self.cluster = self.new_cluster()

    def happen(self, server_id: ServerId, event: Event, heard_by: set[ServerId]) -> None:
        """The event, and then all that the server and those who hear it say to each other."""
        self.cluster.take_step(server_id, event)
        self.cluster.exchange(server_id, *sorted(heard_by))

    @rule(server_id=ANYONE, heard_by=SOME)
    def time_out(self, server_id: ServerId, heard_by: set[ServerId]) -> None:
        """No leader was heard for an election timeout."""
        self.happen(server_id, ElectionTimeout(), heard_by)

    @once_begun
    @rule(server_id=A_LEADER | ANYONE, heard_by=SOME)
    def heartbeat(self, server_id: ServerId, heard_by: set[ServerId]) -> None:
        """It is time to assert one's authority."""
        self.happen(server_id, HeartbeatTimeout(), heard_by)

    @once_begun
    @rule(server_id=A_LEADER | ANYONE, heard_by=SOME)
    def retry(self, server_id: ServerId, heard_by: set[ServerId]) -> None:
        """Requests were not answered in time."""
        self.happen(server_id, RetryTimeout(), heard_by)

    @once_begun
    @rule(server_id=A_LEADER, to=ANYONE, first=st.integers(1, 6), count=st.integers(0, 2))
    def replicate(self, server_id: ServerId, to: ServerId, first: int, count: int) -> None:
        """There is room for some entries."""
        event = Replicate(to=to, first_index=Index(first), count=count)
        self.happen(server_id, event, {to} - {server_id})

    @once_begun
    @rule(server_id=A_LEADER | ANYONE, commands=COMMANDS, heard_by=SOME)
    def client(self, server_id: ServerId, commands: list[str], heard_by: set[ServerId]) -> None:
        """Clients ask anyone, but more often a leader."""
        self.happen(server_id, client_request(*commands), heard_by)

    @once_begun
    @rule(server_id=A_LEADER | ANYONE, number=st.integers(1, 3), heard_by=SOME)
    def read(self, server_id: ServerId, number: int, heard_by: set[ServerId]) -> None:
        """Clients ask anyone for a read, perhaps again."""
        read_id = RequestId(client_id=ClientId(9), serial_number=number)
        self.happen(server_id, ReadRequest(read_id=read_id), heard_by)

    @once_begun
    @rule(server_id=A_LEADER | ANYONE, members=st.sets(ANYONE, min_size=1), heard_by=SOME)
    def change(self, server_id: ServerId, members: set[ServerId], heard_by: set[ServerId]) -> None:
        """Administrators ask anyone, but more often a leader."""
        self.happen(server_id, ChangeMembership(members=frozenset(members)), heard_by)

    @once_begun
    @rule(server_id=A_LEADER | ANYONE, to=ANYONE, heard_by=SOME)
    def transfer(self, server_id: ServerId, to: ServerId, heard_by: set[ServerId]) -> None:
        """Administrators ask anyone to let somebody else lead, but more often a leader."""
        self.happen(server_id, TransferLeadership(to=to), heard_by)

    @once_begun
    @rule(server_id=A_LEADER, learners=st.sets(ANYONE))
    def learn(self, server_id: ServerId, learners: set[ServerId]) -> None:
        """Administrators have servers brought up to date."""
        event = ChangeLearners(learners=frozenset(learners - {server_id}))
        self.happen(server_id, event, learners - {server_id})

    @once_begun
    @rule(server_id=A_LEADER | ANYONE, fewer=st.integers(0, 2), heard_by=SOME)
    def snapshot(self, server_id: ServerId, fewer: int, heard_by: set[ServerId]) -> None:
        """Anyone may take a snapshot of what it has applied; who lacks it then hears of it."""
        server = self.cluster.servers[server_id]
        upto = Index(server.commit_index - fewer)
        if upto > base_index(server.log):
            data = remembered(server.log, upto)
            self.happen(server_id, TakeSnapshot(last_included_index=upto, data=data), set())
        self.happen(server_id, RetryTimeout(), heard_by)

    @once_begun
    @rule(server_id=ANYONE)
    def restart(self, server_id: ServerId) -> None:
        """Anyone may crash."""
        self.happen(server_id, Restart(), set())

    @once_begun
    @rule(packet=A_SNAPSHOT | ANY_PACKET)
    def deliver(self, packet: Packet) -> None:
        """Any message may arrive, late or again."""
        self.happen(packet.to, packet.arrives(), set())

    @once_begun
    @rule()
    def lose(self) -> None:
        """What is in flight is not in time; it may still arrive later."""
        self.cluster.lose()

    @invariant()
    def present(self) -> None:
        """The claims about servers."""
        self.cluster.check(Shape.PRESENT)

    @invariant()
    def history(self) -> None:
        """The claims about what has ever happened."""
        self.cluster.check(Shape.HISTORY)

    @invariant()
    def present_and_history(self) -> None:
        """The claims about what has ever happened and servers."""
        self.cluster.check(Shape.PRESENT_AND_HISTORY)


def machine(
    size: int, options: Options, step: Step = step, outside: int = 0
) -> type[ClusterMachine]:
    """The machine for clusters of this kind."""

    class Machine(ClusterMachine):
        new_cluster = staticmethod(partial(Cluster, size, options, step, outside))

    return Machine


@pytest.mark.parametrize("options", [PAPER, SERVER], ids=["paper", "server"])
@pytest.mark.parametrize(("size", "outside"), [(3, 0), (5, 0), (3, 2)])
def test_claims_hold_whatever_happens(size: int, outside: int, options: Options) -> None:
    run_state_machine_as_test(machine(size, options, outside=outside), settings=RANDOM)


@pytest.mark.parametrize("options", [PAPER, SERVER], ids=["paper", "server"])
def test_machine_brings_about_every_event_and_applies_every_property(options: Options) -> None:
    events: set[type] = set()
    clusters: list[Cluster] = []

    def watched(options: Options, server: Server, event: Event) -> tuple[Server, Effects]:
        events.add(type(event))
        return step(options, server, event)

    class Watched(ClusterMachine):
        def new_cluster(self) -> Cluster:
            clusters.append(Cluster(3, options, watched, outside=1))
            return clusters[-1]

    on_disks = {name for name, kinds in KINDS.items() if ServerOnDisk in kinds}
    in_force = {claim.name for claim in PROPERTIES if claim.in_force(options) and not claim.feature}
    applied: set[str] = set()
    for chosen in (REPEATABLE, FRESH, FRESH):
        run_state_machine_as_test(Watched, settings=chosen)
        applied = {name for cluster in clusters for name in +cluster.applied}
        if in_force - on_disks - RARE <= applied:
            break
    assert events == set(get_args(Event))
    assert in_force - on_disks - RARE <= applied
    assert {"leader_elected", "entry_committed", "follower_commits"} <= applied


def test_the_same_cluster_elects_and_commits_when_messages_arrive() -> None:
    cluster = Cluster()
    cluster.time_out(S1)
    cluster.exchange(S1, S2, S3)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2, S3)
    assert cluster.leads(S1)
    assert cluster.servers[S1].commit_index == 1
    assert cluster.applied["leader_elected"]
    assert cluster.applied["entry_committed"]


# --- Sabotage: the same machine, one rule broken ------------------------------------------------


def votes_for_everyone(options: Options, server: Server, event: Event) -> tuple[Server, Effects]:
    """Followers grant votes without looking at voted_for (§5.2)."""
    match event:
        case Receive(message=RequestVote(term=term)) if (
            term == server.current_term and server.role == Follower()
        ):
            server = replace(server, voted_for=None)
    return step(options, server, event)


def votes_for_any_log(options: Options, server: Server, event: Event) -> tuple[Server, Effects]:
    """Votes are granted to logs that are not up-to-date (§5.4.1)."""
    match event:
        case Receive(source=source, message=RequestVote() as request):
            last = Index(99)
            asked = replace(request, last_log_term=Term(99), last_log_index=last)
            return step(options, server, Receive(source=source, message=asked))
    return step(options, server, event)


def always_truncates(options: Options, server: Server, event: Event) -> tuple[Server, Effects]:
    """A follower drops what follows the request's entries, conflict or not (§5.3)."""
    after, effects = step(options, server, event)
    match event:
        case Receive(message=AppendEntries(prev_log_index=prev, entries=entries)) if any(
            isinstance(e, Send) and isinstance(e.message, AppendEntriesSuccess) for e in effects
        ):
            end = prev + len(entries)
            if end < base_index(after.log):
                return after, effects
            after = replace(after, log=splice(after.log, Index(end + 1), ()))
            effects = (PersistEntries(first_index=Index(end + 1), entries=()), *effects)
            return after, effects
    return after, effects


def forgets_its_vote(options: Options, server: Server, event: Event) -> tuple[Server, Effects]:
    """A restart loses voted_for (Figure 2)."""
    after, effects = step(options, server, event)
    return (replace(after, voted_for=None) if event == Restart() else after), effects


def believes_leader_commit(
    options: Options, server: Server, event: Event
) -> tuple[Server, Effects]:
    """A follower commits up to leaderCommit, whatever it has (Figure 2)."""
    after, effects = step(options, server, event)
    match event:
        case Receive(message=AppendEntries(term=term, leader_commit=commit)) if (
            term == after.current_term
        ):
            return replace(after, commit_index=max(after.commit_index, commit)), effects
    return after, effects


@pytest.mark.parametrize(
    ("sabotaged", "claim"),
    [
        (votes_for_everyone, "One vote a term"),
        (votes_for_any_log, "Leader Completeness|No other can be elected"),
        (always_truncates, "match_index is truthful|Committed entries are"),
        (forgets_its_vote, "One vote a term|Durable before sent"),
        (
            believes_leader_commit,
            "Commit index within the log|State Machine Safety|state machine can follow",
        ),
    ],
)
def test_machine_catches_a_broken_rule(sabotaged: Step, claim: str) -> None:
    with pytest.raises(ClaimBroken, match=claim):
        run_state_machine_as_test(machine(3, PAPER, sabotaged), settings=REPEATABLE)
