"""The task benchmark: AP by hand and against COCO's own, numbers, resuming, what is refused."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import samadapt.benchmark.task.fits as task_fits
from fakes import FakeModel
from samadapt.benchmark.report import render_report
from samadapt.benchmark.results import Overlaps
from samadapt.benchmark.tables import terminal_table
from samadapt.benchmark.task.average_precision import THRESHOLDS, average_precision, match
from samadapt.benchmark.task.evaluator import TaskEvaluator, TaskObject, TaskRow
from samadapt.benchmark.task.options import TaskOptions, all_rows
from samadapt.benchmark.task.report import task_report, task_tables
from samadapt.benchmark.task.run import run_task
from samadapt.benchmark.task.summary import CategoryRow, kept_gain, summarise
from samadapt.data.rle import Rle
from samadapt.errors import DataError
from samadapt.metrics import boundary_iou, iou
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from small_models import tiny_nano
from tiny_dataset import TinyDataset, label_map, make_dataset, oracle

QUICK = TaskOptions(
    categories=("disc",),
    shots=(1,),
    methods=("frozen-1p", "frozen-best-of-3", "lora"),
    draws=2,
    max_objects=2,
    grid=3,
    settings={"steps": 1},
)


def bar(start: int, stop: int) -> Rle:
    mask = np.zeros((4, 100), np.bool_)
    mask[:, start:stop] = True
    return Rle.from_mask(mask)


class TestAveragePrecision:
    def test_by_hand(self) -> None:
        # Two objects. The surest mask is one of them, the next is nothing, the last has IoU 0.8
        # with the other: precision is 1 up to recall 1/2, then 2/3, at the thresholds up to 0.8.
        masks = [bar(0, 20), bar(80, 90), bar(40, 48)]
        image = match(masks, [0.9, 0.8, 0.7], [bar(0, 20), bar(40, 50)])
        assert [one.hits for one in image.found] == ["1" * 10, "0" * 10, "1" * 7 + "0" * 3]
        found, missed = (51 + 50 * 2 / 3) / 101, 51 / 101
        assert average_precision([image], (0.5,)) == pytest.approx(found)
        assert average_precision([image], (0.95,)) == pytest.approx(missed)
        assert average_precision([image]) == pytest.approx((7 * found + 3 * missed) / 10)

    def test_an_object_is_found_once(self) -> None:
        image = match([bar(0, 10), bar(0, 10)], [0.5, 0.9], [bar(0, 10)])
        assert [(one.score, one.hits[0]) for one in image.found] == [(0.9, "1"), (0.5, "0")]
        assert average_precision([image]) == pytest.approx(1)

    def test_nothing_found_and_nothing_there(self) -> None:
        assert average_precision([match([], [], [bar(0, 9)])]) == 0
        assert average_precision([match([bar(0, 9)], [0.5], [])]) is None
        assert average_precision([]) is None

    def test_a_false_alarm_in_another_image_counts(self) -> None:
        right = match([bar(0, 9)], [0.5], [bar(0, 9)])
        wrong = match([bar(0, 9)], [0.9], [])
        assert average_precision([right, wrong]) == pytest.approx(0.5)

    def test_what_lies_in_a_crowd_does_not_count(self) -> None:
        masks, truths = [bar(50, 60), bar(0, 10)], [bar(40, 90), bar(0, 10)]
        image = match(masks, [0.9, 0.5], truths, [True, False])
        assert [one.hits[0] for one in image.found] == ["x", "1"]
        assert image.objects == 1
        assert average_precision([image]) == pytest.approx(1)

    @pytest.mark.parametrize("seed", range(6))
    def test_as_cocos_own_tools(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        images = [
            (
                [bar(*ends) for ends in random_bars(rng, 5)],
                [bar(*ends) for ends in random_bars(rng, 140 if seed == 0 else 12)],
                rng.random(200),
                rng.random(5) < 0.2,
            )
            for _ in range(4)
        ]
        own = average_precision(
            [match(found, scores[: len(found)], t, c[: len(t)]) for t, found, scores, c in images]
        )
        assert own == pytest.approx(by_coco(images), abs=1e-9)


def random_bars(rng: np.random.Generator, most: int) -> list[tuple[int, int]]:
    starts = rng.integers(0, 80, most)
    return [(int(s), int(s + rng.integers(2, 20))) for s in starts]


def by_coco(images: Sequence[Any]) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths, found = [], []
    for number, (masks, detections, scores, crowds) in enumerate(images, 1):
        for mask, crowd in zip(masks, crowds, strict=False):
            record = {"image_id": number, "category_id": 1, "iscrowd": int(crowd)}
            truths.append(
                {**record, "id": len(truths) + 1, "area": mask.area, "bbox": list(mask.box)}
                | {"segmentation": mask.to_coco()}
            )
        for mask, score in zip(detections, scores, strict=False):
            found.append(
                {"image_id": number, "category_id": 1, "score": float(score)}
                | {"segmentation": mask.to_coco()}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": n + 1, "width": 100, "height": 4} for n in range(len(images))],
            "annotations": truths,
            "categories": [{"id": 1, "name": "bar"}],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


class Three(FakeModel):
    """Answers with the top half of the picture; as candidates: nothing, all, the top half."""

    def predict(  # type: ignore[override]
        self,
        embedding: ImageEmbedding,
        prompt: Prompt | Sequence[Prompt],
        multimask: bool = False,
        adapters: Sequence[Seams] = (),
    ) -> Any:
        masks = np.zeros((3, *embedding.original_size), np.bool_)
        masks[1] = True
        masks[2, : masks.shape[1] // 2] = True
        chosen = masks if multimask else masks[:1]
        logits = np.zeros((len(chosen), 2, 2), np.float32)
        return Prediction(chosen, np.ones(len(chosen), np.float32), logits)


class TestMeasuring:
    def test_frozen_answers_once_and_the_oracle_picks_for_points_only(
        self, tiny: TinyDataset, tmp_path: Path
    ) -> None:
        options = TaskOptions(
            categories=("square",),
            methods=("frozen-1p", "frozen-best-of-3"),
            shots=(1,),
            max_images=0,
        )
        data = tiny.open()
        result = run_task(data, data, Three(), options, cache=tmp_path / "cache")
        truth = label_map() == 2
        half = np.zeros_like(truth)
        half[:20] = True
        everything = np.ones_like(truth)
        rows = result.table()["1"]
        assert rows["frozen-1p"]["miou@1p"] == 0
        best = max((half, everything), key=lambda mask: iou(mask, truth))
        assert rows["frozen-best-of-3"]["miou@1p"] == pytest.approx(iou(best, truth), abs=1e-5)
        assert rows["frozen-best-of-3"]["mbiou@1p"] == pytest.approx(
            boundary_iou(best, truth), abs=1e-5
        )
        assert rows["frozen-best-of-3"]["miou@box0.4"] == 0
        assert rows["frozen-1p"]["ap"] is None

    def test_a_model_that_knows_the_objects(self, tiny: TinyDataset, tmp_path: Path) -> None:
        options = TaskOptions(categories=("square",), shots=(1,), methods=("frozen-1p",), grid=6)
        data = tiny.open()
        model = oracle()
        monkey = model.predict  # boxes are beyond this model: only its clicks are looked at

        def predict(embedding: Any, prompt: Any, *rest: Any) -> Any:
            points = prompt.points or [(20.0, 20.0)]
            return monkey(embedding, Prompt(points), *rest)

        model.predict = predict  # type: ignore[method-assign]
        result = run_task(data, data, model, options, cache=tmp_path / "cache")
        row = result.table()["1"]["frozen-1p"]
        assert row["miou@1p"] == 1
        assert row["mbiou@1p"] == 1
        # It proposes four masks per image, and is surest of the one that is the object.
        assert row["ap"] == pytest.approx(1)
        assert row["intervals"]["miou@1p"] == [1, 1]

    def test_all_rows_answer_the_same_prompts(self, tiny: TinyDataset, tmp_path: Path) -> None:
        seen: dict[bool, list[Any]] = {False: [], True: []}

        class Notes(Three):
            def predict(  # type: ignore[override]
                self, embedding: Any, prompt: Any, multimask: bool = False, adapters: Any = ()
            ) -> Any:
                seen[bool(adapters)].append((prompt.points, prompt.box))
                return super().predict(embedding, prompt, multimask, adapters)

        options = TaskOptions(draws=3, max_images=0)
        evaluator = TaskEvaluator(tiny.open(), "disc", options)
        rows = [TaskRow("frozen-1p"), TaskRow("lora", (Seams(),))]
        evaluator.measure(Notes(), rows, store(tmp_path), lambda: None)
        assert seen[False] == seen[True]
        assert len(seen[False]) == 3 * 2 * 3  # objects, kinds, draws
        assert len(set(map(str, seen[False]))) >= 16

    def test_images_without_the_category_are_searched_in_proportion(
        self, tiny: TinyDataset
    ) -> None:
        content = json.loads(tiny.masks.read_text())
        content["annotations"] = [a for a in content["annotations"] if a["id"] != 1]
        tiny.masks.write_text(json.dumps(content))
        data = tiny.open()
        assert set(TaskEvaluator(data, "disc", TaskOptions()).searched) == {1, 2, 3}
        assert len(TaskEvaluator(data, "disc", TaskOptions(max_images=2)).searched) == 2
        assert TaskEvaluator(data, "disc", TaskOptions(max_images=0)).searched == ()
        assert len(TaskEvaluator(data, "disc", TaskOptions(max_objects=1)).objects) == 1


def store(tmp_path: Path) -> Any:
    from samadapt.store.dataset_encoder import DatasetEncoder
    from samadapt.store.embeddings import EmbeddingStore

    return DatasetEncoder(Three(), EmbeddingStore(tmp_path / "embeddings", 0))


def cell(category: str, values: Sequence[float], seed: int | None = 0, **fit: Any) -> CategoryRow:
    objects = [
        TaskObject(f"{n}.png", n, n, dict.fromkeys(("1p", "box0.4"), Overlaps((v,), (v,))))
        for n, v in enumerate(values)
    ]
    return CategoryRow(category, seed, TaskRow("lora", (), objects), **fit)


class TestSummary:
    def test_every_category_counts_the_same(self) -> None:
        cells = [cell("a", [1.0] * 9), cell("b", [0.5])]
        assert summarise(cells)["miou@1p"] == 0.75

    def test_seeds_are_averaged_and_shown(self) -> None:
        cells = [
            cell("a", [0.2], 0, parameters=7, seconds=2.0),
            cell("a", [0.6], 1, parameters=7, seconds=4.0),
        ]
        found = summarise(cells)
        assert found["miou@1p"] == pytest.approx(0.4)
        assert {k: v["miou@1p"] for k, v in found["by_seed"].items()} == {"0": 0.2, "1": 0.6}
        assert (found["parameters"], found["fit_seconds"]) == (7, 3.0)

    def test_the_interval_covers_the_mean_and_shrinks_with_more_images(self) -> None:
        few = summarise([cell("a", [0.0, 1.0] * 4)])["intervals"]["miou@1p"]
        many = summarise([cell("a", [0.0, 1.0] * 200)])["intervals"]["miou@1p"]
        assert few[0] < many[0] < 0.5 < many[1] < few[1]
        # Of 400 coins: 0.5 give or take 1.96 * 0.5 / 20.
        assert many == pytest.approx([0.451, 0.549], abs=0.006)

    def test_kept_gain(self) -> None:
        def row(value: float | None) -> dict[str, float | None]:
            return dict.fromkeys(("miou@1p", "mbiou@1p", "miou@box0.4", "ap"), value)

        assert kept_gain((row(0.8), row(0.3)), (row(0.7), row(0.3)))["ap"] == pytest.approx(0.8)
        assert kept_gain((row(0.3), row(0.3)), (row(0.7), row(0.3)))["ap"] is None
        assert kept_gain((row(0.8), row(None)), (row(0.7), row(0.3)))["ap"] is None


class TestRun:
    def test_one_json_with_everything_and_the_second_run_reads_it(
        self, tiny: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model, data = tiny_nano(), tiny.open()
        other = make_dataset(tmp_path / "other").open()
        places = {"transfer": other, "work": tmp_path / "work", "cache": tmp_path / "cache"}
        told: list[tuple[int, int]] = []
        first = run_task(data, data, model, QUICK, **places, progress=lambda *at: told.append(at))
        assert told[-1][0] == told[-1][1]
        first.save(tmp_path / "r.json")
        values = json.loads((tmp_path / "r.json").read_text())
        assert list(values["summary"]) == ["1"]
        assert list(values["summary"]["1"]) == list(QUICK.methods)
        row = values["summary"]["1"]["lora"]
        assert {"miou@1p", "mbiou@1p", "miou@box0.4", "ap"} <= set(row)
        assert row["parameters"] > 0
        assert row["fit_seconds"] > 0
        assert values["categories"]["1"]["lora"]["disc"]["miou@1p"] == row["miou@1p"]
        # The same pictures elsewhere: the same numbers, and all of the gain is kept.
        moved = values["transfer"]["1"]
        assert moved["lora"]["miou@1p"] == row["miou@1p"]
        assert moved["lora"]["kept_gain"]["miou@1p"] in (None, pytest.approx(1))
        assert "kept_gain" not in moved["frozen-1p"]
        assert len(values["objects"]) == 2 * 3 * 2  # objects, rows, places
        assert values["protocol"]["training_seeds"] == [0]

        def never(*args: Any, **kwargs: Any) -> None:
            raise AssertionError("measured again")

        monkeypatch.setattr(TaskEvaluator, "measure", never)
        second = run_task(data, data, model, QUICK, **places).to_dict()
        again = {k: v for k, v in second.items() if k not in ("environment", "timing")}
        before = {k: v for k, v in first.to_dict().items() if k not in ("environment", "timing")}
        assert again == before

    def test_an_interrupted_run_goes_on(
        self, tiny: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model, data = tiny_nano(), tiny.open()
        options = TaskOptions(
            categories=("disc", "bar"),
            shots=(1,),
            methods=("frozen-1p", "decoder"),
            draws=1,
            max_objects=1,
            max_images=0,
            settings={"steps": 1},
        )
        fitted: list[str] = []
        run_fit = task_fits.run_fit

        def noted(method: str, *args: Any, settings: Any, **rest: Any) -> Any:
            if settings["category"] == "bar" and "bar" not in fitted:
                fitted.append("bar")
                raise KeyboardInterrupt
            fitted.append(settings["category"])
            return run_fit(method, *args, settings=settings, **rest)

        monkeypatch.setattr(task_fits, "run_fit", noted)
        places = {"work": tmp_path / "work", "cache": tmp_path / "cache"}
        with pytest.raises(KeyboardInterrupt):
            run_task(data, data, model, options, **places)
        damaged = next((tmp_path / "work" / "cells").glob("disc_frozen*"))
        damaged.write_text('{"method": "frozen-1p"')
        result = run_task(data, data, model, options, **places)
        fresh = run_task(data, data, model, options, cache=tmp_path / "cache")
        ours, theirs = result.to_dict()["summary"], fresh.to_dict()["summary"]
        for method in options.methods:
            for key in ("miou@1p", "mbiou@1p", "miou@box0.4"):
                assert ours["1"][method][key] == theirs["1"][method][key]

    def test_table_and_page(self, tiny: TinyDataset, tmp_path: Path) -> None:
        data = tiny.open()
        options = TaskOptions(
            categories=("disc",), shots=(1, None), methods=("frozen-1p",), draws=1, grid=2
        )
        result = run_task(data, data, tiny_nano(), options, transfer=data, cache=tmp_path / "c")
        console = Console(file=io.StringIO(), width=120)
        for table in task_tables(result):
            console.print(terminal_table(table))
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert "1 shots" in text
        assert "all shots" in text
        value = f"{100 * result.table()['1']['frozen-1p']['miou@1p']:.1f}"
        assert value in text
        page = render_report(task_report(result))
        assert value in page
        assert "Other data" in page


class TestRefused:
    def test_a_category_that_is_not_there(self, tiny: TinyDataset) -> None:
        data = tiny.open()
        with pytest.raises(DataError, match="it has bar, disc, square"):
            run_task(data, data, oracle(), TaskOptions(categories=("disk",)))

    def test_fewer_masks_than_shots_before_anything_is_done(
        self, tiny: TinyDataset, tmp_path: Path
    ) -> None:
        data = tiny.open()
        options = TaskOptions(categories=("disc",), shots=(1, 4))
        with pytest.raises(DataError, match="has 3 masks of 'disc', but 4 shots"):
            run_task(data, data, oracle(), options, work=tmp_path / "work")
        assert not (tmp_path / "work").exists()

    def test_another_dataset_without_any_of_them(self, tiny: TinyDataset) -> None:
        data = tiny.open()
        content = json.loads(tiny.masks.read_text())
        for category in content["categories"]:
            category["name"] = "x" + category["name"]
        tiny.masks.write_text(json.dumps(content))
        with pytest.raises(DataError, match="none of the categories disc"):
            run_task(data, data, oracle(), QUICK, transfer=tiny.open())

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            ({"methods": ("decodr",)}, "did you mean 'decoder'"),
            ({"methods": ()}, "methods"),
            ({"shots": (4, 4)}, "shots"),
            ({"shots": (0,)}, "shots 0"),
            ({"draws": 0}, "draws"),
            ({"seed": -1}, "seed"),
        ],
    )
    def test_options(self, values: dict[str, Any], said: str) -> None:
        with pytest.raises(DataError, match=said):
            TaskOptions(**values)

    def test_the_names_that_results_are_read_by(self) -> None:
        names = "frozen-1p frozen-best-of-3 decoder lora plm plm+pmm pmm tokens"
        assert " ".join(all_rows()) == names
        assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
