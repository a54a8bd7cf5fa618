"""Masks of unlabelled things in photographs: stable regions of a merge tree.

An image is cut into a few hundred basins of its colour gradient (watershed), and neighbours that
are alike in colour and texture, with a weak edge and a long border between them, are merged one
pair at a time until one region is left (Arbelaez et al. 2011; Uijlings et al. 2013). Regions that
live long in this tree and are surrounded by strong edges are often objects or parts of objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import watershed

VERSION = 1
"""Rises whenever the same image would give other masks."""

_SIDE = 208
"""Longer side in pixels at which the tree is grown."""
_BANDS = ((0.16, 0.65, 5), (0.05, 0.16, 7), (0.012, 0.05, 7), (0.002, 0.012, 5))
"""Shares of the image's area from, to, and how many masks of such sizes to take."""
_MOST_ALIKE = 0.75
"""IoU of two masks of one image at most."""
_MOST_RIM = 0.5
"""Share of a mask's outline that may lie on the rim of the image."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MergeTree:
    """How the basins of an image merge: nodes 0..n-1 are basins, the last one is the whole image.

    Attributes:
        labels: (h, w) int32, the basin of each pixel of the reduced image.
        members: (2n - 1, n) bool, the basins of each node.
        parent: (2n - 1,) int64, -1 for the last node.
        birth: (2n - 1,) cost of the merge that made the node; never above its parent's.
        death: (2n - 1,) cost of the merge that ended it.
        border: (2n - 1,) length of the outline inside the image, in pixels.
        rim: (2n - 1,) length of the outline on the rim of the image, in pixels.
        edge: (2n - 1,) mean gradient along `border`.
    """

    labels: NDArray[np.int32]
    members: NDArray[np.bool_]
    parent: NDArray[np.int64]
    birth: Values
    death: Values
    border: Values
    rim: Values
    edge: Values

    @property
    def areas(self) -> Values:
        """(2n - 1,) pixels of each node."""
        sizes = np.bincount(self.labels.ravel(), minlength=self.members.shape[1])
        return np.asarray(self.members @ sizes.astype(np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class PseudoMask:
    """A mask (h, w) bool of the reduced image, and how much it looks like a thing."""

    mask: NDArray[np.bool_]
    score: float


def pseudo_masks(image: NDArray[np.uint8]) -> list[PseudoMask]:
    """Up to 24 masks of one photograph, the large ones first; some contain others.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        Masks at reduced resolution: the longer side has 208 pixels, the aspect is the image's.
    """
    tree = merge_tree(image)
    scores = _scores(tree)
    masks = []
    for node in _choose(tree, scores):
        mask = _without_holes(tree.members[node][tree.labels])
        masks.append(PseudoMask(mask, float(scores[node])))
    return masks


def merge_tree(image: NDArray[np.uint8]) -> MergeTree:
    """Merge the basins of an RGB image (H, W, 3) until one is left; deterministic."""
    factor = _SIDE / max(image.shape[:2])
    size = [max(16, round(extent * factor)) for extent in image.shape[1::-1]]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    along_x, along_y, fine = _gradient(lab, 0.8)
    gradient = np.asarray(fine / 2 + _gradient(lab, 2.0)[2], np.float32)
    labels = _basins(gradient)
    direction = (np.arctan2(along_y[..., 0], along_x[..., 0]) % math.pi) * (6 / math.pi)
    strength = np.clip(fine / 3, 0, 3).astype(np.int64)
    pattern = strength * 6 + np.clip(direction.astype(np.int64), 0, 5)
    return _Merging(labels, lab, pattern, gradient).tree()


class _Merging:
    """Regions by number with their statistics as sums, so that merging means adding."""

    def __init__(
        self,
        labels: NDArray[np.int32],
        lab: NDArray[np.float32],
        pattern: NDArray[np.int64],
        gradient: NDArray[np.float32],
    ) -> None:
        self.labels = labels
        flat = labels.ravel()
        count = int(flat.max()) + 1
        self.count = count
        self.area = np.bincount(flat, minlength=count).astype(np.float64)
        self.colour = np.stack(
            [np.bincount(flat, lab[..., c].ravel(), count) for c in range(3)], axis=1
        ) * (0.05, 0.08, 0.08)
        shares = [lab[..., 0] / 10, (lab[..., 1] + 50) / 10, (lab[..., 2] + 50) / 10]
        tones = [_histogram(flat, np.clip(v, 0, 9).astype(np.int64).ravel(), 10) for v in shares]
        # One histogram for all: colours weigh 0.6 in total, the texture 0.3.
        self.histogram = np.concatenate(
            [0.2 * tone for tone in tones] + [0.3 * _histogram(flat, pattern.ravel(), 24)], axis=1
        )
        self.length, self.edge = _borders(labels, gradient, count)
        rims = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        self.rim = np.bincount(rims, minlength=count).astype(np.float64)
        self.border = self.length.sum(1)

    def costs(self, one: NDArray[np.int64] | int, others: NDArray[np.int64]) -> Values:
        """Cost of merging region(s) `one` with each of `others`, which must be neighbours."""
        area, theirs = self.area[one], self.area[others]
        mine = np.atleast_1d(np.asarray(area))[:, None]
        colour = self.colour[one] / mine - self.colour[others] / theirs[:, None]
        overlap = np.minimum(self.histogram[one] / mine, self.histogram[others] / theirs[:, None])
        length = self.length[one, others]
        unlike = np.sqrt((colour**2).sum(1)) + 0.9 - overlap.sum(1)
        unlike += 0.2 * self.edge[one, others] / length
        outline = np.where(
            area < theirs,
            self.border[one] + self.rim[one],
            self.border[others] + self.rim[others],
        )
        size = (np.minimum(area, theirs) / self.labels.size) ** 0.25
        return np.asarray(unlike * size * (1 - 0.8 * length / outline))

    def tree(self) -> MergeTree:
        count, nodes = self.count, 2 * self.count - 1
        members = np.zeros((nodes, count), bool)
        members[:count] = np.eye(count, dtype=bool)
        parent = np.full(nodes, -1, np.int64)
        birth, death, border, rim, edge = np.zeros((5, nodes))
        border[:count], rim[:count] = self.border, self.rim
        edge[:count] = self.edge.sum(1) / np.maximum(self.border, 1)
        table = np.full((count, count), np.inf)
        first, second = np.nonzero(self.length)
        table[first, second] = self.costs(first, second)
        cheapest = table.min(1)
        node_of = np.arange(count)
        cost = 0.0
        for new in range(count, nodes):
            one = int(cheapest.argmin())
            other = int(table[one].argmin())
            cost = max(cost, float(table[one, other]))
            old = node_of[[one, other]]
            death[old], parent[old], birth[new] = cost, new, cost
            members[new] = members[old].any(0)
            self._merge(one, other)
            node_of[one] = new
            border[new], rim[new] = self.border[one], self.rim[one]
            edge[new] = self.edge[one].sum() / max(border[new], 1)
            table[[one, other]] = np.inf
            table[:, [one, other]] = np.inf
            cheapest[[one, other]] = np.inf
            near = np.flatnonzero(self.length[one])
            if len(near):
                table[one, near] = table[near, one] = self.costs(one, near)
                cheapest[near] = table[near].min(1)
                cheapest[one] = table[one, near].min()
        death[-1] = cost
        return MergeTree(self.labels, members, parent, birth, death, border, rim, edge)

    def _merge(self, one: int, other: int) -> None:
        inner = self.length[one, other]
        for values in (self.area, self.colour, self.histogram, self.rim, self.border):
            values[one] += values[other]
        self.border[one] -= 2 * inner
        for table in (self.length, self.edge):
            table[one] += table[other]
            table[one, [one, other]] = 0
            table[:, one] = table[one]
            table[other] = 0
            table[:, other] = 0


def _gradient(
    lab: NDArray[np.float32], sigma: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Derivatives (h, w, 3) along x and y of the blurred image, and the gradient's length."""
    blurred = cv2.GaussianBlur(lab, (0, 0), sigma)
    along_x = cv2.Scharr(blurred, cv2.CV_32F, 1, 0, scale=1 / 32)
    along_y = cv2.Scharr(blurred, cv2.CV_32F, 0, 1, scale=1 / 32)
    length = np.sqrt((along_x**2 + along_y**2).sum(2))
    return along_x, along_y, length.astype(np.float32)


