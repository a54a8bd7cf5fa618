"""`Adapter`: the base class of all methods of adaptation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.files import find_folder, read_folder, write_folder
from samadapt.adapters.fitting import Fitting, MarkedImage, Phase, Variant
from samadapt.adapters.hub import upload
from samadapt.adapters.losses import mask_loss
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.geometry import Window
from samadapt.models.interface import ModelInterface
from samadapt.models.seams import Seams
from samadapt.prompts import Box, Click, Prompt

if TYPE_CHECKING:
    from huggingface_hub import EvalResult


@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """The current object as an adapter sees it: its prompts, clicks and latest mask.

    Attributes:
        model: the model in use; `model.decode(model.view(embedding, prompt), [prompt],
            adapters=adapters)` gives differentiable logits.
        adapters: all adapters in use, in order, including the receiver.
        embedding: the image.
        prompts: every prompt sent for this object, in order, each with the earlier logits that
            it carried; the last one gave the current mask.
        clicks: all clicks in force.
        box: the box in force.
        logits: decoder logits (h, w) of the current mask, None before the first prompt.
        window: the part of the image that `logits` show, as in `Prediction.window`.
        mask: the current mask (H, W) bool, None before the first prompt.
        step: number of the current prediction for this object: 1, 2, ..., never reused; 0 before
            the first prompt. Undo, redo and reset return to an earlier number.
        candidates: number of masks that the last prompt was answered with; one of them is shown.
        painted: pixels (H, W) that were painted or erased with the brush, on top of `mask`, which
            does not include them; None without any, and on images larger than memory.
    """

    model: SegmentationModel
    adapters: tuple[Seams, ...]
    embedding: ImageEmbedding
    prompts: tuple[Prompt, ...] = ()
    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    logits: NDArray[np.float32] | None = None
    window: Window | None = None
    mask: NDArray[np.bool_] | None = None
    step: int = 0
    candidates: int = 1
    painted: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class SessionReport:
    """Report of what an adapter learned in sessions.

    Attributes:
        objects: number of accepted objects learned.
        is_trusted: whether predictions use what earlier objects taught.
        has_lost: whether they no longer do because the frozen model was better on the last objects.
    """

    objects: int = 0
    is_trusted: bool = False
    has_lost: bool = False

    @property
    def is_adapted(self) -> bool:
        """True if predictions use what earlier objects taught.

        What an object's own clicks taught may change its predictions all the same.
        """
        return self.is_trusted and self.objects > 0


class Adapter(Seams):
    """Base class of all methods: the seams they act at, their life cycle and their folder.

    A method overrides the seams it uses, and keeps its learned parameters in `module` (or
    overrides `state_dict` and `load_state_dict`). It must be constructible from its config alone,
    starts as the identity (no output bit changes), and never changes a parameter of the model.

    A method declares here its name, its fitting and its behaviour in a session; `samadapt.fit`,
    the benchmarks, the server and the command line use these declarations alone.

    A session calls the `on_...` methods in the order of events, each after the mask is known and
    the event is saved. A method may learn in them; here they do nothing. An unfinished object
    ends with `on_open` or `on_skip`.
    """

    method: ClassVar[str] = ""
    """Name of the method; `register` sets it."""
    about: ClassVar[str] = ""
    """Summary of the method in a few words."""
    variants: ClassVar[Mapping[str, Variant]] = MappingProxyType({})
    """Variants of the method by name, as in "method:variant"."""
    fitting: ClassVar[Fitting | None] = None
    """Fitting procedure; None for a method that is not fitted."""
    is_session_default: ClassVar[bool] = False
    """True for the method that the annotator uses by default."""
    config_class: ClassVar[type[AdapterConfig]] = AdapterConfig
    config: AdapterConfig
    module: nn.Module | None = None
    """The learned parameters; None before there are any."""

    def __init__(self, config: AdapterConfig | None = None) -> None:
        self.config = config or self.config_class(method=self.method)
        if self.config.method != self.method:
            raise AdapterError(f"config of method {self.config.method!r} for {self.method!r}")

    @classmethod
    def create(cls, variant: str | None = None) -> Self:
        """An untrained adapter of a variant, one of `variant_texts`; None for the default.

        Raises:
            AdapterError: an unknown variant.
        """
        if variant is None:
            return cls()
        if variant not in cls.variants:
            known = f": use {', '.join(cls.variants)}" if cls.variants else ""
            raise AdapterError(f"adapter method {cls.method!r} has no variant {variant!r}{known}")
        return cls(cls.config_class(method=cls.method, **cls.variants[variant].changes))

    @classmethod
    def variant_texts(cls) -> Mapping[str, str]:
        """Help texts of the variants by name, as in "method:variant"."""
        return {name: variant.about for name, variant in cls.variants.items()}

    @property
    def title(self) -> str:
        """The method's name."""
        return self.method or type(self).__name__

    @property
    def parameter_count(self) -> int:
        """Number of learned parameters; 0 before `bind`."""
        module = self.module
        learned = self.state_dict().values() if module is None else module.parameters()
        return sum(tensor.numel() for tensor in learned)

    def describe(self) -> Mapping[str, Any]:
        """The config as plain JSON values."""
        return self.config.to_dict()

    # -- the base model -------------------------------------------------------------------

    def bind(self, model: SegmentationModel) -> None:
        """Bind this adapter to `model`, or check that it was made for `model`.

        Methods whose weights depend on the model build them here.

        Raises:
            AdapterError: the adapter was made for another model.
        """
        self.check_model(model)
        if self.config.base_model is None:
            self.config = replace(self.config, base_model=model.identity)

    def check_model(self, model: ModelInterface) -> None:
        """Raise `AdapterError` when this adapter was made for another model."""
        super().check_model(model)
        base = self.config.base_model
        if base is not None and base != model.identity:
            raise AdapterError(
                f"this {self.method!r} adapter was made for {base}, the model is "
                f"{model.identity}: load the model it was made for, or train it again"
            )

    # -- life cycle -----------------------------------------------------------------------

    def on_open(self, embedding: ImageEmbedding) -> None:
        """Handle the opening of an image, which may be the current one."""

    def on_click(self, interaction: Interaction) -> None:
        """Handle a click or a box that was answered with a mask."""

    def on_undo(self, interaction: Interaction) -> None:
        """Handle undo, redo or reset, which return to an earlier step of this object.

        An adapter that learns from clicks returns to its state after `interaction.step`. It may
        have kept that state, or starts again at the object's start and learns the prompts in
        `interaction`. Also called when only the choice among candidates changed.
        """

    def on_accept(self, interaction: Interaction, mask: NDArray[np.bool_]) -> None:
        """Handle an object accepted with `mask`, (H, W) bool."""

    def on_skip(self, interaction: Interaction) -> None:
        """Handle an object that was skipped, not accepted."""

    def on_withdraw(self, embedding: ImageEmbedding, mask: NDArray[np.bool_]) -> None:
        """Handle that an object accepted with `mask`, (H, W) bool, was taken back or deleted.

        An adapter that has not learned the object yet should not learn it.
        """

    def on_restore(self, embedding: ImageEmbedding, mask: NDArray[np.bool_]) -> None:
        """Handle that a withdrawn object was put back, by redo or by undo of a deletion."""

    # -- learning in a session -------------------------------------------------------------

    def serving(self, model: SegmentationModel, folder: Path) -> Self:
        """Return a copy that learns in the background and saves itself to `folder`."""
        return self

    def following(self, model: SegmentationModel, folder: Path) -> Self:
        """Return a copy that uses the state learned by another process, which serves `folder`.

        Objects accepted here are handed over to that process through the folder.
        """
        return self

    def catch_up(self) -> bool:
        """Load a newer state that another process has saved; return True if there was one."""
        return False

    def collect(self, model: SegmentationModel, adapters: tuple[Seams, ...]) -> None:
        """Learn objects that other processes handed over; `adapters` are all in use."""

    def resume(self, model: SegmentationModel, adapters: tuple[Seams, ...]) -> None:
        """Resume learning that was interrupted when a server stopped; `adapters` are all in use."""

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until everything is learned; False when that took longer than `seconds`."""
        return True

    def report(self) -> SessionReport:
        """Report what the adapter has learned in sessions so far."""
        return SessionReport()

    # -- fitting ------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        """One phase that learns all parameters from the masks; see `Trainable`."""
        parameters = () if self.module is None else tuple(self.module.parameters())
        return (Phase(parameters, mask_loss),)

    def calibrate(
        self, model: SegmentationModel, images: Iterable[MarkedImage], count: int, seed: int
    ) -> None:
        """Nothing here; see `Trainable`."""

    # -- the learned state ----------------------------------------------------------------

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the learned state as named tensors."""
        return {} if self.module is None else self.module.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load a state that `state_dict` returned.

        Raises:
            AdapterError: other names or shapes than this adapter has.
        """
        own = self.state_dict()
        if problem := _difference(own, state):
            raise AdapterError(f"weights do not fit the {self.method!r} adapter: {problem}")
        if self.module is not None:
            self.module.load_state_dict(dict(state))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `adapter_config.json` and `adapter_model.safetensors` into `folder`.

        The folder is complete or untouched: an interrupted save leaves an earlier adapter there
        loadable.

        Raises:
            AdapterError: the adapter is bound to no model yet, or the folder cannot be written.
        """
        if self.config.base_model is None:
            raise AdapterError(
                f"this {self.method!r} adapter is bound to no model yet: use it in a session, or "
                "call bind(model), before saving it"
            )
        self._write(folder)

    def _write(self, folder: str | os.PathLike[str]) -> None:
        """Write the files; a method that peft can load writes them in peft's layout."""
        write_folder(folder, self.config.to_dict(), self.state_dict())

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], model: SegmentationModel | None = None
    ) -> Self:
        """Load an adapter of this method; `load_adapter` reads the method from the folder.

        Args:
            folder: a folder, the name of a shipped adapter, or a Hub id "owner/name".
            model: its base model, checked at once when given.

        Raises:
            AdapterError: missing or damaged files, another method, or another base model.
        """
        path = find_folder(folder)
        values, tensors = read_folder(path)
        if values.get("method") != cls.method:
            other = str(values.get("method"))[:40]
            raise AdapterError(
                f"{path} holds an adapter of method {other!r}, not {cls.method!r}: use "
                "load_adapter()"
            )
        try:
            adapter = cls(cls.config_class.from_dict(values))
            if model is not None:
                adapter.bind(model)
            adapter.load_state_dict(tensors)
        except AdapterError as error:
            raise AdapterError(f"{path}: {_line(error)}") from None
        except Exception as error:  # a damaged file may raise anything
            raise AdapterError(
                f"{path} is damaged ({type(error).__name__}: {_line(error)}): copy or download "
                "the adapter again, or train it again"
            ) from None
        return adapter

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        license: str | None = None,
        datasets: Sequence[str] = (),
        results: Sequence[EvalResult] = (),
    ) -> str:
        """Upload to the Hugging Face Hub, with a model card; returns the address of the commit.

        Args:
            repo_id: "owner/name"; created if it does not exist.
            private: whether a new repository is private.
            token: of the Hub; defaults to that of your login.
            license: of the adapter, such as "apache-2.0"; the card names none when left out.
            datasets: Hub ids of the training data.
            results: measured values, as read by `samadapt.benchmark.model_index.measured`.

        Raises:
            AdapterError: not saved (see `save_pretrained`), or refused by the Hub.
        """
        from samadapt.adapters.card import card_text

        card = card_text(self, repo_id, license=license, datasets=datasets, results=results)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            Path(folder, "README.md").write_text(card, encoding="utf-8")
            return upload(Path(folder), repo_id, private=private, token=token)


def _difference(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    if missing := sorted(set(own) - set(given)):
        return f"{_few(missing)} missing"
    if extra := sorted(set(given) - set(own)):
        return f"{_few(extra)} unknown"
    for name, tensor in own.items():
        if tensor.shape != given[name].shape:
            return f"{name} is {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
    return ""


def _few(names: Sequence[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
