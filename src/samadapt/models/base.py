"""One interface for the whole family: encode an image once, then answer prompts.

`SegmentationModel` holds no current image. Everything per image is in an `ImageEmbedding`, and
everything per call is an argument, so one model can serve many people at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.data.images import ImageLike, read_image
from samadapt.errors import ModelError, PromptError
from samadapt.models.embedding import ImageEmbedding, ModelIdentity
from samadapt.models.geometry import InputGeometry, Window
from samadapt.models.obeying import obedient_answers
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams, active, decoder_grid
from samadapt.models.turns import answer_in_turn, takes_turns
from samadapt.prompts import Prompt

MASK_LOGIT = 8.0
"""Magnitude of the logits that a bool mask prompt is turned into."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptEmbedding:
    """B prompts of the same structure, as the mask decoder takes them.

    Attributes:
        tokens: sparse prompt tokens (B, N, C), seam 1.
        dense: dense prompt embedding, (B, C, h, w) or broadcastable to it.
        extra: whatever else the family's decoder needs.
    """

    tokens: Tensor
    dense: Tensor
    extra: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class DecoderOutput:
    """What the mask decoder says, differentiable.

    Attributes:
        logits: (B, K, h, w) at the decoder's resolution, over the padded input.
        scores: (B, K) predicted IoU.
    """

    logits: Tensor
    scores: Tensor


