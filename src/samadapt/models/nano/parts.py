"""nano as parts that can be exported."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from samadapt.models.export_parts import CORNERS, ModelParts, PaddingPoints, PromptTensors
from samadapt.models.interface import DecoderOutput, PromptEmbedding
from samadapt.models.nano.encoder import NanoFeatures
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.prompt_encoder import PADDING, EncodedPrompts, PromptBatch
from samadapt.models.parts.preprocessing import Preprocessing


class NanoParts(ModelParts):
    """nano's encoder, prompt encoder and decoder; image sizes may vary."""

    padding = PaddingPoints(nothing=1)
    features = ("image", "keys", "fine")

    def __init__(self, network: NanoNetwork, preprocessing: Preprocessing) -> None:
        self._network = network
        self.preprocessing = preprocessing
        self.encoder: nn.Module = network.encoder
        self.modules = (network.prompt_encoder,)

    def embed(self, features: Mapping[str, Tensor], prompts: PromptTensors) -> PromptEmbedding:
        """Embed prompts; the corners of a box are tokens like clicks, and define the box maps."""
        encoder, points = self._network.prompt_encoder, prompts.points + 0.5
        corner = prompts.labels[..., None] == torch.tensor(CORNERS)
        is_corner = corner.any(dim=-1)
        batch = PromptBatch(
            points,
            prompts.labels.masked_fill(is_corner, PADDING),
            (points[..., None, :] * corner[..., None]).sum(1).flatten(1),
            corner.any(dim=1).all(dim=1),
            prompts.masks,
            prompts.has_masks,
        )
        encoded = encoder(_expanded(features, points.shape[0]), batch)
        # The encoder's own corner tokens come last, for a prompt with or without a box.
        kinds = encoder.kinds(prompts.labels.clamp_min(0))
        corners = encoder.positions(points / encoder.config.input_side) + kinds
        tokens = torch.where(is_corner[..., None], corners, encoded.tokens[:, : points.shape[1]])
        bias = encoded.token_bias[:, : points.shape[1]].masked_fill(is_corner, 0.0)
        return PromptEmbedding(tokens, encoded.dense, bias, encoded.prior, (encoded.fine,))

    def decode(
        self, decoder: nn.Module, features: Mapping[str, Tensor], prompts: PromptEmbedding
    ) -> DecoderOutput:
        """Return all four masks, which the decoder always computes."""
        seen = _expanded(features, prompts.tokens.shape[0])
        bias, prior = prompts.bias, prompts.prior
        if bias is None or prior is None:
            raise ValueError("nano's mask decoder needs a bias for its tokens and a prior")
        encoded = EncodedPrompts(prompts.tokens, bias, prompts.dense, prior, *prompts.extra)
        positions = self._network.positions(seen)
        return DecoderOutput(*decoder(seen.image, seen.fine, positions, encoded))


def _expanded(features: Mapping[str, Tensor], count: int) -> NanoFeatures:
    named = (features[name].expand(count, -1, -1, -1) for name in NanoParts.features)
    return NanoFeatures(*named)
