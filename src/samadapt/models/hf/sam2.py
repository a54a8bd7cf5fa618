"""SAM 2 and 2.1 (Ravi et al., 2024) on single images, and the SAM 3 tracker likewise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from samadapt.models.hf.attention import NoPositions
from samadapt.models.hf.model import TransformersModel
from samadapt.models.parts import PaddingPoints
from samadapt.models.preprocessing import Preprocessing


class Sam2Segmenter(TransformersModel):
    """SAM 2 without memory: every image is its own first frame.

    `features["image"]` includes the learned "no memory" embedding; `features["fine"]` (stride 4)
    and `features["middle"]` (stride 8) are already projected for the decoder.

    With `multimask=False` the network itself may answer with the best of its three candidates
    when mask token 0 is unstable (`dynamic_multimask_via_stability` of its configuration).
    """

    _features = ("image", "middle", "fine")
    _mask_token = 2  # the first token tells whether there is an object at all

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


class Sam3TrackerSegmenter(Sam2Segmenter):
    """The SAM 3 tracker's image mode: SAM 2's prompts and decoder on SAM 3's encoder."""

    @staticmethod
    def _preprocessing_for(side: int) -> Preprocessing:
        half = (0.5, 0.5, 0.5)
        name = f"sam3-squash-{side}-1"
        return Preprocessing(name=name, side=side, squash=True, mean=half, std=half)
