"""MobileSAM and its like as a family. Imports neither torch nor transformers."""

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

_ZOO = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io"
_MODELS = (
    ModelInfo(
        "mobile-sam",
        "MobileSAM",
        9_808_708,
        41,
        "https://github.com/ChaoningZhang/MobileSAM/tree/master/weights",
        False,
        "Apache-2.0",
        ("mobile_sam.pt",),
        gigaflops=78,
        rank=30,
    ),
    ModelInfo(
        "light-hq-sam",
        "SAM-HQ",
        10_257_220,
        42,
        "https://huggingface.co/lkeab/hq-sam",
        False,
        "Apache-2.0",
        ("sam_hq_vit_tiny.pth",),
        gigaflops=78,
        rank=35,
    ),
    ModelInfo(
        "micro-sam/vit_t_lm",
        "micro-sam",
        9_808_708,
        41,
        f"{_ZOO}/faithful-chicken/1.1/files/vit_t.pt",
        False,
        "CC-BY-4.0",
        ("vit_t_lm.pt", "vit_t_lm"),
        gigaflops=78,
    ),
)
NAMES = tuple(info.name for info in _MODELS)


def matches(source: ModelSource) -> bool:
    """A known name, in full or in short, or a checkpoint with a TinyViT."""
    if source.checkpoint is None:
        return source.path is None and named(source.name, _MODELS) is not None
    from samadapt.models.mobile_sam.model import is_tiny_vit

    return is_tiny_vit(source.checkpoint)


def load(source: ModelSource, options: LoadOptions) -> SegmentationModel:
    """Load a checkpoint, by its path or from the folders of model files."""
    from samadapt.models.mobile_sam.model import load_checkpoint

    checkpoint, name = file_source(source, _MODELS)
    return load_checkpoint(checkpoint, name, options)


def known() -> list[ModelInfo]:
    """The models that are known by name."""
    return marked_present(_MODELS)


def like(checkpoint: Checkpoint) -> str | None:
    """The published model of a checkpoint's architecture."""
    from samadapt.models.mobile_sam.model import is_hq, is_tiny_vit

    if not is_tiny_vit(checkpoint):
        return None
    return "light-hq-sam" if is_hq(checkpoint) else "mobile-sam"
