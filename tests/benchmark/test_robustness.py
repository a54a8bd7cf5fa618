"""The robustness benchmark: the numbers by hand, the same prompts for all, one JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from fakes import FakeModel
from samadapt.adapters.registry import create_adapter
from samadapt.adapters.stable import StableAdapter
from samadapt.benchmark.report import render_report
from samadapt.benchmark.robustness.report import robustness_report, robustness_table
from samadapt.benchmark.robustness.result import KEYS, Answers, RobustObject, summarise
from samadapt.benchmark.robustness.run import RobustnessOptions, run_robustness
from samadapt.benchmark.tables import terminal_table
from samadapt.errors import AdapterError, DataError
from samadapt.metrics import boundary_iou
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams
from samadapt.prompts import Box, Prompt
from samadapt.training.prompt_sampling import QUALITIES, kinds
from small_models import tiny_nano
from tiny_dataset import TinyDataset, label_map, oracle

FEW = RobustnessOptions(kinds=kinds(["box", "box0.4", "3p"]), draws=4)


class Boxes(FakeModel):
    """Answers a box with all its pixels, and clicks with the pixels clicked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[tuple[Seams, ...], Prompt]] = []

    def predict(  # type: ignore[override]
        self,
        embedding: ImageEmbedding,
        prompt: Prompt | Sequence[Prompt],
        multimask: bool = False,
        adapters: Sequence[Seams] = (),
    ) -> Any:
        prompts = [prompt] if isinstance(prompt, Prompt) else list(prompt)
        self.asked += [(tuple(adapters), one) for one in prompts]
        found = [self._filled(embedding.original_size, one) for one in prompts]
        return found[0] if isinstance(prompt, Prompt) else found

    def _filled(self, size: tuple[int, int], prompt: Prompt) -> Prediction:
        mask = np.zeros(size, np.bool_)
        if isinstance(prompt.box, Box):
            x0, y0, x1, y1 = (round(v) for v in prompt.box.as_tuple())
            mask[y0:y1, x0:x1] = True
        for x, y in prompt.points:
            mask[int(y), int(x)] = True
        return Prediction(mask[None], np.ones(1, np.float32), np.zeros((1, 2, 2), np.float32))


def by_hand(model: Boxes, kind: str, label: int) -> tuple[list[float], float]:
    """IoUs and SF of what the model was asked about one object, from its own notes."""
    truth = label_map() == label
    points = 3 if kind == "3p" else 0
    masks = []
    for _, prompt in model.asked:
        own = prompt.box is None or overlaps(prompt.box, truth)
        if len(prompt.points) == points and own and hits(prompt, truth):
            masks.append(model._filled(truth.shape, prompt).masks[0])
    union = np.logical_or.reduce(masks)
    ious = [(m & truth).sum() / (m | truth).sum() for m in masks]
    return ious, float(np.mean([m.sum() / union.sum() for m in masks]))


def overlaps(box: Any, truth: Any) -> bool:
    x0, y0, x1, y1 = (round(v) for v in box.as_tuple())
    return bool(truth[y0:y1, x0:x1].sum() > 0.4 * truth.sum())


def hits(prompt: Prompt, truth: Any) -> bool:
    return all(truth[int(y), int(x)] for x, y in prompt.points)


