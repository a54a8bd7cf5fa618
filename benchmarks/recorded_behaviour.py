"""Record what samadapt answers, learns and writes, and compare two such records bit for bit.

    python benchmarks/recorded_behaviour.py record before
    ... change the code ...
    python benchmarks/recorded_behaviour.py record after --adapters before
    python benchmarks/recorded_behaviour.py compare before after

A record is a folder: one .npz of arrays per model, one .json of sessions, fits and file hashes,
and the adapters that were used. With `--adapters`, predictions are recorded with the adapters of
an earlier record, so that the comparison shows too that they still load.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import samadapt
from fakes import blobs
from samadapt.adapters.registry import create_adapter, load_adapter
from samadapt.prompts import Prompt
from samadapt.proposals.grid import ProposalOptions, propose
from samadapt.session.options import SessionOptions
from samadapt.session.replay import replay
from samadapt.session.session import Session
from small_models import NAMES, tiny_model
from tiny_dataset import make_dataset

SPECS = (
    "stable",
    "stable:no-routing",
    "stable:no-sampling",
    "stable:softmax",
    "lora",
    "lora:2",
    "decoder",
    "tokens",
    "task-prompt",
    "task-prompt:point-matching",
    "task-prompt:shared-outline",
    "task-prompt:no-context",
    "point-matching",
)
FITS = ("stable", "lora", "decoder", "tokens", "task-prompt", "point-matching")
VARIANT_FITS = ("task-prompt:point-matching", "task-prompt:shared-outline", "stable:softmax")
PRESETS = ("online", "online:schoen", "online:dc-tta", "online:oaims")
COMBINED = (
    ("lora", "stable"),
    ("decoder", "task-prompt"),
    ("task-prompt", "point-matching"),
    ("stable", "task-prompt"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record")
    record.add_argument("folder", type=Path)
    record.add_argument("--adapters", type=Path, default=None)
    record.add_argument("--models", default=",".join(("shipped", *NAMES)))
    compare = commands.add_parser("compare")
    compare.add_argument("first", type=Path)
    compare.add_argument("second", type=Path)
    given = parser.parse_args()
    if given.command == "compare":
        sys.exit(compared(given.first, given.second))
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in given.models.split(","):
        recorded(name, given.folder, given.adapters)
        print("recorded", name, flush=True)


def recorded(name: str, folder: Path, earlier: Path | None) -> None:
    """Everything about one model."""
    model = samadapt.load("nano", device="cpu") if name == "shipped" else tiny_model(name)
    arrays: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    images = {"blobs": blobs()} if name != "shipped" else {"scene": scene()}
    adapters: dict[str, tuple[Any, ...]] = {"frozen": ()}
    for spec in SPECS:
        made = shaken(spec, model)
        place = folder / "adapters" / name / spec.replace(":", "-")
        shutil.rmtree(place, ignore_errors=True)
        made.save_pretrained(place)
        facts[f"file {spec}"] = file_hashes(place)
        source = place if earlier is None else earlier / "adapters" / name / place.name
        adapters[spec] = (load_adapter(source, model),)
    for parts in COMBINED:
        adapters["+".join(parts)] = tuple(adapters[part][0] for part in parts)
    if name == "shipped":
        adapters["stable-nano"] = (load_adapter("stable-nano", model),)
    for title, pixels in images.items():
        embedding = model.encode(pixels)
        for key, tensor in embedding.features.items():
            arrays[f"{title}/features/{key}"] = tensor.cpu().numpy()
        for which, seams in adapters.items():
            for key, found in predictions(model, embedding, pixels.shape[:2], seams):
                arrays[f"{title}/{which}/{key}/masks"] = np.packbits(found.masks)
                arrays[f"{title}/{which}/{key}/logits"] = found.logits
                arrays[f"{title}/{which}/{key}/scores"] = found.scores
                arrays[f"{title}/{which}/{key}/window"] = np.array(found.window or (-1,))
        few = ("frozen", "task-prompt", "stable")
        for which in few:
            options = ProposalOptions(points=4)
            for index, one in enumerate(propose(model, embedding, adapters[which], options)):
                arrays[f"{title}/{which}/proposal {index}"] = np.array([one.score, *one.point])
                arrays[f"{title}/{which}/proposal {index} mask"] = np.packbits(one.mask)
        for which in ("frozen", "stable", "task-prompt", "task-prompt:point-matching"):
            for options in (SessionOptions(), SessionOptions(multimask=False, feedback="none")):
                how = f"{title}/{which}/session {options.multimask} {options.feedback}"
                facts[how] = session_events(model, adapters[which], pixels, arrays, how, options)
        for preset in PRESETS:
            how = f"{title}/{preset}/session"
            online = create_adapter(preset, model)
            facts[how] = session_events(model, (online,), pixels, arrays, how, SessionOptions())
            for key, tensor in online.state_dict().items():
                arrays[f"{how}/state {key}"] = tensor.cpu().numpy()
            online.close()
            how = f"{title}/{preset}+stable/session"
            online = create_adapter(preset, model)
            both = (online, adapters["stable"][0])
            facts[how] = session_events(model, both, pixels, arrays, how, SessionOptions())
            online.close()
    if name != "sam3":
        fits(name, model, arrays, facts)
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=1, sort_keys=True))


def shaken(spec: str, model: Any) -> Any:
    """An adapter with seeded random weights."""
    adapter = create_adapter(spec)
    if getattr(adapter.config, "context", 0):
        adapter = type(adapter)(replace(adapter.config, strength=9 / 14))  # as for 9 masks
    adapter.bind(model)
    generator = torch.Generator().manual_seed(1)
    small = {"decoder": 0.01, "point-matching": 0.4}.get(spec, 0.05)
    with torch.no_grad():
        for parameter in adapter.module.parameters():
            parameter += small * torch.randn(parameter.shape, generator=generator)
        if "outline" in spec or spec == "task-prompt:point-matching":
            for parameter in adapter.module.outline.parameters():
                parameter += 0.4 * torch.randn(parameter.shape, generator=generator)
    return adapter


def predictions(
    model: Any, embedding: Any, size: tuple[int, int], seams: tuple[Any, ...]
) -> Iterator[tuple[str, Any]]:
    """Answers to prompts of all kinds."""
    height, width = size
    x, y = 0.25 * width + 0.5, 0.3 * height
    mask = np.zeros(size, np.bool_)
    mask[int(0.12 * height) : int(0.5 * height), int(0.1 * width) : int(0.45 * width)] = True
    box = (0.08 * width, 0.07 * height, 0.42 * width, 0.56 * height)
    small = (0.7 * width, 0.2 * height, 0.82 * width, 0.4 * height)
    points = [(x, y), (0.7 * width, 0.74 * height), (0.06 * width, 0.94 * height), (x + 2, y + 1)]
    prompts = {
        "one": Prompt([(x, y)]),
        "background": Prompt([(x, y)], [0]),
        "several": Prompt(points, [1, 0, 0, 1]),
        "spread": Prompt([points[0], points[1], points[2]]),
        "box": Prompt(box=box),
        "small box": Prompt(box=small),
        "box and points": Prompt(points[:2], [1, 0], box=box),
        "mask": Prompt(mask=mask),
        "point and mask": Prompt([(x, y), points[2]], [1, 0], mask=mask),
    }
    for name, prompt in prompts.items():
        for several in (False, True):
            yield f"{name} {several}", model.predict(embedding, prompt, several, seams)
    batch = [prompts[name] for name in ("one", "several", "box", "one", "spread", "mask", "box")]
    batch += [Prompt([(x + 3 * i, y + i)]) for i in range(5)]
    for several in (False, True):
        for index, found in enumerate(model.predict(embedding, batch, several, seams)):
            yield f"batch {index} {several}", found
    for first in ("one", "small box", "box"):
        found = model.predict(embedding, prompts[first], True, seams)
        given: list[tuple[float, float]] = list(prompts[first].points)
        labels = [1] * len(given)
        for step, (point, label) in enumerate(zip(points[::-1], (1, 0, 0, 1), strict=True)):
            given.append(point)
            labels.append(label)
            logits, window = found.logits[found.best if step == 0 else 0], found.window
            prompt = Prompt(given, labels, prompts[first].box, logits, window)
            found = model.predict(embedding, prompt, step == 1, seams)
            yield f"after {first} {step}", found


def session_events(
    model: Any, seams: tuple[Any, ...], pixels: Any, arrays: dict[str, Any], how: str, options: Any
) -> list[Any]:
    """A bit of everything that people do; masks go into `arrays`."""
    height, width = pixels.shape[:2]
    session = Session(model, seams, options=options)

    def note(name: str, mask: Any) -> None:
        if mask is not None:
            arrays[f"{how}/{len(session.log)} {name}"] = np.packbits(mask)

    session.open(pixels, "picture")
    for turn in range(2):
        note("click", session.click(0.25 * width, 0.3 * height))
        note("click", session.click(0.7 * width, 0.74 * height, positive=False))
        note("undo", session.undo())
        note("redo", session.redo())
        note("click", session.click(0.3 * width, 0.35 * height))
        session.reset()
        note("click", session.click(0.25 * width + turn, 0.3 * height))
        if len(session.prediction.masks) > 1:
            note("choose", session.choose(1))
        note("click", session.click(0.28 * width, 0.26 * height))
        if session.mask.any():
            note("accept", session.accept("disc"))
        else:
            session.skip()
        note("click", session.click(0.05 * width, 0.95 * height))
        session.skip()
        note("box", session.box(0.53 * width, 0.5 * height, 0.86 * width, 0.95 * height))
        note("click", session.click(0.7 * width, 0.74 * height))
        if session.mask.any():
            note("accept", session.accept("square"))
        else:
            session.skip()
    if not any(adapter.method == "online" for adapter in seams):
        again = replay(session.log, model, seams, lambda _: pixels)
        arrays[f"{how}/accepted"] = np.array([one.mask().sum() for one in again.accepted])
    return [plain(record.event) for record in session.log]


def plain(event: Any) -> Any:
    """An event without the version of the package."""
    values = {"kind": type(event).__name__}
    for field in fields(event):
        if field.name != "version":
            values[field.name] = str(getattr(event, field.name))
    return values


def fits(name: str, model: Any, arrays: dict[str, Any], facts: dict[str, Any]) -> None:
    """Short fits of every method."""
    work = Path(tempfile.mkdtemp(prefix="recorded"))
    dataset = make_dataset(work / "data").open()
    specs = (*FITS, *VARIANT_FITS) if name in ("nano", "sam2") else FITS
    if name == "shipped":
        specs = ("task-prompt", "stable")
    for spec in specs:
        settings: dict[str, Any] = {"steps": 5, "seed": 3, "held_out": 0.34, "least": 2}
        settings |= {"validate_steps": 2, "prompts": ("1p", "3p", "box"), "prompts_per_object": 2}
        if spec.startswith("task-prompt"):
            settings |= {"category": "disc"}
        out = work / spec.replace(":", "-")
        adapter = samadapt.fit(
            spec, model, dataset, out, cache=work / "cache", progress=False, **settings
        )
        for key, tensor in adapter.state_dict().items():
            arrays[f"fit {spec}/{key}"] = tensor.cpu().numpy()
        report = json.loads((out / "training" / "report.json").read_text())
        facts[f"fit {spec} report"] = {k: v for k, v in report.items() if k != "seconds"}
        facts[f"fit {spec} files"] = file_hashes(out)
    shutil.rmtree(work)


def file_hashes(folder: Path) -> dict[str, Any]:
    """An adapter's config as it reads, with the hash of its tensors in it."""
    return {"config": json.loads((folder / "adapter_config.json").read_text())}


