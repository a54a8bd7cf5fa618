from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from tiny_models import DECODER, HIERA, HIERA_PROMPTS, picture

from samadapt.errors import ModelError
from samadapt.models.hf.memory import Sam2Memory
from samadapt.models.parts.quiet import quiet_transformers
from samadapt.models.registry import load_memory

SIZE = (48, 70)


def build() -> Any:
    """A video model of SAM 2 with random weights. Its memory always has 64 channels."""
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = transformers.Sam2VideoConfig(
            vision_config=copy.deepcopy(HIERA) | {"fpn_hidden_size": 128},
            prompt_encoder_config=HIERA_PROMPTS | {"hidden_size": 128},
            mask_decoder_config=DECODER | {"hidden_size": 128},
            image_size=64,
            num_maskmem=3,
            max_object_pointers_in_encoder=4,
            memory_attention_hidden_size=128,
            memory_attention_num_layers=1,
            memory_attention_feed_forward_hidden_size=32,
            memory_attention_rope_feat_sizes=[4, 4],
            memory_encoder_hidden_size=128,
            memory_encoder_output_channels=64,
            mask_downsampler_embed_dim=128,
            memory_fuser_embed_dim=128,
            memory_fuser_intermediate_dim=32,
            memory_fuser_num_layers=1,
        )
        return transformers.Sam2VideoModel(config).eval()


def frames(count: int) -> list[NDArray[np.uint8]]:
    return [picture(SIZE, seed) for seed in range(count)]


def disc(x: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.asarray((rows - 24) ** 2 + (columns - x) ** 2 < 150)


def test_it_answers_as_transformers_does_with_the_whole_video() -> None:
    """Streaming and forgetting change nothing of what a session with all frames gives."""
    network, given = build(), frames(9)
    memory = Sam2Memory(network, "tiny")
    answers = list(memory.follow(given[0], {7: disc(25), 9: disc(50)}, given[1:]))
    assert len(answers) == 8

    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

    how = memory._preprocessing
    pixels = torch.cat([how.apply(frame, how.geometry(frame.shape[:2])) for frame in given])
    session = Sam2VideoInferenceSession(pixels, *SIZE, dtype=torch.float32)
    for identity, x in ((7, 25), (9, 50)):
        mask = torch.from_numpy(disc(x)).float()[None, None]
        side = torch.nn.functional.interpolate(mask, (64, 64), mode="bilinear", antialias=True)
        session.add_mask_inputs(session.obj_id_to_idx(identity), 0, (side >= 0.5).float())
    session.obj_with_new_inputs = [7, 9]
    with torch.inference_mode():
        for number in range(9):
            output = network(session, frame_idx=number)
            if number:
                full = torch.nn.functional.interpolate(
                    output.pred_masks, SIZE, mode="bilinear", align_corners=False
                )[:, 0]
                seen = (output.object_score_logits.flatten() > 0)[:, None, None]
                for row, identity in enumerate((7, 9)):
                    expected = ((full > 0) & seen)[row].numpy()
                    np.testing.assert_array_equal(answers[number - 1][identity], expected)


def test_frames_are_read_one_by_one_and_not_kept() -> None:
    memory, read = Sam2Memory(build(), "tiny"), []

    def stream() -> Iterator[NDArray[np.uint8]]:
        for number, frame in enumerate(frames(12)[1:], 1):
            read.append(number)
            yield frame

    sessions: list[Any] = []
    original = memory._session

    def kept(*arguments: Any) -> Any:
        sessions.append(original(*arguments))
        return sessions[-1]

    memory._session = kept  # type: ignore[method-assign]
    for number, _ in enumerate(memory.follow(frames(1)[0], {1: disc(30)}, stream()), 1):
        assert read[-1] == number
    (session,) = sessions
    assert list(session.processed_frames) == [0]
    assert len(session.output_dict_per_obj[0]["non_cond_frame_outputs"]) <= memory._reach + 1


def test_a_folder_of_a_video_model_is_loaded(tmp_path: Path) -> None:
    network = build()
    network.save_pretrained(tmp_path / "tiny")
    memory = load_memory(tmp_path / "tiny", "cpu")
    assert memory.name == "tiny"
    given = frames(3)
    one = list(memory.follow(given[0], {1: disc(30)}, given[1:]))
    other = list(Sam2Memory(network, "same").follow(given[0], {1: disc(30)}, given[1:]))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a[1], b[1])


def test_models_without_a_memory_are_refused() -> None:
    with pytest.raises(ModelError, match="no memory for frames"):
        load_memory("nano", "cpu")
