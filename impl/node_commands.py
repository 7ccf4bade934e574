"""What runs on a node's host: the node, its settings, a local cluster, certificates to try with."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click
import uvloop

from impl.config import ConfigError, Configuration, Settings, configure, parse_cluster
from impl.config import show as shown
from impl.console import Refused
from impl.disk import StorageError
from impl.local_cluster import LocalCluster
from impl.logs import start_logging
from impl.server import serve
from impl.tls import for_clients, for_members, make_development_certificates

GC_THRESHOLDS = (5_000, 5, 1_000_000)
"""Objects more than before, then how often for those that survived once, and twice."""
SWITCH_INTERVAL_S = 0.0001
"""How long the disk's thread may have to wait for the loop's, and the reverse."""
FORMS = {
    "ServerId": "N",
    "Path": "PATH",
    "Members": "N=HOST:PORT,...",
    "Address": "HOST:PORT",
    "Seconds": "TIME",
    "Size": "BYTES",
    "int": "COUNT",
    "bool": "[true|false]",
}
"""How settings are written, by their types."""


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """One flag for each row of ``impl.config.Settings``."""
    for setting in reversed(fields(Settings)):
        flag = "--" + setting.name.replace("_", "-")
        kind = str(setting.type).partition(" ")[0]
        form = FORMS.get(kind, "TEXT")
        if kind == "bool":  # also without a value, as in --join
            option = click.option(
                flag, help=_help(setting), metavar=form, is_flag=False, flag_value="true"
            )
        else:
            option = click.option(flag, help=_help(setting), metavar=form)
        command = option(command)
    return command


def _help(setting: Field[Any]) -> str:
    """What it is for, and what it is if nobody says anything."""
    text: str = setting.metadata["help"]
    if setting.default is MISSING:
        return f"{text}; must be given"
    if setting.default in (None, ()):
        return text
    return f"{text} [default: {shown(setting.default)}]"


def prepare_process() -> None:
    """What the interpreter does beside: switch threads, and look for garbage that is a cycle.

    The log and its entries are no cycles, and live long: to walk over all of them, as the
    collector does now and then, stops the loop for longer than a snapshot. So it looks at what is
    young only; what connections leave behind is freed without it.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*GC_THRESHOLDS)
    gc.freeze()


@click.command("serve")
@click.option(
    "--config", type=click.Path(path_type=Path), help="TOML file with settings (or RAFT_CONFIG)."
)
@settings_options
def serve_command(config: Path | None, **flags: str | None) -> None:
    """Run one node, until SIGTERM or Ctrl-C.

    A flag wins over the environment (as RAFT_DATA_DIR), that over the file, and that over the
    default; `config check` takes the same flags and prints what comes of them. At SIGHUP the
    certificates and the log level are read again. SIGTERM hands leadership over and ends with
    exit code 0; 1 means that the node could not start, or that its disk failed.
    """

    def read() -> Configuration:
        return configure(flags, os.environ, config)

    try:
        configuration = read()
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    settings = configuration.settings
    start_logging(settings.member, settings.log_format, settings.log_level)
    logging.getLogger("impl.config").info("settings: %s", "; ".join(configuration.lines()))
    prepare_process()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            failure = runner.run(serve(settings, lambda: read().settings))
    except (StorageError, ConfigError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if failure is not None:
        raise click.ClickException(failure)


@click.group("config")
def config_group() -> None:
    """The settings of a node."""


@config_group.command("check")
@click.option(
    "--config", type=click.Path(path_type=Path), help="TOML file with settings (or RAFT_CONFIG)."
)
@settings_options
def config_check(config: Path | None, **flags: str | None) -> None:
    """Print every setting as `serve` would run with it, and where it comes from."""
    try:
        configuration = configure(flags, os.environ, config)
        for_members(configuration.settings), for_clients(configuration.settings)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    for line in configuration.lines():
        click.echo(line)


@click.group("cluster")
def cluster_group() -> None:
    """A local cluster of real processes, to try things out."""


@cluster_group.command("up")
@click.option("-n", "size", type=click.IntRange(1, 9), default=3, show_default=True)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path("raft-data"),
    show_default=True,
    help="Made if it is missing; the same command starts the cluster again with its data.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 64_000),
    default=7001,
    show_default=True,
    help="Of the first node's clients.",
)
def cluster_up(size: int, data_dir: Path, port: int) -> None:
    """Start a local cluster; Ctrl-C stops it."""
    try:
        cluster = LocalCluster.open(data_dir, size=size, port=port)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise click.ClickException(f"{data_dir}: {error}") from error
    try:
        for line in cluster.start():
            click.echo(line)
        cluster.wait(click.echo)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    finally:
        cluster.stop()


@click.command("dev-certs")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("-n", "size", type=click.IntRange(1, 99), default=3, show_default=True)
@click.option("--cluster", default="raft", show_default=True, help="The name of the cluster.")
def dev_certs(directory: Path, size: int, cluster: str) -> None:
    """Make an authority and certificates for N members and a client, to try TLS with."""
    try:
        parse_cluster(cluster)
        paths = make_development_certificates(directory, cluster, size)
    except ConfigError as error:
        raise Refused(str(error)) from None
    for path in paths:
        click.echo(path)


COMMANDS: dict[str, click.Command] = {
    "serve": serve_command,
    "config": config_group,
    "cluster": cluster_group,
    "dev-certs": dev_certs,
}
