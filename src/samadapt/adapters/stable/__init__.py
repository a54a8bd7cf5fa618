"""Stable-SAM: the last token-to-image attention looks where it should, whatever the prompt."""

from samadapt.adapters.stable.adapter import StableAdapter, StableConfig

__all__ = ["StableAdapter", "StableConfig"]
