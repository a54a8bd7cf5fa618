"""All objects of all images: the same by any division of the work, once each, failures named."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import tifffile
from PIL import Image

from engines import Here, make_images, tiny_weights
from fakes import FakeModel
from moving import moving_disc, save_stack
from samadapt.data.coco import CocoDataset
from samadapt.data.tiled import image as tiled_image
from samadapt.distributed.annotate import AnnotateWork, FoundImage, ImageAnnotator
from samadapt.distributed.annotate_all import AnnotatedImages, annotate_all, describe_run
from samadapt.distributed.annotate_output import write_coco, write_shards
from samadapt.distributed.images import ImageList
from samadapt.distributed.journal import RunJournal
from samadapt.distributed.project import project_images, put_proposals, with_slices
from samadapt.distributed.worker_model import WorkerModel
from samadapt.errors import DataError, ModelError
from samadapt.proposals.grid import ProposalOptions, propose
from samadapt.store.projects import Project
from slides import write_slide
from small_models import tiny_nano

OPTIONS = ProposalOptions(points=3, most=4, min_area=1, max_area=1.0)


@pytest.fixture
def work(tmp_path: Path) -> AnnotateWork:
    return AnnotateWork(WorkerModel(str(tiny_weights(tmp_path))), options=OPTIONS)


def found(
    images: ImageList, work: AnnotateWork, journal: Path, batch: int = 2, engine: Here | None = None
) -> tuple[AnnotatedImages, list[tuple[str, FoundImage]]]:
    with RunJournal(journal, describe_run(images, work, {})) as kept:
        done = annotate_all(images, work, engine or Here(), kept, batch)
        return done, list(done.results())


def test_objects_are_those_of_propose_whatever_the_batches(
    tmp_path: Path, work: AnnotateWork
) -> None:
    images = ImageList.find(str(make_images(tmp_path / "images", 4)))
    _, ones = found(images, work, tmp_path / "a", 1)
    _, threes = found(images, work, tmp_path / "b", 3)
    assert ones == threes
    assert [name for name, _ in ones] == list(images.names)
    model = work.model.load()
    for name, image in ones:
        direct = propose(model, model.encode(images.path(name)), (), OPTIONS)
        assert [one.rle for one in image.objects] == [one.rle for one in direct]
        assert [one.score for one in image.objects] == pytest.approx([o.score for o in direct])
        assert {one.label for one in image.objects} <= {"object"}
    assert any(image.objects for _, image in ones)


def test_a_run_goes_on_where_a_killed_one_ended(tmp_path: Path, work: AnnotateWork) -> None:
    folder = make_images(tmp_path / "images", 5)
    images = ImageList.find(str(folder))
    _, whole = found(images, work, tmp_path / "whole")

    class Killed(Here):
        def run(self, work, batches):  # type: ignore[no-untyped-def]
            for number, result in enumerate(super().run(work, batches)):
                if number == 2:
                    raise KeyboardInterrupt
                yield result

    with pytest.raises(KeyboardInterrupt):
        found(images, work, tmp_path / "j", 1, Killed())
    engine = Here()
    done, rest = found(images, work, tmp_path / "j", 1, engine)
    assert (done.known, engine.batches) == (2, 3)
    assert rest == whole
    engine = Here()
    found(images, work, tmp_path / "j", 1, engine)
    assert engine.batches == 0
    # A file that was changed in the meantime is done again.
    with Image.open(folder / "img0.png") as picture:
        picture.rotate(180).save(folder / "img0.png")
    engine = Here()
    _, again = found(images, work, tmp_path / "j", 1, engine)
    assert engine.batches == 1
    assert dict(again)["img0.png"] != dict(whole)["img0.png"]


def test_images_that_cannot_be_used_are_named_and_stop_nothing(
    tmp_path: Path, work: AnnotateWork
) -> None:
    folder = make_images(tmp_path / "images", 3)
    _, whole = found(ImageList.find(str(folder)), work, tmp_path / "a")
    (folder / "img00.png").write_bytes((folder / "img0.png").read_bytes()[:90])
    (tmp_path / "l.txt").write_text(
        "".join(f"images/{name}\n" for name in ("img0.png", "img00.png", "img1.png", "none.png"))
    )
    done, some = found(ImageList.find(str(tmp_path / "l.txt")), work, tmp_path / "b", 4)
    assert some == whole[:2]
    assert [name for name, _ in done.failed] == ["img00.png", "none.png"]
    assert "img00.png" in done.failed[0][1]
    assert "none.png" in done.failed[1][1]


def test_names_that_are_no_text_are_told_and_stop_nothing(
    tmp_path: Path, work: AnnotateWork
) -> None:
    folder = make_images(tmp_path / "images", 1)
    bad = os.fsdecode(b"caf\xe9.png")
    (folder / bad).write_bytes((folder / "img0.png").read_bytes())
    (tmp_path / "l.txt").write_bytes(b"images/a\0b.png\nimages/img0.png\n")
    for given, name in ((folder, bad), (tmp_path / "l.txt", "a\0b.png")):
        images = ImageList.find(str(given))
        done, some = found(images, work, tmp_path / "j")
        assert [name for name, _ in some] == ["img0.png"]
        assert done.failed == ((name, f"{name!r} is no name in UTF-8: give the file another one"),)
    images = ImageList.find(str(folder))
    with Project.open(folder / "samadapt.sqlite") as project:
        assert project_images(project, folder, images).keys() == {"img0.png"}


def test_slices_that_cannot_be_read_are_named(tmp_path: Path, work: AnnotateWork) -> None:
    folder = make_images(tmp_path / "images", 1)
    whole = moving_disc(3)
    save_stack(folder / "volume.tif", whole)
    with tifffile.TiffFile(folder / "volume.tif") as file:
        end = file.pages[2].dataoffsets[0]
    (folder / "volume.tif").write_bytes((folder / "volume.tif").read_bytes()[: end + 9])
    save_stack(folder / "odd.tif", whole[:2])
    tifffile.imwrite(folder / "odd.tif", whole[0, :9, :9], append=True, metadata=None)
    done, some = found(ImageList.find(str(folder)).with_slices(), work, tmp_path / "j")
    assert [name for name, _ in some][:3] == ["img0.png", "odd.tif#z=0", "odd.tif#z=1"]
    assert dict(done.failed)["odd.tif#z=2"].endswith("save all slices alike")


def test_bytes_and_broken_bytes(tmp_path: Path) -> None:
    path = make_images(tmp_path / "images", 1) / "img0.png"
    annotator = ImageAnnotator(tiny_nano(), options=OPTIONS)
    named, given, broken = annotator.find([path, path.read_bytes(), b"no image"])
    assert named == given
    assert "8 bytes are no image" in str(broken.problem)


def test_an_image_larger_than_memory_is_searched_in_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMADAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tiled_image, "HUGE_PIXELS", 10_000_000)
    folder = make_images(tmp_path / "images", 1)
    write_slide(folder / "slide.tif", 3300, [(1000, 1000, 150), (3000, 3000, 200)], 1)
    (folder / "z.svs").write_bytes(b"no slide")
    images = ImageList.find(str(folder))
    assert images.names == ("img0.png", "slide.tif", "z.svs")
    annotator = ImageAnnotator(FakeModel(side=32), options=ProposalOptions(points=2, min_area=1))
    small, large, broken = annotator.find([images.path(name) for name in images.names])
    assert small.problem is None
    assert large.size == (3300, 3300)
    assert large.objects
    assert FoundImage.from_dict(large.to_dict()) == large
    assert "z.svs" in str(broken.problem)


def test_a_worker_without_the_model_or_with_another(tmp_path: Path) -> None:
    path = str(tiny_weights(tmp_path))
    with pytest.raises(ModelError, match=r"a worker cannot load the model .*gone"):
        WorkerModel(str(tmp_path / "gone.safetensors")).load()
    model = WorkerModel.of(WorkerModel(path).load(), path)
    assert model.load().identity.weights_hash == model.weights_hash
    Path(path).unlink()
    tiny_weights(tmp_path, 1).rename(path)
    with pytest.raises(ModelError, match="a worker has other weights"):
        model.load()


class TestOutput:
    def test_a_coco_file_that_reads_back(self, tmp_path: Path, work: AnnotateWork) -> None:
        images = ImageList.find(str(make_images(tmp_path / "images", 3)))
        _, results = found(images, work, tmp_path / "j")
        count = write_coco(tmp_path / "all.json", ["object"], iter(results))
        data = CocoDataset.load(tmp_path / "all.json", images.root)
        data.check_images()
        assert len(data.annotations) == count == sum(len(one.objects) for _, one in results)
        first = next(a for a in data.annotations if a.image_id == 1)
        assert data.mask(first.id).tolist() == results[0][1].objects[0].rle.mask().tolist()
        assert first.extra["score"] == results[0][1].objects[0].score

    def test_shards_hold_the_same_and_the_index_names_them(
        self, tmp_path: Path, work: AnnotateWork
    ) -> None:
        images = ImageList.find(str(make_images(tmp_path / "images", 5)))
        _, results = found(images, work, tmp_path / "j")
        write_coco(tmp_path / "all.json", ["object"], iter(results))
        write_shards(tmp_path / "out", ["object"], iter(results), {"failed": []}, 2)
        index = json.loads((tmp_path / "out" / "index.json").read_text())
        assert [shard["images"] for shard in index["shards"]] == [2, 2, 1]
        assert [shard["first"] for shard in index["shards"]] == ["img0.png", "img2.png", "img4.png"]
        merged: dict[str, list[object]] = {"images": [], "annotations": []}
        for shard in index["shards"]:
            content = (tmp_path / "out" / shard["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == shard["sha256"]
            for key, rows in merged.items():
                rows += json.loads(content)[key]
        whole = json.loads((tmp_path / "all.json").read_text())
        assert merged == {key: whole[key] for key in merged}
        assert index["objects"] == len(whole["annotations"])
        with pytest.raises(DataError, match="not an empty folder"):
            write_shards(tmp_path / "out", ["object"], iter(results), {})


def test_proposals_wait_in_the_project_and_replace_those_before(
    tmp_path: Path, work: AnnotateWork
) -> None:
    images = ImageList.find(str(make_images(tmp_path / "images", 2)))
    _, results = found(images, work, tmp_path / "j")
    with Project.open(images.root / "samadapt.sqlite") as project:
        numbers = project_images(project, images.root, images)
        for _ in range(2):  # the second time nothing is there twice
            count = put_proposals(project, "nano", numbers, iter(results))
        assert sum(map(len, project.proposals.numbers().values())) == count > 0
        for name, image in results:
            waiting = project.proposals.waiting(numbers[name])
            assert [w.proposal.score for w in waiting] == sorted(
                (one.score for one in image.objects), reverse=True
            )
            assert {w.proposal.rle for w in waiting} == {one.rle for one in image.objects}
        put_proposals(project, "another", numbers, iter(results))
        assert sum(map(len, project.proposals.numbers().values())) == 2 * count
        some = project.proposals.waiting(numbers["img0.png"])
        assert project.proposals.remove([some[0].id, 999]) == 1
        assert some[0] not in project.proposals.waiting(numbers["img0.png"])
        assert project.objects.all() == []
        other = ImageList.find(str(make_images(tmp_path / "elsewhere", 1)))
        with pytest.raises(DataError, match="not one of the images of the project"):
            project_images(project, images.root, other)


def test_slices_of_a_projects_stack_stand_in_the_place_of_their_file(
    tmp_path: Path, work: AnnotateWork
) -> None:
    folder = make_images(tmp_path / "images", 1)
    save_stack(folder / "volume.tif", moving_disc(2)[:1])
    with Project.open(folder / "samadapt.sqlite") as project:
        project.images.scan(folder)
        save_stack(folder / "volume.tif", moving_disc(2))
        images = with_slices(project, folder, ImageList.find(str(folder)))
        assert images.names == ("img0.png", "volume.tif#z=0", "volume.tif#z=1")
        numbers = project_images(project, folder, images)
        names = {image.id: image.name for image in project.images.all().values()}
        assert names[numbers["volume.tif#z=0"]] == "volume.tif"  # as it was called before
        assert names[numbers["volume.tif#z=1"]] == "volume.tif#z=1"
        done, results = found(images, work, tmp_path / "j")
        assert done.failed == ()
        put_proposals(project, "nano", numbers, iter(results))
        assert set(project.proposals.numbers()) == set(numbers.values())
