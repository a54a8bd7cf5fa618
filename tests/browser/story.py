"""What a person does at the page, in words of the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_MASK = """mask => mask && {x: mask.x, y: mask.y, w: mask.w, h: mask.h, bits: [...mask.bits]}"""


class Story:
    """A page, with places given in pixels of the image."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def place(self, x: float, y: float) -> tuple[float, float]:
        found = self.page.evaluate(
            """([x, y]) => {
                const frame = document.getElementById("stage").getBoundingClientRect();
                const {view} = samadapt;
                return [frame.left + view.x + x * view.scale, frame.top + view.y + y * view.scale];
            }""",
            [x, y],
        )
        return float(found[0]), float(found[1])

    def click(self, x: float, y: float, button: str = "left", keys: tuple[str, ...] = ()) -> None:
        """Click, and wait for the answer."""
        before = len(self.current()["clicks"])
        for key in keys:
            self.page.keyboard.down(key)
        self.page.mouse.click(*self.place(x, y), button=button)
        for key in keys:
            self.page.keyboard.up(key)
        self.until(f"samadapt.current.clicks.length === {before + 1}")
        self.until("samadapt.current.waiting.length === 0")

    def drag(self, *points: tuple[float, float], button: str = "left") -> None:
        self.page.mouse.move(*self.place(*points[0]))
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.page.mouse.move(*self.place(*point), steps=4)
        self.page.mouse.up(button=button)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def until(self, expression: str) -> None:
        self.page.wait_for_function(expression)

    def accept(self) -> Mask:
        """Accept what is on the screen; returns it."""
        mask = self.mask()
        count = len(self.objects())
        edited = self.current()["edited"]
        self.press("Enter")
        if edited:
            self.until(
                f"samadapt.state.objects.get({edited['id']}).revision > {edited['revision']}"
            )
        else:
            self.until(f"samadapt.state.objects.size === {count + 1}")
        self.saved()
        return mask

    def idle(self, seconds: float = 20) -> None:
        """Wait until all that was pressed is done."""
        self.page.wait_for_function("!samadapt.isBusy()", timeout=1000 * seconds)

    def saved(self) -> None:
        self.page.wait_for_selector("#saved[data-state=saved]")

    def open(self, image: int) -> None:
        self.page.evaluate("id => samadapt.openImage(id)", image)
        self.until(f"samadapt.state.image?.id === {image}")

    def current(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate(
            """() => { const {clicks, box, chosen, candidates, edited, image} = samadapt.current;
                return {clicks, box, chosen, candidates, edited, image}; }"""
        )
        return found

    def mask(self) -> Mask:
        """The object under way, as it is on the screen when everything was answered."""
        self.idle()
        return self._full(self.page.evaluate(f"() => ({_MASK})(samadapt.finalMask())"))

    def objects(self) -> dict[int, Mask]:
        """All objects, as they are on the screen."""
        found = self.page.evaluate(
            f"() => [...samadapt.state.objects].map(([id, object]) => [id, ({_MASK})(object.mask)])"
        )
        return {int(number): self._full(mask) for number, mask in found}

    def pixel(self, layer: str, x: float, y: float) -> list[int]:
        """RGBA of what a layer shows at a place of the image, after it was painted."""
        found: list[int] = self.page.evaluate(
            """async ([layer, x, y]) => {
                await samadapt.painted();
                const canvas = document.getElementById(layer), {view} = samadapt;
                const at = [view.x + x * view.scale, view.y + y * view.scale].map(Math.round);
                return [...canvas.getContext("2d").getImageData(at[0], at[1], 1, 1).data];
            }""",
            [layer, x, y],
        )
        return found

    def _full(self, crop: dict[str, Any] | None) -> Mask:
        size = self.page.evaluate("() => [samadapt.state.image.height, samadapt.state.image.width]")
        full = np.zeros(size, np.bool_)
        if crop is not None:
            bits = np.array(crop["bits"], np.bool_).reshape(crop["h"], crop["w"])
            full[crop["y"] : crop["y"] + crop["h"], crop["x"] : crop["x"] + crop["w"]] = bits
        return full
