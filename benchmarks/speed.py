"""Speed and memory, each against what a user would run instead, ratio by ratio.

    python benchmarks/speed.py --out docs/performance.json --markdown docs/performance.md

SAM ViT-B has random weights here (none are downloaded); its speed does not depend on them. The
plain path is `transformers` used directly in float32, as its documentation shows.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import SamConfig, SamModel

import samadapt
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding

SIZE = (768, 1024)
CLICK = (500.5, 380.5)


NOTES = """
Masks are compared for 30 random clicks, three masks each, on the same random weights; the IoU with
the masks that another image gives to the same clicks shows how much of it means anything. Times of
a click include decoding, up-sampling to the original size (768 x 1024 pixels) and the threshold.
The processor computes bfloat16 with AVX-512 but has no matrix tiles (AMX).

What made encoding faster: SAM's relative-position attention adds a bias as large as all attention
scores together; ours makes it for a few heads at a time in a buffer that is used again (1.4
times, in float32), and matrices are stored in bfloat16 once instead of being converted at every
call.
"""


def measure(action: Callable[[], Any], repeats: int) -> float:
    """Median seconds of `repeats` runs, after one that does not count."""
    action()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def picture(rng: np.random.Generator) -> np.ndarray:
    """Smooth random blobs, so that masks have edges."""
    coarse = torch.tensor(rng.uniform(0, 255, (1, 3, 12, 16)), dtype=torch.float32)
    fine = F.interpolate(coarse, SIZE, mode="bicubic").clamp(0, 255)
    return fine[0].permute(1, 2, 0).to(torch.uint8).numpy()


def plain_pixels(image: np.ndarray) -> torch.Tensor:
    """SAM's preprocessing, written out."""
    from PIL import Image

    scale = 1024 / max(image.shape[:2])
    width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
    resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(resized.copy()).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (pixels - mean[:, None, None]) / std[:, None, None]
    return F.pad(pixels, (0, 1024 - width, 0, 1024 - height))[None]


def plain_click(network: Any, features: torch.Tensor) -> np.ndarray:
    """One click with transformers alone, up to the thresholded mask at the original size."""
    point = torch.tensor(CLICK).view(1, 1, 1, 2) * (1024 / max(SIZE)) - 0.5
    with torch.no_grad():
        low = network(
            image_embeddings=features,
            input_points=point,
            input_labels=torch.ones(1, 1, 1, dtype=torch.long),
            multimask_output=False,
        ).pred_masks[:, 0]
    full = F.interpolate(low, (1024, 1024), mode="bilinear")[..., : SIZE[0], : SIZE[1]]
    return (F.interpolate(full, SIZE, mode="bilinear")[0, 0] > 0).numpy()


def click(model: SegmentationModel, embedding: ImageEmbedding) -> np.ndarray:
    return model.predict(embedding, samadapt.Prompt(points=[CLICK])).masks[0]


