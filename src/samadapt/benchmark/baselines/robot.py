"""The robot annotator with a baseline: the loop of `samadapt.session.robot`, without a model."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from samadapt.benchmark.baselines.base import Baseline, Clicked
from samadapt.benchmark.baselines.working_image import WORKING_SIZE, WorkingImage, pixel_of
from samadapt.clicks import next_click
from samadapt.errors import DataError
from samadapt.metrics import clicks_to_reach, iou
from samadapt.prompts import Click
from samadapt.session.robot import ClickProtocol, ObjectTrace


def annotate_with_baseline(
    baseline: Baseline,
    image: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    protocol: ClickProtocol | None = None,
    seed: int | Generator = 0,
    working_size: int = WORKING_SIZE,
) -> ObjectTrace:
    """Click on one object until the baseline's mask is good enough.

    Clicks follow `next_click` and end under the same conditions as for a model. Fields of the
    protocol that apply only to models (`mask_prompt`, `multimask_first`, `at_failure`) have no
    effect.

    Args:
        baseline: answers the clicks.
        image: (H, W, 3) RGB.
        truth: the reference mask (H, W).
        protocol: of the clicks.
        seed: for random ties and first clicks; same seed, same clicks.
        working_size: longest side in pixels at which the baseline works.

    Raises:
        DataError: an empty reference, or one of another size than the image.
    """
    protocol = protocol or ClickProtocol()
    _check(image, truth)
    rng = np.random.default_rng(seed)
    work = _Work(baseline, WorkingImage.of(image, working_size))
    mask = np.zeros_like(truth)
    ious: list[float] = []
    seconds: list[float] = []
    while len(ious) < protocol.max_clicks:
        click = next_click(truth, mask, work.clicks, protocol, rng)
        if click is None:
            break
        start = time.perf_counter()
        mask = work.click(click)
        seconds.append(time.perf_counter() - start)
        ious.append(iou(mask, truth))
        if ious[-1] >= protocol.content_at:
            break
    reached = {t: clicks_to_reach(ious, t, protocol.max_clicks) for t in protocol.targets}
    return ObjectTrace(tuple(work.clicks), tuple(ious), tuple(seconds), mask, work.logits, reached)


class _Work:
    """One object while it is being clicked."""

    def __init__(self, baseline: Baseline, image: WorkingImage) -> None:
        self._baseline = baseline
        self._image = image
        self._probability: NDArray[np.floating[Any]] | None = None
        self.clicks: list[Click] = []

    def click(self, click: Click) -> NDArray[np.bool_]:
        """Return the mask (H, W) after one more click."""
        self.clicks.append(click)
        image = self._image
        clicked = Clicked(
            image.pixels,
            image.seeds(self.clicks, self._baseline.seed_radius),
            None if self._probability is None else self._probability > 0.5,
            pixel_of(click, image.size, image.shape),
        )
        self._probability = self._baseline.segment(clicked)
        return image.full_size(self._probability, self.clicks)

    @property
    def logits(self) -> NDArray[np.float32]:
        """Return the log odds of the last prediction (h, w), within the range of float32."""
        shape = self._image.shape
        last = np.full(shape, 0.5) if self._probability is None else self._probability
        bounded = np.clip(np.asarray(last, np.float64), 1e-6, 1 - 1e-6)
        return np.log(bounded / (1 - bounded)).astype(np.float32)


def _check(image: NDArray[Any], truth: NDArray[Any]) -> None:
    if truth.shape != image.shape[:2]:
        raise DataError(f"reference of shape {truth.shape} for an image of shape {image.shape}")
    if not truth.any():
        raise DataError("the reference mask is empty: there is no object to click on")
