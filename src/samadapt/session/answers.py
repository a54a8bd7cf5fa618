"""`Answers`: the model's predictions for the prompts of a session's objects, kept for undo.

A prediction follows from the prompts in the state. It is kept and not computed again, because an
adapter may have learned meanwhile and would change it. Only the oldest ones are dropped when they
take too much memory, and computed again if an undo needs them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.models.base import SegmentationModel
from samadapt.models.click_consistency import violated_clicks
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.geometry import Window
from samadapt.models.prediction import Prediction
from samadapt.prompts import Box, Click, Prompt
from samadapt.session.candidates import under_click
from samadapt.session.events import MaskPart, Painted
from samadapt.session.lease import AdapterLease
from samadapt.session.options import SessionOptions
from samadapt.session.state import CurrentObject, SessionState

MOST_BYTES = 128 << 20
"""Memory limit, per session, of predictions for finished objects and undone prompts."""

Key = tuple[int, int]
"""Number of an object, and step of a prompt for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A prompt as it was sent, with the model's prediction."""

    prompt: Prompt
    prediction: Prediction

    @property
    def missed(self) -> int:
        """Number of clicks that the candidate shown first violates."""
        best = self.prediction.best
        return int(violated_clicks(self.prediction.masks[best : best + 1], self.prompt)[0])


class Answers:
    """The predictions of one session.

    Args:
        model: answers the prompts.
        lease: the adapters in use.
        options: how clicks become prompts.
    """

    def __init__(
        self, model: SegmentationModel, lease: AdapterLease, options: SessionOptions
    ) -> None:
        self._model, self._lease, self._options = model, lease, options
        self._packed: OrderedDict[Key, _Packed] = OrderedDict()
        self._shown: tuple[Key, Answer] | None = None

    def shown(self, now: CurrentObject, embedding: ImageEmbedding) -> Answer | None:
        """The prediction for the last prompt of an object; None before its first."""
        if not now.asked:
            return None
        key = now.number, now.step
        if self._shown is None or self._shown[0] != key:
            packed = self._packed_answer(now, len(now.asked) - 1, embedding)
            if self._shown is None or self._shown[0] != key:
                self._shown = key, packed.unpacked()
        return self._shown[1]

    def prompts(self, now: CurrentObject, embedding: ImageEmbedding) -> tuple[Prompt, ...]:
        """Every prompt for an object as it was sent, in order."""
        count = len(now.asked)
        return tuple(self._packed_answer(now, i, embedding).prompt for i in range(count))

    def keep(self, state: SessionState) -> None:
        """Drop predictions that no undo or redo needs, and the oldest others beyond the limit."""
        reachable = [state.object, *(step.object for step in (*state.undo, *state.redo))]
        wanted = {(now.number, asked.step) for now in reachable for asked in now.asked}
        for key in [key for key in self._packed if key not in wanted]:
            del self._packed[key]
        if self._shown is not None and self._shown[0] not in wanted:
            self._shown = None
        total = sum(packed.nbytes for packed in self._packed.values())
        for key in list(self._packed):
            if total <= MOST_BYTES or key[0] == state.object.number:
                break
            total -= self._packed.pop(key).nbytes

    # -- private ------------------------------------------------------------------------------

    def _packed_answer(self, now: CurrentObject, index: int, embedding: ImageEmbedding) -> _Packed:
        key = now.number, now.asked[index].step
        if (packed := self._packed.get(key)) is None:
            answer = self._ask(now, index, embedding)
            packed = self._packed[key] = _Packed.of(answer)
            self._shown = key, answer
        return packed

    def _ask(self, now: CurrentObject, index: int, embedding: ImageEmbedding) -> Answer:
        asked = replace(now, asked=now.asked[: index + 1])
        mask, window = self._earlier(now, index, embedding)
        clicks, box = seen_prompts(asked)
        prompt = Prompt.from_clicks(clicks, box, mask, window)
        is_begun = now.edited is not None or now.base is not None
        is_ambiguous = len(asked.clicks) == 1 and asked.box is None and not is_begun
        multimask = self._options.multimask and is_ambiguous
        adapters = self._lease.answering(self._model, embedding)
        answer = Answer(prompt, self._model.predict(embedding, prompt, multimask, adapters))
        may_retry = self._options.retry and mask is not None and not is_begun
        if may_retry and answer.missed:
            prompt = prompt.with_mask(None)
            again = Answer(prompt, self._model.predict(embedding, prompt, False, adapters))
            answer = again if again.missed < answer.missed else answer
        if self._options.default == "part" and multimask and asked.clicks[0].positive:
            (click,) = clicks
            return replace(answer, prediction=under_click(answer.prediction, click.x, click.y))
        return answer

    def _earlier(
        self, now: CurrentObject, index: int, embedding: ImageEmbedding
    ) -> tuple[NDArray[np.float32] | NDArray[np.bool_] | None, Window | None]:
        """The earlier mask of a prompt, and the part of the image that it shows."""
        asked = now.asked[index]
        if isinstance(asked.given, Box):
            return None, None
        if asked.earlier is None:
            return _edited_mask(now), None
        step, chosen = asked.earlier
        before = next(i for i, a in enumerate(now.asked) if a.step == step)
        found = self._packed_answer(now, before, embedding)
        chosen = found.best if chosen is None else chosen
        match self._options.feedback:
            case "logits":
                return found.logits[chosen], found.window
            case "binary":
                return found.unpacked().prediction.masks[chosen], None
        return None, None


