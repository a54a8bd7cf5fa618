"""SAM, SAM-HQ and SAM 2 as parts that can be exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from samadapt.models.export_parts import CORNERS, ModelParts, PaddingPoints, PromptTensors
from samadapt.models.interface import DecoderOutput, PromptEmbedding
from samadapt.models.parts.preprocessing import Preprocessing

Encode = Callable[[Tensor], dict[str, Tensor]]
DecoderInputs = Callable[[dict[str, Tensor]], dict[str, Any]]


class TransformersParts(ModelParts):
    """A SAM-like network of transformers; the input has one size.

    Args:
        network: of transformers.
        preprocessing: the family's.
        positions: (1, C, h, w) positional encoding of the image features.
        padding: the family's.
        corners: embeddings (1, C) of a box's two corners, where the network's own code for points
            does not add them.
        features: names of the encoder's outputs.
        encode: the family's encoder.
        decoder_inputs: returns further inputs of the family's decoder besides the image.
    """

    def __init__(
        self,
        network: Any,
        preprocessing: Preprocessing,
        positions: Tensor,
        padding: PaddingPoints,
        corners: Sequence[Tensor],
        features: tuple[str, ...],
        encode: Encode,
        decoder_inputs: DecoderInputs,
    ) -> None:
        self.preprocessing, self.padding, self.features = preprocessing, padding, features
        self.encoder: nn.Module = _Encoder(network, encode, features)
        self.modules = (network.prompt_encoder,)
        self._prompt_encoder, self._positions = network.prompt_encoder, positions
        self._corners, self._decoder_inputs = tuple(corners), decoder_inputs

    def embed(self, features: Mapping[str, Tensor], prompts: PromptTensors) -> PromptEmbedding:
        """Return tokens and, where there are earlier logits, their embedding."""
        labels = prompts.labels[:, None]
        tokens = self._prompt_encoder._embed_points(prompts.points[:, None], labels, pad=False)
        for label, corner in zip(CORNERS, self._corners, strict=False):
            tokens = torch.where((labels == label)[..., None], tokens + corner, tokens)
        without = self._prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        given = self._prompt_encoder.mask_embed(prompts.masks)
        dense = torch.where(prompts.has_masks.view(-1, 1, 1, 1), given, without)
        return PromptEmbedding(tokens[:, 0], dense)

    def decode(
        self, decoder: nn.Module, features: Mapping[str, Tensor], prompts: PromptEmbedding
    ) -> DecoderOutput:
        """Call the decoder twice, for the single mask and for the candidates.

        It chooses among its masks itself. Exporters and runtimes merge equal nodes of a graph, so
        that the common part of the two calls is computed once.
        """
        count = prompts.tokens.shape[0]
        expanded = {
            name: tensor.expand(count, *tensor.shape[1:]) for name, tensor in features.items()
        }
        answers = [
            decoder(
                image_embeddings=expanded["image"],
                image_positional_embeddings=self._positions.expand(count, -1, -1, -1),
                sparse_prompt_embeddings=prompts.tokens[:, None],
                dense_prompt_embeddings=prompts.dense,
                multimask_output=multimask,
                **self._decoder_inputs(expanded),
            )[:2]
            for multimask in (False, True)
        ]
        logits, scores = zip(*answers, strict=True)
        return DecoderOutput(torch.cat(logits, dim=2)[:, 0], torch.cat(scores, dim=2)[:, 0])


class _Encoder(nn.Module):
    """The image encoder: pixels to named features, in order."""

    def __init__(self, network: Any, encode: Encode, features: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self._encode, self._features = encode, features

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        found = self._encode(pixels)
        return tuple(found[name] for name in self._features)
