"""`Signature`: feature statistics of an image, by which domains are told apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from samadapt.models.embedding import ImageEmbedding

REACH_OF_ONE = 1.0
"""Distance up to which an image belongs to the domain of a single other one, in standard
deviations of the features within an image."""

_SPREADS = 2.0
"""Distance up to which an image belongs to a domain of many images, in units of their mean
distance: distances sum over many channels and scatter little around their mean (measured)."""


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """Feature statistics of a domain, that is a kind of images.

    Attributes:
        mean: (C,) mean of each feature channel over the image, averaged over the images.
        deviation: (C,) standard deviation of each channel within an image, averaged over images.
        images: number of images averaged.
        spread: mean distance of an image to the mean of those before it.
    """

    mean: Tensor
    deviation: Tensor
    images: int = 1
    spread: float = 0.0

    def reach(self, prior: float) -> float:
        """Return the distance up to which an image belongs to this domain.

        The weighted mean of twice the mean distance of its images, the spread, with weight 1 per
        measured distance, and of `prior`, with weight 1.
        """
        seen = self.images - 1
        return (prior + seen * _SPREADS * self.spread) / (1 + seen)

    @classmethod
    def of(cls, embedding: ImageEmbedding) -> Signature:
        """Return the signature of one image without its padding."""
        there = embedding.geometry.valid(embedding.grid, embedding.image.device)
        features = embedding.image[0][:, there].float()
        return cls(features.mean(1).cpu(), features.std(1, correction=0).cpu())

    def distance(self, other: Signature) -> float:
        """Root mean square over channels of (m1 - m2) / ((s1 + s2) / 2)."""
        width = (self.deviation + other.deviation) / 2 + 1e-6
        return float(((self.mean - other.mean) / width).square().mean().sqrt())

    def joined(self, image: Signature) -> Signature:
        """Return the signature with one more image."""
        count = self.images
        share = 1 / (count + 1)
        return Signature(
            torch.lerp(self.mean, image.mean, share),
            torch.lerp(self.deviation, image.deviation, share),
            count + 1,
            self.spread + (self.distance(image) - self.spread) / count,
        )
