"""`PromptPropagator`: the mask, moved by what changed, becomes the prompt in the next slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np

from samadapt.adapters.base import Adapter, Interaction
from samadapt.data.stacks import Stack
from samadapt.errors import ImageError
from samadapt.metrics import iou
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.tracking.carrying import Carried, CarryOptions, CarryStep, Mask, doubts
from samadapt.tracking.motion import Motion, SliceView

_KEPT = 2
"""Slices whose embeddings are kept."""


class PromptPropagator:
    """Carries objects with any promptable model.

    In each slice an object's mask is moved by what changed (`Motion`), and the model is asked with
    it: an inner point and the moved mask as the earlier answer. The answer is carried back to the
    slice it came from; where it does not come out there, where it is far from the moved mask, or
    where the model itself is not sure, the object is doubted and not carried any further.

    Args:
        model: answers.
        adapters: applied in order.
        options: when answers are doubted.
    """

    def __init__(
        self,
        model: SegmentationModel,
        adapters: Sequence[Seams] = (),
        options: CarryOptions | None = None,
    ) -> None:
        self.model, self.adapters = model, tuple(adapters)
        self.options = options or CarryOptions()
        self._views: dict[tuple[Stack, int], SliceView] = {}

    def carry(
        self, stack: Stack, start: int, masks: Mapping[int, Mask], to: Sequence[int]
    ) -> Iterator[CarryStep]:
        """Carry objects slice by slice; see `Propagator`."""
        before = self.view(stack, start)
        now = dict(masks)
        for index in to:
            try:
                after = self.view(stack, index)
            except ImageError as error:
                yield CarryStep(index, {}, str(error))
                continue
            found = self._answers(before, after, now)
            yield CarryStep(index, found)
            now = {k: one.mask for k, one in found.items() if not one.doubt}
            before = after

    def view(self, stack: Stack, index: int) -> SliceView:
        """A slice with its embedding; the last few are kept.

        Raises:
            ImageError: the slice cannot be read.
        """
        key = (stack, index)
        if key in self._views:
            self._views[key] = self._views.pop(key)
            return self._views[key]
        pixels = stack[index]
        self._views[key] = SliceView.of(pixels, self.model.encode(pixels))
        while len(self._views) > _KEPT:
            del self._views[next(iter(self._views))]
        return self._views[key]

    def answer(self, embedding: ImageEmbedding, moved: Mask) -> tuple[Mask, float]:
        """The model's mask for a moved mask, and its score."""
        found = self.model.predict(embedding, carried_prompt(moved), adapters=self.adapters)
        return found.masks[found.best], float(found.scores[found.best])

    def learn(self, stack: Stack, index: int, masks: Sequence[Mask]) -> None:
        """Let the adapters that learn in sessions learn objects that were accepted in a slice.

        Raises:
            ImageError: the slice cannot be read.
        """
        teach(self.model, self.adapters, self.view(stack, index).embedding, masks)

    # -- private --------------------------------------------------------------------------

    def _answers(
        self, before: SliceView, after: SliceView, masks: Mapping[int, Mask]
    ) -> dict[int, Carried]:
        ahead, back = Motion(before, after), Motion(after, before)
        found = {}
        for identity, mask in masks.items():
            moved = ahead.carry(mask)
            if np.count_nonzero(moved) < self.options.min_area:
                found[identity] = Carried(moved, moved, 0.0, "the object left the picture")
                continue
            answer, score = self.answer(after.embedding, moved)
            agreement, doubt = doubts(moved, mask, answer, self.options)
            if not doubt:
                returned = iou(back.carry(answer), mask)
                agreement = min(agreement, returned)
                if returned < self.options.return_agreement:
                    doubt = f"carried back it agrees by {returned:.2f} only"
                elif score < self.options.min_score:
                    doubt = f"the model is not sure (score {score:.2f})"
            found[identity] = Carried(answer, moved, agreement, doubt)
        return found


def carried_prompt(moved: Mask) -> Prompt:
    """The prompt that a moved mask (H, W) becomes: an inner point, and the mask."""
    distance = cv2.distanceTransform(np.pad(moved, 1).astype(np.uint8), cv2.DIST_L2, 5)
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return Prompt([(float(column) - 0.5, float(row) - 0.5)], mask=moved)


def teach(
    model: SegmentationModel,
    adapters: Sequence[Seams],
    embedding: ImageEmbedding,
    masks: Sequence[Mask],
) -> None:
    """Let the adapters that learn in sessions learn accepted objects of one image.

    They learn them as answers to an inner click, as a session would have given it.

    Args:
        model: the model.
        adapters: all in use, in order.
        embedding: the image.
        masks: (H, W), accepted by a person.
    """
    learners = [one for one in adapters if isinstance(one, Adapter) and one.learns_in_session]
    wanted = [mask for mask in masks if mask.any()]
    if not learners or not wanted:
        return
    for adapter in learners:
        adapter.on_open(embedding)
    for mask in wanted:
        point = carried_prompt(mask).with_mask(None)
        found = model.predict(embedding, point, adapters=adapters)
        interaction = Interaction(
            model,
            tuple(adapters),
            embedding,
            (point,),
            point.clicks,
            None,
            found.logits[found.best],
            found.window,
            found.masks[found.best],
            1,
        )
        for adapter in learners:
            adapter.on_accept(interaction, mask)
