"""Rule for tasks with few masks: no convolutions in the dense prompt where they would overfit."""

from __future__ import annotations

import math

LEAST = 4
"""No convolutions for fewer masks: with one mask they made it worse (see the notes)."""
LEAST_APART = 8
"""No convolutions for fewer masks at scattered positions: they made 4 worse, and 8 not better."""
CHANCE = math.erfc(3 / math.sqrt(2))
"""Three standard deviations, 0.27 %: a less likely arrangement is not attributed to chance."""


def may_look_around(masks: int, spread: float) -> bool:
    """Whether a dense prompt that learns from `masks` masks gets convolutions.

    Args:
        masks: their number.
        spread: of their positions, see `chance_of_lying_alike`.
    """
    if masks >= LEAST_APART:
        return True
    return masks >= LEAST and chance_of_lying_alike(masks, spread) < CHANCE


def chance_of_lying_alike(masks: int, spread: float) -> float:
    """Return the probability that objects at random positions lie as close together as these.

    For n centres that are uniform in the unit square, the probability of a spread of at most s is

        n pi^(n-1) / (n-1)! (n s^2)^(n-1),

    the volume of a ball in the 2 (n - 1) dimensions of the differences to their mean. It is an
    upper bound, and close to the probability while s is small against the square. Parts of things
    that are photographed upright, such as noses, lie closer together than by chance.

    Args:
        masks: n, at least 1.
        spread: s, the root mean square distance of the masks' box centres from their mean, in an
            image with sides of length 1.
    """
    free = masks - 1
    return masks * (math.pi * masks * spread**2) ** free / math.factorial(free)
