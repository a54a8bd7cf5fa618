"""The auto-annotation function, driven by the very driver of CVAT's SDK."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cvat_sdk.models as models
import numpy as np
import pytest
from cvat_sdk.auto_annotation import BadFunctionError, annotate_task, driver
from cvat_sdk.masks import decode_mask
from numpy.typing import NDArray
from PIL import Image

import samadapt
from fakes import blobs
from samadapt.data.rle import Rle
from samadapt.integrations import cvat
from small_models import tiny_nano
from tiny_dataset import label_map, oracle
from toy_adapter import ToyAdapter

SIZE = label_map().shape


def taught(folder: Path, category: str) -> Path:
    adapter = ToyAdapter()
    adapter.bind(oracle())
    adapter.config = replace(adapter.config, recipe={"category": category})
    adapter.save_pretrained(folder)
    return folder


@pytest.fixture
def function(
    tmp_path: Path, toy_method: type[ToyAdapter], monkeypatch: pytest.MonkeyPatch
) -> cvat.TaskFunction:
    """As CVAT makes it, of a folder of two tasks, on a model that knows the answers."""
    monkeypatch.setattr(cvat, "load", lambda name: oracle())
    for name in ("disc", "square"):
        taught(tmp_path / "tasks" / name, name)
    return cvat.create(str(tmp_path / "tasks"), min_score=0.0)


def annotated(
    function: Any, monkeypatch: pytest.MonkeyPatch, labels: dict[str, int], **options: Any
) -> list[Any]:
    """The shapes that the SDK's driver would upload for a task of one picture."""
    kind = "polygon" if options.get("conv_mask_to_poly") else "mask"
    image = Image.fromarray(blobs(*SIZE))
    sample = SimpleNamespace(
        frame_index=7, frame_name="a.png", media=SimpleNamespace(load_image=lambda: image)
    )
    described = [
        models.Label(
            name=name, id=number, type=kind, attributes=[], sublabels=[], _check_type=False
        )
        for name, number in labels.items()
    ]
    dataset = SimpleNamespace(labels=described, samples=[sample])
    monkeypatch.setattr(driver, "TaskDataset", lambda *given, **more: dataset)
    sent: list[Any] = []
    tasks = SimpleNamespace(
        api=SimpleNamespace(
            partial_update_annotations=lambda action, number, **more: sent.append(more)
        )
    )
    client = SimpleNamespace(logger=logging.getLogger("test"), tasks=tasks)
    annotate_task(client, 1, function, **options)
    (request,) = sent
    return list(request["patched_labeled_data_request"].shapes)


def decoded(shape: Any) -> NDArray[np.bool_]:
    return decode_mask(shape.points, image_width=SIZE[1], image_height=SIZE[0])


def test_every_object_of_every_task_is_a_mask_with_the_tasks_label(
    function: cvat.TaskFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = annotated(function, monkeypatch, {"square": 31, "disc": 30})
    assert {shape.frame for shape in shapes} == {7}
    assert {shape.label_id for shape in shapes} == {30, 31}
    for label in (30, 31):
        masks = [decoded(shape) for shape in shapes if shape.label_id == label]
        for known in (1, 2, 3):
            assert any(np.array_equal(mask, label_map() == known) for mask in masks)
    assert all(0 <= shape.score <= 1 for shape in shapes)


def test_polygons_fill_the_same_pixels(
    function: cvat.TaskFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = annotated(
        function, monkeypatch, {"disc": 1}, conv_mask_to_poly=True, allow_unmatched_labels=True
    )
    assert {shape.type.value for shape in shapes} == {"polygon"}
    masks = [Rle.from_polygons([shape.points], SIZE).mask() for shape in shapes]
    assert any(np.array_equal(mask, label_map() == 1) for mask in masks)


def test_the_threshold_of_the_person_counts(
    function: cvat.TaskFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = annotated(function, monkeypatch, {"disc": 1, "square": 2})
    scores = sorted(shape.score for shape in everything)
    middle = (scores[0] + scores[-1]) / 2
    some = annotated(function, monkeypatch, {"disc": 1, "square": 2}, conf_threshold=middle)
    assert sorted(shape.score for shape in some) == [score for score in scores if score >= middle]
    assert annotated(function, monkeypatch, {"disc": 1, "square": 2}, conf_threshold=1.0) == []


def test_a_label_that_the_task_does_not_have_is_told(
    function: cvat.TaskFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadFunctionError, match="square"):
        annotated(function, monkeypatch, {"disc": 1})


@pytest.mark.parametrize("tasks", ["", " , ", "nowhere"])
def test_tasks_that_are_not_there(tasks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cvat, "load", lambda name: tiny_nano())
    with pytest.raises(samadapt.AdapterError) as error:
        cvat.create(tasks)
    assert len(str(error.value).splitlines()) == 1


def test_without_the_sdk_the_remedy_is_told() -> None:
    code = "import sys; sys.modules['cvat_sdk'] = None; import samadapt.integrations.cvat"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: CVAT's SDK is missing: pip install 'samadapt[cvat]'"
    )
