"""`ModelInterface`: the interface of a model family, and the values that pass through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.errors import ModelError
from samadapt.models.embedding import ImageEmbedding, ModelIdentity
from samadapt.models.geometry import InputGeometry, Window
from samadapt.prompts import Prompt

if TYPE_CHECKING:
    from samadapt.models.export_parts import ModelParts


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSpec:
    """Description of a family's mask decoder, for the predictor and for adapters.

    Attributes:
        width: C, channels of tokens and image features.
        logits_per_cell: cells of the logits along each side of a cell of the image features.
        position_cells: length, in cells, by which positions are divided; 0 stands for the longer
            side of the image features.
        position_frequencies: (2, C/2) of the random Fourier features that positions are encoded
            with (Tancik et al. 2020); None where the family encodes them in another way.
        mask_token: index of the first mask token among the decoder's output tokens.
        has_prior: whether the decoder adds a first guess at the mask, `PromptEmbedding.prior`.
        close_up_side: longer side, in pixels, of the input for a close-up of a small object; 0
            for a family without close-ups.
        module_path: dotted name of the decoder in the whole network, for adapter files of other
            libraries; empty for a decoder that is no part of one.
        sequential_clicks: whether several clicks given at once are answered one after the other,
            for a model that was trained with corrections.
        drops_unclicked_parts: whether the parts of a mask that hold no click on the object are
            removed, see `samadapt.models.clicked_parts`.
        takes_adapters: whether the decoder has seams and gradients; an exported one has neither.
        has_merged_dense: whether an adapter's change of the dense prompt is merged into the
            decoder; `PromptEmbedding.own_dense` leaves it out.
    """

    width: int
    logits_per_cell: int = 4
    position_cells: int = 0
    position_frequencies: Tensor | None = field(default=None, repr=False, compare=False)
    mask_token: int = 1
    has_prior: bool = False
    close_up_side: int = 0
    module_path: str = ""
    sequential_clicks: bool = False
    drops_unclicked_parts: bool = False
    takes_adapters: bool = True
    has_merged_dense: bool = False

    @property
    def has_close_ups(self) -> bool:
        """Whether the family encodes close-ups."""
        return self.close_up_side > 0


@dataclass(frozen=True, slots=True, eq=False)
class PromptEmbedding:
    """B prompts of the same structure as the mask decoder takes them; seam 1 changes them.

    Attributes:
        tokens: sparse prompt tokens (B, N, C).
        dense: dense prompt, (B, C, h, w) or broadcastable to it, added to the image features.
        bias: (B, N) added to attention scores over the tokens, 0 for a token that is seen; None
            for a decoder that sees them all.
        prior: (B, 1, h, w) logits of a first guess; None for a decoder without one.
        extra: other inputs of the family's decoder; adapters leave them alone.
        keeps_dense: whether adapters keep their dense map and prior where a mask violates
            clicks; otherwise the predictor uses the model's own there.
        own_dense: whether a decoder with a merged change of the dense prompt leaves it out.
    """

    tokens: Tensor
    dense: Tensor
    bias: Tensor | None = None
    prior: Tensor | None = None
    extra: tuple[Tensor, ...] = ()
    keeps_dense: bool = False
    own_dense: bool = False

    def with_tokens(self, tokens: Tensor) -> PromptEmbedding:
        """Return the prompt with other tokens (B, M, C), M >= N; added ones are never padding."""
        further = tokens.shape[1] - self.tokens.shape[1]
        bias = self.bias if self.bias is None or not further else F.pad(self.bias, (0, further))
        return replace(self, tokens=tokens, bias=bias)


@dataclass(frozen=True, slots=True, eq=False)
class DecoderOutput:
    """Differentiable output of the mask decoder.

    Attributes:
        logits: (B, K, h, w) at the decoder's resolution, over the padded input.
        scores: (B, K) predicted IoU.
    """

    logits: Tensor
    scores: Tensor


class ModelInterface(ABC):
    """The parts of a promptable model: frozen encoder, prompt encoder and mask decoder.

    A model is always in evaluation mode and its parameters never ask for gradients; adapters
    that learn work on copies (seam 3) or on their own parameters. A family derives from
    `SegmentationModel`, which adds the predictor.
    """

    identity: ModelIdentity
    preprocessing: str
    """Name and version of the preprocessing; part of every cache key."""
    device: torch.device
    encoder_dtype: torch.dtype
    """Type in which images are encoded, and prompts decoded where no gradients are recorded.

    Embeddings, logits and scores themselves are always float32.
    """
    runtime: str = "torch"
    """Runtime of the image encoder: torch or onnxruntime."""
    decoder: nn.Module
    """The mask decoder, seam 3. Adapters copy it, nothing changes it in place."""
    spec: DecoderSpec
    """Description of the decoder."""

    @abstractmethod
    def encode_pixels(self, pixels: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode one RGB image (H, W, 3) uint8."""

    def encode_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[ImageEmbedding]:
        """Encode RGB images (H, W, 3) uint8 of any sizes; a family with a faster way overrides it.

        Returns:
            One embedding per image, equal to that of `encode_pixels` but for rounding.
        """
        return [self.encode_pixels(pixels) for pixels in images]

    @abstractmethod
    def embed_prompts(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], masks: Tensor | None
    ) -> PromptEmbedding:
        """Embed B prompts that have the same number of points and all or none a box.

        Args:
            embedding: the image.
            prompts: B of them.
            masks: earlier logits (B, 1, h, w) on the decoder's grid, or None.
        """

    @abstractmethod
    def run_decoder(
        self,
        decoder: nn.Module,
        embedding: ImageEmbedding,
        prompts: PromptEmbedding,
        multimask: bool,
    ) -> DecoderOutput:
        """Run `decoder` (this model's, or an adapter's copy of it). K is 1, or 3 if multimask."""

    def input_geometry(self, original: tuple[int, int], window: Window | None) -> InputGeometry:
        """Geometry of the input for an image of size (H, W), or for a window of it.

        Families whose `spec` has close-ups implement it, and `encode_window`.
        """
        raise ModelError(f"{self.identity.name} takes no close-ups")

    def encode_window(self, embedding: ImageEmbedding, window: Window) -> ImageEmbedding:
        """Encode a close-up: a window of the image whose pixels `embedding` keeps."""
        raise ModelError(f"{self.identity.name} takes no close-ups")

    def overview(self, embedding: ImageEmbedding) -> ImageEmbedding | None:
        """The image of `embedding` at half the resolution, on which decoder calls cost a quarter.

        None if the family has one input size, or if `embedding` keeps no pixels.
        """
        return None

    def parts(self) -> ModelParts:
        """The model as modules that work on tensors alone, for export.

        Raises:
            ModelError: the family has none.
        """
        raise ModelError(f"{self.identity.name} cannot be exported: its family has no parts for it")

    def logits_size(self, embedding: ImageEmbedding) -> tuple[int, int]:
        """(h, w) of the decoder's logits for this image."""
        height, width = embedding.grid
        return height * self.spec.logits_per_cell, width * self.spec.logits_per_cell


def freeze(module: nn.Module) -> nn.Module:
    """Put `module` into evaluation mode and stop gradients to its parameters."""
    return module.eval().requires_grad_(False)