def model_mask(now: CurrentObject, answer: Answer | None) -> NDArray[np.bool_] | None:
    """The mask (H, W) of an object without its strokes; None before its first prompt."""
    if answer is None:
        return _edited_mask(now)
    found = answer.prediction
    mask: NDArray[np.bool_] = found.masks[found.best if now.chosen is None else now.chosen]
    return mask


def final_mask(
    now: CurrentObject, answer: Answer | None, size: tuple[int, int]
) -> NDArray[np.bool_] | None:
    """The mask (H, W) of an object with its strokes, read-only; None without prompt and stroke."""
    mask = model_mask(now, answer)
    if now.strokes:
        mask = painted(np.zeros(size, np.bool_) if mask is None else mask, now.strokes)
    if mask is not None:
        mask.setflags(write=False)
    return mask


def painted(mask: NDArray[np.bool_], strokes: Sequence[MaskPart]) -> NDArray[np.bool_]:
    """The mask (H, W) with strokes on it."""
    out = mask.copy()
    for stroke in strokes:
        place, part = out[stroke.rows_and_columns()], stroke.part()
        if isinstance(stroke, Painted) and stroke.positive:
            place |= part
        else:
            place &= ~part
    return out


def seen_prompts(now: CurrentObject) -> tuple[tuple[Click, ...], Box | None]:
    """The clicks and the box of an object in pixels of the model's view."""
    frame, box = now.frame, now.box
    if frame is None:
        return now.clicks, box
    seen = [c for c in now.clicks if frame.has(c.x, c.y)]
    clicks = tuple(Click(*frame.inside(c.x, c.y), c.positive) for c in seen)
    if box is not None:
        box = Box(*frame.inside(box.x0, box.y0), *frame.inside(box.x1, box.y1))
    return clicks, box


def begun(now: CurrentObject) -> Rle | None:
    """The mask of an object before the prompts in force, in pixels of the image."""
    if now.base is not None:
        return now.base
    return None if now.edited is None else now.edited.rle


def _edited_mask(now: CurrentObject) -> NDArray[np.bool_] | None:
    rle = begun(now)
    if rle is None:
        return None
    return rle.mask() if now.frame is None else now.frame.points(rle)


@dataclass(frozen=True, slots=True, eq=False)
class _Packed:
    """A prediction whose masks take one bit per pixel."""

    prompt: Prompt
    scores: NDArray[np.float32]
    logits: NDArray[np.float32]
    bits: NDArray[np.uint8]
    width: int
    window: Window | None
    best: int

    @classmethod
    def of(cls, answer: Answer) -> _Packed:
        found = answer.prediction
        bits, width = np.packbits(found.masks, axis=-1), found.masks.shape[-1]
        rest = bits, width, found.window, found.best
        return cls(answer.prompt, found.scores, found.logits, *rest)

    @property
    def nbytes(self) -> int:
        return self.logits.nbytes + self.bits.nbytes

    def unpacked(self) -> Answer:
        masks = np.unpackbits(self.bits, axis=-1, count=self.width).view(np.bool_)
        rest = self.scores, self.logits, self.window, self.best
        return Answer(self.prompt, Prediction(masks, *rest))
