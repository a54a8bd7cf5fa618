"""Images larger than memory: read in windows, at any of their levels."""

from samadapt.data.tiled.image import TiledImage

__all__ = ["TiledImage"]
