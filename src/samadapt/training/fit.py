"""`samadapt.fit`: train an adapter on images with masks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from samadapt.adapters.base import Adapter
from samadapt.adapters.card import card_text
from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.files import CONFIG_FILE
from samadapt.adapters.fitting import TrainingFacts
from samadapt.adapters.registry import load_adapter
from samadapt.data.coco import CocoDataset
from samadapt.data.files import replacing
from samadapt.data.selection import select
from samadapt.errors import AdapterError, DataError
from samadapt.models.base import SegmentationModel
from samadapt.store.dataset_encoder import DatasetEncoder
from samadapt.store.embeddings import DEFAULT_LIMIT, EmbeddingStore
from samadapt.training.fitting.checkpoint import NAME, Progress, SkippedPicture, difference
from samadapt.training.fitting.methods import FitMethod, fit_method
from samadapt.training.fitting.progress import FitStatus, Tell, fit_bar, running_mean
from samadapt.training.fitting.recipe import FitRecipe
from samadapt.training.fitting.trainer import OnSkip, Trainer
from samadapt.training.fitting.training_data import TrainingData

__all__ = ["FitReport", "FitStatus", "fit", "run_fit"]

TRAINING = "training"
"""Folder beside the adapter's files, for the checkpoint during training and the report after."""
REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class FitReport:
    """Result of a training run.

    Attributes:
        adapter: trained, its parameters frozen.
        out: its folder.
        resumed_at: the step at which this call began; the last one if the run was finished.
        values: the run, its progress and its curves, as plain JSON values.
        skipped: images that could not be used.
    """

    adapter: Adapter
    out: Path
    resumed_at: int
    values: Mapping[str, Any]
    skipped: tuple[SkippedPicture, ...] = ()


def fit(
    method: str,
    model: SegmentationModel | str | os.PathLike[str],
    dataset: CocoDataset | Sequence[CocoDataset],
    out: str | os.PathLike[str],
    *,
    start: Adapter | str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_bytes: int = DEFAULT_LIMIT,
    progress: bool | Tell = True,
    on_skip: OnSkip | None = None,
    **settings: Any,
) -> Adapter:
    """Train an adapter on images with masks and save it in a folder.

    The model stays frozen; every image is encoded once, and its embedding is kept on the disk. The
    same call resumes a killed run, and does not repeat a finished one.

        stable = samadapt.fit("stable", samadapt.load("nano"), dataset, out="stable-nano")

    Args:
        method: name of a method that can be fitted (`samadapt methods` lists them), with a variant
            as in "task-prompt:point-matching".
        model: the model, or its name.
        dataset: one or several, with their images.
        out: folder of the adapter; new, or that of the same run.
        start: a trained adapter of this method to start from; None starts untrained.
        cache: folder of embeddings; defaults to the user's cache, which `samadapt embed` fills.
        cache_bytes: size limit of that folder; 0 keeps no embeddings.
        progress: a bar on a terminal (True), nothing (False), or a function called at every step.
        on_skip: called with every image that cannot be used.
        **settings: changes of the method's recipe, see `FitRecipe` (`category`, `shots`, `epochs`,
            `seed`, ...).

    Raises:
        DataError: nothing to train on (no object, empty masks, no readable image), an unknown
            category, fewer masks than shots, an unknown setting, or a folder with other files.
        AdapterError: an unknown method or variant, an adapter made for another model, or an
            adapter without trainable parameters.
        CheckpointError: an unfinished run with other settings in `out`, or a damaged one.
    """
    report = run_fit(
        method,
        _model(model),
        [dataset] if isinstance(dataset, CocoDataset) else list(dataset),
        Path(out),
        start=start,
        cache=cache,
        cache_bytes=cache_bytes,
        progress=progress,
        on_skip=on_skip,
        settings=settings,
    )
    return report.adapter


