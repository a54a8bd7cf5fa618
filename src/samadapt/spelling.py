"""Hints for names that are spelled wrongly."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'NAME'?)" for the nearest of the known names, "" if none is near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    near += [one for one in names if one.casefold() == name.casefold()]
    return f" (did you mean {near[-1]!r}?)" if near else ""
