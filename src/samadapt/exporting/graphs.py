"""The two graphs of an exported model, as torch modules and as ONNX files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samadapt.models.embedding import ImageEmbedding
from samadapt.models.export_parts import ModelParts, PromptTensors
from samadapt.models.onnx.description import (
    HAS_MASKS,
    LABELS,
    LOGITS,
    MASKS,
    OWN_DENSE,
    POINTS,
    SCORES,
)
from samadapt.models.parts.runtime import PIXELS, graph_name
from samadapt.models.seams import Seams, active, decoder_grid


class EncoderGraph(nn.Module):
    """Pixels (1, 3, H, W) to the features of one image."""

    def __init__(self, parts: ModelParts) -> None:
        super().__init__()
        self.encoder = parts.encoder

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Features in the order of `ModelParts.features`, contiguous."""
        return tuple(feature.contiguous() for feature in self.encoder(pixel_values))


class DecoderGraph(nn.Module):
    """Prompt encoder and mask decoder, with adapters merged.

    Args:
        parts: of the model.
        decoder: the model's decoder.
        adapters: applied in order at seams 1 to 3.
        example: an embedding of the model, which adapters get with the graph's features.
    """

    def __init__(
        self,
        parts: ModelParts,
        decoder: nn.Module,
        adapters: Sequence[Seams],
        example: ImageEmbedding,
    ) -> None:
        super().__init__()
        for seam in adapters:
            decoder = seam.mask_decoder(decoder)
        self.decoder = decoder
        self.modules_of_prompts = nn.ModuleList(parts.modules)
        self._parts, self._adapters, self._example = parts, tuple(adapters), example
        self.changes_dense = False
        """Whether adapters changed the dense prompt in the last call in a replaceable way."""

    def forward(
        self,
        features: Sequence[Tensor],
        input_points: Tensor,
        input_labels: Tensor,
        input_masks: Tensor,
        has_input_masks: Tensor,
        own_dense: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Scores (1, P, 4) and logits (1, P, 4, h, w): the single mask, then the candidates.

        Args:
            features: of one image.
            input_points: (1, P, N, 2), see `PromptTensors`.
            input_labels: (1, P, N).
            input_masks: earlier logits (P, 1, h, w).
            has_input_masks: (P,) bool.
            own_dense: (1,) bool: use the model's own dense prompt.
        """
        named = dict(zip(self._parts.features, features, strict=True))
        view = replace(self._example, features=named)
        prompts = PromptTensors(input_points[0], input_labels[0], input_masks, has_input_masks)
        embedded = own = self._parts.embed(named, prompts)
        for seam in self._adapters:
            embedded = seam.prompt(embedded, view)
        is_changed = embedded.dense is not own.dense or embedded.prior is not own.prior
        self.changes_dense = is_changed and not embedded.keeps_dense
        if own_dense is not None:
            dense = torch.where(own_dense.view(1, 1, 1, 1), own.dense, embedded.dense)
            embedded = replace(embedded, dense=dense)
            if own.prior is not None and embedded.prior is not None:
                prior = torch.where(own_dense.view(1, 1, 1, 1), own.prior, embedded.prior)
                embedded = replace(embedded, prior=prior)
        with active(self._adapters), decoder_grid(view.grid):
            output = self._parts.decode(self.decoder, named, embedded)
        return output.scores[None], output.logits[None]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Dynamic sizes of the graphs.

    Args:
        multiple: the input's height and width are multiples of it; 0 if they are fixed.
        pixels: (height, width) of the input that the graphs are recorded with.
    """

    multiple: int
    pixels: tuple[int, int]

    def enlarged(self, times: int) -> Sizes:
        """The same for an image so many times as high and wide."""
        return Sizes(self.multiple, (self.pixels[0] * times, self.pixels[1] * times))

    def of(self, tensor: Tensor, first: int) -> dict[int, Any]:
        """Dimensions of a tensor whose height and width, from `first` on, follow the input's."""
        if not self.multiple:
            return {}
        found = {}
        for axis, name in enumerate(("height", "width")):
            cells = tensor.shape[first + axis] * self.multiple // self.pixels[axis]
            dim = torch.export.Dim(name)
            found[first + axis] = dim if cells == 1 else cells * dim
        return found


def write_encoder(parts: ModelParts, pixels: Tensor, sizes: Sizes, path: Path) -> None:
    """Record and write the encoder's graph."""
    names = [graph_name(name) for name in parts.features]
    _write(EncoderGraph(parts), {PIXELS: pixels}, {PIXELS: sizes.of(pixels, 2)}, names, path)


def write_decoder(
    graph: DecoderGraph,
    features: Mapping[str, Tensor],
    prompts: PromptTensors,
    sizes: Sizes,
    path: Path,
) -> None:
    """Record and write the decoder's graph; with `own_dense` where adapters change the dense map.

    Args:
        graph: what to write.
        features: of an image, by name.
        prompts: two or more of them, with two or more points.
        sizes: of the image.
        path: the file.
    """
    count, points = (torch.export.Dim(name) for name in ("prompts", "points"))
    inputs: dict[str, Any] = {
        "features": list(features.values()),
        POINTS: prompts.points[None],
        LABELS: prompts.labels[None],
        MASKS: prompts.masks,
        HAS_MASKS: prompts.has_masks,
    }
    dimensions: dict[str, Any] = {
        "features": [sizes.of(feature, 2) for feature in features.values()],
        POINTS: {1: count, 2: points},
        LABELS: {1: count, 2: points},
        MASKS: {0: count, **sizes.of(prompts.masks, 2)},
        HAS_MASKS: {0: count},
    }
    with torch.no_grad():
        graph(**inputs)
    if graph.changes_dense:
        inputs[OWN_DENSE] = torch.tensor([False])
        dimensions[OWN_DENSE] = {}
    _write(graph, inputs, dimensions, [SCORES, LOGITS], path, list(features))


def _write(
    graph: nn.Module,
    inputs: Mapping[str, Any],
    dimensions: Mapping[str, Any],
    outputs: Sequence[str],
    path: Path,
    features: Sequence[str] = (),
) -> None:
    names = [name for name in inputs if name != "features"]
    with _quiet(), torch.no_grad():
        recorded = torch.export.export(
            graph.eval(), (), dict(inputs), dynamic_shapes=dict(dimensions), strict=False
        )
        program = torch.onnx.export(
            recorded,
            dynamo=True,
            # The optimiser folds resampling by a fixed factor wrongly where sizes vary.
            optimize=False,
            verbose=False,
            input_names=[graph_name(name) for name in features] + names,
            output_names=list(outputs),
        )
        if program is None:
            raise RuntimeError("torch.onnx.export gave no program")
        program.save(str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings and log lines of torch inside the block."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
