"""Tiny stand-ins for real models: deterministic, differentiable, quick, with all four seams."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding, ModelIdentity
from samadapt.models.geometry import InputGeometry
from samadapt.models.interface import DecoderOutput, DecoderSpec, PromptEmbedding, freeze
from samadapt.models.seams import install_mask_attention_seam
from samadapt.prompts import Box, Prompt

CHANNELS = 8
"""Colour (3), position (2), a one, and two free ones: label and kind of a token."""
_LABEL, _KIND = 6, 7
_POINT, _CORNER = 0.0, 1.0


class FakeAttention(nn.Module):
    """Token-to-image attention, called by keyword as the seam needs it."""

    def forward(self, *, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        weights = torch.softmax(query @ key.transpose(1, 2) / CHANNELS**0.5, dim=-1)
        return weights @ value


class FakeDecoder(nn.Module):
    """Logits from the similarity of colour and place to the clicked pixels.

    Logits have twice the resolution of the image features, so that tests notice when the two
    are confused.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.attention = FakeAttention()
        install_mask_attention_seam(self.attention)
        self.sharpness = nn.Parameter(torch.tensor([30.0, 2.0]))
        self.bias = nn.Parameter(torch.tensor([-2.0, -3.5, -1.0, 0.5]))
        self.mask_weight = nn.Parameter(torch.tensor(0.3))
        self.mix = nn.Parameter(0.05 * torch.randn(CHANNELS, CHANNELS, generator=generator))

    def forward(
        self, features: Tensor, position: Tensor, tokens: Tensor, dense: Tensor, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        count, (h, w) = len(tokens), features.shape[-2:]
        flat = features.flatten(2).transpose(1, 2).expand(count, -1, -1)
        seen = self.attention(query=tokens, key=flat + position, value=flat)
        tokens = tokens + seen @ self.mix
        colour = (flat[:, None, :, :3] - tokens[:, :, None, :3]).square().sum(-1)
        place = (flat[:, None, :, 3:5] - tokens[:, :, None, 3:5]).square().sum(-1)
        likeness = torch.exp(-self.sharpness[0] * colour - self.sharpness[1] * place)
        is_point = (tokens[..., _KIND] < 0.5).float()[..., None]
        evidence = (6 * likeness * tokens[..., _LABEL, None] * is_point).sum(1)
        grid = evidence.view(count, 1, h, w) + dense[:, :1]
        logits = F.interpolate(grid, scale_factor=2, mode="bilinear", align_corners=False)
        kinds = slice(1, 4) if multimask else slice(0, 1)
        logits = logits + self.bias[kinds].view(1, -1, 1, 1)
        return logits, torch.sigmoid(logits.abs().mean((2, 3)) - 1)


class FakeModel(SegmentationModel):
    """A model for tests; other seeds are other weights.

    Args:
        seed: of the weights.
        side: the longer side of the input; features have a quarter of it, logits half.
        multiple: pad to a multiple of this; None pads to a square.
    """

    def __init__(self, seed: int = 0, side: int = 32, multiple: int | None = None) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.side, self.multiple = side, multiple
        self.decoder = freeze(FakeDecoder(generator))
        self.preprocessing = f"fake-{side}-{multiple}"
        self.device = torch.device("cpu")
        self.encoder_dtype = torch.float32
        self.spec = DecoderSpec(width=CHANNELS, logits_per_cell=2)
        self.encoded = 0
        """How many images were encoded."""
        self.identity = ModelIdentity("fake", state_hash(self.decoder))

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> ImageEmbedding:
        self.encoded += 1
        height, width = pixels.shape[:2]
        geometry = InputGeometry.longest_side((height, width), self.side, self.multiple)
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        resized = F.interpolate(image, geometry.resized, mode="bilinear", align_corners=False)
        padded = image.new_zeros((1, CHANNELS, *geometry.padded))
        padded[:, :3, : geometry.resized[0], : geometry.resized[1]] = resized
        grid = geometry.padded[0] // 4, geometry.padded[1] // 4
        features = F.avg_pool2d(padded, 4)
        features[:, 3:5] = _positions(grid)
        features[:, 5] = 1
        return ImageEmbedding({"image": features}, geometry, self.identity, self.preprocessing)

    def embed_prompts(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], masks: Tensor | None
    ) -> PromptEmbedding:
        tokens = torch.stack([self._tokens(embedding, prompt) for prompt in prompts])
        dense = torch.zeros(len(prompts), CHANNELS, *embedding.grid)
        if masks is not None:
            weight = self.decoder.mask_weight
            dense = dense + weight * F.interpolate(masks, embedding.grid, mode="area")
        for row, prompt in enumerate(prompts):
            if isinstance(prompt.box, Box):
                dense[row] += _box_evidence(embedding, prompt.box)
        return PromptEmbedding(tokens, dense)

    def run_decoder(
        self,
        decoder: nn.Module,
        embedding: ImageEmbedding,
        prompts: PromptEmbedding,
        multimask: bool,
    ) -> DecoderOutput:
        h, w = embedding.grid
        angle = torch.linspace(0, 3, h * w * CHANNELS).view(1, h * w, CHANNELS)
        position = 0.1 * torch.sin(angle)
        return DecoderOutput(
            *decoder(embedding.image, position, prompts.tokens, prompts.dense, multimask)
        )

    def _tokens(self, embedding: ImageEmbedding, prompt: Prompt) -> Tensor:
        """One token per click, or per box corner: the features there, its label and kind."""
        points = [(c.x, c.y, 2.0 * c.label - 1, _POINT) for c in prompt.clicks]
        if isinstance(prompt.box, Box):
            x0, y0, x1, y1 = prompt.box.as_tuple()
            points += [(x0, y0, -1.0, _CORNER), (x1, y1, 1.0, _CORNER)]
        if not points:
            return torch.zeros(0, CHANNELS)
        rows = torch.tensor(points)
        padded = torch.tensor([embedding.geometry.padded[1], embedding.geometry.padded[0]])
        place = embedding.geometry.to_input(rows[:, :2]) / padded * 2 - 1
        sampled = F.grid_sample(
            embedding.image, place[None, None], align_corners=False, padding_mode="border"
        )
        tokens = sampled[0, :, 0].T.clone()
        tokens[:, _LABEL:] = rows[:, 2:]
        return tokens


