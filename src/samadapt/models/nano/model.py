"""`NanoModel`: the small model that ships with samadapt, behind the family's interface."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.errors import ModelError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding, ModelIdentity
from samadapt.models.export_parts import ModelParts
from samadapt.models.geometry import InputGeometry, Window
from samadapt.models.interface import DecoderOutput, DecoderSpec, PromptEmbedding, freeze
from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.encoder import NanoFeatures, channels_last
from samadapt.models.nano.network import place
from samadapt.models.nano.parts import NanoParts
from samadapt.models.nano.prompt_encoder import PADDING, EncodedPrompts, PromptBatch
from samadapt.models.nano.trunk import MEAN, SCALE
from samadapt.models.nano.weights import NanoWeights, read_weights
from samadapt.models.parts.preprocessing import Preprocessing, kept_pixels, region_of
from samadapt.models.precision import cast_matrix_layers
from samadapt.prompts import Box, Prompt

SHIPPED = "nano.safetensors"


class NanoModel(SegmentationModel):
    """nano: a convolutional encoder and a SAM-shaped decoder, small enough for a laptop.

    An image's longer side is resampled to 512 pixels (bilinear, antialiased) and padded at the
    bottom and the right to multiples of 32. Once a prompt tells where a small object lies, a
    close-up of it is encoded in the same way and prompts are decoded there. Several clicks given
    at once are answered one after the other, since nano was trained with corrections.
    """

    preprocessing = "nano-longest-512-3"

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
        self._network = place(network, self.device)
        self._encoder = network.encoder
        if encoder_dtype != torch.float32:
            self._encoder = deepcopy(network.encoder)
            cast_matrix_layers(self._encoder, torch.bfloat16)
        self._preprocessing = Preprocessing(
            name=self.preprocessing,
            side=self.config.input_side,
            multiple=NanoConfig.MULTIPLE,
            close_up_side=self.config.close_up_side,
            scale=1.0,
            mean=(MEAN, MEAN, MEAN),
            std=(SCALE, SCALE, SCALE),
        )
        self.decoder: nn.Module = self._network.decoder
        self.spec = DecoderSpec(
            width=self.config.channels,
            logits_per_cell=self.config.STRIDE // self.config.MASK_STRIDE,
            position_cells=self.config.input_side // self.config.STRIDE,
            position_frequencies=network.prompt_encoder.positions.frequencies,
            has_prior=True,
            close_up_side=self.config.close_up_side,
            module_path="decoder",
            sequential_clicks=True,
            drops_unclicked_parts=True,
        )

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode one RGB image (H, W, 3) uint8, and keep its pixels for close-ups."""
        height, width = pixels.shape[:2]
        geometry = self.input_geometry((height, width), None)
        named = self._encode(self._preprocessing.apply(pixels, geometry))
        named["pixels"] = kept_pixels(pixels)
        return ImageEmbedding(named, geometry, self.identity, self.preprocessing)

    def encode_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[ImageEmbedding]:
        """Encode images; images with padded inputs of the same size share a call."""
        geometries = [self.input_geometry(image.shape[:2], None) for image in images]
        groups: dict[tuple[int, int], list[int]] = {}
        for index, geometry in enumerate(geometries):
            groups.setdefault(geometry.padded, []).append(index)
        found: dict[int, ImageEmbedding] = {}
        for indices in groups.values():
            inputs = [self._preprocessing.apply(images[i], geometries[i]) for i in indices]
            features = self._encode(torch.cat(inputs))
            for row, index in enumerate(indices):
                # Copies: a row alone would keep the whole batch in memory.
                named = {name: one[row : row + 1].clone() for name, one in features.items()}
                named["pixels"] = kept_pixels(images[index])
                found[index] = ImageEmbedding(
                    named, geometries[index], self.identity, self.preprocessing
                )
        return [found[index] for index in range(len(images))]

    def input_geometry(self, original: tuple[int, int], window: Window | None) -> InputGeometry:
        """Geometry of the input for an image of size (H, W), or for a window of it."""
        return self._preprocessing.geometry(original, window)

    def encode_window(self, embedding: ImageEmbedding, window: Window) -> ImageEmbedding:
        """Encode a window of the pixels that `embedding` keeps."""
        geometry = self.input_geometry(embedding.original_size, window)
        kept = embedding.features["pixels"]
        region = region_of(window, embedding.original_size, kept)
        named = self._encode(self._preprocessing.apply(kept[0].cpu().numpy(), geometry, region))
        return ImageEmbedding(named, geometry, self.identity, self.preprocessing)

    def overview(self, embedding: ImageEmbedding) -> ImageEmbedding | None:
        """The image at half the resolution; None if `embedding` keeps no pixels."""
        if embedding.pixels is None:
            return None
        geometry = InputGeometry.longest_side(
            embedding.original_size, self.config.input_side // 2, NanoConfig.MULTIPLE
        )
        kept = embedding.pixels[0].cpu().numpy()
        named = self._encode(self._preprocessing.apply(kept, geometry))
        return ImageEmbedding(named, geometry, self.identity, self.preprocessing)

    def _encode(self, pixels: Tensor) -> dict[str, Tensor]:
        """Features of normalised pixels (B, 3, H, W)."""
        reduced = self.encoder_dtype != torch.float32
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=reduced):
            features = self._encoder(channels_last(pixels.to(self.device)))
        return {
            "image": channels_last(features.image.float()),
            "keys": channels_last(features.keys.float()),
            "fine": channels_last(features.fine.float()),
        }

    def embed_prompts(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], masks: Tensor | None
    ) -> PromptEmbedding:
        """Tokens and maps for B prompts of one structure."""
        batch = self._batch(embedding, prompts, masks)
        encoded = self._network.prompt_encoder(_expanded(embedding, len(prompts)), batch)
        return PromptEmbedding(
            encoded.tokens, encoded.dense, encoded.token_bias, encoded.prior, (encoded.fine,)
        )

    def run_decoder(
        self,
        decoder: nn.Module,
        embedding: ImageEmbedding,
        prompts: PromptEmbedding,
        multimask: bool,
    ) -> DecoderOutput:
        """Run the decoder; mask token 0 gives the single mask, tokens 1 to 3 the candidates."""
        features = _expanded(embedding, len(prompts.tokens))
        positions = self._network.positions(features)
        if prompts.bias is None or prompts.prior is None:
            raise ModelError("nano's mask decoder needs a bias for its tokens and a prior")
        encoded = EncodedPrompts(
            prompts.tokens, prompts.bias, prompts.dense, prompts.prior, *prompts.extra
        )
        logits, scores = decoder(features.image, features.fine, positions, encoded)
        chosen = slice(1, None) if multimask else slice(0, 1)
        return DecoderOutput(logits[:, chosen], scores[:, chosen])

    def parts(self) -> ModelParts:
        """The network as modules that work on tensors alone, for export."""
        return NanoParts(self._network, self._preprocessing)

    def _batch(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], masks: Tensor | None
    ) -> PromptBatch:
        count = len(prompts)
        points = torch.tensor([p.points for p in prompts], dtype=torch.float32)
        labels = torch.tensor([p.labels for p in prompts], dtype=torch.long)
        points = embedding.geometry.to_input(points.view(count, -1, 2))
        labels = labels.view(count, -1).masked_fill(embedding.geometry.beyond(points), PADDING)
        there = torch.ones(count, dtype=torch.bool, device=self.device)
        boxes = None
        corners = [p.box.as_tuple() for p in prompts if isinstance(p.box, Box)]
        if corners:
            pairs = torch.tensor(corners, dtype=torch.float32).view(count, 2, 2)
            boxes = embedding.geometry.to_input(pairs).view(count, 4).to(self.device)
        return PromptBatch(
            points.to(self.device),
            labels.to(self.device),
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

    Args:
        path: of a weights file; None for the shipped weights.
        device: where it runs.
        encoder_dtype: of the image encoder.

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
