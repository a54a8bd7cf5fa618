"""How an image is laid into the square input: as in SAM, with the values that nano expects."""

from __future__ import annotations

from samadapt.models.nano.trunk import MEAN, SCALE
from samadapt.models.parts.preprocessing import Preprocessing


def square_preprocessing(side: int) -> Preprocessing:
    """The longer side becomes `side` pixels; padding at the bottom and the right makes a square."""
    return Preprocessing(
        name=f"sam-shaped-longest-{side}-1",
        side=side,
        scale=1.0,
        mean=(MEAN, MEAN, MEAN),
        std=(SCALE, SCALE, SCALE),
    )
