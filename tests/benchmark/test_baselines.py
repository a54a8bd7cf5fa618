from __future__ import annotations

import io
import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from forked import CONTEXT
from samadapt.benchmark.baselines.base import Baseline, Clicked
from samadapt.benchmark.baselines.comparison import compare_baselines, comparison_table
from samadapt.benchmark.baselines.geodesic import edge_cost, geodesic_distance
from samadapt.benchmark.baselines.regions import confirmed, distance_from
from samadapt.benchmark.baselines.registry import BASELINES, create_baselines
from samadapt.benchmark.baselines.robot import annotate_with_baseline
from samadapt.benchmark.baselines.run import PROTOCOL, BaselineOptions, run_baseline
from samadapt.benchmark.baselines.working_image import BACKGROUND, OBJECT, UNKNOWN, WorkingImage
from samadapt.benchmark.interactive.result import InteractiveResult
from samadapt.benchmark.interactive.run import run_interactive
from samadapt.benchmark.interactive.summary import KEYS
from samadapt.benchmark.options import Selection
from samadapt.benchmark.tables import terminal_table
from samadapt.cli import app, common
from samadapt.errors import DataError
from samadapt.prompts import Click
from samadapt.session.robot import ClickProtocol
from tiny_dataset import TinyDataset, oracle

SIZE = (48, 64)
SHORT = ClickProtocol(max_clicks=3, targets=(0.85,), stop_at=0.85)


@pytest.fixture(params=BASELINES)
def baseline(request: pytest.FixtureRequest) -> Baseline:
    (found,) = create_baselines([request.param])
    return found


def disc(radius: float = 14, size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.asarray(np.hypot(rows - size[0] * 0.45, columns - size[1] * 0.55) < radius)


def picture(mask: NDArray[np.bool_], noise: int = 12) -> NDArray[np.uint8]:
    """Red where the mask is, blue elsewhere, with some noise."""
    colours = np.where(mask[..., None], (190, 50, 40), (50, 60, 180))
    rough = np.random.default_rng(0).integers(-noise, noise + 1, colours.shape)
    return (colours + rough).astype(np.uint8)


def segment(
    baseline: Baseline, image: NDArray[np.uint8], clicks: list[Click], working_size: int = 320
) -> NDArray[np.bool_]:
    """The mask after these clicks, given one after the other."""
    canvas = WorkingImage.of(image, working_size)
    before = None
    for count, click in enumerate(clicks, 1):
        where = (
            int(click.y * canvas.shape[0] / canvas.size[0]),
            int(click.x * canvas.shape[1] / canvas.size[1]),
        )
        seeds = canvas.seeds(clicks[:count], baseline.seed_radius)
        found = baseline.segment(Clicked(canvas.pixels, seeds, before, where))
        before = found > 0.5
    return canvas.full_size(found, clicks)


class TestEveryPeer:
    def test_a_red_disc_on_blue(self, baseline: Baseline):
        truth = disc()
        protocol = ClickProtocol(max_clicks=4, targets=(0.9,))
        trace = annotate_with_baseline(baseline, picture(truth), truth, protocol)
        assert trace.ious[-1] > 0.9
        assert trace.reached[0.9].reached
        assert len(trace.clicks) == len(trace.ious) == len(trace.seconds) <= 4
        assert np.mean(trace.mask == truth) > 0.9

    def test_two_parts_take_a_click_each(self, baseline: Baseline):
        left, right = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
        left[14:34, 8:22], right[14:34, 40:54] = True, True
        image = picture(left | right)
        first, second = Click(15.5, 24.5), Click(47.5, 24.5)
        one = segment(baseline, image, [first])
        assert one[left].mean() > 0.9
        assert not one[right].any(), "nobody clicked there"
        both = segment(baseline, image, [first, second])
        assert both[left | right].mean() > 0.9
        assert both[~(left | right)].mean() < 0.1
        again = segment(baseline, image, [first, second, Click(49.5, 18.5, False)])
        assert not again[18, 49]
        assert again[24, 15]

    def test_clicks_are_obeyed_even_against_all_colours(self, baseline: Baseline):
        rng = np.random.default_rng(3)
        image = picture(disc())
        clicks = [Click(35.5, 21.5)]
        for _ in range(4):
            x, y = rng.uniform(0, SIZE[1]), rng.uniform(0, SIZE[0])
            clicks.append(Click(x, y, bool(rng.integers(2))))
        mask = segment(baseline, image, clicks)
        for click in clicks:
            assert mask[int(click.y), int(click.x)] == click.positive

    def test_clicks_are_obeyed_where_two_share_a_working_pixel(self, baseline: Baseline):
        image = picture(disc(100, (360, 480)))
        clicks = [Click(264.5, 160.5), Click(266.5, 160.5, False), Click(268.5, 160.5)]
        mask = segment(baseline, image, clicks, working_size=32)
        assert [mask[160, x] for x in (264, 266, 268)] == [True, False, True]

    def test_the_same_twice(self, baseline: Baseline):
        truth = disc(14)
        image = picture(truth, noise=45)
        protocol = ClickProtocol(max_clicks=5, targets=(1.0,))
        first = annotate_with_baseline(baseline, image, truth, protocol)
        cv2.setRNGSeed(77)
        second = annotate_with_baseline(baseline, image, truth, protocol)
        assert (first.clicks, first.ious) == (second.clicks, second.ious)
        np.testing.assert_array_equal(first.mask, second.mask)

    @pytest.mark.parametrize("grey", [0, 128, 255])
    def test_a_picture_of_one_colour(self, baseline: Baseline, grey: int):
        image = np.full((*SIZE, 3), grey, np.uint8)
        mask = segment(baseline, image, [Click(30.5, 30.5)])
        assert mask.shape == SIZE
        assert mask.dtype == np.bool_
        assert mask[30, 30]
        mask = segment(baseline, image, [Click(30.5, 30.5), Click(60.5, 40.5, False)])
        assert mask[30, 30]
        assert not mask[40, 60]

    @pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (2, 2), (5, 7)])
    def test_tiny_pictures(self, baseline: Baseline, size: tuple[int, int]):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
        clicks = [Click(0.5, 0.5), Click(size[1] - 0.5, size[0] - 0.5, False)]
        for count in (1, 2):
            mask = segment(baseline, image, clicks[:count])
            assert mask.shape == size
            last = clicks[count - 1]
            assert mask[int(last.y), int(last.x)] == last.positive

    def test_working_size(self, baseline: Baseline):
        """A picture of four times the size gives much the same mask, four times as large."""
        truth = disc()
        large = np.kron(truth, np.ones((4, 4))).astype(bool)
        image = picture(truth, noise=0)
        coarse = segment(baseline, np.repeat(np.repeat(image, 4, 0), 4, 1), [Click(140, 84)], 64)
        fine = segment(baseline, image, [Click(35, 21)])
        assert coarse.shape == large.shape
        assert np.mean(coarse == np.kron(fine, np.ones((4, 4)))) > 0.98

    def test_settings_can_be_written_down(self, baseline: Baseline):
        assert json.loads(json.dumps(baseline.settings))["seed_radius"] == baseline.seed_radius
        assert replace(baseline, seed_radius=0.05).settings != baseline.settings  # type: ignore[type-var]


