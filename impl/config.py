"""How a node is set up: one table of settings, read from flags, the environment and a TOML file.

A flag wins over the environment, the environment over the file, the file over the default. The
environment names a setting ``RAFT_DATA_DIR``, the file ``data-dir = "..."``, the command line
``--data-dir``. A name that is not in the table is an error, with the one that was perhaps meant.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, NewType

from spec.state import ServerId

ENVIRONMENT_PREFIX = "RAFT_"
CONFIG_FILE = "RAFT_CONFIG"
"""The variable that names the file, as ``--config`` does."""


class ConfigError(Exception):
    """A setting is missing, unknown or does not fit; the message says which and what to do."""


Seconds = NewType("Seconds", float)
Size = NewType("Size", int)


def whole(text: str) -> int | None:
    """The whole number from 0 on that ``text`` is, if it is one of at most 18 digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens: ``127.0.0.1:7001``, ``[::1]:7001`` or ``host:7001``."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port``; port 0 lets the system choose. Raises ``ConfigError``."""
        host, _, digits = text.rpartition(":")
        port = whole(digits)
        if not host or port is None or port > 65535:
            raise ConfigError(f"{text[:80]!r} is no address: give host:port, as in 127.0.0.1:7001")
        host = host.removeprefix("[").removesuffix("]")
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9]+)?", host):
            raise ConfigError(f"{host[:80]!r} is neither the name of a host nor an IP address")
        return cls(host, port)

    @property
    def is_loopback(self) -> bool:
        """Can only this machine reach it?"""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        """As ``parse`` reads it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


Members = tuple[tuple[ServerId, Address], ...]


def parse_members(text: str) -> Members:
    """Read ``1=127.0.0.1:7001,2=...``, ascending by number. Raises ``ConfigError``."""
    members: dict[ServerId, Address] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        number, equals, address = part.partition("=")
        if not equals:
            raise ConfigError(f"{part!r} is no member: give number=host:port")
        member = parse_member(number.strip())
        if member in members:
            raise ConfigError(f"member {member} is given twice")
        members[member] = Address.parse(address.strip())
    return tuple(sorted(members.items()))


def parse_member(text: str) -> ServerId:
    """Read a member's number, 1 or above. Raises ``ConfigError``."""
    number = whole(text)
    if not number:
        raise ConfigError(f"{text[:80]!r} is no member number: give a whole number from 1 on")
    return ServerId(number)


