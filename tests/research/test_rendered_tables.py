"""The tables of the documents: rows and numbers against the results that they are made of."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import FakeModel
from research.render import RENDERERS
from samadapt.benchmark.adaptation.run import run_adaptation
from samadapt.benchmark.interactive.compare import run_compared
from samadapt.benchmark.interactive.run import run_interactive
from samadapt.benchmark.tables import Table
from samadapt.data.coco import CocoDataset
from samadapt.session.robot import ClickProtocol
from tiny_dataset import TinyDataset, make_dataset

EASY = ClickProtocol(max_clicks=20, targets=(0.85,), at_failure="accept")


def shown(table: Table) -> dict[str, list[str]]:
    """Rows by label, as people read them."""
    assert all(len(row.cells) == len(table.columns) for row in table.rows)
    return {row.label: [cell.full for cell in row.cells] for row in table.rows}


def render(kind: str, results: dict[str, Any], **options: Any) -> Table:
    return RENDERERS[kind](results, options)


@pytest.mark.usefixtures("toy_method")
class TestAdaptation:
    @pytest.fixture
    def datasets(self, tiny: TinyDataset, tmp_path: Any) -> dict[str, CocoDataset]:
        return {"one": tiny.open(), "two": make_dataset(tmp_path / "two").open()}

    def test_all_tables_of_one_result(self, datasets: dict[str, CocoDataset]) -> None:
        found = run_adaptation(
            datasets, FakeModel(), ["toy", "toy:fast"], (0,), protocol=EASY, max_objects=2,
            streams=["mixed"],
        ).to_dict()  # fmt: skip
        first = found["results"][0]
        noc = f"{first['frozen']['noc20@85']['value']:.2f}"
        adapted = f"{first['adapted']['noc20@85']['value']:.2f}"
        change = f"{first['change']['noc20@85']['value']:+.2f}"

        frozen = shown(render("frozen", {"": found}))
        assert list(frozen) == ["one", "two"]
        assert frozen["one"][0] == "2"
        assert frozen["one"][1].startswith(noc)

        rows = shown(render("adaptation", {"": found}))
        assert list(rows) == ["one", "two", "average"]
        assert rows["one"][0] == f"{noc} → {adapted}"
        assert rows["one"][1].startswith(change)
        mean = found["averages"][0]["change"]["noc20@85"]["value"]
        assert rows["average"][1].startswith(f"{mean:+.2f}")

        rows = shown(render("streams", {"": found}))
        assert list(rows) == ["sequential", "mixed"]
        assert rows["sequential"][0] == f"{noc} → {adapted}"
        assert rows["mixed"][:2] == ["", ""], "it has no datasets of its own"
        assert rows["sequential"][2].startswith(f"{mean:+.2f}")

        table = render("adapters", {"": found})
        assert [column.title for column in table.columns] == ["frozen", "`toy`", "`toy:fast`"]
        assert shown(table)["one"][1].startswith(f"{adapted}, {change}")

    def test_frozen_and_adapting_side_by_side(self, tiny: TinyDataset) -> None:
        found = run_compared(
            lambda adapters, told: run_interactive(tiny.open(), FakeModel(), EASY, adapters),
            ["toy:fast"],
        ).to_dict()
        rows = shown(render("comparison", {"": found}))
        assert "FR30@90" not in rows, "20 clicks do not tell"
        assert rows["IoU@1"][0].startswith(f"{found['frozen']['summary']['iou@1']:.3f}")
        assert rows["IoU@1"][1].startswith(f"{found['summary']['iou@1']:.3f}")


def robust(value: float) -> dict[str, Any]:
    keys = [f"{metric}@{kind}" for metric in ("miou", "mbiou", "msf") for kind in ("box", "1p")]
    rows = [
        {"name": name, "summary": dict.fromkeys(keys, value + more), "changes": changes}
        for name, more, changes in (
            ("frozen", 0.0, {}),
            ("mine", 0.1, {key: {"mean": value / 10, "interval": None} for key in keys}),
        )
    ]
    return {"protocol": {"prompts": ["box", "1p"]}, "rows": rows}


class TestRobustness:
    def test_means_over_the_chosen_datasets(self) -> None:
        results = {"a": robust(0.5), "b": robust(0.7), "c": robust(0.1)}
        rows = shown(render("robustness", results, mean=["a", "b"]))
        assert rows["c, frozen"] == ["10.0", "10.0"]
        assert rows["mean, mIoU, frozen"] == ["60.0", "60.0"]
        assert rows["mean, mSF, mine"] == ["70.0", "70.0"]
        assert len(rows) == 3 * 2 + 3 * 2

    def test_changes_in_points(self) -> None:
        rows = shown(render("robustness-change", {"a": robust(0.5), "b": robust(0.7)}))
        assert rows["a"] == ["+5.0", "+5.0"]
        assert rows["mean, mBIoU"] == ["+6.0", "+6.0"]


def taught(shots: str, value: float, ap: float | None) -> dict[str, Any]:
    keys = ("miou@1p", "mbiou@1p", "miou@box0.4")
    return {"summary": {shots: {"plm": {**dict.fromkeys(keys, value), "ap": ap}}}}


def test_tasks_side_by_side_with_other_numbers_of_masks() -> None:
    results = {"wheel": taught("64", 0.5, 0.2), "crop": taught("all", 0.6, None)}
    rows = shown(render("task", results))
    assert rows == {
        "64 masks, `plm`": ["50.0 50.0 50.0, 20.0", ""],
        "all masks, `plm`": ["", "60.0 60.0 60.0"],
    }


def test_categories_and_their_mean() -> None:
    results = {"nose": taught("16", 0.5, None), "hair": taught("16", 0.7, None)}
    rows = shown(render("task-categories", results))
    assert rows == {"16 masks, `plm`": ["50.0", "70.0", "60.0", "60.0", "60.0"]}


def test_baselines_in_the_order_of_methods() -> None:
    summary = {"noc20@85": 3.0, "fr20@85": 0.25, "iou@1": 0.5, "iou@5": 0.75, "objects": 4}
    better = {**summary, "noc20@85": 2.0, "fr20@85": 0.0}
    spans = dict.fromkeys(summary) | {"noc20@85": [2.5, 3.5]}
    result = {
        "methods": {"nano": {}, "grabcut": {}},
        "summary": {"a": {"nano": better, "grabcut": summary}},
        "intervals": {"a": {"nano": dict.fromkeys(summary), "grabcut": spans}},
    }
    assert shown(render("baselines", {"a": result})) == {
        "a": ["4", "2.00", "3.00 (2.50 to 3.50)", "0.0 %, 25.0 %", "0.500, 0.500", "0.750, 0.750"]
    }
