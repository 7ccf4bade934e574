"""A small language for schedules: the figures of the paper as transcripts that can be played.

A transcript consists of blocks. A block is some commands, a line ``----``, and what came of them:
who was elected, what was committed, and every server's role, term, vote, commit index and log.
A blank line ends a block; ``#`` begins a comment.

    5 servers, paper            a new cluster and its profile (``paper`` or ``server``)
    3 servers and 2 outside, paper      the same, with servers that wait to be added (§6)
    S1: members S3 S4 S5        an administrator asks for another membership
    S1: let S2 lead             an administrator asks for another leader (D3.10)
    S1: read 1                  a client, which numbers its reads, asks for one (D6.4)
    S1: snapshot to 3           its state machine wrote a snapshot up to this index (§7)
    S1: election timeout        or ``heartbeat``, ``retry``, ``restart``, ``client x y``
    deliver RequestVote S1 -> S2    the latest one that was sent, perhaps once more
    exchange S1 <-> S2 S3       all that is in flight between S1 and the others, and what follows
    elect S1 by S2 S3           election timeout, requests for votes, votes
    lose                        whatever is in flight never arrives
    remember c / back to c      another future of the same moment
"""

from __future__ import annotations

import re
from typing import assert_never

from spec import messages
from spec.events import (
    BecameLeader,
    ClientRequestRefused,
    CommittedUpTo,
    Effects,
    ElectionTimeout,
    Event,
    HeartbeatTimeout,
    MembershipChangeRefused,
    PersistEntries,
    ReadReady,
    ReadRefused,
    ReadRequest,
    Restart,
    RestoreStateMachine,
    RetryTimeout,
    SteppedDown,
    TransferAborted,
    TransferRefused,
    TransferStarted,
)
from spec.log import base_index, last_index
from spec.messages import Message
from spec.raft import PAPER, SERVER, Options
from spec.state import (
    ClientId,
    Command,
    Configuration,
    Log,
    NoOp,
    Payload,
    RequestId,
    Server,
    ServerId,
)
from tests.cluster import Cluster, client_request

PROFILES = {"paper": PAPER, "server": SERVER}
TIMERS: dict[str, Event] = {
    "election timeout": ElectionTimeout(),
    "heartbeat": HeartbeatTimeout(),
    "retry": RetryTimeout(),
    "restart": Restart(),
}


class BadCommand(ValueError):
    """No command of the language looks like this."""


class Recorder(Cluster):
    """A cluster that writes down what is worth reading."""

    def __init__(self, size: int, options: Options, outside: int = 0) -> None:
        super().__init__(size, options, outside=outside)
        self.notes: list[str] = []

    def take_step(self, server_id: ServerId, event: Event) -> Effects:
        """As in any cluster, noting what came of it."""
        before = self.servers[server_id]
        effects = super().take_step(server_id, event)
        self.notes += [f"S{server_id} {n}" for e in effects if (n := note(before, e))]
        return effects


def note(before: Server, effect: object) -> str | None:
    """What is worth reading about an effect."""
    match effect:
        case BecameLeader(term=term):
            return f"leads term {term}"
        case CommittedUpTo(commit_index=index):
            return f"commits up to {index}"
        case PersistEntries(first_index=first) if first <= last_index(before.log):
            return f"removes its entries from {first} on"
        case RestoreStateMachine(snapshot=snapshot):
            return f"has the snapshot up to {snapshot.last_included_index} in its state machine"
        case ClientRequestRefused():
            return "refuses the client"
        case ReadReady(read_index=index):
            return f"may answer the read from index {index} on"
        case ReadRefused():
            return "refuses the read"
        case MembershipChangeRefused(reason=reason):
            return f"refuses the change: {reason}"
        case TransferStarted(to=to):
            return f"hands over to S{to}"
        case TransferRefused(reason=reason):
            return f"refuses to hand over: {reason}"
        case TransferAborted(to=to):
            return f"does not wait for S{to} any longer"
        case SteppedDown(reason=reason):
            return f"steps down: {reason}"
        case _:
            return None


