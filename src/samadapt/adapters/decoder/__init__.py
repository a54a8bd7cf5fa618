"""Fine-tuning of the whole mask decoder: the baseline with the most parameters."""

from samadapt.adapters.decoder.adapter import DecoderAdapter, DecoderConfig

__all__ = ["DecoderAdapter", "DecoderConfig"]
