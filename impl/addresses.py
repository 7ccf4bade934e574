"""Where the members are: a book of addresses that is replicated beside the user's state machine.

Raft knows members by number only. An administrator who adds one says where it is; that goes through
the log, so that every node can reach it. Each node also keeps the book in a file of its data
directory, because it must find the others before it can hear from them what is committed. The file
is a hint: at worst it is old, and a node that it leads to is asked who it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec

from impl.config import Address, ConfigError
from impl.machine import Result, StateMachine
from spec.state import ServerId

PREFIX = b"\x00member-address\x00"
"""Begins a command to the book; no command of the key-value store does."""
FILE = "addresses.json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member listens."""

    peers: Address
    clients: Address | None = None
    """For clients; ``None`` until the member itself has said it."""
    learner: bool = False
    """It is to be brought up to date by whoever leads, without being a member."""


Book = Mapping[ServerId, Place]


def note(member: ServerId, place: Place) -> bytes:
    """The command that writes a member's place into the book."""
    return PREFIX + msgspec.msgpack.encode(_plain({member: place}))


class WithAddresses:
    """A state machine beside which the book is kept; ``learned`` is told of every new place."""

    def __init__(
        self, machine: StateMachine, learned: Callable[[Book], None] = lambda book: None
    ) -> None:
        self.machine = machine
        self.learned = learned
        self.book: dict[ServerId, Place] = {}

    def apply(self, time_ms: int, commands: Sequence[bytes]) -> list[Result]:
        """Commands to the book are carried out here, the others by the machine, in order."""
        if not any(command.startswith(PREFIX) for command in commands):
            return self.machine.apply(time_ms, commands)
        results: list[Result] = []
        for command in commands:
            if command.startswith(PREFIX):
                self._learn(_read(command.removeprefix(PREFIX)))
                results.append("OK")
            else:
                results += self.machine.apply(time_ms, [command])
        return results

    def query(self, time_ms: int, query: object) -> Result:
        """Queries are the machine's."""
        return self.machine.query(time_ms, query)

    def next_due(self) -> int | None:
        """So is time."""
        return self.machine.next_due()

    def snapshot(self) -> Iterator[bytes]:
        """The book in the first chunk, then the machine's chunks."""
        head = msgspec.msgpack.encode(_plain(self.book))
        return chain([len(head).to_bytes(4) + head], self.machine.snapshot())

    def restore(self, chunks: Iterable[bytes]) -> Iterator[None]:
        """Chunks may be cut anywhere."""
        stream = iter(chunks)
        data = b""
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4]):
            chunk = next(stream, None)
            if chunk is None:
                raise msgspec.DecodeError("there is no book of addresses")
            data += chunk
        end = 4 + int.from_bytes(data[:4])
        rest = chain([data[end:]] if data[end:] else [], stream)
        yield from self.machine.restore(rest) or ()
        self.book = {}
        self._learn(_read(data[4:end]))

    def _learn(self, book: Book) -> None:
        for member, place in book.items():
            known = self.book.get(member)
            clients, learner = place.clients, place.learner
            if known is not None and clients is not None:
                # It tells its own place, and may not have heard yet that it is a learner.
                learner = known.learner
            elif known is not None and known.peers == place.peers:
                clients = known.clients
            self.book[member] = Place(place.peers, clients, learner)
        self.learned(self.book)


_Plain = dict[str, tuple[str, str, bool]]


def _plain(book: Book) -> _Plain:
    return {
        str(member): (str(place.peers), str(place.clients or ""), place.learner)
        for member, place in sorted(book.items())
    }


def _read(data: bytes) -> dict[ServerId, Place]:
    """Raises ``msgspec.ValidationError`` or ``ConfigError`` on what ``_plain`` has not made."""
    return _of_plain(msgspec.msgpack.decode(data, type=_Plain))


def _of_plain(plain: _Plain) -> dict[ServerId, Place]:
    return {
        ServerId(int(member)): Place(
            Address.parse(peers), Address.parse(clients) if clients else None, learner
        )
        for member, (peers, clients, learner) in plain.items()
    }


# --- The file -----------------------------------------------------------------------------------


def save(directory: Path, book: Book) -> None:
    """Write the hint; a reader sees the old one or the new one."""
    draft = directory / f"{FILE}.new"
    draft.write_text(json.dumps(_plain(book), indent=2) + "\n", encoding="utf-8")
    os.replace(draft, directory / FILE)


def load(directory: Path) -> dict[ServerId, Place]:
    """The hint; nothing if there is none. Raises ``ConfigError`` if it cannot be read."""
    path = directory / FILE
    try:
        return _of_plain(msgspec.json.decode(path.read_bytes(), type=_Plain))
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, ValueError, ConfigError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}): remove it, and give --members with all addresses"
        ) from None
