from __future__ import annotations

import json
from pathlib import Path

import pytest
from outcome import one_error

from fakes import FakeModel
from samadapt.benchmark.interactive.summary import KEYS
from samadapt.cli import common
from tiny_dataset import TinyDataset


@pytest.fixture
def data(tiny: TinyDataset) -> tuple[object, ...]:
    """The options that name the tiny dataset."""
    return ("--images", tiny.images, "--masks", tiny.masks)


def benchmark(*arguments: object) -> tuple[object, ...]:
    return ("benchmark", "interactive", *arguments)


class TestRun:
    def test_table_json_and_report(self, run, model: FakeModel, data):
        args = ("--max-objects", "4", "--seed", "7", "--json", "r.json", "--html", "r.html")
        result = run(*benchmark(*data, *args))
        assert result.exit_code == 0, result.output
        assert "4 objects in" in result.stdout
        assert result.stderr == "", "no progress bar without a terminal"
        values = json.loads(Path("r.json").read_text())
        assert list(values["summary"]) == list(KEYS)
        assert values["summary"]["noc20@90"] == 1
        assert values["protocol"]["seed"] == 7
        assert len(values["objects"]) == 4
        command = values["environment"]["command"]
        assert command[:3] == ["samadapt", "benchmark", "interactive"]
        assert command[-2:] == ["--html", "r.html"]
        assert Path("r.html").read_text().startswith("<!DOCTYPE html>")
        assert sorted(p.name for p in Path().iterdir()) == ["r.html", "r.json"]

    def test_protocol_options_reach_the_result(self, run, model, data):
        options = {
            "--max-clicks": "3",
            "--stop-at": "0.8",
            "--mask-prompt": "binary",
            "--first-click": "random",
            "--larger": "area",
            "--ties": "random",
            "--at-failure": "accept",
            "--order": "file",
            "--min-area": "120",
            "--categories": "disc,square",
        }
        flags = ("--no-padding", "--multimask-first", "--json", "r.json")
        arguments = [part for option in options.items() for part in option]
        assert run(*benchmark(*data, *arguments, *flags)).exit_code == 0
        values = json.loads(Path("r.json").read_text())
        protocol = values["protocol"]
        for option, value in options.items():
            name = option.removeprefix("--").replace("-", "_")
            if name in protocol:
                assert str(protocol[name]) == value
        assert protocol["padding"] is False
        assert protocol["multimask_first"] is True
        assert protocol["filters"] == {
            "categories": ["disc", "square"],
            "min_area": 120,
            "crowd": False,
        }
        assert [row["category"] for row in values["objects"]] == ["disc", "square"] * 3

    def test_dataset_by_name(self, run, model, tiny: TinyDataset, monkeypatch):
        assert "SAMADAPT_DATA" in one_error(run(*benchmark("--dataset", "tiny")))
        monkeypatch.setenv("SAMADAPT_DATA", str(tiny.masks.parent.parent))
        assert run(*benchmark("--dataset", "tiny", "--max-objects", "1")).exit_code == 0
        assert "no folder" in one_error(run(*benchmark("--dataset", "tinny")))
        line = one_error(run(*benchmark("--dataset", "tiny", "--split", "train")))
        assert "train.json does not exist" in line

    def test_a_folder_of_masks(self, run, model, tiny: TinyDataset):
        from samadapt.data.masks import save_label_maps

        save_label_maps(tiny.open(), "masks")
        result = run(*benchmark("--images", tiny.images, "--masks", "masks", "--json", "r.json"))
        assert result.exit_code == 0, result.output
        values = json.loads(Path("r.json").read_text())
        assert values["summary"]["objects"] == 9
        assert len(values["protocol"]["dataset"]["sha256"]) == 64

    @pytest.mark.usefixtures("toy_method")
    def test_an_adapter_that_learns(self, run, data, fake_model: FakeModel, monkeypatch):
        monkeypatch.setattr(common, "load_model", lambda *_: fake_model)
        args = ("--adapter", "toy:fast", "--max-clicks", "2", "--max-objects", "3")
        assert run(*benchmark(*data, *args, "--json", "r.json")).exit_code == 0
        values = json.loads(Path("r.json").read_text())
        assert values["environment"]["adapters"][0]["spec"] == "toy:fast"
        assert values["summary"]["fr30@90"] is None

    def test_unreadable_images_are_named_and_the_run_goes_on(self, run, model, tiny, data):
        tiny.truncate(3)
        result = run(*benchmark(*data, "--json", "r.json"))
        assert result.exit_code == 0
        first, last = result.stderr.splitlines()
        assert first.startswith("skipped: ")
        assert "3.png" in first
        assert last == "1 image with 3 objects was skipped"
        (skipped,) = json.loads(Path("r.json").read_text())["skipped"]
        assert (skipped["image"], sorted(skipped["annotation_ids"])) == ("3.png", [7, 8, 9])


