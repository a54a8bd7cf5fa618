"""Draw the pictures of the annotator that README.md shows.

    python benchmarks/annotator_picture.py --out docs/images/annotator.png
    python benchmarks/annotator_picture.py --similar --theme light --out docs/images/similar.png

Starts the annotator on sample pictures of scikit-image, clicks on coins in a real Chromium, and
takes a screenshot of 1280 x 720. Needs Playwright and a Chromium (SAMADAPT_TEST_BROWSER names one
that is not on the path).
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from skimage import data

from samadapt.models.registry import load
from samadapt.server import run
from samadapt.server.app import create_app
from samadapt.server.security import Guard
from samadapt.server.workspace import Workspace
from samadapt.store.adapters_folder import ADAPTERS
from samadapt.store.embeddings import EmbeddingStore
from samadapt.store.projects import Project, project_file

TOKEN = "for-a-picture"  # noqa: S105
MOST_BYTES = 400_000
COINS = [(45, 54, 25), (101, 56, 22), (156, 51, 26), (215, 52, 26), (277, 54, 22), (335, 44, 32)]
WORN = [(45, 124, 23), (103, 125, 21)]
"""Centres and radii of coins in the sample picture "coins" (384 x 303): boxes are drawn around."""
LAST = (154, 126, 21)
"""A coin that is still under way in the picture, with a click on it and one on background."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/annotator.png"))
    parser.add_argument("--model", default="nano")
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument(
        "--similar", action="store_true", help="show proposals of similar objects, and learning"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="samadapt-picture-") as place:
        folder = Path(place) / "coins"
        folder.mkdir()
        for name in ("astronaut", "camera", "cell", "coffee", "coins"):
            Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png")
        with _annotator(folder, options.model) as url:
            png = _picture(url, options.theme, options.similar)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(png)).convert("RGB").save(options.out, optimize=True)
    size = options.out.stat().st_size
    print(f"{options.out}: {size / 1000:.0f} kB")
    if size > MOST_BYTES:
        sys.exit(f"that is more than {MOST_BYTES / 1000:.0f} kB")


@contextmanager
def _annotator(folder: Path, model: str) -> Iterator[str]:
    with Project.open(project_file(folder)) as project, run.listen("127.0.0.1", 0) as listener:
        project.images.scan(folder)
        project.labels.named(["coin", "worn coin"], "")
        store = EmbeddingStore(folder.parent / "cache")
        workspace = Workspace(project, folder, load(model), store, folder / ADAPTERS, ("online",))
        port = int(listener.getsockname()[1])
        guard = Guard(TOKEN, port)
        server = run.Server(run.configured(create_app(workspace, guard)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield run.address("127.0.0.1", port, guard.access.new_code())
        server.should_exit = True
        thread.join()


def _picture(url: str, theme: str, similar: bool) -> bytes:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("SAMADAPT_TEST_BROWSER") or shutil.which("chromium")
    if path is None:
        sys.exit("no Chromium: install one, or name it in SAMADAPT_TEST_BROWSER")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        # The page forbids evaluating texts, which is how Playwright waits.
        size: Any = {"width": 1280, "height": 720}
        page = browser.new_context(viewport=size, bypass_csp=True).new_page()
        page.set_default_timeout(60_000)
        page.goto(url)
        page.wait_for_selector("html[data-ready=true]")
        if theme == "light":
            page.click("[data-action=theme]")
        coins = "samadapt.state.images.find(([, name]) => name === 'coins.png')[0]"
        page.evaluate(f"samadapt.openImage({coins})")
        page.wait_for_function("samadapt.state.image?.name === 'coins.png'")
        for count, coin in enumerate(COINS + WORN, start=1):
            page.keyboard.press("2" if coin in WORN else "1")
            _box(page, *coin)
            page.keyboard.press("Enter")
            page.wait_for_function(f"samadapt.state.objects.size === {count}")
        page.keyboard.press("1")
        (_find_similar if similar else _one_under_way)(page)
        page.wait_for_selector("#saved[data-state=saved]")
        page.wait_for_timeout(2500)  # the plot and the state of learning are looked up by then
        png: bytes = page.screenshot()
        browser.close()
    return png


def _one_under_way(page: Any) -> None:
    x, y, _ = LAST
    _box(page, *LAST)
    _click(page, x, y, clicks=1)
    _click(page, x + 28, y, clicks=2, button="right")
    page.mouse.move(700, 400)


def _find_similar(page: Any) -> None:
    page.keyboard.press("f")
    page.wait_for_function("samadapt.state.proposals !== null")
    page.click("[data-tab=learning]")
    page.mouse.move(700, 400)


def _click(page: Any, x: float, y: float, clicks: int, button: str = "left") -> None:
    page.mouse.click(*_place(page, x, y), button=button)
    page.wait_for_function(
        f"samadapt.current.clicks.length === {clicks} && !samadapt.current.waiting.length"
    )


def _box(page: Any, x: float, y: float, radius: float) -> None:
    page.mouse.move(*_place(page, x - radius, y - radius))
    page.mouse.down()
    page.mouse.move(*_place(page, x + radius, y + radius), steps=4)
    page.mouse.up()
    page.wait_for_function("samadapt.current.box !== null && samadapt.current.mask !== null")


def _place(page: Any, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the image is on the screen."""
    left, top = page.evaluate(
        """([x, y]) => {
            const frame = document.getElementById("stage").getBoundingClientRect();
            const {view} = samadapt;
            return [frame.left + view.x + x * view.scale, frame.top + view.y + y * view.scale];
        }""",
        [x, y],
    )
    return float(left), float(top)


if __name__ == "__main__":
    main()