class TestNumbers:
    def test_the_summary_is_the_mean_over_objects_of_what_masks_are_worth(
        self, tiny: TinyDataset
    ) -> None:
        tiny.edit({n: {"size": [40, 56], "counts": [40 * 56]} for n in range(4, 10)})  # one image
        model = Boxes()
        options = RobustnessOptions(kinds=kinds(["box0.4", "3p"]), draws=6)
        result = run_robustness(tiny.open(), model, options=options)
        for kind in ("box0.4", "3p"):
            expected = [by_hand(model, kind, label) for label in (1, 2, 3)]
            miou = np.mean([np.mean(ious) for ious, _ in expected])
            assert [len(ious) for ious, _ in expected] == [6, 6, 6]
            assert result.main.summary[f"miou@{kind}"] == pytest.approx(miou)
            assert result.main.summary[f"msf@{kind}"] == pytest.approx(
                np.mean([stability for _, stability in expected])
            )

    def test_exact_boxes_around_boxes_are_perfect_and_drawn_once(self, tiny: TinyDataset) -> None:
        result = run_robustness(tiny.open(), Boxes(), options=FEW)
        rows = {thing.category: thing for thing in result.main.objects}
        assert rows["square"].answers["box"].ious == (1.0,)
        assert rows["square"].answers["box"].quality == (1.0,)
        disc = label_map() == 1
        filled = np.zeros_like(disc)
        ys, xs = np.nonzero(disc)
        filled[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = True
        found = rows["disc"].answers["box"]
        assert found.ious == (disc.sum() / filled.sum(),)
        assert found.boundary_ious == (boundary_iou(filled, disc),)
        assert len(rows["disc"].answers["box0.4"].ious) == 4
        assert all(0.3 < q < 1 for q in rows["disc"].answers["box0.4"].quality)

    def test_who_always_gives_the_object_scores_one_everywhere(self, tiny: TinyDataset) -> None:
        options = RobustnessOptions(kinds=kinds(["1p", "5p"]), draws=3)
        result = run_robustness(tiny.open(), oracle(), options=options)
        for key in ("miou@1p", "mbiou@5p", "msf@1p"):
            assert result.main.summary[key] == 1.0
            assert result.main.intervals[key] == (1.0, 1.0)
        assert result.main.summary["miou@box"] is None
        assert result.main.summary["objects"] == 9

    def test_keys_are_fixed_and_other_kinds_follow(self) -> None:
        names = ["box", "box0.2", "box0.4", "box0.6", "1p", "3p", "5p", "10p"]
        expected = [f"{metric}@{name}" for metric in ("miou", "mbiou", "msf") for name in names]
        assert list(KEYS) == [*expected, "seconds_per_click", "objects"]
        assert [kind.name for kind in QUALITIES] == names
        thing = RobustObject("a", 1, 1, "x", {"7p": Answers((0.5, 0.7), (0.1, 0.2), 0.9)}, ())
        summary = summarise([thing])
        assert list(summary) == [*KEYS, "miou@7p", "mbiou@7p", "msf@7p"]
        assert summary["miou@7p"] == pytest.approx(0.6)


class TestPrompts:
    def prompts(self, model: Boxes) -> list[tuple[Any, ...]]:
        return [(p.points, p.box) for adapters, p in model.asked if not adapters]

    def test_the_seed_decides_and_fewer_objects_or_draws_are_a_part(
        self, tiny: TinyDataset
    ) -> None:
        def rows(**changes: Any) -> dict[Any, Any]:
            values = {"kinds": FEW.kinds, "draws": 4, **changes}
            found = run_robustness(tiny.open(), Boxes(), options=RobustnessOptions(**values))
            return {r.annotation_id: r.answers["box0.4"].ious for r in found.main.objects}

        everything = rows()
        assert rows() == everything
        assert rows(seed=1) != everything
        some = rows(max_objects=3)
        assert len(some) == 3
        assert some.items() <= everything.items()
        assert rows(draws=2) == {key: ious[:2] for key, ious in everything.items()}

    def test_all_rows_answer_the_same_prompts(self, tiny: TinyDataset) -> None:
        model = Boxes()
        first, second = Seams(), Seams()
        run_robustness(tiny.open(), model, {"a": [first], "b": [second]}, FEW)
        asked: dict[Any, list[Any]] = {(): [], (first,): [], (second,): []}
        for adapters, prompt in model.asked:
            asked[adapters].append((prompt.points, prompt.box))
        assert sorted(map(str, asked[()])) == sorted(map(str, asked[first,]))
        assert sorted(map(str, asked[first,])) == sorted(map(str, asked[second,]))


class TestRows:
    def test_adapters_by_name_are_rows_beside_the_frozen_model(
        self, tiny: TinyDataset, tmp_path: Path
    ) -> None:
        model = tiny_nano()
        trained = StableAdapter()
        trained.bind(model)
        assert trained.module is not None
        trained.module.routing.out.bias[0] = 2.0
        trained.save_pretrained(tmp_path / "mine")
        options = RobustnessOptions(kinds=kinds(["box0.4", "1p"]), draws=2, max_objects=2)
        specs = [str(tmp_path / "mine"), "stable", f"lora+{tmp_path / 'mine'}"]
        result = run_robustness(tiny.open(), model, specs, options)
        frozen, mine, untrained, both = result.rows
        assert [row.name for row in result.rows] == ["frozen", "mine", "stable", "lora+mine"]
        assert result.main is mine
        assert [o.answers for o in both.objects] == [o.answers for o in mine.objects]
        plain = [(a.ious, a.stability) for o in frozen.objects for a in o.answers.values()]
        silent = [(a.ious, a.stability) for o in untrained.objects for a in o.answers.values()]
        assert plain == silent, "untrained it changes nothing"
        assert all(change == 0 for change, _ in untrained.changes.values())
        for row, first in ((mine, 2.0), (untrained, 0.0)):
            alphas = row.objects[0].answers["box0.4"].alphas
            assert alphas == ((first, 1.0),) * 2
        assert frozen.objects[0].answers["box0.4"].alphas == ()
        assert all(len(o.seconds) == 1 for o in mine.objects)

    def test_an_adapter_of_another_model_is_refused_before_the_work(
        self, tiny: TinyDataset
    ) -> None:
        adapter = create_adapter("stable", tiny_nano(1))
        model = Boxes()
        with pytest.raises(AdapterError, match="made for"):
            run_robustness(tiny.open(), model, {"a": [adapter]}, FEW)
        with pytest.raises(AdapterError, match="unknown adapter"):
            run_robustness(tiny.open(), model, ["quantum"], FEW)
        assert not model.asked


class TestBadInput:
    def test_a_broken_image_is_skipped_and_reported(self, tiny: TinyDataset) -> None:
        tiny.truncate(2)
        steps: list[tuple[int, int]] = []
        result = run_robustness(
            tiny.open(),
            Boxes(),
            options=FEW,
            progress=lambda done, total: steps.append((done, total)),
        )
        assert [skip.image for skip in result.skipped] == ["2.png"]
        assert result.main.summary["objects"] == 6
        assert steps[-1] == (9, 9)
        for number in (1, 3):
            tiny.truncate(number)
        with pytest.raises(DataError, match="none of the 9 objects could be evaluated"):
            run_robustness(tiny.open(), Boxes(), options=FEW)

    @pytest.mark.parametrize(
        "values", [{"draws": 0}, {"seed": -1}, {"max_objects": 0}, {"min_area": 0}, {"kinds": ()}]
    )
    def test_options_that_make_no_sense(self, values: dict[str, Any]) -> None:
        with pytest.raises(DataError):
            RobustnessOptions(**values)

    def test_nothing_to_evaluate(self, tiny: TinyDataset) -> None:
        with pytest.raises(DataError, match="no object to evaluate"):
            run_robustness(tiny.open(), Boxes(), options=RobustnessOptions(min_area=9000))


class TestOutputs:
    @pytest.fixture
    def result(self, tiny: TinyDataset) -> Any:
        model = tiny_nano()
        options = RobustnessOptions(kinds=kinds(["box", "box0.4", "1p"]), draws=2, max_objects=2)
        return run_robustness(tiny.open(), model, ["stable", "lora"], options, command=["x"])

    def test_json_table_and_report(self, result: Any, tmp_path: Path) -> None:
        result.save(tmp_path / "r.json")
        values = json.loads((tmp_path / "r.json").read_text())
        assert list(values["summary"]) == list(KEYS)
        assert values["row"] == "stable"
        assert values["summary"] == values["rows"][1]["summary"]
        assert [row["name"] for row in values["rows"]] == ["frozen", "stable", "lora"]
        assert values["environment"]["command"] == ["x"]
        assert values["environment"]["adapters"][0]["config"]["parameters"] > 0
        assert values["protocol"]["draws"] == 2
        assert len(values["objects"]) == 6
        assert {row["row"] for row in values["objects"]} == {"frozen", "stable", "lora"}
        assert len(values["objects"][2]["alphas"]["box0.4"]) == 2

        console = Console(width=80, record=True, file=io.StringIO())
        console.print(terminal_table(robustness_table(result)))
        text = " ".join(console.export_text().split())
        assert "2 objects, 2 prompts of each kind" in text
        shown = f"{result.main.summary['miou@box'] * 100:.1f}"
        assert shown in text
        assert "time per click: frozen" in text

        page = render_report(robustness_report(result))
        assert page.startswith("<!DOCTYPE html>")
        assert "stable: alpha by kind of prompt" in page
        assert "stable: alpha by quality of the box" in page
        assert "lora: alpha" not in page, "only a router has alphas"
        assert page.count("<svg viewBox") >= 2
