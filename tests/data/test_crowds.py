"""Files whose masks are all marked as crowds, as CVAT marks brush masks: said, and offered."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from file_scenes import AREA, coco, put_images
from samadapt.benchmark.options import Selection
from samadapt.data.coco import CocoDataset
from samadapt.data.datasets import open_dataset
from samadapt.data.selection import select
from samadapt.errors import DataError
from samadapt.training.fitting.recipe import FitRecipe
from samadapt.training.fitting.training_data import TrainingData

USES: list[Callable[[CocoDataset], object]] = [
    lambda dataset: select(dataset, "cell"),
    lambda dataset: select(dataset, None, 1),
    lambda dataset: TrainingData([dataset], FitRecipe()),
    lambda dataset: Selection().objects(dataset),
]


def files(tmp_path: Path, **changes: object) -> tuple[Path, Path]:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(coco(changes, changes)))
    return put_images(tmp_path / "img", "a.png"), path


@pytest.mark.parametrize("use", USES)
def test_crowds_are_said_and_can_be_taken(
    tmp_path: Path, use: Callable[[CocoDataset], object]
) -> None:
    images, masks = files(tmp_path, iscrowd=1)
    with pytest.raises(DataError, match=r"all 2 masks are marked as crowds .* --crowds"):
        use(open_dataset(images, masks))
    taken = open_dataset(images, masks, crowds=True)
    use(taken)
    assert [taken.rle(ref.annotation_id).area for ref in taken.objects()] == [AREA, AREA]


@pytest.mark.parametrize("use", USES)
def test_boxes_only_are_said(tmp_path: Path, use: Callable[[CocoDataset], object]) -> None:
    with pytest.raises(DataError, match="all 2 annotations have only a box, no mask"):
        use(open_dataset(*files(tmp_path, segmentation=[])))


@pytest.mark.parametrize("marked", [0, False, None, "0"])
def test_only_one_means_a_crowd(tmp_path: Path, marked: object) -> None:
    assert len(open_dataset(*files(tmp_path, iscrowd=marked)).objects()) == 2


def test_images_are_found_in_either_unicode_form(tmp_path: Path) -> None:
    stored, said = (unicodedata.normalize(form, "ü.png") for form in ("NFD", "NFC"))
    path = tmp_path / "c.json"
    path.write_text(json.dumps(coco({}, names=(said,))))
    dataset = open_dataset(put_images(tmp_path / "img", stored), path)
    assert dataset.image_path(1).name == stored
