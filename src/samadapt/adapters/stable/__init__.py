"""Stable-SAM: the last token-to-image attention looks where it should, whatever the prompt."""

from samadapt.adapters.stable.adapter import StableAdapter, StableConfig
from samadapt.adapters.stable.recording import recorded_alphas

__all__ = ["StableAdapter", "StableConfig", "recorded_alphas"]
