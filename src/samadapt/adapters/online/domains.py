"""Domains: kinds of images that are told apart by the statistics of their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from samadapt.adapters.online.depths import LateEvidence
from samadapt.adapters.online.evidence import Evidence
from samadapt.adapters.online.optimiser import Moments
from samadapt.models.signature import Signature


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """State learned from one kind of images. Immutable, its tensors are never changed in place.

    Attributes:
        number: never reused in one adapter.
        delta: (P,) change of the trained parameters from the base decoder; None for no change.
        moments: of the optimiser.
        accepted: number of objects learned.
        evidence: comparison with the frozen decoder at first prompts.
        late: comparison with the frozen decoder at later prompts of an object.
        signature: feature statistics of its images; None before the first one.
        used: time at which an image of it was last opened, counted in opened images.
    """

    number: int
    delta: Tensor | None = None
    moments: Moments = field(default_factory=Moments)
    accepted: int = 0
    evidence: Evidence = field(default_factory=Evidence)
    late: LateEvidence = field(default_factory=LateEvidence)
    signature: Signature | None = None
    used: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class DomainBook:
    """All domains and the one in use. Immutable."""

    domains: tuple[Domain, ...] = (Domain(0),)
    current: int = 0
    opened: int = 0

    @property
    def active(self) -> Domain:
        """The domain in use."""
        return self.find(self.current)

    def find(self, number: int) -> Domain:
        """The domain of that number."""
        return next(domain for domain in self.domains if domain.number == number)

    def get(self, number: int) -> Domain | None:
        """The domain of that number; None if it was removed to make room for another."""
        return next((domain for domain in self.domains if domain.number == number), None)

    def updated(self, domain: Domain) -> DomainBook:
        """Return the book with a new state of one domain."""
        changed = tuple(domain if d.number == domain.number else d for d in self.domains)
        return replace(self, domains=changed)

    def opening(self, image: Signature, most: int, distance: float) -> DomainBook:
        """Return the book with the domain of an opened image in use.

        The nearest domain is used if the image is within its reach (`Signature.reach`, with
        `distance` as prior). Otherwise a new domain begins with the base decoder's weights; if
        there are `most` already, it replaces the least recently used one.
        """
        opened = self.opened + 1
        book = replace(self, opened=opened)
        fresh = [d for d in self.domains if d.signature is None]
        if fresh:
            return book._entered(replace(fresh[0], signature=image, used=opened))
        near = [(_apart(d, image), d) for d in self.domains]
        gap, domain = min(near, key=lambda pair: pair[0])
        known = domain.signature
        if known is None:
            return book
        if most == 1 or gap <= known.reach(distance):
            return book._entered(replace(domain, signature=known.joined(image), used=opened))
        kept: Sequence[Domain] = self.domains
        if len(kept) >= most:
            oldest = min(kept, key=lambda d: d.used)
            kept = [d for d in kept if d is not oldest]
        number = max(d.number for d in self.domains) + 1
        begun = Domain(number, signature=image, used=opened)
        kept = [replace(d, moments=Moments()) for d in kept]
        return replace(book, domains=(*kept, begun), current=number)

    def _entered(self, domain: Domain) -> DomainBook:
        book = self.updated(domain) if domain.number == self.current else self._at_rest(domain)
        return replace(book, current=domain.number)

    def _at_rest(self, domain: Domain) -> DomainBook:
        """Reset the optimisers of all domains except the given one."""
        others = tuple(
            domain if d.number == domain.number else replace(d, moments=Moments())
            for d in self.domains
        )
        return replace(self, domains=others)


def _apart(domain: Domain, image: Signature) -> float:
    return float("inf") if domain.signature is None else domain.signature.distance(image)
