"""Reading of untrusted text files of other tools: any Unicode encoding, JSON and XML."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from samadapt.data.import_issues import ImportIssues
from samadapt.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*encoding=["']([A-Za-z0-9._-]+)["']""")
_OTHER = "cp1252"
_BROKEN = "\ufffd"


def read_text(path: Path, findings: ImportIssues | None = None) -> str:
    """The text of a file: UTF-8, or UTF-16 or UTF-32 with a byte order mark.

    In other files single broken bytes are replaced, or the file is read as Windows-1252; both are
    reported to `findings`.

    Raises:
        DataError: unreadable, or no text.
    """
    return _decoded(_bytes(path), path, None, findings, "text")


def is_text(name: str) -> bool:
    """Return True if a file name is valid UTF-8 without a NUL, and so can be stored and sent."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name


def read_json(path: Path, findings: ImportIssues | None = None) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: unreadable, or no JSON.
    """
    text = _decoded(_bytes(path), path, None, findings, "JSON")
    try:
        return json.loads(text)
    except RecursionError:
        raise DataError(
            f"{path} has lists or objects too deep inside each other: annotations need few levels, "
            "export it again"
        ) from None
    except ValueError as error:
        raise DataError(
            f"{path} is not a JSON file ({error}): it may be cut off, export it again"
        ) from None


def read_xml(path: Path, findings: ImportIssues | None = None) -> ElementTree.Element:
    """The root of an XML file without document type, in whatever encoding it declares.

    Raises:
        DataError: unreadable, no XML, or with a document type.
    """
    data = _bytes(path)
    declared = _DECLARED.match(data[:200])
    text = _decoded(data, path, declared[1].decode() if declared else None, findings, "XML")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{path} has a document type: remove it, annotations need none")
    try:
        return ElementTree.fromstring(_DECLARATION.sub("", text, count=1))  # noqa: S314
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not an XML file ({error}): it may be cut off, export it again"
        ) from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the path of the annotation file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read ({reason})") from None


def _decoded(
    data: bytes, path: Path, declared: str | None, findings: ImportIssues | None, kind: str
) -> str:
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    encoding = marked or declared or "utf-8"
    unicode = encoding in ("utf-8", "utf-8-sig")
    try:
        # Halves of characters are no fault of the file's encoding: JSON can hold them.
        return data.decode(encoding, "surrogatepass" if unicode else "strict")
    except (UnicodeError, LookupError):
        if unicode:
            return _repaired(data, path, encoding, findings, kind)
    raise _no_text(path, kind)


def _repaired(
    data: bytes, path: Path, encoding: str, findings: ImportIssues | None, kind: str
) -> str:
    """Text that should be UTF-8: with the bytes that are none replaced, if most others are."""
    text = data.decode(encoding, "replace")
    broken = text.count(_BROKEN)
    said = f"{broken} places are not UTF-8 and were replaced: check its names"
    if broken > sum(not character.isascii() for character in text) - broken:
        try:
            text = data.decode(_OTHER)
        except UnicodeError:
            raise _no_text(path, kind) from None
        said = "is not UTF-8 and was read as Windows-1252: check its names"
    if "\0" in text:
        raise _no_text(path, kind)
    if findings is not None:
        findings.remark(str(path), said)
    return text


def _no_text(path: Path, kind: str) -> DataError:
    return DataError(f"{path} is not a {kind} file in UTF-8: save it in that encoding")
