"""Whether as few masks as there are can teach convolutions more than themselves."""

from __future__ import annotations

import math

LEAST = 4
"""Fewer masks have no convolutions: one mask with them was worse than without (see the notes)."""
LEAST_APART = 8
"""Fewer masks that do not lie alike have none either: 4 were worse with them, 8 as good."""
CHANCE = math.erfc(3 / math.sqrt(2))
"""Three standard deviations, 0.27 %: what happens by chance less often is taken as a fact."""


def may_look_around(masks: int, spread: float) -> bool:
    """Whether a dense prompt that learns from `masks` masks gets convolutions.

    Args:
        masks: how many there are.
        spread: how far apart they lie, see `chance_of_lying_alike`.
    """
    if masks >= LEAST_APART:
        return True
    return masks >= LEAST and chance_of_lying_alike(masks, spread) < CHANCE


def chance_of_lying_alike(masks: int, spread: float) -> float:
    """Return how likely things that may be anywhere lie as near each other as these.

    For n centres that are uniform in the unit square, the probability of a spread of at most s is

        n pi^(n-1) / (n-1)! (n s^2)^(n-1),

    the volume of a ball in the 2 (n - 1) dimensions of the differences to their mean. That is an
    upper bound, near the probability as long as s is small against the square. Parts of things
    that are photographed upright, such as noses, lie nearer each other than that.

    Args:
        masks: n, at least 1.
        spread: s, the root mean square distance of the masks' box centres from their mean, the
            sides of the image being 1.
    """
    free = masks - 1
    return masks * (math.pi * masks * spread**2) ** free / math.factorial(free)
