"""`ModelParts`: a model as modules that work on tensors alone, which can be exported as graphs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from samadapt.models.interface import DecoderOutput, PromptEmbedding
from samadapt.models.parts.preprocessing import Preprocessing

PADDING = -1
"""Label of a padding point."""

CORNERS = (2, 3)
"""Labels of a box's top-left and bottom-right corners, which are points like clicks."""


@dataclass(frozen=True, slots=True)
class PaddingPoints:
    """Numbers of padding points that the model expects after a prompt's own points.

    Args:
        clicks: after clicks without a box.
        box: after the corners of a box, with or without clicks.
        nothing: for a prompt without clicks and box.
    """

    clicks: int = 0
    box: int = 0
    nothing: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PromptTensors:
    """P prompts of the same structure, as tensors.

    Attributes:
        points: (P, N, 2) clicks, then box corners, then padding, as (x, y) in input pixels whose
            centres lie at whole numbers (SAM's convention).
        labels: (P, N) long: 1 object, 0 background, else `CORNERS` and `PADDING`.
        masks: earlier logits (P, 1, h, w) on the decoder's grid.
        has_masks: (P,) bool; earlier logits count where it is true.
    """

    points: Tensor
    labels: Tensor
    masks: Tensor
    has_masks: Tensor


class ModelParts(ABC):
    """The parts of an exported model; a family that supports export implements this class.

    Every method consists of tensor operations for any sizes, without branches on values, so that
    it can be recorded as a graph.
    """

    preprocessing: Preprocessing
    padding: PaddingPoints
    features: tuple[str, ...]
    """Names of the encoder's outputs, "image" first."""
    encoder: nn.Module
    """Pixels (1, 3, H, W) to the features, in the order of `features`."""
    modules: tuple[nn.Module, ...]
    """All modules that `embed` and `decode` use, except the decoder."""

    @abstractmethod
    def embed(self, features: Mapping[str, Tensor], prompts: PromptTensors) -> PromptEmbedding:
        """Embed P prompts for features of one image (1, C, h, w)."""

    @abstractmethod
    def decode(
        self, decoder: nn.Module, features: Mapping[str, Tensor], prompts: PromptEmbedding
    ) -> DecoderOutput:
        """Logits (P, K, h, w) and scores (P, K): the single mask, then the candidates."""