def _basins(gradient: NDArray[np.float32]) -> NDArray[np.int32]:
    """Watershed from the minima within 7 x 7 pixels; numbers 0..n-1."""
    smooth = cv2.GaussianBlur(gradient, (0, 0), 0.7)
    minima = cv2.erode(smooth, np.ones((7, 7), np.uint8)) == smooth
    markers = cv2.connectedComponents(minima.astype(np.uint8))[1]
    return np.asarray(watershed(smooth, markers) - 1, np.int32)


def _histogram(labels: NDArray[np.int32], values: NDArray[np.int64], bins: int) -> Values:
    """(regions, bins) counts."""
    count = int(labels.max()) + 1
    joint = np.bincount(labels.astype(np.int64) * bins + values, minlength=count * bins)
    return joint.reshape(count, bins).astype(np.float64)


def _borders(
    labels: NDArray[np.int32], gradient: NDArray[np.float32], count: int
) -> tuple[Values, Values]:
    """Length of the border between any two regions (n, n), and the sum of gradients along it."""
    pairs, edges = [], []
    for one, other in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
    ):
        border = labels[one] != labels[other]
        pairs.append(labels[one][border].astype(np.int64) * count + labels[other][border])
        edges.append(np.maximum(gradient[one][border], gradient[other][border]))
    joint = np.concatenate(pairs)
    length = np.bincount(joint, minlength=count**2).reshape(count, count).astype(np.float64)
    total = np.bincount(joint, np.concatenate(edges), count**2)
    edge = total.reshape(count, count).astype(np.float64)
    return length + length.T, edge + edge.T