class OracleModel(FakeModel):
    """Knows the objects: answers a prompt with the object of `labels` (H, W) under its last click.

    Encode an image of the labels' size. Masks come out exactly.
    """

    def __init__(self, labels: NDArray[np.int_]) -> None:
        super().__init__(side=2 * max(labels.shape), multiple=4)
        self.labels = labels

    def embed_prompts(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], masks: Tensor | None
    ) -> PromptEmbedding:
        embedded = super().embed_prompts(embedding, prompts, masks)
        last = torch.tensor([prompt.points[-1] for prompt in prompts])
        return PromptEmbedding(embedded.tokens, embedded.dense, extra=(last,))

    def run_decoder(
        self,
        decoder: nn.Module,
        embedding: ImageEmbedding,
        prompts: PromptEmbedding,
        multimask: bool,
    ) -> DecoderOutput:
        out = super().run_decoder(decoder, embedding, prompts, multimask)
        logits = torch.full_like(out.logits, -10.0)
        height, width = self.labels.shape
        for row, (x, y) in zip(logits, prompts.extra[0].long().tolist(), strict=True):
            under = self.labels[min(y, height - 1), min(x, width - 1)]
            row[:, :height, :width][:, torch.from_numpy(self.labels == under)] = 10.0
        return DecoderOutput(logits, out.scores)


def state_hash(module: nn.Module) -> str:
    """SHA-256 over a module's parameters."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.detach().numpy().tobytes())
    return digest.hexdigest()


def blobs(height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    """A picture with a red disc, a green square and a blue bar on grey, (H, W, 3) uint8."""
    rows, columns = np.mgrid[:height, :width]
    image = np.full((height, width, 3), 110, np.uint8)
    image[(rows - 12) ** 2 + (columns - 14) ** 2 < 81] = (220, 40, 40)
    image[22:36, 30:46] = (40, 200, 60)
    image[4:10, 34:52] = (40, 60, 210)
    return image


def _positions(grid: tuple[int, int]) -> Tensor:
    """(x, y) in 0..1 of each cell's centre, (2, h, w)."""
    y = (torch.arange(grid[0]) + 0.5) / grid[0]
    x = (torch.arange(grid[1]) + 0.5) / grid[1]
    return torch.stack([x.expand(grid), y[:, None].expand(grid)])


def _box_evidence(embedding: ImageEmbedding, box: Box) -> Tensor:
    """+4 inside the box, -4 outside, (h, w)."""
    x, y = _positions(embedding.grid)
    (x0, y0), (x1, y1) = embedding.geometry.to_input(
        torch.tensor([[box.x0, box.y0], [box.x1, box.y1]])
    ).tolist()
    h, w = embedding.geometry.padded
    inside = (x * w >= x0) & (x * w <= x1) & (y * h >= y0) & (y * h <= y1)
    return inside.float() * 8 - 4
