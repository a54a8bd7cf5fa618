"""Readers of all formats, on files as tools write them and on damaged ones.

Three promises: no unexpected exception, no silent loss (what was in a file is read or named), and
exact geometry. `SAMADAPT_FUZZ_EXAMPLES` raises the number of examples of each test.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tool_files import (
    IMAGES,
    WRITERS,
    Files,
    Thing,
    damaged_bytes,
    damaged_json,
    damaged_line,
    encoded,
    things,
    write,
)

from file_scenes import put_images
from samadapt.data.coco import CocoDataset
from samadapt.data.matching import ImageNames
from samadapt.data.rle import Rle
from samadapt.errors import DataError, SamadaptError
from samadapt.store.importing import import_dataset
from samadapt.store.projects import Project
from samadapt.store.readers import read_annotations

EXAMPLES = int(os.environ.get("SAMADAPT_FUZZ_EXAMPLES", "12"))
MANY = settings(max_examples=EXAMPLES)
FEW = settings(max_examples=max(1, EXAMPLES // 3))
STRAY = {"notes.md": "x", ".hidden.json": "{", "__MACOSX/._a.json": "\0", "Thumbs.db": "\0"}
NAMELESS = ("masks",)
"""Formats without names of classes."""

written: Counter[str] = Counter()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of images; in the end it is told how many files were read."""
    yield put_images(tmp_path_factory.mktemp("fuzz") / "img", *IMAGES)
    if "SAMADAPT_FUZZ_EXAMPLES" in os.environ:
        report = f"files fuzzed: {written.total()} ({dict(written)})\n"
        Path(tempfile.gettempdir(), "samadapt-fuzz.txt").write_text(report)


