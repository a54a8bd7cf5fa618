"""Pseudo-labels from an accepted mask: certain object, certain background and ignored pixels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from samadapt.adapters.losses import Labels
from samadapt.models.geometry import InputGeometry
from samadapt.prompts import Click


def eroded(
    mask: NDArray[np.bool_], iterations: int, share: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Object and background, each eroded with a 3x3 cross (Schön et al. 2024).

    n erosions with a cross remove every pixel whose city-block distance to the other side is at
    most n. n is at most `share` of the greatest such distance on its side, so that a small object
    does not vanish: with share 0.5, half of the object's depth survives. The image's border does
    not erode.

    Args:
        mask: (H, W).
        iterations: erosions of an object (and a background) that is large enough.
        share: greatest share of a side's depth that erosion may remove, in [0, 1).

    Returns:
        Sure object and sure background, (H, W) bool each.
    """
    return _core(mask, iterations, share), _core(~mask, iterations, share)


def labels_on_view(
    mask: NDArray[np.bool_],
    clicks: Sequence[Click],
    geometry: InputGeometry,
    size: tuple[int, int],
    iterations: int,
    share: float,
    painted: NDArray[np.bool_] | None = None,
) -> Labels:
    """The labels that an accepted mask and its clicks give on a view.

    A click's pixel has the click's label, whatever the mask says. Pixels that were painted or
    erased with the brush keep their label however near the edge they are: a person decided them.

    Args:
        mask: the accepted mask (H, W).
        clicks: all clicks of the object.
        geometry: of the view.
        size: (h, w) of the view's logits.
        iterations: as for `eroded`.
        share: as for `eroded`.
        painted: pixels (H, W) that were painted or erased with the brush; None without any.
    """
    positive, negative = eroded(mask, iterations, share)
    if painted is not None:
        positive, negative = positive | (mask & painted), negative | (~mask & painted)
    for click in distinct_clicks(clicks, mask.shape):
        y, x = pixel(click, mask.shape)
        positive[y, x], negative[y, x] = click.positive, not click.positive
    both = torch.from_numpy(np.stack([positive, negative])[:, None].astype(np.float32))
    grids = geometry.to_decoder(both, size)[:, 0]
    return Labels(grids[0], grids[1])


def distinct_clicks(clicks: Sequence[Click], shape: tuple[int, ...]) -> tuple[Click, ...]:
    """One click per pixel, in order: of several on one pixel the last one counts.

    A later click on the same pixel with the other label overrides the earlier one.
    """
    last = {pixel(click, shape): click for click in clicks}
    return tuple(last.values())


def pixel(click: Click, shape: tuple[int, ...]) -> tuple[int, int]:
    """Row and column of the pixel under a click; the far border belongs to the last pixel."""
    return min(int(click.y), shape[0] - 1), min(int(click.x), shape[1] - 1)


def disagreement(mask: NDArray[np.bool_], clicks: Sequence[Click]) -> float:
    """Share of the clicks that a mask (H, W) contradicts; 0 without clicks."""
    counted = distinct_clicks(clicks, mask.shape)
    wrong = sum(bool(mask[pixel(click, mask.shape)]) != click.positive for click in counted)
    return wrong / len(counted) if counted else 0.0


def _core(region: NDArray[np.bool_], iterations: int, share: float) -> NDArray[np.bool_]:
    if iterations == 0 or region.all() or not region.any():
        return region.copy()
    distance = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L1, 3)
    # The outermost pixels have distance 1, and no erosion takes none of them.
    count = min(iterations, int(share * float(distance.max())))
    return np.asarray(distance > count)
