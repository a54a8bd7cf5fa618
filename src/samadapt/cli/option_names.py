"""Names of options in errors that the library raises with its own names of settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_OTHER_NAMES = {"dtype": "encoder_dtype", "grid": "points", "stop_at": "target"}
"""Settings of the library that options give under another name."""

_SETTING = re.compile(
    r"(?:click protocol: )?(?P<name>[a-z][a-z_ ]*?)[= ]"
    r"(?P<quote>['\"]?)(?P<value>(?<=['\"])[^'\"]*|[^\s'\":,]+)(?P=quote)(?=[:,]| \(| is )"
)
"""A setting and its value at the beginning of an error: "points 0: ", "at_failure='x', "."""


def with_option_names(text: str, arguments: Sequence[str]) -> str:
    """Return an error with the option instead of the setting that it begins with.

    Args:
        text: such as "encoder_dtype 'float16': use ...".
        arguments: the command line; an error about anything else than the value of one of its
            options stays as it is.
    """
    found = _SETTING.match(text)
    if found is None:
        return text
    name, value = found["name"].replace(" ", "_"), found["value"]
    for option, given in _options(arguments):
        own = option.removeprefix("--").replace("-", "_")
        if name in (own, _OTHER_NAMES.get(own)) and any(
            _is_same(value, part) for part in (given, *given.split(","))
        ):
            return f"{option} {value}{text[found.end() :]}"
    return text


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The long options of a command line, with their values."""
    for argument, following in zip(arguments, (*arguments[1:], ""), strict=True):
        if argument == "--":
            return
        if argument.startswith("--"):
            option, has_value, value = argument.partition("=")
            yield option, value if has_value else following


def _is_same(value: str, given: str) -> bool:
    """Return True if two values are the same text or the same number, such as 1 and 1.0."""
    try:
        return value == given or float(value) == float(given)
    except ValueError:
        return False
