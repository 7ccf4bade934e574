"""Clients (§8, D6): what they say to servers, what a server owes them, and what one may observe.

A client sends each invocation to all servers at once: the network may deliver any part of it at
any time, so this is every way to ask one server after another. It observes its own history. When a
read begins it notes how much it *knows* to be done, acknowledged to it or read by it; the answer
must show that much. What was over before something else began is thus a fact of one process, and
linearizability a property of its steps.

Whoever drives a server answers for it. An answer that must wait, until a command is applied or a
follower has applied what a read must see, is a message that arrives later: nothing waits in here.
"""

from __future__ import annotations

from dataclasses import dataclass

from spec.cluster import remembered
from spec.events import ReadReady
from spec.log import base_index, entries_from, entry_at, term_at
from spec.records import replace
from spec.sessions import (
    ClientCommand,
    StateMachine,
    apply_command,
    apply_entries,
    restored,
    snapshot_data,
)
from spec.state import ClientId, Command, Index, RequestId, Server, Term

# --- Messages -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeRead:
    """A client asks for the present state; the same again while it waits."""

    read_id: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAnswer:
    """The state after the entry at ``index``."""

    read_id: RequestId
    index: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The entries up to ``index`` are applied, and those who wrote them have been told."""

    index: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeCommand:
    """A client asks for a command; the same again while it waits."""

    request_id: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAccepted:
    """The command is the entry at ``index``, of ``term``, in the log of the server that says so."""

    request_id: RequestId
    term: Term
    index: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitCommand:
    """The client waits at the server that has accepted its command."""

    request_id: RequestId
    term: Term
    index: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAnswer:
    """The command has taken effect, with this result; ``index`` is applied."""

    request_id: RequestId
    result: int
    index: Index


ToServer = InvokeRead | InvokeCommand | AwaitCommand
ToClient = ReadAnswer | Acknowledged | CommandAccepted | CommandAnswer
ClientMessage = ToServer | ToClient


# --- A client -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client that has one read and one command under way at most, and observes."""

    client_id: ClientId
    known: Index
    """Up to where it knows the log to be applied: acknowledged to it, or read by it."""
    reads: int = 0
    """Reads begun."""
    floor: Index | None = None
    """Of the read under way: what was known when it began."""
    commands: int = 0
    """Commands begun; their number is the serial number of the last one."""
    waits: bool = False
    """Is that one under way?"""


def read_id(client: Client) -> RequestId:
    """Names the client's last read."""
    return RequestId(client_id=client.client_id, serial_number=client.reads)


def command_id(client: Client) -> RequestId:
    """Names the client's last command."""
    return RequestId(client_id=client.client_id, serial_number=client.commands)


def begin_read(client: Client) -> tuple[Client, InvokeRead]:
    """A read must show all that the client knows of when it begins."""
    assert client.floor is None, "one read at a time"
    client = replace(client, reads=client.reads + 1, floor=client.known)
    return client, InvokeRead(read_id=read_id(client))


def begin_command(client: Client) -> tuple[Client, InvokeCommand]:
    """A command has the next serial number, and keeps it when it is sent again (D6.3)."""
    assert not client.waits, "one command at a time"
    client = replace(client, commands=client.commands + 1, waits=True)
    return client, InvokeCommand(request_id=command_id(client))


def is_awaited(client: Client, message: ToClient) -> bool:
    """Is this the answer to what is under way, or news? Any other one comes too late or early."""
    match message:
        case ReadAnswer():
            return client.floor is not None and message.read_id == read_id(client)
        case Acknowledged(index=index):
            return index > client.known
        case CommandAccepted() | CommandAnswer():
            return client.waits and message.request_id == command_id(client)


def hear(client: Client, message: ToClient) -> Client:
    """The client's state after a message: what was under way is done, and more is known."""
    if not is_awaited(client, message):
        return client
    match message:
        case ReadAnswer(index=index):
            return replace(client, floor=None, known=max(client.known, index))
        case Acknowledged(index=index):
            return replace(client, known=index)
        case CommandAccepted():
            return client
        case CommandAnswer(index=index):
            return replace(client, waits=False, known=max(client.known, index))


def new_client(client_id: ClientId) -> Client:
    """A client that has done nothing and knows of nothing."""
    return Client(client_id=client_id, known=Index(0))


# --- What a server's driver owes its clients -----------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TookEffect:
    """A leader has applied a client's command; its effect was the one of this number."""

    request_id: RequestId
    result: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A client was told that its command had this result."""

    request_id: RequestId
    result: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A client was told that its try as the entry at ``index``, of ``term``, has failed."""

    term: Term
    index: Index


ClientFact = TookEffect | Answered | Failed


def answer_to_read(server: Server, ready: ReadReady) -> ReadAnswer | None:
    """A read is answered once all is applied that it must see; before that it waits (D6.4).

    What is known to be committed counts as applied.
    """
    if ready.read_index > server.commit_index:
        return None
    return ReadAnswer(read_id=ready.read_id, index=server.commit_index)


def answer_to_command(server: Server, waiting: AwaitCommand) -> CommandAnswer | Failed | None:
    """A client is answered when the entry that holds its command is applied (§8).

    It is the entry of that index *and term*: another leader may have put another one there. Then,
    and only then, that try has failed. A server that leads no more still does not know; nor does
    one that has discarded the entry (§7), of which the client must ask again.
    """
    if waiting.index > server.commit_index:
        return None
    if waiting.index < base_index(server.log):
        return None
    if term_at(server.log, waiting.index) != waiting.term:
        return Failed(term=waiting.term, index=waiting.index)
    result = result_at(server, waiting.index)
    if result is None:
        return None
    return CommandAnswer(request_id=waiting.request_id, result=result, index=waiting.index)


def machine_at(server: Server, index: Index) -> StateMachine:
    """The state machine after the entries up to ``index``, none of them before the snapshot."""
    snapshot = server.log.snapshot
    base = base_index(server.log)
    machine = restored(snapshot.data.rpartition(b"\n")[2]) if snapshot else StateMachine()
    return apply_entries(machine, entries_from(server.log, Index(base + 1), index - base))


def state_at(server: Server, index: Index) -> bytes:
    """Data for a snapshot up to ``index``: what each entry was, and the machine (§7, §8)."""
    machine = snapshot_data(machine_at(server, index))
    return b"\n".join((remembered(server.log, index), machine))


def result_at(server: Server, index: Index) -> int | None:
    """The result of the client's command at ``index``; ``None`` if there is none to tell."""
    entry = entry_at(server.log, index)
    if entry is None or not isinstance(entry.payload, Command):
        return None  # in a snapshot, where nobody can tell: the client asks again
    return apply_command(machine_at(server, Index(index - 1)), entry.payload)[1]


def effects_of(before: Server, after: Server) -> tuple[TookEffect, ...]:
    """The commands of clients that have taken effect in a step."""
    done = []
    for index in range(before.commit_index + 1, after.commit_index + 1):
        entry = entry_at(after.log, Index(index))
        if entry is None or not isinstance(entry.payload, ClientCommand):
            continue
        former = machine_at(after, Index(index - 1))
        machine, result = apply_command(former, entry.payload)
        if machine.count > former.count and result is not None:
            done.append(TookEffect(request_id=entry.payload.request_id, result=result))
    return tuple(done)
