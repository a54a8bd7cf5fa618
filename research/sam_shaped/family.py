"""SAM-shaped models as a family: folders whose config.json says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from samadapt.errors import CheckpointError
from samadapt.models.registry import LoadOptions, ModelSource

if TYPE_CHECKING:
    from samadapt.models.base import SegmentationModel

MODEL_TYPE = "sam_shaped"
"""What config.json names."""


def matches(source: ModelSource) -> bool:
    """A folder with such a config.json; others are left to other families."""
    if source.path is None or not source.path.is_dir():
        return False
    try:
        values = json.loads((source.path / "config.json").read_text(encoding="utf-8"))
        return bool(values.get("model_type") == MODEL_TYPE)
    except (OSError, ValueError, AttributeError):
        return False


def load(source: ModelSource, options: LoadOptions) -> SegmentationModel:
    """Load a folder."""
    from research.sam_shaped.folder import read_folder
    from research.sam_shaped.model import SamShapedSegmenter

    if source.path is None:
        raise CheckpointError(f"{source.name} is no folder of a SAM-shaped model")
    network = read_folder(source.path)
    return SamShapedSegmenter.wrap(network, source.path.resolve().name, options)
