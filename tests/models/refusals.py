"""What the tests of checkpoints that are refused check again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from samadapt.errors import CheckpointError
from samadapt.models.registry import load


def refused(path: Path, *words: str) -> None:
    """Loading fails with one line that names the file and holds these words."""
    with pytest.raises(CheckpointError) as caught:
        load(path, device="cpu")
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    for word in words:
        assert word in text, text
