"""An asyncio client whose writes happen exactly once, or say that they may not have.

    async with Client(["127.0.0.1:7001", "127.0.0.1:7002"]) as client:
        await client.set("greeting", "hello")
        await client.increment("visits")

Every write carries a session's serial number (§8), so that it is sent again, to any node, until an
answer comes or the time is over; the cluster carries it out once. There are three ways to fail, and
they are different exceptions: ``CommandFailed``, the command is wrong; ``Unavailable``, nobody
carried it out and nobody will; ``OutcomeUnknown``, it was carried out once, or will be, or not.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar, cast

import hiredis

Word = bytes | str | int
T = TypeVar("T")

NOT_DONE = frozenset({"NOLEADER", "SHUTDOWN", "DISKFULL", "LOADING", "TRYAGAIN"})
"""Codes of errors that say: not carried out, and perhaps another node or time will do."""
MAX_OUTSTANDING = 512
"""Writes of one client on their way; a session keeps more results than that."""
FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.25
"""Pauses between attempts double, and are drawn at random up to that."""


class ClientError(Exception):
    """A request did not end well."""


class CommandFailed(ClientError):
    """The command was understood and refused; sending it again would not help."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]
        """The first word of the error, in capitals."""


class Unavailable(ClientError):
    """No node has carried it out, and none will."""


class OutcomeUnknown(ClientError):
    """It was sent and no answer came: it was carried out once, or will be, or was not."""


class WatchTrimmed(ClientError):
    """Changes after the position are not kept any more: read the keys again."""


@dataclass(frozen=True, slots=True)
class Change:
    """What ``Client.watch`` yields."""

    position: str
    """To go on behind it, here or in another process."""
    key: bytes
    value: bytes | None
    """None when the key was removed."""


def _encode(words: Sequence[Word]) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class _Connection(asyncio.Protocol):
    """One connection; requests are answered in order, so many can be on their way."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[object]] = deque()
        self._transport: asyncio.Transport | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                future = self._waiting.popleft()
                if not future.done():
                    future.set_result(reply)
        except (hiredis.HiredisError, IndexError):
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(ConnectionResetError("the connection was lost"))

    def request(self, data: bytes, replies: int = 1) -> list[asyncio.Future[object]]:
        """Send commands in one piece; a future for each reply."""
        if not self.is_open or self._transport is None:
            raise ConnectionResetError("the connection was lost")
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(replies)]
        self._waiting.extend(futures)
        self._transport.write(data)
        return futures

    def close(self) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()


class _Session:
    """Serial numbers, and which of them are still waited for."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._last = 0
        self._waiting: dict[int, None] = {}

    def begin(self) -> int:
        self._last += 1
        self._waiting[self._last] = None
        return self._last

    def end(self, serial: int) -> None:
        self._waiting.pop(serial, None)

    def call(self, serial: int) -> tuple[Word, ...]:
        """What stands before a command to make it request ``serial``."""
        return "SESSION", "CALL", self.number, serial, next(iter(self._waiting), serial)


