"""`AnnotationWidget`: a session as a Jupyter widget. Its page's part is `notebook.js`."""

from __future__ import annotations

import io
import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray
from PIL import Image

from samadapt.data.coco import CocoDataset
from samadapt.data.files import new_folder
from samadapt.data.images import ImageLike, read_image
from samadapt.data.records import CocoImage, NewObject
from samadapt.data.rle import Rle
from samadapt.errors import PromptError, SamadaptError, SessionError
from samadapt.session.session import Session

Mask = NDArray[np.bool_]
Result = TypeVar("Result")

_HERE = Path(__file__).parent
_CURRENT = (25, 200, 230, 150)
_COLOURS = ((240, 140, 20), (150, 90, 240), (60, 180, 75), (230, 60, 130), (250, 220, 40))
_TINT = 130


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """An object that was accepted in a widget.

    Attributes:
        image: name of its image.
        label: its class.
        rle: its mask, compressed.
        clicks: number of its clicks and boxes.
    """

    image: str
    label: str
    rle: Rle
    clicks: int

    @property
    def mask(self) -> Mask:
        """(H, W) bool."""
        return self.rle.mask()


class AnnotationWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """A session in a notebook; see `samadapt.widget`.

    All actions of the page are methods with the same names.

    Args:
        session: the session; it has no image open.
        label: first label of accepted objects.
    """

    _esm = _HERE / "notebook.js"
    _css = _HERE / "notebook.css"

    label = traitlets.Unicode("object").tag(sync=True)
    width = traitlets.Int(0).tag(sync=True)
    height = traitlets.Int(0).tag(sync=True)
    _picture = traitlets.Bytes(b"").tag(sync=True)
    _mask = traitlets.Bytes(b"").tag(sync=True)
    _accepted = traitlets.Bytes(b"").tag(sync=True)
    _state = traitlets.Dict().tag(sync=True)

    def __init__(self, session: Session, label: str = "object") -> None:
        super().__init__(label=label)
        self.session = session
        self._images: dict[str, NDArray[np.uint8]] = {}
        self._objects: list[AnnotatedObject] = []
        self._name = ""
        self._answered = 0
        self.on_msg(self._heard)

    @property
    def objects(self) -> tuple[AnnotatedObject, ...]:
        """Everything accepted so far, on all images, in order."""
        return tuple(self._objects)

    @property
    def masks(self) -> Mask:
        """The accepted masks of the open image, (N, H, W)."""
        found = [thing.mask for thing in self._objects if thing.image == self._name]
        return np.stack(found) if found else np.zeros((0, self.height, self.width), np.bool_)

    @property
    def mask(self) -> Mask | None:
        """The mask (H, W) of the object in progress."""
        return self.session.mask

    # -- actions --------------------------------------------------------------------------

    def open_image(self, image: ImageLike, name: str | None = None) -> None:
        """Open another image; the learned state and accepted objects are kept.

        Raises:
            ImageError: unreadable, truncated or empty image.
        """
        pixels = read_image(image)
        if name is None:
            name = f"image-{len(self._images) + 1}.png"
            if isinstance(image, str | os.PathLike):
                name = Path(image).name
        known = self._images.get(name)
        if known is not None and not np.array_equal(known, pixels):
            raise SessionError(f"another image has the name {name}: give name=...")
        self.session.open(pixels, name=name)
        self._images[name], self._name = pixels, name
        self.height, self.width = pixels.shape[:2]
        self._picture = _png(pixels)
        self._tell(everything=True)

    def click(self, x: float, y: float, positive: bool = True) -> Mask:
        """Click on the object, or on the background; returns the mask."""
        return self._done(lambda: self.session.click(x, y, positive))

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Mask:
        """Draw a box around the object; returns the mask."""
        return self._done(lambda: self.session.box(x0, y0, x1, y1))

    def undo(self) -> Mask | None:
        """Undo the last click or box."""
        return self._done(self.session.undo)

    def redo(self) -> Mask | None:
        """Redo the click or box undone last."""
        return self._done(self.session.redo)

    def clear(self) -> None:
        """Clear the object in progress."""
        self._done(self.session.skip)

    def accept(self, label: str | None = None) -> Mask:
        """Accept the mask as an object; the adapters learn from it.

        Args:
            label: its class; defaults to the widget's field.

        Raises:
            SessionError: there is no mask, or it is empty.
        """
        chosen = self.label if label is None else label
        said = len(self.session.clicks) + (self.session.current_box is not None)
        mask = self._done(lambda: self.session.accept(label=chosen or None))
        thing = AnnotatedObject(self._name, chosen, Rle.from_mask(mask), said)
        self._objects.append(thing)
        self._tell(everything=True)
        return mask

    def save(self, folder: str | os.PathLike[str]) -> CocoDataset:
        """Write the images and the accepted objects as a COCO dataset, which it returns.

        `samadapt.fit` teaches a task from it.

        Args:
            folder: a new folder; it gets `images/` and `annotations.json`.

        Raises:
            SessionError: nothing was accepted yet.
            DataError: a folder that exists, or cannot be written.
        """
        if not self._objects:
            raise SessionError("nothing was accepted yet: accept an object first")
        numbers = {name: number for number, name in enumerate(self._images, 1)}
        files = {
            name: f"{Path(name).stem or 'image'}-{number}.png" for name, number in numbers.items()
        }
        with new_folder(folder) as place:
            (place / "images").mkdir()
            for name, pixels in self._images.items():
                Image.fromarray(pixels).save(place / "images" / files[name])
            images = tuple(
                CocoImage(numbers[name], files[name], pixels.shape[1], pixels.shape[0])
                for name, pixels in self._images.items()
            )
            things = [
                NewObject(numbers[o.image], o.label or "object", o.rle) for o in self._objects
            ]
            path = place / "annotations.json"
            CocoDataset(images, source=str(path)).with_objects(things).save(path)
        return CocoDataset.load(Path(folder) / "annotations.json", Path(folder) / "images")

    # -- private --------------------------------------------------------------------------

    def _done(self, action: Callable[[], Result]) -> Result:
        result = action()
        self._tell()
        return result

    def _heard(self, widget: Any, content: Any, buffers: Any) -> None:
        """Handle a message of the page; errors are shown there in one line."""
        problem = ""
        try:
            if not isinstance(content, Mapping):
                raise PromptError(f"the page sent {content!r:.100}")
            self._do(content)
        except SamadaptError as error:
            problem = " ".join(str(error).split())
        self._answered += 1
        self._tell(problem=problem)

    def _do(self, content: Mapping[str, Any]) -> None:
        kind = content.get("kind")
        if kind == "click":
            x, y = _numbers(content, "x", "y")
            self.session.click(x, y, bool(content.get("positive", True)))
        elif kind == "box":
            self.session.box(*_numbers(content, "x0", "y0", "x1", "y1"))
        elif kind in ("undo", "redo", "clear", "accept"):
            operator.methodcaller(str(kind))(self)
        else:
            raise PromptError(f"the page sent {kind!r:.100}, which is no action")

    def _tell(self, problem: str = "", *, everything: bool = False) -> None:
        """Bring the page up to date."""
        session, here = self.session, [o for o in self._objects if o.image == self._name]
        mask = session.mask
        with self.hold_sync():
            self._mask = b"" if mask is None else _tinted([(mask, _CURRENT)])
            if everything:
                coloured = [
                    (thing.mask, (*_COLOURS[number % len(_COLOURS)], _TINT))
                    for number, thing in enumerate(here)
                ]
                self._accepted = _tinted(coloured) if coloured else b""
            box = session.current_box
            self._state = {
                "clicks": [[c.x, c.y, c.positive] for c in session.clicks],
                "box": None if box is None else list(box.as_tuple()),
                "can_undo": session.can_undo,
                "objects": len(here),
                "problem": problem,
                "answered": self._answered,
            }


def _numbers(content: Mapping[str, Any], *names: str) -> tuple[float, ...]:
    values = [content.get(name) for name in names]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise PromptError(f"the page sent {values!r:.100} as {', '.join(names)}: give numbers")
    return tuple(float(v) for v in values if v is not None)


def _tinted(layers: list[tuple[Mask, tuple[int, int, int, int]]]) -> bytes:
    """A transparent picture with each mask in its colour (red, green, blue, opacity)."""
    height, width = layers[0][0].shape
    canvas = np.zeros((height, width, 4), np.uint8)
    for mask, colour in layers:
        canvas[mask] = colour
    return _png(canvas)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()
