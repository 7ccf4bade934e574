"""One client's connection: Redis commands in, actions for the node and replies out; no sockets.

``Session.feed`` turns bytes into actions, in order. The node carries them out and asks each for its
reply: ``Write`` goes through the log, ``Read`` is answered from the state machine after leadership
was confirmed, ``Local`` is answered already, ``Admin`` is for the node itself. Several actions of
one kind may be under way at once; the ``command`` or ``query`` of an action is asked for when all
actions of another kind before it were rendered.

A transaction is one entry of the log: MULTI collects operations here, and EXEC sends them with the
revisions of the keys that WATCH has seen. A command with a session's serial number, ``SESSION
CALL``, is carried out once however often it is sent (§8).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import TypeAlias

import msgspec

from impl.globs import matches
from impl.machine import Failure, Result
from impl.operations import (
    COMMANDS,
    NOT_AN_INTEGER,
    SYNTAX,
    Command,
    Operation,
    Refused,
    number,
    wrong_number,
)
from impl.resp_codec import OK, Parser, ProtocolError, encode, error
from impl.store import MAX_VALUE_BYTES, integer
from impl.watch import Asked, found, parse, prefix_of

__all__ = ["Action", "Admin", "Local", "Read", "Session", "Wait", "Write", "error"]

MAX_QUEUED = 10_000
MAX_QUEUED_BYTES = 16 << 20
"""How much one transaction may ask for."""
VERSION = "7.2.0"
"""The Redis whose commands are understood, as far as they are."""

_pack = msgspec.msgpack.Encoder().encode
_ids = count(1)
_ABORTED = Failure("EXECABORT", "Transaction discarded because of previous errors.")
_CONFIG = {"save": "", "appendonly": "yes", "appendfsync": "always", "databases": "1"}


class Local(msgspec.Struct, frozen=True):
    """Answered already."""

    reply: bytes
    close: bool = False
    """Close the connection when the reply is sent."""


class Admin(msgspec.Struct, frozen=True):
    """``RAFT words...``: for the node, whose reply is sent as it is."""

    words: list[bytes]


class Write:
    """To be replicated; its result is the reply."""

    __slots__ = ("_command", "_session")

    def __init__(self, session: Session, command: bytes = b"") -> None:
        self._session = session
        self._command = command

    @property
    def command(self) -> bytes:
        """What goes into the log."""
        return self._command

    def render(self, result: Result) -> bytes:
        """The reply for the result, or for the failure to get one."""
        return encode(result, self._session.protocol)


class Read:
    """To be asked of the state machine; its result is the reply."""

    __slots__ = ("_session", "query")

    def __init__(self, session: Session, query: Operation) -> None:
        self._session = session
        self.query = query
        """What ``KeyValueStore.query`` takes."""

    def render(self, result: Result) -> bytes:
        """The reply for the result, or for the failure to get one."""
        return encode(result, self._session.protocol)


Watched: TypeAlias = dict[bytes, int]
_NOT_KNOWN = -1


class Watch(Read):
    """WATCH: what revisions keys have now."""

    __slots__ = ("_keys", "_watched")

    def __init__(self, session: Session, keys: list[bytes], watched: Watched) -> None:
        super().__init__(session, ("revisions", *keys))
        self._keys = keys
        self._watched = watched

    def render(self, result: Result) -> bytes:
        """OK. A key that is watched twice counts from the first time on."""
        if not isinstance(result, list):
            return super().render(result)
        for key, revision in zip(self._keys, result, strict=True):
            assert isinstance(revision, int)
            if self._watched.get(key, _NOT_KNOWN) == _NOT_KNOWN:
                self._watched[key] = revision
        return OK


class Execute(Write):
    """EXEC: all that was collected, if no watched key has changed."""

    __slots__ = ("_call", "_operations", "_watched")

    def __init__(
        self,
        session: Session,
        watched: Watched,
        operations: list[Operation],
        call: tuple[int, int, int] | None,
    ) -> None:
        super().__init__(session)
        self._watched = watched
        self._operations = operations
        self._call = call

    @property
    def command(self) -> bytes:
        """What goes into the log: the keys' revisions are known by now."""
        operation = ("exec", list(self._watched.items()), self._operations)
        return _pack(operation if self._call is None else ("session_call", *self._call, operation))

    def render(self, result: Result) -> bytes:
        """The results of all commands, or nil if a watched key has changed."""
        if result is None and self._session.protocol == 2:
            return b"*-1\r\n"
        return super().render(result)


