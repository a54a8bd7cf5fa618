"""`samadapt fit` and `samadapt benchmark robustness` as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from outcome import one_error

import samadapt
from samadapt.benchmark.robustness.result import KEYS
from samadapt.cli import common
from samadapt.models.nano.model import NanoModel
from small_models import tiny_nano
from tiny_dataset import TinyDataset


@pytest.fixture
def nano(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> NanoModel:
    """The model that every command gets."""
    model = tiny_nano()
    monkeypatch.setattr(common, "load_model", lambda name, device, dtype: model)
    monkeypatch.setenv("SAMADAPT_CACHE", str(tmp_path / "user-cache"))
    return model


@pytest.fixture
def data(tiny: TinyDataset) -> tuple[object, ...]:
    return ("--images", tiny.images, "--masks", tiny.masks)


QUICK = ("--images-per-step", "3", "--prompts", "1p", "--seed", "2")


class TestFit:
    def test_the_adapter_that_it_writes_is_a_row_of_the_benchmark(
        self, run, nano: NanoModel, data, tmp_path: Path
    ) -> None:
        result = run("fit", "stable", *data, "--out", "mine", *QUICK, "--json", "fit.json")
        assert result.exit_code == 0, result.output
        assert result.stderr == "", "no progress bar without a terminal"
        assert "9 prompts in 3 visits of images" in result.stdout
        assert "parameters" in result.stdout
        values = json.loads(Path("fit.json").read_text())
        assert values["run"]["recipe"]["prompts"] == ["1p"]
        assert values["steps"] == 1
        assert list((tmp_path / "user-cache").glob("*/*.safetensors"))

        again = run("fit", "stable", *data, "--out", "mine", *QUICK)
        assert again.exit_code == 0
        assert "mine holds the result of this run already" in again.stdout

        options = ("--max-objects", "2", "--draws", "1", "--adapter", "mine")
        outputs = ("--json", "r.json", "--html", "r.html")
        result = run("benchmark", "robustness", *data, *options, *outputs)
        assert result.exit_code == 0, result.output
        assert "2 objects, 1 prompts of each kind" in result.stdout
        values = json.loads(Path("r.json").read_text())
        assert list(values["summary"]) == list(KEYS)
        assert all(values["summary"][key] is not None for key in KEYS)
        assert values["row"] == "mine"
        assert values["environment"]["command"][:3] == ["samadapt", "benchmark", "robustness"]
        assert Path("r.html").read_text().startswith("<!DOCTYPE html>")

    def test_several_datasets(
        self, run, nano, data, tiny: TinyDataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        result = run("fit", "stable", *data, *data, "--out", "both", *QUICK)
        assert result.exit_code == 0, result.output
        assert "18 prompts in 6 visits of images" in result.stdout
        monkeypatch.setenv("SAMADAPT_DATA", str(tiny.masks.parents[1]))
        named = ("--dataset", "tiny", "--split", "test")
        result = run("fit", "stable", *named, "--out", "named", *QUICK, "--objects-per-image", "1")
        assert result.exit_code == 0, result.output
        assert "3 prompts in 3 visits of images" in result.stdout

    @pytest.mark.parametrize(
        ("options", "method", "refined"),
        [((), "task-prompt", False), (("--point-matching",), "task-prompt:point-matching", True)],
    )
    def test_one_task(
        self, options: tuple[str, ...], method: str, refined: bool, run, nano: NanoModel, data
    ) -> None:
        task = ("--category", "disc", "--shots", "2", "--steps", "2", "--json", "fit.json")
        result = run("fit", "task-prompt", *options, *data, *task, "--out", "disc", *QUICK)
        assert result.exit_code == 0, result.output
        values = json.loads(Path("fit.json").read_text())
        assert values["run"]["method"] == method
        assert values["run"]["recipe"]["shots"] == 2
        assert values["images"] == 6, "two steps of three visits"
        adapter = samadapt.Tasks(nano, "disc")["disc"]
        assert adapter.config.point_matching is refined
        assert f"{adapter.config.parameters} parameters" in result.stdout

    def test_skipped_images_are_told(self, run, nano, data, tiny: TinyDataset) -> None:
        tiny.truncate(2)
        result = run("fit", "stable", *data, "--out", "mine", *QUICK)
        assert result.exit_code == 0
        first, last = result.stderr.splitlines()
        assert first.startswith("skipped: ")
        assert "2.png" in first
        assert last == "1 images could not be used"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("stabel",), "did you mean 'stable'"),
            (("stable:fast",), "no variant 'fast'"),
            (("stable", "--epochs", "0"), "error: --epochs 0: "),
            (
                ("stable", "--learning-rate=0"),
                "error: --learning-rate 0.0: nothing would be trained",
            ),
            (("stable", "--prompts", "2q"), "prompt kind '2q'"),
            (("stable", "--prompts-per-object", "few"), "a number or 'all'"),
            (("stable", "--start", "stable-mini"), "ships no adapter 'stable-mini'"),
            (("stable", "--masks", "more.json"), "1 --images and 2 --masks"),
            (("stable", "--cache-gb", "-1"), "--cache-gb"),
            (("task-prompt",), "objects of bar, disc, square: give the category"),
            (("task-prompt", "--category", "disk"), "did you mean 'disc'"),
            (("task-prompt", "--category", "disc", "--shots", "4"), "3 masks of 'disc'"),
            (("lora", "--category", "wheel"), "bar, disc, square"),
            (("lora", "--point-matching"), "belongs to the method task-prompt"),
        ],
    )
    def test_mistakes_are_one_line(
        self, arguments: tuple[str, ...], words: str, run, nano, data, tmp_path: Path
    ) -> None:
        result = run("fit", *arguments, *data, "--out", "mine")
        assert words in one_error(result)
        assert not Path("mine").exists()

    def test_no_data(self, run, nano) -> None:
        assert "--images" in one_error(run("fit", "stable", "--out", "mine"))


class TestRobustness:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--prompts", "box,2q"), "prompt kind '2q'"),
            (("--draws", "0"), "draws 0"),
            (("--adapter", "nowhere/else/adapter"), "no adapter"),
            (("--json", "a.json", "--html", "a.json"), "both name"),
        ],
    )
    def test_mistakes_are_one_line(
        self, arguments: tuple[str, ...], words: str, run, nano, data
    ) -> None:
        assert words in one_error(run("benchmark", "robustness", *data, *arguments))
