"""Clients on TCP: commands in, replies out in order, and no more of both than there is room for."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, assert_never, cast

from impl.config import Address
from impl.machine import Failure, Result
from impl.node import Node
from impl.requests import Done, NotDone, Outcome, Unknown
from impl.resp import Action, Admin, Local, Read, Session, Wait, Write
from impl.resp_codec import ProtocolError
from impl.store import MAX_VALUE_BYTES
from impl.transport import quicken
from impl.watch import Watchers

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """Bounds on what clients can make a node hold."""

    connections: int = 10_000
    introduction_s: float = 10.0
    """For the TLS handshake, and then for the password if there is one."""
    waiting_commands: int = 4096
    """Of one connection, without an answer yet; beyond this, it is not read from."""
    commands_at_once: int = 1024
    """Of one connection, in one request to the node."""
    value: int = MAX_VALUE_BYTES
    """Bytes of a key or value."""


class Run:
    """Consecutive commands of one connection that are asked for together, and their replies."""

    __slots__ = ("actions", "client", "replies")

    def __init__(self, client: Client, actions: Sequence[Read | Write]) -> None:
        self.client = client
        self.actions = actions
        self.replies: bytes | None = None

    def answer(self, outcome: Outcome) -> None:
        """The node's answer, as the client reads it."""
        match outcome:
            case Done(results=results):
                pairs = zip(self.actions, results, strict=True)
                self.replies = b"".join([action.render(result) for action, result in pairs])
            case NotDone(reason=reason, code=code):
                self._fail(Failure(code, reason))
            case Unknown(reason=reason):
                text = f"the command may or may not have been carried out: {reason}"
                self._fail(Failure("UNKNOWN", text))
            case _:
                assert_never(outcome)
        self.client.answered(self)

    def end(self, replies: bytes) -> None:
        """The replies are known."""
        self.replies = replies
        self.client.answered(self)

    def _fail(self, failure: Failure) -> None:
        self.replies = b"".join([action.render(failure) for action in self.actions])


class Parked:
    """A client that waits for a change, until one comes or its time is over."""

    def __init__(self, listener: ClientListener, run: Run, wait: Wait) -> None:
        self._listener = listener
        self._run = run
        self._wait = wait
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        if wait.timeout_ms:
            self._timer = self._loop.call_later(wait.timeout_ms / 1000, self._give_up)
        self._forget = self._listen()

    def _listen(self) -> Callable[[], None]:
        return self._listener.watchers.add(self._wait.prefixes, self._wake)

    def _wake(self) -> None:
        self._loop.call_soon(self._ask)  # in a turn of its own: a batch is being applied

    def _ask(self) -> None:
        if self._run.replies is not None:
            return
        reply = self._wait.take(self._listener.query(self._wait.query))
        if reply is None:
            self._forget = self._listen()
        else:
            self._end(reply)

    def _give_up(self) -> None:
        self._end(self._wait.nothing())

    def _end(self, reply: bytes) -> None:
        self.cancel()
        self._run.end(reply)

    def cancel(self) -> None:
        """The client is gone, or answered."""
        self._forget()
        if self._timer is not None:
            self._timer.cancel()


