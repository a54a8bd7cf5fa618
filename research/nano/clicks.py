"""Simulated prompts for training: many objects at once, cheaper and sloppier than the robot."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from research.nano.drafts import draft_of, logits_of
from samadapt.models.nano.prompt_encoder import PADDING, PromptBatch

_GRID = 2
"""Clicks are placed on a grid of this many pixels."""
_MOST_SCATTERED = 8
_MOST_AROUND = 4
"""Most points on and off the object that a prompt of several points begins with."""


class ClickSimulator:
    """Keeps the prompts of B objects and adds one click to each per round.

    Args:
        masks: (B, S, S) uint8 true masks.
        rng: source of randomness.
        rounds: most clicks per object.
        pool: threads for the distance transforms.
        first: (B, 2) the first clicks as (x, y) in pixels; NaN where the simulator shall choose.

    Attributes:
        has_draft: (B,) bool, which objects begin with a nearly right mask.
        started_as_given: (B,) bool, for which objects the first prompt was the click in `first`.
    """

    def __init__(
        self,
        masks: NDArray[np.uint8],
        rng: Generator,
        rounds: int,
        pool: ThreadPoolExecutor,
        first: NDArray[np.float32] | None = None,
    ) -> None:
        self.truth = np.ascontiguousarray(masks[:, ::_GRID, ::_GRID]).astype(bool)
        self.rng = rng
        self.pool = pool
        count = len(masks)
        columns = rounds + _MOST_SCATTERED + _MOST_AROUND - 1
        self.points = np.zeros((count, columns, 2), np.float32)
        self.labels = np.full((count, columns), PADDING, np.int64)
        self.boxes = np.zeros((count, 4), np.float32)
        self.has_box = np.zeros(count, bool)
        self.started_as_given = np.zeros(count, bool)
        self.has_draft = np.zeros(count, bool)
        self._drafts = np.zeros_like(self.truth)
        self._used = 0
        self._masks = masks
        self._first = np.full((count, 2), np.nan, np.float32) if first is None else first

    def start(
        self,
        box_share: float = 0.2,
        box_noise: float = 0.4,
        scattered_share: float = 0.0,
        draft_share: float = 0.0,
        corrections: NDArray[np.bool_] | None = None,
    ) -> None:
        """First prompt: a click on the object, a box, points anywhere, or a draft and a click.

        A given first click that does not lie on its object is passed over.

        Args:
            box_share: how many objects begin with a box, half of them with an exact one.
            box_noise: largest s of the others (`_box`).
            scattered_share: how many of the rest begin with two to eight random points on the
                object, and half of these with up to four off it as well.
            draft_share: how many of the others begin with a nearly right mask and a click where
                it is wrong.
            corrections: (B,) which objects begin with such a draft in any case.
        """
        count = len(self.truth)
        drafted = np.zeros(count, bool) if corrections is None else corrections
        self.has_box[:] = (self.rng.random(count) < box_share) & ~drafted
        for row in np.flatnonzero(self.has_box):
            self.boxes[row] = self._box(self._masks[row], box_noise)
        free = ~self.has_box & ~drafted
        scattered = free & (self.rng.random(count) < scattered_share)
        free &= ~scattered
        self.has_draft[:] = drafted | (free & (self.rng.random(count) < draft_share))
        for row in np.flatnonzero(self.has_draft):
            self._drafts[row] = draft_of(self.truth[row], self.rng)
        as_given = ~self.has_box & ~scattered & ~self.has_draft
        self.started_as_given[:] = as_given & self._hits()
        for row in np.flatnonzero(self.started_as_given):
            self.points[row, 0] = self._first[row]
            self.labels[row, 0] = 1
        self._click(self._drafts, skip=self.has_box | self.started_as_given)
        self._used = max([1, *(self._scatter(int(row)) for row in np.flatnonzero(scattered))])

    def refine(self, predicted: NDArray[np.bool_]) -> None:
        """Add the next click where `predicted` (B, S, S) or (B, S/2, S/2) is wrong."""
        if predicted.shape[-1] != self.truth.shape[-1]:
            predicted = predicted[:, ::_GRID, ::_GRID]
        self._click(predicted, skip=np.zeros(len(self.truth), bool))

    def prompts(self, previous: Tensor | None, device: torch.device) -> PromptBatch:
        """All prompts so far, with earlier logits (B, 1, h, w) if there are any."""
        used = max(self._used, 1)
        any_box = bool(self.has_box.any())
        has_mask = np.ones(len(self.truth), bool)
        if previous is None and self.has_draft.any():
            drafts = np.stack([logits_of(draft, self.rng) for draft in self._drafts])
            previous, has_mask = torch.from_numpy(drafts)[:, None].to(device), self.has_draft
        return PromptBatch(
            torch.from_numpy(self.points[:, :used]).to(device),
            torch.from_numpy(self.labels[:, :used]).to(device),
            torch.from_numpy(self.boxes).to(device) if any_box else None,
            torch.from_numpy(self.has_box).to(device) if any_box else None,
            previous,
            None if previous is None else torch.from_numpy(has_mask).to(device),
        )

    def _click(self, predicted: NDArray[np.bool_], skip: NDArray[np.bool_]) -> None:
        seeds = self.rng.integers(0, 2**63, len(self.truth))
        rows = [r for r in range(len(self.truth)) if not skip[r]]
        found = self.pool.map(
            lambda r: _error_click(self.truth[r], predicted[r], np.random.default_rng(seeds[r])),
            rows,
        )
        for row, click in zip(rows, found, strict=True):
            if click is not None:
                x, y, label = click
                self.points[row, self._used] = ((x + 0.5) * _GRID, (y + 0.5) * _GRID)
                self.labels[row, self._used] = label
        self._used += 1

    def _hits(self) -> NDArray[np.bool_]:
        """(B,) whether the given first click lies on the object."""
        side = self._masks.shape[-1]
        inside = ((self._first >= 0) & (self._first < side)).all(axis=1)  # False for NaN
        x, y = np.where(inside[:, None], self._first, 0).astype(np.int64).T
        return np.asarray(inside & (self._masks[np.arange(len(x)), y, x] > 0))

    def _scatter(self, row: int) -> int:
        """Random points instead of the first click; returns how many."""
        truth = self.truth[row]
        count = int(self.rng.integers(2, _MOST_SCATTERED + 1))
        around = int(self.rng.integers(1, _MOST_AROUND + 1)) if self.rng.random() < 0.5 else 0
        placed = 0
        for region, wanted, label in ((truth, count, 1), (~truth, around, 0)):
            ys, xs = np.nonzero(region)
            if len(ys):
                picks = self.rng.integers(0, len(ys), wanted)
                columns = slice(placed, placed + wanted)
                self.points[row, columns] = (np.stack([xs[picks], ys[picks]], 1) + 0.5) * _GRID
                self.labels[row, columns] = label
                placed += wanted
        return placed

    def _box(self, mask: NDArray[np.uint8], largest: float) -> NDArray[np.float32]:
        """Exact box in half of the cases, else noisy as in DN-DETR with s up to `largest`."""
        x, y, width, height = cv2.boundingRect(mask)
        side = mask.shape[-1]
        noise = 0.0 if self.rng.random() < 0.5 else self.rng.uniform(0.05, largest)
        shift = self.rng.uniform(-1, 1, 2) * (width, height) * noise / 2
        centre = np.array([x + width / 2, y + height / 2]) + shift
        extent = np.array([width, height]) * (1 + self.rng.uniform(-1, 1, 2) * noise)
        box = np.concatenate([centre - extent / 2, centre + extent / 2]).clip(0, side)
        return np.asarray(box, np.float32)


def _error_click(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], rng: Generator
) -> tuple[int, int, int] | None:
    """(x, y, label) in the deeper of the two error regions, often at its centre."""
    missed, extra = truth & ~predicted, predicted & ~truth
    depth_missed, depth_extra = _depth(missed), _depth(extra)
    deepest_missed, deepest_extra = depth_missed.max(), depth_extra.max()
    if max(deepest_missed, deepest_extra) <= 0:
        return None
    positive = deepest_missed >= deepest_extra
    depth = depth_missed if positive else depth_extra
    share = rng.choice([0.95, 0.6, 0.1], p=[0.5, 0.25, 0.25])
    ys, xs = np.nonzero(depth >= share * depth.max())
    pick = int(rng.integers(len(ys)))
    return int(xs[pick]), int(ys[pick]), int(positive)


def _depth(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    padded = np.pad(region, 1).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1])
