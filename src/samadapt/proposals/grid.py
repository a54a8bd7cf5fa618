"""Prompt-free use: every object of an image that a task's adapter finds, without a click.

A grid of points is answered through the adapter, answers that show the same object are reduced
to the best of them, and what is left is answered once more from its own inner point.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samadapt.data.rle import Rle
from samadapt.errors import PromptError
from samadapt.metrics import iou
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.proposals.proposal import Proposal
from samadapt.proposals.suppression import suppress

_BATCH = 32
"""Prompts per decoder call."""
_FIRST = 4
"""How many times more masks than are asked for go through the second pass, at most."""


@dataclass(frozen=True, slots=True)
class ProposalOptions:
    """Options of the search for objects.

    Attributes:
        points: the grid has about points x points of them, in rows and columns of equal spacing.
        candidates: answer each point with three candidates rather than one mask; None does so
            when there is no adapter to say what is meant.
        min_score: least score of a proposal, after everything is multiplied into it.
        min_kind: least probability that a mask is of the task's kind, where an adapter can tell;
            0 keeps them all.
        min_area: least number of pixels.
        max_area: largest share of the image.
        overlap: largest IoU of two proposals.
        containment: largest share of a proposal that may lie in a better one (or of a better one
            in it); None is 0.7 for a task, and allows parts inside wholes without an adapter.
        offset: by how much logits are shifted up and down to see how stable a mask is, as a share
            of their mean magnitude, because models differ in that.
        second_pass: answer each proposal once more from its own inner point; None does so where an
            adapter says what is meant.
        most: proposals per image.

    Raises:
        PromptError: a value that makes no sense.
    """

    points: int = 16
    candidates: bool | None = None
    min_score: float = 0.0
    min_kind: float = 0.5
    min_area: int = 16
    max_area: float = 0.95
    overlap: float = 0.5
    containment: float | None = None
    offset: float = 0.25
    second_pass: bool | None = None
    most: int = 100

    def __post_init__(self) -> None:
        for name in ("points", "min_area", "most"):
            if getattr(self, name) < 1:
                raise PromptError(f"{name.replace('_', ' ')} {getattr(self, name)}: use 1 or more")
        for name in ("min_score", "min_kind", "max_area", "overlap", "containment"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise PromptError(f"{name.replace('_', ' ')} {value}: use a number from 0 to 1")
        if not (math.isfinite(self.offset) and self.offset > 0):
            raise PromptError(f"offset {self.offset}: use a positive number")


def propose(
    model: SegmentationModel,
    embedding: ImageEmbedding,
    adapters: Sequence[Seams] = (),
    options: ProposalOptions | None = None,
) -> tuple[Proposal, ...]:
    """Find objects without a prompt, the best first.

    The score of a mask is s = q · st: q the IoU that the model predicts, and the stability

        st = |logits > d| / |logits > -d|,  d = offset · mean |logits|,

    the IoU of the two masks that the shifted thresholds give (one lies in the other), as in
    Segment Anything's automatic masks (Kirillov et al., ICCV 2023, appendix B; a d that depends
    on the logits is our choice). It does not tell whether an object is of the adapters' kind:
    they learned from prompts on such objects, and answer on others too. Where exactly one adapter
    can tell (`Seams.judge`), its probability p is a third factor, and masks of less than `min_kind`
    are left out. With the second pass the score is sqrt(s1 · s2) · IoU(mask 1, mask 2), p being
    part of both: what is there is found from wherever one looks. The first pass stays on the
    decoder's grid; only what survives it is seen in full size.

    Args:
        model: answers the points.
        embedding: the image.
        adapters: that know what is looked for, applied in order.
        options: how.

    Raises:
        ModelError: an embedding of another model.
        AdapterError: an adapter made for another model.
    """
    chosen = options or ProposalOptions()
    model.check_embedding(embedding)
    for seam in adapters:
        seam.check_model(model)
    several = not adapters if chosen.candidates is None else chosen.candidates
    containment = chosen.containment
    if containment is None and adapters:
        containment = 0.7
    again = bool(adapters) if chosen.second_pass is None else chosen.second_pass
    search = _Search(model, embedding, tuple(adapters), chosen, several, containment, again)
    with torch.inference_mode(False), torch.no_grad():
        return search.run()


def grid_points(size: tuple[int, int], points: int) -> list[tuple[float, float]]:
    """Centres (x, y) of about points x points equal cells of an image of `size` = (H, W).

    Rows and columns follow the image's shape, at least one of each.
    """
    height, width = size
    columns = max(1, round(points * math.sqrt(width / height)))
    rows = max(1, round(points * math.sqrt(height / width)))
    return [
        ((column + 0.5) * width / columns, (row + 0.5) * height / rows)
        for row in range(rows)
        for column in range(columns)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A mask of the first pass: on the decoder's grid, cut to the image."""

    rle: Rle
    score: float
    point: tuple[float, float]
    logits: NDArray[np.float32]
    inner: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Search:
    """One image being searched."""

    model: SegmentationModel
    embedding: ImageEmbedding
    adapters: tuple[Seams, ...]
    options: ProposalOptions
    several: bool
    containment: float | None
    again: bool

    def run(self) -> tuple[Proposal, ...]:
        options = self.options
        found = list(self._answers())
        kept = suppress(
            [one.rle for one in found],
            [one.score for one in found],
            options.overlap,
            self.containment,
            _FIRST * options.most,
        )
        full = list(self._in_full([found[index] for index in kept]))
        kept = suppress(
            [one.rle for one in full],
            [one.score for one in full],
            options.overlap,
            self.containment,
            options.most,
        )
        return tuple(full[index] for index in kept)

    # -- first pass -----------------------------------------------------------------------

    def _answers(self) -> Iterator[_Found]:
        """Masks of all points of the grid."""
        points = grid_points(self.embedding.original_size, self.options.points)
        for start in range(0, len(points), _BATCH):
            batch = points[start : start + _BATCH]
            prompts = [Prompt([point]) for point in batch]
            output = self.model.decode(self.embedding, prompts, self.several, self.adapters)
            logits, scores = output.logits.float(), output.scores.float()
            stable = self._stability(logits)
            likely = self._likely(logits > 0)
            for row, point in enumerate(batch):
                for index in range(logits.shape[1]):
                    if likely[row, index] < self.options.min_kind:
                        continue
                    quality = (scores[row, index] * stable[row, index]).clamp(0, 1)
                    score = float(quality * likely[row, index])
                    one = self._first(logits[row, index], score, point)
                    if one is not None:
                        yield one

    def _stability(self, logits: Tensor) -> Tensor:
        """Of logits (..., h, w): (...); 0 where nothing is."""
        inside = self._inside(logits)
        offset = self.options.offset * inside.abs().mean((-2, -1), keepdim=True)
        small = (inside > offset).sum((-2, -1))
        large = (inside > -offset).sum((-2, -1))
        return small / large.clamp(min=1)

    def _likely(self, masks: Tensor) -> Tensor:
        """How likely masks (B, K, h, w) are of the task's kind, (B, K); 1 if nobody can tell."""
        said = [seam.judge(masks.flatten(0, 1), self.embedding) for seam in self.adapters]
        known = [found for found in said if found is not None]
        if len(known) != 1:
            return torch.ones(masks.shape[:2], device=masks.device)
        return known[0].view(masks.shape[:2])

    def _inside(self, logits: Tensor) -> Tensor:
        """The part of logits (..., h, w) that shows image rather than padding."""
        geometry = self.embedding.geometry
        height, width = logits.shape[-2:]
        rows = max(1, math.ceil(height * geometry.resized[0] / geometry.padded[0] - 1e-6))
        columns = max(1, math.ceil(width * geometry.resized[1] / geometry.padded[1] - 1e-6))
        return logits[..., :rows, :columns]

    def _first(self, logits: Tensor, score: float, point: tuple[float, float]) -> _Found | None:
        mask = (self._inside(logits) > 0).cpu().numpy()
        share = float(mask.mean())
        if score < self.options.min_score or not 0 < share <= self.options.max_area:
            return None
        height, width = self.embedding.original_size
        if share * height * width < self.options.min_area / 2:  # the grid's cells are coarse
            return None
        x, y = _inner_point(mask)
        inner = x / mask.shape[1] * width, y / mask.shape[0] * height
        return _Found(Rle.from_mask(mask), score, point, logits.cpu().numpy(), inner)

    # -- in full size ---------------------------------------------------------------------

    def _in_full(self, found: Sequence[_Found]) -> Iterator[Proposal]:
        for one in found:  # one by one: full-size logits of a batch could fill the memory
            logits = torch.from_numpy(one.logits)[None, None].to(self.model.device)
            full = self.model.upsample(self.embedding, logits, self.adapters)[0, 0] > 0
            first = self._proposal(full.cpu().numpy(), one.score, one.point)
            if first is not None:
                proposal = self._again(first, one.inner) if self.again else first
                if proposal is not None and proposal.score >= self.options.min_score:
                    yield proposal

    def _again(self, first: Proposal, inner: tuple[float, float]) -> Proposal | None:
        """The candidate for the proposal's own inner point that agrees most with the proposal."""
        answer = self.model.predict(self.embedding, Prompt([inner]), self.several, self.adapters)
        ious = [iou(mask, first.mask) for mask in answer.masks]
        index = int(np.argmax(ious))
        stable = float(self._stability(torch.tensor(answer.logits))[index])
        quality = min(max(float(answer.scores[index]) * stable, 0.0), 1.0)
        likely = self._likely_in_full(answer.masks[index])
        if likely < self.options.min_kind:
            return None
        score = math.sqrt(first.score * quality * likely) * ious[index]
        return self._proposal(answer.masks[index], score, inner)

    def _likely_in_full(self, mask: NDArray[np.bool_]) -> float:
        """As `_likely`, for one mask (H, W)."""
        size = self.model.logits_size(self.embedding)
        soft = self.embedding.geometry.to_decoder(torch.tensor(mask)[None, None], size)
        return float(self._likely(soft.to(self.model.device)))

    def _proposal(
        self, mask: NDArray[np.bool_], score: float, point: tuple[float, float]
    ) -> Proposal | None:
        area = int(np.count_nonzero(mask))
        if area < self.options.min_area or area > self.options.max_area * mask.size:
            return None
        return Proposal(Rle.from_mask(mask), score, point)


def _inner_point(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """(x, y) of the cell farthest from the mask's outside, in cells of its grid."""
    padded = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), mask.shape)
    return float(column) + 0.5, float(row) + 0.5
