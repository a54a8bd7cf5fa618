"""Fine-tuning of the whole mask decoder: the baseline that spares nothing."""

from samadapt.adapters.decoder.adapter import DecoderAdapter, DecoderConfig

__all__ = ["DecoderAdapter", "DecoderConfig"]
