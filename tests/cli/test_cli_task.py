"""`samadapt predict --task`, `--all` and `samadapt benchmark task`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outcome import one_error
from PIL import Image

from fakes import FakeModel
from samadapt.cli import common
from samadapt.data.coco import CocoDataset
from samadapt.models.base import SegmentationModel
from small_models import tiny_nano
from tiny_dataset import TinyDataset, label_map
from toy_adapter import ToyAdapter


def taught(folder: Path, model: SegmentationModel, category: str | None) -> Path:
    """A saved adapter that was taught a category."""
    adapter = ToyAdapter()
    adapter.bind(model)
    adapter.config = replace(adapter.config, recipe={"category": category})
    adapter.save_pretrained(folder)
    return folder


@pytest.fixture
def disc(tmp_path: Path, model: FakeModel, toy_method: type[ToyAdapter]) -> Path:
    return taught(tmp_path / "disc", model, "disc")


class TestPredictAll:
    def test_coco_with_masks_scores_and_the_tasks_name(
        self, run: Any, model: FakeModel, tiny: TinyDataset, disc: Path
    ) -> None:
        picture = tiny.images / "1.png"
        args = ("--task", disc, "--all", "--min-score", "0", "--out", "found.json")
        result = run("predict", picture, *args)
        assert result.exit_code == 0, result.output
        assert result.stdout == "found.json: 4 x disc\n"
        found = CocoDataset.load("found.json", tiny.images)
        found.check_images()
        masks = [found.mask(a.id) for a in found.annotations]
        for label in (1, 2, 3):
            assert any(np.array_equal(mask, label_map() == label) for mask in masks)
        record = json.loads(Path("found.json").read_text())
        assert [c["name"] for c in record["categories"]] == ["disc"]
        assert all(0 <= a["score"] <= 1 for a in record["annotations"])
        assert all(isinstance(a["segmentation"], dict) for a in record["annotations"])

    def test_two_tasks_side_by_side_with_a_picture_and_json(
        self, run: Any, model: FakeModel, tiny: TinyDataset, disc: Path, tmp_path: Path
    ) -> None:
        bar = taught(tmp_path / "bar", model, "bar")
        files = ("--out", "found.json", "--overlay", "seen.png", "--json")
        tasks = ("--task", disc, "--task", bar, "--all", "--min-score", "0", "--grid", "12")
        result = run("predict", tiny.images / "1.png", *tasks, *files)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["objects"] == {"disc": 4, "bar": 4}
        assert len(CocoDataset.load("found.json").annotations) == 8
        with Image.open("seen.png") as seen, Image.open(tiny.images / "1.png") as picture:
            changed = (np.asarray(seen) != np.asarray(picture)).any(2)
        assert changed[label_map() == 1].mean() > 0.9

    def test_nothing_found_is_a_file_without_objects(
        self, run: Any, model: FakeModel, tiny: TinyDataset, disc: Path
    ) -> None:
        args = ("--task", disc, "--all", "--min-score", "1", "--out", "found.json")
        assert run("predict", tiny.images / "1.png", *args).exit_code == 0
        found = CocoDataset.load("found.json")
        assert (len(found.images), len(found.annotations), len(found.categories)) == (1, 0, 1)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--all", "--out", "a.json"), "give --task"),
            (("--task", "DISC", "--all", "--out", "a.png"), "ends in .json"),
            (("--task", "DISC", "--all", "--point", "3,4", "--out", "a.json"), "leave them out"),
            (("--task", "DISC", "--task", "DISC", "--all", "--out", "a.json"), "two adapters"),
            (("--task", "nowhere", "--all", "--out", "a.json"), "nowhere"),
            (("--task", "DISC", "--all", "--grid", "0", "--out", "a.json"), "use 1 or more"),
            (("--task", "DISC", "--task", "DISC", "-p", "3,4", "--out", "a.png"), "one --task"),
        ],
    )
    def test_refused(
        self,
        run: Any,
        model: FakeModel,
        tiny: TinyDataset,
        disc: Path,
        arguments: tuple[str, ...],
        said: str,
    ) -> None:
        given = [str(disc) if text == "DISC" else text for text in arguments]
        assert said in one_error(run("predict", tiny.images / "1.png", *given))
        assert list(Path().iterdir()) == []

    def test_an_adapter_of_another_model_or_without_a_task(
        self, run: Any, model: FakeModel, tiny: TinyDataset, disc: Path, tmp_path: Path
    ) -> None:
        other = taught(tmp_path / "other", FakeModel(5), "disc")
        unnamed = taught(tmp_path / "unnamed", model, None)
        for folder, said in ((other, "made for"), (unnamed, "names no task")):
            args = ("--task", folder, "--all", "--out", "a.json")
            assert said in one_error(run("predict", tiny.images / "1.png", *args))


class TestPrompted:
    def test_the_task_says_what_a_click_means(
        self,
        run: Any,
        model: FakeModel,
        tiny: TinyDataset,
        disc: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        seen: list[Any] = []
        predict = model.predict
        monkeypatch.setattr(model, "predict", lambda *a: seen.append(a[2:]) or predict(*a))
        args = ("--point", "14,12", "--out", "m.png", "--json")
        result = run("predict", tiny.images / "1.png", "--task", disc, *args)
        assert result.exit_code == 0, result.output
        ((multimask, adapters),) = seen
        assert multimask is False
        assert [type(adapter) for adapter in adapters] == [ToyAdapter]
        assert json.loads(result.stdout)["adapters"] == [str(disc)]


class TestBenchmark:
    def test_writes_json_and_page_and_prints_the_table(
        self, run: Any, tiny: TinyDataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(common, "load_model", lambda *args: tiny_nano())
        data = ("--images", tiny.images, "--train", tiny.masks, "--test", tiny.masks)
        small = ("--shots", "2", "--steps", "1", "--draws", "1", "--max-objects", "1", "--grid", 2)
        rows = ("--category", "disc", "--category", "bar", "--methods", "frozen-1p,tokens")
        other = ("--transfer-images", tiny.images, "--transfer-masks", tiny.masks)
        files = ("--cache", "cache", "--json", "r.json", "--html", "r.html")
        result = run("benchmark", "task", *data, *small, *rows, *other, *files)
        assert result.exit_code == 0, result.output
        assert "2 shots" in result.stdout
        assert "Other data" in result.stdout
        values = json.loads(Path("r.json").read_text())
        assert list(values["summary"]["2"]) == ["frozen-1p", "tokens"]
        assert list(values["categories"]["2"]["tokens"]) == ["disc", "bar"]
        assert "task" in values["environment"]["command"]
        assert Path("r.html").read_text().count("frozen-1p") >= 2
        assert Path("r.json.runs").is_dir()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((), "no data"),
            (("DATA", "--shots", "few"), "whole numbers or 'all'"),
            (("DATA", "--category", "disk"), "it has bar, disc, square"),
            (("DATA", "--category", "disc", "--shots", "9"), "use 3 or fewer shots"),
            (("DATA", "--methods", "plm,magic"), "unknown method 'magic'"),
            (("DATA", "--transfer-images", "."), "or neither"),
            (("DATA", "--cache-gb", "-1"), "0 or more"),
            (("DATA", "--dataset", "x"), "not both"),
        ],
    )
    def test_refused(
        self,
        run: Any,
        model: FakeModel,
        tiny: TinyDataset,
        arguments: tuple[str, ...],
        said: str,
    ) -> None:
        data = ["--images", tiny.images, "--train", tiny.masks, "--test", tiny.masks]
        given = [part for text in arguments for part in (data if text == "DATA" else [text])]
        assert said in one_error(run("benchmark", "task", *given, "--json", "r.json"))
        assert list(Path().iterdir()) == []
