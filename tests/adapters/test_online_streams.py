"""Whole streams of objects: adaptation must never leave a person worse off than without it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from test_online import quick

from fakes import FakeModel, blobs
from samadapt.adapters.base import Interaction
from samadapt.adapters.online import OnlineAdapter
from samadapt.metrics import iou as overlap
from samadapt.prompts import Prompt

Mask = NDArray[np.bool_]


def square() -> Mask:
    mask = np.zeros((40, 56), np.bool_)
    mask[22:36, 30:46] = True
    return mask


def disc() -> Mask:
    return np.asarray(np.hypot(*np.ogrid[-12:28, -14:42]) < 9)


def grown(mask: Mask, pixels: int) -> Mask:
    """What a decoder that wants larger objects than the frozen one should answer."""
    from cv2 import dilate

    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return np.asarray(dilate(mask.astype(np.uint8), kernel)).astype(bool)


class Stream:
    """Objects accepted one after the other, each judged by its first answer beforehand."""

    def __init__(self, rate: float = 0.005) -> None:
        self.model = FakeModel()
        accept = {"steps": ["new.first", "replay.first"], "rate": rate, "erosion": 0}
        settings = quick(accept=accept, guard={"distance": 0.3})
        self.adapter = OnlineAdapter(settings=settings)
        self.gains: list[float] = []

    def show(self, image: NDArray[np.uint8], point: tuple[float, float], truth: Mask) -> None:
        """One object whose true mask is `truth`."""
        embedding = self.model.encode(image)
        self.adapter.on_open(embedding)
        prompt = Prompt([point])
        frozen = self.model.predict(embedding, prompt)
        adapted = self.model.predict(embedding, prompt, adapters=[self.adapter])
        self.gains.append(overlap(adapted.masks[0], truth) - overlap(frozen.masks[0], truth))
        interaction = Interaction(
            self.model, (self.adapter,), embedding, (prompt,), prompt.clicks, mask=truth, step=1
        )
        self.adapter.on_click(interaction)
        self.adapter.on_accept(interaction, truth)


def test_a_stream_of_one_kind_gets_better() -> None:
    stream = Stream()
    for _ in range(10):
        stream.show(blobs(), (14.5, 12.5), grown(disc(), 2))
        stream.show(blobs(), (38.5, 29.5), grown(square(), 2))
    assert np.mean(stream.gains[10:]) > 0.02
    assert min(stream.gains) > -0.05


def test_a_single_repeated_object_is_never_worse_than_frozen() -> None:
    stream = Stream()
    for _ in range(25):
        stream.show(blobs(), (14.5, 12.5), disc())
    assert np.mean(stream.gains) >= 0
    assert min(stream.gains[2:]) > -0.05


def test_wrong_accepts_do_not_turn_the_rest_bad() -> None:
    """Every fifth accepted mask is another object's."""
    stream = Stream()
    good: list[float] = []
    for index in range(25):
        if index % 5 == 4:
            stream.show(blobs(), (14.5, 12.5), square())
        else:
            stream.show(blobs(), (14.5, 12.5), grown(disc(), 2))
            good.append(stream.gains[-1])
    assert np.mean(good) >= 0
    assert min(good) > -0.05
    assert stream.adapter.objects_learned <= 20  # those that contradict their click are passed over


@pytest.mark.parametrize("order", [(0, 1) * 6, (0,) * 6 + (1,) * 6 + (0,) * 3])
def test_domains_that_want_opposite_things_do_not_spoil_each_other(order: Sequence[int]) -> None:
    """Bright images want larger masks than the frozen decoder's, dark ones smaller."""
    stream = Stream()
    dark = np.ascontiguousarray((blobs() // 8)[..., ::-1])
    wanted = grown(disc(), 2), ~grown(~disc(), 1)
    for kind in order:
        stream.show((blobs(), dark)[kind], (14.5, 12.5), wanted[kind])
    assert len(stream.adapter._learner.book.domains) == 2
    for kind in (0, 1):
        gains = [g for g, k in zip(stream.gains, order, strict=True) if k == kind]
        assert np.mean(gains) >= 0
        assert min(gains) > -0.05


def test_when_wishes_turn_round_the_frozen_decoder_answers_after_two_objects() -> None:
    stream = Stream(rate=0.02)
    for _ in range(8):
        stream.show(blobs(), (14.5, 12.5), grown(disc(), 2))
    for _ in range(8):
        stream.show(blobs(), (14.5, 12.5), ~grown(~disc(), 3))
    assert min(stream.gains[11:]) > -0.05
