"""What the router said in the calls of one block of code, and of nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

_RECORD: ContextVar[list[Tensor] | None] = ContextVar("samadapt_stable_alphas", default=None)


@contextmanager
def recorded_alphas() -> Iterator[list[Tensor]]:
    """Collect alpha (B, 2), on the CPU, of every decoder call inside the block, in order.

    The list belongs to the current thread or task: calls of other people do not end up in it,
    and theirs go on undisturbed.

        with recorded_alphas() as alphas:
            model.predict(embedding, prompt, adapters=[stable])
        alpha1, alpha2 = alphas[0][0].tolist()
    """
    found: list[Tensor] = []
    token = _RECORD.set(found)
    try:
        yield found
    finally:
        _RECORD.reset(token)


def record(alphas: Tensor) -> None:
    """Note alpha (B, 2) of one decoder call, if somebody is collecting."""
    found = _RECORD.get()
    if found is not None:
        found.append(alphas.detach().float().cpu())