def parse_cluster(text: str) -> str:
    """Read the name of a cluster, which stands in files, frames and certificates.

    Raises ``ConfigError``.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise ConfigError(
            f"{text[:80]!r} is no name of a cluster: give 1 to 64 letters, digits, dots, - and _"
        )
    return text


def _parse_seconds(text: str) -> Seconds:
    for unit, factor in (("ms", 1e-3), ("s", 1.0)):
        if text.endswith(unit):
            text, scale = text.removesuffix(unit), factor
            break
    else:
        scale = 1.0
    try:
        seconds = float(text) * scale
    except ValueError:
        raise ConfigError(f"{text!r} is no time: give it as 150ms or 1.5s") from None
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{text!r} is no time: it must be above 0")
    return Seconds(seconds)


def _parse_size(text: str) -> Size:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    digits = text.rstrip("KMG")
    number = whole(digits)
    if number is None or len(text) - len(digits) > 1:
        raise ConfigError(f"{text[:80]!r} is no size: give bytes, or a number with K, M or G")
    return Size(number * units.get(text[len(digits) :], 1))


def _parse_count(text: str) -> int:
    number = whole(text)
    if not number:
        raise ConfigError(f"{text[:80]!r} is no count: give a whole number from 1 on")
    return number


def _parse_switch(text: str) -> bool:
    switches = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in switches:
        raise ConfigError(f"{text!r} is neither true nor false")
    return switches[text.lower()]


def _parse_choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ConfigError(f"{text!r} is unknown: give {', '.join(choices)}")
        return text

    return parse


def setting(parse: Callable[[str], Any], text: str, default: Any = MISSING, **more: Any) -> Any:
    """One row of the table: how it is read and what it is for; without a default it must be set."""
    return field(default=default, metadata={"parse": parse, "help": text, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that can be said about a node, in the order in which ``config check`` tells it."""

    member: ServerId = setting(parse_member, "this node's number in the cluster")
    data_dir: Path = setting(Path, "where it keeps its data; made with mode 0700")
    cluster: str = setting(
        parse_cluster, "the name of the cluster; nodes of another name are refused", "raft"
    )
    members: Members = setting(
        parse_members,
        "the members at first, or those there are for one that joins: 1=host:port,2=host:port,...",
        (),
    )
    join: bool = setting(
        _parse_switch, "wait to be added to the cluster instead of being a first member", False
    )

    listen_peers: Address | None = setting(
        Address.parse,
        "where other members connect (default: its own address among the members)",
        None,
    )
    listen_clients: Address = setting(
        Address.parse, "where Redis clients connect", Address("127.0.0.1", 6379)
    )
    listen_http: Address | None = setting(
        Address.parse, "where /metrics, /livez, /readyz and /status are (default: nowhere)", None
    )
    advertise_clients: Address | None = setting(
        Address.parse,
        "where clients reach this node, as told to others (default: listen-clients)",
        None,
    )

    election_timeout_min: Seconds = setting(
        _parse_seconds, "least time without a leader before an election", Seconds(0.150)
    )
    election_timeout_max: Seconds = setting(
        _parse_seconds, "greatest time without a leader before an election", Seconds(0.300)
    )
    heartbeat: Seconds = setting(_parse_seconds, "time between two heartbeats", Seconds(0.040))
    request_timeout: Seconds = setting(
        _parse_seconds, "how long a client's command may wait for the cluster", Seconds(5.0)
    )

    cert: Path | None = setting(Path, "certificate shown to clients (PEM)", None)
    key: Path | None = setting(Path, "its private key", None)
    cacert: Path | None = setting(
        Path, "authority of client certificates; given, each client must have one", None
    )
    peer_cert: Path | None = setting(Path, "certificate shown to members (PEM)", None)
    peer_key: Path | None = setting(Path, "its private key", None)
    peer_cacert: Path | None = setting(Path, "authority of the members' certificates", None)
    password_file: Path | None = setting(
        Path, "file with the password that clients give to AUTH", None
    )
    insecure_clients: bool = setting(
        _parse_switch, "serve clients beyond this machine without TLS and password", False
    )
    insecure_peers: bool = setting(
        _parse_switch, "connect to members beyond this machine without TLS", False
    )

    max_clients: int = setting(_parse_count, "clients served at once", 10_000)
    max_value: Size = setting(_parse_size, "longest key or value", Size(1 << 20))
    snapshot_entries: int = setting(
        _parse_count, "entries in the log before a snapshot is taken", 100_000
    )

    log_format: str = setting(_parse_choice("text", "json"), "text for people, json else", "text")
    log_level: str = setting(
        _parse_choice("debug", "info", "warning", "error"), "what is logged", "info"
    )

    def __post_init__(self) -> None:
        """Refuse settings that do not fit together. Raises ``ConfigError``."""
        _check_timing(self)
        _check_tls(self)
        _check_membership(self)
        _check_exposure(self)

    @property
    def peer_address(self) -> Address:
        """Where other members connect."""
        address = self.listen_peers or dict(self.members).get(self.member)
        assert address is not None, "checked when the settings were made"
        return address


def _check_timing(settings: Settings) -> None:
    if settings.election_timeout_min > settings.election_timeout_max:
        raise ConfigError(
            "election-timeout-min is above election-timeout-max: give a range for elections"
        )
    if settings.heartbeat * 2 > settings.election_timeout_min:
        raise ConfigError(
            f"heartbeat {settings.heartbeat:g}s is too slow for election-timeout-min "
            f"{settings.election_timeout_min:g}s: give at most half of it (section 5.6)"
        )


def _check_tls(settings: Settings) -> None:
    for needed, also in (
        (("cert", "key"), ("cacert",)),
        (("peer_cert", "peer_key", "peer_cacert"), ()),
    ):
        given = {name: getattr(settings, name) for name in (*needed, *also)}
        have = [name for name in given if given[name] is not None]
        missing = [name for name in needed if given[name] is None]
        if have and missing:
            raise ConfigError(
                f"{_flag(have[0])} needs {' and '.join(map(_flag, missing))} beside it"
            )
        for name, path in given.items():
            if path is not None and not path.is_file():
                raise ConfigError(f"{_flag(name)}: there is no file {path}")
    if settings.password_file is not None and not settings.password_file.is_file():
        raise ConfigError(f"--password-file: there is no file {settings.password_file}")


