"""`ReplaySample`: mask, clicks and prompts of one finished object."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from samadapt.adapters.base import Interaction
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Click, Prompt


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A prompt and the view of the image on which it is decoded, perhaps with candidates."""

    view: ImageEmbedding
    prompt: Prompt
    multimask: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ReplaySample:
    """Mask, clicks and prompts of one finished object.

    Attributes:
        mask: the last mask (H, W) bool.
        clicks: all clicks in force at the end.
        examples: by the names of `settings.PROMPTS`, without "any", which draws one of the others.
        is_accepted: False for a skipped object, of which only the clicks are reliable.
        painted: pixels (H, W) that were painted or erased with the brush; None without any.
    """

    mask: NDArray[np.bool_]
    clicks: tuple[Click, ...]
    examples: dict[str, tuple[Example, ...]]
    is_accepted: bool = True
    painted: NDArray[np.bool_] | None = None

    def draw(self, prompt: str, rng: Generator) -> Example | None:
        """The example for a kind of prompt; None when this sample has none."""
        if prompt == "any":
            choices = self.examples.get("sent") or self.examples.get("first", ())
        else:
            choices = self.examples.get("first" if prompt == "corrected" else prompt, ())
        return choices[int(rng.integers(len(choices)))] if choices else None


def replay_sample_of(
    model: SegmentationModel,
    interaction: Interaction,
    mask: NDArray[np.bool_],
    prompts: Collection[str],
    *,
    is_accepted: bool = True,
    candidates: bool = False,
) -> ReplaySample:
    """Return the replay sample of an interaction that ended with `mask`.

    Args:
        model: answered the prompts.
        interaction: the object when it ended.
        mask: the last mask (H, W).
        prompts: kinds of prompts to keep; "first" is always kept.
        is_accepted: whether the person accepted it.
        candidates: whether single clicks were answered with several masks.
    """

    def example(prompt: Prompt, has_candidates: bool = False) -> Example:
        is_single = len(prompt.points) == 1 and prompt.box is None
        view = model.view(interaction.embedding, prompt)
        return Example(view, prompt, has_candidates and is_single)

    sent = interaction.prompts
    examples: dict[str, tuple[Example, ...]] = {}
    if sent:
        examples["first"] = (example(sent[0], candidates),)
    if sent and "last" in prompts:
        examples["last"] = (example(sent[-1], candidates),)
    if "any" in prompts:
        examples["sent"] = tuple(example(prompt, candidates) for prompt in sent)
    if "all" in prompts and (interaction.clicks or interaction.box is not None):
        examples["all"] = (example(Prompt.from_clicks(interaction.clicks, interaction.box)),)
    painted = interaction.painted if is_accepted else None
    return ReplaySample(mask, interaction.clicks, examples, is_accepted, painted)
