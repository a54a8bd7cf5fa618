"""`PromptEvaluator`: IoU of the decoder at an object's prompts, with any weights."""

from __future__ import annotations

from torch import Tensor

from samadapt.adapters.base import Interaction
from samadapt.adapters.online.decoder_trainer import DecoderTrainer
from samadapt.adapters.online.evidence import first_answers
from samadapt.adapters.online.replay_sample import ReplaySample
from samadapt.metrics import iou
from samadapt.prompts import Prompt


class PromptEvaluator:
    """Compares predictions for an object's prompts with its accepted mask."""

    def __init__(
        self, trainer: DecoderTrainer, interaction: Interaction, sample: ReplaySample
    ) -> None:
        self._trainer, self._interaction = trainer, interaction
        self._first, self._mask = sample.examples["first"][0], sample.mask
        self.can_judge = self._first.prompt.mask is None

    def answers(self, delta: Tensor | None, clicks: int) -> tuple[float, float]:
        """IoU after the first prompt, and after one more click unless `clicks` is 0."""
        return first_answers(
            self._interaction.model,
            self._interaction.embedding,
            self._first.prompt,
            self._mask,
            self._trainer.seams(self._interaction, delta),
            self._first.multimask,
            clicks,
        )

    def first(self, delta: Tensor | None, known: float) -> float:
        """IoU after the first prompt; 0 without a prediction if `known`, an earlier IoU, is 0."""
        return self.answers(delta, clicks=0)[0] if known > 0 else 0.0

    def at(self, delta: Tensor | None, prompt: Prompt) -> float:
        """IoU of the prediction for any prompt that was sent."""
        now = self._interaction
        seams = self._trainer.seams(now, delta)
        return iou(now.model.predict(now.embedding, prompt, adapters=seams).masks[0], self._mask)
