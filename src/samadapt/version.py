"""The version of samadapt that is installed."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def installed_version() -> str:
    """Return it, or "unknown" where samadapt runs without being installed."""
    try:
        return metadata.version("samadapt")
    except metadata.PackageNotFoundError:
        return "unknown"