class SegmentationModel(ABC):
    """A promptable segmentation model: frozen encoder, prompt encoder, mask decoder.

    A model is always in evaluation mode and its parameters never ask for gradients; adapters
    that learn work on copies (seam 3) or on their own parameters.
    """

    identity: ModelIdentity
    preprocessing: str
    """Name and version of the preprocessing; part of every cache key."""
    device: torch.device
    encoder_dtype: torch.dtype
    """Type in which images are encoded; embeddings themselves are always float32."""
    decoder: nn.Module
    """The mask decoder, seam 3. Adapters copy it, nothing changes it in place."""
    embedding_channels: int
    """C, the width of tokens and image features."""
    clicks_in_turn: ClassVar[bool] = False
    """Whether `predict` answers several clicks given at once one after the other."""
    has_prior: ClassVar[bool] = False
    """Whether the decoder starts from a first guess at the mask."""
    position_cells: int = 0
    """Cells along the side that positions are shares of; 0: the longer side of the grid."""

    # -- what a family implements ---------------------------------------------------------

    @abstractmethod
    def encode_pixels(self, pixels: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode one RGB image (H, W, 3) uint8."""

    @abstractmethod
    def embed_prompts(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], masks: Tensor | None
    ) -> PromptEmbedding:
        """Embed B prompts that have the same number of points and all or none a box.

        Args:
            embedding: the image.
            prompts: B of them.
            masks: earlier logits (B, 1, h, w) on the decoder's grid, or None.
        """

    @abstractmethod
    def run_decoder(
        self,
        decoder: nn.Module,
        embedding: ImageEmbedding,
        prompts: PromptEmbedding,
        multimask: bool,
    ) -> DecoderOutput:
        """Run `decoder` (this model's, or an adapter's copy of it). K is 1, or 3 if multimask."""

    @abstractmethod
    def logits_size(self, embedding: ImageEmbedding) -> tuple[int, int]:
        """(h, w) of the decoder's logits for this image."""

    # -- what a family may implement ----------------------------------------------------------

    def focus(self, embedding: ImageEmbedding, prompt: Prompt) -> ImageEmbedding:
        """The view of the image on which `predict` answers `prompt`.

        The embedding itself here; a model that is cheap enough takes a close-up of a small
        object. Adapters that learn from a prompt call `decode` on this view.
        """
        return embedding

    def view_geometry(self, embedding: ImageEmbedding, window: Window | None) -> InputGeometry:
        """Geometry of the view that shows `window` of the image in `embedding`.

        Raises:
            PromptError: this model takes no close-ups.
        """
        if window != embedding.geometry.window:
            raise PromptError(
                f"window {window}: {self.identity.name} takes no close-ups; give the logits of "
                "the whole image, without a window"
            )
        return embedding.geometry

    # -- what everybody uses --------------------------------------------------------------

    def encode(self, image: ImageLike) -> ImageEmbedding:
        """Encode an image once; everything after this is fast.

        Args:
            image: a path, a PIL image, or an array (H, W, 3) or (H, W), uint8.

        Raises:
            ImageError: unreadable, truncated or empty image.
        """
        pixels = read_image(image)
        with torch.inference_mode(False), torch.no_grad():
            return self.encode_pixels(pixels)

    @overload
    def predict(
        self,
        embedding: ImageEmbedding,
        prompt: Prompt,
        multimask: bool = False,
        adapters: Sequence[Seams] = (),
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        embedding: ImageEmbedding,
        prompt: Sequence[Prompt],
        multimask: bool = False,
        adapters: Sequence[Seams] = (),
    ) -> list[Prediction]: ...

    def predict(
        self,
        embedding: ImageEmbedding,
        prompt: Prompt | Sequence[Prompt],
        multimask: bool = False,
        adapters: Sequence[Seams] = (),
    ) -> Prediction | list[Prediction]:
        """Masks for one prompt, or for several on the same image in one batch.

        A prompt's result does not depend on the others in its batch. A mask with clicks on the
        wrong side gives way to that of cautious adapters (`Seams.cautious`) if it has fewer.

        Args:
            embedding: from this model's `encode`.
            prompt: one prompt, or a sequence of them.
            multimask: three candidates (whole, part, sub-part) instead of one.
            adapters: applied in order at their seams.

        Raises:
            PromptError: a click outside the image or a mask of the wrong size.
            ModelError: an embedding of another model.
            AdapterError: an adapter made for another model.
        """
        if isinstance(prompt, Prompt):
            return self._predict_all(embedding, [prompt], multimask, adapters)[0]
        return self._predict_all(embedding, list(prompt), multimask, adapters)

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        multimask: bool = False,
        adapters: Sequence[Seams] = (),
    ) -> DecoderOutput:
        """Decoder logits for B prompts of one structure; gradients flow (for adapters that learn).

        Prompts must have the same number of points, all or none a box, all or none a mask. Logits
        are those of the very view given, which `focus` finds for a prompt.
        """
        if not prompts:
            raise PromptError("no prompts given")
        if len({_structure(p) for p in prompts}) != 1:
            raise PromptError(
                "prompts of different structure cannot share a decoder call; use predict()"
            )
        masks = self._mask_logits(embedding, prompts)
        embedded = self.embed_prompts(embedding, prompts, masks)
        tokens = embedded.tokens
        decoder = self.decoder
        for seam in adapters:
            tokens = seam.prompt_tokens(tokens, embedding)
            decoder = seam.mask_decoder(decoder)
        if tokens is not embedded.tokens:
            embedded = PromptEmbedding(tokens, embedded.dense, embedded.extra)
        with active(adapters), decoder_grid(embedding.grid):
            return self.run_decoder(decoder, embedding, embedded, multimask)

    def settled(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        adapters: Sequence[Seams] = (),
    ) -> list[Prompt]:
        """The prompts that `predict` puts to the decoder in the end, for who calls `decode`.

        They are those given, except where clicks are answered in turn (`clicks_in_turn`): then
        several clicks become the last turn, with the logits before it as the earlier mask.
        """
        if not self.clicks_in_turn:
            return list(prompts)
        with torch.inference_mode(False), torch.no_grad():
            return self._in_turn(embedding, list(prompts), True, adapters)[0]

    def upsample(
        self, embedding: ImageEmbedding, logits: Tensor, adapters: Sequence[Seams] = ()
    ) -> Tensor:
        """Decoder logits (B, K, h, w) to logits at the original size (B, K, H, W)."""
        full = embedding.geometry.to_original(logits)
        for seam in adapters:
            full = seam.mask_boundary(full, embedding)
        return full

    def check_embedding(self, embedding: ImageEmbedding) -> None:
        """Raise `ModelError` when `embedding` was not made by this very model."""
        if embedding.model != self.identity:
            raise ModelError(
                f"this embedding was made by {embedding.model}, not by {self.identity}: "
                "encode the image again with this model"
            )
        if embedding.preprocessing != self.preprocessing:
            raise ModelError(
                f"this embedding was made with preprocessing {embedding.preprocessing!r}, this "
                f"version uses {self.preprocessing!r}: encode the image again"
            )

    # -- private --------------------------------------------------------------------------

    def _predict_all(
        self,
        embedding: ImageEmbedding,
        prompts: list[Prompt],
        multimask: bool,
        adapters: Sequence[Seams],
    ) -> list[Prediction]:
        self.check_embedding(embedding)
        for prompt in prompts:
            prompt.check_inside(embedding.original_size)
        for seam in adapters:
            seam.check_model(self)
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        found: dict[int, Prediction] = {}
        with torch.inference_mode(False), torch.no_grad():
            if self.clicks_in_turn:
                prompts, found = self._in_turn(embedding, prompts, multimask, adapters)
            views = [self.focus(embedding, prompt) for prompt in prompts]
            for index, prompt in enumerate(prompts):
                if index not in found:
                    groups[(id(views[index]), *_structure(prompt))].append(index)
            for indices in groups.values():
                answer = partial(self._decoded, views[indices[0]], multimask)
                answers = obedient_answers(answer, [prompts[i] for i in indices], adapters)
                found.update(zip(indices, answers, strict=True))
        return [found[index] for index in range(len(prompts))]

    def _decoded(
        self,
        view: ImageEmbedding,
        multimask: bool,
        prompts: Sequence[Prompt],
        adapters: Sequence[Seams],
    ) -> list[Prediction]:
        """Answers to prompts of one structure."""
        output = self.decode(view, prompts, multimask, adapters)
        found = []
        for row in range(len(prompts)):
            logits = output.logits[row : row + 1]
            masks = self.upsample(view, logits, adapters)[0] > 0
            found.append(
                Prediction(
                    masks.cpu().numpy(),
                    output.scores[row].float().cpu().numpy(),
                    logits[0].float().cpu().numpy(),
                    view.geometry.window,
                )
            )
        return found

    def _in_turn(
        self,
        embedding: ImageEmbedding,
        prompts: list[Prompt],
        multimask: bool,
        adapters: Sequence[Seams],
    ) -> tuple[list[Prompt], dict[int, Prediction]]:
        """What is left of each prompt after clicks were answered in turn, and full answers."""
        left, found = list(prompts), {}

        def answer(prompt: Prompt) -> Prediction:
            return self._predict_all(embedding, [prompt], False, adapters)[0]

        for index, prompt in enumerate(prompts):
            if takes_turns(prompt):
                left[index], last = answer_in_turn(answer, prompt)
                if not multimask:
                    found[index] = last
        return left, found

    def _mask_logits(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> Tensor | None:
        if prompts[0].mask is None:
            return None
        size = self.logits_size(embedding)
        rows = []
        for prompt in prompts:
            mask = prompt.mask
            if mask is None:
                raise PromptError("either all prompts of one decoder call have a mask, or none")
            tensor = torch.tensor(mask, device=self.device)[None, None]
            if mask.dtype == np.bool_:
                if tuple(mask.shape) != embedding.original_size:
                    raise PromptError(
                        f"bool mask prompt of shape {tuple(mask.shape)}: give it at the image's "
                        f"size {embedding.original_size} (height, width)"
                    )
                soft = embedding.geometry.to_decoder(tensor, size)
                tensor = (soft * 2 - 1) * MASK_LOGIT
            else:
                tensor = self._on_this_view(embedding, tensor, prompt.window, size)
            rows.append(tensor)
        return torch.cat(rows)

    def _on_this_view(
        self,
        embedding: ImageEmbedding,
        logits: Tensor,
        window: Window | None,
        size: tuple[int, int],
    ) -> Tensor:
        """Earlier logits (1, 1, h', w') that show `window`, on the grid (h, w) of this view."""
        here, seen = embedding.geometry, self.view_geometry(embedding, window)
        pairs = zip(seen.padded, size, here.padded, strict=True)
        expected = tuple(padded * cells // mine for padded, cells, mine in pairs)
        if tuple(logits.shape[-2:]) != expected:
            raise PromptError(
                f"mask prompt of shape {tuple(logits.shape[-2:])}: logits must have the decoder's "
                f"resolution {expected}, as in Prediction.logits (or give a bool mask at the "
                "image's size)"
            )
        return logits if seen == here else here.reframe(logits, seen, size)


def _structure(prompt: Prompt) -> tuple[int, bool, bool]:
    return len(prompt.points), prompt.box is not None, prompt.mask is not None


def freeze(module: nn.Module) -> nn.Module:
    """Put `module` into evaluation mode and stop gradients to its parameters."""
    return module.eval().requires_grad_(False)
