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
from moving import save_stack
from samadapt.cli.drawing import draw_overlay
from samadapt.cli.option_names import with_option_names
from samadapt.cli.predict import parse_box, parse_point
from samadapt.errors import PromptError
from samadapt.prompts import Box, Click, Prompt
from tiny_dataset import TinyDataset, label_map

DISC = label_map() == 1


def read(path: Path | str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


class TestMask:
    def test_png_of_0_and_255_at_the_original_size(self, run, model: FakeModel, tiny: TinyDataset):
        result = run("predict", tiny.images / "1.png", "--point", "14,12", "--out", "mask.png")
        assert result.exit_code == 0, result.output
        mask = read("mask.png")
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, np.where(DISC, 255, 0))
        assert f"area {DISC.sum()} pixels" in result.stdout
        assert "box 6,4,23,21" in result.stdout
        said = "model: nano (it ships with samadapt, and no other model is on this machine)\n"
        assert result.stderr == said
        assert [p.name for p in Path().iterdir()] == ["mask.png"]

    def test_json(self, run, model: FakeModel, tiny: TinyDataset):
        result = run(
            "predict", tiny.images / "1.png", "--point", "14,12", "--out", "m.png", "--json"
        )
        values = json.loads(result.stdout)
        (mask,) = values["masks"]
        assert mask["file"] == "m.png"
        assert mask["area"] == DISC.sum()
        assert mask["box"] == [6, 4, 23, 21]
        assert 0 <= mask["score"] <= 1
        assert values["size"] == [56, 40]
        assert values["model"] == "fake"

    def test_which_slice_of_a_stack_was_used_is_told(
        self, run, model: FakeModel, tiny: TinyDataset
    ):
        save_stack(Path("volume.tif"), np.stack([read(tiny.images / "1.png")] * 2))
        arguments = ("--point", "14,12", "--out", "m.png", "--model", "fake")
        result = run("predict", "volume.tif", *arguments)
        assert result.stderr == (
            "note: volume.tif has 2 slices, of which the first is used: give 'volume.tif#z=1' for "
            "the second\n"
        )
        assert run("predict", "volume.tif#z=1", *arguments).stderr == ""

    @pytest.mark.parametrize(
        ("spec", "how"),
        [("decoder", "`samadapt fit decoder --out DIR"), ("online", "`samadapt annotate`")],
    )
    def test_an_untrained_adapter_is_told(self, run, model, tiny: TinyDataset, spec, how):
        arguments = ("--point", "14,12", "--out", "m.png", "--model", "fake", "--adapter", spec)
        (line,) = run("predict", tiny.images / "1.png", *arguments).stderr.splitlines()
        assert line.startswith(f"note: --adapter {spec} is untrained and leaves the model as it is")
        assert how in line

    def test_several_clicks_are_one_prompt(self, run, model, tiny, monkeypatch):
        seen = []
        predict = model.predict
        monkeypatch.setattr(model, "predict", lambda *a: seen.append(a[1:3]) or predict(*a))
        args = ("--point", "14,12", "-p", "3,4,0", "--box", "1,2,30,31.5", "--out", "m.png")
        assert run("predict", tiny.images / "1.png", *args).exit_code == 0
        ((prompt, multimask),) = seen
        assert prompt.clicks == (Click(14, 12), Click(3, 4, False))
        assert prompt.box == Box(1, 2, 30, 31.5)
        assert multimask is False

    def test_a_single_click_takes_the_best_of_three(self, run, model, tiny, monkeypatch):
        seen = []
        predict = model.predict
        monkeypatch.setattr(model, "predict", lambda *a: seen.append(a[2]) or predict(*a))
        for more in ((), ("--box", "1,1,30,30"), ("--point", "3,4,0")):
            run("predict", tiny.images / "1.png", "-p", "14,12", *more, "-o", "m.png")
        assert seen == [True, False, False]

    def test_three_candidates(self, run, model: FakeModel, tiny: TinyDataset):
        image = tiny.images / "1.png"
        result = run("predict", image, "-p", "14,12", "-o", "m.png", "--multimask", "--json")
        files = [mask["file"] for mask in json.loads(result.stdout)["masks"]]
        assert files == ["m-1.png", "m-2.png", "m-3.png"]
        assert sorted(p.name for p in Path().iterdir()) == files

    def test_an_earlier_mask(self, run, model, tiny, monkeypatch):
        Image.fromarray(DISC.astype(np.uint8) * 255).save("earlier.png")
        seen = []
        predict = model.predict
        monkeypatch.setattr(model, "predict", lambda *a: seen.append(a[1]) or predict(*a))
        args = ("--mask", "earlier.png", "-p", "14,12", "-o", "m.png")
        assert run("predict", tiny.images / "1.png", *args).exit_code == 0
        np.testing.assert_array_equal(seen[0].mask, DISC)

    def test_overlay(self, run, model: FakeModel, tiny: TinyDataset):
        image = tiny.images / "1.png"
        args = ("-p", "14,12", "-o", "m.png", "--overlay")
        assert run("predict", image, *args, "o.png").exit_code == 0
        before, after = read(image).astype(int), read("o.png").astype(int)
        assert before.shape == after.shape
        changed = (before != after).any(axis=2)
        assert changed[DISC].all()
        assert not changed[:, 26:].any()
        assert run("predict", image, *args, "o.jpg").exit_code == 0
        assert Path("o.jpg").read_bytes()[:2] == b"\xff\xd8"

    def test_an_empty_mask_is_said_to_be_empty(self, run, model, tiny, monkeypatch):
        monkeypatch.setattr(model, "run_decoder", nothing(model.run_decoder))
        result = run("predict", tiny.images / "1.png", "-p", "14,12", "-o", "m.png")
        assert result.exit_code == 0
        assert "empty" in result.stdout


