"""The demo: real pictures, exact masks, the shipped model, everything offline."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fakes import FakeModel
from samadapt.adapters.registry import default_specs
from samadapt.benchmark import demo
from samadapt.benchmark.demo import (
    ADAPTED,
    REPORT,
    RESULT,
    demo_dataset,
    demo_results,
    run_demo,
    savings,
)
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
    assert names[:64] == 40 * ["galaxy"] + 24 * ["coin"]
    assert len(names) == 79
    coins = next(i for i in dataset.images if i.file_name == "coins.png")
    picture = dataset.read_image(coins.id)[..., 0].astype(float)
    masks = [dataset.mask(a.id) for a in dataset.annotations_of(coins.id)]
    assert np.sum(masks, axis=0).max() == 1  # separate coins
    for mask in masks:  # brighter than the cloth they lie on
        assert picture[mask].mean() > picture[~np.any(masks, axis=0)].mean() + 30
    (sky, *_) = dataset.images
    light = dataset.read_image(sky.id).max(axis=2)
    galaxies = [dataset.mask(a.id) for a in dataset.annotations_of(sky.id)]
    assert np.sum(galaxies, axis=0).max() == 1
    assert all(light[mask].mean() > 100 for mask in galaxies)
    assert light[~np.any(galaxies, axis=0)].mean() < 25


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
    assert len(images) == 79
    assert images == [a.image_id for a in dataset.annotations]
    assert 1 + sum(a != b for a, b in pairwise(images)) == len(dataset.images)


def test_what_adapting_saved_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "PROTOCOL", ClickProtocol(max_clicks=1))
    monkeypatch.setattr(demo, "_FEW", 2)
    (frozen,) = demo_results(FakeModel(), 0, 4, adapter=None)
    longer = [
        replace(row, clicks=n * row.clicks, ious=n * row.ious, seconds=n * row.seconds)
        for row, n in zip(frozen.objects, (3, 2, 1, 1), strict=True)
    ]
    first = replace(frozen, objects=tuple(longer))
    in_all, kind = savings([first, frozen])
    assert in_all == (
        "Clicks in all: 7 with the frozen model, 4 while adapting: 3 fewer (-43%), or 0.1 minutes "
        "at 3 seconds a click."
    )
    assert kind == (
        "The first 2 of 4 galaxy objects: 2.5 → 1.0 clicks each (frozen → adapting); "
        "the last 2: 1.0 → 1.0."
    )
    assert "3 more (+75%)" in savings([frozen, first])[0]
    assert savings([frozen]) == []
    monkeypatch.setattr(demo, "demo_results", lambda *_: [first, frozen])
    run_demo(tmp_path, FakeModel(), adapter="toy")
    page = (tmp_path / REPORT).read_text()
    assert in_all in page
    assert page.index("The first 2 of 4 galaxy objects</h2>") < page.index("The last 2 of 4 galaxy")


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
