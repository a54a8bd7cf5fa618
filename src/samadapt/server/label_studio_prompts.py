"""Label Studio's formats: labelling configurations, prompts and brush masks in result lists."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from samadapt.data.label_studio import mask_to_brush, upright_corners
from samadapt.errors import DataError, SamadaptError
from samadapt.prompts import Box, Click
from samadapt.server.json_bodies import check_json

Json = Mapping[str, Any]
Mask = NDArray[np.bool_]

_LEAST_OVERLAP = 0.5
_LONGEST_CONFIG = 1 << 20
_LONGEST_NAME = 500


@dataclass(frozen=True, slots=True)
class Tags:
    """Names in a labelling configuration: image tag, its data field, brush tag and its labels."""

    image: str
    field: str
    brush: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """The prompts of one object: clicks, a box, and its label."""

    clicks: tuple[Click, ...]
    box: Box | None
    label: str

    def about(self, mask: Mask) -> Said | None:
        """Return the prompts that agree with a mask (H, W); None if no box or positive click does.

        Positive clicks agree if they are inside the mask, negative ones if outside, a box if its
        IoU with the bounding box of the mask is at least 0.5.
        """
        box = self.box if self.box is not None and _overlap(self.box, mask) else None
        clicks = tuple(c for c in self.clicks if _is_in(c, mask) == c.positive)
        if box is None and not any(c.positive for c in clicks):
            return None
        return Said(clicks, box, self.label)


def read_tags(config: str) -> Tags:
    """Read the names in a labelling configuration (XML).

    Raises:
        DataError: the text is not XML, is too long, or has no image or no brush.
    """
    if len(config) > _LONGEST_CONFIG:
        raise DataError(f"the labelling configuration is longer than {_LONGEST_CONFIG} characters")
    try:
        if "<!DOCTYPE" in config or "<!ENTITY" in config:
            raise DataError("the labelling configuration has a document type: remove it")
        root = ElementTree.fromstring(config or "<View/>")  # noqa: S314
    except ElementTree.ParseError as error:
        raise DataError(f"the labelling configuration is not XML ({error})") from None
    brush = root.find(".//BrushLabels")
    image = root.find(".//Image")
    if brush is None or image is None:
        raise DataError(
            "the labelling configuration needs <Image> and <BrushLabels>: masks are answered there"
        )
    labels = tuple(e.get("value", "") for e in brush.iter("Label"))
    field = (image.get("value") or "$image").lstrip("$")
    return Tags(image.get("name", "image"), field, brush.get("name", "brush"), labels)


def read_prompts(results: Sequence[Any], tags: Tags, label: str | None = None) -> Said | None:
    """Return the clicks and the box in a list of results, of one label if given; None if none."""
    clicks: list[Click] = []
    box, found = None, label
    for result in results:
        if not isinstance(result, Mapping) or not isinstance(result.get("value"), Mapping):
            continue
        value, kind = result["value"], str(result.get("type"))
        if kind not in ("keypointlabels", "rectanglelabels", "keypoint", "rectangle"):
            continue
        own = first_name(value.get(kind))
        if label is not None and own not in (None, label):
            continue
        try:
            is_click = kind.startswith("keypoint")
            corners, (height, width) = _corners(result, value, is_click)
            found = found or own
            if is_click:
                clicks.append(Click(*corners[0], _is_positive(result)))
            else:
                xs, ys = zip(*corners, strict=True)
                box = Box(
                    max(min(xs), 0), max(min(ys), 0), min(max(xs), width), min(max(ys), height)
                )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, SamadaptError):
                raise
            raise DataError(f"a prompt of Label Studio is incomplete: {error}") from None
    if not clicks and box is None:
        return None
    return Said(tuple(clicks), box, found or (tags.labels[0] if tags.labels else "object"))


def _corners(
    result: Json, value: Json, is_click: bool
) -> tuple[list[tuple[float, float]], tuple[int, int]]:
    """Return the corners (x, y) of a point or box in the upright image, and its (height, width)."""
    sides = result.get("original_height") or 0, result.get("original_width") or 0
    size = int(float(sides[0])), int(float(sides[1]))
    corners = upright_corners(
        float(value["x"]),
        float(value["y"]),
        0 if is_click else float(value["width"]),
        0 if is_click else float(value["height"]),
        size=size,
        turned=0 if is_click else float(value.get("rotation") or 0),
        view=float(result.get("image_rotation") or 0),
    )
    return corners, size


def brush_result(mask: Mask, label: str, tags: Tags, score: float) -> Json:
    """Return a mask (H, W) as a brush result in Label Studio's format."""
    return {
        "id": uuid.uuid4().hex[:10],
        "from_name": tags.brush,
        "to_name": tags.image,
        "type": "brushlabels",
        "original_width": mask.shape[1],
        "original_height": mask.shape[0],
        "image_rotation": 0,
        "origin": "manual",
        "score": score,
        "value": {"format": "rle", "rle": mask_to_brush(mask), "brushlabels": [label]},
    }


def read_json(text: Any) -> Json:
    """Return a mapping, decoded if it is given as JSON text; an empty one for anything else.

    Raises:
        DataError: `check_json` refuses the text.
    """
    if isinstance(text, str):
        check_json(text.encode("utf-8", "surrogatepass"))
        try:
            text = json.loads(text)
        except (ValueError, RecursionError):
            return {}
    return text if isinstance(text, Mapping) else {}


def items(value: Any) -> list[Any]:
    """Return a value if it is a list, else an empty list."""
    return value if isinstance(value, list) else []


def first_name(names: Any) -> str | None:
    """Return the first label of a result; None if it has none.

    Raises:
        DataError: the label is not a text, or is too long.
    """
    if not items(names):
        return None
    if not isinstance(names[0], str) or len(names[0]) > _LONGEST_NAME:
        raise DataError(f"a label is a text of at most {_LONGEST_NAME} characters")
    return names[0]


def _is_positive(result: Json) -> bool:
    given = result.get("is_positive")
    return bool(int(given)) if given is not None else True


def _is_in(click: Click, mask: Mask) -> bool:
    row = min(max(int(click.y), 0), mask.shape[0] - 1)
    column = min(max(int(click.x), 0), mask.shape[1] - 1)
    return bool(mask[row, column])


def _overlap(box: Box, mask: Mask) -> bool:
    """Return True if the IoU of a box and the bounding box of a mask is at least 0.5."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return False
    left, top, right, bottom = box.as_tuple()
    x, y, x_end, y_end = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    common = max(min(right, x_end) - max(left, x), 0) * max(min(bottom, y_end) - max(top, y), 0)
    union = (right - left) * (bottom - top) + (x_end - x) * (y_end - y) - common
    return bool(common >= _LEAST_OVERLAP * union)
