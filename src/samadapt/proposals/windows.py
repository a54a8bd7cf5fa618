"""Objects of images larger than memory, found window by window and merged across borders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.data.tiled import TiledImage
from samadapt.errors import PromptError
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams
from samadapt.proposals.grid import ProposalOptions, propose
from samadapt.proposals.proposal import Proposal
from samadapt.proposals.suppression import suppress

Box = tuple[int, int, int, int]
_AGREE = 0.5
"""Least IoU, in the overlap of two windows, of parts of one object."""
_COVERED = 0.8
"""Least share of the smaller of two cut parts in the other one, for parts of one object."""


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """Division of an image into windows.

    Attributes:
        side: pixels of a window along x and y.
        overlap: pixels that neighbouring windows share; objects up to this size are seen whole.

    Raises:
        PromptError: an overlap that leaves no step.
    """

    side: int = 1024
    overlap: int = 256

    def __post_init__(self) -> None:
        if not (self.side >= 16 and 0 <= self.overlap <= self.side // 2):
            raise PromptError(
                f"windows of {self.side} pixels that overlap by {self.overlap}: give a side of at "
                "least 16, and an overlap of at most half of it"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The part of an object in one window.

    Attributes:
        mask: its mask, cropped.
        x: of the crop's corner in the image.
        y: of the crop's corner in the image.
        window: (x0, y0, x1, y1) of the window.
        is_cut: whether it reaches an edge of the window inside the image.
        score: of the proposal.
        point: (x, y), in the image, of the point prompt that found it.
    """

    mask: NDArray[np.bool_]
    x: int
    y: int
    window: Box
    is_cut: bool
    score: float
    point: tuple[float, float]

    @property
    def box(self) -> Box:
        """(x0, y0, x1, y1) in the image."""
        return self.x, self.y, self.x + self.mask.shape[1], self.y + self.mask.shape[0]

    def inside(self, box: Box) -> NDArray[np.bool_]:
        """The part of the mask in a box of the image, of the box's size."""
        found = np.zeros((box[3] - box[1], box[2] - box[0]), np.bool_)
        shared = _common(self.box, box)
        if shared is not None:
            x0, y0, x1, y1 = shared
            found[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]] = self.mask[
                y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x
            ]
        return found


def windows_of(size: tuple[int, int], options: WindowOptions) -> list[Box]:
    """Windows (x0, y0, x1, y1) that cover an image of `size` = (H, W), row by row."""
    ys, xs = (_starts(length, options) for length in size)
    return [
        (x, y, min(x + options.side, size[1]), min(y + options.side, size[0]))
        for y in ys
        for x in xs
    ]


def propose_in_windows(
    model: SegmentationModel,
    image: TiledImage,
    adapters: Sequence[Seams] = (),
    options: ProposalOptions | None = None,
    windows: WindowOptions | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Proposal, ...]:
    """Find the objects of an image larger than memory, the best first.

    Every window is searched as by `propose`; `options` apply to each window. Proposals of
    different windows that agree in the overlap are one object: one that is not cut by its window's
    edge replaces the others, and if all are cut, they are united. Masks are kept as parts, so that
    memory grows with the objects and not with the image.

    Args:
        model: predicts the masks.
        image: the image.
        adapters: of the wanted objects, applied in order.
        options: of the search in each window.
        windows: division of the image.
        progress: called with the number of finished windows and of all.

    Raises:
        ImageError: a window that cannot be read.
        ModelError, AdapterError: as `propose`.
    """
    windows, chosen = windows or WindowOptions(), options or ProposalOptions()
    boxes = windows_of(image.size, windows)
    parts: list[Part] = []
    for done, box in enumerate(boxes, 1):
        embedding = model.encode(image.read(0, *box))
        for proposal in propose(model, embedding, adapters, chosen):
            parts.append(_part(proposal, box, image.size))
        progress(done, len(boxes))
    merged = [_one(group, image.size) for group in joined_parts(parts)]
    containment = 0.7 if chosen.containment is None and adapters else chosen.containment
    kept = suppress(
        [one.rle for one in merged], [one.score for one in merged], chosen.overlap, containment
    )
    return tuple(merged[index] for index in kept)


def joined_parts(parts: Sequence[Part]) -> list[list[Part]]:
    """Group the parts of each object."""
    owner = list(range(len(parts)))

    def root(index: int) -> int:
        while owner[index] != index:
            owner[index] = owner[owner[index]]
            index = owner[index]
        return index

    for first, second in _neighbours(parts):
        if _is_same(parts[first], parts[second]):
            owner[root(second)] = root(first)
    groups: dict[int, list[Part]] = {}
    for index, part in enumerate(parts):
        groups.setdefault(root(index), []).append(part)
    return list(groups.values())


# -- private ------------------------------------------------------------------------------


def _starts(length: int, options: WindowOptions) -> list[int]:
    """Where windows begin along an axis: evenly, the last one at the end."""
    if length <= options.side:
        return [0]
    step = options.side - options.overlap
    count = -(-(length - options.side) // step) + 1
    return [round(k * (length - options.side) / (count - 1)) for k in range(count)]


def _part(proposal: Proposal, window: Box, size: tuple[int, int]) -> Part:
    x, y, width, height = proposal.rle.box
    mask = proposal.rle.crop(x, y, x + width, y + height)
    x0, y0, x1, y1 = window
    edges = (
        x == 0 and x0 > 0,
        y == 0 and y0 > 0,
        x + width == x1 - x0 and x1 < size[1],
        y + height == y1 - y0 and y1 < size[0],
    )
    point = proposal.point[0] + x0, proposal.point[1] + y0
    return Part(mask, x + x0, y + y0, window, any(edges), proposal.score, point)


def _neighbours(parts: Sequence[Part]) -> Iterator[tuple[int, int]]:
    """Pairs of parts of different windows whose boxes meet."""
    order = sorted(range(len(parts)), key=lambda index: parts[index].x)
    active: list[int] = []
    for index in order:
        box = parts[index].box
        active = [other for other in active if parts[other].box[2] > box[0]]
        for other in active:
            if parts[other].window != parts[index].window and _common(parts[other].box, box):
                yield other, index
        active.append(index)


def _is_same(first: Part, second: Part) -> bool:
    """Whether two parts are of one object, as far as both windows show it."""
    shared = _common(first.window, second.window)
    if shared is None:
        return False
    one, other = first.inside(shared), second.inside(shared)
    areas = int(np.count_nonzero(one)), int(np.count_nonzero(other))
    both = int(np.count_nonzero(one & other))
    if not both:
        return False
    if both / (sum(areas) - both) >= _AGREE:
        return True
    return first.is_cut and second.is_cut and both / min(areas) >= _COVERED


def _one(group: Sequence[Part], size: tuple[int, int]) -> Proposal:
    """One object of its parts."""
    whole = [part for part in group if not part.is_cut]
    best = max(whole or group, key=lambda part: part.score)
    used = [best] if whole else list(group)
    rle = Rle.from_crops([(part.mask, part.x, part.y) for part in used], size)
    return Proposal(rle, best.score, best.point)


def _common(a: Box, b: Box) -> Box | None:
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
