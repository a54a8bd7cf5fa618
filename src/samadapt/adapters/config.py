"""`AdapterConfig`: the description of an adapter, stored beside its weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Self

from samadapt.adapters.fitting import TrainingFacts
from samadapt.errors import AdapterError
from samadapt.models.embedding import ModelIdentity


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Config of an adapter. Methods add their own fields in a subclass.

    Two fields mean the same in every method: `category` is the task that an adapter was taught,
    and `seed` seeds everything random.

    Attributes:
        method: name of the method, as registered.
        base_model: the model it is bound to; None before.
        recipe: how it was trained (learning rate, epochs, seed, ...).
        training_data: summary of its training data (names, counts; never images).
        metrics: values reached in training, by name.

    Raises:
        AdapterError: no method, or a value that JSON cannot hold.
    """

    method: str
    base_model: ModelIdentity | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    training_data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.method, str) or not self.method:
            raise AdapterError("the adapter's config names no method")
        if self.base_model is not None and not isinstance(self.base_model, ModelIdentity):
            raise AdapterError(f"base_model must be a ModelIdentity, not {self.base_model!r}")
        for name in ("recipe", "training_data", "metrics"):
            given = getattr(self, name)
            if not isinstance(given, Mapping):
                raise AdapterError(f"adapter config: {name} must be a mapping, not {given!r}")
            object.__setattr__(self, name, MappingProxyType(dict(given)))
        try:
            json.dumps(self.to_dict(), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise AdapterError(f"adapter config of {self.method!r} is no JSON: {error}") from None

    def check_whole(self, least: int, *names: str) -> None:
        """Raise `AdapterError` unless these fields are whole numbers of at least `least`."""
        for name in names:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise AdapterError(f"{name}={value!r}: use a whole number, {least} or more")

    def check_positive(self, *names: str, or_zero: bool = False) -> None:
        """Raise `AdapterError` unless these fields are finite numbers above 0 (or 0)."""
        for name in names:
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and math.isfinite(value) and (value > 0 or (or_zero and value == 0))):
                zero = "0 or " if or_zero else ""
                raise AdapterError(f"{name}={value!r}: use {zero}a positive number")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values = {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}
        if self.base_model is not None:
            values["base_model"] = {
                "name": self.base_model.name,
                "weights_hash": self.base_model.weights_hash,
            }
        return values

    @property
    def task(self) -> str | None:
        """The category that the adapter was taught; None unless it was taught exactly one."""
        own = vars(self).get("category")
        name = self.recipe.get("category") if own is None else own
        return name if isinstance(name, str) else None

    def with_task(self, name: str | None) -> Self:
        """The config with this category, if the method has such a field."""
        return self._with("category", name)

    def seeded(self, seed: int) -> Self:
        """The config with this seed, if the method has such a field."""
        return self._with("seed", seed)

    def for_training(self, facts: TrainingFacts) -> Self:
        """The config of a new adapter for a training run."""
        return self.seeded(facts.seed)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read values that `to_dict` returned.

        Raises:
            AdapterError: unknown or missing fields, or bad values.
        """
        if unknown := sorted(set(values) - {f.name for f in fields(cls)}):
            raise AdapterError(f"adapter config has unknown fields {unknown}: update samadapt")
        given = dict(values)
        base = given.get("base_model")
        try:
            if base is not None:
                given["base_model"] = ModelIdentity(str(base["name"]), str(base["weights_hash"]))
            return cls(**given)
        except (TypeError, KeyError) as error:
            raise AdapterError(f"adapter config is incomplete or broken: {error}") from None

    def _with(self, name: str, value: object) -> Self:
        changes: dict[str, Any] = {name: value}
        return replace(self, **changes) if name in vars(self) else self
