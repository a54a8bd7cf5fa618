"""The demo: real pictures, exact masks, the shipped model, everything offline."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fakes import FakeModel
from samadapt.adapters.registry import default_specs
from samadapt.benchmark import demo
from samadapt.benchmark.demo import ADAPTED, REPORT, RESULT, demo_dataset, demo_results, run_demo
from samadapt.benchmark.interactive.result import InteractiveResult
from samadapt.benchmark.interactive.run import run_interactive
from samadapt.benchmark.options import Selection
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


@pytest.mark.usefixtures("toy_method")
def test_the_demo_shows_frozen_against_adapting(tmp_path: Path) -> None:
    assert default_specs() == ("online",)
    results = run_demo(tmp_path, FakeModel(), 0, 2, "toy:fast")
    assert [result.name for result in results] == ["fake", "fake + toy:fast"]
    frozen = InteractiveResult.load(tmp_path / RESULT)
    adapted = InteractiveResult.load(tmp_path / ADAPTED)
    assert [row.key for row in frozen.objects] == [row.key for row in adapted.objects]
    assert (frozen.environment["adapters"], len(adapted.environment["adapters"])) == ([], 1)
    page = (tmp_path / REPORT).read_text()
    assert page.count("data:image/") >= 4
    assert "Clicks per object during annotation" in page


def test_the_objects_come_image_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PROTOCOL", ClickProtocol(max_clicks=1))
    dataset = demo_dataset()
    (frozen,) = demo_results(FakeModel(), 0, adapter=None)
    images = [row.image_id for row in frozen.objects]
    assert len(images) == 48
    assert 1 + sum(a != b for a, b in pairwise(images)) == len(dataset.images)


def test_the_frozen_model_alone_leaves_a_table_a_result_and_a_report(
    tmp_path: Path, nano: SegmentationModel
) -> None:
    out = tmp_path / "new" / "folder"
    (result,) = run_demo(out, nano, 0, 2, None)
    assert sorted(path.name for path in out.iterdir()) == [RESULT, REPORT]
    saved = InteractiveResult.load(out / RESULT)
    assert saved.to_dict() == result.to_dict()
    assert len(saved.objects) == 2
    assert saved.environment["model"]["weights_hash"] == nano.identity.weights_hash
    page = (out / REPORT).read_text()
    assert page.count("data:image/") >= 2
    with pytest.raises(SamadaptError, match="out"):
        run_demo(Path(__file__) / "out", nano, 0, 2)


def test_the_shipped_weights_reach_their_floor(nano: SegmentationModel) -> None:
    """Far below what the weights reach today, far above what broken ones would."""
    protocol = ClickProtocol(max_clicks=5)
    result = run_interactive(demo_dataset(), nano, protocol, selection=Selection(max_objects=6))
    assert float(result.summary["iou@1"] or 0) > 0.4
    assert float(result.summary["iou@5"] or 0) > 0.7
