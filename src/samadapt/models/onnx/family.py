"""Exported models as a family: the folders that `samadapt export-model` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samadapt.errors import ModelError
from samadapt.models.registry import LoadOptions, ModelSource, refuse_hq_token_only

if TYPE_CHECKING:
    from samadapt.models.base import SegmentationModel

_DESCRIPTION = "samadapt_export.json"
_ENCODER = "vision_encoder.onnx"
_OTHER_CONFIG = "config.json"


def matches(source: ModelSource) -> bool:
    """Return True for a folder with a description, or with a graph and no other config."""
    path = source.path
    if path is None or not path.is_dir():
        return False
    is_other = (path / _OTHER_CONFIG).is_file()
    return (path / _DESCRIPTION).is_file() or ((path / _ENCODER).is_file() and not is_other)


def load(source: ModelSource, options: LoadOptions) -> SegmentationModel:
    """Load a folder."""
    from samadapt.models.onnx.description import DECODER, ENCODER, read_description
    from samadapt.models.onnx.model import OnnxModel
    from samadapt.models.parts.runtime import Graph

    if source.path is None:
        raise ModelError(f"{source.name} is no folder of an exported model")
    refuse_hq_token_only(options, str(source.path))
    description = read_description(source.path)
    return OnnxModel(description, Graph(source.path / ENCODER), Graph(source.path / DECODER))
