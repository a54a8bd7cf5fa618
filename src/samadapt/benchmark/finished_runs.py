"""Folder of finished parts of a benchmark, from which an interrupted run resumes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samadapt.errors import DataError


def make_folder(folder: Path) -> Path:
    """Create the folder of finished runs.

    Raises:
        DataError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}, the folder for finished runs, cannot be created "
            f"({error.strerror or error}): give another file"
        ) from None
    return folder


def digest(depends_on: Mapping[str, Any]) -> str:
    """Return a digest of twelve digits over everything that a run depends on."""
    text = json.dumps(depends_on, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_name(parts: Sequence[str]) -> str:
    """Join parts to a name that is valid on every file system."""
    return "_".join(re.sub(r"[^A-Za-z0-9.+-]+", "-", part) for part in parts)