class Client:
    """A client of a cluster; use it in ``async with``, from one event loop, by many tasks.

    ``timeout_s`` bounds every request with all its attempts, ``attempt_s`` one of them.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        timeout_s: float = 5.0,
        attempt_s: float = 2.0,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        assert addresses, "a client needs the address of one node at least"
        self._addresses = list(addresses)
        self._timeout_s = timeout_s
        self._attempt_s = attempt_s
        self._password = password
        self._tls = tls
        self._next = random.randrange(len(self._addresses))
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()
        self._session: _Session | None = None
        self._opening = asyncio.Lock()
        self._room = asyncio.Semaphore(MAX_OUTSTANDING)
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """The client itself; it connects when it is first used."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """See ``close``."""
        self.close()

    def close(self) -> None:
        """Close the connection; requests on their way end with an exception."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.close()

    # --- Commands -------------------------------------------------------------------------------

    async def get(self, key: Word) -> bytes | None:
        """The value of a key; linearizable."""
        return cast(bytes | None, await self.read("GET", key))

    async def get_many(self, *keys: Word) -> list[bytes | None]:
        """The values of keys, all at one time."""
        return cast(list[bytes | None], await self.read("MGET", *keys))

    async def exists(self, *keys: Word) -> int:
        """How many of the keys there are."""
        return cast(int, await self.read("EXISTS", *keys))

    async def time_left_s(self, key: Word) -> float | None:
        """How long a key will be there; None if it has no end, or is not there."""
        left = cast(int, await self.read("PTTL", key))
        return left / 1000 if left >= 0 else None

    async def set(
        self,
        key: Word,
        value: Word,
        *,
        expires_s: float | None = None,
        if_exists: bool | None = None,
    ) -> bool:
        """Set a key; was it set? ``if_exists``: only if it is there, or only if it is not."""
        options: list[Word] = [] if expires_s is None else ["PX", max(1, round(expires_s * 1000))]
        if if_exists is not None:
            options.append("XX" if if_exists else "NX")
        return await self.write("SET", key, value, *options) == b"OK"

    async def set_many(self, values: dict[Word, Word]) -> None:
        """Set keys, all at one time."""
        await self.write("MSET", *(word for item in values.items() for word in item))

    async def delete(self, *keys: Word) -> int:
        """Remove keys; how many were there."""
        return cast(int, await self.write("DEL", *keys))

    async def increment(self, key: Word, by: int = 1) -> int:
        """Add to a number; the new one."""
        return cast(int, await self.write("INCRBY", key, by))

    async def append(self, key: Word, data: Word) -> int:
        """Append to a value; its length."""
        return cast(int, await self.write("APPEND", key, data))

    async def expire(self, key: Word, seconds: float) -> bool:
        """Let a key expire; was it there?"""
        return await self.write("PEXPIRE", key, round(seconds * 1000)) == 1

    async def persist(self, key: Word) -> bool:
        """Let a key not expire; would it have?"""
        return await self.write("PERSIST", key) == 1

    async def read(self, *words: Word) -> object:
        """Any command that changes nothing."""
        data = _encode(words)
        return await self._attempts(lambda: data, is_write=False)

    async def write(self, *words: Word) -> object:
        """Any command on data, exactly once; see the module for the exceptions."""
        return await self._once(lambda call: (_encode([*call, *words]), 1))

    async def transact(self, change: Callable[[Transaction], Awaitable[T]]) -> T:
        """Read, decide and write as if nobody else did meanwhile.

        ``change`` is called again, with a new transaction, when a key that it has read was changed
        before its writes could be carried out; so it should do nothing else. Raises
        ``Unavailable`` if that happens until the time is over.
        """
        deadline = self._deadline()
        while True:
            transaction = Transaction(self)
            result = await change(transaction)
            if await transaction.commit():
                return result
            if self._now() > deadline:
                raise Unavailable("other clients kept changing the keys")
            await asyncio.sleep(random.uniform(0, FIRST_PAUSE_S))

    async def watch(self, prefix: Word = "", position: str = "$") -> AsyncIterator[Change]:
        """The changes of all keys that begin with ``prefix``: in order, each once, none missing.

        Goes on behind ``position``: that of a change, ``$`` for now, ``0`` for all that are kept.
        Survives the loss of nodes. Raises ``WatchTrimmed``.
        """
        stream = b"watch:" + (prefix if isinstance(prefix, bytes) else str(prefix).encode())
        if position == "$":  # so that nothing is missed if the first attempt fails
            position = await self._now_position()
        connection: _Connection | None = None
        try:
            while not self._is_closed:
                try:
                    if connection is None or not connection.is_open:
                        connection = await self._connect_anywhere()
                    words = ("XREAD", "COUNT", 256, "BLOCK", 1000, "STREAMS", stream, position)
                    (future,) = connection.request(_encode(words))
                    reply = await asyncio.wait_for(future, 1 + self._attempt_s)
                except (OSError, TimeoutError):
                    _close(connection)
                    connection = None
                    await asyncio.sleep(random.uniform(0, LONGEST_PAUSE_S))
                    continue
                if isinstance(reply, hiredis.ReplyError):
                    await self._refused_watch(str(reply), connection)
                for change in _changes(reply):
                    position = change.position
                    yield change
        finally:
            _close(connection)

    async def _refused_watch(self, text: str, connection: _Connection) -> None:
        """Go on elsewhere if that may help."""
        code = text.partition(" ")[0]
        if code == "TRIMMED":
            raise WatchTrimmed(text)
        if code not in NOT_DONE | {"UNKNOWN"}:
            raise CommandFailed(text)
        connection.close()
        await asyncio.sleep(random.uniform(0, LONGEST_PAUSE_S))

    async def _now_position(self) -> str:
        revision = await self.read("REVISION")
        return f"{revision}"

    # --- Attempts -------------------------------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _deadline(self) -> float:
        return self._now() + self._timeout_s

    async def _once(self, request: Callable[[tuple[Word, ...]], tuple[bytes, int]]) -> object:
        """The reply to a write. ``request`` makes it, given what makes it a numbered one."""
        async with self._room:
            while True:
                session = await self._opened()
                serial = session.begin()
                try:
                    return await self._attempts(
                        lambda s=session, n=serial: request(s.call(n))[0],  # type: ignore[misc]
                        is_write=True,
                        replies=request(())[1],
                    )
                except _SessionEnded:
                    if self._session is session:
                        self._session = None
                finally:
                    session.end(serial)

    async def _opened(self) -> _Session:
        async with self._opening:
            if self._session is None:
                data = _encode(("SESSION", "OPEN"))
                # Opening twice does no harm: the other session is never used.
                number = await self._attempts(lambda: data, is_write=False)
                self._session = _Session(cast(int, number))
            return self._session

    async def _attempts(
        self, request: Callable[[], bytes], *, is_write: bool, replies: int = 1
    ) -> object:
        """The last reply to a request, sent until it is answered or the time is over."""
        deadline = self._deadline()
        pause_s, reason, may_be_done = FIRST_PAUSE_S, "the time is over", False
        while (left := deadline - self._now()) > 0 and not self._is_closed:
            connection, was_sent = None, False
            try:
                async with asyncio.timeout(min(left, self._attempt_s)):
                    connection = await self._connected()
                    futures = connection.request(request(), replies)
                    was_sent = True
                    reply = (await asyncio.gather(*futures))[-1]
            except (OSError, TimeoutError) as error:
                reason = str(error) or "no answer in time"
                may_be_done |= was_sent
                self._lose(connection)
            else:
                if not isinstance(reply, hiredis.ReplyError):
                    return reply
                reason = str(reply)
                code = reason.partition(" ")[0]
                if code == "SESSIONEXPIRED" and is_write:
                    if may_be_done:
                        raise OutcomeUnknown(reason)
                    raise _SessionEnded
                if code == "UNKNOWN":
                    may_be_done = True
                elif code not in NOT_DONE:
                    raise CommandFailed(reason)
                self._lose(connection)
            await asyncio.sleep(min(random.uniform(0, pause_s), max(0, deadline - self._now())))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        if may_be_done and is_write:
            raise OutcomeUnknown(reason)
        raise Unavailable(reason)

    # --- Connections ----------------------------------------------------------------------------

    def _lose(self, connection: _Connection | None) -> None:
        """Use another connection from now on; requests on this one are sent again on that."""
        if connection is not None:
            connection.close()
        if self._connection is connection:
            self._connection = None

    async def _connected(self) -> _Connection:
        """The connection to the leader, as far as it is known; to any node otherwise."""
        async with self._connecting:
            if self._connection is None or not self._connection.is_open:
                self._connection = await self._connect_to_leader()
            return self._connection

    async def _connect_anywhere(self) -> _Connection:
        """A connection to the next node that accepts one."""
        last: Exception = ConnectionRefusedError("no node accepts connections")
        for _ in self._addresses:
            address = self._addresses[self._next % len(self._addresses)]
            self._next += 1
            try:
                return await self._connect(address)
            except OSError as error:
                last = error
        raise last

    async def _connect_to_leader(self) -> _Connection:
        connection = await self._connect_anywhere()
        try:
            leader = await connection.request(_encode(("RAFT", "LEADER")))[0]
        except BaseException:
            connection.close()
            raise
        own = self._addresses[(self._next - 1) % len(self._addresses)]
        if not isinstance(leader, bytes) or leader.decode() == own:
            return connection  # any node forwards, if this one does not lead
        try:
            found = await self._connect(leader.decode())
        except (OSError, ValueError):
            return connection
        connection.close()
        return found

    async def _connect(self, address: str) -> _Connection:
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            _Connection, host.strip("[]"), int(port), ssl=self._tls
        )
        if self._password is None:
            return connection
        try:
            reply = await connection.request(_encode(("AUTH", self._password)))[0]
        except BaseException:
            connection.close()
            raise
        if isinstance(reply, hiredis.ReplyError):
            connection.close()
            raise CommandFailed(str(reply))
        return connection


