"""`ImageReference`: which image an event is about."""

from __future__ import annotations

from dataclasses import dataclass


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
