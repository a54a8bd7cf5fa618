"""What happened in a session, as values: one frozen dataclass per kind of event, and its JSON."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.errors import SessionError
from samadapt.session.options import SessionOptions

FORMAT_VERSION = 1
_DAMAGED = "damaged event ({}): restore the log from a copy"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """Which image: enough to find it again, and to notice when it is another one.

    Attributes:
        height, width: size in pixels, EXIF orientation applied.
        name: what to call it; the file's name by default.
        path: absolute path of the file, None for an image that came as an array.
        content_hash: SHA-256 over the size and the RGB bytes; None when only an embedding of the
            image was given.
    """

    height: int
    width: int
    name: str | None = None
    path: str | None = None
    content_hash: str | None = None

    def __str__(self) -> str:
        if self.path or self.name:
            return str(self.path or self.name)
        kind = f"{self.content_hash[:12]} " if self.content_hash else ""
        return f"image {kind}of {self.width} x {self.height} pixels"


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    kind: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Opened(Event):
    """An image was opened; an unfinished object of the image before is given up.

    Attributes:
        image: which one.
        model, weights_hash, preprocessing: who encoded it.
        adapters: names of the methods, in the order in which they apply.
        options: the session's.
        samadapt_version: which wrote this.
    """

    kind: ClassVar[str] = "opened"
    image: ImageReference
    model: str
    weights_hash: str
    preprocessing: str
    adapters: tuple[str, ...]
    options: SessionOptions
    samadapt_version: str


@dataclass(frozen=True, slots=True)
class Clicked(Event):
    """A click at (x, y), on the object or (positive=False) on the background."""

    kind: ClassVar[str] = "clicked"
    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Boxed(Event):
    """A box was drawn; it replaces an earlier one."""

    kind: ClassVar[str] = "boxed"
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Undone(Event):
    """The last click, box, choice or reset was taken back."""

    kind: ClassVar[str] = "undone"


@dataclass(frozen=True, slots=True)
class Redone(Event):
    """What was taken back last was done again."""

    kind: ClassVar[str] = "redone"


@dataclass(frozen=True, slots=True)
class Reset(Event):
    """All clicks and the box of the current object were removed."""

    kind: ClassVar[str] = "reset"


@dataclass(frozen=True, slots=True)
class Chosen(Event):
    """Another one of the candidate masks was chosen."""

    kind: ClassVar[str] = "chosen"
    index: int


@dataclass(frozen=True, slots=True)
class Accepted(Event):
    """The mask was accepted as an object.

    Attributes:
        object_id: 1, 2, 3, ... over the whole log.
        label: the class, if one was given.
        height, width, counts: the mask as COCO's compressed run-length encoding.
    """

    kind: ClassVar[str] = "accepted"
    object_id: int
    label: str | None
    height: int
    width: int
    counts: str

    @classmethod
    def from_mask(cls, object_id: int, label: str | None, mask: NDArray[np.bool_]) -> Accepted:
        """The event for `mask` (H, W) bool."""
        rle = Rle.from_mask(mask)
        return cls(object_id, label, *rle.size, rle.counts.decode("ascii"))

    def mask(self) -> NDArray[np.bool_]:
        """The accepted mask, (H, W) bool.

        Raises:
            DataError: run lengths that do not fill the image.
        """
        return Rle((self.height, self.width), self.counts.encode()).mask()


@dataclass(frozen=True, slots=True)
class Skipped(Event):
    """The current object was given up without a mask."""

    kind: ClassVar[str] = "skipped"


KINDS: Mapping[str, type[Event]] = {
    kind.kind: kind
    for kind in (Opened, Clicked, Boxed, Undone, Redone, Reset, Chosen, Accepted, Skipped)
}


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a log.

    Attributes:
        sequence: 0, 1, 2, ...; the order of events.
        time: seconds since 1970 by the wall clock, for people only: clocks jump.
        event: what happened.
    """

    sequence: int
    time: float
    event: Event

    def to_json(self) -> str:
        """One line of JSON, with a checksum (CRC-32) that tells damage from content."""
        body = {
            "version": FORMAT_VERSION,
            "sequence": self.sequence,
            "time": self.time,
            "kind": self.event.kind,
            **_plain(self.event),
        }
        return _dump({**body, "crc": _checksum(body)})

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read what `to_json` wrote.

        Raises:
            SessionError: damaged, of a newer version, or of an unknown kind.
        """
        body = _parse(text)
        version = body.pop("version", None)
        if type(version) is not int or version < 1:
            raise SessionError("not an event of samadapt (it has no version number)")
        if version > FORMAT_VERSION:
            raise SessionError(
                f"event of format version {version}, this samadapt reads up to {FORMAT_VERSION}: "
                "install a newer samadapt"
            )
        checksum = body.pop("crc", None)
        if checksum != _checksum({"version": version, **body}):
            raise SessionError(_DAMAGED.format("its checksum does not match"))
        kind = KINDS.get(str(body.pop("kind", "")))
        if kind is None:
            raise SessionError(f"unknown kind of event in {text[:80]!r}: install a newer samadapt")
        sequence = _value(int, body.pop("sequence", None), "sequence")
        time = _value(float, body.pop("time", None), "time")
        return cls(sequence, time, _build(kind, body))


# -- plain JSON values to and from dataclasses ------------------------------------------------


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _dump(body: Mapping[str, Any]) -> str:
    return json.dumps(body, allow_nan=False, separators=(",", ":"))


def _checksum(body: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(_dump(body).encode()):08x}"


def _parse(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        raise SessionError(_DAMAGED.format("not a line of JSON")) from None
    if not isinstance(body, dict):
        raise SessionError(_DAMAGED.format("not a JSON object"))
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _build(kind: Any, body: Any) -> Any:
    name = getattr(kind, "kind", kind.__name__)
    if not isinstance(body, dict):
        raise SessionError(f"event field {name}: expected an object, found {body!r}")
    known = {f.name: f for f in fields(kind)}
    if unknown := sorted(set(body) - set(known)):
        raise SessionError(f"event {name!r} has unknown fields {unknown}: install a newer samadapt")
    missing = [n for n, f in known.items() if n not in body and f.default is MISSING]
    if missing:
        raise SessionError(f"event {name!r} lacks the fields {missing}")
    types = get_type_hints(kind)
    return kind(**{key: _value(types[key], value, f"{name}.{key}") for key, value in body.items()})


def _value(kind: Any, value: Any, name: str) -> Any:
    """`value` as the annotated type `kind`, or a `SessionError` that names the field."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in get_args(kind):
            return None
        return _value(next(k for k in get_args(kind) if k is not NoneType), value, name)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(get_args(kind)[0], item, name) for item in value)
    if origin is Literal and value in get_args(kind):
        return value
    if is_dataclass(kind):
        return _build(kind, value)
    if kind is float and type(value) in (int, float):
        return float(value)
    if origin is None and type(value) is kind:
        return value
    wanted = getattr(kind, "__name__", str(kind))
    raise SessionError(f"event field {name}: expected {wanted}, found {value!r}")
