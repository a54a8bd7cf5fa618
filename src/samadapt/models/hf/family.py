"""The models of transformers as a family: known repositories, Hub ids, folders, checkpoints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samadapt.models.registry import LoadOptions, ModelInfo, ModelSource, nearest_name

if TYPE_CHECKING:
    import torch

    from samadapt.models.base import SegmentationModel
    from samadapt.models.memory import VideoMemory

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PICKLED = (".pth", ".pt", ".bin", ".ckpt")


@dataclass(frozen=True, slots=True)
class _Known:
    """A repository on the Hub; sizes in millions."""

    name: str
    family: str
    parameters: float
    megabytes: int


_KNOWN = (
    _Known("facebook/sam-vit-base", "SAM", 93.7, 375),
    _Known("facebook/sam-vit-large", "SAM", 312.3, 1250),
    _Known("facebook/sam-vit-huge", "SAM", 641.1, 2565),
    _Known("syscv-community/sam-hq-vit-base", "SAM-HQ", 94.8, 379),
    _Known("syscv-community/sam-hq-vit-large", "SAM-HQ", 313.7, 1254),
    _Known("syscv-community/sam-hq-vit-huge", "SAM-HQ", 642.7, 2570),
    _Known("facebook/sam2-hiera-tiny", "SAM 2", 31.4, 156),
    _Known("facebook/sam2-hiera-small", "SAM 2", 38.5, 184),
    _Known("facebook/sam2-hiera-base-plus", "SAM 2", 73.3, 324),
    _Known("facebook/sam2-hiera-large", "SAM 2", 216.9, 898),
    _Known("facebook/sam2.1-hiera-tiny", "SAM 2.1", 31.4, 156),
    _Known("facebook/sam2.1-hiera-small", "SAM 2.1", 38.5, 184),
    _Known("facebook/sam2.1-hiera-base-plus", "SAM 2.1", 73.3, 324),
    _Known("facebook/sam2.1-hiera-large", "SAM 2.1", 216.9, 898),
    _Known("facebook/sam3", "SAM 3", 458.3, 3440),
)
NAMES = tuple(known.name for known in _KNOWN)


def matches(source: ModelSource) -> bool:
    """A known name, in full or in short, any other Hub id, a folder, or a pickled checkpoint."""
    path = source.path
    if path is not None:
        return path.is_dir() or path.suffix in _PICKLED
    return _full_name(source.name) is not None or _HUB_ID.fullmatch(source.name) is not None


def load(source: ModelSource, options: LoadOptions) -> SegmentationModel:
    """Load from a path, or from the Hub and its cache."""
    from samadapt.models.hf.folder import load_folder
    from samadapt.models.hf.hub import fetch
    from samadapt.models.hf.original import load_original

    path = source.path
    if path is None:
        full = _full_name(source.name)
        nearest = None if full else nearest_name(source.name, cutoff=0.75)
        hint = f'; or did you mean "{nearest}"?' if nearest else ""
        repo_id = full or source.name
        return load_folder(fetch(repo_id, hint), repo_id, options)
    if path.is_dir():
        return load_folder(path, path.resolve().name, options)
    return load_original(path, path.stem, options)


def load_memory(source: ModelSource, device: torch.device) -> VideoMemory:
    """Load a video model from a folder, or from the Hub and its cache."""
    from samadapt.models.hf import memory
    from samadapt.models.hf.hub import fetch

    path = source.path
    if path is None:
        name = _full_name(source.name) or source.name
        return memory.load_memory(fetch(name), name, device)
    return memory.load_memory(path, path.resolve().name, device)


def known() -> list[ModelInfo]:
    """The repositories that are known by name."""
    from samadapt.models.hf.hub import cached_folder

    return [
        ModelInfo(
            known.name,
            known.family,
            round(known.parameters * 1e6),
            known.megabytes,
            f"https://huggingface.co/{known.name}",
            cached_folder(known.name) is not None,
        )
        for known in _KNOWN
    ]


def _full_name(name: str) -> str | None:
    """The Hub id of a known model, given in full or without its organisation."""
    return next((full for full in NAMES if name in (full, full.split("/")[1])), None)
