"""`TaskPromptConfig`: the settings of a task's adapter, and what its folder says of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.fitting import TrainingFacts, Variant
from samadapt.errors import AdapterError

_NO_CONTEXT = {"context": 0, "gain": 1.0, "doubt": 0.0, "few": 0}

VARIANTS = {
    "point-matching": Variant({"point_matching": True}, "refines outlines as well", "plm+pmm"),
    "shared-outline": Variant(
        {"point_matching": True, "shared": True},
        "refines outlines, and the prompt learns from them too, as in the paper",
    ),
    "no-tokens": Variant({"tokens": 0}, "no learned tokens beside the prompt's own"),
    "no-context": Variant(_NO_CONTEXT, "a dense prompt without convolutions"),
    "sure": Variant(
        {"doubt": 0.0}, "a dense prompt that is neither shrunk nor gives way to clicks"
    ),
    "no-dense": Variant({"dense": 0}, "no dense prompt: tokens alone"),
    "plain": Variant({"tokens": 0, "dense": 0}, "the prompt's own tokens alone"),
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
        doubt: once learned, what it adds is shrunk by masks / (masks + doubt), since what few
            masks taught is too sure of itself on other images, and gives way where a mask violates
            clicks; 0 for neither.
        masks: how many it learns from; 0 if that is not known, and then nothing is shrunk.
        few: fewer masks than that teach convolutions nothing but themselves: there are none then,
            no gain and nothing is shrunk.
        few_apart: the same for masks that do not lie alike, see `spread`: where things are has to
            be learned from more of them.
        spread: how far apart its masks lie: root mean square distance of their boxes' centres from
            the mean of the centres, the sides of the image being 1; 0 if that is not known.
        alike: the largest spread of masks that lie alike.
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
    masks: int = 0
    few: int = 4
    few_apart: int = 8
    spread: float = 0.0
    alike: float = 0.11
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
            "masks": 0,
            "few": 0,
            "few_apart": 0,
            "channels": 0,
            "cells": 0,
        }
        for name, lowest in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise AdapterError(f"{name}={value!r}: use a whole number, {lowest} or more")
        if not (_is_finite(self.gain) and self.gain > 0):
            raise AdapterError(f"gain={self.gain!r}: use a positive number")
        for name in ("doubt", "spread", "alike"):
            value = getattr(self, name)
            if not (_is_finite(value) and value >= 0):
                raise AdapterError(f"{name}={value!r}: use a number, 0 or more")
        if self.width % self.heads:
            raise AdapterError(f"width={self.width}: use a multiple of the {self.heads} heads")
        if self.category is not None and not (self.category and isinstance(self.category, str)):
            raise AdapterError(f"category={self.category!r}: use the task's name")

    def for_training(self, facts: TrainingFacts) -> Self:
        """The config with the number of masks and how far apart they lie."""
        spread = round(facts.position_spread(), 4)
        return replace(self.seeded(facts.seed), masks=facts.masks, spread=spread)

    @property
    def yields_to_clicks(self) -> bool:
        """Whether the dense prompt gives way where a mask violates clicks."""
        return self.masks > 0 and self.doubt > 0

    @property
    def strength(self) -> float:
        """Factor of what the dense prompt adds, once it is learned: 0 to 1."""
        return self.masks / (self.masks + self.doubt) if self.looks_around and self.masks else 1.0

    @property
    def looks_around(self) -> bool:
        """Whether the dense prompt has convolutions."""
        few = self.few if self.spread <= self.alike else self.few_apart
        return self.context > 0 and not 0 < self.masks < few

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; what older configs do not name stays as it was then.

        Raises:
            AdapterError: unknown or missing fields, or bad values.
        """
        return super().from_dict({**_NO_CONTEXT, **values})


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