class TestWorkingImage:
    def test_small_pictures_stay_as_they_are(self):
        image = picture(disc())
        canvas = WorkingImage.of(image, 320)
        np.testing.assert_array_equal(canvas.pixels, image)
        probability = np.zeros(SIZE, np.float32)
        probability[3, 4] = 0.6
        mask = canvas.full_size(probability, [])
        assert np.argwhere(mask).tolist() == [[3, 4]]

    def test_large_ones_are_shrunk(self):
        canvas = WorkingImage.of(np.zeros((100, 401, 3), np.uint8), 40)
        assert canvas.shape == (10, 40)
        assert canvas.size == (100, 401)

    def test_a_click_on_the_far_border_is_in_the_last_pixel(self):
        seeds = WorkingImage.of(np.zeros((40, 60, 3), np.uint8)).seeds([Click(60, 40)], 0)
        assert seeds[39, 59] == OBJECT

    def test_discs(self):
        canvas = WorkingImage.of(np.zeros((50, 100, 3), np.uint8))
        seeds = canvas.seeds([Click(20.5, 20.5), Click(70.5, 30.5, False)], 0.03)
        rows, columns = np.ogrid[:50, :100]
        near = np.hypot(rows - 20, columns - 20) <= 3
        far = np.hypot(rows - 30, columns - 70) <= 3
        np.testing.assert_array_equal(seeds == OBJECT, near)
        np.testing.assert_array_equal(seeds == BACKGROUND, far)

    def test_discs_that_meet_share_the_pixels(self):
        canvas = WorkingImage.of(np.zeros((50, 100, 3), np.uint8))
        seeds = canvas.seeds([Click(50.5, 20.5), Click(54.5, 20.5, False)], 0.05)
        assert seeds[20, 45:60].tolist() == [1] * 7 + [2] * 8
        assert seeds[20, 44] == seeds[20, 60] == UNKNOWN

    def test_two_clicks_in_one_working_pixel(self):
        canvas = WorkingImage.of(np.zeros((640, 640, 3), np.uint8), 64)
        seeds = canvas.seeds([Click(105, 105), Click(106, 106, False)], 0)
        assert seeds[10, 10] == BACKGROUND, "the later one counts"


