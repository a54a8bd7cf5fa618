"""Creation, description and closing of adapters in benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from samadapt.adapters.base import Adapter
from samadapt.adapters.registry import create_adapter, method_names
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams


def seeded_adapter(spec: str, model: SegmentationModel, seed: int) -> Adapter:
    """Create an adapter by name; a new adapter gets the seed if its config has one.

    Raises:
        AdapterError: an unknown adapter, or one made for another model.
    """
    adapter = create_adapter(spec)
    if spec.partition(":")[0] in method_names():
        adapter = type(adapter)(adapter.config.seeded(seed))
    adapter.bind(model)
    return adapter


def attach(
    adapters: Sequence[str | Seams], model: SegmentationModel, seed: int
) -> list[tuple[str, Seams]]:
    """Return adapters with their names; those given by name are created."""
    return [
        (given, seeded_adapter(given, model, seed))
        if isinstance(given, str)
        else (given.title, given)
        for given in adapters
    ]


def close(adapters: Iterable[Seams]) -> None:
    """Let adapters release their threads and temporary files."""
    for adapter in adapters:
        adapter.close()


def describe_adapter(spec: str, seam: Seams) -> dict[str, Any]:
    """Describe an adapter, as plain JSON values."""
    return {"spec": spec, "method": seam.title, "config": seam.describe()}