def shake(network: torch.nn.Module) -> None:
    """Random weights of such a size that masks depend on the image, which fresh ones' do not."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in network.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.dim() < 2:
                value.copy_((1.0 if name.endswith("weight") else 0.0) + 0.1 * noise)
            elif "positional_embedding" not in name:
                fan_in = value[0].numel() if value.shape[0] > 1 else 4
                value.copy_(1.2 * noise / fan_in**0.5)


def masks_agreement(
    first: tuple[SegmentationModel, ImageEmbedding],
    second: tuple[SegmentationModel, ImageEmbedding],
    clicks: int = 30,
) -> tuple[float, float]:
    """Mean and lowest IoU of three masks each for random clicks, cut at the first's median.

    Random weights give logits of any offset; the median splits them into a mask that has edges.
    """
    rng = np.random.default_rng(1)
    found = []
    for _ in range(clicks):
        prompt = samadapt.Prompt(points=[(rng.uniform(0, SIZE[1]), rng.uniform(0, SIZE[0]))])
        a, b = (m.predict(e, prompt, multimask=True).logits for m, e in (first, second))
        for one, other in zip(a, b, strict=True):
            level = float(np.median(one))
            found.append(agreement(one > level, other > level))
    return statistics.mean(found), min(found)


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def sam_rows(repeats: int, rng: np.random.Generator) -> tuple[list[dict[str, Any]], float]:
    torch.manual_seed(0)
    image = picture(rng)
    with tempfile.TemporaryDirectory() as folder:
        fresh = SamModel(SamConfig())
        shake(fresh)
        fresh.save_pretrained(folder)
        plain = SamModel.from_pretrained(folder).eval()
        full = samadapt.load(folder, encoder_dtype="float32")
        fast = samadapt.load(folder)
    with torch.no_grad():
        encode_plain = measure(
            lambda: plain.get_image_embeddings(plain_pixels(image)), max(2, repeats // 5)
        )
        features = plain.get_image_embeddings(plain_pixels(image))
    encode_full = measure(lambda: full.encode(image), max(2, repeats // 5))
    encode_fast = measure(lambda: fast.encode(image), max(2, repeats // 5))
    of_full, of_fast = full.encode(image), fast.encode(image)
    of_other = full.encode(picture(rng))
    click_plain = measure(lambda: plain_click(plain, features), repeats)
    click_ours = measure(lambda: click(fast, of_fast), repeats)
    difference = float((of_full.image - features).abs().max())
    mean, lowest = masks_agreement((full, of_full), (fast, of_fast))
    control, _ = masks_agreement((full, of_full), (full, of_other))
    same = (
        f"mask IoU with float32: mean {mean:.3f}, lowest {lowest:.3f}; another image: {control:.2f}"
    )
    exact = f"largest difference from the plain features: {difference:.1e}"
    name = str(fast.encoder_dtype).removeprefix("torch.")
    return [
        row("SAM ViT-B, encode 1024 px, float32", encode_full, encode_plain, exact),
        row(f"SAM ViT-B, encode 1024 px, {name}", encode_fast, encode_plain, same),
        row("SAM ViT-B, click to mask", click_ours, click_plain, "goal: 0.100 s"),
    ], encode_plain


def nano_rows(repeats: int, rng: np.random.Generator, sam_encode: float) -> list[dict[str, Any]]:
    model = samadapt.load("nano")
    image = picture(rng)
    embedding = model.encode(image)
    encode = measure(lambda: model.encode(image), repeats)
    answer = measure(lambda: click(model, embedding), repeats)
    name = str(model.encoder_dtype).removeprefix("torch.")
    return [
        row(f"nano, encode 512 px, {name}", encode, sam_encode, "goal: 15 times faster"),
        row("nano, click to mask", answer, None, "goal: 0.040 s"),
        *close_up_rows(model, embedding, repeats),
    ]


def memory_row(rng: np.random.Generator, images: int = 200) -> dict[str, Any]:
    """Resident memory of one session after 20 images and after all of them."""
    session = samadapt.Session(samadapt.load("nano"))
    sizes = []
    for number in range(images):
        session.open(picture(rng))
        session.click(*CLICK)
        session.click(30.5, 30.5, positive=False)
        session.accept(
            "thing"
        ) if session.mask is not None and session.mask.any() else session.skip()
        if number + 1 in (20, images):
            sizes.append(resident_megabytes())
    return {
        "what": f"memory of a session after {images} images",
        "ours": round(sizes[1], 1),
        "plain": None,
        "unit": "MB",
        "ratio": None,
        "note": f"{sizes[0]:.1f} MB after 20 images, {sizes[1] / sizes[0]:.3f} times; goal: flat",
    }


def resident_megabytes() -> float:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def close_up_rows(model: Any, embedding: Any, repeats: int) -> list[dict[str, Any]]:
    """A click in a window that is encoded already, and one that opens a new one."""
    box = samadapt.Prompt(box=(400, 300, 460, 350))
    first = model.predict(embedding, box)
    again = samadapt.Prompt([(430, 325)], mask=first.logits[0], window=first.window)
    inside = measure(lambda: model.predict(embedding, again), repeats)
    # Six windows in turn are more than a model keeps, so each is encoded anew.
    boxes = cycle([samadapt.Prompt(box=(x, 300, x + 60, 350)) for x in range(50, 650, 100)])
    opening = measure(lambda: model.predict(embedding, next(boxes)), max(repeats, 6))
    return [
        row("nano, click to mask in a close-up", inside, None, "goal: 0.040 s"),
        row("nano, click that opens a close-up", opening, None, "encodes 320 pixels"),
    ]


def help_row() -> dict[str, Any]:
    program = Path(sys.executable).with_name("samadapt")
    seconds = measure(
        lambda: subprocess.run([program, "--help"], capture_output=True, check=True), 7
    )
    return row("samadapt --help", seconds, None, "goal: 0.5 s")


def row(what: str, ours: float, plain: float | None, note: str) -> dict[str, Any]:
    return {
        "what": what,
        "ours": round(ours, 4),
        "plain": None if plain is None else round(plain, 4),
        "unit": "s",
        "ratio": None if plain is None else round(plain / ours, 2),
        "note": note,
    }


def as_markdown(result: dict[str, Any]) -> str:
    environment = result["environment"]
    lines = [
        "# Performance",
        "",
        f"`{result['command']}`, {environment['date']}, {environment['cpu']}, "
        f"{environment['threads']} threads, torch {environment['torch']}, "
        f"transformers {environment['transformers']}. Medians. The plain path is `transformers` "
        "in float32, used as its documentation shows.",
        "",
        "| what | samadapt | plain path | times faster | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for entry in result["rows"]:
        cells = [entry["what"], f"{entry['ours']} {entry['unit']}"]
        cells.append("" if entry["plain"] is None else f"{entry['plain']} {entry['unit']}")
        cells.append("" if entry["ratio"] is None else str(entry["ratio"]))
        lines.append("| " + " | ".join([*cells, entry["note"]]) + " |")
    return "\n".join(lines) + "\n" + NOTES


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip-sam", action="store_true")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    rows = [help_row(), memory_row(rng)]
    sam_encode = float("nan")
    if not arguments.skip_sam:
        sam, sam_encode = sam_rows(arguments.repeats, rng)
        rows += sam
    rows += nano_rows(arguments.repeats, rng, sam_encode)
    import transformers

    result = {
        "command": " ".join(["python", *sys.argv]),
        "environment": {
            "date": datetime.now(UTC).date().isoformat(),
            "cpu": cpu_name(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "samadapt": samadapt.__version__,
        },
        "rows": rows,
    }
    print(as_markdown(result))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(as_markdown(result))


if __name__ == "__main__":
    main()
