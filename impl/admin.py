"""What administrators ask of a node: ``RAFT <VERB> ...`` on the port of its clients.

    RAFT STATUS | LEADER | MEMBER LIST
    RAFT MEMBER LEARN n=host:port | ADD n=host:port | PROMOTE n | REMOVE n | REPLACE n m=host:port
    RAFT TRANSFER n
    RAFT LOG first count
    RAFT SNAPSHOT TAKE [SERIAL] | READ sha256 offset

Answers are JSON. A change takes an optional last word ``DRYRUN``. Whether a change is *possible* is
for Raft to say; whether it is *wise* is judged here: it is refused if too few of the members that
there would be can be reached, because the cluster would stand still the moment the change begins.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from impl.addresses import Book, Place, WithAddresses, note
from impl.config import Address, ConfigError, parse_member, parse_members, whole
from impl.disk import StorageError
from impl.exports import Exports
from impl.requests import Answer, Done, NotDone, Outcome, Unknown, commands_in
from impl.status import Status
from spec.events import ChangeLearners, Event
from spec.log import base_index, entry_at, last_index
from spec.quorum import is_quorum, members
from spec.state import Command, Configuration, Index, Leader, Log, NoOp, Server, ServerId

log = logging.getLogger(__name__)

POLL_S = 0.01
MAX_DUMPED = 10_000
"""Entries of the log in one answer."""
ELECTION_S = 2.0
"""How long a change waits for a leader before it is refused."""
TRANSFER_S = 2.0
"""How long another member may take to lead."""
CONNECT_S = 5.0
"""How long a new member may take to be reached."""
TEND_S = 0.2
"""How often the book is looked after."""


class Refusal(Exception):
    """The answer is an error: a code, the cause, and what to do."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code} {text}")


class AdministeredNode(Protocol):
    """What is needed of a node."""

    server: Server
    leader_id: ServerId | None

    def handle(self, event: Event) -> None:
        """Take one step."""

    def write(self, commands: Sequence[bytes], answer: Answer, *, forwarded: bool = False) -> None:
        """Have commands applied."""

    def read(self, queries: Sequence[object], answer: Answer) -> None:
        """Answer queries by a state that is not older than this call."""

    def change_membership(
        self, members: frozenset[ServerId], answer: Callable[[str], None]
    ) -> None:
        """Ask for other members; the answer is the reason of a refusal, or nothing."""

    def transfer_leadership(self, to: ServerId, answer: Callable[[str], None]) -> None:
        """Let another lead; the answer is the reason of a refusal, or nothing when it begins."""

    def why_no_leader(self) -> str:
        """What keeps the cluster from answering."""


class Reachable(Protocol):
    """What is needed of the network."""

    def add(self, peer: ServerId, address: Address) -> None:
        """Begin to talk to a peer, or at another address."""

    def troubles(self) -> Mapping[ServerId, str]:
        """The peers that cannot be reached, with the reason."""

    @property
    def addresses(self) -> Mapping[ServerId, Address]:
        """The peers there are."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of the membership as it was asked for."""

    after: frozenset[ServerId]
    new: Mapping[ServerId, Address]


