from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from test_report import Page

from fakes import FakeModel, blobs
from samadapt.adapters.base import Interaction
from samadapt.benchmark.adaptation import evaluator
from samadapt.benchmark.adaptation.report import adaptation_report, adaptation_tables
from samadapt.benchmark.adaptation.run import (
    AdaptationResult,
    Average,
    ScenarioResult,
    run_adaptation,
)
from samadapt.benchmark.adaptation.scenarios import Scenario
from samadapt.benchmark.adaptation.streams import CarelessSession, dilated, mixed, repeated, shifted
from samadapt.benchmark.interactive.compare import (
    Estimate,
    average,
    compare_frozen,
    compare_runs,
    run_compared,
)
from samadapt.benchmark.interactive.plots import running_mean
from samadapt.benchmark.interactive.result import InteractiveResult, ObjectResult
from samadapt.benchmark.interactive.run import run_interactive
from samadapt.benchmark.interactive.summary import KEYS, MEASURES, intervals
from samadapt.benchmark.options import Selection
from samadapt.benchmark.report import render_report
from samadapt.benchmark.tables import terminal_table
from samadapt.data.coco import CocoDataset
from samadapt.errors import AdapterError, DataError
from samadapt.metrics import bootstrap_interval, iou
from samadapt.prompts import Click
from samadapt.session.robot import ClickProtocol
from tiny_dataset import TinyDataset, label_map, make_dataset, oracle
from toy_adapter import ToyAdapter

SHORT = ClickProtocol(max_clicks=3, targets=(0.3,))
FAIL, PASS, LATE = (0.1,) * 30, (0.95,), (0.1,) * 24 + (0.93,)


def result_of(
    curves: Sequence[Sequence[float]], images: Sequence[int], **more
) -> InteractiveResult:
    """A result with these click curves, as if from a run of 30 clicks to IoU 0.90."""
    rows = tuple(
        ObjectResult(
            f"{image}.png",
            image,
            number,
            "thing",
            (Click(0.5, 0.5),) * len(curve),
            tuple(curve),
            (0.1,) * len(curve),
            {},
        )
        for number, (curve, image) in enumerate(zip(curves, images, strict=True), 1)
    )
    protocol = {"max_clicks": 30, "stop_at": 0.9, "seed": 0, **more}
    return InteractiveResult({}, protocol, dict.fromkeys(KEYS), {}, rows)


