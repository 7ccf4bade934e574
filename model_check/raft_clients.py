"""Clients as processes of a model, and servers that serve them.

A client invokes, hears answers, and by its own steps knows what came before what (see
``spec.clients``). The servers answer as ``spec.clients`` says their drivers do; of these rules the
checker can be given a sabotaged copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import cast

import spec.clients
from model_check.model import Outcome
from model_check.raft_bounds import Bounds, ClientBounds, Membership, Snapshots
from model_check.raft_servers import Answers, Part, Servers, Step
from spec.clients import (
    Acknowledged,
    Answered,
    AwaitCommand,
    Client,
    ClientFact,
    ClientMessage,
    CommandAccepted,
    CommandAnswer,
    Failed,
    InvokeCommand,
    InvokeRead,
    ToServer,
    begin_command,
    begin_read,
    hear,
    is_awaited,
    new_client,
)
from spec.cluster import Committed, Fact, led
from spec.events import (
    ClientRequest,
    ClientRequestAccepted,
    Effects,
    Event,
    ReadReady,
    ReadRequest,
)
from spec.messages import Message, ReadIndexRequest
from spec.raft import Options
from spec.sessions import ClientCommand
from spec.state import ClientId, Index, Leader, RequestId, Server


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginRead:
    """A client asks all servers for a read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginCommand:
    """A client asks all servers for its next command."""


ClientAction = BeginRead | BeginCommand
Anything = Message | ClientMessage
Facts = Fact | ClientFact


class Clients(Part[Client]):
    """Clients that ask the servers, as often as the bounds say."""

    def __init__(self, bounds: ClientBounds, servers: Sequence[int]) -> None:
        """Clients are numbered after the servers."""
        self.bounds = bounds
        self.servers = servers
        self.processes = tuple(len(servers) + i for i in range(1, bounds.clients + 1))

    def initial_state(self, process: int) -> Client:
        """A client knows of nothing."""
        return new_client(ClientId(process))

    def actions(self, process: int, state: Client) -> Sequence[ClientAction]:
        """One read and one command at a time; no read by who knows of nothing it must show."""
        offered: list[ClientAction] = []
        if state.known > 0 and self._may_read(state):
            offered.append(BeginRead())
        if not state.waits and state.commands < self.bounds.commands:
            offered.append(BeginCommand())
        return offered

    def act(
        self, process: int, state: Client, action: ClientAction
    ) -> Outcome[Client, Anything, Facts]:
        """The invocation goes to all servers: the network may deliver any part of it."""
        after, message = (
            begin_read(state) if isinstance(action, BeginRead) else begin_command(state)
        )
        return Outcome(
            state=self._without_use(after), sends=tuple((p, message) for p in self.servers)
        )

    def deliver(
        self, process: int, state: Client, source: int, message: Anything
    ) -> Outcome[Client, Anything, Facts]:
        """An answer, or news."""
        heard = cast(spec.clients.ToClient, message)
        after = hear(state, heard)
        sends: tuple[tuple[int, Anything], ...] = ()
        match message:
            case CommandAccepted() if is_awaited(state, message):
                sends = ((source, _wait_for(message)),)
            case Acknowledged() if not self._may_read(state):
                after = state  # it is as if it heard of it later
            case Acknowledged() if is_awaited(state, message):
                # To hear of it and then to wait is no more than to hear of it later.
                return self.act(process, after, BeginRead())
            case _:
                pass
        if self._has_begun_all(state):
            after = state  # nothing is left for which it would need to remember the answer
        after = self._without_use(after)
        return Outcome(state=after, sends=sends, step=(state, heard, after))

    def _may_read(self, client: Client) -> bool:
        return client.floor is None and client.reads < self.bounds.reads

    def _has_begun_all(self, client: Client) -> bool:
        return client.reads == self.bounds.reads and client.commands == self.bounds.commands

    def _without_use(self, client: Client) -> Client:
        """What a client knows is of no use to it after its last read has begun."""
        if client.reads < self.bounds.reads:
            return client
        return replace(client, known=new_client(client.client_id).known)

    def is_obsolete(self, process: int, state: Client, source: int, message: Anything) -> bool:
        """Answers to what is over, and news that are old, or of no use."""
        match message:
            case Acknowledged(index=index):
                return index <= state.known or state.reads == self.bounds.reads
            case CommandAccepted(request_id=request_id) | CommandAnswer(request_id=request_id):
                number = request_id.serial_number
                over = number == state.commands and not state.waits
                return number < state.commands or over
            case spec.clients.ReadAnswer(read_id=read_id):
                number = read_id.serial_number
                return number < state.reads or (number == state.reads and state.floor is None)
            case _:
                return False

    def representative(
        self, process: int, state: Client, source: int, message: Anything
    ) -> Anything:
        """Every message is told apart."""
        return message

    def is_past(self, process: int, state: Client, fact: Facts) -> bool:
        """A client clashes with nothing; but sets of servers may lack what was committed."""
        return not isinstance(fact, Committed)

    def within_bounds(self, state: Client) -> bool:
        """Clients do what they are offered, no more."""
        return state.reads <= self.bounds.reads and state.commands <= self.bounds.commands

    def name_of(self, process: int) -> str:
        """C1, C2, ..."""
        return f"C{process - len(self.servers)}"


