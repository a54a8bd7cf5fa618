"""Masks of one task: which ones, how many, from where."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from samadapt.data.coco import CocoDataset
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage, NewObject
from samadapt.data.selection import select
from samadapt.errors import DataError


def square(side: int) -> np.ndarray:
    mask = np.zeros((20, 30), np.bool_)
    mask[3 : 3 + side, 5 : 5 + side] = True
    return mask


@pytest.fixture
def dataset() -> CocoDataset:
    """Six images: the first four with three wheels and a door each, one with a door, one empty."""
    empty = CocoDataset(
        tuple(CocoImage(n, f"{n}.png", 30, 20) for n in range(1, 7)),
        categories=(CocoCategory(1, "wheel"), CocoCategory(2, "door"), CocoCategory(3, "lamp")),
        source="cars.json",
    )
    things = [
        NewObject(n, name, square(4))
        for n in (1, 2, 3, 4)
        for name in ("wheel", "wheel", "wheel", "door")
    ]
    return empty.with_objects([*things, NewObject(5, "door", square(2))])


def ids(dataset: CocoDataset) -> set[object]:
    return {annotation.id for annotation in dataset.annotations}


class TestWhatIsKept:
    def test_objects_of_the_category_and_the_images_that_show_them(
        self, dataset: CocoDataset
    ) -> None:
        found = select(dataset, "wheel")
        assert len(found.annotations) == 12
        assert [image.id for image in found.images] == [1, 2, 3, 4]
        assert {ref.category for ref in found.objects()} == {"wheel"}
        assert [a.id for a in found.annotations] == sorted(ids(found)), "in the file's order"

    def test_all_categories(self, dataset: CocoDataset) -> None:
        found = select(dataset, None)
        assert ids(found) == ids(dataset)
        assert [image.id for image in found.images] == [1, 2, 3, 4, 5]

    def test_single_pixels_crowds_and_boxes_are_left_out(self, dataset: CocoDataset) -> None:
        more = dataset.with_objects(
            [
                NewObject(6, "door", square(1)),
                NewObject(6, "door", square(0)),
                NewObject(6, "door", square(5), iscrowd=True),
            ]
        )
        boxed = CocoDataset(
            more.images,
            (*more.annotations, CocoAnnotation(99, 6, 2, None)),
            more.categories,
        )
        assert ids(select(boxed, "door")) == ids(select(dataset, "door"))

    def test_it_says_what_it_is(self, dataset: CocoDataset) -> None:
        assert select(dataset, "wheel").source == "cars.json (wheel)"
        assert select(dataset, "wheel", 2, 7).source == "cars.json (wheel), 2 shots of seed 7"


class TestShots:
    @pytest.mark.parametrize("seed", range(5))
    def test_more_shots_contain_fewer(self, dataset: CocoDataset, seed: int) -> None:
        chosen = [ids(select(dataset, "wheel", shots, seed)) for shots in range(1, 13)]
        assert [len(each) for each in chosen] == list(range(1, 13))
        assert all(fewer < more for fewer, more in pairwise(chosen))

    @pytest.mark.parametrize("seed", range(5))
    def test_they_are_from_different_images_while_there_are_enough(
        self, dataset: CocoDataset, seed: int
    ) -> None:
        for shots, most in ((4, 1), (8, 2), (6, 2)):
            found = select(dataset, "wheel", shots, seed)
            counts = [len(found.annotations_of(image.id)) for image in found.images]
            assert len(counts) == 4
            assert max(counts) == most

    def test_the_seed_decides(self, dataset: CocoDataset) -> None:
        assert ids(select(dataset, "wheel", 3, 1)) == ids(select(dataset, "wheel", 3, 1))
        assert len({frozenset(ids(select(dataset, "wheel", 3, seed))) for seed in range(8)}) > 1


class TestMistakes:
    def test_an_unknown_category(self, dataset: CocoDataset) -> None:
        with pytest.raises(
            DataError, match=r"'whel' \(did you mean 'wheel'\?\).*door, lamp, wheel"
        ):
            select(dataset, "whel")
        with pytest.raises(DataError, match=r"did you mean 'door'"):
            select(dataset, "DOOR")

    def test_fewer_masks_than_shots(self, dataset: CocoDataset) -> None:
        with pytest.raises(DataError, match=r"has 5 masks of 'door', but 9 shots.*5 or fewer"):
            select(dataset, "door", 9)

    def test_nothing_usable(self, dataset: CocoDataset) -> None:
        with pytest.raises(DataError, match="no usable mask of 'lamp'"):
            select(dataset, "lamp")
        tiny = dataset.with_objects([NewObject(6, "lamp", square(1))])
        with pytest.raises(DataError, match=r"'lamp' \(1 of less than 2 pixels left out\)"):
            select(tiny, "lamp", 1)

    @pytest.mark.parametrize("shots", [0, -1, True])
    def test_shots_that_make_no_sense(self, dataset: CocoDataset, shots: int) -> None:
        with pytest.raises(DataError, match="shots"):
            select(dataset, "door", shots)
