"""`CautiousSide`: how a task's adapter answers where clicks are disobeyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from samadapt.adapters.prompt_tokens.appending import DecoderView, show_further_tokens
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams

if TYPE_CHECKING:
    from samadapt.adapters.task_prompt.adapter import TaskPromptAdapter


class CautiousSide(Seams):
    """A task's adapter that speaks through its tokens alone.

    The dense prompt may be so sure of itself that the answer leaves out what was clicked: a wheel
    of a kind that no mask showed. Without it the model obeys its clicks as ever.

    Args:
        adapter: whose side it is.
    """

    def __init__(self, adapter: TaskPromptAdapter) -> None:
        self._adapter = adapter
        self._view = DecoderView(show_further_tokens)

    def prompt_tokens(self, tokens: Tensor, embedding: ImageEmbedding) -> Tensor:
        """As the adapter."""
        return self._adapter.prompt_tokens(tokens, embedding)

    def mask_decoder(self, base: nn.Module) -> nn.Module:
        """`base`, told of the task's tokens."""
        return self._view.of(base)

    def mask_boundary(self, logits: Tensor, embedding: ImageEmbedding) -> Tensor:
        """As the adapter."""
        return self._adapter.mask_boundary(logits, embedding)

    def check_model(self, model: SegmentationModel) -> None:
        """As the adapter."""
        self._adapter.check_model(model)
