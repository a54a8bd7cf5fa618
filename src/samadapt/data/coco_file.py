"""COCO JSON files: reading their records, writing them in one go."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from samadapt.data.files import replacing
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.errors import DataError


class CocoRecords(NamedTuple):
    """What a COCO file holds; `extra` are its entries other than the three lists."""

    images: tuple[CocoImage, ...]
    annotations: tuple[CocoAnnotation, ...]
    categories: tuple[CocoCategory, ...]
    extra: dict[str, Any]


def read_coco_file(path: Path) -> CocoRecords:
    """Read and check the records of a COCO file, each by itself.

    Raises:
        DataError: missing file, not JSON, not COCO, a record that lacks something.
    """
    rest = _read_json(path)
    if not isinstance(rest, dict) or not isinstance(rest.get("images"), list):
        raise DataError(
            f"{path} is not a COCO file: it should be an object with 'images', 'annotations' "
            "and 'categories'"
        )
    try:
        return CocoRecords(
            tuple(CocoImage.from_json(*entry) for entry in _entries(rest, "images")),
            tuple(CocoAnnotation.from_json(*entry) for entry in _entries(rest, "annotations")),
            tuple(CocoCategory.from_json(*entry) for entry in _entries(rest, "categories")),
            rest,
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def write_coco_file(path: str | os.PathLike[str], document: dict[str, Any]) -> None:
    """Write a JSON file, completely or not at all.

    Raises:
        DataError: a file that cannot be written.
    """
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    with replacing(path) as file:
        file.write(text.encode("utf-8", "surrogatepass"))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the path of the annotation file") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not a JSON file ({error}): it may be cut off, export it again"
        ) from None


def _entries(rest: dict[str, Any], key: str) -> Iterator[tuple[Any, str]]:
    entries = rest.pop(key, None)
    if entries is None:
        entries = []
    if not isinstance(entries, list):
        raise DataError(f"{key!r} is not a list: export the file again")
    for number, entry in enumerate(entries, 1):
        named = entry.get("id") if isinstance(entry, dict) else None
        which = f"with id {named!r}" if named is not None else f"number {number}"
        yield entry, f"the entry {which} of {key!r}"