def compared(first: Path, second: Path) -> int:
    """Print what differs; 1 if anything does."""
    wrong = 0
    for path in sorted(first.glob("*.npz")):
        a, b = np.load(path), np.load(second / path.name)
        names = set(a.files) ^ set(b.files)
        differing = [n for n in a.files if n in b.files and a[n].tobytes() != b[n].tobytes()]
        same = len(a.files) - len(differing)
        print(f"{path.name}: {same} arrays agree, {len(differing)} differ, {len(names)} unpaired")
        for name in [*sorted(differing)[:40], *sorted(names)[:20]]:
            print("   ", name)
        wrong += len(differing) + len(names)
    for path in sorted(first.glob("*.json")):
        one, two = json.loads(path.read_text()), json.loads((second / path.name).read_text())
        differing = [n for n in sorted(set(one) | set(two)) if one.get(n) != two.get(n)]
        print(f"{path.name}: {len(one) - len(differing)} facts agree, {len(differing)} differ")
        for name in differing[:20]:
            print("   ", name, difference(one.get(name), two.get(name)))
        wrong += len(differing)
    return 1 if wrong else 0


def difference(one: Any, two: Any, name: str = "") -> str:
    """Where two JSON values differ first."""
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted(set(one) | set(two)):
            if one.get(key) != two.get(key):
                return difference(one.get(key), two.get(key), f"{name}.{key}")
    return f"{name}: {str(one)[:150]} | {str(two)[:150]}"


def scene() -> Any:
    """A grey picture (400, 600) with discs, a square and a bar of different sizes."""
    ys, xs = np.mgrid[:400, :600] + 0.5
    pixels = np.random.default_rng(0).normal(90, 6, (400, 600, 3))
    pixels[(xs - 150) ** 2 + (ys - 120) ** 2 <= 60**2] += (110, 10, 0)
    pixels[(xs - 450) ** 2 + (ys - 120) ** 2 <= 14**2] += 110
    pixels[210:370, 330:510] += (0, 90, 20)
    return np.clip(pixels, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
