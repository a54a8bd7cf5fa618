"""SAM 2's memory (Ravi et al., 2024): objects followed with the video model of transformers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from samadapt.errors import CheckpointError, ModelError
from samadapt.models.hf.folder import load_network, model_type
from samadapt.models.interface import freeze
from samadapt.models.parts.preprocessing import Preprocessing

MODEL_TYPES = ("sam2_video",)


class Sam2Memory:
    """Follows objects frame by frame.

    Frames that are too old for the model's memory are dropped, so that memory use does not grow
    with the length of a stack.
    """

    def __init__(self, network: Any, name: str, device: torch.device | str = "cpu") -> None:
        self.name = name
        self._device = torch.device(device)
        self._network: Any = freeze(network.to(self._device))
        self._side = int(network.prompt_encoder.input_image_size)
        self._preprocessing = Preprocessing(name="sam2", side=self._side, squash=True)
        self._reach = max(network.num_maskmem, network.config.max_object_pointers_in_encoder)

    def follow(
        self,
        first: NDArray[np.uint8],
        masks: Mapping[int, NDArray[np.bool_]],
        frames: Iterable[NDArray[np.uint8]],
    ) -> Iterator[Mapping[int, NDArray[np.bool_]]]:
        """Follow objects; see `VideoMemory`."""
        if not masks:
            return
        session = self._session(first.shape[:2], masks)
        self._step(session, first, 0)
        for number, frame in enumerate(frames, 1):
            yield self._step(session, frame, number)
            self._forget(session, number)

    def _session(self, size: tuple[int, ...], masks: Mapping[int, NDArray[np.bool_]]) -> Any:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        session = Sam2VideoInferenceSession(
            video_height=size[0],
            video_width=size[1],
            inference_device=self._device,
            inference_state_device=self._device,
            video_storage_device=self._device,
            dtype=torch.float32,
        )
        for identity, mask in masks.items():
            given = torch.from_numpy(mask.astype(np.float32))[None, None]
            side = (self._side, self._side)
            soft = F.interpolate(given, side, mode="bilinear", antialias=True)
            index = session.obj_id_to_idx(identity)
            session.add_mask_inputs(index, 0, (soft >= 0.5).float().to(self._device))
        session.obj_with_new_inputs = list(masks)
        return session

    def _step(
        self, session: Any, pixels: NDArray[np.uint8], number: int
    ) -> dict[int, NDArray[np.bool_]]:
        size = (pixels.shape[0], pixels.shape[1])
        values = self._preprocessing.apply(pixels, self._preprocessing.geometry(size))
        with torch.inference_mode():
            output = self._network(session, frame=values[0].to(self._device), frame_idx=number)
            full = self._upsampled(output.pred_masks, size)
            seen = output.object_score_logits.flatten() > 0
            found = (full > 0) & seen[:, None, None]
        return {int(k): m for k, m in zip(output.object_ids, found.cpu().numpy(), strict=True)}

    def _upsampled(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)[:, 0]

    def _forget(self, session: Any, number: int) -> None:
        """Drop the frame's pixels, and outputs that no later frame attends to."""
        session.processed_frames.pop(number, None)
        for stored in session.output_dict_per_obj.values():
            old = [k for k in stored["non_cond_frame_outputs"] if k < number - self._reach]
            for frame in old:
                del stored["non_cond_frame_outputs"][frame]


def load_memory(folder: Path, name: str, device: torch.device) -> Sam2Memory:
    """Load the video model of a folder in Hugging Face format.

    Raises:
        ModelError: the folder holds a model without a memory.
        CheckpointError: damaged, or not complete.
    """
    kind = model_type(folder)
    if kind not in MODEL_TYPES:
        raise ModelError(
            f"{name} is a model of type {kind!r}, which has no memory for frames: give a SAM 2 "
            "video model such as facebook/sam2.1-hiera-tiny, or propagate by prompts instead"
        )
    network = load_network(folder, "Sam2VideoModel")
    if not hasattr(network, "memory_encoder"):
        raise CheckpointError(f"{folder} holds no memory encoder: download it again")
    return Sam2Memory(network, name, device)
