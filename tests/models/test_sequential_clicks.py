"""Several clicks at once are answered as if a person had made them one after the other."""

from __future__ import annotations

import numpy as np
import pytest

import samadapt
from samadapt.models.prediction import Prediction
from samadapt.models.sequential_clicks import answer_sequentially, is_click_sequence
from samadapt.prompts import Box, Prompt


def answered(boxes: dict[int, tuple[int, int, int, int]], asked: list[Prompt]):
    """Answers with the box for as many clicks as the prompt has."""

    def answer(prompt: Prompt) -> Prediction:
        asked.append(prompt)
        x0, y0, x1, y1 = boxes[len(prompt.points)]
        mask = np.zeros((1, 40, 40), np.bool_)
        mask[0, y0:y1, x0:x1] = True
        logits = np.full((1, 10, 10), float(len(asked)), np.float32)
        return Prediction(mask, np.ones(1, np.float32), logits, None)

    return answer


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (Prompt([(1, 1), (5, 5)]), True),
        (Prompt([(1, 1), (5, 5)], [0, 1]), True),
        (Prompt([(1, 1)]), False),
        (Prompt([(1, 1), (5, 5)], [0, 0]), False),
        (Prompt([(1, 1), (5, 5)], box=Box(0, 0, 9, 9)), False),
        (Prompt([(1, 1), (5, 5)], mask=np.zeros((10, 10), np.float32)), False),
    ],
)
def test_only_several_clicks_are_a_sequence(prompt: Prompt, expected: bool) -> None:
    assert is_click_sequence(prompt) is expected


def test_it_begins_in_the_middle_and_leaves_out_satisfied_clicks() -> None:
    asked: list[Prompt] = []
    clicks = [(5.5, 5.5), (15.5, 15.5), (20.5, 20.5), (35.5, 35.5), (38.5, 2.5)]
    prompt = Prompt(clicks, [1, 1, 1, 1, 0])
    # One click: too small. Two, the corner among them: everything but the background click.
    answer = answered({1: (10, 10, 25, 25), 2: (0, 0, 36, 36)}, asked)
    last, found = answer_sequentially(answer, prompt)
    assert asked[0].points == ((20.5, 20.5),)  # the middle of those on the object is (19.25, 19.25)
    assert last is asked[1]
    # (5.5, 5.5) is 21.2 from it and (35.5, 35.5) as far: the first of them
    assert last.points == ((20.5, 20.5), (5.5, 5.5))
    assert last.mask is not None
    assert (last.mask == 1.0).all()
    assert found.masks[0, 35, 35]
    assert not found.masks[0, 2, 38]


def test_background_clicks_count_too_and_it_ends() -> None:
    asked: list[Prompt] = []
    everything = dict.fromkeys((1, 2, 3), (0, 0, 40, 40))
    prompt = Prompt([(10.5, 10.5), (30.5, 10.5), (10.5, 30.5)], [1, 0, 0])
    last, _ = answer_sequentially(answered(everything, asked), prompt)
    assert len(asked) == 3  # never satisfied, each added once
    assert sorted(last.points) == [(10.5, 10.5), (10.5, 30.5), (30.5, 10.5)]
    assert last.labels is not None
    assert sum(last.labels) == 1


def test_nano_answers_as_in_a_session() -> None:
    model = samadapt.load("nano")
    rng = np.random.default_rng(3)
    image = rng.integers(0, 60, (96, 128, 3), np.uint8)
    image[20:70, 30:90] += 150
    embedding = model.encode(image)
    prompt = Prompt([(40.5, 30.5), (60.5, 45.5), (80.5, 60.5), (10.5, 10.5)], [1, 1, 1, 0])
    found = model.predict(embedding, prompt)
    steps: list[Prompt] = []

    def one(asked: Prompt) -> Prediction:
        steps.append(asked)
        return model.predict(embedding, asked)

    last, expected = answer_sequentially(one, prompt)
    assert np.array_equal(found.logits, expected.logits)
    assert np.array_equal(found.masks, expected.masks)
    several = model.predict(embedding, [prompt, Prompt([(60.5, 45.5)]), prompt])
    assert np.array_equal(several[0].logits, found.logits)
    assert np.array_equal(several[2].logits, found.logits)
    three = model.predict(embedding, prompt, multimask=True)
    assert np.array_equal(three.logits, model.predict(embedding, last, multimask=True).logits)
    assert len(three.masks) == 3
