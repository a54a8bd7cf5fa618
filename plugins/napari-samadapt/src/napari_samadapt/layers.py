"""`Layers`: the napari layers that a person clicks, draws and paints in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_samadapt.client import Prompts
from napari_samadapt.masks import Mask
from napari_samadapt.planes import Plane, spatial_shape

OBJECT, BACKGROUND = "object", "background"
KINDS = (OBJECT, BACKGROUND)


class Layers:
    """Layers with the prompts and the mask of the object under way, proposals and accepted objects.

    In napari's coordinates (row, column) the centre of a pixel is at whole numbers; in samadapt's
    coordinates (x, y) it is at whole numbers plus 0.5.

    Args:
        viewer: the viewer.
        image: the image layer that is segmented.
    """

    def __init__(self, viewer: Any, image: Any) -> None:
        self._viewer, self.image = viewer, image
        self.shape = spatial_shape(image)
        dims = len(self.shape)
        same = {"scale": image.scale[-dims:], "translate": image.translate[-dims:]}
        flat = {name: values[-2:] for name, values in same.items()}
        size = max(3.0, max(self.size) / 100)
        self._quiet = 0
        self.objects = viewer.add_labels(np.zeros(self.shape, np.int32), name="objects", **same)
        self.objects.editable = False
        self.proposals = viewer.add_labels(
            np.zeros(self.size, np.int32), name="proposals", opacity=0.4, **flat
        )
        self.proposals.editable = False
        self.current = viewer.add_labels(np.zeros(self.size, np.uint8), name="current", **flat)
        self.boxes = viewer.add_shapes(
            ndim=dims, name="boxes", face_color="transparent", edge_color="yellow", **same
        )
        self.points = viewer.add_points(
            np.empty((0, dims)),
            name="points",
            features=pd.DataFrame({"kind": pd.Categorical([], categories=KINDS)}),
            feature_defaults={"kind": OBJECT},
            face_color="kind",
            face_color_cycle={OBJECT: "limegreen", BACKGROUND: "red"},
            size=size,
            **same,
        )
        self.points.mode = "add"
        viewer.layers.selection.active = self.points

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a plane in pixels."""
        return self.shape[-2], self.shape[-1]

    @property
    def all(self) -> tuple[Any, ...]:
        """All layers of the plugin, from the bottom to the top."""
        return self.objects, self.proposals, self.current, self.boxes, self.points

    @property
    def is_quiet(self) -> bool:
        """True while the plugin itself changes the layers."""
        return self._quiet > 0

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Mark changes of the layers within the block as made by the plugin, not by the person."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    def toggle_kind(self) -> str:
        """Switch the next points between object and background; returns their new kind."""
        now = str(self.points.feature_defaults["kind"].iloc[0])
        other = BACKGROUND if now == OBJECT else OBJECT
        with self.quietly():
            self.points.selected_data = set()  # or the selected points would change as well
            self.points.feature_defaults = {"kind": other}
        return other

    # -- prompts --------------------------------------------------------------------------

    def prompts(self, plane: Plane) -> Prompts:
        """Return the points on a plane and the last box that was drawn there."""
        clicks = []
        for place, kind in zip(self.points.data, self.points.features["kind"], strict=True):
            if self._is_on(place, plane):
                x, y = self._inside(float(place[-1]) + 0.5, float(place[-2]) + 0.5)
                clicks.append((x, y, kind != BACKGROUND))
        boxes = [corners for corners in self.boxes.data if self._is_on(corners[0], plane)]
        box = None
        if boxes:
            corners = np.asarray(boxes[-1], float)[:, -2:] + 0.5
            (top, left), (bottom, right) = corners.min(axis=0), corners.max(axis=0)
            box = (*self._inside(left, top), *self._inside(right, bottom))
            if box[2] - box[0] < 1 or box[3] - box[1] < 1:
                box = None  # a click with the tool for boxes
        return Prompts(tuple(clicks), box)

    def show_prompts(self, plane: Plane, prompts: Prompts) -> None:
        """Replace the points and boxes on a plane by these prompts."""
        if self.prompts(plane) == prompts and len(self._boxes_on(plane)) <= 1:
            return
        places = [(*plane.index, y - 0.5, x - 0.5) for x, y, _ in prompts.clicks]
        kinds = [OBJECT if positive else BACKGROUND for *_, positive in prompts.clicks]
        kept = [k for k, at in enumerate(self.points.data) if not self._is_on(at, plane)]
        next_kind = self.points.feature_defaults
        with self.quietly():
            all_kinds = [*self.points.features["kind"].iloc[kept], *kinds]
            data = np.array([*self.points.data[kept], *places]).reshape(-1, len(self.shape))
            self.points.selected_data = set()
            self.points.data = data
            self.points.features = pd.DataFrame({"kind": pd.Categorical(all_kinds, KINDS)})
            self.points.feature_defaults = next_kind
            self.points.refresh_colors(update_color_mapping=False)
            gone = self._boxes_on(plane)
            self.boxes.selected_data = set(gone)
            self.boxes.remove_selected()
            if prompts.box is not None:
                left, top, right, bottom = (side - 0.5 for side in prompts.box)
                ends = [(top, left), (top, right), (bottom, right), (bottom, left)]
                self.boxes.add_rectangles(np.array([[(*plane.index, *end) for end in ends]]))
                self.boxes.selected_data = set()

    # -- masks ----------------------------------------------------------------------------

    def show_current(self, mask: Mask) -> None:
        """Show the mask (H, W) of the object under way."""
        self.current.data = mask.astype(np.uint8)
        self.current.selected_label = 1

    def painted(self) -> Mask:
        """Return the mask (H, W) of the object under way, with what the person painted."""
        return np.asarray(self.current.data) > 0

    def show_objects(self, plane: Plane, objects: list[tuple[int, Mask]]) -> None:
        """Show the accepted objects (number, mask) of a plane; pixels have the object's number."""
        values = np.zeros(self.size, np.int32)
        for number, mask in objects:
            if mask.shape == values.shape:
                values[mask] = number
        self.objects.data[plane.index] = values
        self.objects.refresh()

    def show_proposals(self, masks: list[Mask]) -> None:
        """Show the masks (H, W) of proposals; the pixels of the first have the value 1."""
        values = np.zeros(self.size, np.int32)
        for value, mask in reversed(list(enumerate(masks, 1))):
            values[mask] = value
        self.proposals.data = values

    def under_cursor(self, layer: Any) -> int:
        """Return the value of a labels layer under the mouse; 0 outside of all objects."""
        found = layer.get_value(self._viewer.cursor.position, world=True)
        return int(found) if found is not None else 0

    # -- private --------------------------------------------------------------------------

    def _is_on(self, place: NDArray[Any], plane: Plane) -> bool:
        return tuple(round(float(at)) for at in place[:-2]) == plane.index

    def _boxes_on(self, plane: Plane) -> list[int]:
        return [k for k, corners in enumerate(self.boxes.data) if self._is_on(corners[0], plane)]

    def _inside(self, x: float, y: float) -> tuple[float, float]:
        height, width = self.size
        return float(min(max(x, 0.0), width)), float(min(max(y, 0.0), height))
