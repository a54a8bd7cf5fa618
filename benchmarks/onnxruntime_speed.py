"""An exported model against torch, on the same clicks, taken in turns: time and masks.

    python benchmarks/onnxruntime_speed.py --model nano --out onnxruntime.json

Each round runs every variant once, so that what else the machine does falls on all alike; compare
ratios. Variants: torch in float32, onnxruntime in float32, onnxruntime with the weights of matrix
products in 8 bits (dynamic quantisation), torch with everything in bfloat16 (autocast).
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import samadapt
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.onnx.description import DECODER, DESCRIPTION, ENCODER, hash_files

PROMPTS = (1, 16)
SIZE = (768, 1024)


def picture(rng: np.random.Generator) -> np.ndarray:
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    return np.array(coarse.resize((SIZE[1], SIZE[0]), Image.Resampling.BICUBIC))


def prompts_of(rng: np.random.Generator, count: int) -> list[samadapt.Prompt]:
    where = rng.uniform((0, 0), (SIZE[1], SIZE[0]), (count, 2))
    return [samadapt.Prompt([(float(x), float(y))], [1]) for x, y in where]


def quantised(source: Path, target: Path) -> Path:
    """A copy of an export whose matrix products have weights of 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target.mkdir()
    for name in (ENCODER, DECODER):
        quantize_dynamic(
            source / name,
            target / name,
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=QuantType.QInt8,
        )
    said = json.loads((source / DESCRIPTION).read_text(encoding="utf-8"))
    said["files"] = hash_files(target)
    (target / DESCRIPTION).write_text(json.dumps(said), encoding="utf-8")
    return target


class Variant:
    """A way to run the model: encode and decode, as `predict` uses them."""

    def __init__(self, name: str, model: SegmentationModel, reduced: bool = False) -> None:
        self.name, self.model, self.reduced = name, model, reduced
        self.embedding: ImageEmbedding | None = None

    def encode(self, image: np.ndarray) -> None:
        self.embedding = self.model.encode(image)

    def decode(self, prompts: list[samadapt.Prompt]) -> torch.Tensor:
        assert self.embedding is not None  # noqa: S101
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.reduced):
            return self.model.decode(self.embedding, prompts).logits.float()


def taken(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def iou(first: torch.Tensor, second: torch.Tensor) -> list[float]:
    a, b = first > 0, second > 0
    both = (a & b).flatten(1).sum(1).float()
    either = (a | b).flatten(1).sum(1).float()
    return torch.where(either > 0, both / either.clamp_min(1), 1.0).tolist()


def summary(seconds: list[float]) -> dict[str, float]:
    return {
        "median_ms": round(float(np.median(seconds)) * 1e3, 3),
        "p95_ms": round(float(np.percentile(seconds, 95)) * 1e3, 3),
    }


def measure(variants: list[Variant], rounds: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    kinds = ("encode", *(f"decode_{count}" for count in PROMPTS))
    times: dict[str, dict[str, list[float]]] = {v.name: {k: [] for k in kinds} for v in variants}
    overlap: dict[str, list[float]] = {v.name: [] for v in variants}
    difference: dict[str, float] = dict.fromkeys(times, 0.0)
    for number in range(rounds + 1):  # the first round warms up
        image = picture(rng)
        asked = {count: prompts_of(rng, count) for count in PROMPTS}
        base: dict[int, torch.Tensor] = {}
        for variant in variants:
            seconds = {"encode": taken(partial(variant.encode, image))}
            for count, prompts in asked.items():
                seconds[f"decode_{count}"] = taken(partial(variant.decode, prompts))
                logits = variant.decode(prompts)
                first = base.setdefault(count, logits)
                overlap[variant.name] += iou(first, logits)
                found = float((first - logits).abs().max()) / max(1.0, float(first.abs().max()))
                difference[variant.name] = max(difference[variant.name], found)
            if number:
                for kind, value in seconds.items():
                    times[variant.name][kind].append(value)
        print(f"round {number}", flush=True)
    first_name = variants[0].name
    found: dict[str, Any] = {}
    for name, lists in times.items():
        ratio = {
            kind: round(float(np.median(np.array(times[first_name][kind]) / np.array(values))), 3)
            for kind, values in lists.items()
        }
        found[name] = {
            **{kind: summary(values) for kind, values in lists.items()},
            "times_as_fast_as_torch": ratio,
            "iou_with_float32_mean": round(float(np.mean(overlap[name])), 5),
            "iou_with_float32_lowest": round(min(overlap[name]), 5),
            "largest_difference_of_logits": difference[name],
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
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    result: dict[str, Any] = {
        "processor": processor(),
        "versions": {n: version(n) for n in ("torch", "onnxruntime", "onnx", "numpy")},
        "model": given.model,
        "image": list(SIZE),
        "rounds": given.rounds,
        "seed": given.seed,
        "threads": {},
    }
    with tempfile.TemporaryDirectory() as place:
        exported = given.exported
        if exported is None:
            exported = Path(place) / "exported"
            model = samadapt.load(given.model, "cpu", "float32")
            samadapt.export_model(model, exported)
        small = quantised(exported, Path(place) / "int8")
        result["megabytes"] = {
            name: round(sum(f.stat().st_size for f in folder.iterdir()) / 1e6, 1)
            for name, folder in (("float32", exported), ("int8", small))
        }
        for threads in given.threads:
            torch.set_num_threads(threads)
            variants = [
                Variant("torch float32", samadapt.load(given.model, "cpu", "float32")),
                Variant("onnxruntime float32", samadapt.load(exported)),
                Variant("onnxruntime int8", samadapt.load(small)),
                Variant("torch bfloat16", samadapt.load(given.model, "cpu", "bfloat16"), True),
            ]
            result["threads"][str(threads)] = measure(variants, given.rounds, given.seed)
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
