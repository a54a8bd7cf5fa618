"""`PromptPropagator`: the mask, moved by the estimated motion, is the prompt in the next slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

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
"""Number of slices whose embeddings are kept."""


class PromptPropagator:
    """Carries objects with any promptable model.

    In each slice an object's mask is moved by the estimated motion (`Motion`). The prompt is an
    inner point with the moved mask as the earlier mask. The prediction is carried back to the
    original slice, and compared with a prediction for a point and a box alone. If it does not
    match the original mask, that prediction or the moved mask, the object is doubted and not
    carried any further.

    Args:
        model: predicts the masks.
        adapters: applied in order.
        options: thresholds of doubt.
        look: gives a slice with its embedding, where somebody else keeps those; by default slices
            are read and encoded, and the last few kept.
    """

    def __init__(
        self,
        model: SegmentationModel,
        adapters: Sequence[Seams] = (),
        options: CarryOptions | None = None,
        look: Callable[[int], SliceView] | None = None,
    ) -> None:
        self.model, self.adapters = model, tuple(adapters)
        self.options, self._look = options or CarryOptions(), look
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
        if self._look is not None:
            return self._look(index)
        key = (stack, index)
        if key in self._views:
            self._views[key] = self._views.pop(key)
            return self._views[key]
        pixels = stack[index]
        self._views[key] = SliceView.of(pixels, self.model.encode(pixels))
        while len(self._views) > _KEPT:
            del self._views[next(iter(self._views))]
        return self._views[key]

    def learn(self, stack: Stack, index: int, masks: Sequence[Mask]) -> None:
        """Let adapters that learn in sessions learn the accepted objects of a slice.

        Raises:
            ImageError: the slice cannot be read.
        """
        teach(self.model, self.adapters, self.view(stack, index).embedding, masks)

    # -- private --------------------------------------------------------------------------

    def _answer(self, embedding: ImageEmbedding, prompt: Prompt) -> Mask:
        found = self.model.predict(embedding, prompt, adapters=self.adapters)
        return np.asarray(found.masks[found.best], np.bool_)

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
            answer = self._answer(after.embedding, carried_prompt(moved))
            confidence, doubt = doubts(moved, mask, answer, self.options)
            if not doubt:
                afresh = self._answer(after.embedding, fresh_prompt(moved))
                returned, agreed = iou(back.carry(answer), mask), iou(afresh, answer)
                confidence = returned * agreed
                if confidence < self.options.confidence:
                    doubt = (
                        f"IoU with the original mask, carried back, is {returned:.2f}, and with a "
                        f"prediction from point and box {agreed:.2f}"
                    )
            found[identity] = Carried(answer, moved, confidence, doubt)
        return found


def carried_prompt(moved: Mask) -> Prompt:
    """The prompt of a moved mask (H, W): an inner point, and the mask."""
    return Prompt([_inner_point(moved)], mask=moved)


def fresh_prompt(moved: Mask) -> Prompt:
    """The same object from an inner point and a box, without the mask.

    The box is as large as the mask, so that both prompts are decoded on the same close-up.
    """
    rows, columns = np.flatnonzero(moved.any(1)), np.flatnonzero(moved.any(0))
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    box = [float(v) for v in (left, top, right, bottom)]
    return Prompt([_inner_point(moved)], box=box)


def _inner_point(moved: Mask) -> tuple[float, float]:
    distance = cv2.distanceTransform(np.pad(moved, 1).astype(np.uint8), cv2.DIST_L2, 5)
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(column) - 0.5, float(row) - 0.5


def teach(
    model: SegmentationModel,
    adapters: Sequence[Seams],
    embedding: ImageEmbedding,
    masks: Sequence[Mask],
) -> None:
    """Let adapters that learn in sessions learn accepted objects of one image.

    Each object is learned like the accepted prediction for one inner click in a session.

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
