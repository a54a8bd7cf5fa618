"""axe-core finds nothing serious, and the keyboard reaches every control."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from story import Story

Opener = Callable[..., Any]

DISC = (14, 12)


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, as a package of the test dependencies brings it."""
    found = find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core is missing: pip install 'samadapt[test]'")
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def serious(page: Any) -> list[str]:
    """What axe finds in the dark theme, and of contrast in the light one."""
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    theme = "theme => { document.documentElement.dataset.theme = theme }"
    page.evaluate(theme, "light")
    light = "axe.run({runOnly: ['color-contrast'], resultTypes: ['violations']})"
    found += page.evaluate(light)["violations"]
    page.evaluate(theme, "dark")
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def test_axe_finds_nothing_serious(open_page: Opener, axe: str) -> None:
    story = Story(open_page(color_scheme="dark"))
    page = story.page
    page.evaluate(axe)
    story.click(*DISC)
    found = serious(page)
    story.accept()
    page.keyboard.press("b")
    for tab in ("images", "review", "view", "learning", "objects"):
        page.click(f"[data-tab={tab}]")
        found += serious(page)
    page.click("[aria-label='Change label disc']")
    page.click("text=Add attribute")
    found += serious(page)
    page.keyboard.press("Escape")
    page.click("#menu-button")
    page.click("text=Export…")
    found += serious(page)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    found += serious(page)
    assert sorted(set(found)) == []


def test_tab_reaches_every_control_and_each_has_a_name(open_page: Opener) -> None:
    story = Story(open_page())
    page = story.page
    story.click(*DISC)
    for tab in ("objects", "images", "review", "view", "learning"):
        page.click(f"[data-tab={tab}]")
        wanted = page.evaluate(
            """() => {
                const seen = (e) => e.checkVisibility({visibilityProperty: true}) && !e.disabled;
                window.controls = [...document.querySelectorAll(
                    "button, input, select, [role=button]")].filter(seen);
                document.activeElement.blur();
                return controls.length;
            }"""
        )
        reached = set()
        for _ in range(wanted + 3):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("controls.indexOf(document.activeElement)"))
        assert set(range(wanted)) <= reached, page.evaluate(
            "reached => controls.filter((_, k) => !reached.includes(k)).map(e => e.outerHTML)",
            list(reached),
        )
        names = page.evaluate(
            """() => controls.filter((e) => !(e.getAttribute("aria-label") || e.innerText.trim()
                || e.title || e.labels?.[0]?.innerText.trim())).map((e) => e.outerHTML)"""
        )
        assert names == []