def read(name: str, files: Files, images: Path, encoding: str = "utf-8") -> CocoDataset:
    """Read files of one format from a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), files, encoding)
        written[name] += len(files)
        path = Path(folder, "ann.json") if name == "coco" else Path(folder)
        return read_annotations(path, images)


def found_in(dataset: CocoDataset, name: str) -> Counter[tuple[str | None, str, bytes]]:
    """Image, label and mask of all objects with a sound mask."""
    names = ImageNames(IMAGES, dataset.folder)
    found: Counter[tuple[str | None, str, bytes]] = Counter()
    for annotation in dataset.annotations:
        try:
            rle = dataset.rle(annotation.id)
        except DataError:
            continue
        image = names.find(dataset.image(annotation.image_id).file_name)
        label = "" if name in NAMELESS else dataset.category(annotation.category_id).name
        found[image, label, Rle.from_runs(rle.runs(), rle.size).counts] += 1
    return found


def expected(given: list[Thing], name: str) -> Counter[tuple[str | None, str, bytes]]:
    labels = ["" if name in NAMELESS else thing.label for thing in given]
    return Counter(
        (thing.image, label, Rle.from_mask(thing.mask).counts)
        for thing, label in zip(given, labels, strict=True)
    )


def named(dataset: CocoDataset) -> int:
    return sum(one.objects for one in dataset.left_out)


@pytest.mark.parametrize("name", WRITERS)
@MANY
@given(data=st.data())
def test_what_tools_write_is_read_exactly(name: str, images: Path, data: st.DataObject) -> None:
    objects = data.draw(things().filter(bool))
    files = data.draw(WRITERS[name](objects)) | STRAY
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    dataset = read(name, files, images, "utf-8" if name == "masks" else encoding)
    assert found_in(dataset, name) == expected(objects, name)
    assert named(dataset) == 0


# -- one bad record -----------------------------------------------------------------------


@st.composite
def one_damaged(draw: st.DrawFn, name: str, files: Files) -> tuple[Files, int]:
    """Files with one object damaged, and which one it was."""
    files = copy.deepcopy(files)
    if name in ("coco", "labelme"):
        key = "annotations" if name == "coco" else "shapes"
        records = [(doc[key], k) for doc in files.values() for k in range(len(doc[key]))]
        at = draw(st.integers(0, len(records) - 1))
        entries, k = records[at]
        entries[k] = draw(damaged_json(entries[k], spare=("group_id",)))
        return files, at
    lines = [
        (file, k)
        for file, text in files.items()
        if file.endswith(".txt")
        for k, line in enumerate(text.splitlines())
        if line.strip()
    ]
    at = draw(st.integers(0, len(lines) - 1))
    file, k = lines[at]
    rows = files[file].splitlines()
    rows[k] = draw(damaged_line(rows[k]))
    files[file] = "\n".join(rows)
    return files, at


@pytest.mark.parametrize("name", ["coco", "labelme", "yolo"])
@MANY
@given(data=st.data())
def test_one_damaged_object_leaves_the_others_exact(
    name: str, images: Path, data: st.DataObject
) -> None:
    objects = data.draw(things().filter(bool))
    files, at = data.draw(one_damaged(name, data.draw(WRITERS[name](objects))))
    dataset = read(name, files, images)
    others = [thing for k, thing in enumerate(objects) if k != at]
    assert not expected(others, name) - found_in(dataset, name)
    assert len(dataset.annotations) + named(dataset) == len(objects)


@MANY
@given(data=st.data())
def test_masks_and_texts_of_voc_that_disagree(images: Path, data: st.DataObject) -> None:
    objects = data.draw(things().filter(bool))
    files = data.draw(WRITERS["voc"](objects))
    image = data.draw(st.sampled_from(sorted({thing.image for thing in objects})))
    last = [thing for thing in objects if thing.image == image][-1]
    stem = Path(image).with_suffix("")
    if data.draw(st.booleans()):
        text = files[f"Annotations/{stem}.xml"]
        text.remove(text.findall("object")[-1])
    else:
        picture = files[f"SegmentationObject/{stem}.png"]
        picture.paste(0, last.box)
    dataset = read("voc", files, images)
    assert found_in(dataset, "voc") == expected([t for t in objects if t is not last], "voc")
    assert named(dataset) == 1


@pytest.mark.parametrize("name", ["labelme", "voc", "masks"])
@MANY
@given(data=st.data())
def test_one_damaged_file_leaves_the_others_exact(
    name: str, images: Path, data: st.DataObject
) -> None:
    objects = data.draw(things().filter(bool))
    files = data.draw(WRITERS[name](objects))
    file = data.draw(st.sampled_from(sorted(files)))
    damaged = encoded(files[file])
    damaged = damaged[: data.draw(st.integers(0, len(damaged) - 2))]
    try:
        dataset = read(name, files | {file: damaged}, images)
    except DataError:  # nothing else was there
        assert len({thing.image for thing in objects}) == 1
        return
    found = found_in(dataset, name)
    others = [thing for thing in objects if not is_about(file, thing, objects)]
    assert not expected(others, name) - found
    if expected(objects, name) - found:
        assert any(Path(file).stem in str(one) for one in dataset.left_out)


def is_about(file: str, thing: Thing, objects: list[Thing]) -> bool:
    """Whether a file holds an object: all of an image, or the one of its number."""
    path, image = Path(file), Path(thing.image)
    if path.parent.name == image.stem and path.stem.isdigit():
        of_image = [other for other in objects if other.image == thing.image]
        return of_image[int(path.stem) - 1] is thing
    return path.stem == image.stem


# -- anything -----------------------------------------------------------------------------


@st.composite
def anyhow_damaged(draw: st.DrawFn, name: str, files: Files) -> Files:
    """Files with damage anywhere."""
    files = dict(files)
    for _ in range(draw(st.integers(1, 3))):
        file = draw(st.sampled_from(sorted(files)))
        content = files[file]
        if isinstance(content, dict) and draw(st.booleans()):
            files[file] = draw(damaged_json(content))
        else:
            files[file] = draw(damaged_bytes(encoded(content)))
    return files


@pytest.mark.parametrize("name", WRITERS)
@MANY
@given(data=st.data())
def test_anything_is_read_or_refused_with_a_reason(
    name: str, images: Path, data: st.DataObject
) -> None:
    files = data.draw(
        anyhow_damaged(name, data.draw(WRITERS[name](data.draw(things().filter(bool)))))
    )
    try:
        dataset = read(name, files, images)
    except SamadaptError:
        return
    found_in(dataset, name)
    if name == "coco":
        content = json.loads(encoded(files["ann.json"]).decode("utf-8-sig", "replace"))
        assert len(dataset.annotations) + named(dataset) == len(content.get("annotations") or [])


@pytest.mark.parametrize("name", ["coco", "labelme", "yolo"])
@FEW
@given(data=st.data())
def test_an_import_accounts_for_every_object(name: str, images: Path, data: st.DataObject) -> None:
    objects = data.draw(things().filter(bool))
    files = data.draw(WRITERS[name](objects))
    if data.draw(st.booleans()):
        files, _ = data.draw(one_damaged(name, files))
    dataset = read(name, files, images)
    with tempfile.TemporaryDirectory() as folder, Project.open(Path(folder, "p.sqlite")) as project:
        project.images.scan(images)
        found = import_dataset(project, dataset, "ann", "file")
        assert found.added + found.left_out_count == len(objects)
        assert len(project.objects.all()) == found.added
        again = import_dataset(project, dataset, "ann", "other file")
        assert (again.added, again.known, again.left_out_count) == (
            0,
            found.added,
            found.left_out_count,
        )
