"""The command line: ``python -m impl``, or ``raftctl`` where it is installed.

A command's module is imported when the command is named: a script that reads a key does not wait
for the server to be imported.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

import click

from impl.status import version

SECTIONS = {
    "Run nodes": {
        "serve": "impl.node_commands",
        "cluster": "impl.node_commands",
        "config": "impl.node_commands",
        "dev-certs": "impl.node_commands",
    },
    "Look after a cluster": {
        "status": "impl.commands",
        "member": "impl.commands",
        "transfer": "impl.commands",
        "snapshot": "impl.snapshot_commands",
        "log": "impl.commands",
        "bench": "impl.bench",
    },
    "Use it from scripts": {
        "get": "impl.commands",
        "set": "impl.commands",
        "del": "impl.commands",
        "watch": "impl.commands",
    },
}
"""The commands as ``--help`` lists them, each with the module that has it in ``COMMANDS``."""

EXIT_CODES = (
    "Exit codes: 0 done; 1 refused, and nothing was changed; 2 usage; 3 no node or no leader can "
    "be reached, and nothing was changed; 4 the outcome is not known: it may have been done."
)


class CommandLine(click.Group):
    """The commands of ``SECTIONS``, imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them, in order."""
        return [name for section in SECTIONS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them, which tells the exit codes in its help."""
        for section in SECTIONS.values():
            if cmd_name in section:
                found: click.Command = import_module(section[cmd_name]).COMMANDS[cmd_name]
                _tell_exit_codes(found)
                return found
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that ``args`` begin with, or what was perhaps meant."""
        names = self.list_commands(ctx)
        if args[0] not in names and (close := get_close_matches(args[0], names, n=1)):
            ctx.fail(f"No such command {args[0]!r}; is {close[0]} meant?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """By sections, each command with the first sentence of its help."""
        for title, section in SECTIONS.items():
            with formatter.section(title):
                commands = [(name, self.get_command(ctx, name)) for name in section]
                rows = [(n, c.get_short_help_str(200)) for n, c in commands if c is not None]
                formatter.write_dl(rows)


def _tell_exit_codes(command: click.Command) -> None:
    command.epilog = EXIT_CODES
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _tell_exit_codes(inner)


@click.group(
    cls=CommandLine,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(version(), message="%(version)s")
def main() -> None:
    """A replicated key-value store that runs a formally checked Raft; clients speak Redis.

    To try it: `cluster up` starts three nodes on this machine; then, in another terminal, `set
    greeting hello`, `get greeting` and `status`.
    """


if __name__ == "__main__":
    main(prog_name="python -m impl", complete_var="_IMPL_COMPLETE")
