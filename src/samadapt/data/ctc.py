"""Folders of the Cell Tracking Challenge: one label image per frame, and a table of lineage.

The reference is `01_GT/TRA/man_track000.tif` ... with `man_track.txt`, a result
`01_RES/mask000.tif` ... with `res_track.txt`. A line of the table is `L B E P`: an object's label,
the first and the last frame it is in (from 0), and the label of the one it came from, or 0. Labels
are unique over the whole sequence and 16 bits; an object is in every frame from B to E.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from samadapt.data.files import new_folder
from samadapt.data.images import image_size, read_values
from samadapt.data.import_issues import ImportIssues
from samadapt.data.label_slices import Overlap, check_overlaps, label_slice, tracks_of_labels
from samadapt.data.tracks import Track, Tracks, runs_of
from samadapt.errors import DataError

Kind = Literal["reference", "result"]
_NAMES = {"reference": "man_track", "result": "mask"}
_TABLES = {"reference": "man_track.txt", "result": "res_track.txt"}
_FRAME = re.compile(r"(?:man_track|mask)(\d+)\.tiff?", re.IGNORECASE)
_MOST = 65535


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the table."""

    label: int
    first: int
    last: int
    parent: int


def save_ctc(
    folder: str | os.PathLike[str],
    tracks: Tracks,
    kind: Kind = "reference",
    overlap: Overlap = "error",
) -> None:
    """Write tracks as a folder of the Cell Tracking Challenge.

    An object that is missing in some frames between becomes several, each the parent of the next,
    as the format has no gaps.

    Args:
        folder: a new or empty folder; it appears complete or not at all.
        tracks: at most 65535 objects.
        kind: "reference" (man_track...) or "result" (mask..., res_track.txt).
        overlap: treatment of overlapping objects, which labels cannot hold.

    Raises:
        DataError: too many objects, overlaps, or a folder that cannot be written.
    """
    from tifffile import imwrite

    if kind not in _NAMES:
        raise DataError(f"kind {kind!r}: choose 'reference' or 'result'")
    check_overlaps(tracks, overlap)
    whole = _without_gaps(tracks)
    if max((track.id for track in whole), default=0) > _MOST:
        raise DataError(f"more than {_MOST} objects, which this format cannot number: write COCO")
    digits = 3 if tracks.length <= 1000 else 4
    rows = [_Row(t.id, t.slices[0], t.slices[-1], t.parent or 0) for t in whole if t.slices]
    known = {row.label for row in rows}
    with new_folder(folder) as target:
        for index in range(tracks.length):
            labels = label_slice(whole, index, overlap, np.uint16)
            imwrite(
                target / f"{_NAMES[kind]}{index:0{digits}d}.tif",
                labels,
                photometric="minisblack",
                compression="zlib",
                software="samadapt",
            )
        lines = [
            f"{r.label} {r.first} {r.last} {r.parent if r.parent in known else 0}\n" for r in rows
        ]
        (target / _TABLES[kind]).write_text("".join(lines), encoding="ascii")


def load_ctc(folder: str | os.PathLike[str], findings: ImportIssues | None = None) -> Tracks:
    """Read a folder of the Cell Tracking Challenge, reference or result.

    Args:
        folder: holds the label images and the table, such as `01_GT/TRA` or `01_RES`.
        findings: receives unusable frames and lines, and labels on which the table and the images
            disagree; without it the first one is raised.

    Raises:
        DataError: no such folder, no label images, no table.
    """
    folder, findings = Path(folder), findings or ImportIssues(strict=True)
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder: give the one with man_track.txt or res_track.txt"
        )
    table = next((folder / t for t in _TABLES.values() if (folder / t).is_file()), None)
    if table is None:
        raise DataError(f"{folder} has neither man_track.txt nor res_track.txt")
    named = ((_FRAME.fullmatch(path.name), path) for path in sorted(folder.iterdir()))
    files = {int(match[1]): path for match, path in named if match}
    if not files:
        raise DataError(f"{folder} has no label images (man_track000.tif ... or mask000.tif ...)")
    rows = _table(table, findings)
    length = max(files) + 1
    numbers = [-1, *sorted(files)]
    for before, after in pairwise(numbers):
        if after > before + 1:
            lost = f"{before + 1}" if after == before + 2 else f"{before + 1} to {after - 1}"
            findings.leave_out(str(folder), f"the label image of frame {lost} is missing", 0)
    size = image_size(files[min(files)])
    found = Tracks(size, length)
    for index, path in sorted(files.items()):
        with findings.leaving_out(path.name):
            one = tracks_of_labels([(index, partial(read_values, path))], size, length, str(path))
            found = _joined(found, one)
    return _with_parents(found, rows, table, findings)


