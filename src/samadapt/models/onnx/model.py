"""`OnnxModel`: an exported model, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.export_parts import CORNERS, PADDING, PaddingPoints
from samadapt.models.geometry import InputGeometry, Window
from samadapt.models.interface import DecoderOutput, PromptEmbedding
from samadapt.models.onnx.description import (
    HAS_MASKS,
    LABELS,
    LOGITS,
    MASKS,
    OWN_DENSE,
    POINTS,
    SCORES,
    Description,
)
from samadapt.models.parts.preprocessing import kept_pixels, region_of
from samadapt.models.parts.runtime import PIXELS, Graph, graph_name
from samadapt.models.registry import ONNXRUNTIME
from samadapt.prompts import Box, Prompt


class OnnxModel(SegmentationModel):
    """An exported model; it answers prompts like the original model.

    It runs on the CPU in float32. It has no seams and no gradients, so it takes neither adapters
    nor training, as its `spec` declares.

    Args:
        description: of the export.
        encoder, decoder: the two graphs.

    Raises:
        CheckpointError: the graphs do not match the description.
    """

    def __init__(self, description: Description, encoder: Graph, decoder: Graph) -> None:
        names = [graph_name(name) for name in description.features]
        encoder.check([PIXELS], names)
        given = [*names, POINTS, LABELS, MASKS, HAS_MASKS]
        more = [OWN_DENSE] if description.decoder.has_merged_dense else []
        decoder.check([*given, *more], [SCORES, LOGITS])
        self.description = description
        self.identity = description.identity
        self.preprocessing = description.preprocessing.name
        self.device = torch.device("cpu")
        self.encoder_dtype = torch.float32
        self.runtime = ONNXRUNTIME
        self.spec = description.spec
        self.decoder: nn.Module = OnnxDecoder(decoder, self.spec.has_merged_dense)
        self._encoder = encoder

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode one RGB image (H, W, 3) uint8, and keep its pixels where there are close-ups."""
        geometry = self.input_geometry((pixels.shape[0], pixels.shape[1]), None)
        named = self._encode(self.description.preprocessing.apply(pixels, geometry))
        if self.spec.has_close_ups:
            named["pixels"] = kept_pixels(pixels)
        return ImageEmbedding(named, geometry, self.identity, self.preprocessing)

    def input_geometry(self, original: tuple[int, int], window: Window | None) -> InputGeometry:
        """Geometry of the input for an image of size (H, W), or for a window of it."""
        return self.description.preprocessing.geometry(original, window)

    def encode_window(self, embedding: ImageEmbedding, window: Window) -> ImageEmbedding:
        """Encode a window of the pixels that `embedding` keeps."""
        geometry = self.input_geometry(embedding.original_size, window)
        kept = embedding.features["pixels"]
        region = region_of(window, embedding.original_size, kept)
        values = self.description.preprocessing.apply(kept[0].numpy(), geometry, region)
        return ImageEmbedding(self._encode(values), geometry, self.identity, self.preprocessing)

    def embed_prompts(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], masks: Tensor | None
    ) -> PromptEmbedding:
        """Return the prompts as inputs of the graph, which embeds them itself.

        Points (B, N, 2) stand in for tokens and earlier logits for the dense prompt; `extra` has
        labels (B, N) and a flag for earlier logits (B,).
        """
        count = len(prompts)
        points, labels = _points(embedding.geometry, prompts, self.description.padding)
        there = torch.full((count,), masks is not None)
        if masks is None:
            masks = torch.zeros(count, 1, *self.logits_size(embedding))
        return PromptEmbedding(points, masks.float(), extra=(labels, there))

    def run_decoder(
        self,
        decoder: nn.Module,
        embedding: ImageEmbedding,
        prompts: PromptEmbedding,
        multimask: bool,
    ) -> DecoderOutput:
        """Run the graph, which gives the single mask and the three candidates."""
        features = {name: embedding.features[name] for name in self.description.features}
        logits, scores = decoder(features, prompts)
        chosen = slice(1, None) if multimask else slice(0, 1)
        return DecoderOutput(logits[:, chosen], scores[:, chosen])

    def _encode(self, pixels: Tensor) -> dict[str, Tensor]:
        found = self._encoder({PIXELS: pixels})
        return {name: found[graph_name(name)] for name in self.description.features}


class OnnxDecoder(nn.Module):
    """The prompt encoder and mask decoder as one graph, without a parameter.

    Args:
        graph: the exported file.
        has_merged_dense: whether it takes `own_dense`.
    """

    def __init__(self, graph: Graph, has_merged_dense: bool) -> None:
        super().__init__()
        self._graph = graph
        self._has_merged_dense = has_merged_dense

    def forward(
        self, features: dict[str, Tensor], prompts: PromptEmbedding
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, 4, h, w) and scores (B, 4) for features (1, C, h, w) of one image."""
        labels, there = prompts.extra
        inputs = {graph_name(name): tensor for name, tensor in features.items()}
        inputs |= {POINTS: prompts.tokens[None], LABELS: labels[None]}
        inputs |= {MASKS: prompts.dense, HAS_MASKS: there}
        if self._has_merged_dense:
            inputs[OWN_DENSE] = torch.tensor([prompts.own_dense])
        found = self._graph(inputs)
        return found[LOGITS][0], found[SCORES][0]


def _points(
    geometry: InputGeometry, prompts: Sequence[Prompt], padding: PaddingPoints
) -> tuple[Tensor, Tensor]:
    """Clicks, box corners and padding of B prompts: points (B, N, 2) and labels (B, N)."""
    count = len(prompts)
    clicks = torch.tensor([p.points for p in prompts], dtype=torch.float32).view(count, -1, 2)
    clicks = geometry.to_input(clicks)
    labels = torch.tensor([p.labels for p in prompts], dtype=torch.long).view(count, -1)
    places, kinds = [clicks], [labels.masked_fill(geometry.beyond(clicks), PADDING)]
    corners = [p.box.as_tuple() for p in prompts if isinstance(p.box, Box)]
    if corners:
        places.append(geometry.to_input(torch.tensor(corners).view(count, 2, 2)))
        kinds.append(torch.tensor(CORNERS).expand(count, 2))
    more = padding.box if corners else padding.clicks if clicks.shape[1] else padding.nothing
    places.append(torch.full((count, more, 2), 0.5))
    kinds.append(torch.full((count, more), PADDING))
    return torch.cat(places, dim=1) - 0.5, torch.cat(kinds, dim=1)
