from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from annotator import Annotator, Person
from PIL import Image

from fakes import blobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures of 40 x 56 pixels, all different, with names that need care."""
    place = tmp_path / "images of “today”"
    (place / "sub").mkdir(parents=True)
    for shift, name in enumerate(("a 1.png", "a 2.png", "a 10.png", "sub/it's.png")):
        Image.fromarray(np.roll(blobs(), shift, axis=1)).save(place / name)
    return place


@pytest.fixture
def annotator(folder: Path, tmp_path: Path) -> Iterator[Annotator]:
    running = Annotator(folder, tmp_path / "cache").start()
    yield running
    running.stop()


@pytest.fixture
def learner(folder: Path, tmp_path: Path) -> Iterator[Annotator]:
    """With online adaptation."""
    running = Annotator(folder, tmp_path / "cache", ("online",)).start()
    yield running
    running.stop()


@pytest.fixture
def ann(annotator: Annotator) -> Person:
    return annotator.person()
