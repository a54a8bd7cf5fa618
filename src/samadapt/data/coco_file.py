"""Reading and writing of COCO JSON files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from samadapt.data.files import replacing
from samadapt.data.import_issues import ImportIssues
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.data.text import read_json
from samadapt.errors import DataError

_Record = TypeVar("_Record", CocoImage, CocoAnnotation, CocoCategory)


class CocoRecords(NamedTuple):
    """Content of a COCO file; `extra` are its entries other than the three lists."""

    images: tuple[CocoImage, ...]
    annotations: tuple[CocoAnnotation, ...]
    categories: tuple[CocoCategory, ...]
    extra: dict[str, Any]


def read_coco_file(
    path: Path,
    findings: ImportIssues | None = None,
    prepared: Callable[[Any], Any] | None = None,
) -> CocoRecords:
    """Read and check the records of a COCO file, each by itself.

    Args:
        path: the file.
        findings: receives unusable records; without it the first one is raised.
        prepared: corrects the entries of "images" before they are read.

    Raises:
        DataError: missing file, not JSON, not COCO; without `findings`, an unusable record.
    """
    findings = findings or ImportIssues(strict=True)
    rest = read_json(path, findings)
    if isinstance(rest, dict) and "shapes" in rest:
        raise DataError(f"{path} is a labelme file, not a COCO file: give the folder that holds it")
    if not isinstance(rest, dict) or not isinstance(rest.get("images"), list):
        raise DataError(
            f"{path} is not a COCO file: it should be an object with 'images', 'annotations' "
            "and 'categories'"
        )

    def read_image(entry: Any, where: str) -> CocoImage:
        return CocoImage.from_json(entry if prepared is None else prepared(entry), where)

    return CocoRecords(
        tuple(_read(read_image, rest, "images", path, findings)),
        tuple(_read(CocoAnnotation.from_json, rest, "annotations", path, findings)),
        tuple(_read(CocoCategory.from_json, rest, "categories", path, findings)),
        rest,
    )


def write_coco_file(path: str | os.PathLike[str], document: dict[str, Any]) -> None:
    """Write a JSON file, completely or not at all.

    Raises:
        DataError: a file that cannot be written.
    """
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    with replacing(path) as file:
        # Names of files may hold bytes that are no UTF-8; JSON keeps them as \udcXX.
        file.write(text.encode("utf-8", "backslashreplace"))


def _read(
    read: Callable[[Any, str], _Record],
    rest: dict[str, Any],
    key: str,
    path: Path,
    findings: ImportIssues,
) -> Iterator[_Record]:
    """The records of one list, without unusable ones."""
    for entry, where in _entries(rest, key, path):
        try:
            yield read(entry, where)
        except DataError as error:
            findings.leave_out(str(path), str(error), int(key == "annotations"))


def _entries(rest: dict[str, Any], key: str, path: Path) -> Iterator[tuple[Any, str]]:
    entries = rest.pop(key, None)
    if entries is None:
        entries = []
    if not isinstance(entries, list):
        raise DataError(f"{path}: {key!r} is not a list: export the file again")
    for number, entry in enumerate(entries, 1):
        named = entry.get("id") if isinstance(entry, dict) else None
        which = f"with id {named!r}" if named is not None else f"number {number}"
        yield entry, f"the entry {which} of {key!r}"