class ServersOfClients(Servers):
    """Servers whose drivers answer clients."""

    def __init__(
        self,
        bounds: Bounds,
        options: Options,
        rules: Step,
        membership: Membership | None,
        clients: ClientBounds,
        owed: ModuleType = spec.clients,
        *,
        transfer: bool = False,
        snapshots: Snapshots | None = None,
        doubts: bool = False,
    ) -> None:
        """``owed`` has the rules of ``spec.clients`` about servers, or a sabotage of them."""
        super().__init__(
            bounds,
            options,
            rules,
            membership,
            transfer=transfer,
            snapshots=snapshots,
            doubts=doubts,
        )
        self.clients = clients
        self.owed = owed
        self._observers = [bounds.servers + i for i in range(1, clients.clients + 1)]

    def actions(self, process: int, state: Server) -> Sequence[Event]:
        """Commands come from the clients, if these have sessions."""
        offered = super().actions(process, state)
        if not self.clients.commands:
            return offered
        return [event for event in offered if not isinstance(event, ClientRequest)]

    def state_at(self, server: Server, index: Index) -> bytes:
        """Sessions are part of the state machine, and of its snapshot."""
        if not self.clients.commands:
            return super().state_at(server, index)
        state: bytes = self.owed.state_at(server, index)
        return state

    def answers(self, before: Server, event: Event, after: Server, effects: Effects) -> Answers:
        """What the server's driver says to clients after a step."""
        said: list[tuple[int, Anything]] = []
        for effect in effects:
            if isinstance(effect, ReadReady):
                answer = self.owed.answer_to_read(after, effect)
                said += [(effect.read_id.client_id, answer)] if answer else []
            if isinstance(effect, ClientRequestAccepted) and isinstance(event, ClientRequest):
                said += _accepted(effect, event)
        done: tuple[ClientFact, ...] = ()
        if after.commit_index > before.commit_index and led(before, after):
            if self.clients.commands:
                done = self.owed.effects_of(before, after)
            else:
                news = Acknowledged(index=after.commit_index)
                said += [(client, news) for client in self._observers]
        return tuple(said), done

    def deliver(
        self, process: int, state: Server, source: int, message: Anything
    ) -> Outcome[Server, Anything, Facts]:
        """A question for the driver is answered at once."""
        found = self.looked_up(state, message)
        if found is None:
            return super().deliver(process, state, source, message)
        return Outcome(state=state, sends=found[0], facts=found[1])

    def event_of(self, state: Server, source: int, message: Anything) -> Event | None:
        """A request of a client is an event at the server that it asks."""
        match message:
            case InvokeRead(read_id=read_id):
                used_up = self._rounds_are_used_up(state)
                return None if used_up else ReadRequest(read_id=read_id)
            case ReadIndexRequest(term=term) if (
                term == state.current_term and self._rounds_are_used_up(state)
            ):
                return None
            case InvokeCommand(request_id=request_id):
                takes = isinstance(state.role, Leader) and not self._is_full(state)
                return _request(request_id) if takes else None
            case _:
                return super().event_of(state, source, message)

    def looked_up(self, state: Server, message: Anything) -> Answers | None:
        """The driver looks whether it can answer now who waits for a command."""
        if not isinstance(message, AwaitCommand):
            return None
        match self.owed.answer_to_command(state, message):
            case CommandAnswer() as answer:
                told = Answered(request_id=answer.request_id, result=answer.result)
                return ((message.request_id.client_id, answer),), (told,)
            case Failed() as failed:
                return (), (failed,)
            case _:
                return (), ()

    def _rounds_are_used_up(self, server: Server) -> bool:
        """Has a leader begun as many rounds for reads as the bounds allow in one term?"""
        return isinstance(server.role, Leader) and (server.role.reads.round >= self.clients.rounds)

    def is_obsolete(self, process: int, state: Server, source: int, message: Anything) -> bool:
        """What clients say may always be of use."""
        if isinstance(message, ToServer):
            return False
        return super().is_obsolete(process, state, source, cast(Message, message))

    def representative(
        self, process: int, state: Server, source: int, message: Anything
    ) -> Anything:
        """What clients say is told apart."""
        if isinstance(message, ToServer):
            return message
        kept: Message = super().representative(process, state, source, message)
        return kept

    def is_past(self, process: int, state: Server, fact: Facts) -> bool:
        """Any server may yet apply anything."""
        if isinstance(fact, ClientFact):
            return False
        return super().is_past(process, state, fact)


def _wait_for(accepted: CommandAccepted) -> AwaitCommand:
    return AwaitCommand(request_id=accepted.request_id, term=accepted.term, index=accepted.index)


def _request(request_id: RequestId) -> ClientRequest:
    return ClientRequest(commands=(ClientCommand(data=b"command", request_id=request_id),))


def _accepted(effect: ClientRequestAccepted, action: ClientRequest) -> list[tuple[int, Anything]]:
    """Tell the client of each command where it is."""
    return [
        (
            command.request_id.client_id,
            CommandAccepted(
                request_id=command.request_id, term=effect.term, index=effect.first_index
            ),
        )
        for command in action.commands
        if isinstance(command, ClientCommand)
    ]
