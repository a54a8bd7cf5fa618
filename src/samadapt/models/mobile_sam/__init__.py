"""MobileSAM and Light HQ-SAM: SAM's decoder on a small image encoder, TinyViT."""

from samadapt.models.parts.file_family import FileFamily
from samadapt.models.registry import ModelInfo

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
FileFamily(_MODELS, "samadapt.models.mobile_sam.model").register()