class TestBadInput:
    @pytest.fixture(autouse=True)
    def _nothing_written(self, model: FakeModel, run):
        yield
        assert [p.name for p in Path().iterdir() if p.is_file()] == []
        assert model.encoded == 0

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--max-objects", "0"], "error: --max-objects 0: ask"),
            (["--max-objects", "many"], "'--max-objects'"),
            (["--seed", "-1"], "seed -1"),
            (["--order", "fiel"], "--order fiel (did you mean 'file'?)"),
            (["--max-clicks", "0"], "error: --max-clicks 0, use"),
            (["--stop-at", "1.50"], "error: --stop-at 1.5 is no IoU"),
            (["--mask-prompt", "soft"], "error: --mask-prompt soft, use"),
            (["--categories", "cat"], "no category 'cat'"),
            (["--min-area", "0"], "error: --min-area 0"),
            (["--threads", "0"], "--threads 0"),
            (["--json", "."], "is a folder"),
            (["--json", "gone/r.json"], "gone does not exist"),
            (["--html", "gone/r.html"], "gone does not exist"),
            (["--json", "x", "--html", "x"], "both name x"),
            (["--adapter", "nosuch"], "nosuch"),
            (["--dataset", "x"], "one or the other"),
        ],
    )
    def test_options(self, run, data, arguments: list[str], words: str):
        assert words in one_error(run(*benchmark(*data, *arguments)))

    def test_data(self, run, data, tiny: TinyDataset):
        assert "no data" in one_error(run(*benchmark()))
        assert "no data" in one_error(run(*benchmark("--images", tiny.images)))
        out = ("--json", "r.json")
        line = one_error(run(*benchmark("--images", tiny.images, "--masks", "gone.json", *out)))
        assert "gone.json" in line
        line = one_error(run(*benchmark("--images", "gone", "--masks", tiny.masks, *out)))
        assert "gone is not a folder" in line
        line = one_error(run(*benchmark(*data, "--json", tiny.masks)))
        assert "would overwrite an input" in line
        tiny.edit({4: {"size": [40, 56], "counts": "X"}})
        assert "annotation 4" in one_error(run(*benchmark(*data, *out)))
        (tiny.images / "2.png").unlink()
        tiny.edit({4: {"size": [40, 56], "counts": [2240]}})
        assert "2.png" in one_error(run(*benchmark(*data, *out)))
        tiny.masks.write_text("{")
        assert "is not a JSON file" in one_error(run(*benchmark(*data, *out)))


def test_nothing_could_be_evaluated(run, model, tiny: TinyDataset, data):
    for number in (1, 2, 3):
        tiny.truncate(number)
    result = run(*benchmark(*data, "--json", "r.json"))
    assert result.exit_code == 2
    assert "none of the 9 objects" in result.stderr.splitlines()[-1]
    assert not Path("r.json").exists()


def test_help_without_a_sub_command(run):
    result = run("benchmark")
    assert result.exit_code == 0
    assert "interactive" in result.stdout


