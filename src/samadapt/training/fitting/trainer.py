"""`Trainer`: the loop over steps, with checkpoints to resume from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samadapt.adapters.base import Adapter
from samadapt.errors import AdapterError, CheckpointError, DataError, ImageError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.store.dataset_encoder import DatasetEncoder
from samadapt.training.fitting.checkpoint import (
    NAME,
    Progress,
    SkippedPicture,
    load_checkpoint,
    save_checkpoint,
)
from samadapt.training.fitting.later_phases import finished_predictions, learn_later
from samadapt.training.fitting.processes import Processes
from samadapt.training.fitting.progress import FitStatus, Tell, running_mean
from samadapt.training.fitting.recipe import FitRecipe
from samadapt.training.fitting.step import (
    Tally,
    TrainingSample,
    learn_image,
    look_at_image,
    training_samples,
)
from samadapt.training.fitting.training_data import ImageSample, TrainingData

MOST_IMAGES = 20
"""Number of images for later phases and the calibration."""
_BEST = "best."
_SAVE_SECONDS = 30.0
"""Most seconds of training between checkpoints, for models whose steps are slow."""

OnSkip = Callable[[SkippedPicture], None]


class Trainer:
    """One training run of an adapter: its data, recipe and progress.

    Args:
        adapter: bound to `model`.
        model: frozen.
        data: the objects.
        recipe: settings of the run.
        encode: returns the embeddings of images.
        folder: for checkpoints; created if it is missing.
        run: description of the run, as plain JSON values; a checkpoint of another run is refused.

    Raises:
        AdapterError: the adapter has no trainable parameter.
        CheckpointError: the checkpoint in `folder` is damaged or of another run.
    """

    def __init__(
        self,
        adapter: Adapter,
        model: SegmentationModel,
        data: TrainingData,
        recipe: FitRecipe,
        encode: DatasetEncoder,
        folder: Path,
        run: Mapping[str, Any],
    ) -> None:
        self.processes = Processes(model.device)
        self.steps = data.steps()
        self._adapter, self._model, self._data = adapter, model, data
        self._recipe, self._encode = recipe, encode
        self._folder, self._run = folder, run
        module = adapter.module
        self._parameters = [] if module is None else list(module.parameters())
        self._phase, *self._later = adapter.phases()
        if not self._parameters:
            raise AdapterError(
                f"the {adapter.method!r} adapter has no parameter for {model.identity}, so nothing "
                "would be trained: use another method or model"
            )
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._known_skips: set[str] = set()
        self._best: dict[str, Tensor] = {}
        self.progress = self._resume()

    def train(self, tell: Tell, on_skip: OnSkip) -> Progress:
        """Take all remaining steps.

        Raises:
            AdapterError: the masks do not depend on the trained parameters.
            DataError: no image could be used.
        """
        _require_gradients(self._phase.parameters, True)
        try:
            tell(self._status())
            last_save, saved_at = self.progress.step, time.monotonic()
            while self.progress.step < len(self.steps) and not self.progress.stopped:
                started = time.perf_counter()
                self._step(self.steps[self.progress.step], on_skip)
                if self._is_time_to_look():
                    self._look()
                self.progress.seconds += time.perf_counter() - started
                since = self.progress.step - last_save
                late = time.monotonic() - saved_at >= _SAVE_SECONDS
                if since >= self._recipe.checkpoint_steps or late:
                    self._save()
                    last_save, saved_at = self.progress.step, time.monotonic()
                tell(self._status())
        finally:
            _require_gradients(self._phase.parameters, False)
        if not self.progress.prompts:
            reasons = "; ".join(dict.fromkeys(s.reason for s in self.progress.skipped[:3]))
            self.remove_checkpoint()
            raise DataError(f"no image could be used, so nothing was trained: {reasons}")
        if self._best:
            self._load(self._best)
        self._end(tell)
        return self.progress

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint once the adapter is saved."""
        if self.processes.is_main:
            (self._folder / NAME).unlink(missing_ok=True)

    # -- one step -----------------------------------------------------------------------------

    def _step(self, visits: tuple[ImageSample, ...], on_skip: OnSkip) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        tally, images, skipped = Tally(), 0, []
        for visit in self.processes.share(visits):
            found = self._learn(visit)
            if isinstance(found, Tally):
                tally += found
                images += 1
            else:
                skipped.append(found)
        for skip in self.processes.gathered(skipped):
            if skip.image not in self._known_skips:
                self._known_skips.add(skip.image)
                self.progress.skipped.append(skip)
                on_skip(skip)
        sums = torch.tensor(
            [tally.loss, tally.overlap, tally.prompts, images],
            dtype=torch.float32,
            device=self._model.device,
        )
        loss, overlap, prompts, images = self.processes.total(sums).tolist()
        if prompts:
            self._descend(int(prompts))
            if math.isfinite(loss):
                self.progress.losses.append(round(loss / prompts, 6))
                self.progress.overlaps.append(round(overlap / prompts, 6))
        self.progress.prompts += int(prompts)
        self.progress.images += int(images)
        self.progress.step += 1

    def _learn(self, visit: ImageSample) -> Tally | SkippedPicture:
        """Add the gradients of one image, or return it as skipped if it cannot be used."""
        dataset = self._data.datasets[visit.dataset]
        try:
            samples = training_samples(visit, dataset, self._recipe)
            embedding = self._embedding(visit)
        except (ImageError, DataError) as error:
            return SkippedPicture(dataset.image(visit.image_id).file_name, str(error))
        weight = self._recipe.points_weight
        return learn_image(self._model, [self._adapter], embedding, samples, self._phase, weight)

    def _embedding(self, visit: ImageSample) -> ImageEmbedding:
        return self._encode(self._data.datasets[visit.dataset], visit.image_id)

    def _descend(self, answers: int) -> None:
        """One optimiser step along the mean gradient; none if it is not finite."""
        self.processes.add_gradients(self._phase.parameters)
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.rate(self.progress.step, len(self.steps))
        for parameter in self._phase.parameters:
            if parameter.grad is not None:
                parameter.grad /= answers
        if torch.nn.utils.clip_grad_norm_(self._phase.parameters, self._recipe.clip).isfinite():
            self._optimizer.step()
        else:
            self.progress.spoilt += 1

    # -- held-out images ------------------------------------------------------------------------

    def _is_time_to_look(self) -> bool:
        step = self.progress.step
        last = step == len(self.steps)
        return bool(self._data.held_out) and (last or step % self._recipe.validate_steps == 0)

    def _look(self) -> None:
        """Validate: keep the best weights so far, and end the run when patience is over."""
        overlap = self._held_out_overlap()
        if overlap is None:
            return
        progress = self.progress
        best = max((found for _, found in progress.looks), default=-1.0)
        progress.looks.append((progress.step, round(overlap, 6)))
        if round(overlap, 6) > best:
            progress.best = progress.step
            self._best = {name: tensor.clone() for name, tensor in self._tensors().items()}
            return
        since = sum(step > (progress.best or 0) for step, _ in progress.looks)
        if self._recipe.patience is not None and since >= self._recipe.patience:
            progress.stopped = True

    def _held_out_overlap(self) -> float | None:
        """Mean IoU over prompts on the held-out images; None if no such image can be used."""
        tally = Tally()
        for visit in self.processes.share(self._data.held_out):
            dataset = self._data.datasets[visit.dataset]
            try:
                samples = training_samples(
                    visit, dataset, self._recipe, kinds=self._recipe.prompts, occasion="look"
                )
                embedding = self._embedding(visit)
            except (ImageError, DataError):
                continue
            tally += look_at_image(self._model, [self._adapter], embedding, samples)
        sums = torch.tensor([tally.overlap, tally.prompts], device=self._model.device)
        overlap, prompts = self.processes.total(sums).tolist()
        return overlap / prompts if prompts else None

    # -- the end --------------------------------------------------------------------------------

    def _end(self, tell: Tell) -> None:
        """Run later phases and the calibration, identically in all processes."""
        steps, progress = len(self.steps), self.progress
        progress.apart = []
        started = time.perf_counter()
        for phase in self._later:
            finished = finished_predictions(self._model, self._adapter, self._few_samples())
            if not finished:
                continue
            _require_gradients(phase.parameters, True)
            try:
                for done, step in enumerate(learn_later(phase, finished, self._recipe, steps), 1):
                    if math.isfinite(step.loss):
                        progress.apart.append(round(step.loss, 6))
                    progress.spoilt += not step.taken
                    tell(self._status(done))
            finally:
                _require_gradients(phase.parameters, False)
        visits = self._data.sample(MOST_IMAGES)
        with torch.no_grad():
            images = self._marked_images(visits)
            self._adapter.calibrate(self._model, images, len(visits), self._recipe.seed)
        progress.seconds += time.perf_counter() - started

    def _few_samples(self) -> Iterator[tuple[ImageEmbedding, list[TrainingSample]]]:
        """Some images, each with all kinds of prompts for a few of its objects."""
        for visit in self._data.sample(MOST_IMAGES):
            dataset = self._data.datasets[visit.dataset]
            few = replace(visit, objects=visit.objects[: self._recipe.objects_per_image])
            try:
                samples = training_samples(
                    few, dataset, self._recipe, kinds=self._recipe.prompts, occasion="apart"
                )
                embedding = self._embedding(visit)
            except (ImageError, DataError):
                continue
            yield embedding, samples

    def _marked_images(
        self, visits: list[ImageSample]
    ) -> Iterator[tuple[ImageEmbedding, list[NDArray[np.bool_]]]]:
        """Images with the masks of all their objects."""
        for visit in visits:
            dataset = self._data.datasets[visit.dataset]
            try:
                masks = [dataset.mask(thing.annotation_id) for thing in visit.objects]
                embedding = self._embedding(visit)
            except (ImageError, DataError):
                continue
            yield embedding, masks

    # -- private ------------------------------------------------------------------------------

    def _resume(self) -> Progress:
        found = load_checkpoint(self._folder, self._run, self._model.device)
        if found is None:
            return Progress()
        progress, tensors, optimizer = found
        try:
            self._load(tensors)
            self._best = {
                name.removeprefix(_BEST): tensor
                for name, tensor in tensors.items()
                if name.startswith(_BEST)
            }
            self._optimizer.load_state_dict(optimizer)
        except (ValueError, RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"{self._folder / NAME} does not fit this adapter ({error}): delete it to start "
                "anew, or give another output folder"
            ) from None
        self._known_skips = {skip.image for skip in progress.skipped}
        return progress

    def _save(self) -> None:
        if self.processes.is_main:
            self._folder.mkdir(parents=True, exist_ok=True)
            kept = {f"{_BEST}{name}": tensor for name, tensor in self._best.items()}
            tensors = self._tensors() | kept
            save_checkpoint(self._folder, self._run, self.progress, tensors, self._optimizer)

    def _tensors(self) -> dict[str, Tensor]:
        return {str(i): p.detach() for i, p in enumerate(self._parameters)}

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in enumerate(self._parameters):
                parameter.copy_(tensors[str(name)])

    def _status(self, later: int = 0) -> FitStatus:
        progress = self.progress
        return FitStatus(
            progress.step + later,
            len(self.steps) * (1 + len(self._later)),
            running_mean(progress.losses),
            running_mean(progress.overlaps),
            len(progress.skipped),
        )


def _require_gradients(parameters: Sequence[torch.nn.Parameter], wanted: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(wanted)
        if not wanted:
            parameter.grad = None