def _joined(found: Tracks, one: Tracks) -> Tracks:
    by_id = {track.id: track for track in found}
    for track in one:
        masks = {**by_id[track.id].masks, **track.masks} if track.id in by_id else track.masks
        by_id[track.id] = Track(track.id, masks)
    return replace(found, tracks=tuple(by_id.values()))


def _table(path: Path, findings: ImportIssues) -> dict[int, _Row]:
    rows: dict[int, _Row] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        with findings.leaving_out(f"{path.name}, line {number}"):
            row = _row(line, f"{path}, line {number}")
            if row.label in rows:
                raise DataError(f"{path}, line {number}: label {row.label} has a line already")
            rows[row.label] = row
    return rows


def _row(line: str, where: str) -> _Row:
    try:
        label, first, last, parent = (int(part) for part in line.split())
    except ValueError:
        raise DataError(f"{where}: give four whole numbers L B E P, not {line[:80]!r}") from None
    if label < 1 or first < 0 or last < first or parent < 0 or parent == label:
        raise DataError(f"{where}: {line.strip()!r} is not a valid line L B E P")
    return _Row(label, first, last, parent)


def _with_parents(
    found: Tracks, rows: dict[int, _Row], table: Path, findings: ImportIssues
) -> Tracks:
    """Tracks with their parents; differences between the table and the images are reported."""
    known = {track.id for track in found}
    for label in sorted(set(rows) - known):
        findings.leave_out(table.name, f"label {label} is in no image")
    tracks = []
    for track in found:
        row, parent = rows.get(track.id), None
        if row is None:
            findings.leave_out(table.name, f"label {track.id} of the images has no line", 0)
        else:
            if (row.first, row.last) != (track.slices[0], track.slices[-1]):
                findings.leave_out(
                    table.name,
                    f"label {track.id} is said to be in frames {row.first} to {row.last}, the "
                    f"images have it in {track.slices[0]} to {track.slices[-1]}",
                    0,
                )
            parent = row.parent if row.parent in known else None
        tracks.append(replace(track, parent=parent))
    return replace(found, tracks=tuple(tracks))


def _without_gaps(tracks: Tracks) -> Tracks:
    """Every object in one piece; the pieces of one object are parents of each other."""
    after = max((track.id for track in tracks), default=0)
    pieces: list[Track] = []
    last_piece: dict[int, int] = {}
    for track in tracks:
        parent = track.parent
        for number, (first, last) in enumerate(runs_of(track.slices)):
            identity = track.id
            if number:
                after += 1
                identity = after
            masks = {i: track.masks[i] for i in range(first, last + 1)}
            pieces.append(Track(identity, masks, track.label, parent))
            parent = last_piece[track.id] = identity
    heads = {track.id for track in tracks}
    known = {piece.id for piece in pieces}
    fixed = []
    for piece in pieces:
        owner = piece.parent
        if owner in heads and piece.id in heads:
            owner = last_piece.get(owner, owner)  # what splits off comes from the last piece
        fixed.append(replace(piece, parent=owner if owner in known else None))
    return replace(tracks, tracks=tuple(fixed))
