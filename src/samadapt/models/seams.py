"""The four seams of the mask decoder: the only places where an adapter may act.

Every method is the identity here, so an adapter overrides just the seams it uses. The decoder's
own code does not know its adapters: the active ones of the current call travel in a context
variable (one value per thread and task, so that two people never see each other's adapters).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from samadapt.errors import AdapterError

if TYPE_CHECKING:
    from samadapt.models.embedding import ImageEmbedding
    from samadapt.models.interface import ModelInterface, PromptEmbedding


class Seams:
    """Base class with the four seams. Override those you need; the others stay the identity."""

    learns_in_session: ClassVar[bool] = False
    """Whether it learns from the events of a session, so that the order of objects matters."""

    @property
    def title(self) -> str:
        """Name of this adapter in messages and logs."""
        return type(self).__name__

    def describe(self) -> Mapping[str, Any]:
        """Its settings as plain JSON values, for reports."""
        return {}

    def close(self) -> None:
        """Release threads and temporary files; the learned state stays."""

    def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
        """Seam 1: the embedded prompts, before they enter the mask decoder.

        Tokens may be changed and added (`PromptEmbedding.with_tokens`); dense map, bias and prior
        may be changed where the decoder has them.
        """
        return embedded

    def mask_attention(self, features: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Seam 2: change the features that the last token-to-image attention reads.

        Args:
            features: image features x_p (B, h*w, C) as the earlier layers left them, without
                positional encoding; row-major over `grid`.
            tokens: output and prompt tokens (B, T, C), the attention's queries.
            grid: (h, w).

        Returns:
            Features (B, h*w, C) used for keys (positional encoding is added again) and values.
        """
        return features

    def mask_decoder(self, base: nn.Module) -> nn.Module:
        """Seam 3: the decoder to run, `base` or the adapter's own copy of it (never in place)."""
        return base

    def mask_boundary(self, logits: Tensor, embedding: ImageEmbedding) -> Tensor:
        """Seam 4: mask logits (B, K, H, W) at original size, before the threshold at 0."""
        return logits

    def judge(self, masks: Tensor, embedding: ImageEmbedding) -> Tensor | None:
        """Return the probability (B,) that masks show the learned kind of object; None if unknown.

        Args:
            masks: (B, h, w) in 0..1 on the decoder's grid of the whole image.
            embedding: that image.
        """
        return None

    def check_model(self, model: ModelInterface) -> None:
        """Raise `AdapterError` when this adapter does not fit `model`."""
        if not model.spec.takes_adapters:
            raise AdapterError(
                f"{model.identity.name} is an exported model, whose decoder can neither learn nor "
                f"take the adapter {self.title!r}: export the model together with the adapter, or "
                "use the model that it was exported from"
            )

    def check_export(self) -> None:
        """Raise `AdapterError` if this adapter cannot become part of an exported graph."""


_ACTIVE: ContextVar[tuple[Seams, ...]] = ContextVar("samadapt_active_seams", default=())


@contextmanager
def active(seams: Sequence[Seams]) -> Iterator[None]:
    """Make `seams` act on every decoder call in this thread or task until the block ends."""
    token = _ACTIVE.set(tuple(seams))
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def install_mask_attention_seam(
    attention: nn.Module,
    query: str = "query",
    key: str = "key",
    value: str = "value",
) -> None:
    """Let active adapters act on `attention`, the last token-to-image attention of a decoder.

    The module must be called with keyword arguments named `query`, `key` and `value`, where key
    is value plus positional encoding. Shapes (B, T, C) or (B, P, T, C). Works on copies too.
    """

    def hook(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        seams = _ACTIVE.get()
        if not seams:
            return None
        tokens, keys, features = kwargs[query], kwargs[key], kwargs[value]
        grid = _GRID.get()
        flat_tokens = tokens.flatten(0, -3)
        flat = unchanged = features.flatten(0, -3)
        for seam in seams:
            flat = seam.mask_attention(flat, flat_tokens, grid)
        if flat is unchanged:
            return None
        changed = flat.reshape(features.shape)
        # Keys change by the difference of the features: unchanged features leave every bit as is.
        return args, {**kwargs, key: keys + (changed - features), value: changed}

    attention.register_forward_pre_hook(hook, with_kwargs=True)


_GRID: ContextVar[tuple[int, int]] = ContextVar("samadapt_decoder_grid", default=(0, 0))


@contextmanager
def decoder_grid(grid: tuple[int, int]) -> Iterator[None]:
    """Tell seam 2 the (h, w) of the image features for the decoder call inside the block."""
    token = _GRID.set(grid)
    try:
        yield
    finally:
        _GRID.reset(token)