class TestComparison:
    FROZEN = result_of([FAIL, FAIL, LATE, PASS], [1, 2, 3, 4])
    ADAPTED = result_of([FAIL, LATE, PASS, PASS], [1, 2, 3, 4])

    def test_hand_computed(self):
        found = compare_frozen(self.FROZEN, self.ADAPTED)
        assert (found.visits, found.images) == (4, 4)
        values = {name: getattr(found, name)["fr20@85"] for name in ("frozen", "adapted", "change")}
        assert [e.value for e in values.values()] == [0.75, 0.5, -0.25]
        assert found.reduction["fr20@85"].value == pytest.approx(1 / 3)
        assert found.reduction["fr30@90"].value == pytest.approx(1 / 2)
        assert found.change["noc20@85"].value == pytest.approx((1 - 20) / 4)
        assert found.frozen["seconds_per_click"].value == pytest.approx(0.1)
        assert found.change["seconds_per_click"].value == pytest.approx(0)

    def test_the_same_numbers_as_the_summarys_own(self):
        """An independent path: `bootstrap_interval` draws for one measure at a time."""
        found = compare_frozen(self.FROZEN, self.ADAPTED)
        spans = intervals(list(self.FROZEN.curves.values()), 30, 0.9)
        for measure in MEASURES:
            changes = [
                measure.of(after.ious) - measure.of(before.ious)
                for before, after in zip(
                    self.FROZEN.curves.values(), self.ADAPTED.curves.values(), strict=True
                )
            ]
            span = bootstrap_interval(changes, groups=[1, 2, 3, 4])
            assert found.change[measure.key].value == pytest.approx(np.mean(changes))
            assert found.change[measure.key].interval == pytest.approx(span)
            assert found.frozen[measure.key].interval == pytest.approx(spans[measure.key])
        assert found.frozen["seconds_per_click"].interval == pytest.approx((0.1, 0.1))

    def test_reduction_needs_a_failure(self):
        fine = result_of([PASS, PASS], [1, 2])
        found = compare_frozen(fine, result_of([FAIL, PASS], [1, 2]))
        assert set(found.reduction.values()) == {None}
        assert found.change["fr20@85"].value == 0.5

    def test_worse_is_a_negative_reduction(self):
        found = compare_frozen(self.ADAPTED, self.FROZEN)
        assert found.reduction["fr20@85"].value == pytest.approx(-0.5)

    def test_draws_without_a_failure_are_left_out(self):
        """Two images, one fails: of draws 11, 12, 21, 22 the last has no failure."""
        found = compare_frozen(result_of([FAIL, PASS], [1, 2]), result_of([PASS, PASS], [1, 2]))
        estimate = found.reduction["fr20@85"]
        assert estimate.interval == (1, 1)
        assert 0.2 < np.isnan(estimate.draws).mean() < 0.3

    def test_seeds_are_pooled_and_images_drawn_whole(self):
        """Twice the same runs is no more evidence than once."""
        once = compare_runs([(self.FROZEN, self.ADAPTED)])
        twice = compare_runs([(self.FROZEN, self.ADAPTED)] * 2)
        assert (twice.visits, twice.images) == (8, 4)
        for name in ("frozen", "adapted", "change", "reduction"):
            for key, estimate in getattr(once, name).items():
                assert getattr(twice, name)[key].value == pytest.approx(estimate.value)
                assert getattr(twice, name)[key].interval == pytest.approx(estimate.interval)

    def test_only_shared_objects_count(self):
        part = replace(self.ADAPTED, objects=self.ADAPTED.objects[2:])
        found = compare_frozen(self.FROZEN, part)
        assert (found.visits, found.frozen["fr20@85"].value) == (2, 0.5)

    def test_one_image_has_no_interval(self):
        one = [1] * 4
        found = compare_frozen(result_of([FAIL, FAIL, LATE, PASS], one), result_of([PASS] * 4, one))
        assert found.reduction["fr20@85"] == Estimate(1.0, None)

    def test_what_the_protocol_hides_is_none(self):
        short = result_of([PASS], [1], max_clicks=5)
        found = compare_frozen(short, short)
        assert found.frozen["fr30@90"] is found.change["noc20@85"] is None
        json.dumps(found.to_dict(), allow_nan=False)

    def test_nothing_to_compare(self):
        with pytest.raises(DataError, match="no object in common"):
            compare_frozen(self.FROZEN, replace(self.ADAPTED, objects=()))
        with pytest.raises(DataError, match=r"different protocols \(20 clicks to IoU 0.9 and 30"):
            compare_frozen(self.FROZEN, result_of([PASS], [1], max_clicks=20))

    def test_average_counts_every_dataset_the_same(self):
        small = Estimate.of(0.2, np.array([0.1, 0.3]))
        large = Estimate.of(0.6, np.array([0.5, np.nan]))
        found, count = average([small, None, large])
        assert (found.value, count) == (pytest.approx(0.4), 2)
        assert found.interval == pytest.approx((0.3, 0.3)), "the draw with NaN says nothing"
        assert average([None]) is None
        assert average([small, Estimate(0.0)])[0].interval is None


def compared(tiny, model, selection=None, progress=None):
    def run(adapters, told):
        return run_interactive(
            tiny.open(), model, SHORT, adapters, selection=selection, progress=told
        )

    return run_compared(run, ["toy:fast"], progress)


