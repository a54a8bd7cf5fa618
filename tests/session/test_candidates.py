"""Which candidate a single click shows, and answers that do not follow the clicks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes import FakeModel, blobs
from samadapt.errors import SessionError
from samadapt.models.prediction import Prediction
from samadapt.prompts import Prompt
from samadapt.session.candidates import part_under, under_click
from samadapt.session.events import Opened
from samadapt.session.options import SessionOptions
from samadapt.session.replay import replay
from samadapt.session.session import Session

Mask = NDArray[np.bool_]


def drawn(*rows: str) -> Mask:
    return np.array([[c == "#" for c in row] for row in rows])


def predicted(*masks: Mask, scores: Sequence[float]) -> Prediction:
    logits = np.zeros((len(masks), 2, 2), np.float32)
    return Prediction(np.stack(masks), np.array(scores, np.float32), logits)


ISLANDS = drawn("##...", "##..#", "..#..", ".....", "....#")
SMALL = drawn("#....", ".....", ".....", ".....", ".....")
ALL_OVER = drawn("#####", "#####", "#####", "#####", ".....")
SCATTERED = drawn("#.#.#", "..#.#", "..#.#", "..#.#", "#...#")


def test_islands_away_from_the_click_are_left_out() -> None:
    expected = drawn("##...", "##...", "..#..", ".....", ".....")
    assert np.array_equal(part_under(ISLANDS, 0.5, 0.5), expected)
    assert part_under(ISLANDS, 3.5, 3.5) is None
    found = under_click(predicted(ISLANDS, scores=[0.5]), 0.5, 0.5)
    assert np.array_equal(found.masks[0], expected)


@pytest.mark.parametrize(
    ("masks", "scores", "default"),
    [
        ([SMALL, ISLANDS, ALL_OVER], [0.7, 0.8, 0.9], 1),  # all over the image
        ([SMALL, ISLANDS, SCATTERED], [0.7, 0.8, 0.9], 1),  # most of it elsewhere
        ([SMALL, ISLANDS, ALL_OVER], [0.9, 0.8, 0.7], 0),
        ([~ISLANDS, ALL_OVER], [0.9, 0.2], 1),  # the first leaves the click out
        ([~ISLANDS, ~SMALL], [0.3, 0.4], 1),  # all do: the score alone
        ([SCATTERED, ALL_OVER], [0.3, 0.4], 1),  # all sprawl
    ],
)
def test_the_default_is_the_best_part_under_the_click(
    masks: list[Mask], scores: list[float], default: int
) -> None:
    found = under_click(predicted(*masks, scores=scores), 0.2, 0.9)
    assert found.best == default
    assert found.scores.tolist() == pytest.approx(scores)


class Stubborn(FakeModel):
    """Follows the clicks only when it is not shown an earlier mask."""

    def predict(self, *args: Any, **more: Any) -> Prediction:
        prompt: Prompt = args[1]
        found = super().predict(*args, **more)
        masks = np.zeros_like(found.masks)
        masks[:, 2:9, 2:9] = True
        masks[:, 30:33, 30:33] = True
        if prompt.mask is None:
            for x, y, positive in ((c.x, c.y, c.positive) for c in prompt.clicks):
                masks[:, int(y), int(x)] = positive
        return Prediction(masks, found.scores, found.logits)


def opened(options: SessionOptions) -> Session:
    session = Session(Stubborn(), options=options)
    session.open(blobs())
    return session


def test_an_answer_that_ignores_a_click_is_asked_for_again() -> None:
    plain, careful = opened(SessionOptions()), opened(SessionOptions.annotator())
    first = careful.click(4, 4)
    assert first[5, 5]
    assert not first[31, 31]
    plain.click(4, 4)
    for x, y, positive in ((20, 20, True), (6, 6, False)):
        assert plain.click(x, y, positive)[y, x] != positive
        assert careful.click(x, y, positive)[y, x] == positive
    again = replay(careful.log, careful.model, images=lambda _: blobs())
    assert again.mask is not None
    assert np.array_equal(again.mask, careful.mask)


def test_the_options_are_in_the_log() -> None:
    record = next(iter(opened(SessionOptions.annotator()).log))
    assert isinstance(record.event, Opened)
    assert record.event.options == SessionOptions(default="part", retry=True)
    with pytest.raises(SessionError, match="default='best'"):
        SessionOptions(default="best")  # type: ignore[arg-type]
