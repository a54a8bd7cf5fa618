"""Key bindings of the plugin in its layers and in the viewer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_samadapt.annotator import Annotator

Act = Callable[[Callable[[], Any]], None]

KEYS = {
    "T": "next points mark the background, or the object again",
    "C": "accept the object",
    "Shift-C": "give the object up",
    "Control-Z": "take the last step of the object under way back",
    "N": "find similar objects; again for further ones",
    "Y": "accept the proposal under the mouse",
    "Shift-Y": "accept all proposals",
    "J": "improve the accepted object under the mouse",
    "Shift-J": "delete the accepted object under the mouse",
}
"""Descriptions of the keys, by the name of the key."""


def bind_keys(viewer: Any, annotator: Annotator, act: Act) -> None:
    """Bind the keys to the actions of an annotator; earlier bindings of these keys are replaced.

    Args:
        viewer: the napari viewer.
        annotator: the annotator whose methods the keys call.
        act: calls an action, and shows its error, if any.
    """
    layers = annotator.layers
    actions: dict[str, Callable[[], Any]] = {
        "T": layers.toggle_kind,
        "C": annotator.accept,
        "Shift-C": annotator.clear,
        "Control-Z": annotator.undo,
        "N": annotator.find_similar,
        "Y": annotator.take,
        "Shift-Y": annotator.take_all,
        "J": annotator.improve,
        "Shift-J": annotator.delete,
    }
    for key, action in actions.items():
        for place in layers.all if key != "Control-Z" else (layers.boxes, layers.points):
            place.bind_key(key, _bound(action, act), overwrite=True)
        if key != "Control-Z":  # elsewhere it is napari's own
            viewer.bind_key(key, _bound(action, act), overwrite=True)


def unbind_keys(viewer: Any) -> None:
    """Remove the key bindings from the viewer."""
    for key in KEYS:
        if key != "Control-Z":
            viewer.bind_key(key, None, overwrite=True)


def _bound(action: Callable[[], Any], act: Act) -> Callable[[Any], None]:
    return lambda _: act(action)
