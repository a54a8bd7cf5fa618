"""Matching of annotation records to image files by their paths.

A record matches an image if one's path is the end of the other's, for files that were written for
the folder above or that have bare names only. Among several matches the longest common end
decides. Paths are compared with normalised Unicode, in any system's notation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from samadapt.data.images import IMAGE_SUFFIXES

Parts = tuple[str, ...]

_DRIVE = re.compile(r"^[A-Za-z]:")


def relative_name(name: str) -> str:
    """Convert a path of any system to one below a folder: no drive, no root, no steps upwards."""
    parts = _DRIVE.sub("", name.replace("\\", "/")).split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def path_parts(name: str) -> Parts:
    """The parts of a path, with normalised Unicode."""
    return tuple(unicodedata.normalize("NFC", relative_name(name)).split("/"))


def existing(folder: Path, name: str) -> Path | None:
    """The file of a name below a folder, in whichever Unicode form it is stored."""
    for form in (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
        if (folder / form).is_file():
            return folder / form
    return None


def common_end(one: Parts, other: Parts) -> int:
    """Return the number of equal last parts of two paths."""
    count = 0
    for mine, yours in zip(reversed(one), reversed(other), strict=False):
        if mine != yours:
            break
        count += 1
    return count


def is_end(end: Parts, path: Parts) -> bool:
    """Whether a path ends with another."""
    return common_end(end, path) == len(end)


class ImageNames:
    """The images of a folder, for matching with records.

    Args:
        names: paths below the folder, with forward slashes.
        folder: the folder; its own name may be part of records' paths.
        ignored: names of folders that do not count in paths.
    """

    def __init__(
        self, names: Iterable[str], folder: Path | None = None, ignored: Collection[str] = ()
    ) -> None:
        self._ignored = frozenset(ignored)
        above = () if folder is None else self._counting(path_parts(str(folder.resolve())))
        self._exact = set(names)
        self._own = {name: self._counting(path_parts(name)) for name in sorted(self._exact)}
        self._whole = {name: (*above, *parts) for name, parts in self._own.items()}
        self._by_name: dict[str, list[str]] = {}
        for name, parts in self._own.items():
            for key in dict.fromkeys((parts[-1], _stem(parts[-1]))):
                self._by_name.setdefault(key, []).append(name)

    def find(self, record: str, place: str = "") -> str | None:
        """The image that matches a single record; None if no image or several match.

        Args:
            record: a path; its last part may lack the suffix.
            place: the folder that this path is below, if it is known.
        """
        found = self._fitting(record, place)
        return found[0] if len(found) == 1 else None

    def match(self, records: Sequence[str], place: str = "") -> list[str | None]:
        """The image of each record; no image is matched to records of different paths.

        If several records match the same image, it goes to the record with exactly the image's
        path, then to the one with the longest common end, then to the one in the folder with most
        matches, then to the first.
        """
        found = [self.find(record, place) for record in records]
        rivals: dict[str, dict[Parts, list[int]]] = {}
        shares: dict[Parts, int] = {}
        for index, name in enumerate(found):
            if name is not None:
                parts = self._counting(path_parts(records[index]))
                rivals.setdefault(name, {}).setdefault(parts, []).append(index)
                shares[parts[:-1]] = shares.get(parts[:-1], 0) + 1
        for name, paths in rivals.items():
            best = max(paths, key=partial(self._rank, name, paths, shares))
            for parts, indices in paths.items():
                for index in indices if parts != best else ():
                    found[index] = None
        return found

    def why_not(self, record: str, place: str = "") -> str:
        """The reason why `match` found no image for a record."""
        found = self._fitting(record, place)
        if not found:
            return "no such image here"
        if len(found) > 1:
            return f"{found[0]} and {found[1]} both match: give each image a unique name"
        return (
            f"not used for {found[0]}, which another entry with this name matches better or "
            "earlier: open the folder above, so that their folders distinguish them"
        )

    def _rank(
        self, name: str, paths: dict[Parts, list[int]], shares: dict[Parts, int], parts: Parts
    ) -> tuple[bool, int, int, int]:
        """Rank of the match of a record and an image; see `match`."""
        agreement = common_end(parts, self._whole[name])
        return parts == self._own[name], agreement, shares[parts[:-1]], -paths[parts][0]

    def _counting(self, parts: Parts) -> Parts:
        return (*(part for part in parts[:-1] if part not in self._ignored), parts[-1])

    def _fitting(self, record: str, place: str) -> list[str]:
        """The images that match a record equally well."""
        if record in self._exact:
            return [record]
        parts = self._counting(path_parts(record))
        above = self._counting(path_parts(place)) if place else ()
        whole = self._counting((*above, *parts))
        bare = PurePosixPath(parts[-1]).suffix.lower() not in IMAGE_SUFFIXES
        scored: dict[int, list[str]] = {}
        for name in self._by_name.get(parts[-1], ()) if parts[-1] else ():
            own, all_of_it = self._own[name], self._whole[name]
            if bare:
                own = (*own[:-1], _stem(own[-1]))
                all_of_it = (*all_of_it[:-1], own[-1])
            if is_end(parts, all_of_it) or is_end(own, whole):
                scored.setdefault(common_end(whole, all_of_it), []).append(name)
        return scored[max(scored)] if scored else []


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
