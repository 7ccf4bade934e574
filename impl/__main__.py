"""The command line: ``python -m impl serve`` runs one node, ``cluster up`` a local cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import click
import uvloop

from impl.commands import COMMANDS
from impl.config import ConfigError, Configuration, Settings, configure
from impl.disk import StorageError
from impl.local_cluster import LocalCluster
from impl.logs import start_logging
from impl.server import serve
from impl.snapshot_commands import snapshot
from impl.tls import for_clients, for_members

SWITCH_INTERVAL_S = 0.0005
"""How long the disk's thread may have to wait for the loop's, and the reverse."""


@click.group()
def main() -> None:
    """A replicated key-value store that runs a formally checked Raft; clients speak Redis."""


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """One flag for each row of ``impl.config.Settings``."""
    for setting in reversed(fields(Settings)):
        flag = "--" + setting.name.replace("_", "-")
        command = click.option(flag, help=setting.metadata["help"])(command)
    return command


@main.command("serve")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings.")
@settings_options
def serve_command(config: Path | None, **flags: str | None) -> None:
    """Run one node."""

    def read() -> Configuration:
        return configure(flags, os.environ, config)

    try:
        configuration = read()
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    settings = configuration.settings
    start_logging(settings.member, settings.log_format, settings.log_level)
    logging.getLogger("impl.config").info("settings: %s", "; ".join(configuration.lines()))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            failure = runner.run(serve(settings, lambda: read().settings))
    except (StorageError, ConfigError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if failure is not None:
        raise click.ClickException(failure)


@main.group("config")
def config_group() -> None:
    """The settings of a node."""


@config_group.command("check")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings.")
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


@main.group("cluster")
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
    "--port", type=int, default=7001, show_default=True, help="Of the first node's clients."
)
def cluster_up(size: int, data_dir: Path, port: int) -> None:
    """Start a local cluster; Ctrl-C stops it."""
    cluster = LocalCluster.open(data_dir, size=size, port=port)
    try:
        for line in cluster.start():
            click.echo(line)
        cluster.wait(click.echo)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    finally:
        cluster.stop()


for command in (*COMMANDS, snapshot):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m impl")
