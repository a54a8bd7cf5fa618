"""Stable-SAM: deformable sampling in the last token-to-image attention, for imprecise prompts."""

from samadapt.adapters.stable.adapter import StableAdapter, StableConfig

__all__ = ["StableAdapter", "StableConfig"]
