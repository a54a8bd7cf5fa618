"""`NanoModel`: the small model that ships with samadapt, behind the family's interface."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from samadapt.models.base import (
    DecoderOutput,
    PromptEmbedding,
    SegmentationModel,
    freeze,
)
from samadapt.models.embedding import ImageEmbedding, ModelIdentity
from samadapt.models.geometry import InputGeometry
from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.encoder import NanoFeatures, channels_last
from samadapt.models.nano.fusing import fuse_batch_norms
from samadapt.models.nano.network import place
from samadapt.models.nano.prompt_encoder import EncodedPrompts, PromptBatch
from samadapt.models.nano.weights import NanoWeights, normalise, read_weights
from samadapt.prompts import Box, Prompt

SHIPPED = "nano.safetensors"


class NanoModel(SegmentationModel):
    """nano: a convolutional encoder and a SAM-shaped decoder, small enough for a laptop.

    An image's longer side is resampled to 512 pixels (bilinear, antialiased) and padded at the
    bottom and the right to multiples of 32.
    """

    preprocessing = "nano-longest-512-1"

    def __init__(
        self,
        weights: NanoWeights,
        name: str = "nano",
        device: torch.device | str = "cpu",
        encoder_dtype: torch.dtype = torch.float32,
    ) -> None:
        network = weights.network
        freeze(network)
        self.info = weights.info
        self.identity = ModelIdentity(name, weights.hash)
        self.device = torch.device(device)
        self.encoder_dtype = encoder_dtype
        self.config = network.config
        self.embedding_channels = self.config.channels
        fuse_batch_norms(network.encoder)
        self._network = place(network, self.device)
        self.decoder: nn.Module = self._network.decoder

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode one RGB image (H, W, 3) uint8."""
        geometry = InputGeometry.longest_side(
            (pixels.shape[0], pixels.shape[1]), self.config.input_side, NanoConfig.MULTIPLE
        )
        height, width = geometry.resized
        resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        inside = normalise(torch.from_numpy(np.array(resized))[None].to(self.device))
        padded = inside.new_zeros((1, 3, *geometry.padded))
        padded[..., :height, :width] = inside
        reduced = self.encoder_dtype != torch.float32
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=reduced):
            features = self._network(channels_last(padded))
        named = {
            "image": channels_last(features.image.float()),
            "keys": channels_last(features.keys.float()),
            "fine": channels_last(features.fine.float()),
        }
        return ImageEmbedding(named, geometry, self.identity, self.preprocessing)

    def embed_prompts(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], masks: Tensor | None
    ) -> PromptEmbedding:
        """Tokens and maps for B prompts of one structure."""
        batch = self._batch(embedding, prompts, masks)
        encoded = self._network.prompt_encoder(_expanded(embedding, len(prompts)), batch)
        extra = (encoded.token_bias, encoded.prior, encoded.fine)
        return PromptEmbedding(encoded.tokens, encoded.dense, extra)

    def run_decoder(
        self,
        decoder: nn.Module,
        embedding: ImageEmbedding,
        prompts: PromptEmbedding,
        multimask: bool,
    ) -> DecoderOutput:
        """Mask token 0 answers clear prompts, tokens 1 to 3 are the candidates."""
        features = _expanded(embedding, len(prompts.tokens))
        positions = self._network.positions(features)
        encoded = EncodedPrompts(
            prompts.tokens, prompts.extra[0], prompts.dense, *prompts.extra[1:]
        )
        logits, scores = decoder(features.image, features.fine, positions, encoded)
        chosen = slice(1, None) if multimask else slice(0, 1)
        return DecoderOutput(logits[:, chosen], scores[:, chosen])

    def logits_size(self, embedding: ImageEmbedding) -> tuple[int, int]:
        """A quarter of the padded input."""
        height, width = embedding.geometry.padded
        return height // NanoConfig.FINE_STRIDE, width // NanoConfig.FINE_STRIDE

    def _batch(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], masks: Tensor | None
    ) -> PromptBatch:
        count = len(prompts)
        points = torch.tensor([p.points for p in prompts], dtype=torch.float32)
        labels = torch.tensor([p.labels for p in prompts], dtype=torch.long)
        points = embedding.geometry.to_input(points.view(count, -1, 2)).to(self.device)
        there = torch.ones(count, dtype=torch.bool, device=self.device)
        boxes = None
        corners = [p.box.as_tuple() for p in prompts if isinstance(p.box, Box)]
        if corners:
            pairs = torch.tensor(corners, dtype=torch.float32).view(count, 2, 2)
            boxes = embedding.geometry.to_input(pairs).view(count, 4).to(self.device)
        return PromptBatch(
            points,
            labels.view(count, -1).to(self.device),
            boxes,
            None if boxes is None else there,
            masks,
            None if masks is None else there,
        )


def load_nano(
    path: str | Path | None = None,
    device: torch.device | str = "cpu",
    encoder_dtype: torch.dtype = torch.float32,
) -> NanoModel:
    """Load the shipped weights, or those in `path`.

    Raises:
        CheckpointError: the file is missing, damaged or made for another version.
    """
    if path is not None:
        return NanoModel(read_weights(Path(path)), Path(path).stem, device, encoder_dtype)
    shipped = resources.files("samadapt.models.nano") / "shipped" / SHIPPED
    with resources.as_file(shipped) as file:
        return NanoModel(read_weights(file), "nano", device, encoder_dtype)


def _expanded(embedding: ImageEmbedding, count: int) -> NanoFeatures:
    features = embedding.features
    return NanoFeatures(
        *(features[name].expand(count, -1, -1, -1) for name in ("image", "keys", "fine"))
    )
