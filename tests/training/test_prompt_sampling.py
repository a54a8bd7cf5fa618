"""Prompts of all qualities: by hand, within bounds, and the same for the same object."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samadapt.errors import DataError
from samadapt.prompts import Box
from samadapt.training.prompt_sampling import (
    QUALITIES,
    PromptKind,
    PromptSampler,
    kinds,
    object_generator,
)


class Scripted:
    """A generator that gives the numbers it was told to give."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def uniform(self, low: float, high: float, size: int) -> np.ndarray[Any, Any]:
        assert (low, high) == (-1, 1)
        return np.array([self.values.pop(0) for _ in range(size)])


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray[Any, Any]:
    mask = np.zeros((60, 80), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


class TestBoxes:
    def test_the_exact_box_is_tight_in_corner_coordinates(self) -> None:
        assert PromptSampler(rectangle(10, 20, 30, 50)).box == Box(10, 20, 30, 50)
        dot = rectangle(79, 59, 80, 60)
        assert PromptSampler(dot).box == Box(79, 59, 80, 60)

    def test_noise_by_hand(self) -> None:
        """w, h = 20, 30, s = 0.4: the centre moves by 4, 6 at most, the size by 8, 12."""
        sampler = PromptSampler(rectangle(10, 20, 30, 50))
        found = sampler.noisy_box(0.4, Scripted(1, -0.5, -1, 0.5))  # type: ignore[arg-type]
        # centre (20, 35) + (4, -3) = (24, 32), size (20, 30) + (-8, 6) = (12, 36)
        assert found.as_tuple() == pytest.approx((18, 14, 30, 50))

    def test_noisy_boxes_are_clamped_to_the_image(self) -> None:
        sampler = PromptSampler(rectangle(0, 0, 20, 30))
        found = sampler.noisy_box(0.5, Scripted(-1, -1, 1, 1))  # type: ignore[arg-type]
        # centre (10, 15) - (5, 7.5), size (20, 30) * 1.5
        assert found.as_tuple() == pytest.approx((0, 0, 20, 30))

    @given(
        x=st.integers(0, 79),
        y=st.integers(0, 59),
        w=st.integers(1, 80),
        h=st.integers(1, 60),
        noise=st.floats(0.01, 0.99),
        seed=st.integers(0, 99),
    )
    def test_every_noisy_box_lies_inside_and_as_near_as_it_says(
        self, x: int, y: int, w: int, h: int, noise: float, seed: int
    ) -> None:
        x1, y1 = min(x + w, 80), min(y + h, 60)
        sampler = PromptSampler(rectangle(x, y, x1, y1))
        box = sampler.noisy_box(noise, np.random.default_rng(seed))
        assert 0 <= box.x0 < box.x1 <= 80
        assert 0 <= box.y0 < box.y1 <= 60
        assert max(abs(box.x0 - x), abs(box.x1 - x1)) <= noise * (x1 - x) + 1e-9
        assert max(abs(box.y0 - y), abs(box.y1 - y1)) <= noise * (y1 - y) + 1e-9


class TestPoints:
    def test_they_are_centres_of_different_pixels_of_the_object(self) -> None:
        mask = rectangle(3, 4, 8, 7) | rectangle(70, 50, 72, 52)
        sampler = PromptSampler(mask)
        points = sampler.points(10, np.random.default_rng(0))
        assert len(set(points)) == 10
        for x, y in points:
            assert (x % 1, y % 1) == (0.5, 0.5)
            assert mask[int(y), int(x)]

    def test_every_pixel_is_as_likely(self) -> None:
        sampler = PromptSampler(rectangle(3, 4, 5, 6))
        rng = np.random.default_rng(0)
        drawn = [sampler.points(1, rng)[0] for _ in range(2000)]
        counts = [drawn.count((x + 0.5, y + 0.5)) for x in (3, 4) for y in (4, 5)]
        assert sum(counts) == 2000
        assert all(430 < count < 570 for count in counts)

    def test_an_object_of_few_pixels_repeats_them(self) -> None:
        sampler = PromptSampler(rectangle(3, 4, 4, 5))
        assert sampler.points(3, np.random.default_rng(0)) == [(3.5, 4.5)] * 3

    def test_all_of_them_mark_the_object(self) -> None:
        prompt = PromptSampler(rectangle(0, 0, 9, 9)).draw(
            PromptKind(points=5), np.random.default_rng(0)
        )
        assert prompt.labels == (1,) * 5
        assert prompt.box is None


class TestSeeds:
    def draws(self, seed: int, place: int, kind: str, count: int) -> list[Any]:
        sampler = PromptSampler(rectangle(10, 20, 30, 50))
        rng = object_generator(seed, place, kind)
        drawn = [sampler.draw(PromptKind.parse(kind), rng) for _ in range(count)]
        return [prompt.box or prompt.points for prompt in drawn]

    @pytest.mark.parametrize("kind", ["box0.4", "3p"])
    def test_same_object_same_prompts_and_fewer_are_a_part_of_more(self, kind: str) -> None:
        assert self.draws(1, 7, kind, 20)[:5] == self.draws(1, 7, kind, 5)
        assert self.draws(1, 7, kind, 5) != self.draws(2, 7, kind, 5)
        assert self.draws(1, 7, kind, 5) != self.draws(1, 8, kind, 5)

    def test_purposes_have_generators_of_their_own(self) -> None:
        a, b = (object_generator(0, 0, name).random(4).tolist() for name in ("a", "b"))
        assert a != b


class TestKinds:
    def test_names_come_back(self) -> None:
        names = ["box", "box0.2", "box0.4", "box0.6", "1p", "3p", "5p", "10p"]
        assert [kind.name for kind in QUALITIES] == names
        assert kinds(names) == QUALITIES
        assert [kind.is_exact for kind in QUALITIES] == [True] + [False] * 7

    @pytest.mark.parametrize("name", ["", "boxes", "0p", "box-1", "p", "box1", "box7.5"])
    def test_other_names_are_refused(self, name: str) -> None:
        with pytest.raises(DataError):
            PromptKind.parse(name)

    def test_an_empty_mask_has_no_prompt(self) -> None:
        with pytest.raises(DataError, match="empty mask"):
            PromptSampler(np.zeros((4, 4), np.bool_))
