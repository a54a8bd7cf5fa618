"""`samadapt annotate-all`, and `embed` with workers."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from outcome import one_error

from engines import Here, make_images, tiny_weights
from forked import CONTEXT
from moving import moving_disc, save_stack
from samadapt.cli.choice import record
from samadapt.data.coco import CocoDataset
from samadapt.data.images import read_image
from samadapt.distributed import engine
from samadapt.models.registry import load
from samadapt.session.images import hash_pixels
from samadapt.store.adapters_folder import adapters_folder
from samadapt.store.projects import Project
from small_models import tiny_nano
from toy_adapter import ToyAdapter

SMALL = ("--grid", "3", "--most", "4")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tiny_weights(tmp_path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return make_images(tmp_path / "images", 3)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """The engine that every command gets, whatever it asks for."""
    one = Here()
    monkeypatch.setattr(engine, "make_engine", lambda *arguments: one)
    return one


def test_one_file_a_folder_and_a_project(run: Any, here: Here, images: Path, weights: Path) -> None:
    model = ("--model", weights)
    Path(".all.json.0123abcd.part").touch()  # of a run that was killed while it wrote
    result = run("annotate-all", images, "--out", "all.json", *SMALL, *model)
    assert result.exit_code == 0, result.output
    assert [p.name for p in Path().iterdir()] == ["all.json"]
    data = CocoDataset.load("all.json", images)
    data.check_images()
    assert f"{len(data.annotations)} objects on 3 images\n" in result.stdout
    Path(".d.89ab4567.part").mkdir()
    Path(".d.89ab4567.part/shard-00000.json").touch()
    result = run("annotate-all", images, "-o", "d", "--shard-images", "2", *SMALL, *model, "--json")
    assert json.loads(result.stdout)["objects"] == len(data.annotations)
    assert {p.name for p in Path("d").iterdir()} == {
        "index.json",
        "shard-00000.json",
        "shard-00001.json",
    }
    result = run("annotate-all", images, "--project", images, *SMALL, *model)
    assert f"{len(data.annotations)} proposals wait for review in {images}" in result.stdout
    with Project.open(images / "samadapt.sqlite") as project:
        assert sum(map(len, project.proposals.numbers().values())) == len(data.annotations)
        for image in project.images.all().values():
            known = {one.proposal.content_hash for one in project.proposals.waiting(image.id)}
            assert known <= {hash_pixels(read_image(images / image.name))}
    # A project in a file of its own has its own model.
    with Project.open(images / "b.sqlite") as project:
        project.images.scan(images)
        record(adapters_folder(project, images), str(weights))
    assert (images / "b.adapters").is_dir()
    result = run("annotate-all", images, "--project", images / "b.sqlite", *SMALL)
    assert f"model: {weights} (the project was annotated with it" in result.stderr
    assert f"{len(data.annotations)} proposals wait for review in" in result.stdout
    assert {p.name for p in Path().iterdir()} == {"all.json", "d"}
    assert not list(images.glob(".samadapt*.journal"))


def test_a_file_that_exists_is_never_replaced(
    run: Any, here: Here, images: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("annotate-all", images, "--out", "all.json", *SMALL, "--model", weights)
    refused = "--out all.json exists already: give another name, or delete it first"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # killed before it wrote the file
        patch.setattr("samadapt.distributed.annotate_output.write_coco", killed)
        assert run(*arguments).exit_code != 0
    (journal,) = Path().iterdir()
    kept = journal.read_bytes()
    Path("all.json").write_text("mine")
    assert refused in one_error(run(*arguments))
    assert Path("all.json").read_text() == "mine"
    assert journal.read_bytes() == kept
    Path("all.json").unlink()
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "3 of them by an earlier run" in result.stdout
    assert [p.name for p in Path().iterdir()] == ["all.json"]
    assert refused in one_error(run(*arguments))


def test_workers_of_this_machine_give_the_same_file(
    run: Any, images: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "get_context", lambda *_: CONTEXT)
    arguments = ("annotate-all", images, *SMALL, "--model", weights, "--batch", "1")
    result = run(*arguments, "--out", "two.json", "--workers", "2")
    assert result.exit_code == 0, result.output
    monkeypatch.setattr(engine, "make_engine", lambda *arguments: Here())
    assert run(*arguments, "--out", "one.json").exit_code == 0
    assert Path("two.json").read_bytes() == Path("one.json").read_bytes()


def test_images_that_cannot_be_read_are_named_and_the_exit_code_tells(
    run: Any, here: Here, images: Path, weights: Path
) -> None:
    (images / "img1.png").write_bytes(b"\x89PNG nothing")
    result = run("annotate-all", images, "--out", "all.json", *SMALL, "--model", weights)
    assert result.exit_code == 3
    assert "left out: img1.png: " in result.stderr
    assert [i.file_name for i in CocoDataset.load("all.json").images] == ["img0.png", "img2.png"]
    for path in images.iterdir():
        path.write_bytes(b"nothing")
    result = run("annotate-all", images, "--out", "none.json", *SMALL, "--model", weights)
    assert "no image could be searched" in one_error(result)
    assert not Path("none.json").exists()


@pytest.fixture
def closed(images: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A subfolder that cannot be read, also not by root."""
    folder = images / "closed"
    folder.mkdir()
    open_folder = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return open_folder(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return folder


def test_a_subfolder_that_cannot_be_read_is_named_like_an_image(
    run: Any,
    here: Here,
    closed: Path,
    images: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    arguments = ("annotate-all", images, *SMALL, "--model", weights, "--out")
    result = run(*arguments, "all.json")
    assert result.exit_code == 3
    assert "left out: closed: cannot be read (Permission denied)" in result.stderr
    result = run(*arguments, "more.json", "--json")
    assert [one["image"] for one in json.loads(result.stdout)["failed"]] == ["closed"]
    monkeypatch.setenv("SAMADAPT_CACHE", str(tmp_path / "cache"))
    result = run("embed", images, "--model", weights)
    assert result.exit_code == 0, result.output
    assert f"left out: {closed} cannot be read (Permission denied)" in result.stderr
    result = run("annotate-all", closed, *arguments[2:], "none.json")
    assert f"{closed} cannot be read (Permission denied)" in one_error(result)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no output"),
        (("--out", "a.png"), "ends in .json"),
        (("--out", "full"), "exists and is not an empty folder"),
        (("--out", "no/such/place"), "does not exist"),
        (("--out", "a.json", "--grid", "0"), "error: --grid 0: use 1 or more"),
        (("--out", "a.json", "--batch", "0"), "--batch 0"),
        (("--out", "a.json", "--workers", "0"), "--workers 0"),
        (("--out", "a.json", "--engine", "slurm"), "--engine slurm"),
        (("--out", "a.json", "--address", "auto"), "--address belongs to --engine ray"),
        (("--out", "a.json", "--task", "nowhere"), "nowhere"),
        (("--out", "a.json", "--project", "gone.sqlite"), "there is no project"),
        (("--out", "a.json", "--shard-images", "0"), "--shard-images 0"),
    ],
)
def test_mistakes(
    run: Any, images: Path, weights: Path, arguments: tuple[str, ...], said: str
) -> None:
    Path("full").mkdir()
    Path("full/mine.txt").touch()
    result = run("annotate-all", images, "--model", weights, *arguments)
    assert said in one_error(result)
    assert {p.name for p in Path().iterdir()} == {"full"}


