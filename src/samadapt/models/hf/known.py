"""The models that are known by name. Imports neither torch nor transformers."""

from __future__ import annotations

from samadapt.models.registry import ModelInfo

MEDSAM = "medsam"
_APACHE = "Apache-2.0"


def _hub(
    name: str,
    family: str,
    millions: float,
    megabytes: int,
    gigaflops: float,
    rank: int,
    file: str,
    terms: str = _APACHE,
) -> ModelInfo:
    """A repository on the Hub, and the name of the original file of the same weights."""
    return ModelInfo(
        name,
        family,
        round(millions * 1e6),
        megabytes,
        source=f"https://huggingface.co/{name}",
        offline=False,
        terms=terms,
        files=(file,) if file else (),
        gigaflops=gigaflops,
        rank=rank,
    )


# Operations are those of the image encoder alone, counted by torch on an input of full size.
HUB = (
    _hub("facebook/sam-vit-base", "SAM", 93.7, 375, 972, 45, "sam_vit_b_01ec64.pth"),
    _hub("facebook/sam-vit-large", "SAM", 312.3, 1250, 2986, 60, "sam_vit_l_0b3195.pth"),
    _hub("facebook/sam-vit-huge", "SAM", 641.1, 2565, 5961, 65, "sam_vit_h_4b8939.pth"),
    _hub("syscv-community/sam-hq-vit-base", "SAM-HQ", 94.8, 379, 972, 50, "sam_hq_vit_b.pth"),
    _hub("syscv-community/sam-hq-vit-large", "SAM-HQ", 313.7, 1254, 2986, 68, "sam_hq_vit_l.pth"),
    _hub("syscv-community/sam-hq-vit-huge", "SAM-HQ", 642.7, 2570, 5961, 70, "sam_hq_vit_h.pth"),
    _hub("facebook/sam2-hiera-tiny", "SAM 2", 31.4, 156, 285, 52, "sam2_hiera_tiny.pt"),
    _hub("facebook/sam2-hiera-small", "SAM 2", 38.5, 184, 353, 56, "sam2_hiera_small.pt"),
    _hub("facebook/sam2-hiera-base-plus", "SAM 2", 73.3, 324, 639, 62, "sam2_hiera_base_plus.pt"),
    _hub("facebook/sam2-hiera-large", "SAM 2", 216.9, 898, 1814, 75, "sam2_hiera_large.pt"),
    _hub("facebook/sam2.1-hiera-tiny", "SAM 2.1", 31.4, 156, 285, 54, "sam2.1_hiera_tiny.pt"),
    _hub("facebook/sam2.1-hiera-small", "SAM 2.1", 38.5, 184, 353, 58, "sam2.1_hiera_small.pt"),
    _hub(
        "facebook/sam2.1-hiera-base-plus",
        "SAM 2.1",
        73.3,
        324,
        639,
        64,
        "sam2.1_hiera_base_plus.pt",
    ),
    _hub("facebook/sam2.1-hiera-large", "SAM 2.1", 216.9, 898, 1814, 80, "sam2.1_hiera_large.pt"),
    _hub("facebook/sam3", "SAM 3", 458.3, 3440, 5400, 78, "", "Meta SAM"),
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