def played(text: str) -> tuple[str, list[Cluster]]:
    """The transcript with what really came of it, and every cluster that it used."""
    cluster = Recorder(0, PAPER)
    moments: dict[str, Recorder] = {}
    clusters: list[Cluster] = []
    blocks = []
    for block in text.strip().split("\n\n"):
        lines = block.split("\n----")[0].splitlines()
        commands = [line for line in lines if not line.startswith("#")]
        for command in commands:
            match command.split():
                case [size, "servers,", profile]:
                    cluster = Recorder(int(size), PROFILES[profile])
                    clusters.append(cluster)
                case [size, "servers", "and", outside, "outside,", profile]:
                    cluster = Recorder(int(size), PROFILES[profile], int(outside))
                    clusters.append(cluster)
                case ["remember", name]:
                    moments[name] = cluster.copy()
                case ["back", "to", name]:
                    cluster = moments[name].copy()
                case _:
                    obey(cluster, command)
        result = ["----", *cluster.notes, *map(shown, cluster.servers.values())] if commands else []
        cluster.notes.clear()
        blocks.append("\n".join(lines + result))
    return "\n\n".join(blocks) + "\n", clusters


def obey(cluster: Cluster, command: str) -> None:
    """Carry out one command about servers and messages."""
    ids = [ServerId(int(number)) for number in re.findall(r"\bS(\d)\b", command)]
    match command.replace(":", "").split():
        case [_, "client", *commands]:
            cluster.happen(ids[0], client_request(*commands))
        case [_, "read", number]:
            read_id = RequestId(client_id=ClientId(1), serial_number=int(number))
            cluster.happen(ids[0], ReadRequest(read_id=read_id))
        case [_, "members", *_]:
            cluster.change(*ids)
        case [_, "let", _, "lead"]:
            cluster.transfer(*ids)
        case ["deliver", kind, _, "->", _]:
            message_type: type[Message] = getattr(messages, kind)
            cluster.deliver(message_type, *ids)
        case ["exchange", _, "<->", *_]:
            cluster.exchange(*ids)
        case ["elect", _, "by", *_]:
            cluster.elect(*ids)
        case [_, "snapshot", "to", upto]:
            cluster.snapshot(ids[0], int(upto))
        case ["lose"]:
            cluster.lose()
        case [_, *timer] if " ".join(timer) in TIMERS:
            cluster.happen(ids[0], TIMERS[" ".join(timer)])
        case _:
            raise BadCommand(command)


def shown(server: Server) -> str:
    """One line for a server; its log from index 1 on, each entry as its term and its command."""
    vote = f"S{server.voted_for}" if server.voted_for else "-"
    line = (
        f"S{server.server_id} {type(server.role).__name__.lower():9} term {server.current_term}"
        f"  vote {vote:2}  commit {server.commit_index:<2}  log {shown_log(server.log)}"
    )
    return line.rstrip()


def shown_log(log: Log) -> str:
    """``1x 2y``: an entry of term 1 with command x, then one of term 2 with command y.

    ``..3`` stands for a snapshot that covers the first three.
    """
    snapshot = [f"..{base_index(log)}"] if log.snapshot else []
    return " ".join([*snapshot, *(f"{e.term}{shown_payload(e.payload)}" for e in log.entries)])


def shown_payload(payload: Payload) -> str:
    """A command, ``*`` for a no-op, ``[123]`` or ``[123/345]`` for a configuration."""
    match payload:
        case Command(data=data):
            return data.decode()
        case NoOp():
            return "*"
        case Configuration(old=old, new=new):
            halves = [old] if new is None else [old, new]
            return "[" + "/".join("".join(map(str, sorted(half))) for half in halves) + "]"
        case _:
            assert_never(payload)
