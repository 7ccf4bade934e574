"""The commands that speak with a running cluster, beside ``serve`` and ``cluster``."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any

import click
import hiredis

from impl.config import Address, ConfigError, parse_members
from impl.console import (
    FAILURES,
    Access,
    Connection,
    Refused,
    Row,
    Unreachable,
    access_of,
    ask_any,
    raise_refusal,
    reaches_cluster,
    show,
    shows_rows,
)

WATCH_MS = 10_000
CATCH_UP_S = 600.0
"""How long a command waits for a new member to catch up."""


def _ask(access: Access, *words: bytes | str) -> Any:
    return asyncio.run(ask_any(access, *words))


def _tell(access: Access, *words: bytes | str, patience_s: float = 0.0) -> Any:
    """Ask for a change, once."""
    return asyncio.run(ask_any(access, *words, changes=True, patience_s=patience_s))


# --- Looking ------------------------------------------------------------------------------------


@click.command()
@reaches_cluster
@shows_rows
def status(form: str, **options: Any) -> None:
    """Ask every node how it is; those that cannot be reached are shown with the reason."""
    rows = asyncio.run(_status_of_all(access_of(options)))
    show(rows, form)
    if all(row["problem"] for row in rows):
        raise SystemExit(3)


async def _status_of_all(access: Access) -> list[Row]:
    """One row a node: the endpoints given, and the members that they tell of."""
    found: dict[str, dict[str, Any] | str] = {}
    waiting = list(access.endpoints)
    while waiting:
        answers = await asyncio.gather(*(_status_of(access, address) for address in waiting))
        found.update({str(a): s for a, s in zip(waiting, answers, strict=True)})
        told = {
            member["client"]
            for answer in answers
            if isinstance(answer, dict)
            for member in answer["addresses"]
            if member["client"]
        }
        known = {answer["client"] for answer in found.values() if isinstance(answer, dict)}
        waiting = [Address.parse(a) for a in sorted(told - known - set(found))]
    # An endpoint may be another name of a node that told its own address.
    by_node: dict[object, Row] = {}
    for endpoint, answer in found.items():
        key = answer["member"] if isinstance(answer, dict) else endpoint
        by_node.setdefault(key, _status_row(endpoint, answer))
    return [by_node[key] for key in sorted(by_node, key=str)]


async def _status_of(access: Access, address: Address) -> dict[str, Any] | str:
    try:
        connection = await Connection.open(access, address)
        try:
            answer: dict[str, Any] = json.loads(await connection.ask(access, "RAFT", "STATUS"))
        finally:
            connection.close()
    except (Unreachable, hiredis.ReplyError) as error:
        return str(error)
    return answer


def _status_row(endpoint: str, answer: dict[str, Any] | str) -> Row:
    silent = isinstance(answer, str)
    said = {} if isinstance(answer, str) else answer
    lags = {str(peer["member"]): peer["lag"] for peer in said.get("peers", ())}
    return {
        "node": said.get("member"),
        "endpoint": endpoint,
        "role": said.get("role"),
        "term": said.get("term"),
        "leader": said.get("leader"),
        "commit": said.get("commit_index"),
        "applied": said.get("applied_index"),
        "behind": [f"{m}:{lag}" for m, lag in lags.items() if lag is not None] or None,
        "snapshot": said.get("snapshot_index"),
        "bytes": said.get("log_bytes"),
        "version": said.get("version"),
        "uptime_s": said.get("uptime_s"),
        "problem": answer if silent else said.get("stopped", ""),
    }


# --- Membership ---------------------------------------------------------------------------------


@click.group()
def member() -> None:
    """See and change who is a member, one safe step at a time."""


@member.command("list")
@reaches_cluster
@shows_rows
def member_list(form: str, **options: Any) -> None:
    """The members, and those that are catching up to become one."""
    show(json.loads(_ask(access_of(options), "RAFT", "MEMBER", "LIST")), form)


def _change(access: Access, words: Sequence[str], dry_run: bool, form: str) -> None:
    dry = ["DRYRUN"] if dry_run else []
    answer = _tell(access, "RAFT", "MEMBER", *words, *dry, patience_s=CATCH_UP_S)
    show([json.loads(answer)], form)


_DRY_RUN = click.option("--dry-run", is_flag=True, help="Only say what would happen.")


def _one_member(text: str) -> str:
    try:
        if len(parse_members(text)) != 1:
            raise ConfigError("give one member, as in 4=10.0.0.4:7001")
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    return text


@member.command("add")
@click.argument("new", metavar="N=HOST:PORT")
@click.option("--learner", is_flag=True, help="Let it catch up, and leave it at that for now.")
@_DRY_RUN
@reaches_cluster
@shows_rows
def member_add(new: str, learner: bool, dry_run: bool, form: str, **options: Any) -> None:
    """Let node N at its peer address catch up, then make it a member.

    Start the node first, with --join. It has no vote before it has caught up, so that adding it
    cannot cost the cluster its quorum.
    """
    words = ["LEARN" if learner else "ADD", _one_member(new)]
    _change(access_of(options), words, dry_run, form)


@member.command("promote")
@click.argument("number", metavar="N", type=click.IntRange(min=1))
@_DRY_RUN
@reaches_cluster
@shows_rows
def member_promote(number: int, dry_run: bool, form: str, **options: Any) -> None:
    """Make the learner N a member when it has caught up."""
    _change(access_of(options), ["PROMOTE", str(number)], dry_run, form)


@member.command("remove")
@click.argument("number", metavar="N", type=click.IntRange(min=1))
@_DRY_RUN
@reaches_cluster
@shows_rows
def member_remove(number: int, dry_run: bool, form: str, **options: Any) -> None:
    """Remove member N; the leader may remove itself."""
    _change(access_of(options), ["REMOVE", str(number)], dry_run, form)


@member.command("replace")
@click.argument("number", metavar="OLD", type=click.IntRange(min=1))
@click.argument("new", metavar="N=HOST:PORT")
@_DRY_RUN
@reaches_cluster
@shows_rows
def member_replace(number: int, new: str, dry_run: bool, form: str, **options: Any) -> None:
    """Replace member OLD, dead or alive, by node N in one change."""
    _change(access_of(options), ["REPLACE", str(number), _one_member(new)], dry_run, form)


@click.command()
@click.argument("number", metavar="N", type=click.IntRange(min=1))
@reaches_cluster
def transfer(number: int, **options: Any) -> None:
    """Hand leadership over to member N."""
    _tell(access_of(options), "RAFT", "TRANSFER", str(number))
    click.echo(f"member {number} leads")


# --- Data, for scripts --------------------------------------------------------------------------


@click.command("get")
@click.argument("key")
@reaches_cluster
def get_command(key: str, **options: Any) -> None:
    """Print the value of KEY; exit 1 if there is none."""
    value = _ask(access_of(options), "GET", key)
    if value is None:
        raise Refused(f"there is no key {key!r}")
    click.echo(value)


@click.command("set")
@click.argument("key")
@click.argument("value")
@reaches_cluster
def set_command(key: str, value: str, **options: Any) -> None:
    """Set KEY to VALUE."""
    _tell(access_of(options), "SET", key, value)
    click.echo("OK")


@click.command("del")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@reaches_cluster
def del_command(keys: tuple[str, ...], **options: Any) -> None:
    """Delete keys; print how many there were."""
    click.echo(_tell(access_of(options), "DEL", *keys))


@click.command()
@click.argument("prefix")
@click.option("--after", default="$", show_default=True, help="Revision to go on after; 0: oldest.")
@reaches_cluster
def watch(prefix: str, after: str, **options: Any) -> None:
    """Print every change of the keys that begin with PREFIX, one JSON object a line, until Ctrl-C.

    Nothing is left out and nothing comes twice; the revision of the last line goes on from there,
    on any node.
    """
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(access_of(options), prefix, after))


async def _watch(access: Access, prefix: str, after: str) -> None:
    """Follow the changes; a node that goes away is replaced by another."""
    if after == "$":  # a position that stays, whatever happens before the first change
        after = str(await ask_any(access, "REVISION"))
    said = ""
    while True:
        causes: list[str] = []
        for address in access.endpoints:
            try:
                connection = await Connection.open(access, address)
                try:
                    while True:
                        after = await _watch_once(access, connection, prefix, after)
                        said, causes = "", []
                finally:
                    connection.close()
            except Unreachable as error:
                causes.append(f"{address}: {error}")
            except hiredis.ReplyError as error:
                if str(error).partition(" ")[0] not in FAILURES:
                    raise_refusal(str(error))
                causes.append(f"{address}: {error}")
        if "; ".join(causes) != said:
            said = "; ".join(causes)
            click.echo(f"no endpoint answers, trying again ({said})", err=True)
        await asyncio.sleep(0.5)


async def _watch_once(access: Access, connection: Connection, prefix: str, after: str) -> str:
    """Wait for a while; the revision up to which changes were printed."""
    reply = await connection.ask(
        access,
        *("XREAD", "COUNT", "1000", "BLOCK", str(WATCH_MS)),
        *("STREAMS", f"watch:{prefix}", after),
        patience_s=WATCH_MS / 1000,
    )
    for _, entries in reply or ():
        for revision, fields in entries:
            after = revision.decode()
            change = dict(zip(fields[::2], fields[1::2], strict=True))
            line = {name.decode(): _text(value) for name, value in change.items()}
            click.echo(json.dumps({"revision": after, **line}))
    return after


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


# --- Inside -------------------------------------------------------------------------------------


@click.group()
def log() -> None:
    """Look into the replicated log."""


@log.command("dump")
@click.option("--first", type=click.IntRange(min=1), help="First index (default: oldest kept).")
@click.option("--count", type=click.IntRange(1, 10_000), default=100, show_default=True)
@reaches_cluster
@shows_rows
def log_dump(first: int | None, count: int, form: str, **options: Any) -> None:
    """Show entries of the log of the first node that can be reached."""
    words = ["RAFT", "LOG", str(first or 0), str(count)]
    show(json.loads(_ask(access_of(options), *words)), form)


COMMANDS: dict[str, click.Command] = {
    "status": status,
    "member": member,
    "transfer": transfer,
    "get": get_command,
    "set": set_command,
    "del": del_command,
    "watch": watch,
    "log": log,
}
