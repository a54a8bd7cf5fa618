"""The commands `embed`, `export`, `annotate` and `serve`, as far as they end by themselves."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import Result

from samadapt.data.coco import CocoDataset
from samadapt.data.rle import Rle
from samadapt.store.objects import NewMask
from samadapt.store.projects import PROJECT_FILE, Project

Run = Callable[..., Result]


def one_error(result: Result) -> str:
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture
def annotated(folder: Path, square: NDArray[np.bool_]) -> Path:
    with Project.open(folder / PROJECT_FILE) as project:
        project.images.scan(folder)
        image = project.images.entries()[0].id
        label = project.labels.named(["cell"], "")["cell"]
        project.objects.add(NewMask(image, Rle.from_mask(square), label), "")
        project.images.mark(image, "done", 0, "")
        second = project.images.entries()[1].id
        project.objects.add(NewMask(second, Rle.from_mask(square), label), "")
    return folder


def test_embed_encodes_what_is_missing(run: Run, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no image")
    first = json.loads(run("embed", folder, "--json").stdout)
    # Three files with the same pixels are one embedding.
    assert (first["images"], first["encoded"], first["known"]) == (4, 1, 2)
    assert "broken.png" in first["unreadable"][0]
    again = json.loads(run("embed", folder, "--json").stdout)
    assert (again["encoded"], again["known"]) == (0, 3)
    plain = run("embed", folder)
    assert "0 images encoded, 3 in the cache already" in plain.stdout
    assert "left out" in plain.stderr


def test_embed_says_what_is_wrong(run: Run, tmp_path: Path, folder: Path) -> None:
    assert "is not a folder" in one_error(run("embed", tmp_path / "missing"))
    assert "--cache-gb" in one_error(run("embed", folder, "--cache-gb", 0))
    (tmp_path / "cache").write_text("in the way")
    assert "cannot be written" in one_error(run("embed", folder))


def test_export_writes_the_project(
    run: Run, annotated: Path, tmp_path: Path, square: NDArray[np.bool_]
) -> None:
    out = tmp_path / "out.json"
    result = json.loads(run("export", annotated, "--out", out, "--json").stdout)
    assert (result["objects"], result["categories"]) == (2, ["cell"])
    dataset = CocoDataset.load(out, annotated)
    assert np.array_equal(dataset.mask(dataset.annotations[0].id), square)
    dataset.check_images()
    beside = tmp_path / "beside.sqlite"
    for part in annotated.glob(f"{PROJECT_FILE}*"):
        shutil.copy(part, part.name.replace(PROJECT_FILE, str(beside)))
    again = ("export", annotated, "--project", beside, "-o", tmp_path / "again.json")
    assert run(*again).exit_code == 0
    assert (tmp_path / "again.json").read_bytes() == out.read_bytes()
    assert "without --images" in one_error(run(*again, "--images", annotated))
    done = json.loads(run("export", annotated, "-o", out, "--done-only", "--json").stdout)
    assert (done["images"], done["objects"]) == (1, 1)
    file = annotated / PROJECT_FILE
    for name in ("masks", "yolo", "labelme", "voc", "label-maps"):
        written = run("export", file, "--format", name, "--out", tmp_path / name)
        assert written.exit_code == 0
        assert any((tmp_path / name).iterdir())


@pytest.mark.parametrize("name", ["coco-polygons", "yolo", "labelme"])
def test_simplified_outlines_have_fewer_corners_and_say_what_they_lost(
    run: Run, folder: Path, tmp_path: Path, name: str
) -> None:
    rows, columns = np.indices((40, 56))
    disc = (rows - 20) ** 2 + (columns - 25) ** 2 < 15**2
    with Project.open(folder / PROJECT_FILE) as project:
        project.images.scan(folder)
        label = project.labels.named(["cell"], "")["cell"]
        project.objects.add(NewMask(project.images.entries()[0].id, Rle.from_mask(disc), label), "")
    plain, short = tmp_path / "plain.json", tmp_path / "short.json"
    run("export", folder, "-f", name, "-o", plain)
    result = run("export", folder, "-f", name, "-o", short, "--simplify", 1.5, "--json")
    lost = json.loads(result.stdout)["simplified"]

    def size(place: Path) -> int:
        files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
        texts = (p.read_text().replace(",", " ") for p in files if "yaml" not in p.name)
        return sum(len(text.split()) for text in texts)

    assert size(short) < 0.7 * size(plain)
    assert 0 < lost["mean_iou_lost"] == lost["most_iou_lost"] < 0.15
    if name == "coco-polygons":
        dataset = CocoDataset.load(short)
        (annotation,) = dataset.annotations
        drawn = dataset.mask(annotation.id)
        assert annotation.area == drawn.sum() == dataset.rle(annotation.id).area
        both = (drawn & disc).sum() / (drawn | disc).sum()
        assert lost["mean_iou_lost"] == pytest.approx(1 - both, abs=1e-5)


def test_only_outlines_are_simplified(run: Run, annotated: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    said = one_error(run("export", annotated, "-f", "masks", "-o", out, "--simplify", 1))
    assert "masks has no outlines to simplify: choose one of coco-polygons" in said
    for bad in (-1, "nan"):
        said = one_error(
            run("export", annotated, "-f", "coco-polygons", "-o", out, "--simplify", bad)
        )
        assert "--simplify" in said
    assert not out.exists()


def test_export_says_what_is_wrong(run: Run, annotated: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "choose one of coco" in one_error(run("export", annotated, "-f", "x", "-o", out))
    assert "there is no project" in one_error(run("export", tmp_path, "-o", out))
    missing = tmp_path / "missing" / "out.json"
    assert "does not exist" in one_error(run("export", annotated, "-o", missing))
    out.mkdir()
    (out / "mine").touch()
    assert "not an empty folder" in one_error(run("export", annotated, "-f", "yolo", "-o", out))
    assert "has no project 'x'" in one_error(
        run("export", annotated, "-o", missing.name, "--name", "x")
    )


def test_every_project_has_its_own_folder_of_adapters(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun_and_ended(app: Any, *_: object) -> None:
        app.state.workspace.close()

    monkeypatch.setattr("samadapt.server.run.serve", begun_and_ended)

    def annotate(*more: str | Path) -> list[str]:
        """Which folders have the record of the model then."""
        done = run("annotate", folder, "--no-browser", "--model", "nano", *more)
        assert done.exit_code == 0, done.output
        return sorted(path.parent.name for path in tmp_path.rglob("model.json"))

    assert annotate() == ["samadapt.adapters"]
    assert (folder / "samadapt.adapters").is_dir()
    one, two = tmp_path / "one.sqlite", tmp_path / "two.sqlite"
    annotate("--project", one)
    assert annotate("--project", two) == ["one.adapters", "samadapt.adapters", "two.adapters"]
    named = annotate("--project", two, "--name", "a/b")
    assert "two.a%2fb.adapters" in named
    # A project of an earlier version goes on where it was; a new one beside it does not.
    (tmp_path / "one.adapters").rename(tmp_path / "samadapt.adapters")
    assert "one.adapters" not in annotate("--project", one)
    assert "three.adapters" in annotate("--project", tmp_path / "three.sqlite")


def test_annotate_says_what_is_wrong(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "is not a folder" in one_error(run("annotate", tmp_path / "missing"))
    (tmp_path / "empty").mkdir()
    assert "no image in" in one_error(run("annotate", tmp_path / "empty", "--no-browser"))
    bad = run("annotate", folder, "--no-browser", "--host", "0.0.0.0", "--token", "short")  # noqa: S104
    assert "other machines" in one_error(bad)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "--port" in one_error(run("annotate", folder, "--no-browser", "--port", port))
    (tmp_path / "notes.txt").write_text("my notes")
    other = run("annotate", folder, "--no-browser", "--project", tmp_path / "notes.txt")
    assert "no project of samadapt" in one_error(other)
    wrong = run("annotate", folder, "--no-browser", "--adapter", "onlne")
    assert "did you mean 'online'" in one_error(wrong)
    nothing = run("annotate", folder, "--no-browser", "--import", tmp_path / "missing")
    assert "does not exist" in one_error(nothing)


def test_a_read_only_folder_needs_another_place(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from samadapt.store import database

    def fails(connection: object, record: object) -> None:
        import sqlite3

        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(database, "_set_up_sqlite", fails)
    line = one_error(run("annotate", folder, "--no-browser"))
    assert str(folder / PROJECT_FILE) in line


def test_serve_says_what_is_wrong(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--label-studio" in one_error(run("serve"))
    assert "is not a folder" in one_error(run("serve", "--label-studio", "--images", "missing"))
    assert "http://" in one_error(run("serve", "--label-studio", "--url", "localhost"))
