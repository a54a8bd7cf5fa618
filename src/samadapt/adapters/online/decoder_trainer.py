"""`DecoderTrainer`: the decoder in training, with its losses and predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.adapters.base import Interaction
from samadapt.adapters.losses import (
    click_loss,
    distillation_loss,
    gaussian_click_loss,
    label_loss,
    score_loss,
)
from samadapt.adapters.online.optimiser import Moments, is_finite
from samadapt.adapters.online.pseudo_labels import distinct_clicks, labels_on_view
from samadapt.adapters.online.replay_sample import Example, ReplaySample
from samadapt.adapters.online.settings import OnlineSettings
from samadapt.adapters.online.weights import Layout, Workbench
from samadapt.clicks import click_per_error
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Click, Prompt


class Interrupted(Exception):  # noqa: N818 - a request, not an error
    """A step was interrupted because something more urgent waits."""


class NotFinite(Exception):  # noqa: N818 - handled where it happens
    """A loss, gradient or weight is NaN or infinite."""


class _Decoder(Seams):
    """Replaces the adapter's decoder with a given one."""

    def __init__(self, decoder: nn.Module) -> None:
        self._decoder = decoder

    def mask_decoder(self, base: nn.Module) -> nn.Module:
        return self._decoder


class DecoderTrainer:
    """Gradients and predictions of the decoder with any weights, as changes (P,) from the base.

    Args:
        interaction: with the model and the adapters whose decoder is the base.
        own: the adapter that learns.
        settings: select the parameters and losses.
        check: called between the decoder's layers.
    """

    def __init__(
        self,
        interaction: Interaction,
        own: Seams,
        settings: OnlineSettings,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._own = own
        self._settings = settings
        self._model = interaction.model
        self._base = _base_decoder(interaction, own)
        self.layout = Layout(self._base)
        self._work = Workbench(self._base, self.layout, check)
        self._check = check or (lambda: None)

    def fits(self, interaction: Interaction) -> bool:
        """Return True if this trainer was made for the interaction's base decoder."""
        return _base_decoder(interaction, self._own) is self._base

    def zeros(self) -> Tensor:
        """No change."""
        return torch.zeros_like(self._work.base)

    def seams(self, interaction: Interaction, delta: Tensor | None) -> tuple[Seams, ...]:
        """The interaction's adapters, `own` with the given weights; valid until the next call.

        Without a change the trainer's decoder gets the base weights, so that these predictions
        can be interrupted as well.
        """
        decoder = self._work.load(self._work.base if delta is None else self._work.base + delta)
        return tuple(_Decoder(decoder) if a is self._own else a for a in interaction.adapters)

    def mask_of(self, delta: Tensor, interaction: Interaction, prompt: Prompt) -> NDArray[np.bool_]:
        """The mask (H, W) that answers `prompt` with the given weights."""
        seams = self.seams(interaction, delta)
        found = self._model.predict(interaction.embedding, prompt, adapters=seams)
        return np.asarray(found.masks[0])

    # -- clicks ---------------------------------------------------------------------------

    def click_steps(
        self,
        delta: Tensor,
        moments: Moments,
        interaction: Interaction,
        clicks: Sequence[Click],
    ) -> tuple[Tensor, Moments]:
        """Optimise on `clicks`, for the interaction's last prompt.

        Raises:
            NotFinite: the loss or the weights are not finite.
        """
        click = self._settings.click
        prompt = interaction.prompts[-1]
        view = self._model.view(interaction.embedding, prompt)
        labelled = distinct_clicks(clicks, interaction.embedding.original_size)
        for _ in range(click.steps):
            seams = self.seams(interaction, delta)
            logits = self._decode(view, prompt, seams)
            loss = self._click_loss(logits, labelled, view, interaction, seams)
            delta, moments = click.descent.step(delta, self._gradient(loss), moments)
        if not is_finite(delta):
            raise NotFinite
        return delta, moments

    def _click_loss(
        self,
        logits: Tensor,
        clicks: Sequence[Click],
        view: ImageEmbedding,
        interaction: Interaction,
        seams: tuple[Seams, ...],
    ) -> Tensor:
        click = self._settings.click
        if click.loss == "gaussian":
            return gaussian_click_loss(logits, clicks, view.geometry, click.sigma)
        loss = click_loss(logits, clicks, view.geometry)
        if click.loss == "distill" and len(interaction.prompts) > 1:
            student = self._decode(view, interaction.prompts[-2], seams)
            valid = view.geometry.valid(_grid(logits), logits.device)
            loss = loss + click.distillation * distillation_loss(student, logits, valid)
        return loss

    # -- accepted objects -------------------------------------------------------------------

    def gradient(
        self,
        delta: Tensor,
        interaction: Interaction,
        chosen: Sequence[tuple[ReplaySample, str, Example]],
    ) -> Tensor:
        """Gradient (P,) of the sum of the losses of some examples.

        Raises:
            NotFinite: a loss or gradient is not finite.
        """
        seams = self.seams(interaction, delta)
        total = self.zeros()
        for sample, kind, example in chosen:
            loss = self._sample_loss(sample, kind, example, seams)
            total += self._gradient(loss)
        return total

    def _sample_loss(
        self, sample: ReplaySample, kind: str, example: Example, seams: tuple[Seams, ...]
    ) -> Tensor:
        accept, view, prompt = self._settings.accept, example.view, example.prompt
        if kind == "corrected":
            prompt = self._corrected(sample, example, seams)
        output = self._model.decode(view, [prompt], example.multimask, seams)
        logits = output.logits.float()
        self._check()
        labels = labels_on_view(
            sample.mask,
            sample.clicks,
            view.geometry,
            _grid(logits),
            accept.erosion,
            accept.erosion_share,
            sample.painted,
        )
        by_mask, by_clicks = 1.0, accept.clicks
        if not sample.is_accepted:
            by_mask, by_clicks = self._settings.skip.mask, self._settings.skip.clicks
        clicks = distinct_clicks(sample.clicks, sample.mask.shape)
        losses = []
        for index in range(logits.shape[1]):
            candidate = logits[:, index : index + 1]
            loss = by_mask * label_loss(
                candidate, labels, accept.entropy, accept.dice, accept.focal
            )
            if by_clicks and clicks:
                loss = loss + by_clicks * click_loss(candidate, clicks, view.geometry)
            losses.append(loss)
        if len(losses) == 1:
            return losses[0]
        # Improve the best candidate, and teach the scores of all candidates.
        return torch.stack(losses).min() + by_mask * score_loss(logits, output.scores, labels)

    def _corrected(
        self, sample: ReplaySample, example: Example, seams: tuple[Seams, ...]
    ) -> Prompt:
        """The first prompt with its predicted mask and one click per error in it."""
        view, first = example.view, example.prompt
        with torch.no_grad():
            logits = self._decode(view, first, seams)
            found = (view.geometry.to_original(logits)[0, 0] > 0).cpu().numpy()
        clicks = click_per_error(sample.mask, found, self._settings.accept.errors)
        grid = logits[0, 0].cpu().numpy()
        if not np.isfinite(grid).all():
            raise NotFinite
        points = (*first.points, *((c.x, c.y) for c in clicks))
        labels = (*(first.labels or ()), *(c.label for c in clicks))
        return Prompt(points, labels, first.box, grid, view.geometry.window)

    # -- helpers ----------------------------------------------------------------------------

    def _decode(self, view: ImageEmbedding, prompt: Prompt, seams: tuple[Seams, ...]) -> Tensor:
        """Logits (1, 1, h, w)."""
        return self._model.decode(view, [prompt], adapters=seams).logits.float()

    def _gradient(self, loss: Tensor) -> Tensor:
        if not bool(torch.isfinite(loss)):
            raise NotFinite
        self._check()
        if not loss.requires_grad:  # no trained parameter has a part in this answer
            return self.zeros()
        gradient = self._work.gradient(loss)
        self._check()
        return gradient


def _base_decoder(interaction: Interaction, own: Seams) -> nn.Module:
    """The base decoder of the adapter: the model's, as changed by the adapters before it."""
    decoder = interaction.model.decoder
    for seam in interaction.adapters:
        if seam is own:
            break
        decoder = seam.mask_decoder(decoder)
    return decoder


def _grid(logits: Tensor) -> tuple[int, int]:
    return int(logits.shape[-2]), int(logits.shape[-1])
