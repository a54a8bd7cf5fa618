"""Proposals on a grid of points: finds all objects of a task in an image, without a click.

The model predicts masks for a grid of points with the adapter. Of masks that show the same object
only the best is kept, and is predicted once more from its own inner point.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

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
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.proposals.points import coarse_and_fine, grid_points
from samadapt.proposals.proposal import Proposal
from samadapt.proposals.suppression import suppress

_BATCH, _BATCH_CPU = 32, 4
"""Number of prompts per decoder call; the work of more does not fit into a core's cache."""
_FIRST = 4
"""Largest number of masks in the second pass, as a multiple of the wanted proposals."""
_AGAIN = 16
_AGAIN_PIXELS = 1 << 25
"""Largest number of prompts, and of their masks' pixels, per decoder call of the second pass."""
_SMALL = 0.003
"""Share of the image below which a mask on an overview is too small to be judged there."""
_SURE, _LARGE = 0.6, 0.25
"""Least predicted IoU and largest share of the image of a mask inside which no further points are
used. Stability does not count here, because it depends on the model's logits."""


@dataclass(frozen=True, slots=True)
class ProposalOptions:
    """Options of the search for objects.

    Attributes:
        points: the grid has about points x points of them, in rows and columns of equal spacing.
        candidates: predict three candidates rather than one mask for each point; None does so
            only without an adapter.
        min_score: least final score of a proposal.
        min_kind: least probability that a mask is of the task's kind, where an adapter predicts
            it; 0 keeps all masks.
        min_area: least number of pixels.
        max_area: largest share of the image.
        overlap: largest IoU of two proposals.
        containment: largest share of a proposal that may lie in a better one (or of a better one
            in it); None is 0.7 for a task, and allows parts inside wholes without an adapter.
        offset: shift of the logits, up and down, for the stability of a mask, as a share of their
            mean magnitude, which differs between models.
        second_pass: predict each proposal once more from its own inner point; None does so only
            with an adapter.
        most: largest number of proposals per image.
        coarse: search at half the resolution first; at full resolution use only the inner points
            of the masks found there, and the points of the grid whose mask was small. For a model
            with one input size: every second row and column of the grid first, then the other
            points that no confident mask covers. Saves time; a part inside a found whole can be
            missed.

    Raises:
        PromptError: an invalid value.
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
    coarse: bool = False

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
    on the logits is our choice). This score does not tell whether an object is of the adapters'
    kind, because they learned only from prompts on such objects. If exactly one adapter predicts
    that (`Seams.judge`), its probability p is a third factor, and masks with p below `min_kind`
    are left out. With the second pass the score is sqrt(s1 · s2) · IoU(mask 1, mask 2), with p in
    both, since a true object is found from different points. The first pass works on the
    decoder's grid; only its remaining masks are computed in full size.

    Args:
        model: predicts the masks.
        embedding: the image.
        adapters: of the wanted objects, applied in order.
        options: of the search.

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


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A mask of the first pass: on the decoder's grid, cut to the image."""

    rle: Rle
    score: float
    point: tuple[float, float]
    logits: NDArray[np.float32]
    inner: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """Answers for a batch of points.

    Attributes:
        found: masks of the wanted kind.
        sure: (h, w) cells covered by the best candidates that are confident and not too large.
            Candidates of another kind count too, so that they are not predicted again.
        shares: (B,) share of the image that each point's best candidate covers.
    """

    found: list[_Found]
    sure: NDArray[np.bool_]
    shares: NDArray[np.float32]


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
        found = self._answers()
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

    def _answers(self) -> list[_Found]:
        """Masks of all points of the grid, or of the points that `coarse` uses."""
        size = self.embedding.original_size
        if not self.options.coarse:
            return self._found_at(grid_points(size, self.options.points))
        overview = self.model.overview(self.embedding)
        if overview is not None:
            return self._found_at(replace(self, embedding=overview)._promising())
        found, covered = list[_Found](), None
        first, rest = coarse_and_fine(size, self.options.points)
        for looked in self._looks(first):
            found += looked.found
            covered = looked.sure if covered is None else covered | looked.sure
        while rest and covered is not None:
            rest = self._uncovered(rest, covered)
            batch, rest = rest[: self._batch], rest[self._batch :]
            for looked in self._looks(batch):
                found += looked.found
                covered = covered | looked.sure
        return found

    def _promising(self) -> list[tuple[float, float]]:
        """Points at which to search again in full resolution; this search is on an overview."""
        points = grid_points(self.embedding.original_size, self.options.points)
        looked = list(self._looks(points))
        found = [one for some in looked for one in some.found]
        kept = suppress(
            [one.rle for one in found],
            [one.score for one in found],
            self.options.overlap,
            self.containment,
            self.options.most,
        )
        shares = np.concatenate([some.shares for some in looked])
        small = [point for point, share in zip(points, shares, strict=True) if share < _SMALL]
        return [found[index].inner for index in kept] + small

    def _uncovered(
        self, points: Sequence[tuple[float, float]], covered: NDArray[np.bool_]
    ) -> list[tuple[float, float]]:
        """The points that lie in no covered cell."""
        height, width = self.embedding.original_size
        rows, columns = covered.shape[0] / height, covered.shape[1] / width
        return [(x, y) for x, y in points if not covered[int(y * rows), int(x * columns)]]

    def _found_at(self, points: Sequence[tuple[float, float]]) -> list[_Found]:
        return [one for looked in self._looks(points) for one in looked.found]

    @property
    def _batch(self) -> int:
        return _BATCH_CPU if self.model.device.type == "cpu" else _BATCH

    def _looks(self, points: Sequence[tuple[float, float]]) -> Iterator[_Looked]:
        """Answers for these points, batch by batch."""
        for start in range(0, len(points), self._batch):
            batch = points[start : start + self._batch]
            prompts = [Prompt([point]) for point in batch]
            output = self.model.decode(self.embedding, prompts, self.several, self.adapters)
            logits, scores = output.logits.float(), output.scores.float()
            quality = (scores * self._stability(logits)).clamp(0, 1)
            likely = self._likely(logits > 0)
            found = list[_Found]()
            for row, point in enumerate(batch):
                for index in range(logits.shape[1]):
                    if likely[row, index] < self.options.min_kind:
                        continue
                    score = float(quality[row, index] * likely[row, index])
                    one = self._first(logits[row, index], score, point)
                    if one is not None:
                        found.append(one)
            best = scores.argmax(1)
            rows = torch.arange(len(best), device=best.device)
            masks = self._inside(logits[rows, best]) > 0
            shares = masks.float().mean((-2, -1))
            sure = masks[(scores[rows, best] >= _SURE) & (shares <= _LARGE)].any(0)
            yield _Looked(found, sure.cpu().numpy(), shares.cpu().numpy())

    def _stability(self, logits: Tensor) -> Tensor:
        """Stability (...) of logits (..., h, w); 0 for an empty mask."""
        inside = self._inside(logits)
        offset = self.options.offset * inside.abs().mean((-2, -1), keepdim=True)
        small = (inside > offset).sum((-2, -1))
        large = (inside > -offset).sum((-2, -1))
        return small / large.clamp(min=1)

    def _likely(self, masks: Tensor) -> Tensor:
        """Probability (B, K) that masks (B, K, h, w) are of the task's kind; 1 without a judge."""
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
        height, width = self.embedding.original_size
        size = max(1, min(_AGAIN, _AGAIN_PIXELS // (height * width)))
        for start in range(0, len(found), size):
            full = [(one, self._full(one)) for one in found[start : start + size]]
            there = [(one.inner, first) for one, first in full if first is not None]
            proposals = self._again(there) if self.again else [first for _, first in there]
            for proposal in proposals:
                if proposal is not None and proposal.score >= self.options.min_score:
                    yield proposal

    def _full(self, one: _Found) -> Proposal | None:
        # One by one: full-size logits of a batch could fill the memory.
        logits = torch.from_numpy(one.logits)[None, None].to(self.model.device)
        full = self.model.upsample(self.embedding, logits, self.adapters)[0, 0] > 0
        return self._proposal(full.cpu().numpy(), one.score, one.point)

    def _again(
        self, found: Sequence[tuple[tuple[float, float], Proposal]]
    ) -> list[Proposal | None]:
        """For each mask, the candidate for its own inner point that agrees most with it."""
        prompts = [Prompt([inner]) for inner, _ in found]
        answers = self.model.predict(self.embedding, prompts, self.several, self.adapters)
        return [
            self._agreeing(answer, inner, first)
            for answer, (inner, first) in zip(answers, found, strict=True)
        ]

    def _agreeing(
        self, answer: Prediction, inner: tuple[float, float], first: Proposal
    ) -> Proposal | None:
        mask = first.mask
        ious = [iou(candidate, mask) for candidate in answer.masks]
        index = int(np.argmax(ious))
        stable = float(self._stability(torch.tensor(answer.logits))[index])
        quality = min(max(float(answer.scores[index]) * stable, 0.0), 1.0)
        likely = self._likely_in_full(answer.masks[index])
        if likely < self.options.min_kind:
            return None
        score = math.sqrt(first.score * quality * likely) * ious[index]
        return self._proposal(answer.masks[index], score, inner)

    def _likely_in_full(self, mask: NDArray[np.bool_]) -> float:
        """`_likely` for one mask (H, W)."""
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
