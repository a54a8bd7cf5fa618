"""`SegmentationModel`: encode an image once, then answer prompts.

A model holds no current image. Everything per image is in an `ImageEmbedding`, and everything per
call is an argument, so one model can serve many people at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import overload

import torch
from torch import Tensor

from samadapt.data.images import ImageLike, read_image
from samadapt.errors import ModelError
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import DecoderOutput, ModelInterface
from samadapt.models.prediction import Prediction
from samadapt.models.predictor import Predictor, PromptGroup
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt


class SegmentationModel(ModelInterface):
    """A promptable segmentation model of any family, with a `Predictor` around it.

    A family derives from this class and implements `ModelInterface`; all families share the
    methods defined here.
    """

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self)

    def encode(self, image: ImageLike) -> ImageEmbedding:
        """Encode an image once; predictions on its embedding are fast.

        Args:
            image: a path, a PIL image, or an array (H, W, 3) or (H, W), uint8.

        Raises:
            ImageError: unreadable, truncated or empty image.
        """
        pixels = read_image(image)
        with torch.inference_mode(False), torch.no_grad():
            return self.encode_pixels(pixels)

    def encode_several(self, images: Sequence[ImageLike]) -> list[ImageEmbedding]:
        """Encode images, in batches where that is faster for the family and the device.

        On a CPU they are encoded one by one, bit for bit as by `encode`.

        Raises:
            ImageError: unreadable, truncated or empty image.
        """
        pixels = [read_image(image) for image in images]
        with torch.inference_mode(False), torch.no_grad():
            if self.device.type == "cpu":
                return [self.encode_pixels(one) for one in pixels]
            return self.encode_batch(pixels)

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

        A prompt's result does not depend on the others in its batch. Where an adapter's dense
        prompt makes a mask violate clicks, the model's own dense prompt answers instead, if its
        mask violates fewer.

        Args:
            embedding: from this model's `encode`.
            prompt: one prompt, or a sequence of them.
            multimask: three candidates (whole, part, sub-part) instead of one.
            adapters: applied in order at their seams.

        Raises:
            PromptError: a click outside the image or a mask of the wrong size.
            ModelError: an embedding of another model.
            AdapterError: an adapter made for another model, or for another kind of decoder.
        """
        self.check_embedding(embedding)
        for seam in adapters:
            seam.check_model(self)
        prompts = [prompt] if isinstance(prompt, Prompt) else list(prompt)
        with torch.inference_mode(False), torch.no_grad():
            found = self._predictor.predict(embedding, prompts, multimask, adapters)
        return found[0] if isinstance(prompt, Prompt) else found

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        multimask: bool = False,
        adapters: Sequence[Seams] = (),
    ) -> DecoderOutput:
        """Decoder logits for B prompts of one structure; gradients flow (for adapters that learn).

        Prompts must have the same number of points, all or none a box, all or none a mask. Logits
        belong to the view that is given, see `groups` and `view`.
        """
        return self._predictor.decode(embedding, prompts, multimask, adapters)

    def groups(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        adapters: Sequence[Seams] = (),
        most: int | None = None,
    ) -> Iterator[PromptGroup]:
        """The calls of `decode` that `predict` answers prompts with; see `Predictor.groups`."""
        return self._predictor.groups(embedding, prompts, adapters, most)

    def view(self, embedding: ImageEmbedding, prompt: Prompt) -> ImageEmbedding:
        """The view on which `predict` answers a prompt: the whole image, or a close-up."""
        return self._predictor.zoom.view(embedding, prompt)

    def upsample(
        self, embedding: ImageEmbedding, logits: Tensor, adapters: Sequence[Seams] = ()
    ) -> Tensor:
        """Decoder logits (B, K, h, w) to logits at the original size (B, K, H, W)."""
        return self._predictor.upsample(embedding, logits, adapters)

    def check_embedding(self, embedding: ImageEmbedding) -> None:
        """Raise `ModelError` unless this model made `embedding`."""
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
