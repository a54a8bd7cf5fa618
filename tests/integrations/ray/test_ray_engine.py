"""The same work on a Ray cluster: same results, whatever happens to its workers."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ray
import ray.data
from PIL import Image

from engines import Here, Place, Square, Threads, make_images, tiny_weights
from samadapt.data.images import image_size, read_image
from samadapt.distributed.annotate import AnnotateWork, FoundImage, ImageAnnotator
from samadapt.distributed.annotate_all import annotate_all, describe_run
from samadapt.distributed.embed import EmbedWork
from samadapt.distributed.engine import Engine, in_batches
from samadapt.distributed.images import ImageList
from samadapt.distributed.journal import RunJournal
from samadapt.distributed.ray_engine import RayEngine, quiet_ray
from samadapt.distributed.worker_model import WorkerModel
from samadapt.errors import DataError
from samadapt.proposals.grid import ProposalOptions
from samadapt.ray import Annotator
from samadapt.session.images import hash_pixels
from samadapt.store.embeddings import EmbeddingStore

OPTIONS = ProposalOptions(points=3, most=4, min_area=1, max_area=1.0)


def test_a_worker_that_dies_loses_no_batch_and_doubles_none(tmp_path: Path) -> None:
    numbers = [1, 2, 13, *range(20, 30)]
    found: list[int] = []
    for batch in RayEngine(2).run(Square(tmp_path / "died"), in_batches(numbers, 2)):
        found += batch
    assert (tmp_path / "died").exists()
    assert sorted(found) == [number * number for number in numbers]


def test_threads_follow_cores_and_mistakes_arrive_as_they_were_raised() -> None:
    results = RayEngine(1).run(Threads(), [[1]])
    assert list(results) == [("1", 1)]
    with pytest.raises(DataError, match="-1: give a number above 0"):
        list(RayEngine(1).run(Threads(), [[-1]]))


def test_relative_paths_are_those_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(RayEngine(1).run(Place(), [[1]])) == [str(tmp_path)]


def test_images_of_different_sizes_come_out_as_without_ray(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "images", 5)
    assert len({image_size(path) for path in folder.iterdir()}) > 2
    (folder / "img9.png").write_bytes(b"\x89PNG nothing")
    images = ImageList.find(str(folder))
    work = AnnotateWork(WorkerModel(str(tiny_weights(tmp_path))), options=OPTIONS)

    def run(engine: Engine, batch: int) -> tuple[list[tuple[str, FoundImage]], list[str]]:
        place = tmp_path / type(engine).__name__
        with RunJournal(place, describe_run(images, work, {})) as journal:
            done = annotate_all(images, work, engine, journal, batch)
            return list(done.results()), [name for name, _ in done.failed]

    assert run(RayEngine(2), 3) == run(Here(), 1)


def test_embeddings_stay_with_the_workers(tmp_path: Path) -> None:
    """Together they are larger than the object store, which never holds one."""
    folder = tmp_path / "large"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(14):
        coarse = rng.integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((1500, 1500), 0).save(folder / f"{number}.png")
    paths = sorted(folder.iterdir())
    model = WorkerModel(str(tiny_weights(tmp_path)))
    store = EmbeddingStore(tmp_path / "cache")
    found = list(RayEngine(2).run(EmbedWork(model, store), in_batches(paths, 2)))
    assert [one.outcome for batch in found for one in batch] == ["encoded"] * 14
    assert store.nbytes > 80 << 20
    assert all(len(pickle.dumps(batch)) < 500 for batch in found)
    assert store.has(model.load(), hash_pixels(read_image(paths[0])))


def test_annotator_in_a_pipeline_of_bytes_and_called_with_paths(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "images", 2)
    paths = [str(folder / "img0.png"), str(folder / "img1.png")]
    settings = {"model": str(tiny_weights(tmp_path)), "options": OPTIONS}
    items = [*(Path(path).read_bytes() for path in paths), b"no image"]
    with quiet_ray():
        rows = (
            ray.data.from_items([{"item": item, "number": k} for k, item in enumerate(items)])
            .map_batches(
                Annotator,
                fn_constructor_kwargs=settings,
                batch_size=3,
                num_cpus=1,
                compute=ray.data.ActorPoolStrategy(size=1),
            )
            .take_all()
        )
    rows.sort(key=lambda row: row["number"])
    assert [row["problem"] is None for row in rows] == [True, True, False]
    assert rows[2]["size"] is None
    here = Annotator(**settings)({"item": np.array(paths)}).to_pylist()
    model = WorkerModel(str(tiny_weights(tmp_path))).load()
    expected = ImageAnnotator(model, options=OPTIONS).find(paths)
    for row, direct, found in zip(rows, here, expected, strict=False):
        for one in (row, direct):
            assert tuple(one["size"]) == found.size
            assert list(one["rles"]) == [o.rle.to_coco()["counts"] for o in found.objects]
            assert list(one["scores"]) == [o.score for o in found.objects]
            boxes = [list(map(float, o.rle.box)) for o in found.objects]
            assert [list(box) for box in one["boxes"]] == boxes
            assert list(one["labels"]) == ["object"] * len(found.objects)
    assert any(found.objects for found in expected)


def test_the_wrong_column_is_named(tmp_path: Path) -> None:
    annotator = Annotator(str(tiny_weights(tmp_path)), column="path")
    with pytest.raises(DataError, match="no column 'path' but item"):
        annotator({"item": np.array(["a.png"])})


STRANGER = """
import sys
from samadapt.distributed.engine import WorkerError, make_engine
try:
    make_engine("ray", 1, 0.0, sys.argv[1])
except WorkerError as error:
    print(error)
else:
    print("came in")
"""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "came in"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}, "no cluster at"),
    ],
)
def test_a_local_cluster_asks_for_its_token(
    cluster: str, changes: dict[str, str], said: str
) -> None:
    environment = {**os.environ, **changes}
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, cluster],
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.stdout.startswith(said), done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 1
