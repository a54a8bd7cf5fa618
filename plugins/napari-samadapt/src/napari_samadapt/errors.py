"""What a person is told in one line."""

from __future__ import annotations


class SamadaptError(RuntimeError):
    """Something that did not work, and what to do about it; the notification shows the text."""


class UnreachableError(SamadaptError):
    """No server answers."""
