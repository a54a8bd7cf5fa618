"""References to images in a log, by which a replay finds the images again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from samadapt.data.images import ImageLike, read_image
from samadapt.errors import SessionError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.session.events import ImageReference

ImageSource: TypeAlias = ImageLike | ImageEmbedding
Images: TypeAlias = Mapping[str, ImageSource] | Callable[[ImageReference], ImageSource]
"""Source of a replay's images: by name, or from a function."""


def encode_image(
    model: SegmentationModel, image: ImageLike, name: str | None = None
) -> tuple[ImageEmbedding, ImageReference]:
    """Read and encode an image; returns the embedding and the reference for the log."""
    pixels = read_image(image)
    embedding = model.encode(pixels)
    return embedding, refer(embedding, image, name, hash_pixels(pixels))


def refer(
    embedding: ImageEmbedding,
    image: ImageLike | None,
    name: str | None = None,
    content_hash: str | None = None,
) -> ImageReference:
    """The reference to the image of `embedding`."""
    height, width = embedding.original_size
    path = Path(image).absolute() if isinstance(image, str | os.PathLike) else None
    return ImageReference(
        height=height,
        width=width,
        name=name or (path.name if path else None),
        path=str(path) if path else None,
        content_hash=content_hash,
    )


def find_image(
    reference: ImageReference, model: SegmentationModel, images: Images | None
) -> ImageEmbedding:
    """The embedding of an image in a log.

    Args:
        reference: from the log.
        model: encodes the image, unless `images` gives an embedding.
        images: source of the image; None reads the path in the reference.

    Raises:
        SessionError: the image is missing, or has changed.
        ImageError: unreadable.
        ModelError: an embedding of another model.
    """
    source = _source(reference, images)
    if isinstance(source, ImageEmbedding):
        model.check_embedding(source)
        check_size(reference, source.original_size)
        return source
    pixels = read_image(source)
    check_size(reference, (pixels.shape[0], pixels.shape[1]))
    if reference.content_hash not in (None, hash_pixels(pixels)):
        raise SessionError(
            f"{reference} has changed: its pixels are not those of the log; put the old file back"
        )
    return model.encode(pixels)


def hash_pixels(pixels: NDArray[np.uint8]) -> str:
    """SHA-256 over the size and the RGB bytes of an image (H, W, 3) uint8."""
    digest = hashlib.sha256(f"{pixels.shape}\n".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _source(reference: ImageReference, images: Images | None) -> ImageSource:
    if callable(images):
        return images(reference)
    if images is not None and (found := images.get(reference.name or "")) is not None:
        return found
    if reference.path is None:
        raise SessionError(
            f"{reference} has no file: pass images={{name: image}} or a function that finds it"
        )
    return reference.path


def check_size(reference: ImageReference, found: tuple[int, int]) -> None:
    """Raise `SessionError` if the (height, width) of an image differs from the log's."""
    if found != (reference.height, reference.width):
        raise SessionError(
            f"{reference} was {reference.width} x {reference.height} pixels, now it is "
            f"{found[1]} x {found[0]}: another image of that name?"
        )
