"""Annotation files as other tools write them, drawn at random, and ways to damage them."""

from __future__ import annotations

import base64
import copy
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as pycoco

from file_scenes import HEIGHT, WIDTH, rectangle

IMAGES = ("a.png", "sub/b.png", "sub/deep/c d.png", "ü.png", "x.y.png")
LABELS = ("cell", "ünï", "no", "a b", "細胞")
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128, 0, 128, 128]
"""The first colours of VOC: as many as an image has objects here, and the ground."""

Files = dict[str, Any]
"""Contents by path: JSON documents, XML trees, texts or images."""


@dataclass(frozen=True)
class Thing:
    """One object: a rectangle of whole pixels, of an image and a class."""

    image: str
    label: str
    box: tuple[int, int, int, int]

    @property
    def mask(self) -> NDArray[np.bool_]:
        return rectangle(*self.box)

    @property
    def corners(self) -> list[list[float]]:
        x0, y0, x1, y1 = self.box
        return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


@st.composite
def things(draw: st.DrawFn) -> list[Thing]:
    """Up to four objects on each of up to three images; those of one image do not overlap."""
    found = []
    for image in draw(st.lists(st.sampled_from(IMAGES), min_size=1, max_size=3, unique=True)):
        for cell in draw(st.lists(st.integers(0, 11), max_size=4, unique=True)):
            left, top = 16 * (cell % 4), 16 * (cell // 4)
            x0, y0 = draw(st.integers(left, left + 15)), draw(st.integers(top, top + 15))
            x1, y1 = draw(st.integers(x0 + 1, left + 16)), draw(st.integers(y0 + 1, top + 16))
            found.append(Thing(image, draw(st.sampled_from(LABELS)), (x0, y0, x1, y1)))
    return found


# -- what tools write ---------------------------------------------------------------------


@st.composite
def coco(draw: st.DrawFn, given: list[Thing]) -> Files:
    """As COCO's own tools, CVAT, Label Studio and others: polygons or run lengths."""
    first = draw(st.sampled_from([0, 1, 1000]))
    prefix = draw(st.sampled_from(["", "./", "img/", "/data/img/", "C:\\img\\"]))
    images = [
        {"id": k, "file_name": prefix + name, "width": WIDTH, "height": HEIGHT}
        for k, name in enumerate(IMAGES, first)
    ]
    numbers = {label: 3 * k + first for k, label in enumerate(LABELS)}
    repeated = draw(st.sampled_from([1000, 1000, 2]))  # files that were put together repeat ids
    annotations = []
    for k, thing in enumerate(given, first):
        x0, y0, x1, y1 = thing.box
        annotations.append(
            {
                "id": k % repeated,
                "image_id": IMAGES.index(thing.image) + first,
                "category_id": numbers[thing.label],
                "segmentation": draw(segmentation(thing)),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": draw(st.sampled_from([0, False, 0.0])),
            }
        )
    categories = [{"id": number, "name": label} for label, number in numbers.items()]
    return {"ann.json": {"images": images, "annotations": annotations, "categories": categories}}


@st.composite
def segmentation(draw: st.DrawFn, thing: Thing) -> Any:
    """The mask in one of the forms that are in use."""
    flat = [value for corner in thing.corners for value in corner]
    kind = draw(st.sampled_from(["polygon", "pairs", "line", "parts", "packed", "runs"]))
    if kind == "polygon":
        return [[float(v) for v in flat]]
    if kind == "pairs":
        return [thing.corners]
    if kind == "line":  # closed, and with a part that encloses nothing
        return [[*flat, *flat[:2]], flat[:4]]
    if kind == "parts":
        x0, y0, x1, y1 = thing.box
        middle = (x0 + x1) // 2
        halves = [b for b in ((x0, y0, middle, y1), (middle, y0, x1, y1)) if b[0] < b[2]]
        return [[a, b, c, b, c, d, a, d] for a, b, c, d in halves]
    if kind == "packed":
        packed = pycoco.encode(np.asfortranarray(thing.mask, dtype=np.uint8))
        return {"size": [HEIGHT, WIDTH], "counts": packed["counts"].decode()}
    column = thing.mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(column.astype(int), prepend=0))
    runs = np.diff(edges, prepend=0, append=column.size)
    return {"size": [HEIGHT, WIDTH], "counts": runs.tolist()}


