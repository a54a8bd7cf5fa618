from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from outcome import Run, one_error
from PIL import Image

from fakes import FakeModel
from samadapt.cli import common
from samadapt.data.ctc import load_ctc
from samadapt.data.label_volumes import load_label_volume
from samadapt.data.stacks import Stack
from samadapt.data.tracks_coco import load_tracks_coco


@pytest.fixture
def frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five frames with a red disc that drifts to the right, and a label image of the first."""
    monkeypatch.setattr(common, "load_model", lambda name, device, dtype: FakeModel())
    folder = tmp_path / "frames"
    folder.mkdir()
    rows, columns = np.mgrid[:40, :64]
    for index in range(5):
        image = np.full((40, 64, 3), 110, np.uint8)
        disc = (rows - 20) ** 2 + (columns - 16 - 2 * index) ** 2 < 81
        image[disc] = (220, 40, 40)
        Image.fromarray(image).save(folder / f"f{index}.png")
        if index == 0:
            Image.fromarray(disc.astype(np.uint8)).save(tmp_path / "first.png")
            tifffile.imwrite(tmp_path / "first.tif", disc.astype(np.uint16)[None])
    return folder


def test_track_writes_what_its_output_is_called(run: Run, frames: Path, tmp_path: Path) -> None:
    options = ("--masks", tmp_path / "first.png", "--slice", "0")
    found = run("track", frames, *options, "--out", "a.json", "--json", "--frames", "png")
    assert found.exit_code == 0, found.stderr
    values = json.loads(found.stdout)
    assert (values["objects"], values["given"]) == (1, 1)
    with Stack.open(frames) as stack:
        tracks = load_tracks_coco("a.json", stack)
    assert len(tracks[1].slices) == values["masks"]
    assert len(values["stops"]) == (0 if values["masks"] == 5 else 1)
    assert len(list(Path("png").iterdir())) == 5
    for out in ("b.tif", "ctc"):
        assert run("track", frames, *options, "--out", out).exit_code == 0
    assert load_label_volume("b.tif")[1].slices == tracks[1].slices
    assert load_ctc("ctc")[1].slices == tracks[1].slices
    again = run("track", frames, "--masks", "a.json", "--out", "c.json", "--fill")
    assert again.exit_code == 0, again.stderr


def test_mistakes_are_one_line(run: Run, frames: Path, tmp_path: Path) -> None:
    masks = tmp_path / "first.tif"
    for arguments, text in (
        ((frames, "--masks", masks, "--out", "a.json", "--slice", "9"), "slices 0 to 4"),
        ((frames, "--masks", masks, "--out", "a.doc"), "label volume ends in"),
        ((frames, "--masks", masks, "--out", "a.json", "--axis", "q"), "give z or t"),
        ((frames, "--masks", masks, "--out", "a.json", "--memory", "nano", "--learn"), "--memory"),
        ((tmp_path / "no.tif", "--masks", masks, "--out", "a.json"), "does not exist"),
        ((frames, "--masks", tmp_path / "first.doc", "--out", "a.json"), "does not exist"),
    ):
        assert text in one_error(run("track", *arguments))
    assert not list(Path().glob("a.*"))
