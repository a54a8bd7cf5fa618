"""Common base of SAM, SAM-HQ, SAM 2 and the SAM 3 tracker, on top of transformers.

Coordinates: samadapt's pixel centres lie at +0.5, and a click is a position, not a pixel index.
The prompt encoders of all these families (`SamPromptEncoder`, `SamHQPromptEncoder`,
`Sam2PromptEncoder`, `Sam3TrackerPromptEncoder`) take pixel indices, add 0.5 to points and to box
corners alike, and divide by the input's side. So a position x goes in as x * scale - 0.5.

Batches: B prompts enter as B images with one prompt each, the image features expanded over the
batch, because only then does each prompt have a dense (mask) prompt of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding, ModelIdentity
from samadapt.models.export_parts import ModelParts, PaddingPoints
from samadapt.models.hashing import hash_tensors
from samadapt.models.interface import DecoderOutput, DecoderSpec, PromptEmbedding, freeze
from samadapt.models.parts.export import TransformersParts
from samadapt.models.parts.preprocessing import Preprocessing
from samadapt.models.precision import cast_matrix_layers
from samadapt.models.registry import LoadOptions, refuse_hq_token_only
from samadapt.models.seams import install_mask_attention_seam
from samadapt.prompts import Box, Prompt

_LOGITS_PER_CELL = 4
"""The decoder up-samples the image features by this factor; mask prompts have the same size."""


class TransformersModel(SegmentationModel):
    """A SAM-like network of transformers behind the family's interface.

    Args:
        network: with its weights loaded, on the CPU, in float32. It is changed in place.
        name: stable name of the weights, part of the identity.
        preprocessing: the family's.
        device: where to run.
        encoder_dtype: float32 or bfloat16; only the image encoder computes in it.
    """

    _mask_token: ClassVar[int] = 1
    """Index of the first mask token; a decoder's first token predicts IoUs."""
    _features: ClassVar[tuple[str, ...]] = ("image",)
    """Names of the features that `_encode` returns."""

    def __init__(
        self,
        network: Any,
        name: str,
        preprocessing: Preprocessing,
        device: torch.device | str = "cpu",
        encoder_dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device = torch.device(device)
        self.encoder_dtype = encoder_dtype
        self.preprocessing = preprocessing.name
        self._preprocessing = preprocessing
        self.identity = ModelIdentity(name, hash_tensors(network.state_dict()))
        self.network = network.to(self.device)
        self.decoder: nn.Module = network.mask_decoder
        self.spec = DecoderSpec(
            width=int(network.mask_decoder.hidden_size),
            logits_per_cell=_LOGITS_PER_CELL,
            position_frequencies=network.shared_image_embedding.positional_embedding.detach(),
            mask_token=self._mask_token,
            module_path="mask_decoder",
        )
        install_mask_attention_seam(
            network.mask_decoder.transformer.layers[-1].cross_attn_token_to_image
        )
        with torch.no_grad():
            self._positions: Tensor = network.get_image_wide_positional_embeddings()
            self._prepare_encoder(network.vision_encoder)
        if encoder_dtype != torch.float32:
            cast_matrix_layers(network.vision_encoder, encoder_dtype)
        freeze(network)

    @classmethod
    def wrap(cls, network: Any, name: str, options: LoadOptions) -> Self:
        """A model around a loaded network.

        Raises:
            ModelError: an option that this family does not have.
        """
        refuse_hq_token_only(options, name)
        build: Any = cls
        loaded: Self = build(network, name, options.device, options.encoder_dtype)
        return loaded

    # -- what a family implements ---------------------------------------------------------

    @abstractmethod
    def _prepare_encoder(self, encoder: Any) -> None:
        """Make the image encoder faster without changing its output."""

    @abstractmethod
    def _encode(self, pixels: Tensor) -> dict[str, Tensor]:
        """Named features of an input (1, 3, side, side)."""

    @abstractmethod
    def _no_tokens(self, count: int) -> Tensor:
        """Sparse tokens (B, N, C) of B prompts that have neither points nor a box."""

    @abstractmethod
    def _decoder_inputs(self, features: dict[str, Tensor]) -> dict[str, Any]:
        """Inputs of the family's decoder besides the image; features are expanded to B."""

    @abstractmethod
    def _exported_prompts(self) -> tuple[PaddingPoints, tuple[Tensor, ...]]:
        """Padding, and the embeddings of a box's corners, for export."""

    # -- the interface ----------------------------------------------------------------------

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode one RGB image (H, W, 3) uint8."""
        geometry = self._preprocessing.geometry((pixels.shape[0], pixels.shape[1]))
        values = self._preprocessing.apply(pixels, geometry)
        reduced = self.encoder_dtype != torch.float32
        precision = torch.autocast(self.device.type, torch.bfloat16, enabled=reduced)
        with torch.no_grad(), precision:
            found = self._encode(values.to(self.device))
        features = {name: tensor.float().contiguous() for name, tensor in found.items()}
        return ImageEmbedding(features, geometry, self.identity, self.preprocessing)

    def embed_prompts(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], masks: Tensor | None
    ) -> PromptEmbedding:
        """Tokens (B, N, C) and dense embedding (B, C, h, w) of B prompts of one structure.

        Points come first, then the two box corners; the family adds its "not a point" token.
        """
        points, labels, boxes = self._coordinates(embedding, prompts)
        sparse, dense = self.network.prompt_encoder(
            input_points=points, input_labels=labels, input_boxes=boxes, input_masks=masks
        )
        tokens = self._no_tokens(len(prompts)) if sparse is None else sparse[:, 0]
        return PromptEmbedding(tokens, dense)

    def run_decoder(
        self,
        decoder: nn.Module,
        embedding: ImageEmbedding,
        prompts: PromptEmbedding,
        multimask: bool,
    ) -> DecoderOutput:
        """Logits (B, K, h, w) and scores (B, K); K is 1 (mask token 0), or 3 if multimask."""
        count = prompts.tokens.shape[0]
        features = {
            name: tensor.to(self.device).expand(count, *tensor.shape[1:])
            for name, tensor in embedding.features.items()
        }
        logits, scores = decoder(
            image_embeddings=features["image"],
            image_positional_embeddings=self._positions.expand(count, -1, -1, -1),
            sparse_prompt_embeddings=prompts.tokens[:, None],
            dense_prompt_embeddings=prompts.dense,
            multimask_output=multimask,
            **self._decoder_inputs(features),
        )[:2]
        return DecoderOutput(logits[:, 0], scores[:, 0])

    def parts(self) -> ModelParts:
        """The network as modules that work on tensors alone, for export."""
        padding, corners = self._exported_prompts()
        return TransformersParts(
            self.network,
            self._preprocessing,
            self._positions,
            padding,
            corners,
            self._features,
            self._encode,
            self._decoder_inputs,
        )

    def _coordinates(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Points (B, 1, N, 2), labels (B, 1, N) and boxes (B, 1, 4) as pixel indices."""
        to_input = embedding.geometry.to_input
        points = labels = boxes = None
        if prompts[0].points:
            points = to_input(torch.tensor([p.points for p in prompts]))[:, None] - 0.5
            labels = torch.tensor([p.labels for p in prompts])[:, None]
        corners = [p.box.as_tuple() for p in prompts if isinstance(p.box, Box)]
        if corners:
            pairs = to_input(torch.tensor(corners).view(-1, 2, 2)) - 0.5
            boxes = pairs.view(-1, 1, 4)
        given = (None if t is None else t.to(self.device) for t in (points, labels, boxes))
        return next(given), next(given), next(given)
