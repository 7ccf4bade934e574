"""What the commands share: how a cluster is reached, how answers are shown, how failures end.

Exit codes: 0 done; 1 the cluster refused, and nothing was changed; 2 usage; 3 nobody could be
reached, or there is no leader; 4 the outcome is not known: it may have been done.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import hiredis

from impl.config import Address, ConfigError

MAX_HOPS = 3
"""How often a command follows the leader, which may change meanwhile."""


class Refused(click.ClickException):
    """The cluster said no, and why; nothing was changed."""

    exit_code = 1


class NotReached(click.ClickException):
    """No node, or no leader, can be reached; nothing was changed."""

    exit_code = 3


class OutcomeUnknown(click.ClickException):
    """It may have been done, or may be done yet."""

    exit_code = 4


FAILURES: Mapping[str, type[click.ClickException]] = {
    "NOLEADER": NotReached,
    "SHUTDOWN": NotReached,
    "UNKNOWN": OutcomeUnknown,
}
"""What an error reply of a node means, by its first word; others are refusals."""


class Unreachable(Exception):
    """One node does not answer; the message says why."""


class _NoAnswer(Unreachable):
    """It hung up, or said something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the nodes' client ports are reached."""

    endpoints: tuple[Address, ...]
    tls: ssl.SSLContext | None = None
    has_certificate: bool = False
    password: bytes | None = None
    timeout_s: float = 5.0


