"""What the tests of the command line check again and again."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import Result

Run = Callable[..., Result]


def one_error(result: Result) -> str:
    """The only line of a mistake that the person can correct."""
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert result.stdout == ""
    return line
