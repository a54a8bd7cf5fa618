"""How long the annotator keeps a person waiting, measured in a real browser.

    python benchmarks/annotator_latency.py --json out.json

Draws test images, starts `samadapt annotate` on them, and measures, at the 50th and 95th
percentile: from releasing the mouse button to the painted mask, on an empty image and on one with
1,000 objects; from the button "next image" to the painted image; between two frames while an image
of 4,096 x 4,096 pixels with 1,000 objects is moved and zoomed (software drawing); HTTP clicks of
one client and of eight at once, each clicking once in `--pace` seconds; the model alone; and
opening the page on a folder of ten thousand images; and opening and moving a tiled image of
20,480 x 20,480 pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

TOKEN = "latency-benchmark"  # noqa: S105
MANY = 1000
IMAGES = 12
SLIDE, TILE = 20_480, 512
PARTS = ("clicks", "pan", "people", "many", "slide")
Found = tuple[str, Any]

_MEASURE = """() => {
    window.times = [];
    let began = 0;
    document.getElementById("stage").addEventListener("pointerup", event => {
        began = event.timeStamp;
        const before = samadapt.current.mask;
        const look = () => samadapt.current.mask && samadapt.current.mask !== before
            ? samadapt.painted().then(() => times.push(performance.now() - began))
            : setTimeout(look, 1);
        look();
    }, true);
}"""

_PAN = """async () => {
    const stage = document.getElementById("stage"), times = [];
    const send = (type, x, y) => stage.dispatchEvent(new PointerEvent(type, {
        pointerId: 1, button: 1, clientX: x, clientY: y, movementX: 7, movementY: 3,
        bubbles: true, pointerType: "mouse"}));
    stage.setPointerCapture = () => {};
    send("pointerdown", 500, 300);
    for (let k = 0, last = 0; k < 60; k++) {
        send("pointermove", 500 + k, 300);
        if (k % 6 === 0) stage.dispatchEvent(new WheelEvent("wheel", {
            deltaY: k < 30 ? -60 : 60, clientX: 500, clientY: 300, bubbles: true,
            cancelable: true}));
        const now = await new Promise(requestAnimationFrame);
        if (last) times.push(now - last);
        last = now;
    }
    send("pointerup", 560, 300);
    return times;
}"""

_OPEN = """async step => {
    const before = samadapt.state.image.id, began = performance.now();
    document.getElementById(step).click();
    while (samadapt.state.image.id === before) await new Promise(done => setTimeout(done, 1));
    await samadapt.painted();
    return performance.now() - began;
}"""

_OPEN_SLIDE = """async () => {
    const began = performance.now();
    await samadapt.openImage(1);
    const drawn = () => {
        const canvas = document.querySelector("#tiles canvas");
        if (!canvas || !canvas.width || document.getElementById("tiles").hidden) return false;
        const { width, height } = canvas;
        const pixel = canvas.getContext("2d").getImageData(width / 2, height / 2, 1, 1).data;
        return pixel[3] === 255;
    };
    while (!drawn()) await new Promise(requestAnimationFrame);
    return performance.now() - began;
}"""


def main() -> None:
    options = _options()
    parts = {"clicks": _page_clicks, "pan": _large_image, "people": _http, "many": _many_images}
    parts["slide"] = _slide
    result: dict[str, Any] = {"environment": _environment(), "options": vars(options)}
    with tempfile.TemporaryDirectory(prefix="samadapt-latency-") as place:
        work = Path(place)
        folder = _draw(work / "images", options.size, options.seed)
        for name in options.parts:
            for key, found in parts[name](folder, work, options):
                result[key] = found
                print(key, found, flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n")


# -- the parts ------------------------------------------------------------------------------


def _page_clicks(folder: Path, work: Path, options: argparse.Namespace) -> Iterator[Found]:
    with _server(folder, work, options) as url, _browser(options.browser) as browser:
        for count in (0, MANY):
            if count:
                _add_objects(url, count, options.size, options.seed)
            yield f"click_to_painted_ms_{count}_objects", _clicks(browser, url, options)
        yield "next_image_ms", _next_images(browser, url)


def _large_image(folder: Path, work: Path, options: argparse.Namespace) -> Iterator[Found]:
    large = _draw(work / "large", (4096, 4096), options.seed, 1)
    with _server(large, work, options) as url, _browser(options.browser) as browser:
        _add_objects(url, MANY, (4096, 4096), options.seed)
        yield "pan_frame_ms_4k_1000_objects", _pan(browser, url)


def _http(folder: Path, work: Path, options: argparse.Namespace) -> Iterator[Found]:
    with _server(folder, work, options) as url:
        one, eight = (_people(url, clients, options) for clients in (1, 8))
    yield "http_click_ms_1_clients", one
    yield "http_click_ms_8_clients", eight
    yield "p95_of_eight_over_one", round(eight["p95"] / one["p95"], 2)
    yield "model_alone_ms", _alone(folder, options)


def _many_images(folder: Path, work: Path, options: argparse.Namespace) -> Iterator[Found]:
    many = _many_files(folder, work / "many", 10_000)
    with _server(many, work, options) as url, _browser(options.browser) as browser:
        yield "page_of_10000_images_s", _open_page(browser, url)[1]


def _slide(folder: Path, work: Path, options: argparse.Namespace) -> Iterator[Found]:
    slide = _write_slide(work / "slide", options.seed)
    with _server(slide, work, options) as url, _browser(options.browser) as browser:
        page, _ = _open_page(browser, url)
        page.evaluate("samadapt.openImage(2)")
        page.wait_for_timeout(1500)
        yield "slide_opened_first_ms", round(page.evaluate(_OPEN_SLIDE))
        page.evaluate("samadapt.openImage(2)")
        page.wait_for_timeout(1500)
        yield "slide_opened_ms", round(page.evaluate(_OPEN_SLIDE))
        page.evaluate("samadapt.show(10000, 10000, 0.5)")
        page.wait_for_timeout(3000)
        page.evaluate(_PAN)
        yield "slide_pan_frame_ms", _summary(page.evaluate(_PAN))
        page.context.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(768, 1024), metavar=("H", "W"))
    parser.add_argument("--model", default="nano")
    parser.add_argument("--adapter", default="online")
    parser.add_argument("--clicks", type=int, default=60)
    parser.add_argument("--pace", type=float, default=1.5, help="seconds between a person's clicks")
    parser.add_argument("--seconds", type=float, default=30.0, help="of clicking by HTTP")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--browser", default=shutil.which("chromium"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def _environment() -> dict[str, Any]:
    packages = ("samadapt", "torch", "fastapi", "uvicorn", "sqlalchemy", "playwright")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": [round(v, 2) for v in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
    }


def _summary(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    place = min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))
    return {
        "n": len(ordered),
        "p50": round(statistics.median(ordered), 1),
        "p95": round(ordered[place], 1),
        "max": round(ordered[-1], 1),
    }


# -- material -------------------------------------------------------------------------------


def _draw(folder: Path, size: tuple[int, int], seed: int, images: int = IMAGES) -> Path:
    """Pictures with bright ellipses on a noisy ground."""
    folder.mkdir()
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    for index in range(images):
        rng = np.random.default_rng((seed, index))
        picture = rng.normal(50, 6, (height, width, 3))
        for y, x, a, b in _ellipses(size, seed, index):
            inside = ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1
            picture[inside] += rng.uniform(60, 130, 3)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{index:02d}.png")
    return folder


def _ellipses(size: tuple[int, int], seed: int, index: int) -> NDArray[np.float64]:
    """(30, 4) rows, columns, and half axes along both, of the ellipses in one picture."""
    rng = np.random.default_rng((seed, index, 1))
    return rng.uniform((0, 0, 12, 12), (*size, 45, 45), (30, 4))


def _write_slide(folder: Path, seed: int) -> Path:
    """A pyramidal TIFF of 20,480 x 20,480 pixels whose tiles repeat, and a small picture."""
    import tifffile

    _draw(folder, (4 * TILE, 4 * TILE), seed, 1)
    texture = np.asarray(Image.open(folder / "00.png"))
    tiles = [
        zlib.compress(texture[y : y + TILE, x : x + TILE].tobytes(), 1)
        for y in range(0, 4 * TILE, TILE)
        for x in range(0, 4 * TILE, TILE)
    ]
    levels = 6
    with tifffile.TiffWriter(folder / "01.tif", bigtiff=True) as writer:
        for level in range(levels + 1):
            side = SLIDE >> level
            count = -(-side // TILE)
            writer.write(
                (
                    tiles[(row % 4) * 4 + column % 4]
                    for row in range(count)
                    for column in range(count)
                ),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="zlib",
                **({"subfiletype": 1} if level else {"subifds": levels}),
            )
    (folder / "00.png").rename(folder / "02.png")
    return folder


def _many_files(folder: Path, target: Path, count: int) -> Path:
    target.mkdir()
    files = sorted(folder.glob("*.png"))
    for index in range(count):
        os.link(files[index % len(files)], target / f"image-{index}.png")
    return target


def _add_objects(url: str, count: int, size: tuple[int, int], seed: int) -> None:
    from samadapt.data.rle import Rle

    height, width = size
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:27, :27]
    with _client(url, "benchmark") as client:
        for _ in range(count):
            radius = rng.uniform(6, 13)
            wobble = 1 + 0.2 * np.sin(5 * np.arctan2(rows - 13, columns - 13))
            mask = (rows - 13) ** 2 + (columns - 13) ** 2 < (radius * wobble) ** 2
            counts = Rle.from_mask(mask).counts.decode()
            x, y = int(rng.integers(0, width - 27)), int(rng.integers(0, height - 27))
            crop = {"x": x, "y": y, "width": 27, "height": 27, "counts": counts}
            body = {"mask": crop}
            client.post("/api/images/1/objects", json=body).raise_for_status()


# -- server and browser ---------------------------------------------------------------------


@contextmanager
def _server(folder: Path, work: Path, options: argparse.Namespace) -> Iterator[str]:
    command = [
        *(sys.executable, "-m", "samadapt", "annotate", str(folder), "--no-browser", "--json"),
        *("--token", TOKEN, "--model", options.model, "--adapter", options.adapter),
    ]
    environment = {**os.environ, "SAMADAPT_CACHE": str(work / "cache")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as running:
        assert running.stdout is not None  # noqa: S101
        try:
            yield json.loads(running.stdout.readline())["url"].split("/?")[0]
        finally:
            running.terminate()
            running.wait(timeout=60)


@contextmanager
def _browser(path: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def _client(url: str, name: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {TOKEN}", "x-samadapt-client": name}
    return httpx.Client(base_url=url, headers=headers, timeout=120)


def _open_page(browser: Any, url: str) -> tuple[Any, float]:
    context = browser.new_context(viewport={"width": 1280, "height": 720}, bypass_csp=True)
    page = context.new_page()
    began = time.perf_counter()
    with _client(url, "page") as client:
        code = client.post("/api/code").raise_for_status().json()["code"]
    page.goto(f"{url}/?code={code}")
    page.wait_for_selector("html[data-ready=true]", timeout=60_000)
    took = time.perf_counter() - began
    page.wait_for_timeout(1500)
    return page, round(took, 2)


# -- measurements ---------------------------------------------------------------------------


def _clicks(browser: Any, url: str, options: argparse.Namespace) -> dict[str, float]:
    """Objects of three clicks each, one after the other, at a person's pace."""
    page, _ = _open_page(browser, url)
    page.evaluate("samadapt.openImage(1)")
    page.wait_for_timeout(1500)
    frame = page.evaluate(
        """() => { const r = document.getElementById("stage").getBoundingClientRect();
            const v = samadapt.view; return [r.left + v.x, r.top + v.y, v.scale]; }"""
    )
    page.evaluate(_MEASURE)
    for index, (x, y) in enumerate(_places(options)):
        page.mouse.click(frame[0] + x * frame[2], frame[1] + y * frame[2])
        page.wait_for_function(f"times.length === {index + 1}", timeout=30_000)
        if index % 3 == 2:
            page.keyboard.press("Escape")
            page.wait_for_function("samadapt.current.mask === null")
        page.wait_for_timeout(150)
    times = page.evaluate("times")
    page.context.close()
    return _summary(times[3:])  # the first object warms up


