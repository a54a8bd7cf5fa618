"""`GuardedGroup`: turns every error of a command into one line and an exit code."""

from __future__ import annotations

import math
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from samadapt.cli.option_names import with_option_names
from samadapt.errors import DataError, SamadaptError

USER_ERROR = 2
PARTLY_DONE = 3
UNEXPECTED = 1
INTERRUPTED = 130
PIPE_CLOSED = 141
DEBUG_VARIABLE = "SAMADAPT_DEBUG"


@dataclass(frozen=True, slots=True)
class Invocation:
    """The command line as typed; commands find it in `Context.obj`."""

    arguments: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        """The whole command line, for the records of results."""
        return ["samadapt", *self.arguments]


class CheckedCommand(TyperCommand):
    """A command that refuses numbers that are infinite or NaN."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; `DataError` if an option's number is not finite."""
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            given = ctx.params.get(parameter.name)
            for value in given if isinstance(given, list | tuple) else (given,):
                if isinstance(value, float) and not math.isfinite(value):
                    raise DataError(f"{parameter.opts[0]} {value}: use a finite number")
        return rest


class GuardedGroup(TyperGroup):
    """A group of commands that prints tracebacks only on request.

    Exit codes: 0 done, 3 partly done with failures named, 2 an error that the person can correct,
    1 an unexpected error, 130 interrupted, 141 the output pipe was closed. Each error is one line
    on stderr.
    `--debug` anywhere, or SAMADAPT_DEBUG=1, shows the traceback as well.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and exit with the code (or return it without `standalone_mode`)."""
        arguments, debug = _take_debug(sys.argv[1:] if args is None else list(args))
        extra.setdefault("obj", Invocation(tuple(arguments)))
        try:
            result = super().main(
                args=arguments,
                prog_name=prog_name or "samadapt",
                complete_var=complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
            sys.stdout.flush()
            code = result if isinstance(result, int) else 0
        except Exception as error:
            code = _report(error, debug, arguments)
        except KeyboardInterrupt:
            code = INTERRUPTED
        if code == INTERRUPTED:
            typer.echo("interrupted", err=True)
        if not standalone_mode:
            return code
        sys.exit(code)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _PipeClosedError from error


class _PipeClosedError(Exception):
    """Replaces `BrokenPipeError`, on which typer would exit with code 1."""


def _report(error: Exception, debug: bool, arguments: Sequence[str]) -> int:
    """Print the error in one line, and return the exit code."""
    if isinstance(error, _PipeClosedError | BrokenPipeError):
        # Whatever is still in the buffer would raise again when Python closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    if debug:
        traceback.print_exception(error)
    if isinstance(error, typer.Abort):
        return INTERRUPTED
    if isinstance(error, SamadaptError):
        return _say(with_option_names(str(error), arguments), USER_ERROR)
    usage = getattr(error, "format_message", None)
    if callable(usage):
        return _say(f"{usage().rstrip('.')}{_help(error)}", USER_ERROR)
    if isinstance(error, MemoryError):
        return _say("out of memory: use a smaller model or a smaller image", UNEXPECTED)
    hint = "" if debug else "; run it again with --debug for the traceback"
    return _say(f"unexpected {type(error).__name__}: {error}{hint}", UNEXPECTED)


def _say(message: str, code: int) -> int:
    typer.echo("error: " + " ".join(message.splitlines()), err=True)
    return code


def _help(error: Exception) -> str:
    """A pointer to the help of a command that was called wrongly."""
    context = getattr(error, "ctx", None)
    path = "samadapt" if context is None else context.command_path
    return f" (see `{path} --help`)"


def _take_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """Arguments without `--debug`, and whether tracebacks are wanted."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [a for a in arguments[:end] if a != "--debug"] + arguments[end:]
    by_variable = os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    return kept, by_variable or len(kept) < len(arguments)