def nothing(run_decoder: Any) -> Any:
    """A decoder that answers every prompt with an empty mask."""

    def run(*given: Any) -> Any:
        output = run_decoder(*given)
        return replace(output, logits=-1.0 - 0 * output.logits)

    return run


class TestBadInput:
    @pytest.fixture(autouse=True)
    def _model(self, model: FakeModel) -> None:
        pass

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--point", "99,12"], "click at (99, 12) is outside the image of 56 x 40"),
            (["--point", "nan,12"], "finite"),
            (["--point", "inf,12"], "finite"),
            (["--point", "14"], "give X,Y"),
            (["--point", "14;12"], "give X,Y"),
            (["--point", "14,12,2"], "give X,Y"),
            (["--point", "14,12,1,1"], "give X,Y"),
            (["--point", ""], "give X,Y"),
            (["--box", "5,5,5,20"], "is empty"),
            (["--box", "5,5,20"], "give four finite numbers"),
            (["--box", "100,100,120,120"], "outside the image"),
            ([], "nothing to segment"),
            (["--point", "1,1", "--mask", "nothing.png"], "nothing.png does not exist"),
            (["--point", "1,1", "--bogus"], "No such option: --bogus"),
        ],
    )
    def test_prompts(self, run, tiny: TinyDataset, arguments: list[str], words: str):
        line = one_error(run("predict", tiny.images / "1.png", "--out", "m.png", *arguments))
        assert words in line
        assert list(Path().iterdir()) == []

    def test_images(self, run, tiny: TinyDataset):
        point = ("--point", "14,12", "--out", "m.png")
        assert "gone.png does not exist" in one_error(run("predict", "gone.png", *point))
        tiny.truncate(1)
        assert "1.png" in one_error(run("predict", tiny.images / "1.png", *point))
        Path("empty.jpg").touch()
        assert "empty file" in one_error(run("predict", "empty.jpg", *point))
        assert "is a folder" in one_error(run("predict", tiny.images, *point))
        assert not Path("m.png").exists()

    def test_masks(self, run, tiny: TinyDataset):
        args = ("predict", tiny.images / "1.png", "--out", "m.png", "--mask")
        Image.new("L", (10, 10), 255).save("small.png")
        assert "10 x 10 pixels but the picture has 56 x 40" in one_error(run(*args, "small.png"))
        assert "is no mask" in one_error(run(*args, tiny.images / "2.png"))

    def test_outputs(self, run, tiny: TinyDataset, model: FakeModel):
        image = tiny.images / "1.png"
        before = image.read_bytes()
        Path("folder.png").mkdir()
        for out, words in (
            ("gone/m.png", "gone does not exist"),
            ("folder.png", "is a folder"),
            ("m.jpg", "ends in .png"),
            (image, "would overwrite an input"),
        ):
            assert words in one_error(run("predict", image, "-p", "14,12", "--out", out))
        line = one_error(run("predict", image, "-p", "1,1", "-o", "m.png", "--overlay", "m.png"))
        assert "both name m.png" in line
        line = one_error(run("predict", image, "-p", "1,1", "-o", "m.png", "--overlay", "o.gif"))
        assert "o.gif" in line
        assert image.read_bytes() == before
        assert model.encoded == 0, "found out before any work"

    def test_a_failed_write_leaves_nothing(self, run, tiny: TinyDataset, monkeypatch):
        def fail(*_args: object, **_options: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Image.Image, "save", fail)
        result = run("predict", tiny.images / "1.png", "-p", "14,12", "-o", "m.png")
        assert "No space left on device" in one_error(result)
        assert list(Path().iterdir()) == []

    def test_adapters(self, run, tiny: TinyDataset):
        args = ("predict", tiny.images / "1.png", "-p", "14,12", "-o", "m.png")
        assert "'nosuch'" in one_error(run(*args, "--adapter", "nosuch"))


