"""Adapters as benchmarks name, create, describe and close them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

from samadapt.adapters.base import Adapter
from samadapt.adapters.registry import create_adapter, method_names
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams

_LEARNING = ("on_open", "on_click", "on_undo", "on_accept", "on_skip")


def seeded_adapter(spec: str, model: SegmentationModel, seed: int) -> Adapter:
    """Create an adapter by name; a new one of a method whose config has a `seed` gets this one.

    Raises:
        AdapterError: an unknown adapter, or one made for another model.
    """
    adapter = create_adapter(spec)
    is_new = spec.partition(":")[0] in method_names()
    if is_new and any(field.name == "seed" for field in fields(adapter.config)):
        adapter = type(adapter)(replace(adapter.config, seed=seed))  # type: ignore[call-arg]
    adapter.bind(model)
    return adapter


def attach(
    adapters: Sequence[str | Seams], model: SegmentationModel, seed: int
) -> list[tuple[str, Seams]]:
    """Return adapters with their names; those given by name are created."""
    return [
        (given, seeded_adapter(given, model, seed))
        if isinstance(given, str)
        else (method_of(given), given)
        for given in adapters
    ]


def close(adapters: Iterable[Seams]) -> None:
    """Let adapters release their threads and temporary files."""
    for adapter in adapters:
        release = getattr(adapter, "close", None)
        if callable(release):
            release()


def learns(seam: Seams) -> bool:
    """Return whether an adapter learns during a session, so that the order of objects counts."""
    return isinstance(seam, Adapter) and any(
        getattr(type(seam), name) is not getattr(Adapter, name) for name in _LEARNING
    )


def method_of(seam: Seams) -> str:
    """Return the name of an adapter's method."""
    return getattr(seam, "method", "") or type(seam).__name__


def describe_adapter(spec: str, seam: Seams) -> dict[str, Any]:
    """Describe an adapter, as plain JSON values."""
    config = seam.config.to_dict() if isinstance(seam, Adapter) else {}
    return {"spec": spec, "method": method_of(seam), "config": config}