class Administration:
    """The administrator's side of one node."""

    def __init__(
        self,
        *,
        node: AdministeredNode,
        network: Reachable,
        machine: WithAddresses,
        own: Place,
        status: Callable[[], Status],
        exports: Exports,
        remember: Callable[[Book], None] = lambda book: None,
    ) -> None:
        self._node = node
        self._network = network
        self._machine = machine
        self._own = own
        self._status = status
        self._exports = exports
        self._remember = remember
        self._busy = False
        self._is_taking = False
        machine.learned = self.learn

    # --- The book -------------------------------------------------------------------------------

    def learn(self, book: Book) -> None:
        """Talk to every member at the place that the book tells."""
        for member, place in book.items():
            if member == self._node.server.server_id:
                continue
            if self._network.addresses.get(member) != place.peers:
                self._network.add(member, place.peers)
        try:
            self._remember(book)
        except OSError as error:
            log.warning("the addresses of the members cannot be kept: %s", error)

    async def tend(self) -> None:
        """See for ever that the book has this node's place, and that learners are taught."""
        while True:
            await asyncio.sleep(TEND_S)
            own = self._node.server.server_id
            known = self._machine.book.get(own)
            is_told = known is not None and (known.peers, known.clients) == (
                self._own.peers,
                self._own.clients,
            )
            if not is_told and self._node.leader_id is not None:
                place = dataclasses.replace(self._own, learner=bool(known and known.learner))
                await self._do(note(own, place))
            self._teach()
            self._exports.close_idle()

    def _teach(self) -> None:
        role = self._node.server.role
        if isinstance(role, Leader) and role.learners != (wanted := self._wanted_learners()):
            self._node.handle(ChangeLearners(learners=wanted))

    def _wanted_learners(self) -> frozenset[ServerId]:
        there = set(members(self._node.server.configuration))
        return frozenset(m for m, p in self._machine.book.items() if p.learner and m not in there)

    async def _do(self, *commands: bytes) -> Outcome:
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def answer(outcome: Outcome) -> None:
            if not done.done():
                done.set_result(outcome)

        self._node.write(commands, answer)
        return await done

    # --- Commands -------------------------------------------------------------------------------

    async def answer(self, words: Sequence[bytes]) -> bytes:
        """Carry out ``RAFT <words>``; the reply is RESP."""
        try:
            texts = [word.decode() for word in words]
            verb = texts[0].upper() if texts else ""
            match verb, texts[1:]:
                case "STATUS", []:
                    return _json(self._describe())
                case "LEADER", []:
                    return _bulk(self._leader_address())
                case "MEMBER", [what, *rest]:
                    return _json(await self._member(what.upper(), rest))
                case "LOG", [first, count]:
                    return _json(self._log(parse_number(first), parse_number(count)))
                case "SNAPSHOT", [what, *rest]:
                    return await self._snapshot(what.upper(), rest)
                case "TRANSFER", [number]:
                    return _json(await self._transfer(parse_member(number)))
                case _:
                    raise Refusal(
                        "ERR",
                        "unknown RAFT command: give STATUS, LEADER, MEMBER LIST, MEMBER "
                        "LEARN|ADD|PROMOTE|REMOVE|REPLACE, TRANSFER, LOG, or SNAPSHOT",
                    )
        except UnicodeDecodeError:
            return b"-ERR a word of the command is no text\r\n"
        except ConfigError as error:
            return _error(f"ERR {error}")
        except Refusal as error:
            return _error(str(error))
        except StorageError as error:
            return _error(f"ERR {error}")
        except Exception:  # the administrator gets one line, the log has the rest
            log.exception("RAFT %s failed", words[0] if words else "")
            return b"-ERR an internal error, see this node's log\r\n"

    def _describe(self) -> dict[str, Any]:
        book = self._machine.book
        return {
            **dataclasses.asdict(self._status()),
            "client": str(self._own.clients or ""),
            "addresses": [self._row(m, p) for m, p in sorted(book.items())],
        }

    def _row(self, member: ServerId, place: Place) -> dict[str, Any]:
        configuration = self._node.server.configuration
        is_member = member in members(configuration)
        role = "member" if is_member else "learner" if place.learner else "removed"
        trouble = self._network.troubles().get(member, "")
        return {
            "member": member,
            "role": "leader" if member == self._node.leader_id else role,
            "peer": str(place.peers),
            "client": str(place.clients or ""),
            "problem": trouble,
        }

    def _leader_address(self) -> bytes | None:
        leader = self._node.leader_id
        if leader == self._node.server.server_id:
            place: Place | None = self._own
        else:
            place = self._machine.book.get(leader) if leader is not None else None
        return str(place.clients).encode() if place and place.clients else None

    async def _member(self, what: str, words: list[str]) -> Any:
        if what == "LIST" and not words:
            rows = [self._row(m, p) for m, p in sorted(self._machine.book.items())]
            return [row for row in rows if row["role"] != "removed"]
        dry_run = bool(words) and words[-1].upper() == "DRYRUN"
        words = words[:-1] if dry_run else words
        await self._must_lead()
        current = self._node.server.configuration
        match what, words:
            case "LEARN", [place]:
                return await self._learner(_one(place), dry_run)
            case "ADD", [place]:
                change = self._adding(current, _one(place))
            case "PROMOTE", [number]:
                change = self._promoting(current, parse_member(number))
            case "REMOVE", [number]:
                change = self._removing(current, parse_member(number))
            case "REPLACE", [number, place]:
                removed = self._removing(current, parse_member(number))
                added = self._adding(current, _one(place))
                change = _Change(removed.after | frozenset(added.new), added.new)
            case _:
                raise Refusal("ERR", f"MEMBER {what} is not known or has the wrong arguments")
        return await self._change(current, change, dry_run)

    async def _must_lead(self) -> None:
        """Refuse unless this node leads; as long as an election may take, wait for a leader."""
        deadline = asyncio.get_running_loop().time() + ELECTION_S
        while not isinstance(self._node.server.role, Leader):
            address = self._leader_address()
            if address is not None:
                raise Refusal("NOTLEADER", address.decode())
            if asyncio.get_running_loop().time() > deadline:
                raise Refusal("NOLEADER", self._node.why_no_leader())
            await asyncio.sleep(POLL_S)

    def _adding(self, current: Configuration, new: tuple[ServerId, Address]) -> _Change:
        if new[0] in current.old:
            raise Refusal("REFUSED", f"n{new[0]} is a member already")
        return _Change(current.old | {new[0]}, dict([new]))

    def _promoting(self, current: Configuration, member: ServerId) -> _Change:
        place = self._machine.book.get(member)
        if place is None or not place.learner:
            raise Refusal("REFUSED", f"n{member} is no learner: add it with --learner first")
        return self._adding(current, (member, place.peers))

    def _removing(self, current: Configuration, member: ServerId) -> _Change:
        if member not in current.old:
            raise Refusal("REFUSED", f"n{member} is no member")
        if len(current.old) == 1:
            raise Refusal("REFUSED", f"n{member} is the last member: a cluster needs one")
        return _Change(current.old - {member}, {})

    async def _learner(self, new: tuple[ServerId, Address], dry_run: bool) -> dict[str, Any]:
        change = self._adding(self._node.server.configuration, new)
        await self._reach(change)
        if not dry_run:
            place = Place(new[1], learner=True)
            self._must_be_done(await self._do(note(new[0], place)))
            self._teach()
        return {"learner": new[0], "done": not dry_run}

    async def _change(
        self, current: Configuration, change: _Change, dry_run: bool
    ) -> dict[str, Any]:
        if self._busy or current.new is not None:
            raise Refusal("REFUSED", "a change of the membership is under way: wait for its end")
        self._busy = True
        try:
            await self._reach(change)
            self._must_be_wise(change)
            index = 0
            if not dry_run:
                notes = [note(m, Place(address)) for m, address in change.new.items()]
                if notes:
                    self._must_be_done(await self._do(*notes))
                index = await self._begin_and_wait(change)
        finally:
            self._busy = False
        return {
            "before": sorted(current.old),
            "quorum_before": len(current.old) // 2 + 1,
            "after": sorted(change.after),
            "quorum_after": len(change.after) // 2 + 1,
            "done": not dry_run,
            "index": index,
        }

    async def _reach(self, change: _Change) -> None:
        """Connect to the new members, so that a wrong address is noticed before it can hurt."""
        for member, address in change.new.items():
            if self._network.addresses.get(member) != address:
                self._network.add(member, address)
        deadline = asyncio.get_running_loop().time() + CONNECT_S
        while any(member in self._network.troubles() for member in change.new):
            if asyncio.get_running_loop().time() > deadline:
                causes = [f"n{m} {self._network.troubles().get(m)}" for m in change.new]
                raise Refusal(
                    "REFUSED",
                    f"{', '.join(causes)}: start it with --join and check its address; nothing "
                    "was changed",
                )
            await asyncio.sleep(POLL_S)

    def _must_be_wise(self, change: _Change) -> None:
        troubles = self._network.troubles()
        reached = {m for m in change.after if m not in troubles}
        if not is_quorum(Configuration(old=change.after), reached):
            causes = ", ".join(f"n{m} {t}" for m, t in troubles.items() if m in change.after)
            raise Refusal(
                "REFUSED",
                f"of the {len(change.after)} members there would be, only {len(reached)} can be "
                f"reached and {len(change.after) // 2 + 1} are needed ({causes}); replace the "
                "unreachable ones or bring them back first",
            )

    async def _begin_and_wait(self, change: _Change) -> int:
        """The index of C_new, once it is committed."""
        refusals: list[str] = []
        self._node.change_membership(change.after, refusals.append)
        if refusals and refusals[0]:
            raise Refusal("REFUSED", f"{refusals[0]}; nothing was changed")
        term = self._node.server.current_term
        wanted = Configuration(old=change.after)
        while True:
            server = self._node.server
            if server.configuration == wanted and server.configuration_index <= server.commit_index:
                return server.configuration_index
            if server.current_term != term or not isinstance(server.role, Leader):
                raise Refusal(
                    "UNKNOWN",
                    "the leader changed meanwhile: the change may be done or not, look at "
                    "member list, then ask again",
                )
            await asyncio.sleep(POLL_S)

    async def _snapshot(self, what: str, words: list[str]) -> bytes:
        match what, [word.upper() for word in words[:1]], words[1:]:
            case "TAKE", [], []:
                self._must_be_done(await self._confirm())
                return await self._take()
            case "TAKE", ["SERIAL"], []:
                return await self._take()
            case "READ", [_], [offset]:
                piece = self._exports.read(words[0], parse_number(offset))
                if piece is None:
                    raise Refusal("ERR", "this snapshot is not kept any more: take another one")
                return _bulk(piece)
        raise Refusal("ERR", "give SNAPSHOT TAKE [SERIAL], or SNAPSHOT READ sha256 offset")

    async def _confirm(self) -> Outcome:
        """Once it is done, this node has applied all that was acknowledged before, anywhere."""
        confirmed: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._node.read((), confirmed.set_result)
        return await confirmed

    async def _take(self) -> bytes:
        if self._is_taking:
            raise Refusal("REFUSED", "this node is saving a snapshot already: wait, or ask another")
        self._is_taking = True
        try:
            return _bulk(msgspec.json.encode(await self._exports.take()))
        finally:
            self._is_taking = False

    def _must_be_done(self, outcome: Outcome) -> None:
        match outcome:
            case Done():
                return
            case NotDone(reason=reason, code=code):
                raise Refusal(code, reason)
            case Unknown(reason=reason):
                raise Refusal("UNKNOWN", reason)

    def _log(self, first: int, count: int) -> list[dict[str, Any]]:
        """Entries from ``first`` on, or the oldest that are kept."""
        entries = self._node.server.log
        start = max(first, base_index(entries) + 1)
        end = min(start + min(count, MAX_DUMPED) - 1, last_index(entries))
        return [_entry_row(entries, Index(i)) for i in range(start, end + 1)]

    async def _transfer(self, member: ServerId) -> dict[str, Any]:
        if self._node.leader_id == member:
            return {"leader": member}
        await self._must_lead()
        trouble = self._network.troubles().get(member)
        if trouble:
            raise Refusal("REFUSED", f"n{member} cannot be reached ({trouble})")
        refusals: list[str] = []
        self._node.transfer_leadership(member, refusals.append)
        if refusals and refusals[0]:
            raise Refusal("REFUSED", f"{refusals[0]}; nothing was changed")
        if not await self._leads_soon(member):
            raise Refusal("REFUSED", f"n{member} did not take over in time; look at status")
        return {"leader": member}

    async def _leads_soon(self, member: ServerId) -> bool:
        deadline = asyncio.get_running_loop().time() + TRANSFER_S
        while self._node.leader_id != member:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def hand_over(self) -> None:
        """Before this node stops: if it leads, let the member lead that has most of the log."""
        role = self._node.server.role
        if not isinstance(role, Leader):
            return
        troubles = self._network.troubles()
        there = members(self._node.server.configuration)
        able = [m for m in there if m in role.match_index and m not in troubles]
        if not able:
            return
        heir = max(able, key=lambda m: role.match_index[m])
        try:
            await self._transfer(heir)
        except Refusal as error:
            log.warning("leadership is not handed over: %s", error)


