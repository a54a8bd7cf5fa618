"""Errors of the plugin, whose text is shown to the person in one line."""

from __future__ import annotations


class SamadaptError(RuntimeError):
    """Something failed; the text, which a notification shows, says what and what to do."""


class UnreachableError(SamadaptError):
    """No server answers."""