class Connection:
    """One connection to a node, for commands one after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._replies = hiredis.Reader()

    @classmethod
    async def open(cls, access: Access, address: Address) -> Connection:
        """Connect and authenticate. Raises ``Unreachable``."""
        try:
            async with asyncio.timeout(access.timeout_s):
                streams = await asyncio.open_connection(address.host, address.port, ssl=access.tls)
        except (OSError, TimeoutError) as error:
            raise Unreachable(why_unreachable(error)) from None
        connection = cls(*streams)
        try:
            await connection.greet(access)
        except _NoAnswer:
            connection.close()
            raise Unreachable(
                f"it does not answer as a node does: is this its client port{_doubt(access)}?"
            ) from None
        except BaseException:
            connection.close()
            raise
        return connection

    async def greet(self, access: Access) -> None:
        """See that a node answers, so that nothing is asked of what is none."""
        if access.password is None:
            await self.ask(access, b"PING")
        else:
            await self.ask(access, b"AUTH", access.password)

    async def ask(self, access: Access, *words: bytes | str, patience_s: float = 0.0) -> Any:
        """Send one command and wait for its reply; ``patience_s`` beyond the usual timeout.

        Raises ``Unreachable`` if the connection fails, ``hiredis.ReplyError`` for an error reply.
        """
        self._writer.write(request(words))
        try:
            async with asyncio.timeout(access.timeout_s + patience_s):
                while (reply := self._replies.gets()) is False:
                    data = await self._reader.read(1 << 16)
                    if not data:
                        raise _NoAnswer("it closed the connection")
                    self._replies.feed(data)
        except hiredis.ProtocolError:
            raise _NoAnswer("it does not speak as a node does") from None
        except ConnectionResetError:
            raise _NoAnswer("it closed the connection") from None
        except (OSError, TimeoutError) as error:
            raise Unreachable(why_unreachable(error)) from None
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def _doubt(access: Access) -> str:
    """What else may be missing."""
    if access.tls is None:
        return ", and does it want TLS (--cacert)"
    return "" if access.has_certificate else ", and does it want a certificate (--cert and --key)"


def request(words: Sequence[bytes | str]) -> bytes:
    """A command as RESP."""
    data = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(data) + b"".join(b"$%d\r\n%s\r\n" % (len(d), d) for d in data)


def why_unreachable(error: OSError) -> str:
    """The cause in a few words, as a person would say it."""
    match error:
        case TimeoutError():
            return "it does not answer in time"
        case ConnectionRefusedError():
            return "connection refused"
        case ssl.SSLCertVerificationError():
            return f"TLS: {error.verify_message}"
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE"):
            return "TLS: it does not speak TLS"
        case ssl.SSLError():
            return f"TLS: {(error.reason or 'handshake failed').lower().replace('_', ' ')}"
        case _:
            return error.strerror or str(error)


async def ask_any(
    access: Access, *words: bytes | str, changes: bool = False, patience_s: float = 0.0
) -> Any:
    """Ask the endpoints in turn until one answers, and the leader if that one says so.

    What ``changes`` something is not asked twice. Ends the command if it fails.
    """
    causes = []
    waiting, hops = list(access.endpoints), MAX_HOPS
    while waiting:
        address = waiting.pop(0)
        try:
            connection = await Connection.open(access, address)
        except Unreachable as error:
            causes.append(f"{address}: {error}")
            continue
        except hiredis.ReplyError as error:
            raise_refusal(str(error))
        try:
            return await connection.ask(access, *words, patience_s=patience_s)
        except Unreachable as error:
            if changes:
                text = f"{address}: {error}; whether it was done is not known"
                raise OutcomeUnknown(text) from None
            causes.append(f"{address}: {error}")
        except hiredis.ReplyError as error:
            code, _, leader = str(error).partition(" ")
            if code != "NOTLEADER" or not hops:
                raise_refusal(str(error))
            hops -= 1
            waiting.insert(0, Address.parse(leader))
        finally:
            connection.close()
    raise NotReached(f"no endpoint answers ({'; '.join(causes)})")


def raise_refusal(text: str) -> NoReturn:
    """End the command as an error reply says."""
    word, _, rest = text.partition(" ")
    if word == "NOAUTH":
        text += " Give --password-file."
    raise FAILURES.get(word, Refused)(rest if word in ("ERR", "REFUSED") else text)


# --- How answers are shown ----------------------------------------------------------------------

Row = Mapping[str, object]


def show(rows: Sequence[Row], form: str) -> None:
    """Print rows of equal keys as ``table``, ``json``, or ``simple`` (tabs, no header)."""
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    cells = [[_cell(value) for value in row.values()] for row in rows]
    if form == "simple":
        for line in cells:
            click.echo("\t".join(line))
        return
    if not rows:
        click.echo("(none)")
        return
    table = [[name.replace("_", " ") for name in rows[0]], *cells]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        click.echo("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.2f}" if value < 10 else f"{value:.1f}"
        case list() | tuple():
            return ",".join(map(str, value)) or "-"
        case _:
            return str(value)


# --- Options that commands share ----------------------------------------------------------------

Command = TypeVar("Command", bound=Callable[..., object])


def reaches_cluster(command: Command) -> Command:
    """Give a command the options that say how the cluster is reached; it gets ``access``."""
    for option in reversed(_ACCESS):
        command = option(command)
    return command


def shows_rows(command: Command) -> Command:
    """Give a command ``-w``; it gets ``form``."""
    return click.option(
        "-w",
        "--write-out",
        "form",
        type=click.Choice(["table", "json", "simple"]),
        default="table",
        show_default=True,
        help="How the answer is shown.",
    )(command)


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_ACCESS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--endpoints",
        default="127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003",
        show_default=True,
        envvar="RAFTCTL_ENDPOINTS",
        show_envvar=True,
        help="Client addresses of some nodes, HOST:PORT,...",
    ),
    click.option(
        "--cacert",
        "tls_cacert",
        type=_FILE,
        envvar="RAFTCTL_CACERT",
        help="Use TLS; trust this CA.",
    ),
    click.option(
        "--cert", "tls_cert", type=_FILE, envvar="RAFTCTL_CERT", help="Certificate to show."
    ),
    click.option("--key", "tls_key", type=_FILE, envvar="RAFTCTL_KEY", help="Its private key."),
    click.option(
        "--password-file", type=_FILE, envvar="RAFTCTL_PASSWORD_FILE", help="Password for AUTH."
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=8.0,
        show_default=True,
        help="Seconds to wait for an answer; a node gives its own after 5.",
    ),
)


def access_of(options: dict[str, Any]) -> Access:
    """Take the options of ``reaches_cluster`` out of a command's arguments."""
    password_file: Path | None = options.pop("password_file")
    endpoints = options.pop("endpoints")
    cert = options.pop("tls_cert")
    try:
        return Access(
            endpoints=tuple(Address.parse(part.strip()) for part in endpoints.split(",")),
            tls=_tls(options.pop("tls_cacert"), cert, options.pop("tls_key")),
            has_certificate=cert is not None,
            password=None if password_file is None else _password(password_file),
            timeout_s=options.pop("timeout"),
        )
    except ConfigError as error:
        raise click.UsageError(str(error)) from None


def _tls(cacert: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """The TLS context, if TLS is asked for. Raises ``ConfigError``."""
    if (cert is None) != (key is None):
        raise ConfigError("--cert and --key belong together: give both or none")
    if cacert is None and cert is None:
        return None
    try:
        context = ssl.create_default_context(cafile=cacert)
    except OSError:
        raise ConfigError(f"--cacert: there is no certificate in {cacert}") from None
    try:
        if cert is not None:
            context.load_cert_chain(cert, key)
    except OSError:
        raise ConfigError(f"--cert {cert} and --key {key} are no certificate and its key") from None
    return context


def _password(file: Path) -> bytes:
    try:
        password = file.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"--password-file: {file}: {error.strerror}") from None
    if not password:
        raise ConfigError(f"--password-file: {file} is empty")
    return password
