"""The image stays in sight: nothing lies over it, and its outlines tell objects apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from annotator import Annotator
from story import Story

Opener = Callable[..., Any]

DISC = (14, 12)


def covers(story: Story, selector: str) -> bool:
    """Whether an element has a place in common with the image's."""
    boxes = [story.page.locator(one).first.bounding_box() for one in (selector, "#stage")]
    (ax, ay, aw, ah), (bx, by, bw, bh) = [(b["x"], b["y"], b["width"], b["height"]) for b in boxes]
    return bool(ax < bx + bw and bx < ax + aw and ay < by + bh and by < ay + ah)


@pytest.mark.parametrize(
    ("width", "height", "touch"), [(1280, 720, False), (1024, 768, True), (700, 600, True)]
)
def test_neither_bar_nor_messages_cover_the_image(
    annotator: Annotator, open_page: Opener, width: int, height: int, touch: bool
) -> None:
    story = Story(open_page(width, height, has_touch=touch))
    before = story.page.evaluate("({...samadapt.view})")
    if touch:
        story.page.touchscreen.tap(*story.place(*DISC))
    else:
        story.page.mouse.click(*story.place(*DISC))
    story.until("samadapt.current.mask !== null")
    story.press("b", "t")
    story.page.wait_for_selector(".toast")
    assert story.page.locator("#brush-bar").is_visible()
    for part in ("#bar", "#brush-bar", ".toast"):
        assert not covers(story, part), part
    # It does not move under the hand either, and messages are no obstacle.
    assert story.page.evaluate("({...samadapt.view})") == before
    assert story.page.evaluate("getComputedStyle(toasts).pointerEvents") == "none"
    button = story.page.locator("#bar [data-bar=accept]")
    button.scroll_into_view_if_needed()
    button.click()
    story.until("samadapt.state.objects.size === 1")


def test_sliders_keep_their_drag_and_leave_the_arrow_keys(
    annotator: Annotator, open_page: Opener
) -> None:
    story = Story(open_page())
    first, second, *_ = annotator.ids()
    page = story.page
    page.click("[data-tab=view]")
    for selector, read in (
        ("[data-setting=gamma]", "samadapt.state.settings.gamma"),
        ("#brush-size", "samadapt.state.settings.brush"),
    ):
        story.press("b")
        box = page.locator(selector).bounding_box()
        y = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 0.2 * box["width"], y)
        page.mouse.down()
        found = []
        for part in (0.4, 0.6, 0.8):
            page.mouse.move(box["x"] + part * box["width"], y)
            found.append(page.evaluate(read))
        story.press("ArrowRight")  # while it is held
        story.until(f"samadapt.state.image.id === {second}")
        assert page.evaluate(read) == found[-1]
        page.mouse.move(box["x"] + 0.5 * box["width"], y - 200)
        page.mouse.up()
        found.append(page.evaluate(read))
        assert found[0] < found[3] < found[1] < found[2] or found[0] < found[3] < found[2]
        story.press("ArrowLeft")
        story.until(f"samadapt.state.image.id === {first}")
        assert page.evaluate(read) == found[-1]
    # A list that was chosen from gives the keys back as well; a slider reached by Tab has them.
    page.click("[data-tab=images]")
    page.locator("#image-state").click()
    page.locator("#image-state").select_option("todo")
    story.until("document.activeElement.id !== 'image-state'")
    story.press("v")
    story.until("samadapt.state.tool === 'select'")
    page.click("[data-tab=view]")
    page.locator("[data-setting=smooth]").focus()
    before = page.evaluate("samadapt.state.settings.gamma")
    page.keyboard.press("Shift+Tab")  # invert
    page.keyboard.press("Shift+Tab")
    story.press("ArrowRight")
    story.until(f"samadapt.state.settings.gamma > {before}")
    assert page.evaluate("samadapt.state.image.id") == first


def test_touching_and_nested_objects_each_have_their_outline(
    annotator: Annotator, open_page: Opener
) -> None:
    """Two rectangles share a border at x = 50, and a small one lies inside of the first."""
    story = Story(open_page())
    found = story.page.evaluate(
        """async () => {
            const rectangle = (id, label, x, y, w, h) => ({id, label, revision: 1,
                mask: {x, y, w, h, step: 1, bits: new Uint8Array(w * h).fill(1)}});
            samadapt.state.objects = new Map([
                rectangle(1, 1, 60, 30, 4, 4), rectangle(2, 2, 50, 20, 30, 30),
                rectangle(3, 1, 20, 20, 30, 30),
            ].map((object) => [object.id, object]));
            samadapt.state.settings.opacity = 1;
            samadapt.state.settings.width = 2;
            samadapt.request("objects");
            await samadapt.painted();
            const {view} = samadapt, canvas = document.getElementById("objects-layer");
            const row = canvas.getContext("2d").getImageData(
                Math.round(view.x + 50 * view.scale) - 8, Math.round(view.y + 25.5 * view.scale),
                16, 1).data;
            const inner = canvas.getContext("2d").getImageData(
                Math.round(view.x + 62 * view.scale), Math.round(view.y + 32 * view.scale),
                1, 1).data;
            const parsed = samadapt.state.labels.map(({colour}) =>
                [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16)));
            return {row: [...row], inner: [...inner], parsed};
        }"""
    )
    first, second = found["parsed"]
    pixels = [found["row"][4 * k : 4 * k + 3] for k in range(16)]

    def near(pixel: list[int], colour: list[int]) -> bool:
        return max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) < 12

    assert near(pixels[5], first), pixels  # both outlines are there, on their own side,
    assert near(pixels[10], second)
    middle = sum(pixels[7]) + sum(pixels[8])  # and something dark lies between them
    assert middle < (sum(first) + sum(second)) / 1.5
    assert near(found["inner"][:3], first)  # the small one is on top, though it was there first
