"""Certificates: the right authority is not enough, the name must be the member's."""

from __future__ import annotations

import asyncio
import ssl
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from impl.config import ConfigError
from impl.tls import (
    Certificate,
    Files,
    check_own_certificate,
    is_password,
    make_contexts,
    make_development_certificates,
    names_member,
)
from spec.state import ServerId

ONE, TWO = ServerId(1), ServerId(2)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    make_development_certificates(directory, "c", members=2)
    return directory


def files(directory: Path, name: str) -> Files:
    return Files(
        cert=directory / f"{name}.crt",
        key=directory / f"{name}.key",
        cacert=directory / "ca.crt",
    )


async def meet(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[Certificate, Certificate]:
    """Connect over loopback: the certificates that the server and the client see."""
    seen: asyncio.Future[Certificate] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(writer.get_extra_info("peercert"))
        writer.write(b"!")
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
    port = listener.sockets[0].getsockname()[1]
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        await reader.readexactly(1)
        found = writer.get_extra_info("peercert")
        writer.close()
        return await seen, found
    finally:
        listener.close()


def test_members_see_whom_they_speak_with(certificates: Path) -> None:
    one = make_contexts(files(certificates, "member-1"))
    two = make_contexts(files(certificates, "member-2"))
    at_server, at_client = asyncio.run(meet(one.server, two.client))
    assert names_member(at_server, "c", TWO)
    assert not names_member(at_server, "c", ONE)
    assert not names_member(at_server, "another cluster", TWO)
    assert names_member(at_client, "c", ONE)


def test_a_client_of_the_same_authority_is_no_member(certificates: Path) -> None:
    member = make_contexts(files(certificates, "member-1"))
    client = make_contexts(files(certificates, "client"))
    at_server, _ = asyncio.run(meet(member.server, client.client))
    assert not any(names_member(at_server, "c", m) for m in (ONE, TWO))
    assert not names_member(None, "c", ONE)


def test_another_authority_is_refused(certificates: Path, tmp_path: Path) -> None:
    make_development_certificates(tmp_path, "c", members=1)
    member = make_contexts(files(certificates, "member-1"))
    stranger = make_contexts(files(tmp_path, "member-1"))
    with pytest.raises(ssl.SSLError):
        asyncio.run(meet(member.server, stranger.client))


def test_who_shows_no_certificate_is_refused(certificates: Path) -> None:
    member = make_contexts(files(certificates, "member-1"))
    nobody = ssl.create_default_context(cafile=certificates / "ca.crt")
    nobody.check_hostname = False
    with pytest.raises((ssl.SSLError, asyncio.IncompleteReadError, ConnectionError)):
        asyncio.run(meet(member.server, nobody))


def test_certificates_are_exchanged_without_a_new_context(
    certificates: Path, tmp_path: Path
) -> None:
    for name in ("crt", "key"):
        (tmp_path / f"own.{name}").write_bytes((certificates / f"member-1.{name}").read_bytes())
    own = Files(cert=tmp_path / "own.crt", key=tmp_path / "own.key", cacert=certificates / "ca.crt")
    member = make_contexts(own)
    other = make_contexts(files(certificates, "member-2"))
    for name in ("crt", "key"):
        (tmp_path / f"own.{name}").write_bytes((certificates / f"member-2.{name}").read_bytes())
    member.reload()
    _, at_client = asyncio.run(meet(member.server, other.client))
    assert names_member(at_client, "c", TWO)
    (tmp_path / "own.key").write_text("nonsense")
    with pytest.raises(ConfigError):
        member.reload()
    asyncio.run(meet(member.server, other.client))  # the former ones still serve


def test_private_keys_are_private(certificates: Path) -> None:
    assert stat.S_IMODE((certificates / "ca.key").stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="File exists"):
        make_development_certificates(certificates, "c", members=1)


def test_what_others_would_complain_of_is_seen_at_start(certificates: Path, tmp_path: Path) -> None:
    own = files(certificates, "member-1")
    check_own_certificate(own, "c", ONE)
    with pytest.raises(ConfigError, match="must have the URI raft:c/member/2"):
        check_own_certificate(own, "c", TWO)
    make_development_certificates(tmp_path, "c", members=1)
    with pytest.raises(ConfigError, match="is not signed by the authority"):
        check_own_certificate(replace(own, cacert=tmp_path / "ca.crt"), "c", ONE)
    with pytest.raises(ConfigError, match="the key belongs to another certificate"):
        make_contexts(replace(own, key=certificates / "member-2.key"))
    with pytest.raises(ConfigError, match="is no PEM certificate"):
        check_own_certificate(replace(own, cert=own.key), "c", ONE)


def test_passwords_are_compared_whole() -> None:
    assert is_password(b"secret", b"secret")
    assert not is_password(b"secre", b"secret")
