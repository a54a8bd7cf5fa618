"""The baselines by name."""

from __future__ import annotations

from collections.abc import Sequence

from samadapt.benchmark.baselines.base import Baseline
from samadapt.benchmark.baselines.grabcut import GrabCut
from samadapt.benchmark.baselines.random_walker import RandomWalker
from samadapt.errors import DataError

BASELINES: dict[str, type[Baseline]] = {method.name: method for method in (GrabCut, RandomWalker)}
"""All baselines, in the order in which tables show them."""


def create_baselines(names: Sequence[str]) -> list[Baseline]:
    """Return baselines with their default settings, each once.

    Raises:
        DataError: an unknown name.
    """
    for name in names:
        if name not in BASELINES:
            raise DataError(f"no baseline {name!r}: use one or more of {', '.join(BASELINES)}")
    return [BASELINES[name]() for name in dict.fromkeys(names)]
