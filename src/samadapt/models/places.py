"""Locations of model files on this machine. Imports neither torch nor transformers."""

from __future__ import annotations

import os
from pathlib import Path

from samadapt.errors import ModelError

MODELS_VARIABLE = "SAMADAPT_MODELS"
"""Environment variable that names the folders of model files, separated as in PATH."""


def model_folders() -> list[Path]:
    """The folders of model files: those of $SAMADAPT_MODELS, or one in the user's cache folder."""
    if given := os.environ.get(MODELS_VARIABLE):
        return [Path(part).expanduser() for part in given.split(os.pathsep) if part]
    base = os.environ.get("XDG_CACHE_HOME")
    return [(Path(base) if base else Path.home() / ".cache") / "samadapt" / "models"]


def find_file(names: tuple[str, ...]) -> Path | None:
    """The first file of one of these names in the folders of model files."""
    found = (folder / name for folder in model_folders() for name in names)
    return next((path for path in found if path.is_file()), None)


def require_file(name: str, files: tuple[str, ...], source: str) -> Path:
    """The file of a model that is known by name.

    Raises:
        ModelError: the file is not on this machine; the message says how to get it.
    """
    path = find_file(files)
    if path is None:
        raise ModelError(
            f"{name} is not on this machine: download {files[0]} from {source} into "
            f"{model_folders()[0]} (or another folder that {MODELS_VARIABLE} names), or give the "
            "path of the file"
        )
    return path
