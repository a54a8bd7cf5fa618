"""Online adaptation: the mask decoder learns from clicks and accepted objects while one works."""

from samadapt.adapters.online.adapter import OnlineAdapter
from samadapt.adapters.online.config import OnlineConfig
from samadapt.adapters.online.settings import OnlineSettings

__all__ = ["OnlineAdapter", "OnlineConfig", "OnlineSettings"]