@pytest.mark.usefixtures("toy_method")
class TestCompareFrozen:
    def test_table_json_and_report(self, run, data, fake_model: FakeModel, monkeypatch):
        monkeypatch.setattr(common, "load_model", lambda *_: fake_model)
        args = ("--adapter", "toy:fast", "--compare-frozen", "--max-clicks", "20")
        result = run(*benchmark(*data, *args, "--json", "r.json", "--html", "r.html"))
        assert result.exit_code == 0, result.output
        assert "change (95 % interval)" in result.stdout
        values = json.loads(Path("r.json").read_text())
        assert values["environment"]["adapters"][0]["spec"] == "toy:fast"
        assert values["frozen"]["environment"]["adapters"] == []
        pairs = zip(values["objects"], values["frozen"]["objects"], strict=True)
        assert all(a["annotation_id"] == b["annotation_id"] for a, b in pairs)
        found = values["comparison"]
        for side in ("frozen", "adapted"):
            shown = {key: value and value["value"] for key, value in found[side].items()}
            summary = values["summary"] if side == "adapted" else values["frozen"]["summary"]
            assert shown == pytest.approx({k: v for k, v in summary.items() if k in shown})
        frozen, adapted = (found[side]["fr20@85"]["value"] for side in ("frozen", "adapted"))
        assert frozen > 0, "else there is nothing to reduce"
        assert found["reduction"]["fr20@85"]["value"] == pytest.approx(1 - adapted / frozen)
        assert found["reduction"]["fr30@90"] is None, "20 clicks do not tell"
        assert f"reduction of FR20@85: {100 * (1 - adapted / frozen):.1f} %" in result.stdout
        assert "reduction of FR20@85" in Path("r.html").read_text()

    def test_bad_input(self, run, model, data):
        line = one_error(run(*benchmark(*data, "--compare-frozen")))
        assert "--adapter" in line


@pytest.mark.usefixtures("toy_method")
class TestAdaptation:
    @pytest.fixture
    def named(self, tiny: TinyDataset, monkeypatch, fake_model: FakeModel) -> tuple[object, ...]:
        """The command with the tiny dataset by name and a model that can learn."""
        monkeypatch.setattr(common, "load_model", lambda *_: fake_model)
        monkeypatch.setenv("SAMADAPT_DATA", str(tiny.masks.parent.parent))
        return ("benchmark", "adaptation", "--dataset", "tiny", "--max-objects", "1")

    def test_json_table_and_report(self, run, named):
        args = ("--adapter", "toy,toy:fast", "--seeds", "0,3", "--streams", "repeated")
        result = run(*named, *args, "--json", "r.json", "--report", "r")
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        values = json.loads(Path("r.json").read_text())
        assert values["options"]["seeds"] == [0, 3]
        assert values["options"]["max_clicks"] == 30
        assert [(row["stream"], row["adapter"]) for row in values["results"]] == [
            ("sequential", "toy"),
            ("sequential", "toy:fast"),
            ("repeated", "toy"),
            ("repeated", "toy:fast"),
        ]
        assert values["environment"]["command"][:3] == ["samadapt", "benchmark", "adaptation"]
        assert "toy:fast against frozen, 2 seeds" in result.stdout
        assert Path("r/report.html").read_text().startswith("<!DOCTYPE html>")
        assert len(list(Path("r.json.runs").iterdir())) == 12

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "no adapter: give --adapter"),
            (["--adapter", "toi"], "unknown adapter method 'toi'"),
            (["--adapter", "toy,"], "no adapter"),
            (["--adapter", "toy", "--seeds", "0,x"], "--seeds 0,x"),
            (["--adapter", "toy", "--seeds", "1,1"], "seed 1 is given twice"),
            (["--adapter", "toy", "--seeds", "-1"], "seed -1"),
            (["--adapter", "toy", "--dataset", "gone"], "no folder"),
            (["--adapter", "toy", "--split", "gone"], "gone.json does not exist"),
            (["--adapter", "toy", "--streams", "odd"], "unknown stream 'odd'"),
            (["--adapter", "toy", "--streams", "mixed"], "at least two datasets"),
            (["--adapter", "toy", "--max-objects", "0"], "at least one object"),
            (
                ["--adapter", "toy", "--at-failure", "pant"],
                "--at-failure pant (did you mean 'paint'?)",
            ),
            (["--adapter", "toy", "--json", "gone/r.json"], "gone does not exist"),
        ],
    )
    def test_bad_input(self, run, named, fake_model, arguments: list[str], words: str):
        assert words in one_error(run(*named, *arguments))
        assert fake_model.encoded == 0
        assert list(Path().iterdir()) == []

    def test_no_datasets(self, run, model):
        command = ("benchmark", "adaptation", "--adapter", "toy")
        assert "no dataset" in one_error(run(*command))
        assert "SAMADAPT_DATA" in one_error(run(*command, "--dataset", "tiny"))
