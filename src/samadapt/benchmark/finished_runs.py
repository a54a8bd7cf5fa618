"""Finished parts of a benchmark, kept in a folder so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samadapt.errors import DataError


def make_folder(folder: Path) -> Path:
    """Make the folder of finished runs.

    Raises:
        DataError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}, where finished runs are kept, cannot be made ({error.strerror or error}): "
            "give another file"
        ) from None
    return folder


def digest(depends_on: Mapping[str, Any]) -> str:
    """Return twelve digits that differ as soon as anything that a run depends on does."""
    text = json.dumps(depends_on, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_name(parts: Sequence[str]) -> str:
    """Join parts to a name that every file system takes."""
    return "_".join(re.sub(r"[^A-Za-z0-9.+-]+", "-", part) for part in parts)
