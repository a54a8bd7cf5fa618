"""What can go wrong with stored things, beside what `samadapt.errors` has."""

from __future__ import annotations

from samadapt.errors import SamadaptError


class StoreError(SamadaptError, RuntimeError):
    """A project that cannot be opened, read or written."""


class ConflictError(StoreError):
    """Somebody else changed the same thing meanwhile; nothing was overwritten."""


class MissingError(StoreError):
    """A project, image, object or label that is not there."""


class FullError(StoreError):
    """Something could not be saved: the disk is full, read-only or broken."""


class LostError(FullError):
    """The file of a project was removed, emptied or replaced; nothing can be saved into it."""