def _check_membership(settings: Settings) -> None:
    listed = dict(settings.members)
    if settings.listen_peers is None and settings.member not in listed:
        raise ConfigError(
            f"member {settings.member} is not among members: add {settings.member}=host:port to "
            "--members, or give --listen-peers"
        )
    if not settings.join and settings.member not in listed:
        raise ConfigError(
            f"member {settings.member} is not among the first members; a node that is added to a "
            "running cluster is started with --join"
        )


def _check_exposure(settings: Settings) -> None:
    secured = settings.cert is not None or settings.password_file is not None
    if not (settings.listen_clients.is_loopback or secured or settings.insecure_clients):
        raise ConfigError(
            f"listen-clients {settings.listen_clients} can be reached from elsewhere, without TLS "
            "and password: give --cert and --key, or --password-file, or --insecure-clients"
        )
    if not (settings.peer_address.is_loopback or settings.peer_cert or settings.insecure_peers):
        raise ConfigError(
            f"members connect to {settings.peer_address} without TLS: give --peer-cert, --peer-key "
            "and --peer-cacert, or --insecure-peers"
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings, and where each came from."""

    settings: Settings
    origin: Mapping[str, str]
    """``flag``, ``environment``, ``file`` or ``default`` by the name of the setting."""

    def lines(self) -> tuple[str, ...]:
        """One line a setting, as printed at start."""
        return tuple(
            f"{f.name.replace('_', '-')} = {show(getattr(self.settings, f.name))}"
            f"  ({self.origin[f.name]})"
            for f in fields(self.settings)
        )


def show(value: object) -> str:
    """A setting as it would be written."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(f"{member}={address}" for member, address in value) or "none"
        case float():
            return f"{value:g}s"
        case _:
            return str(value)


def configure(
    flags: Mapping[str, str | None], environment: Mapping[str, str], file: Path | None = None
) -> Configuration:
    """The settings of a node from all sources.

    ``flags`` are by name, ``None`` where not given. Raises ``ConfigError`` with one line.
    """
    file = file or (Path(environment[CONFIG_FILE]) if environment.get(CONFIG_FILE) else None)
    sources = (
        ("flag", {name: text for name, text in flags.items() if text is not None}),
        ("environment", _of_environment(environment)),
        ("file", _of_file(file) if file else {}),
    )
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for f in fields(Settings):
        for source, given in sources:
            if f.name in given:
                values[f.name] = _parsed(f.name, f.metadata["parse"], given[f.name], source)
                origin[f.name] = source
                break
        else:
            if f.default is MISSING:
                name = f.name.replace("_", "-")
                raise ConfigError(
                    f"{name} is missing ({f.metadata['help']}): give --{name}, "
                    f"{ENVIRONMENT_PREFIX}{f.name.upper()} or {name} in the file"
                )
            origin[f.name] = "default"
    return Configuration(Settings(**values), origin)


def _parsed(name: str, parse: Callable[[str], Any], text: str, source: str) -> Any:
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{name.replace('_', '-')} ({source}): {error}") from None


def _of_environment(environment: Mapping[str, str]) -> dict[str, str]:
    given = {}
    for variable, text in environment.items():
        if variable.startswith(ENVIRONMENT_PREFIX) and variable != CONFIG_FILE:
            name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            given[_known(name, f"environment variable {variable}", _variable)] = text
    return given


def _of_file(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"configuration file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {path}: {error}") from None
    given = {}
    for key, value in table.items():
        name = _known(key.replace("-", "_"), f"{key!r} in {path}", _key)
        given[name] = _text_of(key, value, path)
    return given


def _text_of(key: str, value: object, path: Path) -> str:
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case dict() if key == "members":
            return ",".join(f"{member}={address}" for member, address in value.items())
        case _:
            raise ConfigError(f"{key} in {path}: a {type(value).__name__} does not fit there")


def _known(name: str, where: str, spelled: Callable[[str], str]) -> str:
    names = [f.name for f in fields(Settings)]
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; is {spelled(close[0])} meant?" if close else ""
    raise ConfigError(f"unknown setting: {where}{hint}")


def _variable(name: str) -> str:
    return ENVIRONMENT_PREFIX + name.upper()


def _key(name: str) -> str:
    return name.replace("_", "-")
