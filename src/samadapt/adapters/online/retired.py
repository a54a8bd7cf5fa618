"""Removed settings that adapter folders of earlier versions still hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from samadapt.errors import AdapterError

_ALL = ["*"]
_SINGLE_VALUE: Mapping[str, Any] = {
    "parameters": _ALL,
    "click.parameters": _ALL,
    "click.violated_steps": 0,
    "click.optimiser": "adam",
    "click.student": "previous",
    "accept.optimiser": "adam",
    "accept.importance": False,
    "guard.patience": 0,
}
"""Removed options, with the value that all presets had; the code always behaves so."""

_DERIVED = ("guard.margin", "guard.forgetting")
"""Removed thresholds, which are now derived from the data or from other settings."""


def without_retired(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without removed ones, for `OnlineSettings.from_dict`.

    Raises:
        AdapterError: a removed option has a value that is not supported any more.
    """
    found = {
        name: dict(group) if isinstance(group, Mapping) else group
        for name, group in settings.items()
    }
    for path, value in _SINGLE_VALUE.items():
        group, name = _place(found, path)
        if name in group and (given := group.pop(name)) not in (value, tuple(_ALL)):
            raise AdapterError(
                f"online settings: {path}={given!r} is not supported any more: leave it out"
            )
    for path in _DERIVED:
        group, name = _place(found, path)
        group.pop(name, None)
    guard, _ = _place(found, "guard.outlier")
    if "outlier" in guard:
        guard.setdefault("reject_outliers", bool(guard.pop("outlier")))
    return found


def _place(settings: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The dictionary that holds a setting, empty if there is none, and the setting's name."""
    group, _, name = path.rpartition(".")
    holder = settings.get(group) if group else settings
    return (holder if isinstance(holder, dict) else {}), name
