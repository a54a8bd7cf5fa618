"""`notebook.js` in a real Chromium, in a page that stands in for the notebook."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import samadapt
from fakes import FakeModel, blobs
from tiny_dataset import label_map, oracle

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

BROWSER = "SAMADAPT_TEST_BROWSER"
_SYNCED = ("label", "width", "height", "_picture", "_mask", "_accepted", "_state")
_HOST = """
async ([source, values]) => {
  const bytes = text => new DataView(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
  const read = values => Object.fromEntries(Object.entries(values).map(
    ([name, value]) => [name, value && value.base64 !== undefined ? bytes(value.base64) : value]));
  const state = read(values), listeners = {};
  window.model = {
    get: name => state[name],
    set: (name, value) => { state[name] = value; },
    save_changes: () => window.saved(state.label),
    on: (event, call) => { (listeners[event] ??= new Set()).add(call); },
    off: (event, call) => { listeners[event]?.delete(call); },
    send: message => window.heard(message),
  };
  window.listening = () => Object.values(listeners).reduce((sum, set) => sum + set.size, 0);
  window.update = values => {
    const fresh = read(values);
    Object.assign(state, fresh);
    const calls = Object.keys(fresh).flatMap(name => [...(listeners[`change:${name}`] ?? [])]);
    for (const call of calls) call();
  };
  const url = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
  const part = (await import(url)).default;
  document.body.innerHTML = "<div id=cell></div>";
  window.cleanup = part.render({model: window.model, el: document.getElementById("cell")});
}
"""


class Cell:
    """A widget shown in a page; what the page sends goes to Python and back, as in Jupyter."""

    def __init__(self, page: Any, model: FakeModel) -> None:
        self.page = page
        self.widget = samadapt.widget(blobs(*label_map().shape), model, (), label="thing")
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.expose_function("heard", self.heard)
        page.expose_function("saved", lambda label: setattr(self.widget, "label", label))
        page.evaluate(_HOST, [str(self.widget._esm), self.values()])
        self.settled()

    def values(self) -> dict[str, Any]:
        found = {name: getattr(self.widget, name) for name in _SYNCED}
        return {
            name: {"base64": base64.b64encode(value).decode()}
            if isinstance(value, bytes)
            else value
            for name, value in found.items()
        }

    def heard(self, message: Any) -> None:
        self.widget._handle_custom_msg(message, [])
        values = self.values()
        self.page.evaluate("values => { setTimeout(() => window.update(values)) }", values)

    def settled(self) -> None:
        self.page.wait_for_selector(".samadapt[data-busy=false][data-loaded*=_picture]")

    def at(self, x: float, y: float) -> tuple[float, float]:
        frame = self.page.locator("canvas").bounding_box()
        height, width = label_map().shape
        return frame["x"] + x * frame["width"] / width, frame["y"] + y * frame["height"] / height

    def click(self, x: float, y: float, **more: Any) -> None:
        self.page.mouse.click(*self.at(x, y), **more)
        self.settled()

    def colour(self, x: float, y: float) -> list[int]:
        """The canvas's colour at a place of the image."""
        script = """([x, y]) => {
            const canvas = document.querySelector("canvas");
            const by = canvas.width / window.model.get("width");
            return [...canvas.getContext("2d").getImageData(x * by, y * by, 1, 1).data];
        }"""
        return list(self.page.evaluate(script, [x, y]))

    @property
    def status(self) -> str:
        return str(self.page.inner_text(".samadapt-status"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = os.environ.get(BROWSER) or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip(f"no Chromium: install Debian's package, or set {BROWSER} to its path")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def cell(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Cell]:
    """On a model that knows the object under the last click, unless the test names another."""
    context = chromium.new_context(viewport={"width": 1000, "height": 700})
    context.set_default_timeout(60_000)
    made = Cell(context.new_page(), getattr(request, "param", oracle)())
    yield made
    assert made.problems == []
    context.close()


def test_clicks_on_both_sides_undo_and_accept(cell: Cell) -> None:
    before = cell.colour(20, 12)
    cell.click(14.5, 12.5)
    (click,) = cell.widget.session.clicks
    assert (click.x, click.y) == pytest.approx((14.5, 12.5), abs=0.1)
    assert click.positive
    cell.page.wait_for_selector(".samadapt[data-loaded*=_mask]")
    assert cell.colour(20, 12) != before, "the mask is tinted"
    cell.click(50, 30, button="right")
    cell.page.keyboard.down("Alt")
    cell.click(4, 30)
    cell.page.keyboard.up("Alt")
    assert [c.positive for c in cell.widget.session.clicks] == [True, False, False]
    cell.page.keyboard.press("Control+z")
    cell.page.keyboard.press("Control+z")
    cell.settled()
    assert len(cell.widget.session.clicks) == 1
    cell.page.fill("input", "disc")
    cell.page.press("input", "Enter")
    cell.page.keyboard.press("Enter")
    cell.page.wait_for_selector(".samadapt[data-loaded*=_accepted]")
    cell.settled()
    (thing,) = cell.widget.objects
    assert thing.label == "disc"
    np.testing.assert_array_equal(thing.mask, label_map() == 1)
    assert cell.status.startswith("1 accepted")


@pytest.mark.parametrize("cell", [FakeModel], indirect=True)
def test_dragging_draws_a_box(cell: Cell) -> None:
    cell.page.mouse.move(*cell.at(24, 22))
    cell.page.mouse.down()
    cell.page.mouse.move(*cell.at(4, 2), steps=4)
    cell.page.mouse.up()
    cell.settled()
    box = cell.widget.session.current_box
    assert box is not None
    assert box.as_tuple() == pytest.approx((4, 2, 24, 22), abs=0.1)


def test_what_cannot_be_done_is_told(cell: Cell) -> None:
    cell.page.focus(".samadapt")
    cell.page.keyboard.press("Control+z")
    cell.settled()
    assert "nothing to undo" in cell.status
    cell.click(14.5, 12.5)
    assert "nothing to undo" not in cell.status
    cell.page.keyboard.press("Escape")
    cell.settled()
    assert cell.widget.mask is None


def test_keys_stay_in_the_widget_and_nothing_is_left_behind(cell: Cell) -> None:
    cell.page.evaluate("document.addEventListener('keydown', () => { window.leaked = true })")
    cell.page.focus(".samadapt")
    cell.page.keyboard.press("Delete")
    cell.page.focus("input")
    cell.page.keyboard.press("d")
    assert cell.page.evaluate("window.leaked") is None
    assert cell.page.evaluate("window.listening()") > 0
    cell.page.evaluate("window.cleanup()")
    assert cell.page.evaluate("window.listening()") == 0
