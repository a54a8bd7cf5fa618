"""`ImageReference`: the reference to an image in an event."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A reference by which an image is found again, and a changed image is noticed.

    Attributes:
        height, width: size in pixels, EXIF orientation applied.
        name: shown to people; the file's name by default.
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
