"""The loss of one training step as one module, so that a step can be spread over processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from research.nano.clicks import ClickSimulator
from research.nano.losses import (
    candidate_loss,
    mask_loss,
    ranking_loss,
    region_contrastive_loss,
    soft_iou,
)
from research.nano.recipe import Recipe
from samadapt.models.nano.encoder import NanoFeatures
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.prompt_encoder import PromptBatch
from samadapt.models.nano.weights import normalise

_CANDIDATES_WEIGHT, _PRIOR_WEIGHT = 0.7, 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Exercise:
    """The N objects of one step, and how they are clicked.

    Attributes:
        target: (N, h, w) soft masks at the logits' resolution.
        levels: (N, 3, h, w) nested masks that all contain the given first click, or None.
        level_valid: (N, 3) bool, which levels there are, or None with `levels`.
        simulator: has made the first prompts already.
        taught: for each round, whether masks are taught in it; the first one always is.
        origin: shift of the positional encoding, as shares of the input side.
    """

    target: Tensor
    levels: Tensor | None
    level_valid: Tensor | None
    simulator: ClickSimulator
    taught: tuple[bool, ...]
    origin: tuple[float, float]


class StepLoss(nn.Module):
    """Encodes a batch once, plays rounds of clicks on its objects and adds up the losses."""

    def __init__(self, network: NanoNetwork, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe

    def forward(
        self, images: Tensor, regions: Tensor, exercise: Exercise | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a step and what to log of it, all on the device.

        Args:
            images: (B, S, S, 3) uint8.
            regions: (B, S/8, S/8) for the contrastive loss.
            exercise: the objects, equally many per image in order; None teaches the encoder alone.
        """
        features = self.network(normalise(images))
        contrast = region_contrastive_loss(features.keys, regions)
        report = {"contrast": contrast.detach()}
        if exercise is None:
            return contrast, report
        loss = self.recipe.contrast_weight * contrast
        count = len(exercise.target)
        rows = torch.arange(len(images), device=images.device).repeat_interleave(
            count // len(images), output_size=count
        )
        loss = loss + self._play(features.rows(rows), exercise, report)
        return loss, report | {"loss": loss.detach()}

    def _play(self, objects: NanoFeatures, exercise: Exercise, report: dict[str, Tensor]) -> Tensor:
        simulator, device = exercise.simulator, exercise.target.device
        loss = exercise.target.new_zeros(())
        previous: Tensor | None = None
        for turn, teach in enumerate(exercise.taught):
            prompts = simulator.prompts(previous, device)
            if teach:
                logits, scores, prior = self.network.answer(objects, prompts, exercise.origin)
                loss = loss + self._mask_losses(logits, prior, exercise, turn == 0)
            else:
                logits, scores = self._answer_silently(objects, prompts, exercise.origin)
            overlaps = soft_iou(
                logits.detach(), exercise.target[:, None].expand(-1, logits.shape[1], -1, -1)
            )
            loss = loss + self._score_losses(scores, overlaps)
            _describe_round(report, scores.detach(), overlaps, turn, teach)
            previous = logits[:, :1].detach()
            if turn + 1 < len(exercise.taught):
                simulator.refine((previous[:, 0] > 0).cpu().numpy())
        return loss / self.recipe.taught_rounds

    def _answer_silently(
        self, objects: NanoFeatures, prompts: PromptBatch, origin: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        """Logits without gradient, and scores whose gradient reaches the score head alone."""
        head = self.network.decoder.score_head
        seen: list[Tensor] = []
        handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            with torch.no_grad():
                logits, _, _ = self.network.answer(objects, prompts, origin)
        finally:
            handle.remove()
        return logits, head(seen[0])[..., 0].float().sigmoid()

    def _mask_losses(
        self, logits: Tensor, prior: Tensor, exercise: Exercise, is_first: bool
    ) -> Tensor:
        """Token 0 must give the object, the prior as well; a single click teaches the candidates.

        After a single click the candidates cover the levels that it may mean, or, where those are
        not known, at least one of them gives the object.
        """
        target = exercise.target
        losses = mask_loss(logits, target[:, None].expand_as(logits))
        loss = losses[:, 0].mean()
        if is_first:
            costs, valid = self._costs(logits[:, 1:], losses[:, 1:], exercise)
            simulator = exercise.simulator
            is_clear = torch.from_numpy(simulator.has_box | simulator.has_draft)
            clicked = ~is_clear.to(target.device)
            loss = loss + _CANDIDATES_WEIGHT * (candidate_loss(costs, valid) * clicked).mean()
        doubled = F.interpolate(prior.float(), logits.shape[-2:], mode="bilinear")
        return loss + _PRIOR_WEIGHT * mask_loss(doubled[:, 0], target).mean()

    def _costs(
        self, candidates: Tensor, losses: Tensor, exercise: Exercise
    ) -> tuple[Tensor, Tensor]:
        """Costs (N, L, 3) of the candidates against what the first click may mean, and which are.

        The object itself is the only meaning where no level is known.
        """
        alone = torch.ones(len(losses), 1, dtype=torch.bool, device=losses.device)
        if exercise.levels is None or exercise.level_valid is None:
            return losses[:, None], alone
        given = torch.from_numpy(exercise.simulator.started_as_given).to(losses.device)
        valid = exercise.level_valid & given[:, None]
        known = valid.any(dim=1)
        levels = exercise.levels.clone()
        levels[:, 0] = torch.where(known[:, None, None], levels[:, 0], exercise.target)
        valid[:, 0] |= ~known
        shape = (*levels.shape[:2], *candidates.shape[1:])  # (N, L, 3, h, w)
        costs = mask_loss(candidates[:, None].expand(shape), levels[:, :, None].expand(shape))
        return costs, valid

    def _score_losses(self, scores: Tensor, overlaps: Tensor) -> Tensor:
        """Every score learns the IoU that its mask has, and the candidates' scores their order."""
        recipe = self.recipe
        regression = F.mse_loss(scores, overlaps)
        ranking = ranking_loss(scores[:, 1:], overlaps[:, 1:])
        return recipe.score_weight * regression + recipe.ranking_weight * ranking


def _describe_round(
    report: dict[str, Tensor], scores: Tensor, overlaps: Tensor, turn: int, teach: bool
) -> None:
    """Mean IoU of the single mask; after the first prompt also of the best-scored candidate."""
    if teach:
        report["iou1" if turn == 0 else "iou_last"] = overlaps[:, 0].mean()
    if turn == 0:
        chosen = scores[:, 1:].argmax(dim=1, keepdim=True)
        report["iou1_scored"] = overlaps[:, 1:].gather(1, chosen).mean()
        report["iou1_best"] = overlaps[:, 1:].amax(dim=1).mean()
