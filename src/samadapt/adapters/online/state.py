"""Conversion between the learned state and named tensors, one group of tensors per domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from samadapt.adapters.online.depths import BOUNDS, LateEvidence
from samadapt.adapters.online.domains import Domain, DomainBook
from samadapt.adapters.online.evidence import Evidence
from samadapt.adapters.online.optimiser import Moments
from samadapt.adapters.online.weights import Layout
from samadapt.errors import AdapterError
from samadapt.models.signature import Signature

_BOOK = "book"
_VECTORS = ("delta", "first", "second")


def book_to_tensors(book: DomainBook, layout: Layout | None) -> dict[str, Tensor]:
    """Named tensors of all domains with an opened image or a learned object.

    Per domain k: "k.numbers" (number, used, accepted, optimiser steps, trusted, images),
    "k.gains", "k.late.1" and on (gains at later prompts), "k.surprises", "k.signature" (2, C) and
    "k.spread"; for each trained parameter "k.delta.NAME" (its change from the base decoder) and,
    where the optimiser goes on from object to object, "k.first.NAME" and "k.second.NAME".
    """
    tensors = {_BOOK: torch.tensor([book.current, book.opened])}
    for index, domain in enumerate(book.domains):
        tensors |= {f"{index}.{k}": v for k, v in _domain_tensors(domain, layout).items()}
    return tensors


def tensors_to_book(tensors: Mapping[str, Tensor], layout: Layout | None) -> DomainBook:
    """Read tensors that `book_to_tensors` returned.

    Raises:
        AdapterError: tensors are missing, of other shapes than the decoder's, or not finite.
    """
    if not tensors:
        return DomainBook()
    try:
        current, opened = (int(v) for v in tensors[_BOOK])
        groups: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            head, _, rest = name.partition(".")
            if rest:
                groups.setdefault(int(head), {})[rest] = tensor
        domains = tuple(_domain_of(groups[index], layout) for index in sorted(groups))
        book = DomainBook(domains, current, opened)
        book.find(current)
    except (KeyError, ValueError, IndexError, StopIteration) as error:
        raise AdapterError(
            f"the weights are not those of an online adapter ({type(error).__name__}: {error})"
        ) from None
    return book


def _domain_tensors(domain: Domain, layout: Layout | None) -> dict[str, Tensor]:
    signature, evidence, moments = domain.signature, domain.evidence, domain.moments
    numbers = [
        domain.number,
        domain.used,
        domain.accepted,
        moments.steps,
        int(evidence.trusted),
        0 if signature is None else signature.images,
    ]
    found = {
        "numbers": torch.tensor(numbers),
        "gains": torch.tensor(evidence.gains, dtype=torch.float64),
        "surprises": torch.tensor(evidence.surprises, dtype=torch.float64),
    }
    for depth, gains in enumerate(domain.late.gains, 1):
        found[f"late.{depth}"] = torch.tensor(gains, dtype=torch.float64)
    if signature is not None:
        found["signature"] = torch.stack([signature.mean, signature.deviation])
        found["spread"] = torch.tensor(signature.spread, dtype=torch.float64)
    vectors = (domain.delta, moments.first, moments.second)
    for name, vector in zip(_VECTORS, vectors, strict=True):
        if vector is not None and layout is not None:
            views = layout.views(vector.detach())
            found |= {f"{name}.{n}": view.contiguous() for n, view in views.items()}
    return found


def _domain_of(tensors: Mapping[str, Tensor], layout: Layout | None) -> Domain:
    number, used, accepted, steps, trusted, images = (int(v) for v in tensors["numbers"])
    signature = None
    if "signature" in tensors:
        mean, deviation = tensors["signature"]
        signature = Signature(mean, deviation, images, float(tensors["spread"]))
    delta, first, second = (_vector(tensors, name, layout) for name in _VECTORS)
    evidence = Evidence(
        tuple(tensors["gains"].tolist()), tuple(tensors["surprises"].tolist()), bool(trusted)
    )
    depths = range(1, len(BOUNDS) + 1)
    none = torch.empty(0)  # states of earlier versions lack it
    late = LateEvidence(tuple(tuple(tensors.get(f"late.{d}", none).tolist()) for d in depths))
    domain = Domain(number, delta, Moments(first, second, steps), accepted, evidence, late)
    return replace(domain, signature=signature, used=used)


def _vector(tensors: Mapping[str, Tensor], name: str, layout: Layout | None) -> Tensor | None:
    prefix = name + "."
    named = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    if not named or layout is None:
        return None
    if unknown := sorted(set(named) - set(layout.names)):
        raise AdapterError(f"the decoder has no parameter {unknown[0]!r} that is trained")
    vector = layout.flat(named)
    if not bool(torch.isfinite(vector).all()):
        raise AdapterError(f"the stored {name} is not finite")
    return vector
