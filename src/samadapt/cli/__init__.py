"""The command line: `samadapt`. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

from samadapt.cli.root import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line with the arguments of this process, and exit."""
    app(prog_name="samadapt")
