"""The version of samadapt that is installed."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def installed_version() -> str:
    """Return the version of the installed package; "unknown" if there is none."""
    try:
        return version("samadapt")
    except PackageNotFoundError:
        return "unknown"
