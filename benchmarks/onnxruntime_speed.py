"""An exported model against torch, on the same clicks: CPU time, wall time, and the masks.

    python benchmarks/onnxruntime_speed.py --model nano --out onnxruntime.json

Every round runs every way of computing once, with 1 and with 2 threads, on a photograph that
ships with scikit-image, so that what else the machine does falls on all of them alike: compare
ratios. Ways: torch in float32; torch in bfloat16, as `encoder_dtype="bfloat16"` (the image
encoder alone); onnxruntime in float32; onnxruntime in 8 bits, where the encoder's weights and
activations are calibrated on generated pictures and the decoder's matrix products are quantised
dynamically.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch

import samadapt
from samadapt.models.base import SegmentationModel
from samadapt.models.onnx.description import (
    DECODER,
    DESCRIPTION,
    ENCODER,
    hash_files,
    read_description,
)
from samadapt.models.parts.runtime import PIXELS

THREADS = (1, 2)
PROMPTS = (1, 16)
KINDS = ("encode", *(f"decode {count}" for count in PROMPTS))
PHOTOGRAPHS = ("astronaut", "coffee", "chelsea")
_CALIBRATION = 4


@dataclass
class Way:
    """A way to run the model, with a number of threads, and what was measured of it."""

    name: str
    threads: int
    model: SegmentationModel
    seconds: dict[str, list[tuple[float, float]]] = field(
        default_factory=lambda: {kind: [] for kind in KINDS}
    )
    overlap: list[float] = field(default_factory=list)


class Calibration:
    """Generated pictures as the encoder's input, for `quantize_static`."""

    def __init__(self, folder: Path) -> None:
        preprocessing = read_description(folder).preprocessing
        rng = np.random.default_rng(0)
        self._left: Iterator[dict[str, Any]] = iter(
            {PIXELS: preprocessing.apply(pixels, preprocessing.geometry(pixels.shape[:2])).numpy()}
            for pixels in (
                rng.integers(0, 256, (12, 16, 3), np.uint8).repeat(48, 0).repeat(48, 1)
                for _ in range(_CALIBRATION)
            )
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._left, None)


def quantised(source: Path, target: Path) -> Path:
    """A copy of an export in 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static

    target.mkdir()
    reader: Any = Calibration(source)
    quantize_static(source / ENCODER, target / ENCODER, reader, per_channel=True)
    quantize_dynamic(
        source / DECODER,
        target / DECODER,
        op_types_to_quantize=["MatMul", "Gemm"],
        weight_type=QuantType.QInt8,
    )
    said = json.loads((source / DESCRIPTION).read_text(encoding="utf-8"))
    said["files"] = hash_files(target)
    (target / DESCRIPTION).write_text(json.dumps(said), encoding="utf-8")
    return target


def timed(action: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """What the action gives, and its seconds of CPU, of all threads, and of the clock."""
    clock, cpu = time.perf_counter(), time.process_time()
    found = action()
    return found, (time.process_time() - cpu, time.perf_counter() - clock)


def measure(ways: Sequence[Way], rounds: int, seed: int) -> None:
    """Run every way in every round; the first round warms up."""
    rng = np.random.default_rng(seed)
    for number in range(rounds + 1):
        photograph = getattr(skimage.data, PHOTOGRAPHS[number % len(PHOTOGRAPHS)])()
        height, width = photograph.shape[:2]
        places = rng.uniform((0, 0), (width, height), (max(PROMPTS), 2))
        clicks = [samadapt.Prompt([(float(x), float(y))], [1]) for x, y in places]
        expected: dict[int, torch.Tensor] = {}
        for way in ways:
            torch.set_num_threads(way.threads)
            embedding, spent = timed(partial(way.model.encode, photograph))
            measured = {"encode": spent}
            for count in PROMPTS:
                some = clicks[:count]
                with torch.no_grad():
                    output, measured[f"decode {count}"] = timed(
                        partial(way.model.decode, embedding, some)
                    )
                masks = output.logits.flatten(1) > 0
                first = expected.setdefault(count, masks)
                both, either = (first & masks).sum(1), (first | masks).sum(1)
                way.overlap += torch.where(either > 0, both / either.clamp_min(1), 1.0).tolist()
            for kind, spent in measured.items() if number else ():
                way.seconds[kind].append(spent)


def summary(way: Way, base: Way) -> dict[str, Any]:
    """Medians in milliseconds, and how often as fast as `base` it was in the same round."""
    found: dict[str, Any] = {"way": way.name, "threads": way.threads}
    for kind in KINDS:
        own, other = np.array(way.seconds[kind]), np.array(base.seconds[kind])
        for column, what in enumerate(("cpu", "wall")):
            found[f"{kind}, {what} ms"] = round(float(np.median(own[:, column])) * 1e3, 2)
            ratio = np.median(other[:, column] / own[:, column])
            found[f"{kind}, {what} times as fast"] = round(float(ratio), 2)
    found["iou_with_torch_float32"] = {
        "mean": round(float(np.mean(way.overlap)), 5),
        "lowest": round(min(way.overlap), 5),
    }
    return found


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--exported", type=Path, help="an export of the model, to save time")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        exported = given.exported or Path(place) / "exported"
        if given.exported is None:
            samadapt.export_model(samadapt.load(given.model, "cpu", "float32"), exported)
        small = quantised(exported, Path(place) / "int8")
        ways = []
        for threads in THREADS:
            torch.set_num_threads(threads)  # a session of onnxruntime takes as many for good
            ways += [
                Way("torch float32", threads, samadapt.load(given.model, "cpu", "float32")),
                Way("torch bfloat16", threads, samadapt.load(given.model, "cpu", "bfloat16")),
                Way("onnxruntime float32", threads, samadapt.load(exported)),
                Way("onnxruntime int8", threads, samadapt.load(small)),
            ]
        measure(ways, given.rounds, given.seed)
    bases = {way.threads: way for way in ways if way.name == "torch float32"}
    result = {
        "processor": processor(),
        "versions": {name: version(name) for name in ("torch", "onnxruntime", "onnx", "numpy")},
        "model": given.model,
        "photographs": PHOTOGRAPHS,
        "rounds": given.rounds,
        "seed": given.seed,
        "ways": [summary(way, bases[way.threads]) for way in ways],
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
