"""What the tests of the command line check again and again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from typer.main import get_command
from typer.testing import Result

from samadapt.cli import app

Run = Callable[..., Result]


def one_error(result: Result) -> str:
    """The only line of a mistake that the person can correct."""
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert result.stdout == ""
    return line


def foreign_options(arguments: Sequence[str], error: str) -> set[str]:
    """The options that an error names, but neither the command nor the arguments have.

    Other commands stand between backticks.
    """
    command = get_command(app)
    for argument in arguments:
        command = getattr(command, "commands", {}).get(argument, command)
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    known |= {"--debug", *(argument.partition("=")[0] for argument in arguments)}
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub("`.*?`", "", error))) - known
