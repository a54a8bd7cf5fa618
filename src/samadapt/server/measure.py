"""`FrozenMeasure`: how many prompts accepted objects would have needed without adapters."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samadapt.clicks import next_click
from samadapt.errors import SamadaptError
from samadapt.metrics import iou
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Box, Click
from samadapt.session.options import SessionOptions
from samadapt.session.session import Session

AGREES = 0.85
MOST_PROMPTS = 10
_QUIET_SECONDS = 0.7
_MOST_WAITING = 16


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """An accepted object to measure: its number, embedding, prompts and accepted mask (H, W)."""

    object_id: int
    embedding: ImageEmbedding
    clicks: tuple[Click, ...]
    box: Box | None
    mask: NDArray[np.bool_]


def frozen_prompts(
    model: SegmentationModel, task: Task, pause: Callable[[], None] = lambda: None
) -> int:
    """Return how many prompts the model without adapters needs to reach IoU 0.85.

    The IoU is with the accepted mask. The person's own prompts come first, then clicks of the robot
    annotator; 11 stands for more than 10. The threshold is lower than what the person asked for,
    which favours the frozen model; the accepted mask came from the adapted model, which favours
    that one. So the number shows a trend; `samadapt benchmark` compares with ground truth.

    Args:
        model: the model.
        task: the object.
        pause: called between two prompts.
    """
    session = Session(model, options=SessionOptions.annotator())
    session.open(embedding=task.embedding)
    given: list[Click | Box] = [*([task.box] if task.box else []), *task.clicks]
    clicked: list[Click] = []
    mask = np.zeros_like(task.mask)
    for count in range(1, MOST_PROMPTS + 1):
        prompt = given[count - 1] if count <= len(given) else next_click(task.mask, mask, clicked)
        if prompt is None:
            return count
        if isinstance(prompt, Box):
            mask = session.box(*prompt.as_tuple())
        else:
            mask = session.click(prompt.x, prompt.y, prompt.positive)
            clicked.append(prompt)
        if iou(mask, task.mask) >= AGREES:
            return count
        pause()
    return MOST_PROMPTS + 1


class FrozenMeasure:
    """Measures accepted objects in a thread of its own, while nobody is clicking.

    Args:
        model: the model.
        done: called with each object's number, and its number of prompts.
    """

    def __init__(self, model: SegmentationModel, done: Callable[[int, int], None]) -> None:
        self._model, self._done = model, done
        self._tasks: deque[Task] = deque(maxlen=_MOST_WAITING)
        self._changed = threading.Condition()
        self._closed = False
        self._busy_until = 0.0
        self._thread: threading.Thread | None = None

    def somebody_clicked(self) -> None:
        """Pause the measuring for a moment, so that it does not slow down the answer."""
        self._busy_until = time.monotonic() + _QUIET_SECONDS

    def add(self, task: Task) -> None:
        """Add an object to the queue; if the queue is full, its oldest object is dropped."""
        with self._changed:
            if self._closed:
                return
            self._tasks.append(task)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="samadapt-measure", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Stop the thread, and drop the objects in the queue."""
        with self._changed:
            self._closed = True
            self._tasks.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._tasks))
                if self._closed:
                    return
                task = self._tasks.popleft()
            try:
                self._pause()
                self._done(task.object_id, frozen_prompts(self._model, task, self._pause))
            except (SamadaptError, _Closed):
                continue

    def _pause(self) -> None:
        while (left := self._busy_until - time.monotonic()) > 0 and not self._closed:
            time.sleep(min(left, 0.1))
        if self._closed:
            raise _Closed


class _Closed(Exception):  # noqa: N818  not an error
    """Raised to stop measuring in the middle of an object."""
