"""Command lines of samadapt, parsed without being run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from samadapt.cli import app
from samadapt.errors import SamadaptError


class UnknownCommandError(SamadaptError):
    """A command or option that samadapt does not have."""


def parse(arguments: Sequence[str]) -> None:
    """Parse the arguments of `samadapt`.

    Raises:
        UnknownCommandError: samadapt has no such command or option.
    """
    # typer brings a click of its own, so that the classes of the package click say nothing here.
    command: Any = typer.main.get_command(app)
    rest = list(arguments)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            raise UnknownCommandError(f"samadapt has no command {' '.join(arguments)!r}")
        command = command.commands[rest.pop(0)]
    context = command.context_class(command)
    try:
        command.make_parser(context).parse_args(rest)
    except Exception as error:  # of typer's own click, which has no public name
        raise UnknownCommandError(f"samadapt {' '.join(arguments)}: {error}") from error