@pytest.mark.usefixtures("toy_method")
class TestCompared:
    def test_same_objects_in_the_same_order(self, tiny: TinyDataset, fake_model: FakeModel):
        seen = []
        found = compared(tiny, fake_model, Selection(seed=1), lambda *p: seen.append(p))
        frozen = run_interactive(tiny.open(), fake_model, SHORT, selection=Selection(seed=1))
        assert [r.ious for r in found.frozen.objects] == [r.ious for r in frozen.objects]
        assert [r.key for r in found.objects] == [r.key for r in frozen.objects]
        assert found.name == "fake + toy:fast"
        assert found.frozen.name == "fake"
        assert seen == [(n, 18) for n in range(1, 19)]
        change = found.comparison["change"]["iou@1"]["value"]
        assert change == pytest.approx(found.summary["iou@1"] - frozen.summary["iou@1"])

    def test_round_trip(self, tiny: TinyDataset, fake_model: FakeModel, tmp_path: Path):
        found = compared(tiny, fake_model)
        found.save(tmp_path / "r.json")
        again = InteractiveResult.load(tmp_path / "r.json")
        assert again.to_dict() == found.to_dict()
        assert len((tmp_path / "r.json").read_text().split('"annotation_id"')) == 19

    def test_without_an_adapter(self, tiny: TinyDataset, fake_model: FakeModel):
        with pytest.raises(DataError, match="at least one adapter"):
            run_compared(lambda adapters, told: None, [])


class TestMixed:
    def test_blocks_of_each_dataset_in_turn(self, tiny: TinyDataset, tmp_path: Path):
        other = make_dataset(tmp_path / "other")
        datasets = {"a": tiny.open(), "b": other.open()}
        found = mixed(datasets, seed=3, max_objects=5, block=2)
        names = [found.image(a.image_id).file_name.split("/")[0] for a in found.annotations]
        assert names == ["tiny", "tiny", "other", "other"] * 2 + ["tiny", "other"]
        own = [a for a, n in zip(found.annotations, names, strict=True) if n == "other"]
        refs = datasets["b"].objects(max_objects=5, seed=3)
        for annotation, ref in zip(own, refs, strict=True):
            mask = datasets["b"].mask(ref.annotation_id)
            np.testing.assert_array_equal(found.mask(annotation.id), mask)
            assert found.category(annotation.category_id).name == ref.category
            pixels = datasets["b"].read_image(ref.image_id)
            np.testing.assert_array_equal(found.read_image(annotation.image_id), pixels)

    def test_unequal_datasets_run_out_one_by_one(self, tiny: TinyDataset):
        dataset = tiny.open()
        short = replace(dataset, annotations=dataset.annotations[:1])
        found = mixed({"a": short, "b": dataset}, seed=0, block=4)
        assert len(found.annotations) == 10

    def test_one_dataset(self, tiny: TinyDataset):
        with pytest.raises(DataError, match="at least two"):
            mixed({"a": tiny.open()}, 0)

    def test_repeated(self, tiny: TinyDataset):
        dataset = tiny.open()
        found = repeated(dataset, seed=2, times=4)
        (ref,) = dataset.objects(max_objects=1, seed=2)
        assert [a.image_id for a in found.annotations] == [ref.image_id] * 4
        assert [a.id for a in found.annotations] == [1, 2, 3, 4]
        for annotation in found.annotations:
            np.testing.assert_array_equal(
                found.mask(annotation.id), dataset.mask(ref.annotation_id)
            )
        with pytest.raises(DataError, match="at least one"):
            repeated(dataset, 0, 0)


class Listener(ToyAdapter):
    """Is told everything and learns nothing."""

    def on_click(self, interaction: Interaction) -> None:
        self.seen.note("click", interaction)


