"""Errors of the storage, in addition to `samadapt.errors`."""

from __future__ import annotations

from samadapt.errors import SamadaptError


class StoreError(SamadaptError, RuntimeError):
    """A project cannot be opened, read or written."""


class ConflictError(StoreError):
    """Another person changed the same record meanwhile; nothing was overwritten."""


class BehindError(ConflictError):
    """Another server has continued a session that this one had open."""


class MissingError(StoreError):
    """A project, image, object or label does not exist."""


class FullError(StoreError):
    """Something could not be saved: the disk is full, read-only or broken."""


class LostError(FullError):
    """The file of a project was removed, emptied or replaced; nothing can be saved into it."""