def test_an_adapter_of_another_model(
    run: Any, here: Here, images: Path, weights: Path, toy_method: object, tmp_path: Path
) -> None:
    adapter = ToyAdapter()
    adapter.bind(tiny_nano(1))
    adapter.save_pretrained(tmp_path / "other")
    arguments = ("--task", tmp_path / "other", "--out", "a.json", "--model", weights)
    assert "made for" in one_error(run("annotate-all", images, *arguments))
    assert not list(Path().iterdir())


def test_embed_with_workers_fills_the_same_cache(
    run: Any, here: Here, images: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMADAPT_CACHE", "cache")
    (images / "img2.png").write_bytes(b"nothing")
    arguments = ("embed", images, "--model", weights, "--json")
    first = json.loads(run(*arguments, "--workers", "2").stdout)
    assert (first["encoded"], first["known"], len(first["unreadable"])) == (2, 0, 1)
    assert here.batches == 1
    again = json.loads(run(*arguments).stdout)
    assert (again["encoded"], again["known"]) == (0, 2)
    assert again["unreadable"] == first["unreadable"]
    save_stack(images / "volume.tif", moving_disc(2))
    assert json.loads(run(*arguments).stdout)["encoded"] == 2
    assert load(weights).identity.name.startswith("tiny")


def test_ray_that_is_not_installed_is_named_with_its_extra(
    run: Any, images: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    arguments = ("--out", "a.json", "--model", weights, "--engine", "ray")
    assert "pip install 'samadapt[ray]'" in one_error(run("annotate-all", images, *arguments))
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workers", "2"), "belong to --engine ray"),
        (("--engine", "local", "--gpus", "1"), "belong to --engine ray"),
        (("--engine", "slurm"), "--engine slurm: use local or ray"),
    ],
)
def test_fit_has_one_engine_besides_accelerate(
    run: Any, images: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = run("fit", "lora", "--images", images, "--masks", "m.json", "--out", "o", *arguments)
    assert said in one_error(result)
