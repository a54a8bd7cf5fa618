"""What one image contributes to a step: losses of all its prompts, backwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from samadapt.data.coco import CocoDataset
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.geometry import InputGeometry
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.training.fitting.losses import overlaps
from samadapt.training.fitting.material import Visit
from samadapt.training.fitting.methods import Loss
from samadapt.training.fitting.recipe import FitRecipe
from samadapt.training.fitting.views import view_groups
from samadapt.training.prompt_sampling import PromptSampler, object_generator

_BATCH = 16
"""Prompts per decoder call; more of them are faster on no machine and need memory."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over prompts.

    Attributes:
        loss: of the losses of their answers.
        overlap: of the answers' IoUs on the decoder's grid.
        prompts: how many.
    """

    loss: float = 0.0
    overlap: float = 0.0
    prompts: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.loss + other.loss, self.overlap + other.overlap, self.prompts + other.prompts
        )


@dataclass(frozen=True, slots=True, eq=False)
class Exercise:
    """A prompt and the mask (1, 1, H, W) bool that it shall give."""

    prompt: Prompt
    mask: Tensor


def exercises_of(visit: Visit, dataset: CocoDataset, recipe: FitRecipe) -> list[Exercise]:
    """The prompts of a visit; they depend on the seed, the objects and the epoch alone.

    Raises:
        DataError: a broken mask.
    """
    purpose = f"fit {visit.epoch} "
    names = recipe.kinds_of_visit(
        object_generator(recipe.seed, visit.objects[0].place, purpose + "kinds")
    )
    found = []
    for thing in visit.objects:
        mask = dataset.mask(thing.annotation_id)
        sampler, tensor = PromptSampler(mask), torch.from_numpy(mask)[None, None]
        for name in names:
            rng = object_generator(recipe.seed, thing.place, purpose + name)
            found.append(Exercise(sampler.draw(recipe.kind(name, rng), rng), tensor))
    return found


def learn_image(
    model: SegmentationModel,
    adapters: Sequence[Seams],
    embedding: ImageEmbedding,
    exercises: Sequence[Exercise],
    loss: Loss,
) -> Tally:
    """Add the gradients of the sum of all answers' losses to the adapters' parameters.

    Every prompt is answered on the view that `model.focus` gives, as in use.

    Raises:
        AdapterError: the masks do not depend on anything that is learned.
    """
    tally = Tally()
    prompts = {index: exercise.prompt for index, exercise in enumerate(exercises)}
    for view, indices in view_groups(model, embedding, prompts, _BATCH):
        chosen = [prompts[i] for i in indices]
        output = model.decode(view, chosen, adapters=adapters)
        masks = [exercises[i].mask for i in indices]
        losses, shares = _learn(model, view.geometry, output.logits[:, 0], masks, loss)
        tally += Tally(losses, float(shares.sum()), len(indices))
    return tally


def _learn(
    model: SegmentationModel,
    geometry: InputGeometry,
    logits: Tensor,
    masks: Sequence[Tensor],
    loss: Loss,
) -> tuple[float, Tensor]:
    """Sum of the losses of logits (B, h, w), backwards, and the IoUs (B,) on the CPU."""
    if not logits.requires_grad:
        raise AdapterError(
            f"no mask of {model.identity} depends on what the adapter learns, so nothing would "
            "be trained: its decoder lacks the part that this method acts on"
        )
    target = targets_on(geometry, masks, logits)
    valid = geometry.valid((logits.shape[-2], logits.shape[-1]), logits.device)
    total = loss(logits.float(), target, valid).sum()
    total.backward()  # type: ignore[no-untyped-call]
    return float(total.detach()), overlaps(logits.detach(), target, valid).cpu()


def targets_on(geometry: InputGeometry, masks: Sequence[Tensor], logits: Tensor) -> Tensor:
    """Soft targets (B, h, w) on the grid of `logits` (B, h, w) from masks (1, 1, H, W)."""
    size = (logits.shape[-2], logits.shape[-1])
    made: dict[int, Tensor] = {}
    for mask in masks:  # prompts for the same object share it
        if id(mask) not in made:
            made[id(mask)] = geometry.to_decoder(mask, size)[0, 0]
    return torch.stack([made[id(mask)] for mask in masks]).to(logits.device)
