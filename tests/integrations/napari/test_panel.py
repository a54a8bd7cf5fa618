"""The panel, its keys, the manifest, and what is told when something is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from disc_slices import DISCS, disc, iou, stack
from napari.components import ViewerModel
from napari_samadapt.client import Client
from napari_samadapt.errors import SamadaptError
from napari_samadapt.keys import KEYS
from napari_samadapt.server import LocalServer
from napari_samadapt.widget import SamadaptWidget
from npe2 import PluginManifest


def press(layer: Any, key: str) -> None:
    """What napari calls when a key is pressed while a layer is active."""
    from app_model.types import KeyBinding

    wanted = KeyBinding.from_str(key.replace("Control", "Ctrl"))
    (action,) = (call for bound, call in layer.keymap.items() if str(bound) == str(wanted))
    action(layer)


def test_start_click_accept_and_stop_with_a_server_of_its_own(
    viewer: ViewerModel, panel: SamadaptWidget, tmp_path: Path
) -> None:
    viewer.add_image(stack()[0], name="cells")
    panel.folder.value = tmp_path / "project"
    panel.server_options.value = "--adapter none --threads 1"
    panel.start()
    annotator, server = panel.annotator, panel._server
    assert annotator is not None
    assert server is not None
    annotator.layers.points.add(DISCS[0])
    annotator.wait()
    press(annotator.layers.points, "T")
    assert annotator.layers.points.feature_defaults["kind"].iloc[0] == "background"
    press(annotator.layers.points, "C")
    annotator.wait()
    assert iou(annotator.layers.objects.data > 0, disc(0)) > 0.8
    assert panel.status.value.startswith("accepted object")
    press(annotator.layers.current, "C")
    assert panel.status.value == "there is nothing to accept yet: click on the object"
    viewer.layers.remove(annotator.layers.points)
    assert not server.is_running
    assert "was removed: Start again" in panel.status.value
    assert sorted(path.suffix for path in (tmp_path / "project").glob("cells*")) == [".tif"]


def test_every_key_is_bound_in_every_layer(
    viewer: ViewerModel, panel: SamadaptWidget, server: LocalServer
) -> None:
    viewer.add_image(stack()[0], name="keys")
    panel.url.value, panel.token.value = server.url, server.token
    panel.start()
    assert panel.annotator is not None
    for layer in (panel.annotator.layers.points, panel.annotator.layers.boxes):
        assert len(layer.keymap) == len(KEYS)
    assert len(viewer.keymap) == len(KEYS) - 1, "Ctrl-Z elsewhere is napari's own"
    panel.stop()
    assert server.is_running, "a server that was joined goes on"
    assert len(viewer.keymap) == 0


def test_what_is_missing_is_told_in_one_line(
    viewer: ViewerModel,
    panel: SamadaptWidget,
    server: LocalServer,
    tmp_path: Path,
) -> None:
    def told() -> str:
        panel.act(panel.start)
        assert "\n" not in panel.status.value
        return str(panel.status.value)

    assert told() == "there is no image layer: open an image first"
    viewer.add_image(stack()[0], name="missing")
    panel.act(lambda: panel._need())
    assert panel.status.value == "no server yet: press Start first"
    panel.folder.value = tmp_path / "project"
    panel.command.value = "/nowhere/samadapt"
    assert "pip install samadapt" in told()
    panel.command.value, panel.server_options.value = "", "--model nonsense"
    assert "nonsense" in told()
    panel.url.value, panel.token.value = "http://127.0.0.1:9", "x"
    assert "no samadapt server answers" in told()
    panel.url.value = "cells.example"
    assert "is no address" in told()
    panel.url.value, panel.token.value = server.url, "wrong-token"
    assert "token" in told()
    assert panel.annotator is None


def test_every_post_has_an_idempotency_key(server: LocalServer) -> None:
    client = Client(server.url, server.token)
    sent: list[httpx.Request] = []
    client._http.event_hooks = {"request": [sent.append]}
    with pytest.raises(SamadaptError, match="there is no image 9999"):
        client.open(9999)
    client.close()
    keys = [request.headers["idempotency-key"] for request in sent if request.method == "POST"]
    assert len(keys) == len(set(keys)) == 2


def test_a_server_that_went_away_is_told(
    viewer: ViewerModel, panel: SamadaptWidget, tmp_path: Path
) -> None:
    viewer.add_image(stack()[0], name="gone")
    panel.folder.value, panel.server_options.value = (
        tmp_path / "project",
        "--adapter none --threads 1",
    )
    panel.start()
    assert panel.annotator is not None
    assert panel._server is not None
    panel.annotator.wait()
    panel._server.stop()
    panel.annotator.layers.points.add(DISCS[0])
    panel.annotator.wait()
    assert "no samadapt server answers" in panel.status.value
    assert len(panel.annotator.layers.points.data) == 1, "what was clicked stays"


def test_the_manifest_is_valid_and_the_plugin_needs_no_torch() -> None:
    manifest = PluginManifest.from_distribution("napari-samadapt")
    manifest.validate_imports()
    code = (
        "import sys, napari_samadapt.widget; "
        "print([name for name in ('torch', 'samadapt', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
