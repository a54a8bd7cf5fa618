"""`DecoderAdapter`: a fine-tuned mask decoder, kept as its difference from the frozen one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.fitting import TASK_SCHEDULE, Fitting
from samadapt.adapters.registry import register
from samadapt.adapters.weights import WeightChange, trainable_names
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(AdapterConfig):
    """Config of a fine-tuned decoder.

    Attributes:
        parameters: exact number of learned parameters; 0 until it is bound to a model.
    """

    method: str = "decoder"
    parameters: int = 0


@register("decoder")
class DecoderAdapter(WeightChange):
    """Fine-tunes every parameter of the mask decoder (seam 3); untrained, none differs.

    It is a baseline: as large as the decoder, and not regularised towards the frozen weights.
    """

    about = "the whole mask decoder"
    # A few steps on few masks need a higher rate than an epoch over photographs: on 16 masks of
    # hair and 60 steps the running IoU ended at 0.31 with 3e-5, at 0.51 with 3e-4.
    fitting = Fitting(
        recipe={"learning_rate": 3e-5},
        task_recipe={**TASK_SCHEDULE, "learning_rate": 3e-4},
        row="decoder",
    )
    config_class = DecoderConfig
    config: DecoderConfig

    def bind(self, model: SegmentationModel) -> None:
        """Tie this adapter to `model`, or check that it is the one it was made for."""
        super().bind(model)
        known = dict(model.decoder.named_parameters())
        names = trainable_names(model.decoder)
        if self.module is None:
            self._build({name: torch.zeros_like(known[name]) for name in names})
        elif tuple(sorted(names)) != tuple(sorted(self.module.names)):
            raise AdapterError(
                f"this 'decoder' adapter has other parameters than the mask decoder of "
                f"{model.identity}: train it again"
            )
        if self.module is not None:
            self.module.to(model.device)

    def changes(self) -> Mapping[str, Tensor]:
        """The differences, by parameter name."""
        return {} if self.module is None else self.module.named()
