"""Where to click next: the one rule of robots, evidence and training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from samadapt.errors import DataError, SessionError
from samadapt.prompts import Click

Ties = Literal["first", "random"]
Larger = Literal["distance", "area"]
FirstClick = Literal["centre", "random"]


class ClickRule(Protocol):
    """The choices of `next_click`.

    Attributes:
        padding: True counts the image's border as an edge of the error region (the error map is
            padded by one before the distance transform), so that clicks stay off the border.
        ties: among equally good pixels, "first" takes the first in row-major order, "random"
            draws one.
        larger: measure of the error that is corrected first, false negative or false positive.
            "distance" chooses the one whose centre is further from its edge, "area" the one with
            more pixels; the click then goes to the centre of its largest part (8-connected).
        first_click: "centre" of the object, or a "random" pixel of it.
    """

    @property
    def padding(self) -> bool: ...  # noqa: D102
    @property
    def ties(self) -> Ties: ...  # noqa: D102
    @property
    def larger(self) -> Larger: ...  # noqa: D102
    @property
    def first_click(self) -> FirstClick: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class RitmRule:
    """The rule of RITM (Sofiiuk et al. 2022), or a variant of it; see `ClickRule`."""

    padding: bool = True
    ties: Ties = "first"
    larger: Larger = "distance"
    first_click: FirstClick = "centre"


def next_click(
    truth: NDArray[Any],
    mask: NDArray[Any],
    clicked: Sequence[Click] = (),
    rule: ClickRule | None = None,
    rng: Generator | None = None,
    ignore: NDArray[Any] | None = None,
    *,
    missing_first: bool = False,
) -> Click | None:
    """Where a careful annotator clicks next: the centre of the larger error.

    Args:
        truth: the reference mask (H, W).
        mask: the mask so far (H, W).
        clicked: clicks so far; their pixels are not clicked again.
        rule: of the clicks; defaults to RITM's.
        rng: for random ties and first clicks; defaults to one seeded with 0.
        ignore: pixels (H, W) that do not count.
        missing_first: prefer the false negative region if it is as deep as the false positive
            one; otherwise the false positive region is preferred.

    Returns:
        The click, at a pixel's centre; None when no wrong pixel is left to click on.

    Raises:
        DataError: masks of different shape.
    """
    rule = rule or RitmRule()
    rng = rng or np.random.default_rng(0)
    wanted, found = as_bool(truth, "reference mask"), as_bool(mask, "mask")
    if wanted.shape != found.shape:
        raise DataError(f"mask of shape {found.shape} for a reference of shape {wanted.shape}")
    missing, extra = wanted & ~found, found & ~wanted
    if ignore is not None:
        counted = ~as_bool(ignore, "ignored region")
        missing, extra = missing & counted, extra & counted
    if rule.first_click == "random" and not clicked and not found.any():
        return _pick([(missing, True)], rng) if missing.any() else None
    centres = _by_area if rule.larger == "area" else _by_distance
    candidates = centres(missing, extra, _pixels(clicked, wanted.shape), rule)
    if missing_first:
        candidates.sort(key=lambda candidate: not candidate[1])
    if not candidates:
        return None
    return _pick(candidates, rng if rule.ties == "random" else None)


def click_per_error(
    accepted: NDArray[np.bool_], found: NDArray[np.bool_], most: int
) -> tuple[Click, ...]:
    """One click in the middle of each connected error, the largest errors first.

    Args:
        accepted: the wanted mask, (H, W).
        found: the mask so far, (H, W).
        most: largest number of clicks.
    """
    clicks: list[tuple[int, Click]] = []
    for region, positive in ((accepted & ~found, True), (found & ~accepted, False)):
        count, parts, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
        areas = statistics[1:count, cv2.CC_STAT_AREA]
        for index in np.argsort(-areas, kind="stable")[:most]:
            distance = edge_distance(np.asarray(parts == index + 1), padding=True)
            middle = _pick([(distance == distance.max(), positive)], None)
            clicks.append((int(areas[index]), middle))
    clicks.sort(key=lambda pair: -pair[0])
    return tuple(click for _, click in clicks[:most])


def as_bool(mask: NDArray[Any], what: str) -> NDArray[np.bool_]:
    """A mask (H, W) of bools or integers as bool.

    Raises:
        DataError: of another shape or type; the message says `what` it is.
    """
    array = np.asarray(mask)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "bui":
        raise DataError(
            f"{what} of shape {array.shape} and type {array.dtype}: give one (H, W) bool mask"
        )
    return np.ascontiguousarray(array != 0)


# -- which pixel --------------------------------------------------------------------------

_Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]
_Candidates = list[tuple[NDArray[np.bool_], bool]]


def _by_distance(
    missing: NDArray[np.bool_], extra: NDArray[np.bool_], taken: _Pixels, rule: ClickRule
) -> _Candidates:
    """Best pixels of the error whose centre is furthest from its edge, with their label."""
    found = []
    for region, positive in ((extra, False), (missing, True)):
        distance = edge_distance(region, rule.padding)
        distance[taken] = 0
        found.append((distance, positive))
    best = max(float(distance.max()) for distance, _ in found)
    return [(d == best, p) for d, p in found if best > 0 and d.max() == best]


def _by_area(
    missing: NDArray[np.bool_], extra: NDArray[np.bool_], taken: _Pixels, rule: ClickRule
) -> _Candidates:
    """Best pixels of the largest part of the error with more pixels, with their label."""
    areas = {False: np.count_nonzero(extra), True: np.count_nonzero(missing)}
    found: dict[bool, NDArray[np.bool_]] = {}
    for positive, region in ((False, extra), (True, missing)):
        for part in (_largest_part(region), region):
            distance = edge_distance(part, rule.padding)
            distance[taken] = 0
            if distance.max() > 0:
                found[positive] = distance == distance.max()
                break
    most = max((areas[positive] for positive in found), default=0)
    return [(pixels, positive) for positive, pixels in found.items() if areas[positive] == most]


def _pick(candidates: _Candidates, rng: Generator | None) -> Click:
    """The first pixel of the first candidates, or a random pixel of all candidates."""
    if rng is None:
        candidates = candidates[:1]
    places = [(np.argwhere(pixels), positive) for pixels, positive in candidates]
    index = 0 if rng is None else int(rng.integers(sum(len(rows) for rows, _ in places)))
    for rows, positive in places:
        if index < len(rows):
            y, x = rows[index].tolist()
            return Click(x + 0.5, y + 0.5, positive)
        index -= len(rows)
    raise SessionError("no pixel to click on")


def edge_distance(region: NDArray[np.bool_], padding: bool) -> NDArray[np.float32]:
    """Distance of each pixel of `region` to the nearest pixel outside it; 0 outside.

    A region that fills the whole image has no edge without padding, so it is always padded.
    """
    distance = np.zeros(region.shape, np.float32)
    if not region.any():
        return distance
    height, width = region.shape
    x, y, w, h = cv2.boundingRect(region.view(np.uint8))
    window = np.s_[y : y + h, x : x + w]
    framed = np.pad(region[window].view(np.uint8), 1)
    top = left = 0
    if not (padding or region.all()):
        top, left = int(y == 0), int(x == 0)
        framed = framed[top : h + 2 - (y + h == height), left : w + 2 - (x + w == width)]
    found = cv2.distanceTransform(np.ascontiguousarray(framed), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance[window] = found[1 - top : 1 - top + h, 1 - left : 1 - left + w]
    return distance


def _largest_part(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The 8-connected part with the most pixels."""
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(region.view(np.uint8))
    if count < 2:
        return region
    largest = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    return np.asarray(parts == largest)


def _pixels(clicks: Sequence[Click], shape: tuple[int, ...]) -> _Pixels:
    """Rows and columns of the pixels under `clicks`; the far border belongs to the last pixel."""
    rows = np.array([min(int(c.y), shape[0] - 1) for c in clicks], np.intp)
    columns = np.array([min(int(c.x), shape[1] - 1) for c in clicks], np.intp)
    return rows, columns
