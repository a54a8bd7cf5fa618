"""How good a mask can be on the grids that nano answers on: the ceiling that no training passes.

    python -m research.nano.ceilings --data DIR --objects 60 --json ceilings.json

Every true mask is averaged over the cells of a grid and brought back to the image's size as nano's
answers are; the IoU with itself is the ceiling. Measured on the whole image and in the close-up
that nano would take of that mask, at strides 4 and 2. Test files, as no choice depends on them but
the grid's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from samadapt.data.coco import CocoDataset
from samadapt.metrics import iou
from samadapt.models.geometry import InputGeometry
from samadapt.models.nano.config import NanoConfig
from samadapt.models.zoom_in import choose_window
from samadapt.prompts import Prompt

GRIDS = ("stride4", "stride2", "close4", "close2")


def ceilings(mask: NDArray[np.bool_], config: NanoConfig) -> dict[str, float]:
    """IoU of `mask` (H, W) with itself after each of `GRIDS`; close-ups only where one is taken."""
    size = (mask.shape[0], mask.shape[1])
    whole = InputGeometry.longest_side(size, config.input_side, config.MULTIPLE)
    found = {f"stride{s}": _through(mask, whole, s) for s in (4, 2)}
    window = choose_window(size, Prompt(mask=mask), whole, config.close_up_side)
    near = whole
    if window is not None:
        near = InputGeometry.close_up(size, window, config.close_up_side, config.MULTIPLE)
    return found | {f"close{s}": _through(mask, near, s) for s in (4, 2)}


def _through(mask: NDArray[np.bool_], geometry: InputGeometry, stride: int) -> float:
    size = (geometry.padded[0] // stride, geometry.padded[1] // stride)
    soft = geometry.to_decoder(torch.from_numpy(mask)[None, None], size)
    back = geometry.to_original(soft - 0.5)[0, 0] > 0
    return float(iou(back.numpy(), mask))


def main() -> None:
    """Print a Markdown table: mean ceiling and share of objects below 0.85 per dataset."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--objects", type=int, default=60)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    config, table = NanoConfig(), {}
    print("| set | " + " | ".join(GRIDS) + " | below 0.85 |")  # noqa: T201
    print("| --- |" + " ---: |" * (len(GRIDS) + 1))  # noqa: T201
    for folder in sorted(p for p in arguments.data.iterdir() if p.is_dir()):
        file = folder / "test.json"
        file = file if file.exists() else folder / "train.json"
        dataset = CocoDataset.load(file, folder / "images")
        rows = [
            ceilings(dataset.mask(ref.annotation_id), config)
            for ref in dataset.objects(max_objects=arguments.objects, seed=0)
        ]
        means = [float(np.mean([row[grid] for row in rows])) for grid in GRIDS]
        low = [float(np.mean([row[grid] < 0.85 for row in rows])) for grid in GRIDS]
        table[folder.name] = {
            "ceiling": dict(zip(GRIDS, means, strict=True)),
            "below": dict(zip(GRIDS, low, strict=True)),
        }
        shown = " | ".join(f"{v:.3f}" for v in means)
        print(f"| {folder.name} | {shown} | {' '.join(f'{v:.2f}' for v in low)} |", flush=True)  # noqa: T201
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
