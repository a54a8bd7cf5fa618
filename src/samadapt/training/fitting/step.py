"""One image's contribution to a training step: losses of its prompts and their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from samadapt.adapters.fitting import Phase
from samadapt.adapters.losses import overlaps
from samadapt.data.coco import CocoDataset
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.geometry import InputGeometry
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.training.fitting.prompts import drawn_prompt
from samadapt.training.fitting.recipe import FitRecipe
from samadapt.training.fitting.training_data import ImageSample
from samadapt.training.prompt_sampling import PromptSampler, object_generator

_BATCH = 16
"""Number of prompts per decoder call; more need memory and are no faster."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over prompts.

    Attributes:
        loss: sum of the predictions' losses.
        overlap: sum of the predictions' IoUs on the decoder's grid.
        prompts: number of prompts.
    """

    loss: float = 0.0
    overlap: float = 0.0
    prompts: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.loss + other.loss, self.overlap + other.overlap, self.prompts + other.prompts
        )


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSample:
    """A prompt and its target mask (1, 1, H, W) bool."""

    prompt: Prompt
    mask: Tensor


def training_samples(
    visit: ImageSample,
    dataset: CocoDataset,
    recipe: FitRecipe,
    *,
    kinds: Sequence[str] | None = None,
    occasion: str = "fit",
) -> list[TrainingSample]:
    """The prompts of a visit; they depend on the seed, the objects and the epoch alone.

    Args:
        visit: the objects.
        dataset: of the objects.
        recipe: settings of the prompts.
        kinds: of prompts, by name; None draws some of the recipe's.
        occasion: part of the seed, so that other occasions get other prompts.

    Raises:
        DataError: a broken mask.
    """
    purpose = f"{occasion} {visit.epoch} "
    names = kinds or recipe.kinds_of_visit(
        object_generator(recipe.seed, visit.objects[0].place, purpose + "kinds")
    )
    found = []
    for thing in visit.objects:
        mask = dataset.mask(thing.annotation_id)
        sampler, tensor = PromptSampler(mask), torch.from_numpy(mask)[None, None]
        for name in names:
            rng = object_generator(recipe.seed, thing.place, purpose + name)
            found.append(TrainingSample(drawn_prompt(name, mask, sampler, recipe, rng), tensor))
    return found


def learn_image(
    model: SegmentationModel,
    adapters: Sequence[Seams],
    embedding: ImageEmbedding,
    samples: Sequence[TrainingSample],
    phase: Phase,
    points_weight: float = 1.0,
) -> Tally:
    """Add the gradients of the sum of all predictions' losses to the phase's parameters.

    Every prompt is decoded as in use (`model.groups`); of clicks answered in sequence only the
    last prediction is learned.

    Args:
        model: the model.
        adapters: in use, including the one that learns.
        embedding: the image.
        samples: prompts with their targets.
        phase: the trained parameters and their loss.
        points_weight: of the phase's loss of points.

    Raises:
        AdapterError: the masks do not depend on the trained parameters.
    """
    tally = Tally()
    for view, logits, target in predictions(model, adapters, embedding, samples):
        valid = view.geometry.valid((logits.shape[-2], logits.shape[-1]), logits.device)
        losses = phase.loss(logits, target, valid, view)
        if phase.points_loss is not None:
            losses = losses + points_weight * phase.points_loss(logits, target, valid, view)
        total = losses.sum()
        if not total.requires_grad:
            raise AdapterError(
                f"no mask of {model.identity} depends on the adapter's parameters, so nothing "
                "would be trained: its decoder lacks the part that this method acts on; use "
                "another method or model"
            )
        total.backward()  # type: ignore[no-untyped-call]
        shares = overlaps(logits.detach(), target, valid).cpu()
        tally += Tally(float(total.detach()), float(shares.sum()), len(logits))
    return tally


def look_at_image(
    model: SegmentationModel,
    adapters: Sequence[Seams],
    embedding: ImageEmbedding,
    samples: Sequence[TrainingSample],
) -> Tally:
    """Measure the IoU of an image's prompts without learning; the loss is left at 0."""
    tally = Tally()
    with torch.no_grad():
        for view, logits, target in predictions(model, adapters, embedding, samples):
            valid = view.geometry.valid((logits.shape[-2], logits.shape[-1]), logits.device)
            shares = overlaps(logits, target, valid).cpu()
            tally += Tally(0.0, float(shares.sum()), len(logits))
    return tally


def predictions(
    model: SegmentationModel,
    adapters: Sequence[Seams],
    embedding: ImageEmbedding,
    samples: Sequence[TrainingSample],
) -> Iterator[tuple[ImageEmbedding, Tensor, Tensor]]:
    """Views, each with the logits (B, h, w) of its prompts and their targets (B, h, w)."""
    given = [sample.prompt for sample in samples]
    for group in model.groups(embedding, given, adapters, _BATCH):
        logits = model.decode(group.view, group.prompts, adapters=adapters).logits[:, 0].float()
        masks = [samples[i].mask for i in group.indices]
        yield group.view, logits, targets_on(group.view.geometry, masks, logits)


def targets_on(geometry: InputGeometry, masks: Sequence[Tensor], logits: Tensor) -> Tensor:
    """Soft targets (B, h, w) on the grid of `logits` (B, h, w) from masks (1, 1, H, W)."""
    size = (logits.shape[-2], logits.shape[-1])
    made: dict[int, Tensor] = {}
    for mask in masks:  # prompts for the same object share it
        if id(mask) not in made:
            made[id(mask)] = geometry.to_decoder(mask, size)[0, 0]
    return torch.stack([made[id(mask)] for mask in masks]).to(logits.device)
