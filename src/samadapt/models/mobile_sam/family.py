"""MobileSAM and its like as a family. Imports neither torch nor transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samadapt.models.places import require_file
from samadapt.models.registry import LoadOptions, ModelInfo, ModelSource, marked_present

if TYPE_CHECKING:
    from samadapt.models.base import SegmentationModel

_ZOO = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io"
_MODELS = (
    ModelInfo(
        "mobile-sam",
        "MobileSAM",
        10_130_092,
        41,
        "https://github.com/ChaoningZhang/MobileSAM/tree/master/weights",
        False,
        "Apache-2.0",
        ("mobile_sam.pt",),
    ),
    ModelInfo(
        "light-hq-sam",
        "SAM-HQ",
        10_130_092,
        42,
        "https://huggingface.co/lkeab/hq-sam",
        False,
        "Apache-2.0",
        ("sam_hq_vit_tiny.pth",),
    ),
    ModelInfo(
        "micro-sam/vit_t_lm",
        "micro-sam",
        10_130_092,
        41,
        f"{_ZOO}/faithful-chicken/1.1/files/vit_t.pt",
        False,
        "CC-BY-4.0",
        ("vit_t_lm.pt", "vit_t_lm"),
    ),
)
NAMES = tuple(info.name for info in _MODELS)


def matches(source: ModelSource) -> bool:
    """A known name, in full or in short, or a checkpoint with a TinyViT."""
    if source.checkpoint is None:
        return source.path is None and _named(source.name) is not None
    from samadapt.models.mobile_sam.model import is_tiny_vit

    return is_tiny_vit(source.checkpoint)


def load(source: ModelSource, options: LoadOptions) -> SegmentationModel:
    """Load a checkpoint, by its path or from the folders of model files."""
    from samadapt.models.mobile_sam.model import load_checkpoint

    info, name = _named(source.name), source.name
    if source.path is not None:
        name = source.path.stem
    elif info is not None:
        name, source = (
            info.name,
            ModelSource(info.name, require_file(info.name, info.files, info.source)),
        )
    if source.checkpoint is None:
        raise TypeError(f"{source} is no file")
    source.checkpoint.tell_ignored()
    return load_checkpoint(source.checkpoint, name, options)


def known() -> list[ModelInfo]:
    """The models that are known by name."""
    return marked_present(_MODELS)


def _named(name: str) -> ModelInfo | None:
    return next((i for i in _MODELS if name in (i.name, i.name.rpartition("/")[2])), None)
