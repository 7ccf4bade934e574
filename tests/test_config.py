"""Settings: one precedence, and a line that helps for each that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from impl.config import Address, ConfigError, Configuration, configure
from impl.journal import Stored
from impl.server import check_first_members, first_members
from spec.state import Configuration as Configured
from spec.state import ServerId, Term

NEEDED = {"member": "1", "data_dir": "/d", "members": "1=127.0.0.1:7001,2=127.0.0.1:7002"}


def configured(
    flags: dict[str, str] | None = None,
    environment: dict[str, str] | None = None,
    file: Path | None = None,
) -> Configuration:
    return configure({**NEEDED, **(flags or {})}, environment or {}, file)


def complaint(
    flags: dict[str, str] | None = None,
    environment: dict[str, str] | None = None,
    file: Path | None = None,
) -> str:
    with pytest.raises(ConfigError) as raised:
        configured(flags, environment, file)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "raft.toml"
    file.write_text('heartbeat = "10ms"\nmax-clients = 7\ncluster = "of-file"\n')
    environment = {"RAFT_HEARTBEAT": "20ms", "RAFT_MAX_CLIENTS": "8", "PATH": "/bin"}
    found = configured({"heartbeat": "30ms"}, environment, file)
    settings = found.settings
    assert (settings.heartbeat, settings.max_clients, settings.cluster) == (0.03, 8, "of-file")
    assert [found.origin[n] for n in ("heartbeat", "max_clients", "cluster", "join")] == [
        "flag",
        "environment",
        "file",
        "default",
    ]
    assert "heartbeat = 0.03s  (flag)" in found.lines()


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "raft.toml"
    file.write_text('[members]\n1 = "127.0.0.1:9001"\n')
    found = configure({"member": "1", "data_dir": "/d"}, {"RAFT_CONFIG": str(file)})
    assert found.settings.peer_address == Address("127.0.0.1", 9001)


def test_what_is_not_a_setting_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    file = tmp_path / "raft.toml"
    file.write_text("hartbeat = 1\n")
    assert "is heartbeat meant?" in complaint(file=file)
    assert "is RAFT_DATA_DIR meant?" in complaint(environment={"RAFT_DATADIR": "x"})
    file.write_text("= 1\n")
    assert str(file) in complaint(file=file)
    assert "No such file" in complaint(file=tmp_path / "missing")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"member": "0"}, "'0' is no member number"),
        ({"cluster": "a/b"}, "is no name of a cluster"),
        ({"cluster": "x" * 65}, "give 1 to 64 letters"),
        ({"member": "3"}, "add 3=host:port to --members"),
        ({"member": "3", "listen_peers": "127.0.0.1:1"}, "started with --join"),
        ({"members": "1=127.0.0.1:1,1=127.0.0.1:2"}, "member 1 is given twice"),
        ({"members": "127.0.0.1:1"}, "give number=host:port"),
        ({"members": "1=localhost"}, "is no address"),
        ({"members": "1=no host:1"}, "neither the name of a host nor an IP address"),
        ({"members": "1=h:" + "1" * 5000}, "is no address"),
        ({"max_clients": "1" * 5000}, "is no count"),
        ({"heartbeat": "soon"}, "give it as 150ms or 1.5s"),
        ({"heartbeat": "-1s"}, "must be above 0"),
        ({"heartbeat": "nan"}, "must be above 0"),
        ({"heartbeat": "100ms"}, "at most half of it"),
        ({"election_timeout_min": "400ms"}, "above election-timeout-max"),
        ({"max_value": "1T"}, "is no size"),
        ({"max_clients": "0"}, "is no count"),
        ({"join": "perhaps"}, "neither true nor false"),
        ({"log_format": "xml"}, "give text, json"),
        ({"cert": "c.pem"}, "--cert needs --key beside it"),
        ({"cacert": "c.pem"}, "--cacert needs --cert and --key"),
        ({"peer_cert": "c.pem", "peer_key": "k.pem"}, "needs --peer-cacert"),
        ({"cert": "c.pem", "key": "k.pem"}, "--cert: there is no file c.pem"),
        ({"password_file": "p"}, "there is no file p"),
        ({"listen_clients": "0.0.0.0:6379"}, "--insecure-clients"),
        ({"members": "1=10.0.0.1:7001"}, "--insecure-peers"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(flags: dict[str, str], said: str) -> None:
    assert said in complaint(flags)


def test_a_missing_setting_says_where_it_may_be_given() -> None:
    with pytest.raises(ConfigError, match="give --data-dir, RAFT_DATA_DIR or data-dir in the file"):
        configure({"member": "1"}, {})


def test_insecure_must_be_asked_for() -> None:
    flags = {"listen_clients": "0.0.0.0:6379", "insecure_clients": "true"}
    assert configured(flags).settings.listen_clients.port == 6379


@pytest.mark.parametrize("text", ["127.0.0.1:7001", "[::1]:7001", "db.example:1"])
def test_addresses_are_shown_as_they_are_read(text: str) -> None:
    assert str(Address.parse(text)) == text


def test_loopback_is_told_from_the_rest() -> None:
    loopback = [Address("127.0.0.1", 1), Address("::1", 1), Address("localhost", 1)]
    assert all(a.is_loopback for a in loopback)
    assert not any(a.is_loopback for a in (Address("0.0.0.0", 1), Address("10.0.0.1", 1)))


def test_other_first_members_are_noticed_before_anything_happened() -> None:
    """A directory that a failed start has left behind would make a cluster of its own."""
    settings = configured().settings
    begun = Stored(configuration=Configured(old=frozenset({ServerId(1)})))
    with pytest.raises(
        ConfigError, match=r"begun with \[1\] as first members, now they are \[1, 2\]"
    ):
        check_first_members(settings, begun)
    check_first_members(settings, Stored(configuration=first_members(settings)))
    begun.current_term = Term(1)  # from now on the log knows better
    check_first_members(settings, begun)
    joining = configured({"join": "true"}).settings
    check_first_members(joining, Stored(configuration=first_members(joining)))
    with pytest.raises(ConfigError, match="now they are none"):
        check_first_members(joining, Stored(configuration=first_members(settings)))
