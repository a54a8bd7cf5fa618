from __future__ import annotations

import time
from pathlib import Path

import pytest
from PIL import Image

from samadapt.data.yolo import load_yolo
from samadapt.errors import DataError


def test_aliases_cannot_explode(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 10):
        inside = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} [{inside}]")
    lines.append("names: [*a9]")  # 9^10 texts
    (tmp_path / "data.yaml").write_text("\n".join(lines))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    began = time.monotonic()
    with pytest.raises(DataError, match="has aliases"):
        load_yolo(tmp_path, tmp_path)
    assert time.monotonic() - began < 5