def _scores(tree: MergeTree) -> Values:
    """(2n - 1,) how much each node looks like a thing: long life, strong edges, off the rim."""
    basins = tree.members.shape[1]
    life = np.zeros(len(tree.birth))
    typical = np.percentile(tree.death[basins:], 90) if basins > 1 else 1.0
    life[basins:] = np.clip((tree.death - tree.birth)[basins:] / (typical + 1e-9), 0, 1)
    usual = np.median(tree.edge[:basins])
    contrast = np.log((tree.edge + 1) / (usual + 1))
    return np.asarray(life + contrast - _rim_share(tree))


def _rim_share(tree: MergeTree) -> Values:
    return np.asarray(tree.rim / np.maximum(tree.rim + tree.border, 1))


def _choose(tree: MergeTree, scores: Values) -> list[int]:
    """The best nodes of each size, no two alike."""
    sizes = np.bincount(tree.labels.ravel(), minlength=tree.members.shape[1]).astype(np.float64)
    areas = tree.areas
    share = areas / tree.labels.size
    round_enough = 4 * math.pi * areas > 0.06 * (tree.border + tree.rim) ** 2
    allowed = (_rim_share(tree) < _MOST_RIM) & round_enough
    chosen: list[int] = []
    for smallest, largest, most in _BANDS:
        fitting = np.flatnonzero(allowed & (share > smallest) & (share <= largest))
        taken = 0
        for node in fitting[np.argsort(-scores[fitting], kind="stable")]:
            if taken == most:
                break
            overlap = (tree.members[chosen] & tree.members[node]) @ sizes
            union = areas[chosen] + areas[node] - overlap
            if (overlap <= _MOST_ALIKE * union).all():
                chosen.append(int(node))
                taken += 1
    return chosen


def _without_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill holes smaller than a tenth of the mask, and smooth its outline a little."""
    filled = mask.astype(np.uint8)
    reached = np.pad(filled, 1)
    cv2.floodFill(reached, None, (0, 0), 1)
    holes = reached[1:-1, 1:-1] == 0
    if holes.any():
        labels, stats = cv2.connectedComponentsWithStats(holes.astype(np.uint8), connectivity=4)[
            1:3
        ]
        small = stats[:, cv2.CC_STAT_AREA] < 0.1 * np.count_nonzero(mask)
        small[0] = False  # what is no hole
        filled[small[labels]] = 1
    return np.asarray(cv2.GaussianBlur(filled.astype(np.float32), (0, 0), 0.8) > 0.5)
