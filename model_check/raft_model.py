"""Raft as a model: the rules of ``spec`` within finite bounds, and all that a feature brings.

Every bound is local to one process, so that the system stays monotone; what each one hides is said
in ``raft_bounds``, and every run prints that first. A process is of one kind for ever, a server or
another ``Part``: what it does stands in a file of its own, what claims see of it in
``raft_claims``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any, get_args

import spec.clients
from model_check import raft_claims, raft_goals
from model_check.model import AnyState, Goal, Model, Outcome, Property, Witness, show
from model_check.raft_bounds import (
    DISK_AT_ONCE,
    FEATURES,
    PROFILES,
    TOGETHER,
    Bounds,
    ClientBounds,
    Membership,
    ParallelWrite,
    Snapshots,
    options_of,
)
from model_check.raft_claims import server_in
from model_check.raft_clients import (
    BeginCommand,
    BeginRead,
    ClientAction,
    Clients,
    ServersOfClients,
)
from model_check.raft_disks import DISK_RULES, DiskRules, ServersOnDisks, in_any_order
from model_check.raft_doubts import judged_before_doubts
from model_check.raft_renaming import rename
from model_check.raft_servers import Part, Servers, Step
from spec.clients import (
    Acknowledged,
    AwaitCommand,
    Client,
    ClientMessage,
    CommandAccepted,
    CommandAnswer,
    InvokeCommand,
    InvokeRead,
    ReadAnswer,
)
from spec.disk import Crash, DiskEvent, ServerOnDisk
from spec.events import (
    ChangeLearners,
    ChangeMembership,
    ClientRequest,
    DurableUpTo,
    Event,
    ReadRequest,
    Receive,
    Replicate,
    Restart,
    TakeSnapshot,
    TransferLeadership,
)
from spec.invariants import Claim
from spec.log import last_index
from spec.messages import (
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteResponse,
    ReadIndexRequest,
    ReadIndexResponse,
    TimeoutNow,
)
from spec.raft import step
from spec.sessions import ClientCommand
from spec.state import (
    Command,
    Configuration,
    Entry,
    IndexOf,
    Log,
    NoOp,
    RequestId,
    Server,
    ServerId,
    Snapshot,
)

__all__ = [
    "FEATURES",
    "PROFILES",
    "TOGETHER",
    "Bounds",
    "Membership",
    "ParallelWrite",
    "RaftModel",
    "Snapshots",
    "State",
    "Step",
]

WITH_BOUNDS = ("membership", "learners", "parallel-write", "snapshot", "reads", "sessions")
"""Features that have bounds of their own."""
State = Any
"""What a process of the model is: a server, one with a disk, or what a feature brings."""


class RaftModel(Model[State, Any, Any, Any]):
    """A cluster of ``bounds.servers`` servers that all run ``step`` with the same options."""

    def __init__(
        self,
        bounds: Bounds,
        profile: str = "paper",
        rules: Step = step,
        membership: Membership | None = None,
        more: Sequence[Property] = (),
        parallel_write: ParallelWrite | None = None,
        disk_rules: DiskRules = DISK_RULES,
        features: Set[str] = frozenset(),
        clients: ClientBounds | None = None,
        owed: ModuleType = spec.clients,
        snapshots: Snapshots | None = None,
        doubts: bool = False,
    ) -> None:
        """Explore ``rules`` (those of ``spec``, or a sabotage of them) under a profile.

        With ``membership`` the last server is not in the cluster at first. ``more`` properties are
        judged besides the claims of ``spec``. With ``parallel_write`` each server has a disk that
        writes while the server goes on; without, every write is durable at once. ``features`` are
        those of ``FEATURES`` that need no bounds of their own. With ``clients``
        there are processes that ask the servers, whose drivers answer by the rules of ``owed``.
        With ``doubts`` servers with pre-votes and check-quorum doubt at once (``raft_doubts``).
        """
        self._again = partial(
            RaftModel,
            bounds,
            profile,
            rules,
            membership,
            more,
            parallel_write,
            disk_rules,
            features,
            clients=clients,
            owed=owed,
            snapshots=snapshots,
        )
        self.features = tuple(f for f in FEATURES if f in features and f not in WITH_BOUNDS)
        self.name = " with ".join((f"Raft, {profile} profile", *self.features))
        self.bounds = bounds
        self.profile = profile
        self.options = options_of(profile, features)
        self.membership = membership
        self.more = more
        self.clients = clients or ClientBounds(clients=0)
        self.parallel_write = parallel_write
        self.snapshots = snapshots
        if parallel_write:
            self.options = replace(self.options, parallel_write=True)
        transfer = "transfer" in features
        doubts &= self.options.pre_vote and self.options.check_quorum and not parallel_write
        self._servers = (
            ServersOfClients(
                bounds,
                self.options,
                rules,
                membership,
                clients,
                owed,
                transfer=transfer,
                snapshots=snapshots,
                doubts=doubts,
            )
            if clients
            else Servers(
                bounds,
                self.options,
                rules,
                membership,
                transfer=transfer,
                snapshots=snapshots,
                doubts=doubts,
            )
        )
        servers: Part[Any] = self._servers
        if parallel_write:
            settled = parallel_write.settled and not clients
            how = replace(parallel_write, settled=settled)
            servers = ServersOnDisks(self._servers, how, disk_rules)
        self._clients = Clients(self.clients, self._servers.processes)
        self._part_of: dict[int, Part[Any]] = {
            **dict.fromkeys(self._servers.processes, servers),
            **dict.fromkeys(self._clients.processes, self._clients),
        }
        self.processes = tuple(self._part_of)
        self._plain = all(part is self._servers for part in self._part_of.values())

    def sentences(self) -> tuple[str, ...]:
        """Each bound, and what it hides."""
        said = list(self.bounds.sentences())
        if self.membership:
            said.append(self.membership.sentence(self._servers.first_members))
        if self.parallel_write:
            said.append(self.parallel_write.sentence())
        elif self._servers.options.parallel_write:
            said.append(DISK_AT_ONCE)
        if self.snapshots:
            said.append(self.snapshots.sentence())
        if self._servers.transfer:
            said.append(
                "transfer: any leader is asked to hand over to any member at any time, but for the "
                "last term, in which a successor could not be elected"
            )
        said += self.clients.sentences()
        if self._servers.doubts:
            said.append(
                "timeouts: a server doubts at once that there is a leader, which hides nothing as "
                "long as hearing one only hinders; what is found is looked for again without this"
            )
        return tuple(said)

    def without_shortcuts(self) -> RaftModel | None:
        """The same with servers that know for a while that there is a leader."""
        return self._again() if self._servers.doubts else None

    def initial_states(self) -> Sequence[tuple[State, ...]]:
        """Everybody starts for the first time."""
        return [tuple(part.initial_state(p) for p, part in self._part_of.items())]

    def actions(self, process: int, state: State) -> Sequence[Any]:
        """What a process of this kind may do by itself."""
        return self._part_of[process].actions(process, state)

    def act(self, process: int, state: State, action: Any) -> Outcome[State, Any, Any]:
        """A process takes one of its actions."""
        return self._part_of[process].act(process, state, action)

    def deliver(
        self, process: int, state: State, source: int, message: Any
    ) -> Outcome[State, Any, Any]:
        """A message arrives."""
        return self._part_of[process].deliver(process, state, source, message)

    def properties(self) -> Sequence[Property]:
        """The claims of ``spec.invariants``, and that nothing escapes the bounds by itself."""
        within_bounds = Property(
            name="within_bounds",
            over=(AnyState(),),
            predicate=self._within_bounds,
            title="Within the bounds",
            sentence="Only elections raise the term, only clients and elections lengthen the log.",
        )
        claims = raft_claims.properties(self.options, self.clients.has, plain=self._plain)
        if self.snapshots:
            claims.append(raft_claims.SNAPSHOTS_REMEMBER)
        claims = [within_bounds, *claims, *self.more]
        return judged_before_doubts(self._servers, claims) if self._servers.doubts else claims

    def _within_bounds(self, state: State) -> bool:
        if isinstance(state, Client):
            return self._clients.within_bounds(state)
        server = server_in(state)
        return server is None or self._servers.within_bounds(server)

    def witnesses(self) -> Sequence[Witness]:
        """The witnesses of ``spec.invariants``."""
        return raft_claims.witnesses(self._in_reach, plain=self._plain)

    def _in_reach(self, claim: Claim) -> bool | None:
        """Do the bounds allow this witness to show, if what it needs is asked for?"""
        needs = claim.needs
        if not claim.in_force(self.options):
            return None
        if needs and needs.membership and (not self.membership or self.membership.one_server):
            return None
        if needs and needs.transfer and not self._servers.transfer:
            return None
        if claim.feature and not self.clients.has(claim.feature):
            return None
        if claim.needs and claim.needs.snapshot and not self.snapshots:
            return None
        if claim.needs and claim.needs.backtracking and not self._servers.options.fast_backtracking:
            return None
        if claim.needs and claim.needs.parallel_write and not self.parallel_write:
            return None
        return self.bounds.reach(claim, len(self._servers.first_members), self._servers.places)

    def goals(self) -> Sequence[Goal]:
        """The goals of ``spec.progress``; no one command more where all come from clients.

        What clients have asked is lost with all other messages, and they have begun all they may.
        """
        goals = raft_goals.goals(self._servers)
        if self.clients.commands:
            return [goal for goal in goals if goal.name != "leader_can_commit"]
        return goals

    def interchangeable(self) -> Sequence[Sequence[int]]:
        """No rule of Raft looks at who a server is; an administrator may.

        Nor does one look at who a client is, but snapshots of sessions say it in bytes.
        """
        servers = self._servers.processes
        clients = [self._clients.processes]
        if self.snapshots and self.clients.commands:
            clients = [(client,) for client in self._clients.processes]
        if self.membership is None or self.membership.targets is None:
            return [servers, *clients]
        groups: dict[tuple[bool, ...], list[int]] = {}
        for p in servers:
            asked_for = tuple(ServerId(p) in target for target in self.membership.targets)
            groups.setdefault(asked_for, []).append(p)
        return [*groups.values(), *clients]

    def rename_state(self, renaming: Mapping[int, int], state: State) -> State:
        """Rename every process id, wherever the types say that there is one."""
        renamed = rename(renaming, type(state), state)
        return in_any_order(renamed) if isinstance(renamed, ServerOnDisk) else renamed

    def rename_message(self, renaming: Mapping[int, int], message: Any) -> Any:
        """Rename every process id in a message."""
        return rename(renaming, type(message), message)

    def rename_fact(self, renaming: Mapping[int, int], fact: Any) -> Any:
        """Rename every process id in a fact."""
        return rename(renaming, type(fact), fact)

    def is_obsolete(self, process: int, state: State, source: int, message: Any) -> bool:
        """As ``spec.relevance`` claims."""
        return self._part_of[process].is_obsolete(process, state, source, message)

    def representative(self, process: int, state: State, source: int, message: Any) -> Any:
        """As ``spec.relevance`` claims."""
        return self._part_of[process].representative(process, state, source, message)

    def is_past(self, process: int, state: State, fact: Any) -> bool:
        """As ``spec.relevance`` claims."""
        return self._part_of[process].is_past(process, state, fact)

    def description(self) -> str:
        """The profile and the bounds."""
        bounds = self.bounds
        return (
            f"{self.name}, servers {bounds.servers}, terms {bounds.terms}, "
            f"log length {bounds.log_length}"
            + "".join(
                f", {feature}"
                for feature in (self.membership, self.parallel_write, self.snapshots)
                if feature
            )
            + (f", {self.clients}" if self.clients.clients else "")
            + ", doubts" * self._servers.doubts
        )

    def kinds(self) -> Sequence[str]:
        """Every event and every message."""
        without: set[type] = {Receive, DurableUpTo, ReadRequest, *self._unused_by_clients()}
        on_disk = [e.__name__ for e in get_args(DiskEvent)] if self.parallel_write else []
        if self.parallel_write:
            without.add(Restart)
        if self.membership is None:
            without.add(ChangeMembership)
        if self.membership is None or not self.membership.learners:
            without.add(ChangeLearners)
        if not self.options.streaming:
            without.add(Replicate)
        if not self._servers.transfer:
            without |= {TransferLeadership, TimeoutNow}
        if not self.options.pre_vote:
            without |= {PreVote, PreVoteResponse}
        if not self.snapshots:
            without |= {TakeSnapshot, InstallSnapshot}
        events = [e.__name__ for e in get_args(Event | ClientAction) if e not in without]
        messages = [m.__name__ for m in get_args(Message | ClientMessage) if m not in without]
        return [*events, *on_disk, *(f"Receive {message}" for message in messages)]

    def _unused_by_clients(self) -> set[type]:
        """Actions and messages of features that are not asked for."""
        unused: set[type] = set()
        if not self.clients.reads:
            unused |= {BeginRead, InvokeRead, ReadAnswer, ReadIndexRequest, ReadIndexResponse}
        if self.clients.reads == 1 and not self.clients.commands:
            unused.add(BeginRead)  # it begins with what the client hears
        if self.clients.commands:
            return unused | {ClientRequest, Acknowledged}
        unused |= {BeginCommand, InvokeCommand, CommandAccepted, AwaitCommand, CommandAnswer}
        return unused if self.clients.reads else unused | {Acknowledged}

    def weight(self, action: Any) -> float:
        """Crashes are rare, so that walks get somewhere between them."""
        return 0.1 if isinstance(action, Restart | Crash) else 1.0

    def name_of(self, process: int) -> str:
        """S1, S2, ... as in the paper's figures."""
        return self._part_of[process].name_of(process)

    def kind_of_message(self, message: Any) -> str:
        """Counted by the message's type."""
        return f"Receive {type(message).__name__}"

    def show(self, value: object) -> str:
        """Logs and tables in short: ``[t1:1.1 t2:no-op]``, ``{2: 1, 3: 0}``."""
        match value:
            case Log(snapshot=snapshot, entries=entries):
                shown = [self.show(snapshot)] if snapshot else []
                return "[" + " ".join([*shown, *map(self.show, entries)]) + "]"
            case Snapshot(last_included_index=index, last_included_term=term, data=data):
                at = f"{index}@t{term}: {data.decode()}; {self.show(value.configuration)}"
                return f"<snapshot {at}>"
            case Entry(term=term, payload=Configuration() as configuration):
                return f"t{term}:{self.show(configuration)}"
            case Entry(term=term, payload=NoOp()):
                return f"t{term}:no-op"
            case Entry(term=term, payload=ClientCommand(request_id=request_id)):
                return f"t{term}:{self.show(request_id)}"
            case RequestId(client_id=client_id, serial_number=number):
                return f"{self.name_of(client_id)}#{number}"
            case Entry(term=term, payload=Command(data=data)):
                return f"t{term}:{data.decode()}"
            case Command(data=data):
                return data.decode()
            case Configuration(old=old, new=new):
                return show(old) if new is None else f"{show(old)} and {show(new)}"
            case IndexOf():
                return "{" + ", ".join(f"{i}: {index}" for i, index in value.items()) + "}"
            case tuple() if value and all(isinstance(e, Entry) for e in value):
                return "[" + " ".join(map(self.show, value)) + "]"
            case _ if is_dataclass(value) and not isinstance(value, type):
                inner = ", ".join(
                    f"{f.name}={self.show(getattr(value, f.name))}"
                    for f in fields(value)
                    if not (isinstance(value, Server) and self._goes_without_saying(value, f.name))
                    and not (f.default is not MISSING and getattr(value, f.name) == f.default)
                )
                return f"{type(value).__name__}({inner})" if inner else type(value).__name__
            case tuple():
                return "[" + ", ".join(map(self.show, value)) + "]"
            case _:
                return show(value)

    def _goes_without_saying(self, server: Server, field: str) -> bool:
        """What is as it was at first, or as it always is without writing in parallel."""
        match field:
            case "first_configuration":
                return True
            case "configuration" | "configuration_index":
                return not server.configuration_index
            case "durable_index":
                return server.durable_index == last_index(server.log)
            case _:
                return False
