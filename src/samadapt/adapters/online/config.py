"""`OnlineConfig`: the config of an online adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.online.settings import DEFAULT, OnlineSettings


@dataclass(frozen=True, kw_only=True)
class OnlineConfig(AdapterConfig):
    """Config of an online adapter.

    Attributes:
        preset: name of the preset that the settings come from; "" for other settings.
        settings: as returned by `OnlineSettings.to_dict`.
        seed: of everything random in learning.
    """

    method: str = "online"
    preset: str = DEFAULT
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        given = OnlineSettings.from_dict(self.settings) if self.settings else None
        chosen = given or OnlineSettings.preset(self.preset or DEFAULT)
        object.__setattr__(self, "settings", MappingProxyType(chosen.to_dict()))
        super().__post_init__()


def config_of(settings: OnlineSettings | str, seed: int) -> OnlineConfig:
    """The config of a preset's name, or of settings."""
    if isinstance(settings, str):
        plain = OnlineSettings.preset(settings).to_dict()
        return OnlineConfig(preset=settings, settings=plain, seed=seed)
    return OnlineConfig(preset="", settings=settings.to_dict(), seed=seed)