def test_unknown_model_suggests_the_nearest(run, tiny: TinyDataset):
    args = ("predict", tiny.images / "1.png", "-p", "14,12", "-o", "m.png", "--model")
    assert 'did you mean "nano"?' in one_error(run(*args, "nanno"))
    assert "gone.pth does not exist" in one_error(run(*args, "gone.pth"))
    assert not Path("m.png").exists()


def test_unknown_device(run, tiny: TinyDataset):
    args = ("predict", tiny.images / "1.png", "-p", "14,12", "-o", "m.png", "--model", "nano")
    assert "error: --device gpu0 is not known" in one_error(run(*args, "--device", "gpu0"))
    mistake = one_error(run(*args, "--dtype", "float16"))
    assert mistake.startswith("error: --dtype float16 (did you mean 'bfloat16'?): use \"auto\"")


@pytest.mark.parametrize(
    ("text", "arguments", "shown"),
    [
        ("device 'cuda:9': none", ("--device", "cuda:9"), "--device cuda:9: none"),
        ("min score 2.0: use less", ("--min-score=2",), "--min-score 2.0: use less"),
        ("shots 0: use more", ("--shots", "1,0"), "--shots 0: use more"),
        ("seed 3: no", ("--seed", "4"), "seed 3: no"),
        ("seed 3: no", ("--", "--seed", "3"), "seed 3: no"),
        ("no folder 3", ("--no", "folder"), "no folder 3"),
    ],
)
def test_an_error_about_the_value_of_an_option_begins_with_it(text, arguments, shown):
    assert with_option_names(text, arguments) == shown


def test_clicks_and_box_in_the_overlay():
    prompt = Prompt([(14, 12), (50, 30)], [1, 0], box=(30, 2, 54, 12))
    blank = np.zeros((40, 56, 3), np.uint8)
    drawn = np.asarray(draw_overlay(blank, np.zeros((40, 56), bool), prompt)).astype(int)
    red = drawn[..., 0] > 2 * drawn[..., 1:].max(axis=2) + 20
    green = drawn[..., 1] > 1.5 * drawn[..., ::2].max(axis=2) + 20
    for found, (x, y) in ((green, (14, 12)), (red, (50, 30))):
        rows, columns = found.nonzero()
        assert len(rows) > 5
        assert np.hypot(columns + 0.5 - x, rows + 0.5 - y).max() < 5
    assert (drawn[2, 31:54] == 255).all()
    assert not drawn[5:10, 34:50].any()


@pytest.mark.parametrize(
    ("text", "click"),
    [
        ("1,2", Click(1, 2)),
        ("1.5,2e1,1", Click(1.5, 20)),
        (" 3 , 4 , 0 ", Click(3, 4, False)),
    ],
)
def test_parse_point(text: str, click: Click):
    assert parse_point(text) == click


def test_parse_box():
    assert parse_box(None) is None
    assert parse_box("1,2,3.5,4") == Box(1, 2, 3.5, 4)
    with pytest.raises(PromptError):
        parse_box("1,2,3,four")
