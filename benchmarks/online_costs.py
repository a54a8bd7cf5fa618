"""What learning costs while a person annotates, and whether the person ever waits for it.

    python benchmarks/online_costs.py --threads 2 --json out.json

On the demo's pictures with nano, milliseconds: one pass of the mask decoder; one step of learning
after a click (presets that have one), in such passes; all that follows an acceptance, earlier
objects to replay included; how long learning that is under way takes to make way for the next
click; a click's answer while nothing is learned and while something is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import samadapt
from samadapt.benchmark.demo import demo_dataset
from samadapt.benchmark.environment import describe_environment
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding

CLICKING = ("default", "schoen", "dc-tta", "oaims")
"""Presets that learn from clicks."""

OBJECTS = 24
BREAKS = 20

Spot = tuple[ImageEmbedding, float, float]
"""An image, and a point on one of its objects."""


def spots(model: SegmentationModel, count: int) -> list[Spot]:
    """Objects of the demo, each with the middle of its mask."""
    dataset = demo_dataset()
    images: dict[Any, ImageEmbedding] = {}
    found = []
    for ref in dataset.objects(max_objects=count, seed=0):
        if ref.image_id not in images:
            images[ref.image_id] = model.encode(dataset.read_image(ref.image_id))
        rows, columns = np.nonzero(dataset.mask(ref.annotation_id))
        middle = len(rows) // 2
        found.append((images[ref.image_id], columns[middle] + 0.5, rows[middle] + 0.5))
    return found


def milliseconds(action: Callable[[], object]) -> float:
    """Of one run."""
    start = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - start)


def summary(times: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and longest."""
    return {
        "median": round(statistics.median(times), 1),
        "p95": round(float(np.percentile(times, 95)), 1),
        "longest": round(max(times), 1),
    }


def decoder_pass(model: SegmentationModel, places: Sequence[Spot]) -> float:
    """One pass of the decoder for one prompt, median."""
    times = []
    for embedding, x, y in places:
        prompt = samadapt.Prompt([(x, y)])
        times.append(milliseconds(lambda: model.decode(embedding, [prompt])))  # noqa: B023
    return statistics.median(times)


def click_step(model: SegmentationModel, places: Sequence[Spot], preset: str) -> float:
    """What a second click takes longer with the preset than frozen, median over objects."""
    taken: dict[bool, list[float]] = {False: [], True: []}
    for learns in taken:
        adapters = [samadapt.OnlineAdapter(settings=preset)] if learns else []
        session = samadapt.Session(model, adapters)
        for embedding, x, y in places:
            session.open(embedding=embedding)
            session.click(x, y)
            taken[learns].append(milliseconds(lambda: session.click(x + 2, y)))  # noqa: B023
            session.skip()
    differences = [more - less for more, less in zip(taken[True], taken[False], strict=True)]
    return statistics.median(differences)


def background(model: SegmentationModel, places: Sequence[Spot]) -> dict[str, Any]:
    """Acceptance, making way, and clicks, with the default preset in its thread."""
    adapter = samadapt.OnlineAdapter(background=True)
    session = samadapt.Session(model, [adapter])
    accepted, away, idle, busy = [], [], [], []
    for embedding, x, y in places:
        session.open(embedding=embedding)
        adapter.wait()
        idle.append(milliseconds(lambda: session.click(x, y)))  # noqa: B023
        adapter.wait()
        session.accept()
        accepted.append(milliseconds(adapter.wait))
    rng = np.random.default_rng(0)
    longest = statistics.median(accepted) / 1000
    for index in range(BREAKS):
        embedding, x, y = places[index % len(places)]
        session.open(embedding=embedding)
        session.click(x, y)
        adapter.wait()
        session.accept()
        time.sleep(rng.uniform(0.05, 0.8) * longest)
        if index % 2:
            busy.append(milliseconds(lambda: session.click(x, y)))  # noqa: B023
            session.undo()
        else:
            away.append(_until_it_is_free(adapter))
        adapter.wait()
    adapter.close()
    return {
        "after_acceptance_ms": summary(accepted),
        "making_way_ms": summary(away),
        "click_ms": summary(idle),
        "click_while_learning_ms": summary(busy),
    }


def _until_it_is_free(adapter: samadapt.OnlineAdapter) -> float:
    """From an event's arrival to when it is taken up."""
    taken_up: list[float] = []
    start = time.perf_counter()
    adapter._worker.submit(lambda: taken_up.append(time.perf_counter()))
    while not taken_up:
        time.sleep(0.0002)
    return 1000 * (taken_up[0] - start)


def main() -> None:
    """Print the numbers, and keep them as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = samadapt.load("nano")
    places = spots(model, OBJECTS)
    decoder_pass(model, places[:4])
    one = decoder_pass(model, places)
    result: dict[str, Any] = {
        "environment": describe_environment(model),
        "threads": given.threads,
        "decoder_pass_ms": round(one, 1),
        "click_step_in_passes": {
            preset: round(click_step(model, places[:6], preset) / one, 2) for preset in CLICKING
        },
        **background(model, places),
    }
    print(json.dumps({k: v for k, v in result.items() if k != "environment"}, indent=1))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
