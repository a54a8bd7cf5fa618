"""Values that adapters report from the decoder calls inside one block of code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

_READINGS: ContextVar[dict[str, list[Tensor]] | None] = ContextVar(
    "samadapt_readings", default=None
)


@contextmanager
def readings() -> Iterator[Mapping[str, list[Tensor]]]:
    """Collect the tensors that adapters report inside the block, by name, on the CPU.

    The collection belongs to the current thread or task, so that calls of other threads are not
    recorded in it.

        with readings() as found:
            model.predict(embedding, prompt, adapters=[stable])
        alpha1, alpha2 = found["alphas"][0][0].tolist()
    """
    found: dict[str, list[Tensor]] = defaultdict(list)
    token = _READINGS.set(found)
    try:
        yield found
    finally:
        _READINGS.reset(token)


def note(name: str, values: Tensor) -> None:
    """Record values of one decoder call if a `readings` block is active."""
    found = _READINGS.get()
    if found is not None:
        found[name].append(values.detach().float().cpu())
