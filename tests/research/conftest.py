from __future__ import annotations

from pathlib import Path

import pytest

from tiny_dataset import TinyDataset, make_dataset


@pytest.fixture
def tiny(tmp_path: Path) -> TinyDataset:
    return make_dataset(tmp_path / "tiny")