class TestRegions:
    def test_parts_that_nobody_clicked_go_and_holes_are_filled(self):
        mask = np.zeros((9, 20), bool)
        mask[1:8, 1:8], mask[3:6, 3:6] = True, False
        mask[1:8, 11:18], mask[3:6, 13:16] = True, False
        seeds = np.zeros(mask.shape, np.uint8)
        seeds[1, 1] = OBJECT
        filled = np.zeros(mask.shape, bool)
        filled[1:8, 1:8] = True
        np.testing.assert_array_equal(confirmed(mask, seeds), filled)
        seeds[4, 4] = BACKGROUND
        kept = mask.copy()
        kept[:, 10:] = False
        np.testing.assert_array_equal(confirmed(mask, seeds), kept)

    def test_a_bay_at_the_border_is_no_hole(self):
        mask = np.ones((6, 6), bool)
        mask[2:4, 3:] = False
        seeds = np.zeros(mask.shape, np.uint8)
        seeds[0, 0] = OBJECT
        np.testing.assert_array_equal(confirmed(mask, seeds), mask)

    def test_distance(self):
        pixels = np.zeros((5, 9), bool)
        pixels[1, 2] = True
        rows, columns = np.ogrid[:5, :9]
        expected = np.hypot(rows - 1, columns - 2)
        np.testing.assert_allclose(distance_from(pixels), expected, atol=1e-5)


class TestGeodesic:
    def test_without_edges_it_is_the_way_of_a_king(self):
        cost = edge_cost(np.full((12, 15, 3), 90, np.uint8), 2.0)
        source = np.zeros((12, 15), bool)
        source[4, 5] = True
        rows, columns = np.abs(np.arange(12) - 4)[:, None], np.abs(np.arange(15) - 5)
        straight, diagonal = np.abs(rows - columns), np.minimum(rows, columns)
        expected = 2.0 * (straight + np.sqrt(2) * diagonal)
        np.testing.assert_allclose(geodesic_distance(cost, source), expected)
        assert np.isinf(geodesic_distance(cost, source & False)).all()

    def test_an_edge_is_far(self):
        image = np.zeros((11, 40, 3), np.uint8)
        image[:, 20:] = 200
        source = np.zeros((11, 40), bool)
        source[5, 12] = True
        distance = geodesic_distance(edge_cost(image, 1.0), source)
        assert distance[5, 26] > 3 * distance[5, 2]


class TestRobot:
    def test_it_stops_when_content_and_never_goes_beyond_the_limit(self, baseline: Baseline):
        truth = disc()
        content = annotate_with_baseline(baseline, picture(truth), truth, PROTOCOL)
        assert content.ious[-1] >= 0.85
        assert all(iou < 0.85 for iou in content.ious[:-1])
        noise = np.random.default_rng(0).random(SIZE) < 0.5
        hopeless = annotate_with_baseline(baseline, picture(noise), noise, SHORT)
        assert len(hopeless.clicks) == SHORT.max_clicks
        assert not hopeless.reached[0.85].reached

    def test_bad_references(self, baseline: Baseline):
        with pytest.raises(DataError, match="empty"):
            annotate_with_baseline(baseline, picture(disc()), disc(0))
        with pytest.raises(DataError, match="shape"):
            annotate_with_baseline(baseline, picture(disc()), disc()[1:])


