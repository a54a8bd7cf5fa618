"""The commands behind the tables of the page on the papers' claims."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from research.plan import Measurement

PHOTOGRAPHS = ("davis", "voc", "clothing", "carparts")
DOMAINS = (
    "steel", "potholes", "endoscopy", "peaweed", "nuclei", "polyps", "emcells", "cardiac", "fetal",
)  # fmt: skip
ROBUST_TRAINING = "voc,vocmore,ecssd,clothing"
UNSEEN = ("fetal", "polyps", "cardiac")
"""Kinds of images on which the base was not trained, each with one object per image."""
STABLE_METHODS = {
    "stable": "stable",
    "stable-no-routing": "stable:no-routing",
    "stable-no-sampling": "stable:no-sampling",
    "decoder": "decoder",
    "lora": "lora",
}
"""Rows of the Stable-SAM table, with what `fit` calls them."""
KINDS = ("box", "box0.4", "1p", "3p")
TASKS = {
    "hair": "faceparts", "skin": "faceparts", "nose": "faceparts", "left_brow": "faceparts",
    "upper_lip": "faceparts", "left_ear": "faceparts", "eye_glasses": "faceparts",
    "wheel": "carparts", "front_left_door": "carparts", "crop": "peaweed",
}  # fmt: skip
_SECONDS = 600.0
"""What a measurement is expected to take; only to show what is left."""
TASK_METHODS = ("frozen-1p", "frozen-best-of-3", "decoder", "lora", "tokens", "plm", "plm+pmm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How much is measured; the defaults are what the full tables take.

    Attributes:
        objects: of each data set.
        seeds: of orders and of trainings.
        draws: prompts of each kind per object.
        training: objects that an adapter is fitted on; 0 for all.
        fit: further options of `samadapt fit`.
        shots: masks that a task is taught with.
        steps: of teaching a task; 0 for the method's own number.
        datasets: of the table, or categories; empty for all.
        methods: rows that are fitted; empty for all.
    """

    objects: int = 50
    seeds: int = 3
    draws: int = 5
    training: int = 0
    fit: str = ""
    shots: str = "1,4,16,64"
    steps: int = 0
    datasets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimTable:
    """What has to be run for a table.

    Attributes:
        fits: arguments of `samadapt` that train adapters; a finished one is not trained again.
        measurements: in order.
    """

    fits: tuple[tuple[str, ...], ...]
    measurements: tuple[Measurement, ...]


def plan(table: str, model: str, results: Path, amounts: Amounts) -> ClaimTable:
    """The commands of a table of `TABLES`.

    Args:
        table: its name.
        model: name or folder of the base.
        results: folder of the results of this base.
        amounts: how much is measured.
    """
    return TABLES[table](model, results, amounts)


def brittle(model: str, results: Path, amounts: Amounts) -> ClaimTable:
    """The base before anything is fitted."""
    return ClaimTable((), _robustness("brittle", model, results, amounts, (), PHOTOGRAPHS))


def stable(model: str, results: Path, amounts: Amounts) -> ClaimTable:
    """Stable-SAM: adapters fitted once on photographs; photographs and novel domains."""
    fits, folders = _fitted(ROBUST_TRAINING, model, results / "adapters", amounts)
    measured = _robustness("stable", model, results, amounts, folders, (*PHOTOGRAPHS, *DOMAINS))
    return ClaimTable(fits, measured)


def unseen(model: str, results: Path, amounts: Amounts) -> ClaimTable:
    """The same adapters fitted on kinds of images on which the base was not trained."""
    names = amounts.datasets or UNSEEN
    fits, folders = _fitted(",".join(names), model, results / "adapters-unseen", amounts)
    return ClaimTable(fits, _robustness("unseen", model, results, amounts, folders, names))


def _fitted(
    training: str, model: str, folder: Path, amounts: Amounts
) -> tuple[tuple[tuple[str, ...], ...], list[Path]]:
    """The commands that fit the rows' adapters to data sets, and the adapters' folders."""
    fits, folders = [], []
    chosen = amounts.methods or tuple(STABLE_METHODS)
    seeds = range(amounts.seeds)
    for row in chosen:
        for seed in seeds:
            out = folder / f"{row}-{seed}"
            limit = ("--max-objects", str(amounts.training)) if amounts.training else ()
            fits.append(
                ("fit", STABLE_METHODS[row], "--dataset", training, "--model", model,
                 "--out", str(out), "--seed", str(seed), *limit,
                 *shlex.split(amounts.fit))
            )  # fmt: skip
            folders.append(out)
    return tuple(fits), folders


def online(model: str, results: Path, amounts: Amounts) -> ClaimTable:
    """Schön et al.: their rule and our default on novel domains."""
    names = amounts.datasets or DOMAINS
    adapters = ",".join(amounts.methods or ("online:schoen", "online"))
    seeds = ",".join(str(seed) for seed in range(amounts.seeds))
    command = (
        "benchmark", "adaptation", "--model", model, "--dataset", ",".join(names),
        "--adapter", adapters, "--seeds", seeds, "--max-objects", str(amounts.objects),
        "--threads", "1",
    )  # fmt: skip
    return ClaimTable((), (_measured("online", "", command, results),))


def prompts(model: str, results: Path, amounts: Amounts) -> ClaimTable:
    """Kim et al.: tasks learned from a few masks."""
    measurements = []
    for category in amounts.datasets or tuple(TASKS):
        command: tuple[str, ...] = (
            "benchmark", "task", "--model", model, "--dataset", TASKS[category],
            "--category", category, "--shots", amounts.shots,
            "--max-objects", str(amounts.objects), "--draws", str(amounts.draws),
            "--seeds", str(amounts.seeds), "--max-images", "0",
            "--methods", ",".join(amounts.methods or TASK_METHODS),
        )  # fmt: skip
        if amounts.steps:
            command = (*command, "--steps", str(amounts.steps))
        measurements.append(_measured("prompts", category, command, results))
    return ClaimTable((), tuple(measurements))


TABLES = {
    "brittle": brittle, "stable": stable, "unseen": unseen, "online": online, "prompts": prompts,
}  # fmt: skip
"""The tables by name."""


def _robustness(
    table: str,
    model: str,
    results: Path,
    amounts: Amounts,
    adapters: Sequence[Path],
    datasets: Sequence[str],
) -> tuple[Measurement, ...]:
    given = [part for adapter in adapters for part in ("--adapter", str(adapter))]
    measurements = []
    for name in amounts.datasets or datasets:
        command = (
            "benchmark", "robustness", "--model", model, "--dataset", name,
            "--max-objects", str(amounts.objects), "--draws", str(amounts.draws),
            "--prompts", ",".join(KINDS), *given,
        )  # fmt: skip
        measurements.append(_measured(table, name, command, results))
    return tuple(measurements)


def _measured(table: str, part: str, command: Sequence[str], results: Path) -> Measurement:
    stem = f"{table}-{part}" if part else table
    path = results / f"{stem}.json"
    return Measurement(table, part, (*command, "--json", str(path)), path, _SECONDS)
