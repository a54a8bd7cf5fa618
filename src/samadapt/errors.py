"""Errors that a user can cause, with a one-line text: the fault, its place, and the remedy."""

from __future__ import annotations

import re

_ADVICE = re.compile(r"weights_only|torch\.load|safe_globals|trust", re.IGNORECASE)
"""Phrases by which libraries recommend to load a file unsafely."""


class SamadaptError(Exception):
    """Base of all errors of samadapt; the command line prints its text and exits with 2."""


class PromptError(SamadaptError, ValueError):
    """A click, box or earlier mask that cannot be used (NaN, outside the image, wrong shape)."""


class ImageError(SamadaptError, ValueError):
    """An image that cannot be read or has no pixels."""


class BusyError(SamadaptError, RuntimeError):
    """The machine has not enough memory or open files at this moment; nothing is wrong with it."""


class DataError(SamadaptError, ValueError):
    """An annotation file or mask folder that cannot be read or does not match its images."""


class ModelError(SamadaptError, ValueError):
    """A model that cannot be loaded, or an embedding that belongs to another model."""


class UnknownModelError(ModelError):
    """A model name that is neither known nor a path; the message suggests the nearest name."""


class CheckpointError(ModelError):
    """A weights file that is corrupted, unsafe to load, or of another architecture."""


class AdapterError(SamadaptError, ValueError):
    """An adapter that is unknown, broken, or made for another base model."""


class SessionError(SamadaptError, RuntimeError):
    """An action that the session's state does not allow (no image open, nothing to undo)."""


def first_line(error: BaseException) -> str:
    """The first line of another package's error, for a one-line message of our own.

    Advice to load a refused file unsafely is never repeated.
    """
    text = str(error).strip()
    if _ADVICE.search(text):
        return "it holds more than tensors and could run code when opened, which is refused"
    return text.splitlines()[0].strip() if text else type(error).__name__
