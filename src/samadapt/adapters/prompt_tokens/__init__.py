"""Learned prompt tokens: the baseline with the fewest parameters (PTSAM)."""

from samadapt.adapters.prompt_tokens.adapter import PromptTokensAdapter, PromptTokensConfig

__all__ = ["PromptTokensAdapter", "PromptTokensConfig"]