class TestCarelessSession:
    def accept(self, count: int, seed: int = 0) -> tuple[CarelessSession, ToyAdapter]:
        """A session in which the square was accepted so many times."""
        model, adapter = oracle(), Listener()
        session = CarelessSession(model, [adapter], seed=seed)
        session.open(blobs())
        for _ in range(count):
            session.click(38, 29)
            session.accept()
        return session, adapter

    def test_one_in_five_is_bad_and_the_adapter_cannot_tell(self):
        session, adapter = self.accept(20)
        good = label_map() == 2
        overlaps = [iou(mask, good) for mask in adapter.seen.masks]
        for block in range(0, 20, 5):
            assert sum(value < 0.6 for value in overlaps[block : block + 5]) == 1
        assert sum(value == 1 for value in overlaps) == 16
        calls = [call for call in adapter.seen.calls if call != "open"]
        told = zip(adapter.seen.interactions, calls, strict=True)
        accepted = [interaction for interaction, call in told if call == "accept"]
        for interaction, mask in zip(accepted, adapter.seen.masks, strict=True):
            np.testing.assert_array_equal(interaction.mask, mask)
        logged = [record.event for record in session.log if record.event.kind == "accepted"]
        for event, mask in zip(logged, adapter.seen.masks, strict=True):
            np.testing.assert_array_equal(event.mask(), mask)
        assert len(session.mistakes) == 4

    def test_seeded(self):
        def masks(seed: int) -> list[bytes]:
            return [mask.tobytes() for mask in self.accept(10, seed)[1].seen.masks]

        assert masks(1) == masks(1)
        assert masks(1) != masks(2)

    def test_every_kind_of_mistake_comes_up(self):
        found = {kind for seed in range(8) for kind in self.accept(5, seed)[0].mistakes}
        assert {"shifted", "dilated"} <= found

    def test_mistakes(self):
        mask = label_map() == 2
        rng = np.random.default_rng(0)
        for _ in range(20):
            moved = shifted(mask, rng)
            assert moved.sum() == mask.sum()
            assert iou(moved, mask) < 0.2
        grown = dilated(mask)
        assert (grown & mask).sum() == mask.sum()
        assert iou(grown, mask) < 0.6


