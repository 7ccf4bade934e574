"""``python -m impl snapshot``: from a cluster to a file, and from a file to a new cluster."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import click
import hiredis
import msgspec

from impl.commands import CATCH_UP_S
from impl.config import Address, ConfigError, parse_cluster, parse_member, parse_members
from impl.console import (
    Access,
    Connection,
    NotReached,
    Refused,
    Unreachable,
    access_of,
    raise_refusal,
    reaches_cluster,
    show,
    shows_rows,
)
from impl.disk import StorageError
from impl.exports import describe
from impl.restoring import count_keys, replayed, restore, stopped
from impl.saved_snapshots import About, Verified, head, new_file, verify
from impl.snapshots import Chunked
from spec.state import ServerId

_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def snapshot() -> None:
    """Save the whole state to a file, check such files, start a new cluster from one."""


@contextmanager
def _refusing() -> Iterator[None]:
    """Files that cannot be read or written end the command with one line and exit code 1."""
    try:
        yield
    except StorageError as error:
        raise Refused(str(error)) from None
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        raise Refused(f"{name}{error.strerror or error}") from None


# --- Saving -------------------------------------------------------------------------------------


@snapshot.command("save")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--serial",
    is_flag=True,
    help="Of one node as it is, even without a quorum: it may lack the last writes.",
)
@click.option(
    "--data-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Of this directory of a node that is stopped, instead of a running one.",
)
@reaches_cluster
@shows_rows
def save(file: Path, serial: bool, data_dir: Path | None, form: str, **options: Any) -> None:
    """Save the state of the cluster to FILE, which must not exist.

    The first of the endpoints that can be reached is asked; it goes on serving meanwhile. The file
    has every write that was acknowledged before the command began, all at one moment. It is
    checked when it is complete; if anything fails, nothing is left of it.
    """
    access = access_of(options)
    with _refusing(), new_file(file) as draft:
        if data_dir is None:
            asyncio.run(_fetch(access, draft, serial))
        else:
            _copy(data_dir, draft)
        draft.flush()
        verified = verify(Path(draft.name))
    _show(verified, form)


async def _fetch(access: Access, file: IO[bytes], serial: bool) -> None:
    """Take a snapshot and fetch it in pieces, all from one node."""
    connection = await _first_reachable(access)
    try:
        words = ["RAFT", "SNAPSHOT", "TAKE", *(["SERIAL"] if serial else [])]
        answer = await connection.ask(access, *words, patience_s=CATCH_UP_S)
        about = _about(answer)
        file.write(head(about))
        offset = 0
        while offset < about.size:
            asked = ("RAFT", "SNAPSHOT", "READ", about.sha256, str(offset))
            piece = await connection.ask(access, *asked)
            if not piece or len(piece) > about.size - offset:
                raise Refused("the node sends something else than it said: try again")
            file.write(piece)
            offset += len(piece)
    except Unreachable as error:
        raise NotReached(f"the node went away: {error}; try again") from None
    except hiredis.ReplyError as error:
        raise_refusal(str(error))
    finally:
        connection.close()


def _about(answer: bytes) -> About:
    try:
        return msgspec.json.decode(answer, type=About)
    except msgspec.MsgspecError as error:
        raise Refused(f"the node seems to run another version: {error}") from None


async def _first_reachable(access: Access) -> Connection:
    causes = []
    for address in access.endpoints:
        try:
            return await Connection.open(access, address)
        except Unreachable as error:
            causes.append(f"{address}: {error}")
        except hiredis.ReplyError as error:
            raise_refusal(str(error))
    raise NotReached(f"no endpoint answers ({'; '.join(causes)})")


def _copy(data_dir: Path, file: IO[bytes]) -> None:
    """The state in a directory; what it says of itself is known, and stands, before the rest."""
    with stopped(data_dir) as (owner, storage):
        covers, machine = replayed(storage, owner)
        path = Path(file.name)
        with TemporaryFile(dir=path.parent) as contents:
            written = Chunked(path, contents)
            for chunk in machine.snapshot():
                written.write(chunk)
            about = describe(
                covers,
                cluster=owner.cluster_id,
                member=owner.server_id,
                keys=count_keys(machine),
                written=written,
            )
            file.write(head(about))
            contents.seek(0)
            while piece := contents.read(1 << 20):
                file.write(piece)


# --- Looking ------------------------------------------------------------------------------------


@snapshot.command("verify")
@_FILE
def verify_command(file: Path) -> None:
    """Read all of FILE; exit 1 and say what is damaged unless every byte is as it was saved."""
    with _refusing():
        verified = verify(file)
    click.echo(f"{file} is whole: {verified.about.keys} keys up to index {verified.about.index}")


@snapshot.command("inspect")
@_FILE
@shows_rows
def inspect(file: Path, form: str) -> None:
    """Check FILE as `verify` does, and show what it is.

    `sha256` is that of the file, as sha256sum prints it.
    """
    with _refusing():
        _show(verify(file), form)


def _show(verified: Verified, form: str) -> None:
    about = verified.about
    row = {
        "cluster": about.cluster,
        "node": about.member,
        "index": about.index,
        "term": about.term,
        "members": about.members,
        "joining": about.joining,
        "keys": about.keys,
        "saved_at": about.saved_at,
        "version": about.version,
        "bytes": verified.size,
        "sha256": verified.sha256,
    }
    show([row], form)


# --- Restoring ----------------------------------------------------------------------------------


@snapshot.command("restore")
@_FILE
@click.argument("directories", metavar="N=DIRECTORY...", nargs=-1, required=True)
@click.option(
    "--members",
    required=True,
    metavar="N=HOST:PORT,...",
    help="All members of the new cluster, with the addresses where they connect to each other.",
)
@click.option(
    "--cluster",
    help="Name of the new cluster: give the one that the first host printed on the others. "
    "[default: a new one is drawn]",
)
@shows_rows
def restore_command(
    file: Path, directories: Sequence[str], members: str, cluster: str | None, form: str
) -> None:
    """Make data directories of a *new* cluster that begins with the state in FILE.

    N=DIRECTORY is where member N of the new cluster will have its data, on this host; it must be
    empty or not there. The new cluster has another name than the former one, which is printed:
    start each node with it, as in `serve --cluster NAME --data-dir DIRECTORY ...`, and have TLS
    certificates of members made out to it. If anything fails, no directory is made.

    All hosts must be given the same FILE, --members and --cluster.
    """
    listed = _reading("--members", lambda: dict(parse_members(members)))
    wanted = _reading("N=DIRECTORY", lambda: _directories(directories, listed))
    with _refusing():
        saved = verify(file)
    former = saved.about.cluster
    if cluster is None:
        cluster = f"{former[:48].rstrip('.-_')}-{secrets.token_hex(4)}"
    name = _reading("--cluster", lambda: parse_cluster(cluster))
    if name == former:
        raise click.UsageError(f"--cluster: {name!r} is the former cluster, give another name")
    with _refusing():
        restore(saved, cluster=name, members=listed, directories=wanted)
    rows = [
        {
            "cluster": name,
            "node": member,
            "data_dir": str(directory),
            "index": saved.about.index,
            "keys": saved.about.keys,
        }
        for member, directory in wanted.items()
    ]
    show(rows, form)


def _reading(what: str, read: Callable[[], Any]) -> Any:
    """What was given as ``what``; it ends the command if it does not fit."""
    try:
        return read()
    except ConfigError as error:
        raise click.UsageError(f"{what}: {error}") from None


def _directories(given: Sequence[str], members: dict[ServerId, Address]) -> dict[ServerId, Path]:
    found: dict[ServerId, Path] = {}
    for text in given:
        number, equals, directory = text.partition("=")
        if not equals or not directory:
            raise ConfigError(f"{text!r}: give a member's number and its directory, as 1=data1")
        member = parse_member(number)
        if member not in members:
            raise ConfigError(f"n{member} is not among --members")
        if member in found or Path(directory).resolve() in {d.resolve() for d in found.values()}:
            raise ConfigError(f"{text!r}: each member needs one directory of its own")
        found[member] = Path(directory)
    return found


COMMANDS: dict[str, click.Command] = {"snapshot": snapshot}
