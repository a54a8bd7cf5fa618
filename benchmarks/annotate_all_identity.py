"""The same objects by either engine, with a worker killed in the middle of each run.

    python benchmarks/annotate_all_identity.py --images 2000 --side 512 --out identity.json

Pictures are generated (discs and bars on noise), and every tenth is a crop of a photograph that
scikit-image ships. Without Ray only the local engine runs. With `--model tiny` the model is an
untrained nano of a few channels: the engines are what is compared, and thousands of images take
minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import skimage.data
import torch
from PIL import Image

from samadapt.distributed.annotate import AnnotateWork
from samadapt.distributed.annotate_all import annotate_all, describe_run
from samadapt.distributed.annotate_output import write_coco
from samadapt.distributed.engine import Engine, WorkerError, make_engine
from samadapt.distributed.images import ImageList
from samadapt.distributed.journal import RunJournal
from samadapt.distributed.worker_model import WorkerModel
from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.weights import write_weights
from samadapt.proposals.grid import ProposalOptions

PHOTOGRAPHS = (skimage.data.astronaut, skimage.data.coffee, skimage.data.chelsea)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--grid", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="nano", help="name or file, or tiny")
    parser.add_argument("--engines", default="local,ray")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw(folder / "images", given.images, given.side)
        model = str(write_tiny(folder)) if given.model == "tiny" else given.model
        work = AnnotateWork(
            WorkerModel(model), options=ProposalOptions(points=given.grid, coarse=True)
        )
        rows: dict[str, dict[str, Any]] = {
            "local, nobody killed": run(folder, work, make_engine("local", given.workers), False)
        }
        for name in given.engines.split(","):
            if name == "ray" and find_spec("ray") is None:
                continue
            engine = make_engine(name, given.workers)
            rows[f"{name}, a worker killed"] = run(folder, work, engine, True)
    digests = {row["sha256"] for row in rows.values()}
    result = {
        "images": given.images,
        "side": given.side,
        "workers": given.workers,
        "model": given.model,
        "identical": len(digests) == 1,
        "runs": rows,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")
    found = min(row["objects"] for row in rows.values())
    raise SystemExit(0 if result["identical"] and found else 1)


def run(folder: Path, work: AnnotateWork, engine: Engine, kills: bool) -> dict[str, Any]:
    """One run to its end, begun again where a killed worker ended it."""
    images = ImageList.find(str(folder / "images"))
    out, journal = folder / "found.json", folder / "found.json.journal"
    killed: list[int] = []

    def progress(done: int, total: int) -> None:
        if kills and not killed and done >= total // 3:
            worker = max(workers(), key=lambda process: process.memory_info().rss)
            os.kill(worker.pid, signal.SIGKILL)
            killed.append(done)

    started, begun = time.perf_counter(), 0
    while True:
        begun += 1
        with RunJournal(journal, describe_run(images, work, {})) as kept:
            try:
                done = annotate_all(images, work, engine, kept, progress=progress)
            except WorkerError:
                continue
            count = write_coco(out, ["object"], done.results())
            lines = len(journal.read_bytes().splitlines()) - 1
            kept.remove()
            break
    return {
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "objects": count,
        "killed_after": killed[0] if killed else None,
        "begun": begun,
        "images_done_twice": lines - len(images.names),
        "seconds_per_image": round((time.perf_counter() - started) / len(images.names), 3),
    }


def workers() -> list[psutil.Process]:
    """Processes below this one that do the work."""
    found = psutil.Process().children(recursive=True)
    ray = [one for one in found if one.name().startswith("ray::MapWorker")]
    spawned = [one for one in found if "multiprocessing.spawn" in " ".join(one.cmdline())]
    return ray or spawned


def write_tiny(folder: Path) -> Path:
    """An untrained nano for inputs of 64 pixels."""
    torch.manual_seed(0)
    config = NanoConfig(
        input_side=64,
        channels=16,
        key_channels=8,
        fine_channels=8,
        context_channels=16,
        context_blocks=1,
        heads=2,
        close_up_side=64,
        trunk_widths=(8, 8, 8, 8, 8, 12, 12, 16),
        trunk_repeats=(1, 1, 1, 1, 1, 1, 1),
    )
    network = NanoNetwork(config)
    with torch.no_grad():  # about half of the logits above 0
        network.prompt_encoder.prior.bias.fill_(-8.0)  # type: ignore[union-attr]
    path = folder / "tiny.safetensors"
    write_weights(network, path, {})
    return path


def draw(folder: Path, count: int, side: int) -> None:
    """Pictures of different sizes."""
    folder.mkdir()
    photographs = [photograph() for photograph in PHOTOGRAPHS]
    for number in range(count):
        rng = np.random.default_rng(number)
        height, width = side - 8 * (number % 5), side - 16 * (number % 3)
        if number % 10 == 9:
            whole = photographs[(number // 10) % len(photographs)]
            y, x = (int(rng.integers(0, max(1, s - side))) for s in whole.shape[:2])
            pixels = whole[y : y + height, x : x + width]
        else:
            pixels = rng.integers(40, 80, (height, width, 3)).astype(np.uint8)
            for _ in range(int(rng.integers(2, 7))):
                colour = tuple(int(v) for v in rng.integers(90, 255, 3))
                x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
                radius = int(rng.integers(side // 24 + 2, side // 6))
                if rng.random() < 0.5:
                    cv2.circle(pixels, (x, y), radius, colour, -1)
                else:
                    cv2.rectangle(pixels, (x, y), (x + 2 * radius, y + radius), colour, -1)
        Image.fromarray(pixels).save(folder / f"img{number:06d}.png")


if __name__ == "__main__":
    main()
