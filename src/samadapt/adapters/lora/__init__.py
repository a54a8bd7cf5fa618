"""LoRA on the mask decoder's linear layers: the baseline at equal parameter count."""

from samadapt.adapters.lora.adapter import LoraAdapter, LoraConfig

__all__ = ["LoraAdapter", "LoraConfig"]
