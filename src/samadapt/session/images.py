"""Images by reference: how a log names an image, and how a replay finds it again."""

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
"""Where a replay gets its images: by name, or from a function."""


def encode_image(
    model: SegmentationModel, image: ImageLike, name: str | None = None
) -> tuple[ImageEmbedding, ImageReference]:
    """Read and encode an image; returns the embedding and what a log says about the image."""
    pixels = read_image(image)
    embedding = model.encode(pixels)
    return embedding, refer(embedding, image, name, hash_pixels(pixels))


def refer(
    embedding: ImageEmbedding,
    image: ImageLike | None,
    name: str | None = None,
    content_hash: str | None = None,
) -> ImageReference:
    """What a log says about the image of `embedding`."""
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
    """The embedding of an image that a log names.

    Args:
        reference: what the log says.
        model: encodes the image, unless `images` gives an embedding.
        images: where the image is; None reads the path in the reference.

    Raises:
        SessionError: not to be found, or another image than then.
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
        raise SessionError(f"{reference} is no longer the image it was: its pixels have changed")
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
    """Raise `SessionError` where an image has another (height, width) than the log says."""
    if found != (reference.height, reference.width):
        raise SessionError(
            f"{reference} was {reference.width} x {reference.height} pixels, now it is "
            f"{found[1]} x {found[0]}: another image of that name?"
        )