class TestRun:
    def test_the_objects_and_first_clicks_are_those_of_a_model(self, tiny: TinyDataset):
        protocol = replace(SHORT, first_click="random", ties="random")
        options = {"max_objects": 5, "seed": 3}
        data = tiny.open()
        model = run_interactive(data, oracle(), protocol, selection=Selection(**options))
        for baseline in create_baselines(list(BASELINES)):
            found = run_baseline(data, baseline, protocol, options=BaselineOptions(**options))
            assert [row.key for row in found.objects] == [row.key for row in model.objects]
            assert [r.clicks[0] for r in found.objects] == [r.clicks[0] for r in model.objects]

    def test_numbers_rows_and_description(self, tiny: TinyDataset, baseline: Baseline):
        steps = []
        found = run_baseline(
            tiny.open(),
            baseline,
            PROTOCOL,
            options=BaselineOptions(max_objects=4, seed=1),
            progress=lambda done, total: steps.append((done, total)),
            command=["samadapt", "x"],
        )
        assert steps == [(n, 4) for n in range(1, 5)]
        assert tuple(found.summary) == KEYS
        first = np.mean([row.ious[0] for row in found.objects])
        assert found.summary["iou@1"] == pytest.approx(first)
        assert found.summary["noc20@90"] is None, "it stopped at 0.85"
        assert found.name == baseline.name
        assert found.environment["model"]["settings"] == baseline.settings
        assert found.environment["command"] == ["samadapt", "x"]
        assert found.environment["scikit-image"]
        assert found.protocol["seed"] == 1
        assert len(found.protocol["dataset"]["sha256"]) == 64

    def test_a_result_can_be_saved_like_a_models(self, tiny: TinyDataset, tmp_path: Path):
        found = run_baseline(
            tiny.open(), BASELINES["grabcut"](), SHORT, options=BaselineOptions(max_objects=2)
        )
        found.save(tmp_path / "r.json")
        assert InteractiveResult.load(tmp_path / "r.json").summary == found.summary

    def test_processes_change_nothing(self, tiny: TinyDataset, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(multiprocessing, "get_context", lambda *_: CONTEXT)
        baseline = BASELINES["grabcut"]()
        threads = cv2.getNumThreads()
        alone = run_baseline(tiny.open(), baseline, SHORT, options=BaselineOptions(max_objects=2))
        assert cv2.getNumThreads() == threads
        shared = run_baseline(
            tiny.open(), baseline, SHORT, options=BaselineOptions(max_objects=2, workers=2)
        )
        assert len(shared.objects) == 2
        for one, other in zip(alone.objects, shared.objects, strict=True):
            assert replace(one, seconds=()) == replace(other, seconds=())

    def test_unreadable_images_are_skipped(self, tiny: TinyDataset):
        tiny.truncate(2)
        steps = []
        found = run_baseline(
            tiny.open(),
            BASELINES["grabcut"](),
            replace(SHORT, max_clicks=1),
            progress=lambda done, total: steps.append((done, total)),
        )
        assert {row.image_id for row in found.objects} == {1, 3}
        (skipped,) = found.skipped
        assert sorted(skipped.annotation_ids) == [4, 5, 6]
        assert steps[-1] == (9, 9)

    def test_nothing_readable(self, tiny: TinyDataset):
        for number in (1, 2, 3):
            tiny.truncate(number)
        with pytest.raises(DataError, match=r"none of the 9 objects.*\.png"):
            run_baseline(tiny.open(), BASELINES["grabcut"](), SHORT)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_objects": 0}, "max_objects 0"),
            ({"seed": -1}, "seed -1"),
            ({"workers": 0}, "workers 0"),
            ({"working_size": 8}, "working size 8"),
        ],
    )
    def test_bad_options(self, tiny: TinyDataset, options: dict[str, int], message: str):
        with pytest.raises(DataError, match=message):
            run_baseline(
                tiny.open(), BASELINES["grabcut"](), SHORT, options=BaselineOptions(**options)
            )