class _SessionEnded(Exception):
    """The session was ended before the request was sent for the first time."""


class Transaction:
    """What ``Client.transact`` gives: reads at once, writes all together at the end."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._revisions: dict[Word, int] = {}
        self._writes: list[tuple[Word, ...]] = []
        self.results: list[object] = []
        """Of the writes, in order, when they were carried out."""

    async def get(self, key: Word) -> bytes | None:
        """The value of a key, which must not change before the end."""
        # The revision is read first: should the key change in between, the transaction fails.
        if key not in self._revisions:
            (revision,) = cast(list[int], await self._client.read("REVISIONS", key))
            self._revisions[key] = revision
        return await self._client.get(key)

    def write(self, *words: Word) -> None:
        """Any command on data, to be carried out at the end."""
        self._writes.append(words)

    def set(self, key: Word, value: Word) -> None:
        """Set a key at the end."""
        self.write("SET", key, value)

    def delete(self, *keys: Word) -> None:
        """Remove keys at the end."""
        self.write("DEL", *keys)

    async def commit(self) -> bool:
        """Carry out the writes, unless a key that was read has changed; were they?"""
        watched = [word for item in self._revisions.items() for word in item]
        before = [("SESSION", "WATCH", *watched)] if watched else []
        commands = [*before, ("MULTI",), *self._writes]

        def request(call: tuple[Word, ...]) -> tuple[bytes, int]:
            # In one piece, so that nothing of other tasks comes between on the same connection.
            whole = [*map(_encode, commands), _encode((*call, "EXEC"))]
            return b"".join(whole), len(whole)

        reply = await self._client._once(request)
        if reply is None:
            return False
        self.results = cast(list[object], reply)
        return True


def _close(connection: _Connection | None) -> None:
    if connection is not None:
        connection.close()


def _changes(reply: object) -> list[Change]:
    """The changes in an answer to XREAD."""
    if not isinstance(reply, list):
        return []
    ((_, entries),) = reply
    found = []
    for position, fields in entries:
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        found.append(Change(position.decode(), named[b"key"], named.get(b"value")))
    return found
