"""Choice of the stack's axis in a file with several, and of the places on the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from samadapt.data.import_issues import ImportIssues
from samadapt.data.stacks.source import Axis
from samadapt.errors import ImageError

_SHOWN = 3
"""Channels that can be shown at once."""


def chosen_axis(name: str, axes: str, shape: Sequence[int], axis: Axis | None) -> int | None:
    """Position of the stack's axis among the leading `axes` (lower case); None for one plane.

    Raises:
        ImageError: there is no such axis.
    """
    long = [k for k, letter in enumerate(axes) if shape[k] > 1 and letter not in "cs"]
    if axis is not None:
        if axis in axes:
            return axes.index(axis)
        unknown = [k for k in long if axes[k] not in "zt"]
        if len(unknown) == 1:
            return unknown[0]
        raise ImageError(f"{name} has no axis {axis!r}, it has {axes.upper() or 'none'} and Y, X")
    for letter in "zt":
        if any(axes[k] == letter for k in long):
            return axes.index(letter)
    if long:
        return long[0]
    return next((k for k, letter in enumerate(axes) if letter not in "cs"), None)


def places(
    name: str,
    axes: str,
    shape: Sequence[int],
    along: int | None,
    at: Mapping[str, int],
    findings: ImportIssues,
) -> list[int]:
    """The place on every leading axis; 0 on the stack's own and on that of the channels.

    Raises:
        ImageError: a place that the file does not have.
    """
    found = []
    for letter in at:
        if letter not in axes:
            raise ImageError(f"{name} has no axis {letter!r}, it has {axes.upper() or 'none'}")
    for k, letter in enumerate(axes):
        if k == along or letter == "c":
            found.append(0)
            continue
        place = at.get(letter, 0)
        if not 0 <= place < shape[k]:
            raise ImageError(f"{name} has {shape[k]} places along {letter!r}, no {place}")
        if letter not in at and shape[k] > 1:
            findings.remark(
                name, f"axis {letter!r} has {shape[k]} places: the first is taken (at= chooses)"
            )
        found.append(place)
    return found


def chosen_channels(
    name: str, axes: str, shape: Sequence[int], channels: Sequence[int] | None
) -> list[int]:
    """The channels that are shown, at most three.

    Raises:
        ImageError: none or too many, or one that the file does not have.
    """
    count = shape[axes.index("c")] if "c" in axes else 1
    chosen = list(range(min(count, _SHOWN))) if channels is None else list(channels)
    if not 0 < len(chosen) <= _SHOWN or not all(0 <= channel < count for channel in chosen):
        raise ImageError(
            f"{name} has {count} channels: choose up to three of 0 to {count - 1}, not {chosen}"
        )
    return chosen
