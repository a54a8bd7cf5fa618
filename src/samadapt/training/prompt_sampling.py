"""Prompts of all qualities for a known object: for robust training (RTS) and its benchmark.

Boxes are exact or noisy as in DN-DETR (Li et al., CVPR 2022, section 4.3); clicks are pixels of
the object, drawn uniformly. Each object has its own random generator, so that with the same seed
it gets the same prompts in any order of visits.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samadapt.errors import DataError
from samadapt.prompts import Box, Prompt

_NAME = re.compile(r"box(?P<noise>\d+(\.\d+)?)?|(?P<points>[1-9]\d*)p")


@dataclass(frozen=True, slots=True)
class PromptKind:
    """One quality of prompts: a box with noise of a strength, or a number of clicks.

    Attributes:
        noise: s of a box; 0 for the exact one.
        points: clicks on the object; 0 for a box.

    Raises:
        DataError: a noise outside 0..1, a negative number of clicks, or both at once.
    """

    noise: float = 0.0
    points: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise) and 0 <= self.noise < 1):
            raise DataError(f"box noise {self.noise}: give a share from 0 to less than 1")
        if self.points < 0 or (self.points and self.noise):
            raise DataError(f"a prompt of {self.points} clicks and box noise {self.noise}")

    @classmethod
    def parse(cls, name: str) -> PromptKind:
        """The kind of a name: "box", "box0.4" or "3p".

        Raises:
            DataError: no such kind.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise DataError(
                f'prompt kind {name!r}: use "box", "box0.4" (noise of 0.4) or "3p" (3 clicks)'
            )
        return cls(float(found["noise"] or 0), int(found["points"] or 0))

    @property
    def name(self) -> str:
        """Such as "box", "box0.4" or "3p"."""
        if self.points:
            return f"{self.points}p"
        return f"box{self.noise:g}" if self.noise else "box"

    @property
    def is_exact(self) -> bool:
        """Whether every draw gives the same prompt."""
        return not self.points and not self.noise

    def __str__(self) -> str:
        return self.name


def kinds(names: Iterable[str]) -> tuple[PromptKind, ...]:
    """Kinds by name, in order.

    Raises:
        DataError: an unknown name.
    """
    return tuple(PromptKind.parse(name) for name in names)


QUALITIES = kinds(("box", "box0.2", "box0.4", "box0.6", "1p", "3p", "5p", "10p"))
"""Kinds of prompts of the robustness benchmark."""


class PromptSampler:
    """Draws prompts for one object.

    Raises:
        DataError: an empty mask.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self._places = np.flatnonzero(mask)
        if not len(self._places):
            raise DataError("an empty mask has no prompts: give masks with at least one pixel")
        self._size = (int(mask.shape[0]), int(mask.shape[1]))
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        self.box = Box(
            float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
        )
        """The exact box."""

    def draw(self, kind: PromptKind, rng: np.random.Generator) -> Prompt:
        """One prompt of this kind."""
        if kind.points:
            return Prompt(self.points(kind.points, rng))
        return Prompt(box=self.noisy_box(kind.noise, rng) if kind.noise else self.box)

    def points(self, count: int, rng: np.random.Generator) -> list[tuple[float, float]]:
        """Centres (x, y) of `count` different pixels of the object; repeated if it has fewer."""
        chosen = rng.choice(self._places, count, replace=count > len(self._places))
        rows, columns = np.divmod(chosen, self._size[1])
        return [(float(x) + 0.5, float(y) + 0.5) for x, y in zip(columns, rows, strict=True)]

    def noisy_box(self, noise: float, rng: np.random.Generator) -> Box:
        """A box with noise s, clamped to the image:

        centre += U(-1, 1) (w, h) / 2 s        size += U(-1, 1) (w, h) s
        """
        x0, y0, x1, y1 = self.box.as_tuple()
        extent = np.array([x1 - x0, y1 - y0])
        centre = np.array([x0 + x1, y0 + y1]) / 2 + rng.uniform(-1, 1, 2) * extent / 2 * noise
        half = extent * (1 + rng.uniform(-1, 1, 2) * noise) / 2
        limit = np.array([self._size[1], self._size[0]])
        low, high = np.clip(centre - half, 0, limit), np.clip(centre + half, 0, limit)
        return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def object_generator(seed: int, place: int, purpose: str = "") -> np.random.Generator:
    """The random generator of one object for one purpose.

    It depends only on its arguments, so that an object's prompts do not depend on other objects.

    Args:
        seed: of the run, 0 or more.
        place: of the object in its file, 0 or more.
        purpose: such as the kind of prompt; other purposes have unrelated generators.
    """
    return np.random.default_rng([seed, place, zlib.crc32(purpose.encode())])
