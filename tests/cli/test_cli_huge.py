from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from outcome import Run, one_error

from fakes import FakeModel
from samadapt.cli import common
from samadapt.data.coco import CocoDataset
from samadapt.data.tiled import image as tiled_image


@pytest.fixture
def slide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(common, "load_model", lambda name, device, dtype: FakeModel())
    monkeypatch.setenv("SAMADAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tiled_image, "HUGE_PIXELS", 10_000)
    pixels = np.full((150, 200, 3), 110, np.uint8)
    rows, columns = np.mgrid[:150, :200]
    pixels[(rows - 60) ** 2 + (columns - 90) ** 2 < 900] = (220, 40, 40)
    tifffile.imwrite(tmp_path / "slide.tif", pixels, tile=(64, 64), photometric="rgb")
    return tmp_path / "slide.tif"


def test_a_huge_picture_is_answered_in_a_window_and_written_as_coco(run: Run, slide: Path) -> None:
    found = run("predict", slide, "--point", "90,60", "--out", "a.json", "--json")
    assert found.exit_code == 0, found.stderr
    values = json.loads(found.stdout)
    dataset = CocoDataset.load("a.json")
    (annotation,) = dataset.annotations
    assert dataset.size(1) == (150, 200)
    assert dataset.rle(annotation.id).area == values["area"] > 0
    assert dataset.mask(annotation.id)[60, 90]


def test_what_a_huge_picture_does_not_take(run: Run, slide: Path) -> None:
    for arguments, text in (
        (("--point", "90,60", "--out", "a.png"), "too large for a mask in pixels"),
        (("--point", "90,60", "--out", "a.json", "--multimask"), "--multimask does not apply"),
        (("--out", "a.json"), "nothing to segment"),
        (("--point", "900,60", "--out", "a.json"), "outside the image"),
    ):
        assert text in one_error(run("predict", slide, *arguments))
