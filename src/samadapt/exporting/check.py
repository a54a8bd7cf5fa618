"""Comparison of an export with its model, by the same prompts on random images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from samadapt.errors import ModelError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.predictor import Predictor
from samadapt.models.registry import load
from samadapt.models.seams import Seams
from samadapt.prompts import Box, Prompt

TOLERANCE = 1e-4
"""Largest allowed difference, as a share of the largest value (or of 1, if that is larger)."""

_SHAPES = ((0.6, 1.0), (1.0, 0.75), (1.0, 1.0))
"""Height and width of the images, as shares of the longest side."""
_LONGEST = 600
_PIXELS = "pixels"


def check_export(model: SegmentationModel, adapters: Sequence[Seams], folder: Path) -> float:
    """Compare an export with its model; returns the largest difference, in units of `TOLERANCE`.

    The test has images of several shapes; one and several prompts; clicks, boxes, earlier masks
    and a box without clicks; single masks and candidates. The masks must be equal except for
    pixels whose logit is within the allowed difference from 0.

    Raises:
        ModelError: they differ.
    """
    exported = load(folder, runtime="onnxruntime")
    largest = 0.0
    rng = np.random.default_rng(0)
    for shape in _SHAPES:
        pixels = _picture(rng, (int(shape[0] * _LONGEST), int(shape[1] * _LONGEST)))
        embedding, other = model.encode(pixels), exported.encode(pixels)
        for name in sorted(set(other.features) - {_PIXELS}):
            found = _difference(embedding.features[name], other.features[name])
            largest = max(largest, _checked(found, f"the features {name!r}"))
        largest = max(largest, _decoders(model, adapters, exported, embedding))
    return largest


def _decoders(
    model: SegmentationModel,
    adapters: Sequence[Seams],
    exported: SegmentationModel,
    embedding: ImageEmbedding,
) -> float:
    """The largest difference of logits and scores on the model's own embedding."""
    ours, theirs = Predictor(model), Predictor(exported)
    own = (False, True) if exported.spec.has_merged_dense else (False,)
    largest = 0.0
    asked = _prompts(model, embedding)
    if adapters:  # some do not change prompts without a token, which a graph cannot distinguish
        del asked["an earlier mask"]
    for what, prompts in asked.items():
        for multimask in (False, True):
            for own_dense in own:
                with torch.no_grad():
                    first = ours.decode(embedding, prompts, multimask, adapters, own_dense)
                    second = theirs.decode(embedding, prompts, multimask, (), own_dense)
                for pair in ((first.logits, second.logits), (first.scores, second.scores)):
                    largest = max(largest, _checked(_difference(*pair), f"answers to {what}"))
                full = [embedding.geometry.to_original(one.logits) for one in (first, second)]
                sure = full[0].abs() > TOLERANCE * max(1.0, float(full[0].abs().max()))
                if bool((((full[0] > 0) != (full[1] > 0)) & sure).any()):
                    raise ModelError(
                        f"the export gives other masks for {what}; nothing was written"
                    )
    return largest


def _prompts(model: SegmentationModel, embedding: ImageEmbedding) -> dict[str, list[Prompt]]:
    """Prompts of every structure, one and several at a time."""
    height, width = embedding.original_size

    def at(x: float, y: float) -> tuple[float, float]:
        return x * width, y * height

    box = Box(*at(0.2, 0.3), *at(0.7, 0.8))
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 4, model.logits_size(embedding)).astype(np.float32)
    click = Prompt([at(0.4, 0.5)], [1])
    return {
        "a click": [click],
        "several clicks": [
            Prompt([at(0.1 * i, 0.3), at(0.5, 0.2 * i), at(0.8, 0.6)], [1, 0, 1])
            for i in range(1, 4)
        ],
        "a box": [Prompt(box=box)],
        "boxes and clicks": [
            Prompt([at(0.4, 0.5)], [1], box=box),
            Prompt([at(0.3, 0.4)], [0], box=box),
        ],
        "a click and an earlier mask": [Prompt([at(0.4, 0.5)], [1], mask=logits)],
        "an earlier mask": [Prompt(mask=logits)],
    }


def _picture(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Blobs of colour with noise."""
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    smooth = np.array(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC), np.int64)
    noisy = smooth + rng.integers(-20, 21, smooth.shape)
    return np.array(noisy.clip(0, 255), np.uint8)


def _difference(first: Tensor, second: Tensor) -> float:
    """The largest difference, relative as in `TOLERANCE`."""
    if first.shape != second.shape or not bool(second.isfinite().all()):
        return float("inf")
    return float((first - second).abs().max()) / max(1.0, float(first.abs().max()))


def _checked(difference: float, what: str) -> float:
    if difference > TOLERANCE:
        raise ModelError(
            f"the export differs from the model in {what}: by {difference:.1e} of the largest "
            f"value, where {TOLERANCE:.0e} is allowed; nothing was written"
        )
    return difference
