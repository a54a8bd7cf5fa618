"""The models of transformers as a family: known names, Hub ids, folders, original checkpoints."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from samadapt.models.hf.known import FILES, HUB, MEDSAM, NAMES
from samadapt.models.parts.file_family import marked_present
from samadapt.models.places import find_file, require_file
from samadapt.models.registry import (
    LoadOptions,
    ModelInfo,
    ModelSource,
    nearest_name,
)

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from samadapt.models.base import SegmentationModel
    from samadapt.models.checkpoint_file import Checkpoint
    from samadapt.models.memory import VideoMemory

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def matches(source: ModelSource) -> bool:
    """Return True for a known name, a Hub id, a folder, or an original checkpoint."""
    if source.checkpoint is not None:
        from samadapt.models.hf.original import is_original

        return is_original(source.checkpoint)
    if source.path is not None:
        return True
    return _full_name(source.name) is not None or _HUB_ID.fullmatch(source.name) is not None


def load(source: ModelSource, options: LoadOptions) -> SegmentationModel:
    """Load from a path, from the Hub and its cache, or from the folders of model files."""
    from samadapt.models.hf.folder import load_folder
    from samadapt.models.hf.hub import fetch

    name = _full_name(source.name) or source.name
    if source.path is None:
        file = _file(name)
        if file is not None:
            return _load_file(ModelSource(name, file), name, options)
        nearest = None if name in NAMES else nearest_name(name, cutoff=0.75)
        hint = f'; or did you mean "{nearest}"?' if nearest else ""
        return load_folder(fetch(name, hint), name, options)
    if source.path.is_dir():
        return load_folder(source.path, source.path.resolve().name, options)
    return _load_file(source, source.path.stem, options)


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
    """The models that are known by name."""
    from samadapt.models.hf.hub import cached_folder

    cached = {info.name for info in HUB if cached_folder(info.name) is not None}
    listed = marked_present((*HUB, *FILES))
    return [replace(info, offline=True) if info.name in cached else info for info in listed]


def like(checkpoint: Checkpoint) -> str | None:
    """The published model of a checkpoint's architecture."""
    from samadapt.models.hf.original import is_original, published_name

    return published_name(checkpoint) if is_original(checkpoint) else None


def _load_file(source: ModelSource, name: str, options: LoadOptions) -> SegmentationModel:
    from samadapt.models.hf.original import load_original

    checkpoint = source.checkpoint
    if checkpoint is None:
        raise TypeError(f"{source} is no file")
    checkpoint.tell_ignored()
    return load_original(checkpoint, name, options, is_medsam=MEDSAM in (source.kind, source.name))


def _file(name: str) -> Path | None:
    """The checkpoint file of a known model; None for a model on the Hub.

    Raises:
        ModelError: the model comes as a file only, which is not on this machine.
    """
    from samadapt.models.hf.hub import cached_folder

    for info in FILES:
        if info.name == name:
            return require_file(name, info.files, info.source)
    for info in HUB:
        if info.name == name and cached_folder(name) is None:
            return find_file(info.files)
    return None


def _full_name(name: str) -> str | None:
    """The known name of a model, given in full or without its organisation."""
    return next((full for full in NAMES if name in (full, full.rpartition("/")[2])), None)