class TestComparison:
    def test_the_same_objects_for_each_method(self, tiny: TinyDataset):
        methods = create_baselines(list(BASELINES))
        found = compare_baselines(
            {"a": tiny.open()}, methods, oracle(), SHORT, options=BaselineOptions(max_objects=4)
        )
        rows = found.to_dict()["objects"]
        by_method = {
            method: [
                (row["image"], row["annotation_id"]) for row in rows if row["method"] == method
            ]
            for method in ("fake", *BASELINES)
        }
        assert len(by_method["fake"]) == 4
        assert by_method["fake"] == by_method["grabcut"] == by_method["random-walker"]
        summary = found.to_dict()["summary"]["a"]
        assert summary["fake"]["iou@1"] == 1
        first = [row["ious"][0] for row in rows if row["method"] == "grabcut"]
        assert summary["grabcut"]["iou@1"] == pytest.approx(np.mean(first))

    def test_progress_counts_everything(self, tiny: TinyDataset):
        steps: list[tuple[int, int]] = []
        data = {"a": tiny.open(), "b": tiny.open()}
        compare_baselines(
            data,
            create_baselines(["grabcut"]),
            oracle(),
            replace(SHORT, max_clicks=1),
            options=BaselineOptions(max_objects=2),
            progress=lambda done, total: steps.append((done, total)),
        )
        assert steps == [(n, 8) for n in range(1, 9)]

    def test_nothing_to_compare(self, tiny: TinyDataset):
        with pytest.raises(DataError, match="nothing to compare"):
            compare_baselines({"a": tiny.open()}, [])

    def test_table(self, tiny: TinyDataset):
        from rich.console import Console

        methods = create_baselines(list(BASELINES))
        found = compare_baselines(
            {"tiny": tiny.open()}, methods, oracle(), SHORT, options=BaselineOptions(max_objects=3)
        )
        screen = io.StringIO()
        Console(file=screen, width=80).print(terminal_table(comparison_table(found)))
        lines = screen.getvalue().splitlines()
        assert lines[0].split() == ["fake", "grabcut", "random-walker"]
        assert any("tiny (3)" in line for line in lines)
        assert sum("IoU@" in line for line in lines) == 2
        assert "1.000" in next(line for line in lines if "IoU@1" in line)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`samadapt benchmark baselines` on a model that knows the tiny objects, in an empty folder."""
    monkeypatch.delenv("SAMADAPT_DATA", raising=False)
    monkeypatch.setattr(common, "load_model", lambda name, device, dtype: oracle())
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return lambda *arguments: CliRunner().invoke(
        app, ["benchmark", "baselines", *(str(a) for a in arguments)]
    )


@pytest.fixture
def data(tiny: TinyDataset) -> tuple[object, ...]:
    return ("--images", tiny.images, "--masks", tiny.masks)


class TestCommand:
    def test_json_and_table(self, run, data):
        options = ("--max-objects", 3, "--seed", 2, "--max-clicks", 2, "--json", "r.json")
        result: Result = run(*data, *options)
        assert result.exit_code == 0, result.output
        assert result.stderr == "", "no progress bar without a terminal"
        assert "random-walker" in result.stdout
        assert result.stdout.endswith("wrote r.json\n")
        values = json.loads(Path("r.json").read_text())
        assert set(values) == {
            "format",
            "environment",
            "protocol",
            "methods",
            "summary",
            "intervals",
            "timing",
            "skipped",
            "objects",
        }
        (name,) = values["summary"]
        assert name == "tiny"
        assert list(values["summary"][name]) == ["fake", "grabcut", "random-walker"]
        for numbers in values["summary"][name].values():
            assert list(numbers) == list(KEYS)
        assert len(values["objects"]) == 9
        assert values["protocol"]["seed"] == 2
        assert values["protocol"]["max_clicks"] == 2
        assert values["protocol"]["stop_at"] == 0.85
        assert values["protocol"]["working_size"] == 320
        assert len(values["protocol"]["datasets"][name]["sha256"]) == 64
        assert values["environment"]["command"][:3] == ["samadapt", "benchmark", "baselines"]
        assert values["environment"]["opencv"]
        assert values["methods"]["grabcut"]["model"]["settings"]["iterations"] == 5
        assert values["methods"]["fake"]["encoder_dtype"] == "float32"

    def test_datasets_by_name_and_no_model(self, run, tiny: TinyDataset, monkeypatch):
        monkeypatch.setenv("SAMADAPT_DATA", str(tiny.masks.parent.parent))
        options = (
            "--model",
            "none",
            "--baselines",
            "grabcut",
            "--max-objects",
            1,
            "--max-clicks",
            1,
        )
        result = run("--dataset", "tiny,tiny", *options, "--json", "r.json")
        assert result.exit_code == 0, result.output
        values = json.loads(Path("r.json").read_text())
        assert list(values["summary"]) == ["tiny"]
        assert list(values["summary"]["tiny"]) == ["grabcut"]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--baselines", "grabcat"], "no baseline 'grabcat': use one or more of grabcut"),
            (["--baselines", ",", "--model", "none"], "nothing to compare"),
            (["--max-objects", "0"], "at least one object"),
            (["--max-clicks", "0"], "--max-clicks 0"),
            (["--stop-at", "2"], "2"),
            (["--seed", "-1"], "seed -1"),
            (["--workers", "0"], "workers 0"),
            (["--working-size", "4"], "--working-size 4"),
            (["--json", "gone/r.json"], "gone does not exist"),
            (["--dataset", "x"], "one or the other"),
        ],
    )
    def test_bad_input_is_one_line(self, run, data, arguments: list[str], words: str):
        result: Result = run(*data, *arguments)
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        assert words in line
        assert result.stdout == ""
        assert list(Path().iterdir()) == []

    def test_no_data(self, run):
        assert "no data" in run("--max-objects", 1).stderr
        assert "SAMADAPT_DATA" in run("--dataset", "a,b").stderr
        assert "no dataset: give --dataset NAME" in run("--dataset", ",").stderr