class Client(asyncio.Protocol):
    """One client's connection: replies in the order of the commands, whoever carries them out.

    Commands of one kind are under way together; a change between writing and reading waits for the
    answers before it, so that a client reads what it wrote.
    """

    def __init__(self, listener: ClientListener) -> None:
        self._listener = listener
        self._session = Session(
            listener.about, password=listener.password, max_value=listener.limits.value
        )
        self._backlog: deque[Action] = deque()
        self._runs: deque[Run | bytes] = deque()
        self._open_runs = 0
        self._open_kind: type = object
        self._waiting = 0
        self._is_paused = False
        self._is_slow = False
        self._is_closing = False
        self._parked: Parked | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        quicken(self._transport)
        if not self._listener.admit(self):
            self._transport.write(b"-ERR too many clients\r\n")
            self._transport.close()
        elif not self._session.is_known:
            delay = self._listener.limits.introduction_s
            asyncio.get_running_loop().call_later(delay, self._hang_up_on_strangers)

    def _hang_up_on_strangers(self) -> None:
        if not self._session.is_known:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """It went; what it asked for goes on, unheard."""
        self._is_closing = True
        self._backlog.clear()
        if self._parked is not None:
            self._parked.cancel()
        self._listener.clients.discard(self)

    def data_received(self, data: bytes) -> None:
        """Commands arrived, perhaps many, perhaps a part of one."""
        try:
            actions = self._session.feed(data)
        except ProtocolError as error:
            self._runs.append(f"-ERR Protocol error: {error}\r\n".encode())
            self._is_closing = True
            self._flush()
            return
        self._waiting += len(actions)
        self._backlog.extend(actions)
        self._pump()
        if self._waiting or self._is_paused:
            self._throttle()

    def pause_writing(self) -> None:
        """It does not read its replies: do not take more commands from it."""
        self._is_slow = True
        self._throttle()

    def resume_writing(self) -> None:
        """It reads again."""
        self._is_slow = False
        self._throttle()

    def _throttle(self) -> None:
        """Read from the client only while there is room for what it asks."""
        listener = self._listener
        is_overloaded = listener.node.queued_bytes > listener.queued_bytes
        pause = self._is_slow or is_overloaded or self._waiting > listener.limits.waiting_commands
        if pause != self._is_paused and not self._transport.is_closing():
            self._is_paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()
        if is_overloaded:
            asyncio.get_running_loop().call_later(0.01, self._throttle)

    def _pump(self) -> None:
        """Ask for what can be asked for now."""
        backlog = self._backlog
        while backlog and not self._is_closing:
            action = backlog[0]
            match action:
                case Wait():
                    if self._open_runs:
                        break
                    backlog.popleft()
                    self._wait(action)
                case Write() | Read():
                    if self._open_runs and not isinstance(action, self._open_kind):
                        break
                    self._start()
                case Local():
                    backlog.popleft()
                    self._waiting -= 1
                    self._runs.append(action.reply)
                    self._is_closing = action.close
                case Admin():
                    if self._open_runs:
                        break
                    backlog.popleft()
                    self._administer(action.words)
                case _:
                    assert_never(action)
        if self._runs:
            self._flush()

    def _start(self) -> None:
        """One request for all commands of one kind at the head of the backlog."""
        node = self._listener.node
        if isinstance(self._backlog[0], Read):
            reads = self._take(Read)
            self._listener.count("read", len(reads))
            node.read([read.query for read in reads], self._begin(Read, reads).answer)
            return
        writes = self._take(Write)
        self._listener.count("write", len(writes))
        run = self._begin(Write, writes)
        if self._listener.is_full():
            run.answer(NotDone("no space left on this node's disk", "DISKFULL"))
        else:
            node.write([write.command for write in writes], run.answer)

    def _take(self, kind: type[K]) -> list[K]:
        """The commands of this kind at the head of the backlog, up to a bound."""
        backlog = self._backlog
        taken: list[K] = []
        room = self._listener.limits.commands_at_once
        while backlog and len(taken) < room:
            action: object = backlog[0]
            if not isinstance(action, kind) or isinstance(action, Wait):
                break
            taken.append(action)
            backlog.popleft()
        return taken

    def _begin(self, kind: type, actions: Sequence[Read | Write]) -> Run:
        run = Run(self, actions)
        self._runs.append(run)
        self._open_runs += 1
        self._open_kind = kind
        return run

    def _wait(self, wait: Wait) -> None:
        """Answer when there is a change, or when the client's time is over."""
        run = self._begin(Wait, (wait,))
        self._listener.count("read", 1)

        def answer(outcome: Outcome) -> None:
            if not isinstance(outcome, Done):
                run.answer(outcome)
            elif (reply := wait.take(outcome.results[0])) is not None:
                run.end(reply)
            elif not self._is_closing:
                self._parked = Parked(self._listener, run, wait)

        self._listener.node.read([wait.query], answer)

    def _administer(self, words: Sequence[bytes]) -> None:
        run = self._begin(Admin, ())
        self._listener.count("admin", 1)

        def done(task: asyncio.Task[bytes]) -> None:
            run.replies = task.result()
            self._waiting -= 1
            self.answered(run)

        self._listener.in_background(self._listener.admin(words), done)

    def answered(self, run: Run) -> None:
        """One run has its replies."""
        self._open_runs -= 1
        self._waiting -= len(run.actions)
        if self._backlog:
            self._pump()
        else:
            self._flush()
        if self._is_paused:
            self._throttle()

    def _flush(self) -> None:
        """Write the replies that are next."""
        ready = []
        runs = self._runs
        while runs:
            head = runs[0]
            replies = head if isinstance(head, bytes) else head.replies
            if replies is None:
                break
            ready.append(replies)
            runs.popleft()
        if ready and not self._transport.is_closing():
            self._transport.write(b"".join(ready))
        if self._is_closing and not runs:
            self._transport.close()

    def close(self) -> None:
        """The node stops."""
        self._transport.close()


class ClientListener:
    """Accepts clients, and gives their connections what they need."""

    def __init__(
        self,
        *,
        node: Node,
        limits: ClientLimits,
        queued_bytes: int,
        is_full: Callable[[], bool],
        about: Callable[[], Mapping[str, object]],
        admin: Callable[[Sequence[bytes]], Awaitable[bytes]],
        watchers: Watchers,
        query: Callable[[object], Result],
        password: str | None = None,
        count: Callable[[str, int], None] = lambda kind, number: None,
    ) -> None:
        self.node = node
        self.count = count
        self.watchers = watchers
        self.query = query
        self.limits = limits
        self.queued_bytes = queued_bytes
        self.is_full = is_full
        self.about = about
        self.admin = admin
        self.password = password
        self.clients: set[Client] = set()
        self._tasks: set[asyncio.Task[bytes]] = set()
        self._listener: asyncio.Server | None = None

    async def start(self, address: Address, tls: ssl.SSLContext | None) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Client(self),
            address.host,
            address.port,
            ssl=tls,
            ssl_handshake_timeout=self.limits.introduction_s if tls else None,
            backlog=1024,
        )

    def admit(self, client: Client) -> bool:
        """Is there room for one more connection?"""
        if len(self.clients) >= self.limits.connections:
            return False
        self.clients.add(client)
        return True

    def in_background(
        self, work: Awaitable[bytes], done: Callable[[asyncio.Task[bytes]], None]
    ) -> None:
        """Do something that takes a while."""

        async def doing() -> bytes:
            return await work

        task = asyncio.get_running_loop().create_task(doing())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(done)

    async def close(self) -> None:
        """Stop listening, then let the clients go."""
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()
        for client in list(self.clients):
            client.close()
