"""EdgeTAM as a family. Imports neither torch nor transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samadapt.models.registry import (
    LoadOptions,
    ModelInfo,
    ModelSource,
    file_source,
    marked_present,
    named,
)

if TYPE_CHECKING:
    from samadapt.models.base import SegmentationModel
    from samadapt.models.checkpoint_file import Checkpoint

_MODELS = (
    ModelInfo(
        "edgetam",
        "EdgeTAM",
        9_120_641,
        56,
        "https://github.com/facebookresearch/EdgeTAM/tree/main/checkpoints",
        False,
        "Apache-2.0",
        ("edgetam.pt",),
        gigaflops=34,
        rank=40,
    ),
)
NAMES = tuple(info.name for info in _MODELS)


def matches(source: ModelSource) -> bool:
    """The name, or a checkpoint with a RepViT."""
    if source.checkpoint is None:
        return source.path is None and named(source.name, _MODELS) is not None
    from samadapt.models.edgetam.model import is_repvit

    return is_repvit(source.checkpoint)


def load(source: ModelSource, options: LoadOptions) -> SegmentationModel:
    """Load a checkpoint, by its path or from the folders of model files."""
    from samadapt.models.edgetam.model import load_checkpoint

    checkpoint, name = file_source(source, _MODELS)
    return load_checkpoint(checkpoint, name, options)


def known() -> list[ModelInfo]:
    """The model that is known by name."""
    return marked_present(_MODELS)


def like(checkpoint: Checkpoint) -> str | None:
    """The published model of a checkpoint's architecture."""
    from samadapt.models.edgetam.model import is_repvit

    return NAMES[0] if is_repvit(checkpoint) else None