def _entry_row(entries: Log, index: Index) -> dict[str, Any]:
    entry = entry_at(entries, index)
    assert entry is not None, "the index is in the log"
    row: dict[str, Any] = {"index": index, "term": entry.term, "kind": type(entry.payload).__name__}
    match entry.payload:
        case Configuration(old=old, new=new):
            return {**row, "holds": f"{sorted(old)}" + (f" and {sorted(new)}" if new else "")}
        case Command() as command:
            _, commands = commands_in(command)
            return {**row, "holds": f"{len(commands)} commands, {len(command.data)} bytes"}
        case NoOp():
            return {**row, "holds": ""}


def parse_number(text: str) -> int:
    """Read a whole number from 0 on. Raises ``ConfigError``."""
    number = whole(text)
    if number is None:
        raise ConfigError(f"{text[:80]!r} is no whole number")
    return number


def _one(text: str) -> tuple[ServerId, Address]:
    found = parse_members(text)
    if len(found) != 1:
        raise ConfigError(f"{text!r}: give one member, as n=host:port")
    return found[0]


def _json(value: object) -> bytes:
    return _bulk(json.dumps(value).encode())


def _bulk(data: bytes | None) -> bytes:
    return b"$-1\r\n" if data is None else b"$%d\r\n%s\r\n" % (len(data), data)


def _error(text: str) -> bytes:
    return f"-{' '.join(text.split())}\r\n".encode()
