"""EdgeTAM on single images: SAM 2's decoder on a small image encoder, RepViT."""

from samadapt.models.parts.file_family import FileFamily
from samadapt.models.registry import ModelInfo

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
FileFamily(_MODELS, "samadapt.models.edgetam.model").register()
