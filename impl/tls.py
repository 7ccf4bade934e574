"""Who may speak: TLS contexts for members and clients, and the name in a certificate.

A member's certificate carries the URI ``raft:CLUSTER/member/N`` as a subject alternative name. That
it is signed by the right authority is not enough: a client's certificate may be too. So whoever
claims to be member N must show a certificate that says so, on both ends of a connection. Host names
play no part between members: a member is its number, wherever it runs.
"""

from __future__ import annotations

import datetime
import hmac
import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from impl.config import ConfigError, Settings
from spec.state import ServerId

Certificate = Mapping[str, object]
"""As ``SSLObject.getpeercert`` gives it."""


def member_name(cluster: str, member: ServerId) -> str:
    """The URI that a member's certificate carries."""
    return f"raft:{cluster}/member/{member}"


def names_member(certificate: Certificate | None, cluster: str, member: ServerId) -> bool:
    """Does a verified certificate name this member of this cluster?"""
    names = (certificate or {}).get("subjectAltName", ())
    assert isinstance(names, tuple), "subjectAltName is a tuple of pairs"
    return ("URI", member_name(cluster, member)) in names


def is_password(given: bytes, expected: bytes) -> bool:
    """Are they equal? The time this takes does not tell how far they agree."""
    return hmac.compare_digest(given, expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Certificate, private key and authority, as PEM files."""

    cert: Path
    key: Path
    cacert: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """TLS for one port: ``server`` accepts, ``client`` connects. New files may be loaded later."""

    files: Files
    server: ssl.SSLContext
    client: ssl.SSLContext

    def reload(self) -> None:
        """Read the files again; connections that exist go on. Raises ``ConfigError``.

        Both sides are made from the new files first, so that bad ones change nothing.
        """
        make_contexts(self.files)
        for context in (self.server, self.client):
            _load(context, self.files)


def make_contexts(files: Files) -> Contexts:
    """TLS 1.2 or later. With an authority, the other side must show a certificate signed by it.

    Raises ``ConfigError`` naming the file that does not fit.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # the name that counts is the member's, see ``names_member``
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _load(context, files)
    if files.cacert is None:
        client.verify_mode = ssl.CERT_NONE
    else:
        server.verify_mode = ssl.CERT_REQUIRED
    return Contexts(files=files, server=server, client=client)


def _load(context: ssl.SSLContext, files: Files) -> None:
    try:
        context.load_cert_chain(files.cert, files.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"certificate {files.cert} and key {files.key} cannot be used: {_reason(error)}"
        ) from None
    if files.cacert is None:
        return
    try:
        context.load_verify_locations(files.cacert)
        if b"BEGIN X509 CRL" in files.cacert.read_bytes():
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"authority {files.cacert} cannot be used: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return {
            "KEY_VALUES_MISMATCH": "the key belongs to another certificate",
            "NO_CERTIFICATE_OR_CRL_FOUND": "there is no certificate in it",
        }.get(error.reason or "", error.reason or "it is no PEM file")
    return error.strerror or str(error)


def for_members(settings: Settings) -> Contexts | None:
    """TLS between members, if there is to be any. Raises ``ConfigError``."""
    if settings.peer_cert is None or settings.peer_key is None:
        return None
    files = Files(cert=settings.peer_cert, key=settings.peer_key, cacert=settings.peer_cacert)
    check_own_certificate(files, settings.cluster, settings.member)
    return make_contexts(files)


def for_clients(settings: Settings) -> Contexts | None:
    """TLS for clients, if there is to be any. Raises ``ConfigError``."""
    if settings.cert is None or settings.key is None:
        return None
    return make_contexts(Files(cert=settings.cert, key=settings.key, cacert=settings.cacert))


def check_own_certificate(files: Files, cluster: str, member: ServerId) -> None:
    """See at start what every other member would complain of. Raises ``ConfigError``."""
    certificate = _read_certificate(files.cert)
    wanted = member_name(cluster, member)
    if wanted not in _uris(certificate):
        raise ConfigError(
            f"certificate {files.cert} does not name this member: its subject alternative names "
            f"must have the URI {wanted}"
        )
    if certificate.not_valid_after_utc <= datetime.datetime.now(datetime.UTC):
        raise ConfigError(f"certificate {files.cert} ended at {certificate.not_valid_after_utc}")
    if files.cacert is not None:
        authority = _read_certificate(files.cacert)
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            raise ConfigError(
                f"certificate {files.cert} is not signed by the authority {files.cacert}"
            ) from None


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"certificate {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"certificate {path} is no PEM certificate") from None


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)


# --- Certificates for trying things out ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def make_development_certificates(directory: Path, cluster: str, members: int) -> list[Path]:
    """Write ``ca``, ``member-N`` and ``client`` certificates and keys (PEM, keys mode 0600).

    Good for a year on this machine and for nothing else. Returns the files in the order in which
    they are made. Raises ``ConfigError`` if one is there already.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{directory} cannot be made: {error.strerror}") from None
    authority = _make_authority(cluster)
    written = _write(directory, "ca", authority.certificate, authority.key)
    for number in range(1, members + 1):
        uri = x509.UniformResourceIdentifier(member_name(cluster, ServerId(number)))
        written += _issue(directory, authority, f"member-{number}", [uri])
    client = x509.UniformResourceIdentifier(f"raft:{cluster}/client")
    return written + _issue(directory, authority, "client", [client])


def _make_authority(cluster: str) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"development authority of {cluster}")]
    )
    certificate = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Authority(key, certificate)


def _issue(
    directory: Path, authority: _Authority, name: str, names: list[x509.GeneralName]
) -> list[Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    local: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    certificate = (
        _builder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            authority.certificate.subject,
            key,
        )
        .add_extension(x509.SubjectAlternativeName([*names, *local]), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )
    return _write(directory, name, certificate, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=365))
    )


def _write(
    directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> list[Path]:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    paths = [directory / f"{name}.crt", directory / f"{name}.key"]
    for path, data, mode in zip(paths, (public, private), (0o644, 0o600), strict=True):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    return paths
