"""`Learner`: handles the events of online adaptation. It belongs to one thread at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from samadapt.adapters.base import Interaction
from samadapt.adapters.online.backlog import Backlog
from samadapt.adapters.online.clicked_object import ClickedObject, Published
from samadapt.adapters.online.decoder_trainer import DecoderTrainer, Interrupted, NotFinite
from samadapt.adapters.online.depths import BOUNDS, depth_of, late_prompts
from samadapt.adapters.online.domains import Domain, DomainBook
from samadapt.adapters.online.memory import MEGABYTE, ReplayMemory
from samadapt.adapters.online.optimiser import Moments, is_finite
from samadapt.adapters.online.prompt_evaluator import PromptEvaluator
from samadapt.adapters.online.pseudo_labels import disagreement
from samadapt.adapters.online.replay_sample import ReplaySample, replay_sample_of
from samadapt.adapters.online.settings import OnlineSettings
from samadapt.adapters.online.waiting import Waiting
from samadapt.errors import DataError, ModelError
from samadapt.metrics import iou
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.models.signature import Signature
from samadapt.prompts import Prompt

Result = TypeVar("Result")

_MOST_CONTRADICTED = 0.25
_MOST_LOST = 0.1


class Learner:
    """Learns from clicks and accepted objects, and chooses the weights for the next prompt.

    Weights are changes from the base decoder, flat (P,); None stands for no change. Published
    tensors are never changed in place.

    Args:
        settings: of online adaptation.
        seed: of the replay.
        own: the adapter that it learns for, one of an interaction's adapters.
        check: called between the decoder's layers; may raise `Interrupted`.
    """

    def __init__(
        self,
        settings: OnlineSettings,
        seed: int,
        own: Seams,
        check: Callable[[], None] | None = None,
    ) -> None:
        self.settings = settings
        self.book = DomainBook()
        self.notes: list[str] = []
        """Messages for the person; the caller who shows them empties the list."""
        self._seed = seed
        self._own = own
        self._check = check
        self._trainer: DecoderTrainer | None = None
        self._object = ClickedObject(None)
        self.backlog = Backlog()
        """Objects that ended and wait to be learned."""
        replay = settings.replay
        steps = (*settings.accept.parts, *settings.skip.parts)
        prompts = [p for parts in steps for o, p in parts if o == "replay"]
        self._prompts = {p for parts in steps for _, p in parts}
        self.memory = ReplayMemory(
            replay.objects, prompts, replay.megabytes * MEGABYTE, replay.disk_megabytes * MEGABYTE
        )

    def published(self, number: int) -> Published:
        """The weights for predictions while the current object has this number."""
        return self._object.published(number)

    @property
    def is_trusted(self) -> bool:
        """True if the adapted decoder is used for any prompts of the current domain."""
        depths = (1, *BOUNDS) if self.settings.guard.depths else (1,)
        return any(map(self._trusts, depths))

    @property
    def has_lost(self) -> bool:
        """True if the adapted decoder is no longer used because it lost on the last objects."""
        return not self.is_trusted and self.book.active.evidence.has_lost(self.settings.guard)

    def trainer(self, interaction: Interaction) -> DecoderTrainer:
        """The decoder that is trained, made when it is first needed."""
        if self._trainer is None or not self._trainer.fits(interaction):
            self._trainer = DecoderTrainer(interaction, self._own, self.settings, self._check)
        return self._trainer

    def start_from(self, book: DomainBook, samples: Path | None = None) -> None:
        """Start from a loaded state, with the replay memory in the folder `samples`."""
        self.book = book
        self.memory.close()
        if samples is not None:
            self.memory.load(samples, {domain.number for domain in book.domains})
        self._next_object()

    # -- events ---------------------------------------------------------------------------

    def open(self, embedding: ImageEmbedding) -> None:
        """Find the domain of an opened image, and begin with an object."""
        guard = self.settings.guard
        before = {domain.number for domain in self.book.domains}
        self.book = self.book.opening(Signature.of(embedding), guard.domains, guard.distance)
        for number in before - {domain.number for domain in self.book.domains}:
            self.memory.forget(number)
        self._next_object()

    def click(self, interaction: Interaction) -> None:
        """Learn from the clicks so far.

        Raises:
            Interrupted: nothing was learned.
        """
        self._learn_click(interaction)
        self._object.keep(interaction.step)

    def _learn_click(self, interaction: Interaction) -> None:
        now, click, number = self._object, self.settings.click, len(interaction.prompts) + 1
        now.has_candidates |= interaction.candidates > 1
        now.go_on(self._is_frozen_at(number))
        if not click.answers(number):
            now.forget()
            return
        try:
            if click.loss != "none" and interaction.clicks:
                now.learn(self.trainer(interaction), interaction, self.settings.click)
        except NotFinite:
            now.forget()
            self.notes.append(
                "learning from this click gave numbers that are not finite; the weights from "
                "before the object are used again"
            )

    def undo(self, interaction: Interaction) -> None:
        """Return to the weights after `interaction.step`, or learn them again."""
        if not self._object.return_to(interaction.step):
            self._object.begin_again()
            for count in range(1, len(interaction.prompts) + 1):
                prompts = interaction.prompts[:count]
                self._learn_click(replace(interaction, prompts=prompts, clicks=prompts[-1].clicks))
            self._object.keep(interaction.step)

    def end(self, interaction: Interaction, mask: NDArray[np.bool_] | None) -> None:
        """Queue an object that was accepted with `mask` (H, W) or skipped (None) for learning.

        The weights from before the object are restored until then.
        """
        finished, number = self._object, self.book.current
        self._next_object()
        is_accepted = mask is not None
        if mask is None:
            mask = self._given_up(interaction)
        elif not mask.any() or not interaction.prompts:
            self.notes.append("an empty mask was accepted: nothing is learned from it")
            return
        if mask is not None:
            change = finished.change if is_accepted and self.settings.click.keep else None
            several = finished.has_candidates
            self.backlog.add(number, interaction, mask, several, change, is_accepted)

    def learn(
        self, entry: Waiting, model: SegmentationModel, adapters: tuple[Seams, ...]
    ) -> Generator[None, None, None]:
        """Learn a queued object; the caller may pause at every `yield` and resume later.

        Events handled in between use the earlier weights until learning is done.
        """
        try:
            interaction, change = self.backlog.opened(entry, model, adapters)
        except (DataError, ModelError) as error:
            self.notes.append(f"{error}; this object is not learned")
            return
        domain = self._domain_of(entry, interaction)
        if domain is None:
            return
        trainer = self.trainer(interaction)
        sample = replay_sample_of(
            interaction.model,
            interaction,
            entry.mask,
            self._prompts,
            is_accepted=entry.is_accepted,
            candidates=entry.several,
        )
        learn = self._accepted if entry.is_accepted else self._skipped
        yield from learn(domain, trainer, interaction, sample, change)

    def give_up(self, error: Exception) -> None:
        """Restore the weights from before the object after an error."""
        self._next_object()
        self.notes.append(
            f"learning failed ({type(error).__name__}: {error}); the weights from before are used"
        )

    # -- steps of learning ------------------------------------------------------------------

    def _given_up(self, interaction: Interaction) -> NDArray[np.bool_] | None:
        """The last mask of a skipped object; None when nothing is learned from it."""
        skip, mask = self.settings.skip, interaction.mask
        if not skip.steps or mask is None or not mask.any():
            return None
        contradicted = disagreement(mask, interaction.clicks) > _MOST_CONTRADICTED
        return None if contradicted or len(interaction.clicks) < skip.least_clicks else mask

    def _domain_of(self, entry: Waiting, interaction: Interaction) -> Domain | None:
        """The domain of an object; its own may have been lost in a restart."""
        found = self.book.get(entry.domain)
        if found is not None and (found.signature is not None or entry.interaction is not None):
            return found
        if entry.interaction is not None:
            return None  # its domain was replaced
        guard, current = self.settings.guard, self.book.current
        signature = Signature.of(interaction.embedding)
        book = self.book.opening(signature, guard.domains, guard.distance)
        known = book.get(current) is not None
        self.book = replace(book, current=current) if known else book
        return book.active

    def _skipped(
        self,
        domain: Domain,
        trainer: DecoderTrainer,
        interaction: Interaction,
        sample: ReplaySample,
        change: Tensor | None,
    ) -> Generator[None, None, None]:
        skip = self.settings.skip
        try:
            domain = yield from self._taught(domain, trainer, interaction, sample, skip.parts)
            if skip.replay:
                self.memory.add(domain.number, sample)
        except NotFinite:
            self.notes.append(_undone("a skipped object"))
        self._settle(domain)

    def _accepted(
        self,
        domain: Domain,
        trainer: DecoderTrainer,
        interaction: Interaction,
        sample: ReplaySample,
        change: Tensor | None,
    ) -> Generator[None, None, None]:
        domain, is_credible = self._checked(domain, interaction, sample.mask)
        if is_credible:
            evaluator = PromptEvaluator(trainer, interaction, sample)
            domain, before = yield from self._with_evidence(domain, evaluator, interaction.prompts)
            try:
                if change is not None:
                    long_term = trainer.zeros() if domain.delta is None else domain.delta
                    domain = replace(domain, delta=long_term + change.to(long_term.device))
                steps = self.settings.accept.parts
                taught = yield from self._taught(domain, trainer, interaction, sample, steps)
                after = yield from _patiently(lambda: evaluator.first(taught.delta, before))
                if after >= before - _MOST_LOST:
                    domain = replace(taught, accepted=domain.accepted + 1)
                    self.memory.add(domain.number, sample)
                else:  # learning did not even help on the learned object
                    domain = replace(domain, moments=Moments())
            except NotFinite:
                self.notes.append(_undone("the accepted object"))
        self._settle(domain)

    def _checked(
        self, domain: Domain, interaction: Interaction, mask: NDArray[np.bool_]
    ) -> tuple[Domain, bool]:
        """Return the domain, and False if an accepted mask looks like a mistake.

        A mask with brush strokes that fits its clicks was made with care, however much it changed,
        and says nothing about how much other masks may change.
        """
        guard = self.settings.guard
        if not guard.reject_outliers:
            return domain, True
        fits_clicks = disagreement(mask, interaction.clicks) <= _MOST_CONTRADICTED
        if interaction.painted is not None:
            return domain, fits_clicks
        surprise = 0.0 if interaction.mask is None else 1 - iou(interaction.mask, mask)
        is_credible = fits_clicks and not domain.evidence.is_outlier(surprise)
        evidence = domain.evidence.with_surprise(surprise, guard)
        return replace(domain, evidence=evidence), is_credible

    def _with_evidence(
        self, domain: Domain, evaluator: PromptEvaluator, prompts: Sequence[Prompt]
    ) -> Generator[None, None, tuple[Domain, float]]:
        """Compare adapted and frozen decoder on an object that neither has learned yet.

        Returns the domain, and the first-prompt IoU of the weights that will be trained.
        """
        guard, delta = self.settings.guard, domain.delta
        if not guard.evidence or not evaluator.can_judge:
            return domain, 0.0
        clicks = 0 if guard.depths else 1
        frozen = yield from _patiently(lambda: evaluator.answers(None, clicks))
        if delta is None:
            return domain, frozen[0]
        adapted = yield from _patiently(lambda: evaluator.answers(delta, clicks))
        gain = (sum(adapted) - sum(frozen)) / 2
        evidence = domain.evidence.with_gain(gain, guard)
        if guard.depths:
            rng = np.random.default_rng((self._seed, domain.number, domain.accepted, len(prompts)))
            for depth, prompt in late_prompts(prompts, rng):
                before = yield from _patiently(lambda p=prompt: evaluator.at(None, p))  # type: ignore[misc]
                after = yield from _patiently(lambda p=prompt: evaluator.at(delta, p))  # type: ignore[misc]
                domain = replace(domain, late=domain.late.with_gain(depth, after - before, guard))
        if domain.evidence.answers(guard) and not evidence.answers(guard):
            domain = replace(domain, delta=delta / 2, moments=Moments())
        return replace(domain, evidence=evidence), adapted[0]

    def _taught(
        self,
        domain: Domain,
        trainer: DecoderTrainer,
        interaction: Interaction,
        sample: ReplaySample,
        steps: tuple[tuple[tuple[str, str], ...], ...],
    ) -> Generator[None, None, Domain]:
        """Take the steps of the recipe."""
        accept = self.settings.accept
        if not steps:
            return domain
        seed = self._seed, domain.number, domain.accepted, domain.moments.steps
        rng = np.random.default_rng(seed)
        delta = trainer.zeros() if domain.delta is None else domain.delta
        descent = accept.descent.scaled((1 + accept.decay * domain.accepted) ** -0.5)
        moments = domain.moments if accept.keep_moments else Moments()
        for parts in steps:
            chosen = []
            for which, prompt in parts:
                source = sample if which == "new" else self.memory.draw(domain.number, rng)
                example = None if source is None else source.draw(prompt, rng)
                if source is not None and example is not None:
                    chosen.append((source, prompt, example))
            if chosen:
                gradient = yield from _patiently(
                    lambda now=delta, what=chosen: trainer.gradient(now, interaction, what)  # type: ignore[misc]
                )
                delta, moments = descent.step(delta, gradient, moments)
        if not is_finite(delta):
            raise NotFinite
        return replace(domain, delta=delta, moments=moments if accept.keep_moments else Moments())

    def _settle(self, domain: Domain) -> None:
        """Store the learned weights in the domain, and use them from now on."""
        now = self.book.get(domain.number)
        if now is not None:
            merged = replace(domain, signature=now.signature, used=now.used)
            self.book = self.book.updated(merged)
        self._object.rebase(self._long_term(), self._is_frozen_at(1))

    def _next_object(self) -> None:
        self._object = ClickedObject(self._long_term(), self._is_frozen_at(1))

    def _long_term(self) -> Tensor | None:
        """Weights that the next object starts from; None if they are trusted at no depth."""
        return self.book.active.delta if self.is_trusted else None

    def _is_frozen_at(self, number: int) -> bool:
        """Return True if an object's n-th prompt is decoded with the frozen weights."""
        return self.settings.guard.depths and not self._trusts(number)

    def _trusts(self, number: int) -> bool:
        """Whether the domain's learned weights answer an object's n-th prompt (from 1 on)."""
        guard, domain = self.settings.guard, self.book.active
        depth = depth_of(number)
        if depth and guard.depths:
            return domain.late.trusts(depth, guard)
        return domain.evidence.answers(guard)


def _undone(what: str) -> str:
    return f"learning from {what} gave numbers that are not finite; it was undone"


def _patiently(action: Callable[[], Result]) -> Generator[None, None, Result]:
    """Repeat an action that may be interrupted until it completes."""
    while True:
        yield
        try:
            return action()
        except Interrupted:
            continue