@st.composite
def labelme(draw: st.DrawFn, given: list[Thing]) -> Files:
    """As labelme and X-AnyLabeling: one file per image."""
    files: Files = {}
    for name in dict.fromkeys(thing.image for thing in given):
        stated = draw(st.booleans())
        files[str(Path(name).with_suffix(".json"))] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [draw(shape(thing)) for thing in given if thing.image == name],
            "imagePath": draw(st.sampled_from(["", ".\\", "/x/"])) + Path(name).name,
            "imageData": None,
            "imageHeight": HEIGHT if stated else draw(st.sampled_from([0, None])),
            "imageWidth": WIDTH if stated else draw(st.sampled_from([0, None])),
        }
    return files


@st.composite
def shape(draw: st.DrawFn, thing: Thing) -> dict[str, Any]:
    """The mask as one of labelme's shapes."""
    x0, y0, x1, y1 = thing.box
    kinds = ["polygon", "rotation", "rectangle", "corners", "mask"]
    kind = draw(st.sampled_from(kinds))
    points: list[list[float]] = thing.corners
    encoded = None
    if kind == "corners":
        points = [[x0, y0], [x1, y1]] if draw(st.booleans()) else [[x1, y0], [x0, y1]]
        kind = "rectangle"
    elif kind == "mask":
        # With a margin, which may reach outside the image.
        left, top = x0 - draw(st.integers(0, 20)), y0 - draw(st.integers(0, 20))
        right, bottom = x1 + draw(st.integers(0, 20)), y1 + draw(st.integers(0, 20))
        values = np.zeros((bottom - top, right - left), np.uint8)
        values[y0 - top : y1 - top, x0 - left : x1 - left] = draw(st.sampled_from([1, 255]))
        file = io.BytesIO()
        Image.fromarray(values).save(file, "PNG")
        encoded = base64.b64encode(file.getvalue()).decode()
        points = [[left, top], [right - 1, bottom - 1]]
    return {
        "label": thing.label,
        "points": points,
        "group_id": None,
        "shape_type": kind,
        "flags": {},
        "mask": encoded,
    }


@st.composite
def yolo(draw: st.DrawFn, given: list[Thing]) -> Files:
    """As Ultralytics, Roboflow, CVAT and LabelImg: text files and a list of names."""
    layout = draw(st.sampled_from(["labels/{}.txt", "{}.txt", "part/labels/{}.txt"]))
    digits = draw(st.sampled_from(["{:.6f}", "{:.9g}", "{!r}"]))
    as_list = json.dumps(list(LABELS), ensure_ascii=False)
    as_lines = "".join(f"\n  {k}: {json.dumps(name)}" for k, name in enumerate(LABELS))
    names = draw(st.sampled_from([as_list, as_lines]))
    files: Files = {"data.yaml": f"path: .\ntrain: images/train\nnames: {names}\n"}
    for name in dict.fromkeys(thing.image for thing in given):
        lines = []
        for thing in (t for t in given if t.image == name):
            x0, y0, x1, y1 = thing.box
            if draw(st.booleans()):
                numbers = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
            else:
                numbers = [value for corner in thing.corners for value in corner]
            shares = [v / (HEIGHT if k % 2 else WIDTH) for k, v in enumerate(numbers)]
            words = [digits.format(share) for share in shares]
            if draw(st.booleans()):
                words.append("0.87")
            number = LABELS.index(thing.label)
            lines.append(" ".join([draw(st.sampled_from([f"{number}", f"{number}.0"])), *words]))
        end = draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
        files[layout.format(Path(name).with_suffix(""))] = end.join(lines) + end
    return files


@st.composite
def voc(draw: st.DrawFn, given: list[Thing]) -> Files:
    """As VOC's kit and CVAT: XML, and images of objects as palettes, grey or colours."""
    mode = draw(st.sampled_from(["P", "L", "RGB"]))
    files: Files = {}
    for name in dict.fromkeys(thing.image for thing in given):
        root = ElementTree.Element("annotation")
        for tag, text in (("folder", "x"), ("filename", Path(name).name)):
            ElementTree.SubElement(root, tag).text = text
        values = np.zeros((HEIGHT, WIDTH), np.uint8)
        for value, thing in enumerate((t for t in given if t.image == name), 1):
            entry = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(entry, "name").text = thing.label
            values[thing.mask] = value
        image = Image.fromarray(values)
        if mode != "L":
            image.putpalette(PALETTE)
        stem = Path(name).with_suffix("")
        files[f"Annotations/{stem}.xml"] = root
        files[f"SegmentationObject/{stem}.png"] = image.convert(mode)
    return files


