"""`OnlineAdapter`: the mask decoder learns while one annotates (Schön et al. 2024 and later)."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.adapters.base import Adapter, Interaction, SessionReport
from samadapt.adapters.files import read_folder, saved_hash
from samadapt.adapters.online.clicked_object import Published
from samadapt.adapters.online.config import OnlineConfig, config_of
from samadapt.adapters.online.domains import DomainBook
from samadapt.adapters.online.learner import Learner
from samadapt.adapters.online.settings import DEFAULT, OnlineSettings, preset_texts
from samadapt.adapters.online.state import book_to_tensors, tensors_to_book
from samadapt.adapters.online.weights import Layout, decoder_with
from samadapt.adapters.online.worker import Event, Worker
from samadapt.adapters.registry import register
from samadapt.errors import AdapterError, DataError, ModelError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.hashing import hash_tensors
from samadapt.models.seams import Seams

_PATIENCE_SECONDS = 0.05
_REPLAY = "replay"
_WAITING = "waiting"
_HANDED = "handed"
_LOST = ("waiting objects stay in memory", "this object is saved, but not learned")


@register("online")
class OnlineAdapter(Adapter):
    """Adapts the mask decoder (seam 3) to the images at hand, from clicks and accepted masks.

    While an object is being clicked, its clicks are labels; once it is accepted, its mask is the
    label. The settings define how both are learned. The learned weights are kept per domain, and
    are used only as long as they do better than the frozen decoder on the objects accepted last.
    The model itself is never changed.

    Use a separate adapter for every project. Memory: P trained parameters (float32) are held up
    to four times for optimisation (base, working copy, two for Adam), once per domain, once for
    the published weights, and up to nine times for three steps of undo while an object is
    clicked; the settings bound the memory of views for replay.

    Args:
        config: of an adapter folder; defaults to the preset "default".
        settings: instead of a config: a preset's name, or settings.
        seed: of everything random.
        background: learn in a thread. The `on_...` methods return at once, predictions use the
            weights published last, and a learning step is interrupted when a prediction begins.
            False learns before they return, which makes every result reproducible.
        autosave: folder to save to after every accepted object, including replay samples (in a
            sub-folder `replay`), which are loaded again with the state; a failure is a warning.
            Objects that wait to be learned are kept there too (`waiting`), see `resume`.
        follows: folder that another process saves to. Accepted objects are handed over to that
            process (in a sub-folder `handed`) instead of being learned; see `catch_up`.
    """

    about = "learns while you annotate"
    learns_in_session = True
    is_session_default = True
    config_class = OnlineConfig
    config: OnlineConfig

    def __init__(
        self,
        config: OnlineConfig | None = None,
        *,
        settings: OnlineSettings | str = DEFAULT,
        seed: int = 0,
        background: bool = False,
        autosave: str | os.PathLike[str] | None = None,
        follows: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(config or config_of(settings, seed))
        self.settings = OnlineSettings.from_dict(self.config.settings)
        self.background = background
        self.autosave = None if autosave is None else Path(autosave)
        self.follows = None if follows is None else Path(follows)
        self._seen: str | None = None
        self._worker = Worker(self._failed)
        check = self._worker.check if background else None
        self._learner = Learner(self.settings, self.config.seed, self, check)
        self._number = self._begun = 0
        self._published = Published()
        self._decoder: tuple[nn.Module, Tensor, nn.Module] | None = None
        self._layout: Layout | None = None
        self._loaded: Mapping[str, Tensor] | None = None
        self._lock = threading.RLock()
        self._is_learning = False
        self._used_with: tuple[SegmentationModel, tuple[Seams, ...]] | None = None

    @classmethod
    def create(cls, variant: str | None = None) -> Self:
        """An untrained adapter with the settings of a preset.

        Raises:
            AdapterError: no such preset.
        """
        return cls(settings=variant or DEFAULT)

    @classmethod
    def variant_texts(cls) -> Mapping[str, str]:
        """The presets besides the default one."""
        return {name: text for name, text in preset_texts().items() if name != DEFAULT}

    # -- the seam -----------------------------------------------------------------------------

    def mask_decoder(self, base: nn.Module) -> nn.Module:
        """Return the adapted decoder, or `base` while nothing that was learned is in use."""
        self._know(base)
        if self.background:
            self._worker.make_way(_PATIENCE_SECONDS)
        delta = self._published.of(self._begun)
        if delta is None:
            return base
        with self._lock:
            kept = self._decoder
            if kept is None or kept[0] is not base or kept[1] is not delta:
                layout = self._layout_of(base)
                kept = (base, delta, decoder_with(base, layout, layout.of(base) + delta))
                self._decoder = kept
            return kept[2]

    def bind(self, model: SegmentationModel) -> None:
        """Bind this adapter to `model`, or check that it was made for `model`."""
        super().bind(model)
        self._know(model.decoder)

    # -- life cycle -----------------------------------------------------------------------------

    def on_open(self, embedding: ImageEmbedding) -> None:
        """Find the image's domain; an unfinished object is forgotten."""
        self._do(lambda: self._learner.open(embedding), begins=True)

    def on_click(self, interaction: Interaction) -> None:
        """Learn from the clicks so far."""
        self._do(lambda: self._learner.click(interaction), learns=True)

    def on_undo(self, interaction: Interaction) -> None:
        """Return to the weights after an earlier step."""
        self._do(lambda: self._learner.undo(interaction))

    def on_skip(self, interaction: Interaction) -> None:
        """Restore the weights from before the object, and learn from its clicks."""
        self._end(interaction, None)

    def on_accept(self, interaction: Interaction, mask: NDArray[np.bool_]) -> None:
        """Learn from the accepted mask, then save if asked to."""
        self._end(interaction, mask)

    def on_withdraw(self, embedding: ImageEmbedding, mask: NDArray[np.bool_]) -> None:
        """Do not learn an accepted object that still waits; what was learned stays."""
        self._do(lambda: self._learner.backlog.withdraw(embedding, mask))

    def on_restore(self, embedding: ImageEmbedding, mask: NDArray[np.bool_]) -> None:
        """Learn a withdrawn object after all."""
        if self._used_with is not None:
            self._train(lambda: self._learner.backlog.restore(embedding, mask), *self._used_with)

    def resume(self, model: SegmentationModel, adapters: tuple[Seams, ...]) -> None:
        """Learn accepted objects that an earlier run saved in `autosave` but did not learn.

        The adapters are all in use, in order, this one included.
        """
        if self.autosave is not None:
            home = self.autosave / _WAITING
            self._train(lambda: self._learner.backlog.load(home), model, adapters)

    def collect(self, model: SegmentationModel, adapters: tuple[Seams, ...]) -> None:
        """Learn objects that other processes handed over; arguments as in `resume`."""
        backlog = self._learner.backlog
        if self.autosave is not None and backlog.has_new(self.autosave / _HANDED):
            inbox = self.autosave / _HANDED
            self._train(lambda: backlog.collect(inbox), model, adapters)

    def catch_up(self) -> bool:
        """Load the state in the folder `follows` if it is newer; return True if it was."""
        if self.follows is None or saved_hash(self.follows) in (None, self._seen):
            return False
        try:
            _, state = read_folder(self.follows)
            book = tensors_to_book(state, self._layout)
        except AdapterError:
            return False  # it is being saved at the moment: try again at the next call
        self._seen = hash_tensors(state)
        self._do(lambda: self._learner.start_from(book))
        return True

    def serving(self, model: SegmentationModel, folder: Path) -> Self:
        """An adapter with the same state that learns in the background, saved to `folder`."""
        return self._ready(model, folder, None)

    def following(self, model: SegmentationModel, folder: Path) -> Self:
        """An adapter with the same state that learns nothing itself; see `follows`."""
        return self._ready(model, None, folder)

    def _ready(self, model: SegmentationModel, autosave: Path | None, follows: Path | None) -> Self:
        ready = type(self)(self.config, background=True, autosave=autosave, follows=follows)
        ready.bind(model)
        ready.load_state_dict(self.state_dict())
        return ready

    def report(self) -> SessionReport:
        """Report the learned objects, and whether predictions use the adapted decoder."""
        return SessionReport(self.objects_learned, self.is_trusted, self._learner.has_lost)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until everything is learned; False when that took longer than `seconds`."""
        is_idle = self._worker.wait(seconds)
        self._tell()
        return is_idle

    def close(self) -> None:
        """Stop learning in the background and remove temporary files; the learned state stays."""
        self._worker.stop()
        self._learner.backlog.clear_aside()
        self._learner.memory.close()
        self._tell()

    # -- the learned state ------------------------------------------------------------------------

    @property
    def is_trusted(self) -> bool:
        """True if predictions use what earlier objects taught, at any depth."""
        return self._learner.is_trusted

    @property
    def objects_learned(self) -> int:
        """Number of accepted objects that were learned in all domains."""
        return sum(domain.accepted for domain in self._learner.book.domains)

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the learned state: per domain the decoder's change, evidence and signature."""
        if self._loaded is not None:
            return dict(self._loaded)
        return book_to_tensors(self._learner.book, self._layout)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load a state that `state_dict` returned; the current object begins again.

        Raises:
            AdapterError: not an online adapter's state, or one of another decoder.
        """
        book = tensors_to_book(state, self._layout)
        if self._layout is None:
            self._loaded = dict(state)
        self._start_from(book, state)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the adapter's folder; see `Adapter.save_pretrained`."""
        counts = {"objects": self.objects_learned, "domains": len(self._learner.book.domains)}
        self.config = replace(self.config, training_data=counts)
        super().save_pretrained(folder)

    # -- private ----------------------------------------------------------------------------------

    def _know(self, base: nn.Module) -> None:
        """Apply a state that was loaded before the decoder's parameters were known."""
        if self._layout is not None:
            return
        with self._lock:
            if self._layout is None:
                layout = Layout(base)
                loaded = self._loaded
                if loaded is not None:
                    book = tensors_to_book(loaded, layout)
                    self._loaded = None
                    self._start_from(book, loaded)
                self._layout = layout

    def _start_from(self, book: DomainBook, state: Mapping[str, Tensor]) -> None:
        place = self.autosave
        is_ours = place is not None and saved_hash(place) == hash_tensors(state)
        self._learner.start_from(book, place / _REPLAY if place and is_ours else None)
        self._publish()

    def _layout_of(self, base: nn.Module) -> Layout:
        layout = Layout(base)
        if self._layout is None or layout.names != self._layout.names:
            raise AdapterError(
                "an adapter before this 'online' one changes the mask decoder's parts: put "
                "'online' first"
            )
        return layout

    def _do(self, event: Event, *, learns: bool = False, begins: bool = False) -> None:
        """Handle an event now or in the background, and publish the result.

        Once an object `begins`, predictions no longer use what clicks on the one before taught.
        """
        self._begun += begins
        number = self._begun

        def done() -> Iterator[None] | None:
            try:
                return event()
            finally:
                self._number = number
                self._publish()

        if self.background:
            self._worker.submit(done, learns=learns)
        else:
            done()
        self._tell()

    def _end(self, interaction: Interaction, mask: NDArray[np.bool_] | None) -> None:
        """End the object now; it may be learned later, and is kept until then."""
        backlog = self._learner.backlog

        def end() -> None:
            self._learner.end(interaction, mask)
            try:
                if self.follows is not None:
                    backlog.hand_over(self.follows / _HANDED)
                elif self.background and self.autosave is not None:
                    backlog.keep(self.autosave / _WAITING)
            except (DataError, ModelError) as error:
                self._learner.notes.append(f"{error}; {_LOST[self.follows is not None]}")

        self._used_with = interaction.model, interaction.adapters
        self._train(end, *self._used_with, begins=True)

    def _train(
        self,
        change: Callable[[], None],
        model: SegmentationModel,
        adapters: tuple[Seams, ...],
        *,
        begins: bool = False,
    ) -> None:
        """Change what waits to be learned, and learn all of it, the best first."""

        def event() -> Iterator[None] | None:
            change()
            return None if self._is_learning else self._learn_all(model, adapters)

        if self.background:
            self._do(event, begins=begins)
        else:
            for _ in event() or ():
                pass
            self._publish()
            self._tell()

    def _learn_all(self, model: SegmentationModel, adapters: tuple[Seams, ...]) -> Iterator[None]:
        backlog = self._learner.backlog
        self._is_learning = True
        try:
            while (entry := backlog.take()) is not None:
                try:
                    for _ in self._learner.learn(entry, model, adapters):
                        self._publish()
                        yield
                except Exception:
                    backlog.done(entry)  # otherwise it would fail again after every start
                    raise
                self._publish()
                if entry.is_accepted:
                    self._save_again()
                backlog.done(entry)
        finally:
            self._is_learning = False

    def _publish(self) -> None:
        self._published = self._learner.published(self._number)

    def _save_again(self) -> None:
        if self.autosave is None:
            return
        try:
            self.save_pretrained(self.autosave)
        except AdapterError as error:
            self._learner.notes.append(f"{error}; the state saved before is still there")
            return
        try:
            self._learner.memory.keep(self.autosave / _REPLAY)
        except DataError as error:
            self._learner.notes.append(f"{error}; earlier objects are replayed from memory only")

    def _failed(self, error: Exception) -> None:
        self._learner.give_up(error)
        self._publish()

    def _tell(self) -> None:
        """Warn, in the caller's thread, of errors while learning."""
        notes = self._learner.notes
        while notes:
            warnings.warn(f"online adaptation: {notes.pop(0)}", RuntimeWarning, stacklevel=3)