def _pan(browser: Any, url: str) -> dict[str, float]:
    """Time from frame to frame while an image of 4k x 4k with many objects is moved and zoomed."""
    page, _ = _open_page(browser, url)
    page.wait_for_function(f"samadapt.state.objects.size === {MANY}", timeout=60_000)
    page.wait_for_timeout(3000)
    page.evaluate(_PAN)
    times = page.evaluate(_PAN)
    page.context.close()
    return _summary(times)


def _places(options: argparse.Namespace) -> Iterator[tuple[float, float]]:
    """(x, y) of clicks on ellipses of the first picture that lie inside it, three on each."""
    size = options.size
    found = _ellipses(size, options.seed, 0)
    found = found[((found[:, :2] > 45) & (found[:, :2] < np.array(size) - 45)).all(1)]
    for index in range(options.clicks):
        y, x, a, _ = found[index // 3 % len(found)]
        yield x, y + (0, 0.5, -0.5)[index % 3] * a


def _next_images(browser: Any, url: str) -> dict[str, float]:
    page, _ = _open_page(browser, url)
    page.evaluate("samadapt.openImage(2)")
    times = []
    for _ in range(IMAGES - 3):
        page.wait_for_timeout(2000)
        times.append(page.evaluate(_OPEN, "next"))
    page.context.close()
    return _summary(times)


def _people(url: str, count: int, options: argparse.Namespace) -> dict[str, float]:
    """Clients that click at a person's pace, each on an image of its own."""
    times: list[float] = []
    failures: list[str] = []

    def work(number: int) -> None:
        rng = np.random.default_rng((options.seed, number))
        height, width = options.size
        with _client(url, f"person-{count}-{number}") as client:
            image = 1 + number % IMAGES
            client.post(f"/api/images/{image}/open")
            clicks, accepted = 0, 0
            while time.perf_counter() < end:
                time.sleep(rng.uniform(0.5, 1.5) * options.pace)
                body = {"x": rng.uniform(1, width - 1), "y": rng.uniform(1, height - 1)}
                began = time.perf_counter()
                answer = client.post(f"/api/images/{image}/click", json=body)
                if clicks:  # the first one may wait for the image to be encoded
                    times.append(1000 * (time.perf_counter() - began))
                if answer.status_code != 200:
                    failures.append(answer.text)
                clicks += 1
                if clicks % 3 == 0:
                    key = f"{count}-person-{number}-{accepted}"
                    path = f"/api/images/{image}/accept"
                    done = client.post(path, json={}, headers={"idempotency-key": key})
                    accepted += done.status_code == 200
            found = client.get(f"/api/images/{image}/objects").json()["objects"]
            mine = [o for o in found if o["key"].startswith(f"{count}-person-{number}-")]
            if len(mine) != accepted:
                failures.append(f"{accepted} objects accepted, {len(mine)} there")

    end = time.perf_counter() + options.seconds
    threads = [threading.Thread(target=work, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"{len(failures)} failures, such as: {failures[0]}")
    return _summary(times)


def _alone(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """The same clicks as in the page, in one process: no server, page or adapter."""
    import samadapt

    session = samadapt.Session(samadapt.load(options.model))
    session.open(folder / "00.png")
    times = []
    for index, (x, y) in enumerate(_places(options)):
        time.sleep(0.1)
        began = time.perf_counter()
        session.click(x, y)
        times.append(1000 * (time.perf_counter() - began))
        if index % 3 == 2:
            session.skip()
    return _summary(times[3:])


if __name__ == "__main__":
    main()
