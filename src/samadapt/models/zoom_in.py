"""The zoom-in transform: prompts for a small object are decoded on a close-up of it."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from samadapt.errors import PromptError
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.geometry import InputGeometry, Window
from samadapt.models.interface import ModelInterface
from samadapt.prompts import Box, Prompt

MARGIN = 1.6
"""A window is this many times as wide as the object in it."""

LARGEST_SHARE = 0.7
"""No close-up of more than this share of the image's longer side."""

MAGNIFICATION = 5.0
"""Input pixels per original pixel at most."""

_KEPT = 4
_SLACK = 1.1
_STAY = (0.6, 1.4)  # how much the wanted window's size may differ from the one kept

_Region = tuple[float, float, float, float]


class ZoomIn:
    """Zoom-in for one model, like RITM's transform of the same name.

    The last few close-ups of each embedding that is still in use are kept. Safe to share.

    Args:
        model: encodes the close-ups; for a model without close-ups (see its `spec`) every view is
            the whole image.
    """

    def __init__(self, model: ModelInterface) -> None:
        self._model = model
        self._views: WeakKeyDictionary[ImageEmbedding, OrderedDict[Window, ImageEmbedding]] = (
            WeakKeyDictionary()
        )
        self._lock = Lock()

    def view(self, embedding: ImageEmbedding, prompt: Prompt) -> ImageEmbedding:
        """The whole image, or a close-up if an earlier mask or a box shows a small object."""
        spec = self._model.spec
        if not spec.has_close_ups or embedding.pixels is None:
            return embedding
        seen = self._geometry(embedding, prompt.window)
        window = choose_window(embedding.original_size, prompt, seen, spec.close_up_side)
        return embedding if window is None else self.close_up(embedding, window)

    def onto_view(
        self,
        view: ImageEmbedding,
        logits: Tensor,
        window: Window | None,
        size: tuple[int, int],
    ) -> Tensor:
        """Bring earlier logits onto the grid of a view.

        Args:
            view: on which the prompt is answered.
            logits: (1, 1, h', w').
            window: the part of the image that they show.
            size: (h, w) of the view's logits.

        Returns:
            (1, 1, h, w).

        Raises:
            PromptError: a window outside the image or for a model without close-ups, or logits of
                another size.
        """
        here, seen = view.geometry, self._geometry(view, window)
        pairs = zip(seen.padded, size, here.padded, strict=True)
        expected = tuple(padded * cells // mine for padded, cells, mine in pairs)
        if tuple(logits.shape[-2:]) != expected:
            raise PromptError(
                f"mask prompt of shape {tuple(logits.shape[-2:])}: logits must have the decoder's "
                f"resolution {expected}, as in Prediction.logits (or give a bool mask at the "
                "image's size)"
            )
        return logits if seen == here else here.reframe(logits, seen, size)

    def _geometry(self, embedding: ImageEmbedding, window: Window | None) -> InputGeometry:
        """Geometry of the view that shows `window` of the image in `embedding`."""
        height, width = embedding.original_size
        if not self._model.spec.has_close_ups:
            if window != embedding.geometry.window:
                raise PromptError(
                    f"window {window}: {self._model.identity.name} takes no close-ups; give the "
                    "logits of the whole image, without a window"
                )
            return embedding.geometry
        if window is not None:
            x0, y0, x1, y1 = window
            if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
                raise PromptError(
                    f"window {window} does not lie inside the image of {width} x {height} pixels "
                    "(width x height)"
                )
        return self._model.input_geometry((height, width), window)

    def close_up(self, embedding: ImageEmbedding, window: Window) -> ImageEmbedding:
        """The close-up of `window`, encoded when it is not there yet, with the image's pixels."""
        with self._lock:
            views = self._views.setdefault(embedding, OrderedDict())
            if window in views:
                views.move_to_end(window)
                return views[window]
        view = self._model.encode_window(embedding, window)
        with self._lock:
            views[window] = view
            while len(views) > _KEPT:
                views.popitem(last=False)
        return view


def choose_window(
    original: tuple[int, int], prompt: Prompt, seen: InputGeometry, side: int
) -> Window | None:
    """The window in which to decode `prompt`, or None for the whole image.

    It surrounds the earlier mask, or the box, together with the clicks on the object and the
    newest click. Clicks alone do not tell the object's size, and earlier background clicks far
    from it would only make the window coarser. The window of the earlier logits is kept as long
    as it fits, so that it need not be encoded again for every click.

    Args:
        original: (height, width) of the image.
        prompt: the prompt.
        seen: geometry of the view that the prompt's logits show.
        side: the longer side of a close-up's input, in pixels.
    """
    region = _region(prompt, seen, original)
    if region is None:
        return None
    wanted = max(region[2] - region[0], region[3] - region[1]) * MARGIN
    wanted = max(wanted, side / MAGNIFICATION)
    if wanted >= LARGEST_SHARE * max(original):
        return None
    earlier = prompt.window
    if earlier is not None and _still_fits(earlier, region, wanted, original):
        return earlier
    (x0, x1), (y0, y1) = (
        span(region[axis], region[axis + 2], wanted, original[1 - axis]) for axis in (0, 1)
    )
    return x0, y0, x1, y1


def _region(prompt: Prompt, seen: InputGeometry, original: tuple[int, int]) -> _Region | None:
    """The region that the window must surround, in original pixels."""
    corners: list[tuple[float, float]] = []
    if isinstance(prompt.box, Box):
        x0, y0, x1, y1 = prompt.box.as_tuple()
        corners += [(max(x0, 0), max(y0, 0)), (min(x1, original[1]), min(y1, original[0]))]
    if prompt.mask is not None:
        corners += _mask_corners(prompt.mask, seen)
    if not corners:
        return None
    clicks = prompt.clicks
    corners += [(c.x, c.y) for i, c in enumerate(clicks) if c.positive or i == len(clicks) - 1]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), min(max(xs), original[1]), min(max(ys), original[0])


def _mask_corners(mask: NDArray[np.float32], seen: InputGeometry) -> list[tuple[float, float]]:
    """Two corners, in original pixels, of the box around a bool mask or around logits above 0."""
    inside = mask > 0
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return []
    found = [(columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)]
    if mask.dtype == np.bool_:
        return [(float(x), float(y)) for x, y in found]
    step = [seen.padded[1 - i] / mask.shape[1 - i] / seen.scale[i] for i in (0, 1)]
    return [(x * step[0] + seen.corner[0], y * step[1] + seen.corner[1]) for x, y in found]


def _still_fits(window: Window, region: _Region, wanted: float, original: tuple[int, int]) -> bool:
    extent = max(window[2] - window[0], window[3] - window[1])
    if not _STAY[0] <= wanted / extent <= _STAY[1]:
        return False
    for axis in (0, 1):
        slack = (region[axis + 2] - region[axis]) * (_SLACK - 1) / 2
        lowest, highest = max(region[axis] - slack, 0), region[axis + 2] + slack
        if lowest < window[axis] or min(highest, original[1 - axis]) > window[axis + 2]:
            return False
    return True


def span(low: float, high: float, wanted: float, limit: int) -> tuple[int, int]:
    """(start, end) in whole pixels: `wanted` around the middle of `low`..`high`, in 0..`limit`."""
    length = min(round(wanted), limit)
    start = min(max(round((low + high - length) / 2), 0), limit - length)
    return start, start + length
