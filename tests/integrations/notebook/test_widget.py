"""The widget from Python, and as its page talks to it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import samadapt
from fakes import FakeModel, blobs
from tiny_dataset import label_map, oracle
from toy_adapter import ToyAdapter

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def widget() -> Any:
    """On a model that answers with the object under the last click: disc 1, square 2, bar 3."""
    return samadapt.widget(blobs(*label_map().shape), oracle(), (), label="thing")


def page(widget: Any, **content: Any) -> dict[str, Any]:
    """What the page sends; returns the state that it is told."""
    widget._handle_custom_msg(content, [])
    return dict(widget._state)


def decoded(picture: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(picture)))


def test_click_accept_and_the_masks(widget: Any) -> None:
    assert (widget.width, widget.height) == label_map().shape[::-1]
    np.testing.assert_array_equal(decoded(widget._picture), blobs(*label_map().shape))
    assert widget.mask is None
    assert widget.masks.shape == (0, *label_map().shape)
    np.testing.assert_array_equal(widget.click(14.5, 12.5), label_map() == 1)
    np.testing.assert_array_equal(widget.accept(), label_map() == 1)
    widget.click(36, 28)
    widget.accept("square")
    np.testing.assert_array_equal(widget.masks, [label_map() == 1, label_map() == 2])
    assert [(o.label, o.clicks, o.image) for o in widget.objects] == [
        ("thing", 1, "image-1.png"),
        ("square", 1, "image-1.png"),
    ]


def test_the_page_clicks_undoes_and_accepts(widget: Any) -> None:
    state = page(widget, kind="click", x=14.5, y=12.5, positive=True)
    assert state["clicks"] == [[14.5, 12.5, True]]
    assert state["can_undo"]
    assert state["answered"] == 1
    tinted = decoded(widget._mask)
    np.testing.assert_array_equal(tinted[..., 3] > 0, label_map() == 1)
    page(widget, kind="click", x=36, y=28, positive=False)
    assert widget._state["clicks"][-1] == [36, 28, False]
    page(widget, kind="undo")
    assert widget._state["clicks"] == [[14.5, 12.5, True]]
    page(widget, kind="redo")
    page(widget, kind="undo")
    widget.label = "disc"
    state = page(widget, kind="accept")
    assert (state["objects"], state["clicks"], widget._mask) == (1, [], b"")
    np.testing.assert_array_equal(decoded(widget._accepted)[..., 3] > 0, label_map() == 1)
    assert widget.objects[0].label == "disc"


def test_a_box_and_giving_up() -> None:
    widget = samadapt.widget(blobs(), FakeModel(), ())
    state = page(widget, kind="box", x0=20, y0=2, x1=4, y1=22)
    assert state["problem"]
    state = page(widget, kind="box", x0=4, y0=2, x1=24, y1=22)
    assert (state["problem"], state["box"]) == ("", [4, 2, 24, 22])
    assert page(widget, kind="clear")["box"] is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"kind": "accept"}, "click"),
        ({"kind": "undo"}, "nothing to undo"),
        ({"kind": "click", "x": 1e9, "y": 3}, "outside"),
        ({"kind": "click", "x": "a", "y": 3}, "give numbers"),
        ({"kind": "click", "x": 5}, "give numbers"),
        ({"kind": "__init__"}, "no action"),
        ({}, "no action"),
        (7, "the page sent 7"),
    ],
)
def test_what_cannot_be_done_is_told_on_the_page(widget: Any, content: Any, said: str) -> None:
    before = dict(widget._state)
    widget._handle_custom_msg(content, [])
    problem = widget._state["problem"]
    assert said in problem
    assert "\n" not in problem
    assert {**widget._state, "problem": "", "answered": 0} == {**before, "answered": 0}


def test_adapters_learn_from_what_is_accepted() -> None:
    toy = ToyAdapter()
    widget = samadapt.widget(blobs(), FakeModel(), [toy])
    widget.click(14, 12)
    widget.accept("disc")
    assert toy.seen.calls == ["open", "click", "accept"]


def test_the_default_adapter_learns_online() -> None:
    widget = samadapt.widget(blobs(), FakeModel())
    assert [type(adapter) for adapter in widget.session.adapters] == [samadapt.OnlineAdapter]


def test_several_images_are_saved_as_a_dataset(widget: Any, tmp_path: Path) -> None:
    widget.click(14.5, 12.5)
    widget.accept("disc")
    path = tmp_path / "second.png"
    Image.fromarray(blobs(*label_map().shape)[:, ::-1]).save(path)
    widget.open_image(path)
    assert widget.masks.shape[0] == 0
    assert widget._accepted == b""
    widget.click(36, 28)
    widget.accept("square")
    dataset = widget.save(tmp_path / "out")
    dataset.check_images()
    assert [image.file_name for image in dataset.images] == ["image-1-1.png", "second-2.png"]
    found = [
        (dataset.category(a.category_id).name, dataset.mask(a.id)) for a in dataset.annotations
    ]
    assert [name for name, _ in found] == ["disc", "square"]
    for (_, mask), thing in zip(found, widget.objects, strict=True):
        np.testing.assert_array_equal(mask, thing.mask)
    with pytest.raises(samadapt.DataError, match="not an empty folder"):
        widget.save(tmp_path / "out")


def test_nothing_to_save_and_a_name_used_twice_are_told(widget: Any, tmp_path: Path) -> None:
    with pytest.raises(samadapt.SessionError, match="accept an object first"):
        widget.save(tmp_path / "out")
    with pytest.raises(samadapt.SessionError, match="give name="):
        widget.open_image(blobs(10, 12), name="image-1.png")


def test_without_anywidget_the_remedy_is_told() -> None:
    code = "import sys; sys.modules['anywidget'] = None; import samadapt; samadapt.widget('a.png')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: the notebook's widget needs anywidget: pip install 'samadapt[notebook]'"
    )
