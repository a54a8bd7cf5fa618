"""Weight files in a model folder. Imports neither torch nor transformers."""

from __future__ import annotations

import json
from pathlib import Path

_SINGLE = ("model.safetensors", "pytorch_model.bin")


def find_weights(folder: Path) -> list[Path]:
    """The weight files of a folder, safetensors first; empty unless all are there."""
    for single in _SINGLE:
        if (folder / single).is_file():
            return [folder / single]
        try:
            index = json.loads((folder / f"{single}.index.json").read_text(encoding="utf-8"))
            files = [folder / name for name in sorted(set(index["weight_map"].values()))]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if files and all(file.is_file() for file in files):
            return files
    return []
