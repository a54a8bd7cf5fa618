"""The sizes that define a nano model; stored in its weights file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from samadapt.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class NanoConfig:
    """Widths and depths of nano. The trunk is EfficientNet-Lite2, unless its sizes are changed.

    Args:
        input_side: the longer side of an image is resampled to this many pixels.
        channels: C, width of the stride-8 image features and of the decoder's tokens.
        key_channels: width of the features whose cosine similarity makes the prior.
        fine_channels: width of the stride-4 features in the mask head.
        context_channels: width of the attention blocks at stride 32.
        context_blocks: attention blocks at stride 32 in the encoder.
        heads: attention heads.
        decoder_layers: two-way layers.
        close_up_side: the longer side of a close-up is resampled to this many pixels.
        trunk_widths: channels of the trunk's stem and of its seven stages.
        trunk_repeats: blocks in each of these stages.
    """

    input_side: int = 512
    channels: int = 128
    key_channels: int = 32
    fine_channels: int = 32
    context_channels: int = 192
    context_blocks: int = 2
    heads: int = 4
    decoder_layers: int = 2
    close_up_side: int = 320
    trunk_widths: tuple[int, ...] = (32, 16, 24, 48, 88, 120, 208, 352)
    trunk_repeats: tuple[int, ...] = (1, 3, 3, 4, 4, 5, 1)

    STRIDE: ClassVar[int] = 8
    """Input pixels per cell of the image features, the keys and the prior."""
    ATTENTION_STRIDE: ClassVar[int] = 16
    """Input pixels per cell of the grid of the two-way transformer."""
    FINE_STRIDE: ClassVar[int] = 4
    """Input pixels per cell of the mask head's features."""
    MASK_STRIDE: ClassVar[int] = 2
    """Input pixels per cell of the mask logits."""
    MULTIPLE: ClassVar[int] = 32

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NanoConfig:
        """Inverse of `to_dict`.

        Raises:
            CheckpointError: settings that this version does not know.
        """
        try:
            plain: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in values.items()
            }
            return cls(**plain)
        except TypeError as error:
            raise CheckpointError(
                f"the nano weights were made by another version of samadapt ({error})"
            ) from None
