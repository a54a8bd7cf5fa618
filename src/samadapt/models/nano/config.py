"""The sizes that define a nano model; stored in its weights file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from samadapt.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class NanoConfig:
    """Widths and depths of nano.

    Args:
        input_side: the longer side of an image is resampled to this many pixels.
        channels: C, width of the stride-8 image features and of the decoder's tokens.
        widths: encoder widths at strides 4, 8, 16 and 32.
        depths: residual blocks at strides 4, 8 and 16, attention blocks at stride 32.
        key_channels: width of the features whose cosine similarity makes the prior.
        fine_channels: width of the stride-4 features in the mask head.
        context_channels: width of the decoder's fusion at stride 32.
        heads: attention heads.
        decoder_layers: two-way layers.
        close_up_side: the longer side of a close-up is resampled to this many pixels.
    """

    input_side: int = 512
    channels: int = 128
    widths: tuple[int, int, int, int] = (64, 128, 192, 256)
    depths: tuple[int, int, int, int] = (2, 2, 3, 2)
    key_channels: int = 32
    fine_channels: int = 32
    context_channels: int = 192
    heads: int = 4
    decoder_layers: int = 2
    close_up_side: int = 320

    STRIDE: ClassVar[int] = 8
    FINE_STRIDE: ClassVar[int] = 4
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