class Changes(Read):
    """XREAD: the changes there are."""

    __slots__ = ("_asked",)

    def __init__(self, session: Session, asked: Asked) -> None:
        super().__init__(session, ("exec", [], asked.operations))
        self._asked = asked

    def render(self, result: Result) -> bytes:
        """The changes by stream, or nil if there are none."""
        return self.take(result) or self.nothing()

    def take(self, result: Result) -> bytes | None:
        """The reply, or None if there are no changes yet."""
        if not isinstance(result, list):
            return super().render(result)
        changes = found(self._asked, result)
        self.query = ("exec", [], self._asked.operations)
        protocol = self._session.protocol
        if isinstance(changes, dict) and protocol == 2:
            return encode([list(item) for item in changes.items()]) if changes else None
        return encode(changes, protocol) if changes else None

    def nothing(self) -> bytes:
        """The reply when no change came."""
        return b"*-1\r\n" if self._session.protocol == 2 else b"_\r\n"


class Wait(Changes):
    """XREAD with BLOCK: if there are no changes, to be asked again when there are.

    ``take`` instead of ``render``: None means to wait for ``prefixes`` to change, at most for
    ``timeout_ms`` (0: for ever) since the beginning, and then ``take`` what the query finds; or to
    reply ``nothing`` when the time is over.
    """

    __slots__ = ()

    @property
    def prefixes(self) -> list[bytes]:
        """The keys whose changes are waited for begin with one of these."""
        return [prefix_of(cursor.stream) for cursor in self._asked.cursors]

    @property
    def timeout_ms(self) -> int:
        """How long to wait; 0 for ever."""
        return self._asked.block_ms or 0


Action = Write | Read | Local | Admin


