"""Points, boxes and brushes in napari's layers become masks and objects at the server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from disc_slices import DISCS, SIZE, disc, iou, stack
from napari.components import ViewerModel
from napari_samadapt.annotator import Annotator
from napari_samadapt.errors import SamadaptError
from napari_samadapt.masks import write_crop

Maker = Callable[..., Annotator]


def current(annotator: Any) -> np.ndarray:
    return np.asarray(annotator.layers.current.data) > 0


def click(annotator: Any, number: int, depth: int | None = None) -> None:
    row, column = DISCS[number]
    leading = () if depth is None else (depth,)
    annotator.layers.points.add([*leading, row + (depth or 0), column])
    annotator.wait()


def box(annotator: Any, number: int, depth: int = 0) -> None:
    row, column = DISCS[number][0] + depth, DISCS[number][1]
    ends = [(-17, -17), (-17, 17), (17, 17), (17, -17)]
    corners = np.array([[[row + down, column + right] for down, right in ends]])
    annotator.layers.boxes.add_rectangles(corners)
    annotator.wait()


def test_a_click_and_an_accepted_object(annotate: Maker, problems: list[str]) -> None:
    annotator = annotate(stack()[0], "plain")
    layers = annotator.layers
    click(annotator, 0)
    assert iou(current(annotator), disc(0)) > 0.8
    annotator.accept()
    annotator.wait()
    assert not current(annotator).any()
    assert len(layers.points.data) == 0
    (number,) = np.unique(layers.objects.data)[1:]
    assert iou(layers.objects.data == number, disc(0)) > 0.8
    assert problems == []


def test_a_box_says_which_of_several(annotate: Maker, problems: list[str]) -> None:
    annotator = annotate(stack(0, 1, 2)[0], "boxes")
    layers = annotator.layers
    for number in (0, 1):
        box(annotator, number)
        assert iou(current(annotator), disc(number)) > 0.85
    assert len(layers.boxes.data) == 1, "another box is in place of the first one"
    annotator.accept()
    annotator.wait()
    assert len(layers.boxes.data) == 0
    assert iou(layers.objects.data > 0, disc(1)) > 0.85
    assert problems == []


def test_the_server_gets_the_layers_pixels_and_the_middle_of_the_clicked_one(
    annotate: Maker, server: Any
) -> None:
    annotator = annotate(stack()[0], "whole", scale=(0.5, 0.5), translate=(10, 20))
    annotator.layers.points.add([30, 40])
    annotator.wait()
    answer = annotator._client.open(annotator._numbers[annotator.plane])
    assert (answer["height"], answer["width"]) == SIZE
    assert answer["current"]["clicks"] == [[40.5, 30.5, 1]]
    world = annotator.layers.points.data_to_world([30, 40])
    assert tuple(world) == (25.0, 40.0), "points lie on the image"


def test_background_points_undo_and_removed_points(annotate: Maker) -> None:
    annotator = annotate(stack()[1], "undo")
    layers = annotator.layers
    click(annotator, 0)
    first = current(annotator)
    layers.toggle_kind()
    layers.points.add([80, 60])
    annotator.wait()
    assert list(layers.points.features["kind"]) == ["object", "background"]
    assert not current(annotator)[80, 60]
    annotator.undo()
    annotator.wait()
    np.testing.assert_array_equal(current(annotator), first)
    assert len(layers.points.data) == 1
    layers.points.add([80, 60])
    annotator.wait()
    layers.points.selected_data = {0}  # another than the last one
    layers.points.remove_selected()
    annotator.wait()
    now = annotator._now[annotator.plane]
    assert now["clicks"] == [[60.5, 80.5, 0]]
    annotator.clear()
    annotator.wait()
    assert len(layers.points.data) == 0
    assert not current(annotator).any()


def test_what_was_painted_is_accepted(annotate: Maker) -> None:
    annotator = annotate(stack()[2], "painted")
    click(annotator, 0)
    wanted = current(annotator)
    wanted[:20, :20] = True
    annotator.layers.current.data = wanted.astype(np.uint8)
    annotator.accept()
    annotator.wait()
    np.testing.assert_array_equal(annotator.layers.objects.data > 0, wanted)


def test_what_was_erased_is_not_accepted(annotate: Maker, problems: list[str]) -> None:
    annotator = annotate(stack()[3][::-1, ::-1], "erased")
    annotator.layers.points.add([SIZE[0] - 1 - 33, SIZE[1] - 1 - 40])
    annotator.wait()
    wanted = current(annotator)
    wanted[SIZE[0] - 33 :] = False
    wanted[:9, :9] = True
    annotator.layers.current.data = wanted.astype(np.uint8)
    annotator.accept()
    annotator.wait()
    np.testing.assert_array_equal(annotator.layers.objects.data > 0, wanted)
    assert problems == []


def test_prompts_are_taken_back_and_accepted_objects_never(
    annotate: Maker, problems: list[str]
) -> None:
    annotator = annotate(stack()[2][::-1, ::-1], "kept")
    layers, row, column = annotator.layers, SIZE[0] - 1 - 32, SIZE[1] - 1 - 40
    client, number = annotator._client, annotator._numbers[annotator.plane]
    layers.points.add([row, column])
    annotator.wait()
    annotator.accept()
    annotator.undo()  # nothing is under way
    annotator.wait()
    layers.points.add([row, column])
    annotator.wait()
    proposal = np.zeros(SIZE, np.bool_)
    proposal[:8, :8] = True
    client.add(number, None, proposal)
    layers.points.selected_data = {0}
    layers.points.remove_selected()
    annotator.wait()
    assert not current(annotator).any()
    opened = client.open(number)
    assert opened["current"] is None
    assert sorted(thing["source"] for thing in opened["objects"]) == ["clicks", "similar"]
    assert problems == []


def test_a_mask_that_was_not_shown_is_not_accepted(annotate: Maker, problems: list[str]) -> None:
    annotator = annotate(stack()[3][::-1], "unseen")
    client, number = annotator._client, annotator._numbers[annotator.plane]
    annotator.layers.points.add([SIZE[0] - 1 - 33, 40])
    annotator.wait()
    patch = np.zeros(SIZE, np.bool_)
    patch[:8, :8] = True
    client._post(f"images/{number}/stroke", json={"mask": write_crop(patch)})
    annotator.accept()
    annotator.wait()
    assert len(problems) == 1
    assert "not the one that was shown" in problems[0]
    assert client.open(number)["objects"] == []
    assert current(annotator)[patch].all(), "it is shown now"
    annotator.accept()
    annotator.wait()
    assert (annotator.layers.objects.data[patch] > 0).all()


def test_the_object_that_is_being_improved_is_deleted(
    viewer: ViewerModel, annotate: Maker, problems: list[str]
) -> None:
    annotator = annotate(stack()[1][:, ::-1], "gone")
    viewer.cursor.position = place = (31, SIZE[1] - 1 - 40)
    annotator.layers.points.add(place)
    annotator.wait()
    annotator.accept()
    annotator.wait()
    annotator.improve()
    annotator.wait()
    assert current(annotator).any()
    annotator.delete()
    annotator.wait()
    assert not current(annotator).any()
    assert not annotator.layers.objects.data.any()
    assert problems == []


def test_a_stack_is_annotated_slice_by_slice(
    viewer: ViewerModel, annotate: Maker, problems: list[str]
) -> None:
    annotator = annotate(stack(), "volume")
    for depth in (1, 3):
        viewer.dims.set_current_step(0, depth)
        click(annotator, 0, depth)
        assert iou(current(annotator), disc(0, depth)) > 0.8
    viewer.dims.set_current_step(0, 1)
    annotator.wait()
    assert iou(current(annotator), disc(0, 1)) > 0.8, "each slice has an object under way"
    annotator.accept()
    annotator.wait()
    depths = np.unique(np.nonzero(annotator.layers.objects.data)[0])
    assert depths.tolist() == [1]
    assert [round(place[0]) for place in annotator.layers.points.data] == [3]
    assert problems == []


def test_another_session_finds_the_objects_again(viewer: ViewerModel, annotate: Maker) -> None:
    first = annotate(stack(), "again")
    click(first, 0, int(first.plane.index[0]))
    first.accept()
    first.wait()
    viewer.layers.clear()
    second = annotate(stack(), "again")
    assert second.plane == first.plane
    np.testing.assert_array_equal(second.layers.objects.data, first.layers.objects.data)


def test_similar_objects_are_proposed_and_taken(annotate: Maker, problems: list[str]) -> None:
    annotator = annotate(stack(0, 1, 2)[3], "similar")
    box(annotator, 0, depth=3)
    annotator.accept()
    annotator.wait()
    annotator.find_similar()
    annotator.wait()
    proposals = np.asarray(annotator.layers.proposals.data)
    for number in (1, 2):
        shown = proposals[disc(number, 3)]
        assert np.bincount(shown).argmax() > 0, "the other discs are proposed"
    annotator.take_all()
    annotator.wait()
    assert not np.asarray(annotator.layers.proposals.data).any()
    for number in range(3):
        assert (annotator.layers.objects.data[disc(number, 3)] > 0).mean() > 0.8
    annotator.find_similar()
    annotator.wait()
    assert annotator._rejected == [], "what was taken is not passed over"
    assert problems == []


def test_an_object_under_the_mouse_is_improved_or_deleted(
    viewer: ViewerModel, annotate: Maker, problems: list[str]
) -> None:
    annotator = annotate(stack()[0][:, ::-1], "mouse")
    annotator.layers.points.add([30, SIZE[1] - 1 - 40])
    annotator.wait()
    annotator.accept()
    annotator.wait()
    (number,) = np.unique(annotator.layers.objects.data)[1:]
    viewer.cursor.position = (30, SIZE[1] - 1 - 40)
    annotator.improve()
    annotator.wait()
    assert current(annotator).any()
    annotator.layers.points.add([34, SIZE[1] - 1 - 40])
    annotator.wait()
    annotator.accept()
    annotator.wait()
    assert np.unique(annotator.layers.objects.data)[1:].tolist() == [number]
    annotator.delete()
    annotator.wait()
    assert not annotator.layers.objects.data.any()
    with pytest.raises(SamadaptError, match="no accepted object"):
        annotator.delete()
    assert problems == []


def test_the_model_learns_from_what_is_accepted(annotate: Maker) -> None:
    annotator = annotate(stack()[1][::-1], "learning")
    before = annotator._client.learned()["learned"]
    annotator.layers.points.add([SIZE[0] - 1 - 31, 40])
    annotator.wait()
    annotator.accept()
    annotator.wait()
    for _ in range(600):  # in the background
        learned = annotator._client.learned()["learned"]
        if learned > before:
            break
        time.sleep(0.1)
    assert learned == before + 1


def test_nothing_to_accept_is_told(annotate: Maker) -> None:
    annotator = annotate(stack()[2][::-1], "nothing")
    with pytest.raises(SamadaptError, match="click on the object"):
        annotator.accept()
    with pytest.raises(SamadaptError, match="no proposal"):
        annotator.take()


def test_find_similar_without_an_example_is_told(annotate: Maker, problems: list[str]) -> None:
    annotator = annotate(stack()[2][:, ::-1], "no-example")
    annotator.label = "never drawn on any image"
    annotator.find_similar()
    annotator.wait()
    assert problems == ["Accept an object of this label first: then similar ones are found."]


@pytest.mark.parametrize("change", ["3d", "rolled"])
def test_views_that_are_no_slices_are_told(
    viewer: ViewerModel, annotate: Maker, problems: list[str], change: str
) -> None:
    annotate(stack(), f"views-{change}")
    if change == "3d":
        viewer.dims.ndisplay = 3
    else:
        viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(0, 2)
    viewer.dims.set_current_step(1, 2)
    assert problems
    assert "samadapt segments" in problems[0]
