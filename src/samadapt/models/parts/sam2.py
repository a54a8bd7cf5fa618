"""SAM 2 and 2.1 (Ravi et al., 2024) on single images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from samadapt.models.export_parts import PaddingPoints
from samadapt.models.parts.model import TransformersModel
from samadapt.models.parts.preprocessing import Preprocessing


class Sam2Segmenter(TransformersModel):
    """SAM 2 without memory: every image is its own first frame.

    `features["image"]` includes the learned "no memory" embedding; `features["fine"]` (stride 4)
    and `features["middle"]` (stride 8) are already projected for the decoder.

    With `multimask=False` the network itself may answer with the best of its three candidates
    when mask token 0 is unstable (`dynamic_multimask_via_stability` of its configuration).
    """

    _features = ("image", "middle", "fine")
    _mask_token = 2  # the first token is the object score

    def __init__(
        self,
        network: Any,
        name: str,
        device: torch.device | str = "cpu",
        encoder_dtype: torch.dtype = torch.float32,
    ) -> None:
        preprocessing = self._preprocessing_for(int(network.prompt_encoder.input_image_size))
        super().__init__(network, name, preprocessing, device, encoder_dtype)

    @staticmethod
    def _preprocessing_for(side: int) -> Preprocessing:
        return Preprocessing(name=f"sam2-squash-{side}-1", side=side, squash=True)

    def _prepare_encoder(self, encoder: Any) -> None:
        encoder.neck.position_encoding = NoPositions()

    def _encode(self, pixels: Tensor) -> dict[str, Tensor]:
        fine, middle, image = self.network.get_image_embeddings(pixels)
        return {"image": image, "middle": middle, "fine": fine}

    def _no_tokens(self, count: int) -> Tensor:
        # As transformers: an absent point, and the absent point that follows points anyway.
        absent: Tensor = self.network.prompt_encoder.not_a_point_embed.weight
        return absent.expand(count, 2, -1)

    def _decoder_inputs(self, features: dict[str, Tensor]) -> dict[str, Any]:
        return {"high_resolution_features": [features["fine"], features["middle"]]}

    def _exported_prompts(self) -> tuple[PaddingPoints, tuple[Tensor, ...]]:
        return PaddingPoints(clicks=1, box=1, nothing=2), ()


class NoPositions(nn.Module):
    """Stands in for a feature pyramid's position encoding, which image mode never reads."""

    def forward(self, shape: torch.Size, device: torch.device, dtype: torch.dtype) -> Tensor:
        """A placeholder (1, 1, 1, 1)."""
        return torch.zeros(1, 1, 1, 1, device=device, dtype=dtype)
