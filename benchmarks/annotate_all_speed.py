"""Throughput of annotate-all as ratios, each taken in turns so that a busy machine slows both.

    python benchmarks/annotate_all_speed.py --images 8 --side 512 --out speed.json

- a loop over `samadapt predict --all` against `samadapt annotate-all`, per image,
- the whole grid against a coarse look first, in one process, and what that misses,
- two processes against one,
- what an image costs: seconds of one core, and bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from annotate_all_identity import draw
from PIL import Image

import samadapt
from samadapt.data.coco import CocoDataset
from samadapt.data.images import read_image
from samadapt.data.records import CocoCategory, CocoImage, NewObject
from samadapt.distributed.annotate import ImageAnnotator
from samadapt.metrics import iou
from samadapt.proposals.grid import ProposalOptions, propose


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", default="costs,coarse,loop,processes")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    parts: dict[str, Callable[[Path, int], dict[str, Any]]] = {
        "costs": costs,
        "coarse": coarse,
        "loop": loop,
        "processes": processes,
    }
    result: dict[str, Any] = {"images": given.images, "side": given.side, "rounds": given.rounds}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw(folder / "images", given.images, given.side)
        for name in given.parts.split(","):
            result[name] = parts[name](folder, given.rounds)
    print(json.dumps(result, indent=1))
    if given.out is not None:
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def costs(folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds of one core and bytes per image, the fastest of several rounds each."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    model = samadapt.load("nano")
    begin = time.perf_counter() - start
    annotator = ImageAnnotator(model, options=ProposalOptions(coarse=True))
    seconds: dict[str, list[float]] = {"read": [], "encode": [], "propose": []}
    kept, objects, record = 0, 0, 0
    paths = sorted((folder / "images").iterdir())
    for path in paths:
        taken: dict[str, list[float]] = {name: [] for name in seconds}
        for _ in range(rounds):
            times = [time.perf_counter()]
            pixels = read_image(path)
            times.append(time.perf_counter())
            embedding = model.encode(pixels)
            times.append(time.perf_counter())
            propose(model, embedding, (), ProposalOptions(coarse=True))
            times.append(time.perf_counter())
            for name, one, other in zip(taken, times, times[1:], strict=False):
                taken[name].append(other - one)
        for name, some in taken.items():
            seconds[name].append(min(some))
        (found,) = annotator.find([path])
        objects += len(found.objects)
        record += len(json.dumps(found.to_dict()))
        kept += embedding.nbytes
    return {
        "load_seconds": round(begin, 2),
        **{f"{name}_seconds": round(statistics.median(v), 4) for name, v in seconds.items()},
        "embedding_bytes": kept // len(paths),
        "image_bytes": sum(path.stat().st_size for path in paths) // len(paths),
        "result_bytes": record // len(paths),
        "objects": round(objects / len(paths), 1),
    }


def coarse(folder: Path, rounds: int) -> dict[str, Any]:
    """Search each image from the whole grid and with a coarse look first."""
    torch.set_num_threads(1)
    model = samadapt.load("nano")
    ratios, missed, whole_count = [], 0, 0
    for path in sorted((folder / "images").iterdir()):
        embedding = model.encode(path)
        seconds = {False: [], True: []}
        found = {}
        for _ in range(rounds):
            for flag in (False, True):
                start = time.perf_counter()
                found[flag] = propose(model, embedding, (), ProposalOptions(coarse=flag))
                seconds[flag].append(time.perf_counter() - start)
        ratios.append(min(seconds[False]) / min(seconds[True]))
        some = [one.mask for one in found[True]]
        for one in found[False]:
            whole_count += 1
            missed += not any(iou(one.mask, mask) > 0.5 for mask in some)
    return {
        "ratio": round(statistics.median(ratios), 2),
        "objects_of_the_whole_grid": whole_count,
        "missed": missed,
    }


def loop(folder: Path, rounds: int) -> dict[str, Any]:
    """A process per image against one command for all of them, by the clock and by CPU time.

    CPU time counts all processes and threads, and hardly depends on what else the machine does.
    """
    task = str(teach(folder))
    paths = sorted((folder / "images").iterdir())
    wall, cpu = [], []
    for number in range(rounds):
        image = paths[number % len(paths)]
        one = command("predict", image, "--all", "--task", task, "-o", folder / "o.json")
        out = folder / f"a{number}.json"  # annotate-all replaces no file
        every = command("annotate-all", folder / "images", "--task", task, "-o", out)
        for ratios, single, together in zip((wall, cpu), one, every, strict=True):
            ratios.append(single / (together / len(paths)))
    return {
        "ratio": round(statistics.median(wall), 2),
        "ratio_of_cpu_time": round(statistics.median(cpu), 2),
        "all": [round(ratio, 2) for ratio in wall],
    }


def processes(folder: Path, rounds: int) -> dict[str, Any]:
    """One worker against two, the time to start them left out."""
    from samadapt.distributed.annotate import AnnotateWork
    from samadapt.distributed.engine import in_batches
    from samadapt.distributed.local import LocalEngine
    from samadapt.distributed.worker_model import WorkerModel

    work = AnnotateWork(WorkerModel("nano"), options=ProposalOptions(coarse=True))
    paths = sorted((folder / "images").iterdir()) * 4
    ratios = []
    for _ in range(rounds):
        rates = []
        for count in (1, 2):
            results = LocalEngine(count).run(work, in_batches(paths, 1))
            for _ in range(2 * count):  # every worker has begun
                next(results)
            start = time.perf_counter()
            left = sum(1 for _ in results)
            rates.append(left / (time.perf_counter() - start))
        ratios.append(rates[1] / rates[0])
    return {"ratio": round(statistics.median(ratios), 2), "all": [round(r, 2) for r in ratios]}


def teach(folder: Path) -> Path:
    """An adapter that was taught a task in a few steps."""
    pixels = np.full((128, 128, 3), 60, np.uint8)
    rows, columns = np.mgrid[:128, :128]
    disc = (rows - 60) ** 2 + (columns - 60) ** 2 < 900
    pixels[disc] = 200
    (folder / "taught").mkdir()
    Image.fromarray(pixels).save(folder / "taught" / "disc.png")
    data = CocoDataset(
        (CocoImage(1, "disc.png", 128, 128),),
        categories=(CocoCategory(1, "disc"),),
        folder=folder / "taught",
    ).with_objects([NewObject(1, "disc", disc)])
    out = folder / "disc-adapter"
    samadapt.fit(
        "task-prompt", samadapt.load("nano"), data, out=out, cache_bytes=0, progress=False, steps=4
    )
    return out


def command(*arguments: object) -> tuple[float, float]:
    """One command of samadapt in a process of its own: its seconds, and those of CPU time."""
    start, before = time.perf_counter(), os.times()
    subprocess.run(
        [sys.executable, "-m", "samadapt", *map(str, arguments)], check=True, capture_output=True
    )
    after = os.times()
    used = after.children_user + after.children_system
    return time.perf_counter() - start, used - before.children_user - before.children_system


if __name__ == "__main__":
    main()
