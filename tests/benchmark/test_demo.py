"""The demo: real pictures, exact masks, the shipped model, everything offline."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from samadapt.benchmark.demo import REPORT, RESULT, demo_dataset, run_demo
from samadapt.benchmark.interactive import run_interactive
from samadapt.benchmark.results import InteractiveResult
from samadapt.errors import SamadaptError
from samadapt.models.base import SegmentationModel
from samadapt.models.nano.model import load_nano
from samadapt.session.robot import ClickProtocol


@pytest.fixture(scope="module")
def nano() -> SegmentationModel:
    return load_nano()


def test_the_objects_are_those_that_one_sees() -> None:
    dataset = demo_dataset()
    names = [dataset.category(a.category_id).name for a in dataset.annotations]
    assert len(names) == 48
    assert names.count("coin") == 24
    coins = next(i for i in dataset.images if i.file_name == "coins.png")
    picture = dataset.read_image(coins.id)[..., 0].astype(float)
    masks = [dataset.mask(a.id) for a in dataset.annotations_of(coins.id)]
    assert np.sum(masks, axis=0).max() == 1  # separate coins
    for mask in masks:  # brighter than the cloth they lie on
        assert picture[mask].mean() > picture[~np.any(masks, axis=0)].mean() + 30


def test_the_demo_leaves_a_table_a_result_and_a_report(
    tmp_path: Path, nano: SegmentationModel
) -> None:
    screen = io.StringIO()
    out = tmp_path / "new" / "folder"
    assert run_demo(out, nano, 0, 2, Console(file=screen, width=100)) == 0
    assert "NoC20@85" in screen.getvalue()
    assert str(out / REPORT) in screen.getvalue().replace("\n", "")
    saved = InteractiveResult.load(out / RESULT)
    assert len(saved.objects) == 2
    assert saved.environment["model"]["weights_hash"] == nano.identity.weights_hash
    page = (out / REPORT).read_text()
    assert page.count("data:image/") >= 2
    with pytest.raises(SamadaptError, match="out"):
        run_demo(Path(__file__) / "out", nano, 0, 2, Console(file=screen))


def test_the_shipped_weights_reach_their_floor(nano: SegmentationModel) -> None:
    """Far below what the weights reach today, far above what broken ones would."""
    protocol = ClickProtocol(max_clicks=5)
    result = run_interactive(demo_dataset(), nano, protocol, max_objects=12)
    assert float(result.summary["iou@1"] or 0) > 0.4
    assert float(result.summary["iou@5"] or 0) > 0.7
