"""The models that are known by name. Imports neither torch nor transformers."""

from __future__ import annotations

from samadapt.models.registry import ModelInfo

MEDSAM = "medsam"
_APACHE = "Apache-2.0"


def _hub(
    name: str, family: str, millions: float, megabytes: int, file: str, terms: str = _APACHE
) -> ModelInfo:
    """A repository on the Hub, and the name of the original file of the same weights."""
    page = f"https://huggingface.co/{name}"
    files = (file,) if file else ()
    return ModelInfo(name, family, round(millions * 1e6), megabytes, page, False, terms, files)


HUB = (
    _hub("facebook/sam-vit-base", "SAM", 93.7, 375, "sam_vit_b_01ec64.pth"),
    _hub("facebook/sam-vit-large", "SAM", 312.3, 1250, "sam_vit_l_0b3195.pth"),
    _hub("facebook/sam-vit-huge", "SAM", 641.1, 2565, "sam_vit_h_4b8939.pth"),
    _hub("syscv-community/sam-hq-vit-base", "SAM-HQ", 94.8, 379, "sam_hq_vit_b.pth"),
    _hub("syscv-community/sam-hq-vit-large", "SAM-HQ", 313.7, 1254, "sam_hq_vit_l.pth"),
    _hub("syscv-community/sam-hq-vit-huge", "SAM-HQ", 642.7, 2570, "sam_hq_vit_h.pth"),
    _hub("facebook/sam2-hiera-tiny", "SAM 2", 31.4, 156, "sam2_hiera_tiny.pt"),
    _hub("facebook/sam2-hiera-small", "SAM 2", 38.5, 184, "sam2_hiera_small.pt"),
    _hub("facebook/sam2-hiera-base-plus", "SAM 2", 73.3, 324, "sam2_hiera_base_plus.pt"),
    _hub("facebook/sam2-hiera-large", "SAM 2", 216.9, 898, "sam2_hiera_large.pt"),
    _hub("facebook/sam2.1-hiera-tiny", "SAM 2.1", 31.4, 156, "sam2.1_hiera_tiny.pt"),
    _hub("facebook/sam2.1-hiera-small", "SAM 2.1", 38.5, 184, "sam2.1_hiera_small.pt"),
    _hub("facebook/sam2.1-hiera-base-plus", "SAM 2.1", 73.3, 324, "sam2.1_hiera_base_plus.pt"),
    _hub("facebook/sam2.1-hiera-large", "SAM 2.1", 216.9, 898, "sam2.1_hiera_large.pt"),
    _hub("facebook/sam3", "SAM 3", 458.3, 3440, "", "SAM License"),
)
_ZOO = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io"


def _micro_sam(name: str, millions: float, megabytes: int, page: str) -> ModelInfo:
    full, source = f"micro-sam/{name}", f"{_ZOO}/{page}"
    files = (f"{name}.pt", name)  # micro-sam's own cache drops the suffix
    parameters = round(millions * 1e6)
    return ModelInfo(full, "micro-sam", parameters, megabytes, source, False, "CC-BY-4.0", files)


FILES = (
    ModelInfo(
        MEDSAM,
        "MedSAM",
        93_735_472,
        375,
        "https://github.com/bowang-lab/MedSAM",
        False,
        _APACHE,
        ("medsam_vit_b.pth",),
    ),
    _micro_sam("vit_b_lm", 93.7, 375, "diplomatic-bug/1.2/files/vit_b.pt"),
    _micro_sam("vit_l_lm", 312.3, 1250, "idealistic-rat/1.2/files/vit_l.pt"),
    _micro_sam("vit_b_em_organelles", 93.7, 375, "noisy-ox/1.2/files/vit_b.pt"),
    _micro_sam("vit_l_em_organelles", 312.3, 1250, "humorous-crab/1.2/files/vit_l.pt"),
)
NAMES = tuple(info.name for info in (*HUB, *FILES))
"""All names."""
