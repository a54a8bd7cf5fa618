"""What people type, as it is stored: names of one line, and texts of several."""

from __future__ import annotations

import unicodedata

from samadapt.errors import DataError

LONGEST_PERSON = 60
"""Characters of a person's name."""

_NEVER = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories of characters that no line of text has: control, half characters, breaks."""
_BETWEEN_LINES = "\n\t"


def clean_line(text: str, what: str, most: int) -> str:
    """A name as it is stored: one line, without blanks around it, in Unicode's composed form.

    Args:
        text: as somebody typed it.
        what: it is, for the message.
        most: characters that it may have.

    Raises:
        DataError: empty, too long, or with control characters or line breaks.
    """
    odd = "control characters or line breaks" if any(map(_is_never, text.strip())) else ""
    return _clean(text, what, most, odd)


def clean_lines(text: str, what: str, most: int) -> str:
    """As `clean_line`, for a text of several lines."""
    text = text.replace("\r\n", "\n")
    return _clean(text, what, most, "control characters" if has_control(text) else "")


def as_line(text: str, most: int) -> str:
    """As much of a text as can be a name: control characters and line breaks become blanks.

    This is for names that come with every request, where nobody could do anything once they were
    refused.
    """
    line = "".join(" " if _is_never(character) else character for character in text)
    return unicodedata.normalize("NFC", " ".join(line.split()))[:most].strip("\ufeff ")


def has_control(text: str) -> bool:
    """Whether a text has control characters other than line breaks and tabs, or half characters."""
    return any(unicodedata.category(c) in ("Cc", "Cs") and c not in _BETWEEN_LINES for c in text)


def _clean(text: str, what: str, most: int, odd: str) -> str:
    if odd:
        raise DataError(f"{what} {text.strip()[:40]!a} has {odd}: leave them out")
    clean = unicodedata.normalize("NFC", text.strip().strip("\ufeff").strip())
    if not clean:
        raise DataError(f"{what} is empty: give it one character at least")
    if len(clean) > most:
        raise DataError(
            f"{what} {clean[:20]!r}... has {len(clean)} characters: use {most} or fewer"
        )
    return clean


def _is_never(character: str) -> bool:
    return unicodedata.category(character) in _NEVER
