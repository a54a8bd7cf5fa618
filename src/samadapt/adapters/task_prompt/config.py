"""`TaskPromptConfig`: the config of a task's adapter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.fitting import TrainingFacts, Variant
from samadapt.adapters.task_prompt.few_masks import may_look_around
from samadapt.errors import AdapterError

_NO_CONTEXT = {"context": 0, "gain": 1.0, "doubt": 0.0}
_RETIRED = {"masks": 0, "few": 0, "few_apart": 8, "spread": 0.0, "alike": 0.11}
"""Fields that older configs have in place of `strength`, and their values where left out."""

VARIANTS = {
    "point-matching": Variant({"point_matching": True}, "refines outlines as well", "plm+pmm"),
    "shared-outline": Variant(
        {"point_matching": True, "shared": True},
        "refines outlines, and the prompt learns from them too, as in the paper",
    ),
    "no-context": Variant(_NO_CONTEXT, "a dense prompt without convolutions"),
    "sure": Variant(
        {"doubt": 0.0}, "a dense prompt that is neither shrunk nor gives way to clicks"
    ),
}


@dataclass(frozen=True, kw_only=True)
class TaskPromptConfig(AdapterConfig):
    """Config of a task's adapter.

    Attributes:
        category: the task: what its masks show. None until it is taught one.
        point_matching: whether the outline is refined too (PMM, at seam 4), trained together.
        outline: config of the part that does so; empty until the adapter meets a model.
        shared: whether the loss of its points reaches the prompt's part through the logits, as in
            the paper, rather than the points alone.
        tokens: how many learned tokens stand beside the prompt's own.
        scale: root mean square of these tokens at the start.
        heads: of both attentions.
        width: inner width of both attentions, a multiple of `heads`.
        hidden: width of the MLP.
        dense: hidden width of the task's dense prompt; 0 for none, which leaves tokens alone.
        context: convolutions in it, with which a place knows what is around it.
        gain: factor of what it adds.
        doubt: once learned, what it adds is shrunk to masks / (masks + doubt), because few masks
            make it too sure of itself on other images, and it gives way where a mask violates
            clicks; 0 for neither.
        strength: that factor, found when the adapter is fitted.
        has_prior: whether the model's decoder starts from a first guess that can be changed.
        seed: of the weights that do not start as zero or identity.
        channels: C of the model it belongs to; 0 until it meets one.
        cells: along the side of the model's input, see `DecoderSpec.position_cells`.
        parameters: exact number of learned parameters; 0 until it meets a model.
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
        least = {
            "tokens": 0,
            "heads": 1,
            "width": 1,
            "hidden": 1,
            "dense": 0,
            "context": 0,
            "channels": 0,
            "cells": 0,
        }
        for name, lowest in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise AdapterError(f"{name}={value!r}: use a whole number, {lowest} or more")
        if not (_is_finite(self.gain) and self.gain > 0):
            raise AdapterError(f"gain={self.gain!r}: use a positive number")
        if not (_is_finite(self.doubt) and self.doubt >= 0):
            raise AdapterError(f"doubt={self.doubt!r}: use a number, 0 or more")
        if not (_is_finite(self.strength) and 0 <= self.strength <= 1):
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
        """Whether the dense prompt gives way where a mask violates clicks."""
        return self.doubt > 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read values that `to_dict` returned, also those of earlier versions.

        Raises:
            AdapterError: unknown or missing fields, or bad values.
        """
        return super().from_dict(_without_retired({**_NO_CONTEXT, **values}))


def _without_retired(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a config without retired fields: what it decided with them is kept."""
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


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
