"""`Finisher`: an adapter that has something left to learn once its parameters are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding

MOST_IMAGES = 20
"""Images that an adapter is shown at the end of its training."""


@runtime_checkable
class Finisher(Protocol):
    """An adapter that looks at some training images once more before it is delivered.

    What it learns then is part of its state, but no parameter, and depends on the parameters, the
    images and the seed alone: a run that was killed in between does it again.
    """

    def finish(
        self,
        model: SegmentationModel,
        images: Iterable[tuple[ImageEmbedding, Sequence[NDArray[np.bool_]]]],
        count: int,
        seed: int,
    ) -> None:
        """Learn from images with their masks (H, W).

        Args:
            model: the adapter's.
            images: encoded or read one by one; those that cannot be used are left out.
            count: how many there are, at least 1.
            seed: of everything random.
        """
