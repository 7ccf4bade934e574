"""Sessions: a command that is sent again takes effect once (§8, D6.3). The state machine's side.

A client that hears nothing asks again, perhaps another leader, and the command may then be in the
log twice. Each client numbers its commands; the state machine remembers for each client the latest
number and its result, and answers a number that it knows from memory. That table is part of the
state machine: every server builds the same one from the same log, and a snapshot carries it.

``recognise`` is the rule, for clients with any number of commands under way; ``StateMachine`` is
the smallest machine that has it: it counts the commands that take effect, of clients that have one
at a time under way.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import assert_never

from spec.state import ClientId, Command, Entry, RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCommand(Command):
    """A command that says whose it is and which of theirs, however often it is sent (D6.3)."""

    request_id: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """The command has not been carried out: carry it out, and remember its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """It is the client's latest command: answer with the result that is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outdated:
    """The client has gone on since: nobody waits for an answer, and the result is forgotten."""


Recognised = Fresh | Repeated | Outdated


def recognise(oldest: int, done: Container[int], serial_number: int) -> Recognised:
    """What a command is to a session that remembers the results of ``done``.

    Before ``oldest`` it remembers none: its client waits for them no more.
    """
    if serial_number < oldest:
        return Outdated()
    return Repeated() if serial_number in done else Fresh()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The latest command of a client, and its result."""

    request_id: RequestId
    result: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMachine:
    """Counts the commands that took effect; the result of each is its number (§8, D6.3)."""

    count: int = 0
    sessions: tuple[Session, ...] = ()
    """One for each client, ascending."""


def session_of(machine: StateMachine, client_id: ClientId) -> Session | None:
    """What is remembered of a client."""
    return next((s for s in machine.sessions if s.request_id.client_id == client_id), None)


def apply_command(machine: StateMachine, command: Command) -> tuple[StateMachine, int | None]:
    """The machine after a command, and its result; ``None``: there is none (any more)."""
    if not isinstance(command, ClientCommand):
        return StateMachine(count=machine.count + 1, sessions=machine.sessions), None
    request_id = command.request_id
    session = session_of(machine, request_id.client_id)
    latest = session.request_id.serial_number if session else 0
    match known := recognise(latest, {latest} if session else (), request_id.serial_number):
        case Fresh():
            return _carry_out(machine, request_id)
        case Repeated():
            assert session is not None, "a repeated command has a session"
            return machine, session.result
        case Outdated():
            return machine, None
        case _:
            assert_never(known)


def _carry_out(machine: StateMachine, request_id: RequestId) -> tuple[StateMachine, int]:
    result = machine.count + 1
    others = [s for s in machine.sessions if s.request_id.client_id != request_id.client_id]
    sessions = [*others, Session(request_id=request_id, result=result)]
    sessions.sort(key=lambda session: session.request_id.client_id)
    return StateMachine(count=result, sessions=tuple(sessions)), result


def apply_entries(machine: StateMachine, entries: Iterable[Entry]) -> StateMachine:
    """The machine after entries; those without a command do not change it."""
    for entry in entries:
        if isinstance(entry.payload, Command):
            machine, _ = apply_command(machine, entry.payload)
    return machine


def snapshot_data(machine: StateMachine) -> bytes:
    """The machine as the data of a snapshot: without the sessions, retries would run again (§8)."""
    sessions = [
        [s.request_id.client_id, s.request_id.serial_number, s.result] for s in machine.sessions
    ]
    return json.dumps([machine.count, sessions]).encode()


def restored(data: bytes) -> StateMachine:
    """The machine of which this is the snapshot's data."""
    count, sessions = json.loads(data)
    return StateMachine(
        count=count,
        sessions=tuple(
            Session(
                request_id=RequestId(client_id=client_id, serial_number=serial_number),
                result=result,
            )
            for client_id, serial_number, result in sessions
        ),
    )
