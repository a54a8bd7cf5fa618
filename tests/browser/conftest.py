"""A real Chromium at a real server. Without a browser, these tests are skipped."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakes import FakeModel, blobs

sys.path.insert(0, str(Path(__file__).parent.parent / "server"))

from annotator import Annotator
from story import Story

BROWSER = "SAMADAPT_TEST_BROWSER"
"""Environment variable with the path of a Chromium."""

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    path = os.environ.get(BROWSER) or shutil.which("chromium") or shutil.which("chromium-browser")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is missing: pip install 'samadapt[test]'"
    )
    if path is None:
        pytest.skip(f"no Chromium: install Debian's package, or set {BROWSER} to its path")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pictures"
    place.mkdir()
    for shift in range(4):
        Image.fromarray(np.roll(blobs(80, 112), 3 * shift, axis=1)).save(place / f"{shift + 1}.png")
    return place


@pytest.fixture
def annotator(folder: Path, tmp_path: Path) -> Iterator[Annotator]:
    running = Annotator(folder, tmp_path / "cache", model=FakeModel(side=64)).start()
    running.project.labels.named(["disc", "square"], "")
    yield running
    running.stop()


Opener = Callable[..., Any]


@pytest.fixture
def open_page(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Opener]:
    """Open the page in a browser of its own; errors on the page fail the test."""
    contexts: list[Any] = []
    errors: list[str] = []

    def opened(
        width: int = 1280, height: int = 720, annotator: Annotator | None = None, **more: Any
    ) -> Any:
        running: Annotator = annotator or request.getfixturevalue("annotator")
        # The page forbids evaluating texts, which is how Playwright waits.
        context = chromium.new_context(
            viewport={"width": width, "height": height}, bypass_csp=True, **more
        )
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(running.page())
        page.wait_for_selector("html[data-ready=true]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def story(annotator: Annotator, numbers: list[int], open_page: Callable[..., Any]) -> Story:
    """The first image, open, with the objects of a test's own fixture `numbers`."""
    found = Story(open_page())
    found.open(annotator.ids()[0])  # the page begins with an image that has no objects yet
    found.until(f"samadapt.state.objects.size === {len(numbers)}")
    return found
