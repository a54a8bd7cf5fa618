"""The version of samadapt."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Return the installed version, such as "1.0.0"."""
    try:
        return version("samadapt")
    except PackageNotFoundError:
        return "unknown"
