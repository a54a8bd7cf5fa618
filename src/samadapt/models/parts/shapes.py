"""Dimensions of SAM's prompt encoder and mask decoder, read off the shapes of their tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samadapt.errors import CheckpointError
from samadapt.models.checkpoint_file import Shapes

_DECODER_HEADS = 8
"""Heads of the mask decoder, the only number that no shape tells; all SAMs have the same."""


@contextmanager
def reading_shapes(path: Path, what: str) -> Iterator[None]:
    """Turn a missing tensor, or shapes that do not fit, into a `CheckpointError` that names it.

    Args:
        path: of the file.
        what: kind of model that the file seems to be.
    """
    try:
        yield
    except CheckpointError:  # is a ValueError, and says it already
        raise
    except KeyError as error:
        raise CheckpointError(
            f"{path} looks like {what} but lacks {error.args[0]}: it is incomplete or not a whole "
            f"{what}"
        ) from None
    except (IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{path} looks like {what} but its tensor shapes do not fit together ({error})"
        ) from None


def prompt_encoder(shapes: Shapes, image_size: int, patch_size: int) -> dict[str, Any]:
    """Arguments of transformers' configuration of a prompt encoder."""
    return {
        "image_size": image_size,
        "patch_size": patch_size,
        "hidden_size": shapes["prompt_encoder.no_mask_embed.weight"][1],
        "mask_input_channels": shapes["prompt_encoder.mask_downscaling.3.weight"][0],
        "num_point_embeddings": count(shapes, "prompt_encoder.point_embeddings."),
    }


def mask_decoder(shapes: Shapes, mlp: str = "mlp.lin1") -> dict[str, Any]:
    """Arguments of transformers' configuration of a mask decoder.

    Args:
        shapes: by the original names.
        mlp: name of the first linear map of a transformer layer's MLP.
    """
    layers = "mask_decoder.transformer.layers."
    width = shapes["mask_decoder.iou_token.weight"][1]
    inner = shapes[f"{layers}0.cross_attn_token_to_image.q_proj.weight"][0]
    return {
        "hidden_size": width,
        "num_hidden_layers": count(shapes, layers),
        "num_attention_heads": _DECODER_HEADS,
        "attention_downsample_rate": width // inner,
        "mlp_dim": shapes[f"{layers}0.{mlp}.weight"][0],
        "num_multimask_outputs": shapes["mask_decoder.mask_tokens.weight"][0] - 1,
        "iou_head_depth": count(shapes, "mask_decoder.iou_prediction_head.layers."),
        "iou_head_hidden_dim": shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
    }


def count(shapes: Shapes, prefix: str) -> int:
    """How many numbered parts there are: `prefix` is followed by 0, 1, ...

    Raises:
        KeyError: none.
    """
    numbers = {
        int(name.removeprefix(prefix).split(".")[0]) for name in shapes if name.startswith(prefix)
    }
    if not numbers:
        raise KeyError(f"{prefix}*")
    return max(numbers) + 1