def run_fit(
    method: str,
    model: SegmentationModel,
    datasets: Sequence[CocoDataset],
    out: Path,
    *,
    start: Adapter | str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_bytes: int = DEFAULT_LIMIT,
    progress: bool | Tell = True,
    on_skip: OnSkip | None = None,
    settings: Mapping[str, Any] | None = None,
) -> FitReport:
    """Train an adapter as `fit` does, and return a report."""
    name, _, variant = method.partition(":")
    chosen = fit_method(name)
    recipe = chosen.recipe.changed(**(settings or {}))
    datasets = _selected(datasets, recipe)
    data = TrainingData(datasets, recipe)
    adapter = _new_adapter(chosen, variant or None, start, model, recipe, data)
    adapter.config = adapter.config.with_task(_task(chosen, recipe, datasets))
    run = _describe(method, model, adapter, data, recipe, start is not None)
    if done := _finished(out, run, model, adapter):
        return done
    store = EmbeddingStore(None if cache is None else Path(cache), cache_bytes, is_cyclic=True)
    encode = DatasetEncoder(model, store)
    trainer = Trainer(adapter, model, data, recipe, encode, out / TRAINING, run)
    resumed_at = trainer.progress.step
    with _teller(progress and trainer.processes.is_main and progress, name) as tell:
        found = trainer.train(tell, on_skip or _ignore)
    values = {
        "run": run,
        "encoded": encode.encoded,
        "found": dict(adapter.config.training_data),
        **_outcome(found),
    }
    if trainer.processes.is_main:
        _deliver(adapter, out, run, found, values)
        trainer.remove_checkpoint()
    trainer.processes.wait()
    return FitReport(adapter, out, resumed_at, values, tuple(found.skipped))


# -- private --------------------------------------------------------------------------------


def _model(model: SegmentationModel | str | os.PathLike[str]) -> SegmentationModel:
    if isinstance(model, SegmentationModel):
        return model
    from samadapt.models.registry import load
    from samadapt.training.fitting.processes import local_device

    return load(model, local_device("auto"))


def _selected(datasets: Sequence[CocoDataset], recipe: FitRecipe) -> list[CocoDataset]:
    """The objects of the recipe's category, limited to its number of shots."""
    if recipe.category is None and recipe.shots is None:
        return list(datasets)
    if recipe.shots is not None and len(datasets) > 1:
        raise DataError(
            f"{recipe.shots} shots of {len(datasets)} datasets: give one dataset, or no shots"
        )
    return [select(each, recipe.category, recipe.shots, recipe.seed) for each in datasets]


def _task(method: FitMethod, recipe: FitRecipe, datasets: Sequence[CocoDataset]) -> str | None:
    """The name of the category that is taught; None if there are several."""
    if recipe.category is not None:
        return recipe.category
    names = sorted({d.category(a.category_id).name for d in datasets for a in d.annotations})
    if len(names) == 1:
        return names[0]
    if not method.one_task:
        return None
    raise DataError(
        f"method {method.name!r} learns one category, but there are objects of "
        f"{', '.join(names) or 'no category'}: give the category"
    )


def _new_adapter(
    method: FitMethod,
    variant: str | None,
    start: Adapter | str | os.PathLike[str] | None,
    model: SegmentationModel,
    recipe: FitRecipe,
    data: TrainingData,
) -> Adapter:
    """The adapter to train, bound to the model; a copy of `start` if that is given."""
    if start is None:
        new = method.adapter.create(variant)
        facts = TrainingFacts(recipe.seed, data.object_count, lambda: data.position_spread)
        adapter = method.adapter(new.config.for_training(facts))
        adapter.bind(model)
        return adapter
    given = start if isinstance(start, Adapter) else load_adapter(start, model)
    if given.method != method.name or variant is not None:
        raise AdapterError(
            f"the adapter to start from is of method {given.method!r}: fit that method, without "
            "a variant"
        )
    given.check_model(model)
    adapter = type(given)(given.config)
    adapter.bind(model)
    adapter.load_state_dict(given.state_dict())
    return adapter


