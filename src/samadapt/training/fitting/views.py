"""Prompts of one image in batches that the decoder takes in one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Prompt


def view_groups(
    model: SegmentationModel,
    embedding: ImageEmbedding,
    prompts: Mapping[int, Prompt],
    most: int | None = None,
) -> Iterator[tuple[ImageEmbedding, list[int]]]:
    """The view on which each prompt is answered, and which prompts share a decoder call.

    As in `model.predict`: prompts are grouped by the view that `model.focus` gives and by their
    structure (number of points, box or not, mask or not).

    Args:
        model: the model.
        embedding: the image.
        prompts: any prompts for it, by number.
        most: largest group; None for no limit.

    Yields:
        The view, and numbers of prompts.
    """
    views = {index: model.focus(embedding, prompt) for index, prompt in prompts.items()}
    groups: dict[tuple[int, int, bool, bool], list[int]] = {}
    for index, prompt in prompts.items():
        structure = len(prompt.points), prompt.box is not None, prompt.mask is not None
        groups.setdefault((id(views[index]), *structure), []).append(index)
    for indices in groups.values():
        size = most or len(indices)
        for start in range(0, len(indices), size):
            chunk = indices[start : start + size]
            yield views[chunk[0]], chunk
