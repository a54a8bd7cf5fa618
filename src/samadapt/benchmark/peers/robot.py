"""The robot at work with a peer: the loop of `samadapt.session.robot`, without a model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from samadapt.benchmark.peers.base import Peer
from samadapt.benchmark.peers.canvas import WORKING_SIZE, Canvas, pixel_of
from samadapt.clicks import next_click
from samadapt.errors import DataError
from samadapt.metrics import ClicksNeeded, clicks_to_reach, iou
from samadapt.prompts import Click
from samadapt.session.robot import ClickProtocol


@dataclass(frozen=True, slots=True, eq=False)
class PeerTrace:
    """How the robot annotated one object with a peer.

    Attributes:
        clicks: in order.
        ious: IoU with the reference after each click, at the image's own size.
        seconds: what each click took, from click to mask.
        mask: the final mask, (H, W) bool.
        reached: for each target, the clicks it took and whether it was reached.
    """

    clicks: tuple[Click, ...]
    ious: tuple[float, ...]
    seconds: tuple[float, ...]
    mask: NDArray[np.bool_]
    reached: dict[float, ClicksNeeded]


def annotate_with_peer(
    peer: Peer,
    image: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    protocol: ClickProtocol | None = None,
    seed: int | Generator = 0,
    working_size: int = WORKING_SIZE,
) -> PeerTrace:
    """Click on one object until the peer's mask is good enough.

    Clicks follow `next_click` and end as those for a model do. The fields of the protocol that
    only models know (`mask_prompt`, `multimask_first`, `at_failure`) have no effect.

    Args:
        peer: answers the clicks.
        image: (H, W, 3) RGB.
        truth: the reference mask (H, W).
        protocol: how to click.
        seed: for random ties and first clicks; same seed, same clicks.
        working_size: longest side in pixels that the peer works at.

    Raises:
        DataError: an empty reference, or one of another size than the image.
    """
    protocol = protocol or ClickProtocol()
    _check(image, truth)
    rng = np.random.default_rng(seed)
    work = _Work(peer, Canvas.of(image, working_size))
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
    return PeerTrace(tuple(work.clicks), tuple(ious), tuple(seconds), mask, reached)


class _Work:
    """One object while it is being clicked."""

    def __init__(self, peer: Peer, canvas: Canvas) -> None:
        self._peer = peer
        self._canvas = canvas
        self._before: NDArray[np.bool_] | None = None
        self.clicks: list[Click] = []

    def click(self, click: Click) -> NDArray[np.bool_]:
        """The mask (H, W) after one more click."""
        self.clicks.append(click)
        canvas = self._canvas
        probability = self._peer.segment(
            canvas.pixels,
            canvas.seeds(self.clicks, self._peer.seed_radius),
            self._before,
            pixel_of(click, canvas.size, canvas.shape),
        )
        self._before = probability > 0.5
        return canvas.full_size(probability, self.clicks)


def _check(image: NDArray[Any], truth: NDArray[Any]) -> None:
    if truth.shape != image.shape[:2]:
        raise DataError(f"reference of shape {truth.shape} for an image of shape {image.shape}")
    if not truth.any():
        raise DataError("the reference mask is empty: there is no object to click on")