class Session:
    """The state of one client's connection."""

    def __init__(
        self,
        about: Callable[[], Mapping[str, object]],
        *,
        password: str | None = None,
        address: str = "",
        max_value: int = MAX_VALUE_BYTES,
    ) -> None:
        self._about = about
        self._password = password
        self._address = address
        self._max_value = max_value
        self._parser = Parser()
        self._is_closed = False
        self._id = next(_ids)
        self._reset()

    def _reset(self) -> None:
        self.protocol = 2
        """The version of RESP that replies are encoded in."""
        self._name = b""
        self._is_known = self._password is None
        self._queue: list[Operation] | None = None
        self._queued_bytes = 0
        self._is_aborted = False
        self._watched: Watched = {}

    @property
    def is_known(self) -> bool:
        """Has the client given the password, if there is one?"""
        return self._is_known

    def feed(self, data: bytes) -> list[Action]:
        """The actions that ``data`` asks for; the last one may be an error that closes."""
        if self._is_closed:
            return []
        commands: list[list[bytes]] = []
        failure: ProtocolError | None = None
        try:
            self._parser.feed(data, commands)
        except ProtocolError as found:
            failure = found
        actions: list[Action] = []
        for words in commands:
            action = self._action(words)
            actions.append(action)
            if isinstance(action, Local) and action.close:
                return actions
        if failure is not None:
            self._is_closed = True
            actions.append(Local(error("ERR", f"Protocol error: {failure}"), close=True))
        return actions

    def _action(self, words: list[bytes]) -> Action:
        """What one command asks for."""
        command = _DATA.get(words[0]) or _DATA.get(words[0].lower())
        try:
            if not self._is_known:
                return self._introduction(words)
            if command is None:
                return self._other(words)
            if command.writes and max(map(len, words)) > self._max_value:
                raise Refused(self._too_long(words))
            if self._queue is not None:
                return self._queued(_operation_in_queue(command, words), sum(map(len, words)))
            operation = _operation(command, words)
        except Refused as refused:
            return self._refused(refused.failure)
        return Write(self, _pack(operation)) if command.writes else Read(self, operation)

    def _refused(self, failure: Failure) -> Local:
        self._is_aborted = self._queue is not None
        return Local(error(failure.code, failure.text))

    def _too_long(self, words: list[bytes]) -> Failure:
        longest = max(map(len, words))
        return Failure("ERR", f"{longest} bytes are too long: at most {self._max_value}, max-value")

    def _reply(self, value: object) -> Local:
        return Local(encode(value, self.protocol))

    def _introduction(self, words: list[bytes]) -> Action:
        """Before a password was given, only what gives one."""
        name = words[0].lower()
        if name in (b"auth", b"hello", b"quit", b"reset"):
            return self._other(words)
        raise Refused(Failure("NOAUTH", "Authentication required."))

    def _other(self, words: list[bytes]) -> Action:
        """A command on the connection, on a transaction, or for the node."""
        name = words[0].lower().decode(errors="replace")
        found = _CONNECTION.get(name)
        if found is None:
            given = "".join(f"'{w[:128].decode(errors='replace')}' " for w in words[1:20])
            text = f"unknown command '{words[0][:128].decode(errors='replace')}', "
            raise Refused(Failure("ERR", f"{text}with args beginning with: {given}"))
        least, most, handle = found
        if not least <= len(words) <= most:
            raise Refused(wrong_number(name))
        if self._queue is not None and name not in _IN_TRANSACTION:
            raise Refused(Failure("ERR", "Command not allowed inside a transaction"))
        return handle(self, words)

    # --- Transactions ---------------------------------------------------------------------------

    def _queued(self, operation: Operation, size: int) -> Local:
        assert self._queue is not None
        self._queued_bytes += size
        if len(self._queue) >= MAX_QUEUED or self._queued_bytes > MAX_QUEUED_BYTES:
            return self._refused(Failure("ERR", "the transaction is too large"))
        self._queue.append(operation)
        return Local(b"+QUEUED\r\n")

    def _end_transaction(self) -> tuple[list[Operation], Watched, bool]:
        assert self._queue is not None
        ended = self._queue, self._watched, self._is_aborted
        self._queue, self._watched = None, {}
        self._is_aborted, self._queued_bytes = False, 0
        return ended

    def _multi(self, words: list[bytes]) -> Action:
        if self._queue is not None:
            return Local(error("ERR", "MULTI calls can not be nested"))
        self._queue = []
        return Local(OK)

    def _exec(self, words: list[bytes], call: tuple[int, int, int] | None = None) -> Action:
        if self._queue is None:
            raise Refused(Failure("ERR", "EXEC without MULTI"))
        queue, watched, is_aborted = self._end_transaction()
        if is_aborted:
            return Local(error(_ABORTED.code, _ABORTED.text))
        return Execute(self, watched, queue, call)

    def _discard(self, words: list[bytes]) -> Action:
        if self._queue is None:
            raise Refused(Failure("ERR", "DISCARD without MULTI"))
        self._end_transaction()
        return Local(OK)

    def _watch(self, words: list[bytes]) -> Action:
        if self._queue is not None:
            return Local(error("ERR", "WATCH inside MULTI is not allowed"))
        for key in words[1:]:
            self._watched.setdefault(key, _NOT_KNOWN)
        return Watch(self, words[1:], self._watched)

    def _unwatch(self, words: list[bytes]) -> Action:
        self._watched = {}
        return self._answer("OK")

    def _xread(self, words: list[bytes]) -> Action:
        asked = parse(words)
        return Changes(self, asked) if asked.block_ms is None else Wait(self, asked)

    def _answer(self, value: Result) -> Action:
        """A reply that is known already, now or as a part of a transaction."""
        if self._queue is None:
            return self._reply(value)
        if isinstance(value, Failure):
            return self._queued(("fail", value.code, value.text), 64)
        return self._queued(("echo", value), 64)

    # --- Exactly once ---------------------------------------------------------------------------

    def _session(self, words: list[bytes]) -> Action:
        """SESSION OPEN; SESSION CALL id serial oldest command...; SESSION WATCH key revision..."""
        verb = words[1].upper()
        if verb == b"OPEN" and len(words) == 2 and self._queue is None:
            return Write(self, _pack(("session_open",)))
        if verb == b"WATCH" and len(words) % 2 == 0 and self._queue is None:
            self._watched |= zip(words[2::2], map(number, words[3::2]), strict=True)
            return Local(OK)
        if verb != b"CALL" or len(words) < 6:
            raise Refused(SYNTAX)
        client_id, serial, oldest = map(number, words[2:5])
        inner = words[5:]
        if inner[0].upper() == b"EXEC":
            return self._exec(inner, (client_id, serial, oldest))
        command = _DATA.get(inner[0].lower())
        if command is None or self._queue is not None:
            raise Refused(Failure("ERR", "SESSION CALL takes a command on data, or EXEC"))
        operation = _operation(command, inner)
        if not command.writes:
            return Read(self, operation)
        if max(map(len, words)) > self._max_value:
            raise Refused(self._too_long(words))
        return Write(self, _pack(("session_call", client_id, serial, oldest, operation)))

    # --- The connection -------------------------------------------------------------------------

    def _ping(self, words: list[bytes]) -> Action:
        return self._answer(words[1] if len(words) > 1 else "PONG")

    def _echo(self, words: list[bytes]) -> Action:
        return self._answer(words[1])

    def _select(self, words: list[bytes]) -> Action:
        index = integer(words[1])
        if index is None:
            return self._answer(NOT_AN_INTEGER)
        return self._answer("OK" if index == 0 else Failure("ERR", "DB index is out of range"))

    def _quit(self, words: list[bytes]) -> Action:
        self._is_closed = True
        return Local(OK, close=True)

    def _reset_connection(self, words: list[bytes]) -> Action:
        self._reset()
        return Local(b"+RESET\r\n")

    def _auth(self, words: list[bytes]) -> Action:
        self._check_password(*words[1:])
        return Local(OK)

    def _check_password(self, *words: bytes) -> None:
        user, given = words if len(words) == 2 else (b"default", words[0])
        if self._password is None:
            if len(words) == 2 and user == b"default":
                return
            text = "AUTH <password> called without any password configured for the default user."
            raise Refused(Failure("ERR", f"{text} Are you sure your configuration is correct?"))
        is_right = hmac.compare_digest(given, self._password.encode())
        if user != b"default" or not is_right:
            text = "invalid username-password pair or user is disabled."
            raise Refused(Failure("WRONGPASS", text))
        self._is_known = True

    def _hello(self, words: list[bytes]) -> Action:
        protocol, name = self.protocol, self._name
        rest: Iterator[bytes] = iter(words[1:])
        if (version := next(rest, None)) is not None:
            if version not in (b"2", b"3"):
                raise Refused(Failure("NOPROTO", "unsupported protocol version"))
            protocol = int(version)
        for option in rest:
            arguments = [next(rest, None) for _ in range(1 + (option.upper() == b"AUTH"))]
            given = [word for word in arguments if word is not None]
            match option.upper(), given:
                case b"AUTH", [user, password]:
                    self._check_password(user, password)
                case b"SETNAME", [new]:
                    name = new
                case _:
                    text = f"Syntax error in HELLO option '{option.decode(errors='replace')}'"
                    raise Refused(Failure("ERR", text))
        if not self._is_known:
            text = "HELLO must be called with the client already authenticated"
            raise Refused(Failure("NOAUTH", f"{text}, otherwise use HELLO <proto> AUTH"))
        self.protocol, self._name = protocol, name
        return self._reply(
            {
                b"server": b"redis",
                b"version": VERSION.encode(),
                b"proto": protocol,
                b"id": self._id,
                b"mode": b"standalone",
                b"role": b"master",
                b"modules": [],
            }
        )

    def _info(self, words: list[bytes]) -> Action:
        asked = {word.lower().decode(errors="replace") for word in words[1:]}
        sections: dict[str, Mapping[str, object]] = {"server": {"redis_version": VERSION}}
        for key, value in self._about().items():
            if isinstance(value, Mapping):
                sections[key.lower()] = value
            else:
                sections["server"] = {**sections["server"], key: value}
        is_whole = not asked or asked & {"all", "default", "everything"}
        texts = [
            "\r\n".join([f"# {name.capitalize()}", *(f"{k}:{v}" for k, v in fields.items()), ""])
            for name, fields in sections.items()
            if is_whole or name in asked
        ]
        return self._reply("\r\n".join(texts).encode())

    def _client(self, words: list[bytes]) -> Action:
        match [words[1].upper(), *words[2:]]:
            case [b"ID"]:
                return self._reply(self._id)
            case [b"GETNAME"]:
                return self._reply(self._name or None)
            case [b"SETNAME", name]:
                if any(byte <= 32 for byte in name):
                    text = "Client names cannot contain spaces, newlines or special characters."
                    raise Refused(Failure("ERR", text))
                self._name = name
                return Local(OK)
            case [b"SETINFO", _, _] | [b"NO-EVICT" | b"NO-TOUCH", _]:
                return Local(OK)
            case [b"INFO"] | [b"LIST", *_]:
                fields = f"id={self._id} addr={self._address} name={self._name.decode('latin-1')}"
                return self._reply(f"{fields} db=0 resp={self.protocol}\n".encode())
        raise Refused(Failure("ERR", f"unknown subcommand '{words[1].decode(errors='replace')}'"))

    def _config(self, words: list[bytes]) -> Action:
        if words[1].upper() != b"GET" or len(words) < 3:
            text = "only CONFIG GET: the configuration is that of the node"
            raise Refused(Failure("ERR", text))
        return self._reply(
            {
                name.encode(): value.encode()
                for name, value in _CONFIG.items()
                if any(matches(pattern.lower(), name.encode()) for pattern in words[2:])
            }
        )

    def _command(self, words: list[bytes]) -> Action:
        match [word.upper() for word in words[1:]]:
            case [b"COUNT"]:
                return self._reply(len(COMMANDS))
            case [b"DOCS", *names]:
                return self._reply(
                    {
                        name.encode(): {
                            b"summary": command.summary.encode(),
                            b"since": b"1.0.0",
                            b"group": b"string",
                        }
                        for name, command in COMMANDS.items()
                        if not names or name.upper().encode() in names
                    }
                )
            case [] | [b"LIST"]:
                return self._reply([_described(command) for command in COMMANDS.values()])
            case [b"INFO", *names]:
                found = [COMMANDS.get(name.decode(errors="replace").lower()) for name in names]
                return self._reply([None if c is None else _described(c) for c in found])
        raise Refused(SYNTAX)

    def _raft(self, words: list[bytes]) -> Action:
        return Admin(words[1:])


