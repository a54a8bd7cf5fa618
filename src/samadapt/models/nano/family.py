"""nano as a family: the shipped weights by name, others by their file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from samadapt.models.registry import (
    SHIPPED,
    LoadOptions,
    ModelInfo,
    ModelSource,
    refuse_hq_token_only,
)

if TYPE_CHECKING:
    from samadapt.models.base import SegmentationModel

NAME = "nano"
FORMAT = "samadapt-nano"
_SUFFIX = ".safetensors"


def matches(source: ModelSource) -> bool:
    """Return True for the name "nano" and for a file of weights."""
    path = source.path
    if path is None:
        return source.name == NAME
    return path.suffix == _SUFFIX and path.is_file() and not _is_foreign(path)


def load(source: ModelSource, options: LoadOptions) -> SegmentationModel:
    """Load the shipped weights or those of a file."""
    from samadapt.models.nano.model import load_nano

    refuse_hq_token_only(options, NAME)
    return load_nano(source.path, device=options.device, encoder_dtype=options.encoder_dtype)


def known() -> list[ModelInfo]:
    """The shipped model, described from the header of its weights file."""
    for path in sorted(Path(__file__).parent.rglob(f"*{_SUFFIX}")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
        parameters = sum(math.prod(shape) for shape in shapes)
        megabytes = round(path.stat().st_size / 1e6)
        return [ModelInfo(NAME, NAME, parameters, megabytes, SHIPPED, True)]
    return [ModelInfo(NAME, NAME, 0, 0, SHIPPED, False)]


def _is_foreign(path: Path) -> bool:
    """Whether the file is an undamaged safetensors file of another kind."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return (file.metadata() or {}).get("format") != FORMAT
    except (SafetensorError, OSError):
        return False
