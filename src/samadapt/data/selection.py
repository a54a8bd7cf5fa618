"""`select`: all masks or a few masks of one task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from samadapt.data.coco import CocoDataset
from samadapt.data.records import CocoAnnotation, Id
from samadapt.errors import DataError
from samadapt.spelling import did_you_mean

SMALLEST = 2
"""Smallest number of pixels of a mask, since a single one shows no shape."""


def select(
    dataset: CocoDataset, category: str | None, shots: int | None = None, seed: int = 0
) -> CocoDataset:
    """Select all objects or a few objects of one category, with their images.

    Objects without a mask, crowds, and masks of less than two pixels are left out. A selection of
    more shots contains that of fewer, and its objects are from different images as far as
    possible. The order of the file is kept.

    Args:
        dataset: the dataset.
        category: its name; None for objects of all categories.
        shots: number of objects; None for all.
        seed: of the choice; same seed, same objects.

    Raises:
        DataError: an unknown category, no usable mask, or fewer of them than `shots`.
    """
    if shots is not None and (isinstance(shots, bool) or shots < 1):
        raise DataError(f"shots {shots}: use a whole number, 1 or more")
    if category is not None:
        _check_category(dataset, category)
    marked = [a for a in dataset.annotations if _is_candidate(dataset, a, category)]
    usable = [a for a in marked if dataset.rle(a.id).area >= SMALLEST]
    if len(usable) < (shots or 1):
        own = [a for a in dataset.annotations if _is_of(dataset, a, category)]
        if own and not marked:
            raise DataError(f"{dataset.source} has no usable mask: {why_no_object(own)}")
        raise DataError(_too_few(dataset.source, category, shots, len(usable), len(marked)))
    what = dataset.source if category is None else f"{dataset.source} ({category})"
    kept = usable
    if shots is not None:
        chosen = {a.id for a in _in_order(usable, seed)[:shots]}
        kept = [a for a in usable if a.id in chosen]
        what += f", {shots} shots of seed {seed}"
    shown = {a.image_id for a in kept}
    return replace(
        dataset,
        images=tuple(image for image in dataset.images if image.id in shown),
        annotations=tuple(kept),
        source=what,
    )


def with_crowds(dataset: CocoDataset) -> CocoDataset:
    """Return the dataset with crowds as ordinary objects."""
    return replace(
        dataset, annotations=tuple(replace(a, iscrowd=False) for a in dataset.annotations)
    )


def why_no_object(annotations: Sequence[CocoAnnotation]) -> str:
    """The reason why none of these annotations is an object with a usable mask."""
    masks = [a for a in annotations if a.segmentation is not None]
    if not annotations:
        return "there is no annotation"
    if not masks:
        return f"all {len(annotations)} annotations have only a box, no mask"
    if all(a.iscrowd for a in masks):
        return (
            f"all {len(masks)} masks are marked as crowds (iscrowd 1), as CVAT marks brush masks; "
            "take them as objects with --crowds (open_dataset(..., crowds=True))"
        )
    return "all masks are empty"


# -- private --------------------------------------------------------------------------------


def _check_category(dataset: CocoDataset, category: str) -> None:
    names = sorted({c.name for c in dataset.categories})
    if category in names:
        return
    hint = did_you_mean(category, names)
    known = ", ".join(names) or "none"
    raise DataError(f"{dataset.source} has no category {category!r}{hint}: it has {known}")


def _is_candidate(dataset: CocoDataset, annotation: CocoAnnotation, category: str | None) -> bool:
    if annotation.segmentation is None or annotation.iscrowd:
        return False
    return _is_of(dataset, annotation, category)


def _is_of(dataset: CocoDataset, annotation: CocoAnnotation, category: str | None) -> bool:
    return category is None or dataset.category(annotation.category_id).name == category


def _in_order(annotations: Sequence[CocoAnnotation], seed: int) -> list[CocoAnnotation]:
    """All of them, shuffled: one of every image, then a second one of every image, ..."""
    rng = np.random.default_rng(seed)
    rounds: list[tuple[int, CocoAnnotation]] = []
    seen: dict[Id, int] = {}
    for index in rng.permutation(len(annotations)):
        annotation = annotations[index]
        turn = seen.get(annotation.image_id, 0)
        seen[annotation.image_id] = turn + 1
        rounds.append((turn, annotation))
    return [annotation for _, annotation in sorted(rounds, key=lambda pair: pair[0])]


def _too_few(source: str, category: str | None, shots: int | None, usable: int, marked: int) -> str:
    of = "" if category is None else f" of {category!r}"
    tiny = marked - usable
    left_out = f" ({tiny} of less than {SMALLEST} pixels left out)" if tiny else ""
    if not usable:
        return f"{source} has no usable mask{of}{left_out}: give masks of objects"
    return (
        f"{source} has {usable} masks{of}{left_out}, but {shots} shots are required: use "
        f"{usable} or fewer shots, or give more masks"
    )