@st.composite
def masks(draw: st.DrawFn, given: list[Thing]) -> Files:
    """As scientists: label maps, or one image per object."""
    single = draw(st.booleans())
    kind = draw(st.sampled_from([np.uint8, np.uint16]))
    files: Files = {}
    for name in dict.fromkeys(thing.image for thing in given):
        stem = Path(name).with_suffix("")
        values = np.zeros((HEIGHT, WIDTH), kind)
        for value, thing in enumerate((t for t in given if t.image == name), 1):
            values[thing.mask] = value
            if single:
                alone = Image.fromarray(thing.mask.astype(np.uint8) * 255)
                files[f"{stem}/{value}.png"] = alone
        if not single:
            files[f"{stem}.png"] = Image.fromarray(values)
    return files


WRITERS: dict[str, Callable[[list[Thing]], st.SearchStrategy[Files]]] = {
    "coco": coco,
    "labelme": labelme,
    "yolo": yolo,
    "voc": voc,
    "masks": masks,
}


def encoded(content: Any, encoding: str = "utf-8") -> bytes:
    """A file's bytes."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, Image.Image):
        file = io.BytesIO()
        content.save(file, "PNG")
        return file.getvalue()
    if isinstance(content, ElementTree.Element):
        return ElementTree.tostring(content, encoding, xml_declaration=True)
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return text.encode(encoding, "surrogatepass")


def write(folder: Path, files: Files, encoding: str = "utf-8") -> None:
    """Put files on the disk."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(content, encoding))


# -- damage -------------------------------------------------------------------------------

ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    10**30,
    10**400,
    0.5,
    math.nan,
    math.inf,
    "",
    "x",
    "\ud800",
    "a\0b",
    "../../x",
    "\u202e" * 3,
    [],
    {},
    [[]],
    [[[]]],
    {"a": {}},
    [1, 2],
    "9" * 400,
]


@st.composite
def damaged_json(draw: st.DrawFn, document: Any, spare: tuple[str, ...] = ()) -> Any:
    """A document with one value replaced, left out or repeated; keys in `spare` stay."""
    document = copy.deepcopy(document)
    places = [p for p in _places(document) if not set(p) & set(spare)]
    if not places:
        return document
    *above, last = draw(st.sampled_from(places))
    parent = document
    for key in above:
        parent = parent[key]
    how = draw(st.sampled_from(["replace", "remove", "repeat"]))
    if how == "remove":
        del parent[last]
    elif how == "repeat" and isinstance(parent, list):
        parent.insert(last, copy.deepcopy(parent[last]))
    else:
        parent[last] = draw(st.sampled_from(ODD))
    return document


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a JSON value."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    return [place for key in keys for place in ((*path, key), *_places(value[key], (*path, key)))]


@st.composite
def damaged_line(draw: st.DrawFn, line: str) -> str:
    """A line of a text file with one word replaced, left out or repeated."""
    words = line.split()
    at = draw(st.integers(0, len(words) - 1))
    odd = draw(st.sampled_from(["nan", "inf", "-1", "1e400", "x", "0,5", "\x00", "9" * 400, "٣"]))
    how = draw(st.sampled_from(["replace", "remove", "repeat"]))
    words[at : at + 1] = {"replace": [odd], "remove": [], "repeat": [words[at]] * 2}[how]
    return " ".join(words)


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """A file cut off, with bytes changed, or something else altogether."""
    how = draw(st.sampled_from(["cut", "change", "other"]))
    at = draw(st.integers(0, len(data)))
    if how == "cut":
        return data[:at]
    if how == "change":
        return data[:at] + draw(st.binary(max_size=4)) + data[at + 1 :]
    return draw(st.sampled_from([b"", b"\0", b"\xff\xfe", b"[" * 5000, b"{}", b"<a/>", b"\x89PNG"]))
