"""Prompts per object and slice, with and without carrying, with and without learning.

A robot clicks on each object of the first slice until its mask is good. In every further slice it
either begins anew, or looks at what was carried there: a good mask costs nothing, any other is
corrected by clicks. What it ends with is carried on, and learned where an adapter learns.

    python benchmarks/tracking.py --moving cells --slices 12 --objects 4 --json out.json
    python benchmarks/tracking.py --coco IMAGES train.json test.json --json out.json
    python benchmarks/tracking.py --speed
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import samadapt
from research.scenes.moving import moving_scene
from samadapt.adapters.online import OnlineAdapter
from samadapt.clicks import next_click
from samadapt.data.coco import CocoDataset
from samadapt.metrics import iou
from samadapt.models.seams import Seams
from samadapt.session.robot import ClickProtocol
from samadapt.tracking.prompting import PromptPropagator

PROTOCOL = ClickProtocol(max_clicks=10, targets=(0.8,))
WAYS = ("anew", "anew-learning", "carried", "carried-learning")
LINKED = 0.5
LEAST = 100


@dataclass
class Counts:
    """Prompts of one way of working; `further` for the slices after an object's first."""

    first: list[int] = field(default_factory=list)
    further: list[int] = field(default_factory=list)
    failed: int = 0

    def to_json(self) -> dict[str, float]:
        return {
            "first_slice": float(np.mean(self.first)) if self.first else 0.0,
            "per_further_slice": float(np.mean(self.further)) if self.further else 0.0,
            "untouched": float(np.mean([n == 0 for n in self.further])) if self.further else 0.0,
            "masks": len(self.further),
            "never_good": self.failed,
        }


def linked_labels(folder: Path, files: Sequence[Path]) -> tuple[NDArray, NDArray]:
    """Images in the order of their numbers, and labels that keep their number along the stack.

    Objects of neighbouring slices are the same where their IoU exceeds `LINKED`.
    """
    frames, labels = {}, {}
    for file in files:
        dataset = CocoDataset.load(file, folder)
        for image in dataset.images:
            place = int(Path(image.file_name).stem)
            frames[place] = dataset.read_image(image.id)
            own = np.zeros(frames[place].shape[:2], np.int32)
            for number, annotation in enumerate(dataset.annotations_of(image.id), 1):
                own[dataset.mask(annotation.id)] = number
            labels[place] = own
    order = sorted(frames)
    found, fresh = [labels[order[0]]], int(labels[order[0]].max()) + 1
    for place in order[1:]:
        now, before = np.zeros_like(found[-1]), found[-1]
        taken: set[int] = set()
        for number in range(1, int(labels[place].max()) + 1):
            mask = labels[place] == number
            candidates = [int(v) for v in np.unique(before[mask]) if v and v not in taken]
            overlaps = [(iou(before == v, mask), v) for v in candidates]
            best = max(overlaps, default=(0.0, 0))
            if best[0] <= LINKED:
                best, fresh = (0.0, fresh), fresh + 1
            taken.add(best[1])
            now[mask] = best[1]
        found.append(now)
    return np.stack([frames[p] for p in order]), np.stack(found)


def annotate(model, view, truth, counts: list[int], adapters: Sequence[Seams], start=None):  # type: ignore[no-untyped-def]
    """Click until the mask is good; returns it, and whether it got there."""
    mask = np.zeros_like(truth) if start is None else start
    clicks: list = []
    earlier, window = start, None
    rng = np.random.default_rng(0)
    while iou(mask, truth) < PROTOCOL.content_at and len(clicks) < PROTOCOL.max_clicks:
        click = next_click(truth, mask, clicks, PROTOCOL, rng)
        if click is None:
            break
        clicks.append(click)
        prompt = samadapt.Prompt.from_clicks(clicks, mask=earlier, window=window)
        found = model.predict(view.embedding, prompt, adapters=adapters)
        mask = found.masks[found.best]
        earlier, window = found.logits[found.best], found.window  # as a session feeds them back
    counts.append(len(clicks))
    return mask, iou(mask, truth) >= PROTOCOL.content_at


def run(model, frames, labels, objects: int, carrying: bool, learning: bool) -> Counts:  # type: ignore[no-untyped-def]
    counts = Counts()
    adapters: list[Seams] = [OnlineAdapter(seed=0)] if learning else []
    stack = samadapt.Stack.from_array(frames)
    propagator = PromptPropagator(model, adapters)
    numbers, areas = np.unique(labels[0], return_counts=True)
    chosen = [int(n) for n, a in zip(numbers, areas, strict=True) if n and a >= LEAST][:objects]
    masks: dict[int, NDArray] = {}
    for index in range(len(stack)):
        view = propagator.view(stack, index)
        carried = {}
        if carrying and index and masks:
            (step,) = propagator.carry(stack, index - 1, masks, [index])
            carried = {k: one.mask for k, one in step.objects.items() if one.mask.any()}
        now: dict[int, NDArray] = {}
        for number in chosen:
            truth = labels[index] == number
            if truth.sum() < LEAST or (index and number not in masks):
                continue  # the object has ended
            kept = counts.further if index else counts.first
            mask, good = annotate(model, view, truth, kept, adapters, carried.get(number))
            counts.failed += not good
            now[number] = mask if good else truth  # a person would draw it
        if learning and now:
            propagator.learn(stack, index, list(now.values()))
        masks = now
    return counts


def speed(model, slices: int, side: int) -> dict[str, float]:  # type: ignore[no-untyped-def]
    scene = moving_scene(np.random.default_rng(0), slices, (side, side), "cells", most=1)
    stack = samadapt.Stack.from_array(scene.frames)
    tracks = samadapt.Tracks(stack.size, slices).add({0: scene.labels[0] == 1})
    options = samadapt.CarryOptions(agreement=0.0, confidence=0.0, growth=1e6, min_area=1)
    cpu = time.process_time()
    for pixels in stack:
        model.encode(pixels)
    encoding = time.process_time() - cpu
    cpu, wall = time.process_time(), time.perf_counter()
    found = samadapt.propagate(model, stack, tracks, 0, options=options)
    return {
        "slices": len(found.tracks[1].slices),
        "side": side,
        "cpu_seconds": time.process_time() - cpu,
        "encoding_alone_cpu_seconds": encoding,
        "wall_seconds": time.perf_counter() - wall,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="nano")
    parser.add_argument("--moving", help="kind of generated scene")
    parser.add_argument("--coco", nargs="+", type=Path, metavar="DIR JSON")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--objects", type=int, default=6)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--pace", type=float, default=1.0, help="pixels per frame, at most")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = samadapt.load(options.model)
    result: dict = {"options": {k: str(v) for k, v in vars(options).items()}}
    if options.speed:
        result["speed"] = speed(model, options.slices, options.side)
    else:
        if options.coco:
            frames, labels = linked_labels(options.coco[0], options.coco[1:])
        else:
            rng = np.random.default_rng(options.seed)
            size = (options.side, options.side)
            scene = moving_scene(rng, options.slices, size, options.moving or "cells", options.pace)
            frames, labels = scene.frames, scene.labels
        part = slice(options.first, options.first + options.slices)
        for name in options.ways:
            carrying, learning = name.startswith("carried"), name.endswith("learning")
            counts = run(model, frames[part], labels[part], options.objects, carrying, learning)
            result[name] = counts.to_json()
            print(name, result[name], flush=True)
    print(json.dumps(result.get("speed", {})))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