def _describe(
    method: str,
    model: SegmentationModel,
    adapter: Adapter,
    data: TrainingData,
    recipe: FitRecipe,
    started: bool,
) -> dict[str, Any]:
    """Describe the run; runs of equal descriptions give equal results."""
    start = None
    if started:
        from samadapt.models.hashing import hash_tensors

        start = hash_tensors({n: t.detach().cpu() for n, t in adapter.state_dict().items()})
    return {
        "method": method,
        "model": {
            "name": model.identity.name,
            "weights_hash": model.identity.weights_hash,
            "preprocessing": model.preprocessing,
        },
        "recipe": dict(recipe.to_dict()),
        "data": data.describe(),
        "adapter": _settings(adapter.config),
        "start": start,
    }


def _finished(
    out: Path, run: Mapping[str, Any], model: SegmentationModel, adapter: Adapter
) -> FitReport | None:
    """The report of this run if `out` holds its result already.

    Raises:
        DataError: `out` holds other files.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file: give a folder for the adapter")
    path = out / TRAINING / REPORT
    if (out / TRAINING / NAME).exists():
        return None
    if not (out / CONFIG_FILE).exists():
        if out.exists() and any(p.name != TRAINING for p in out.iterdir()):
            raise DataError(f"{out} is not empty and holds no adapter: give a new folder")
        return None
    try:
        values = json.loads(path.read_bytes())
        before = values["run"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{out} holds an adapter that this command did not train: give a new folder"
        ) from None
    if differing := difference(_as_read(before, adapter), json.loads(json.dumps(run))):
        raise DataError(
            f"{out} holds an adapter whose training differs in {differing}: give a new folder"
        )
    skipped = tuple(SkippedPicture(**row) for row in values["skipped"])
    return FitReport(load_adapter(out, model), out, values["steps"], values, skipped)


def _as_read(run: dict[str, Any], adapter: Adapter) -> dict[str, Any]:
    """The description of an earlier run, with the adapter's settings in this version's form."""
    try:
        config = adapter.config_class.from_dict(run["adapter"])
    except (AdapterError, KeyError, TypeError):
        return run
    return {**run, "adapter": _settings(config)}


def _settings(config: AdapterConfig) -> dict[str, Any]:
    """A config as plain JSON values, without the results of a run."""
    values = config.to_dict()
    for name in ("recipe", "training_data", "metrics"):
        values.pop(name, None)
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _outcome(found: Progress) -> dict[str, Any]:
    return {
        "steps": found.step,
        "images": found.images,
        "prompts": found.prompts,
        "held_out": {
            "looks": [list(look) for look in found.looks],
            "best_step": found.best,
            "stopped_early": found.stopped,
        },
        "loss": running_mean(found.losses),
        "miou": running_mean(found.overlaps),
        "seconds": round(found.seconds, 3),
        "spoilt_steps": found.spoilt,
        "skipped": [{"image": s.image, "reason": s.reason} for s in found.skipped],
        "curve": {"loss": found.losses, "miou": found.overlaps, "apart": found.apart},
        "torch": torch.__version__,
    }


def _deliver(
    adapter: Adapter,
    out: Path,
    run: Mapping[str, Any],
    found: Progress,
    values: Mapping[str, Any],
) -> None:
    """Write the adapter, its card and the report of its training; the adapter's files last."""
    metrics = {"loss": values["loss"], "miou": values["miou"]}
    adapter.config = replace(
        adapter.config,
        recipe=run["recipe"],
        training_data={
            **adapter.config.training_data,
            "datasets": run["data"],
            "images": found.images,
            "prompts": found.prompts,
            "skipped": len(found.skipped),
        },
        metrics={f"training_{name}": round(value, 4) for name, value in metrics.items() if value},
    )
    (out / TRAINING).mkdir(parents=True, exist_ok=True)
    with replacing(out / TRAINING / REPORT) as file:
        file.write(json.dumps(values, indent=1, allow_nan=False).encode())
    with replacing(out / "README.md") as file:
        file.write(card_text(adapter, out.absolute().name).encode())
    adapter.save_pretrained(out)


def _teller(progress: bool | Tell, name: str) -> AbstractContextManager[Tell]:
    if progress is True:
        return fit_bar(f"fitting {name}")
    return nullcontext(progress or _silent)


def _silent(status: FitStatus) -> None:
    return None


def _ignore(skipped: SkippedPicture) -> None:
    return None
