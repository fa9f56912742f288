"""The help of every command, as it is printed on a terminal of 100 columns."""

import copy
from collections.abc import Iterator, Mapping

import click

from tellwire.cli.app import app

_COLUMNS = 100


def parts(page: str) -> Mapping[str, str]:
    """Return a section for each command."""
    return {"commands": "\n\n".join(_sections(app, None))}


def _sections(command: click.Command, above: click.Context | None) -> Iterator[str]:
    name = "tellwire" if above is None else command.name
    # With the options of a run (`-h`), whichever the process has run: a command keeps the first ones that it had.
    command = copy.copy(command)
    command._help_option = None
    context = click.Context(
        command,
        info_name=name,
        parent=above,
        max_content_width=_COLUMNS,
        terminal_width=_COLUMNS,
        **command.context_settings,
    )
    text = "\n".join(line.rstrip() for line in command.get_help(context).split("\n"))
    yield f"## {context.command_path}\n\n```text\n{text}\n```"
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            if below := command.get_command(context, each):
                yield from _sections(below, context)