@pytest.fixture
def datasets(tiny: TinyDataset, tmp_path: Path) -> dict[str, CocoDataset]:
    return {"one": tiny.open(), "two": make_dataset(tmp_path / "two").open()}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What is really run: the adapters of each run."""
    made: list[tuple[str, ...]] = []

    def counted(dataset, model, protocol, adapters, selection, **options):
        made.append(tuple(adapters))
        return run_interactive(dataset, model, protocol, adapters, selection, **options)

    monkeypatch.setattr(evaluator, "run_interactive", counted)
    return made


@pytest.mark.usefixtures("toy_method")
class TestRun:
    def test_rows_are_those_of_single_runs(self, datasets, fake_model: FakeModel):
        seeds = (0, 1)
        found = run_adaptation(
            datasets, fake_model, ["toy", "toy:fast"], seeds, protocol=SHORT, max_objects=4
        )
        assert [(row.scenario.name, row.adapter) for row in found.rows] == [
            ("one", "toy"),
            ("one", "toy:fast"),
            ("two", "toy"),
            ("two", "toy:fast"),
        ]
        values = []
        for seed in seeds:
            single = run_interactive(
                datasets["two"],
                fake_model,
                SHORT,
                ["toy:fast"],
                selection=Selection(seed=seed, max_objects=4),
            )
            values.append(single.summary["iou@1"])
        row = found.rows[3].comparison
        assert row.visits == 8
        assert row.adapted["iou@1"].value == pytest.approx(np.mean(values))
        toy, fast = found.averages
        assert (toy.adapter, fast.adapter) == ("toy", "toy:fast")
        changes = [r.comparison.change["iou@1"].value for r in found.rows if r.adapter == "toy"]
        assert toy.change["iou@1"][0].value == pytest.approx(np.mean(changes))

    def test_two_adapters_in_one_row(self, datasets, fake_model: FakeModel, tmp_path: Path, runs):
        found = run_adaptation(
            datasets, fake_model, ["toy+toy:fast"], (0,), protocol=SHORT, max_objects=2,
            runs=tmp_path,
        )  # fmt: skip
        assert [row.adapter for row in found.rows] == ["toy+toy:fast"] * 2
        assert ("toy", "toy:fast") in runs
        alone = run_interactive(
            datasets["two"],
            fake_model,
            SHORT,
            ["toy", "toy:fast"],
            selection=Selection(seed=0, max_objects=2),
        )
        assert found.rows[1].comparison.adapted["iou@1"].value == pytest.approx(
            alone.summary["iou@1"]
        )

    def test_finished_runs_are_not_run_again(
        self, datasets, fake_model: FakeModel, tmp_path: Path, runs
    ):
        options = {"protocol": SHORT, "max_objects": 3, "runs": tmp_path / "cells"}
        first = run_adaptation(datasets, fake_model, ["toy"], (0,), **options)
        assert len(runs) == 4
        assert len(list((tmp_path / "cells").iterdir())) == 4
        again = run_adaptation(datasets, fake_model, ["toy"], (0,), **options)
        assert len(runs) == 4
        assert again.to_dict()["results"] == first.to_dict()["results"]
        run_adaptation(datasets, fake_model, ["toy", "toy:fast"], (0,), **options)
        assert runs[4:] == [("toy:fast",)] * 2
        run_adaptation(datasets, FakeModel(seed=1), ["toy"], (0,), **options)
        assert len(runs) == 10, "another model"

    def test_an_interrupted_benchmark_goes_on(
        self, datasets, fake_model: FakeModel, tmp_path: Path, runs
    ):
        steps: list[tuple[int, int]] = []

        def stop_in_the_third_run(done: int, total: int) -> None:
            steps.append((done, total))
            if done == 8:
                raise KeyboardInterrupt

        options = {"protocol": SHORT, "max_objects": 3, "runs": tmp_path / "cells"}
        with pytest.raises(KeyboardInterrupt):
            run_adaptation(
                datasets, fake_model, ["toy"], (0,), progress=stop_in_the_third_run, **options
            )
        assert len(list((tmp_path / "cells").iterdir())) == 2
        steps.clear()
        run_adaptation(
            datasets, fake_model, ["toy"], (0,), progress=lambda *s: steps.append(s), **options
        )
        assert len(runs) == 5
        assert (steps[0], steps[-1]) == ((3, 12), (12, 12))

    def test_a_damaged_run_is_made_again(self, datasets, fake_model, tmp_path: Path, runs):
        options = {"protocol": SHORT, "max_objects": 2, "runs": tmp_path / "cells"}
        run_adaptation(datasets, fake_model, ["toy"], (0,), **options)
        next((tmp_path / "cells").iterdir()).write_text("{")
        run_adaptation(datasets, fake_model, ["toy"], (0,), **options)
        assert len(runs) == 5

    def test_the_frozen_model_is_not_run_for_every_seed(self, tiny, fake_model, runs):
        datasets = {"one": tiny.open()}
        found = run_adaptation(datasets, fake_model, ["toy"], (0, 1), protocol=SHORT)
        assert runs.count(()) == 1
        frozen = found.rows[0].runs[1][0]
        direct = run_interactive(tiny.open(), fake_model, SHORT, selection=Selection(seed=1))
        assert [(r.key, r.ious) for r in frozen.objects] == [
            (r.key, r.ious) for r in direct.objects
        ]
        assert frozen.summary["iou@1"] == direct.summary["iou@1"]
        random = replace(SHORT, first_click="random")
        run_adaptation(datasets, fake_model, ["toy"], (0, 1), protocol=random)
        assert runs.count(()) == 3

    def test_streams(self, datasets, fake_model: FakeModel, tmp_path: Path, runs):
        easy = ClickProtocol(max_clicks=3, targets=(0.05,), at_failure="accept")
        found = run_adaptation(
            datasets,
            fake_model,
            ["toy"],
            (0,),
            protocol=easy,
            max_objects=7,
            streams=["repeated", "mixed", "wrong-accepts"],
        )
        assert [row.scenario.title for row in found.rows] == [
            "one",
            "two",
            "2 datasets, mixed",
            "one, wrong accepts",
            "two, wrong accepts",
            "one, repeated",
            "two, repeated",
        ]
        assert [row.comparison.visits for row in found.rows] == [7, 7, 14, 7, 7, 7, 7]
        assert runs.count(()) == 5, "wrong accepts share the frozen run of the plain course"
        wrong = found.rows[3].to_dict()["seeds"][0]["wrong_accepts"]
        assert (wrong["one_in"], len(wrong["mistakes"])) == (5, 1)
        assert {row.kind for row in found.averages} == {"sequential", "wrong-accepts", "repeated"}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"seeds": ()}, "no seed"),
            ({"seeds": (0, 1, 0)}, "seed 0 is given twice"),
            ({"seeds": (-1,)}, "seed -1"),
            ({"adapters": ()}, "no adapter"),
            ({"adapters": ("toy", "toy")}, "adapter toy is given twice"),
            ({"streams": ["endless"]}, "unknown stream 'endless': use one of mixed, "),
            ({"max_objects": 0}, "max_objects 0"),
            ({"datasets": {}}, "no dataset"),
        ],
    )
    def test_bad_options(self, datasets, change: dict[str, object], message: str):
        model = oracle()
        given = {"datasets": datasets, "adapters": ("toy",), "seeds": (0,)} | change
        with pytest.raises(DataError, match=message):
            run_adaptation(model=model, **given)
        assert model.encoded == 0

    def test_an_unknown_adapter_is_found_before_the_work(self, datasets, tmp_path: Path):
        model = oracle()
        with pytest.raises(AdapterError, match="toi"):
            run_adaptation(datasets, model, ["toy", "toi"], runs=tmp_path / "cells")
        assert model.encoded == 0
        assert not (tmp_path / "cells").exists()

    def test_a_folder_that_cannot_be_made(self, datasets, tmp_path: Path):
        (tmp_path / "file").touch()
        with pytest.raises(DataError, match=r"file.*cannot be created"):
            run_adaptation(datasets, oracle(), ["toy"], runs=tmp_path / "file")


class TestShown:
    @pytest.fixture
    def result(self) -> AdaptationResult:
        """One dataset where the adapter helps, one where it harms, two seeds."""
        helped = (
            result_of([FAIL, FAIL, LATE, PASS], [1, 2, 3, 4]),
            result_of([PASS] * 4, [1, 2, 3, 4]),
        )
        harmed = result_of([PASS, LATE], [1, 2]), result_of([LATE, LATE], [1, 2])
        rows = []
        for name, (frozen, adapted) in (("good", helped), ("bad", harmed)):
            scenario = Scenario("sequential", {name: CocoDataset(())})
            runs = {0: (frozen, adapted), 1: (frozen, adapted)}
            comparison = compare_runs(list(runs.values()))
            rows.append(ScenarioResult(scenario, "<toy>", runs, comparison))
        environment = {"date": "today", "model": {"name": "fake"}, "samadapt": "1"}
        options = {"seeds": [0, 1], "max_clicks": 30, "stop_at": 0.9}
        return AdaptationResult(environment, options, tuple(rows), (Average.of(rows),))

    def test_lines(self, result: AdaptationResult):
        (table,) = adaptation_tables(result)
        good, bad, mean = table.rows
        assert (good.label, bad.label, mean.label) == ("good", "bad", "average")
        visits, noc, change, fr20, less20, fr30, _, seconds = good.cells
        assert (visits.text, noc.text, change.text) == ("8", "15.25 → 1.00", "-14.25")
        assert (change.verdict, bad.cells[2].verdict) == ("better", "")
        assert (fr20.text, fr30.text) == ("75.0 → 0.0 %", "50.0 → 0.0 %")
        assert (less20.text, seconds.text) == ("100.0 %", "100 ms → 100 ms")
        assert [cell.text for cell in bad.cells[3:5]] == ["50.0 → 100.0 %", "-100.0 %"]
        assert (mean.cells[2].text, mean.cells[4].text) == ("-2.38", "0.0 %")
        assert len(table.columns) == 8

    def test_table(self, result: AdaptationResult):
        console = Console(width=80, file=io.StringIO(), color_system=None)
        for table in adaptation_tables(result):
            console.print(terminal_table(table))
        text = console.file.getvalue()
        assert "<toy> against frozen, 2 seeds" in text
        assert "15.25 → 1.00" in text
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 80

    def test_report(self, result: AdaptationResult):
        text = render_report(adaptation_report(result))
        page = Page(text)
        assert "<toy> reduces FR20@85 by 0.0 %" in page.words
        assert page.all("toy") == []
        assert "frozen <toy>" in page.words, "which line is which"
        assert "good clicks to IoU 0.85, at most 20" in page.words
        assert len(page.all("section", "plot")) == 2
        assert len(page.all("td", "better")) == 1
        assert "var(--series-2)" in text
        assert "http" not in text
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))

    def test_running_mean(self):
        """Two runs of 4 and 3 objects: as far as both go, from the first full window on."""
        assert running_mean([[20, 10, 6, 2], [10, 10, 2]], 2) == ([2, 3], [12.5, 7.0])
        assert running_mean([[4]], 3) == ([1], [4.0])
