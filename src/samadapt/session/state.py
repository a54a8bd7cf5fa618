"""The object being clicked, as an immutable value, and the stack of its earlier values."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samadapt.models.geometry import Window
from samadapt.models.prediction import Prediction
from samadapt.prompts import Box, Click, Prompt


@dataclass(frozen=True, slots=True, eq=False)
class ObjectState:
    """The current object: what was said so far and what came of it.

    Attributes:
        step: which prediction for this object this is, from 1; 0 before the first prompt.
        clicks: all clicks in force.
        box: the box in force.
        prompts: every prompt sent, in order; the last one gave `prediction`.
        prediction: the candidates, None before the first prompt.
        chosen: index of the candidate that is shown.
    """

    step: int = 0
    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    prompts: tuple[Prompt, ...] = ()
    prediction: Prediction | None = None
    chosen: int = 0

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """The mask shown, (H, W) bool."""
        return None if self.prediction is None else self.prediction.masks[self.chosen]

    @property
    def logits(self) -> NDArray[np.float32] | None:
        """Decoder logits (h, w) of the mask shown."""
        return None if self.prediction is None else self.prediction.logits[self.chosen]

    @property
    def window(self) -> Window | None:
        """The part of the image that `logits` show; None for all of it."""
        return None if self.prediction is None else self.prediction.window


class History:
    """Undo and redo stacks of one object, with masks packed to one bit per pixel.

    Masks are kept rather than computed again from logits, because an adapter may have learned
    meanwhile and would give another one.
    """

    def __init__(self, limit: int) -> None:
        self._undo: deque[_Packed] = deque(maxlen=limit)
        self._redo: list[_Packed] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier state."""
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        """Whether there is a state to go forward to."""
        return bool(self._redo)

    def push(self, state: ObjectState) -> None:
        """Remember `state` as what the next undo returns to; nothing can be redone any more."""
        self._redo.clear()
        if self._undo.maxlen:
            self._undo.append(_Packed.of(state))

    def peek_undo(self) -> ObjectState:
        """The state that an undo returns to."""
        return self._undo[-1].unpacked()

    def peek_redo(self) -> ObjectState:
        """The state that a redo returns to."""
        return self._redo[-1].unpacked()

    def undo(self, current: ObjectState) -> None:
        """Move one back, away from `current`."""
        self._undo.pop()
        self._redo.append(_Packed.of(current))

    def redo(self, current: ObjectState) -> None:
        """Move one forward, away from `current`."""
        self._redo.pop()
        self._undo.append(_Packed.of(current))

    def clear(self) -> None:
        """Forget everything."""
        self._undo.clear()
        self._redo.clear()


@dataclass(frozen=True, slots=True, eq=False)
class _Packed:
    """An `ObjectState` whose masks take one bit per pixel."""

    state: ObjectState
    scores: NDArray[np.float32] | None = None
    logits: NDArray[np.float32] | None = None
    bits: NDArray[np.uint8] | None = None
    width: int = 0
    window: Window | None = None

    @classmethod
    def of(cls, state: ObjectState) -> _Packed:
        found = state.prediction
        if found is None:
            return cls(state)
        bits = np.packbits(found.masks, axis=-1)
        bare = replace(state, prediction=None)
        return cls(bare, found.scores, found.logits, bits, found.masks.shape[-1], found.window)

    def unpacked(self) -> ObjectState:
        if self.scores is None or self.logits is None or self.bits is None:
            return self.state
        masks = np.unpackbits(self.bits, axis=-1, count=self.width).view(np.bool_)
        found = Prediction(masks, self.scores, self.logits, self.window)
        return replace(self.state, prediction=found)
