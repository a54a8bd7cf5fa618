"""napari without a window, and a real samadapt server with nano in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
import pytest
from disc_slices import SIZE
from napari.components import ViewerModel
from napari_samadapt.annotator import Annotator
from napari_samadapt.client import Client
from napari_samadapt.server import COMMAND, LocalServer
from napari_samadapt.widget import SamadaptWidget
from numpy.typing import NDArray
from qtpy.QtWidgets import QApplication


@pytest.fixture(scope="session")
def application() -> QApplication:
    return QApplication.instance() or QApplication([])


@pytest.fixture(scope="session", autouse=True)
def program() -> None:
    """The program beside this Python, unless the environment names another one."""
    if COMMAND not in os.environ:
        os.environ[COMMAND] = str(Path(sys.executable).parent / "samadapt")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    from napari.layers import Image
    from napari_samadapt.planes import Plane, plane_file

    place = tmp_path_factory.mktemp("napari")
    os.environ["SAMADAPT_CACHE"] = str(place / "cache")
    first = plane_file(Image(np.zeros(SIZE, np.uint8)), Plane("first", ()))
    running = LocalServer(place / "project", first, options=("--threads", "1"))
    yield running
    running.stop()


@pytest.fixture
def viewer(application: QApplication) -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def problems() -> list[str]:
    """What the person was told went wrong; the tests that expect nothing find it empty."""
    return []


Maker = Callable[..., Annotator]


@pytest.fixture
def annotate(viewer: ViewerModel, server: LocalServer, problems: list[str]) -> Iterator[Maker]:
    """Begin to annotate an image layer at the server."""
    made: list[tuple[Annotator, Client]] = []

    def begin(pixels: NDArray[Any], name: str, **more: Any) -> Annotator:
        layer = viewer.add_image(pixels, name=name, **more)
        client = Client(server.url, server.token, "Ann")
        annotator = Annotator(
            viewer, layer, client, lambda text: None, lambda error: problems.append(str(error))
        )
        annotator.label = "disc"
        made.append((annotator, client))
        annotator.wait()
        return annotator

    yield begin
    for annotator, client in made:
        annotator.close()
        client.close()


@pytest.fixture
def panel(viewer: ViewerModel) -> Iterator[SamadaptWidget]:
    made = SamadaptWidget(viewer)
    yield made
    made.stop()
