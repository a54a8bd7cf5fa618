"""`TaskPromptConfig`: the config of a task's adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.fitting import TrainingFacts, Variant
from samadapt.adapters.task_prompt.few_masks import may_look_around
from samadapt.errors import AdapterError

_NO_CONTEXT = {"context": 0, "gain": 1.0, "doubt": 0.0}
_RETIRED = {"masks": 0, "few": 0, "few_apart": 8, "spread": 0.0, "alike": 0.11}
"""Fields of older configs in place of `strength`, with their defaults."""

VARIANTS = {
    "point-matching": Variant({"point_matching": True}, "refines outlines as well", "plm+pmm"),
    "shared-outline": Variant(
        {"point_matching": True, "shared": True},
        "refines outlines, whose loss also trains the prompt, as in the paper",
    ),
    "no-context": Variant(_NO_CONTEXT, "a dense prompt without convolutions"),
    "sure": Variant({"doubt": 0.0}, "a dense prompt that is neither shrunk nor yields to clicks"),
}


@dataclass(frozen=True, kw_only=True)
class TaskPromptConfig(AdapterConfig):
    """Config of a task's adapter.

    Attributes:
        category: name of the task, the category of its masks. None until it is taught one.
        point_matching: whether the outline is refined too (PMM, at seam 4), trained together.
        outline: config of the point matching; empty until the adapter is bound to a model.
        shared: whether the loss of its points also trains the prompt module, through the logits,
            as in the paper.
        tokens: number of learned task tokens.
        scale: root mean square of these tokens at the start.
        heads: of both attentions.
        width: inner width of both attentions, a multiple of `heads`.
        hidden: width of the MLP.
        dense: hidden width of the task's dense prompt; 0 for an adapter of tokens alone.
        context: number of convolutions in the dense prompt, which see the surroundings.
        gain: factor of the dense prompt.
        doubt: after training the dense prompt is scaled by masks / (masks + doubt), because with
            few masks it is overconfident on other images, and it yields where a mask violates
            clicks; 0 for neither.
        strength: that factor, set when the adapter is fitted.
        has_prior: whether the model's decoder has a prior.
        seed: of the weights that do not start as zero or identity.
        channels: C of its model; 0 until it is bound to one.
        cells: along the side of the model's input, see `DecoderSpec.position_cells`.
        parameters: exact number of learned parameters; 0 until it is bound to a model.
    """

    method: str = "task-prompt"
    category: str | None = None
    point_matching: bool = False
    outline: Mapping[str, Any] = field(default_factory=dict)
    shared: bool = False
    tokens: int = 8
    scale: float = 0.5
    heads: int = 8
    width: int = 64
    hidden: int = 256
    dense: int = 64
    context: int = 3
    gain: float = 20.0
    doubt: float = 5.0
    strength: float = 1.0
    has_prior: bool = False
    seed: int = 0
    channels: int = 0
    cells: int = 0
    parameters: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_whole(0, "tokens", "dense", "context", "channels", "cells")
        self.check_whole(1, "heads", "width", "hidden")
        self.check_positive("gain")
        self.check_positive("doubt", "strength", or_zero=True)
        if self.strength > 1:
            raise AdapterError(f"strength={self.strength!r}: use a number from 0 to 1")
        if self.width % self.heads:
            raise AdapterError(f"width={self.width}: use a multiple of the {self.heads} heads")
        if self.category is not None and not (self.category and isinstance(self.category, str)):
            raise AdapterError(f"category={self.category!r}: use the task's name")

    def for_training(self, facts: TrainingFacts) -> Self:
        """Return the config for the number and positions of the training masks."""
        spread = round(facts.position_spread(), 4)
        found = {"masks": facts.masks, "position_spread": spread}
        config = replace(self.seeded(facts.seed), training_data=found)
        if not config.context:
            return config
        if not may_look_around(facts.masks, spread):
            return replace(config, context=0, gain=1.0)
        return replace(config, strength=facts.masks / (facts.masks + self.doubt))

    @property
    def yields_to_clicks(self) -> bool:
        """Whether the dense prompt yields where a mask violates clicks."""
        return self.doubt > 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read values that `to_dict` of this or an earlier version returned.

        Raises:
            AdapterError: unknown or missing fields, or bad values.
        """
        return super().from_dict(_without_retired({**_NO_CONTEXT, **values}))


def _without_retired(values: dict[str, Any]) -> dict[str, Any]:
    """Replace the retired fields of a config by the equivalent present ones."""
    if not _RETIRED.keys() & values.keys():
        return values
    old = {name: values.pop(name, default) for name, default in _RETIRED.items()}
    least = old["few"] if old["spread"] <= old["alike"] else old["few_apart"]
    masks = old["masks"]
    if values["context"] and 0 < masks < least:
        values |= {"context": 0, "gain": 1.0}
    if values["context"] and masks:
        values["strength"] = masks / (masks + values["doubt"])
    if not masks:
        values["doubt"] = 0.0
    found = {"masks": masks, "position_spread": old["spread"]}
    return {**values, "training_data": {**found, **values.get("training_data", {})}}