def _operation(command: Command, words: list[bytes]) -> Operation:
    if not command.least <= len(words) <= (command.most or len(words)):
        raise Refused(wrong_number(command.name))
    return command.operation(words)


def _operation_in_queue(command: Command, words: list[bytes]) -> Operation:
    """In a transaction a wrong argument is found out at its turn; the others are carried out."""
    if not command.least <= len(words) <= (command.most or len(words)):
        raise Refused(wrong_number(command.name))
    try:
        return command.operation(words)
    except Refused as refused:
        return "fail", refused.failure.code, refused.failure.text


def _described(command: Command) -> list[object]:
    """A command as COMMAND tells of it."""
    flags = ["write" if command.writes else "readonly"]
    return [command.name.encode(), command.arity, flags, *command.keys]


_MANY = 1 << 30
_DATA = {
    spelled: command
    for name, command in COMMANDS.items()
    for spelled in (name.encode(), name.upper().encode())
}
_CONNECTION: Mapping[str, tuple[int, int, Callable[[Session, list[bytes]], Action]]] = {
    "ping": (1, 2, Session._ping),
    "echo": (2, 2, Session._echo),
    "select": (2, 2, Session._select),
    "quit": (1, _MANY, Session._quit),
    "reset": (1, 1, Session._reset_connection),
    "auth": (2, 3, Session._auth),
    "hello": (1, _MANY, Session._hello),
    "info": (1, _MANY, Session._info),
    "client": (2, _MANY, Session._client),
    "config": (2, _MANY, Session._config),
    "command": (1, _MANY, Session._command),
    "multi": (1, 1, Session._multi),
    "exec": (1, 1, Session._exec),
    "discard": (1, 1, Session._discard),
    "watch": (2, _MANY, Session._watch),
    "unwatch": (1, 1, Session._unwatch),
    "session": (2, _MANY, Session._session),
    "xread": (4, _MANY, Session._xread),
    "raft": (2, _MANY, Session._raft),
}
_IN_TRANSACTION = {
    *("multi", "exec", "discard", "watch", "unwatch"),
    *("ping", "echo", "select", "session", "quit", "reset"),
}
