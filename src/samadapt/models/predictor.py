"""`Predictor`: answers prompts with any model that implements the interface."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samadapt.errors import AdapterError, PromptError
from samadapt.models.click_consistency import more_consistent, violated_clicks
from samadapt.models.clicked_parts import without_unclicked_parts
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import DecoderOutput, ModelInterface, PromptEmbedding
from samadapt.models.local_refinement import correction_window, inner_part, merge
from samadapt.models.precision import reduced_precision
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams, active, decoder_grid
from samadapt.models.sequential_clicks import answer_sequentially, is_click_sequence
from samadapt.models.zoom_in import ZoomIn
from samadapt.prompts import Prompt

MASK_LOGIT = 8.0
"""Magnitude of the logits that a bool mask prompt is turned into."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptGroup:
    """Prompts that are answered in one decoder call.

    Attributes:
        view: the whole image or a close-up.
        prompts: of one structure: as many points, all or none a box, all or none a mask.
        indices: positions of these prompts in the given sequence.
    """

    view: ImageEmbedding
    prompts: tuple[Prompt, ...]
    indices: tuple[int, ...]


class Predictor:
    """The steps between prompts and masks that all families share.

    Several clicks are answered in sequence where the model was trained so, prompts for small
    objects are decoded on a close-up, and prompts of one structure share a decoder call. A mask
    that violates clicks is decoded again with the model's own dense prompt, a correction is
    refined on a close-up of the changed region, and parts of a mask without a click are removed.
    """

    def __init__(self, model: ModelInterface) -> None:
        self._model = model
        self.zoom = ZoomIn(model)

    def predict(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        multimask: bool,
        adapters: Sequence[Seams],
    ) -> list[Prediction]:
        """Answer prompts; the result for one does not depend on the others."""
        for prompt in prompts:
            prompt.check_inside(embedding.original_size)
        last, found = self._in_sequence(embedding, prompts, multimask, adapters)
        left = {index: prompt for index, prompt in last.items() if index not in found}
        for group in self._grouped(embedding, left):
            answers = self._consistent_answers(group, multimask, adapters)
            if not multimask:
                answers = [
                    self._refined(embedding, group.view, prompt, answer, adapters)
                    for prompt, answer in zip(group.prompts, answers, strict=True)
                ]
            if self._model.spec.drops_unclicked_parts:
                answers = [
                    without_unclicked_parts(answer, prompt, group.view.geometry)
                    for prompt, answer in zip(group.prompts, answers, strict=True)
                ]
            found.update(zip(group.indices, answers, strict=True))
        return [found[index] for index in range(len(prompts))]

    def groups(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        adapters: Sequence[Seams],
        most: int | None = None,
    ) -> Iterator[PromptGroup]:
        """The decoder calls by which `predict` answers prompts, for adapters that learn from them.

        For several clicks that are answered in sequence this is the last call, with the logits
        before it as the earlier mask.

        Args:
            embedding: the image.
            prompts: any prompts for it.
            adapters: applied in order.
            most: largest group; None for no limit.
        """
        with torch.inference_mode(False), torch.no_grad():
            last, _ = self._in_sequence(embedding, prompts, True, adapters)
        yield from self._grouped(embedding, last, most)

    def decode(
        self,
        view: ImageEmbedding,
        prompts: Sequence[Prompt],
        multimask: bool,
        adapters: Sequence[Seams],
        own_dense: bool = False,
    ) -> DecoderOutput:
        """Decoder logits for B prompts of one structure, on the given view.

        With `own_dense` adapters change tokens alone: dense prompt and prior are the model's own.
        """
        return self._decode(view, prompts, multimask, adapters, own_dense)[0]

    def upsample(self, view: ImageEmbedding, logits: Tensor, adapters: Sequence[Seams]) -> Tensor:
        """Decoder logits (B, K, h, w) to logits at the original size (B, K, H, W)."""
        full = view.geometry.to_original(logits)
        for seam in adapters:
            full = seam.mask_boundary(full, view)
        return full

    # -- private ------------------------------------------------------------------------------

    def _in_sequence(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        multimask: bool,
        adapters: Sequence[Seams],
    ) -> tuple[dict[int, Prompt], dict[int, Prediction]]:
        """Return the prompts that remain to be decoded, and the predictions known already."""
        last, found = dict(enumerate(prompts)), dict[int, Prediction]()
        if not self._model.spec.sequential_clicks:
            return last, found

        def answer(prompt: Prompt) -> Prediction:
            return self.predict(embedding, [prompt], False, adapters)[0]

        for index, prompt in enumerate(prompts):
            if is_click_sequence(prompt):
                last[index], final = answer_sequentially(answer, prompt)
                if not multimask:
                    found[index] = final
        return last, found

    def _grouped(
        self, embedding: ImageEmbedding, prompts: Mapping[int, Prompt], most: int | None = None
    ) -> Iterator[PromptGroup]:
        """Group by view and structure; a group's prompts stay in order."""
        views = {index: self.zoom.view(embedding, prompt) for index, prompt in prompts.items()}
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for index, prompt in prompts.items():
            groups[(id(views[index]), *_structure(prompt))].append(index)
        for indices in groups.values():
            size = most or len(indices)
            for start in range(0, len(indices), size):
                chunk = indices[start : start + size]
                chosen = tuple(prompts[index] for index in chunk)
                yield PromptGroup(views[chunk[0]], chosen, tuple(chunk))

    def _consistent_answers(
        self, group: PromptGroup, multimask: bool, adapters: Sequence[Seams]
    ) -> list[Prediction]:
        """Predictions for prompts of one structure, with click consistency.

        The dense prompt of an adapter can outweigh the clicks, so that a mask violates them. Such
        a prompt is decoded again with the model's own dense map and prior beside the adapters'
        tokens, unless `PromptEmbedding.keeps_dense`; of each candidate the version that violates
        fewer clicks stays.
        """
        found, can_yield = self._answers(group.view, group.prompts, multimask, adapters)
        if not can_yield:
            return found
        rows = [i for i, p in enumerate(group.prompts) if violated_clicks(found[i].masks, p).any()]
        if rows:
            some = [group.prompts[i] for i in rows]
            again, _ = self._answers(group.view, some, multimask, adapters, own_dense=True)
            for index, other in zip(rows, again, strict=True):
                found[index] = more_consistent(found[index], other, group.prompts[index])
        return found

    def _refined(
        self,
        embedding: ImageEmbedding,
        view: ImageEmbedding,
        prompt: Prompt,
        answer: Prediction,
        adapters: Sequence[Seams],
    ) -> Prediction:
        """The prediction for a correction, locally refined unless that violates more clicks."""
        spec, seen = self._model.spec, view.geometry
        if not (spec.has_close_ups and embedding.pixels is not None and prompt.points):
            return answer
        earlier = self._mask_logits(view, [prompt])
        if earlier is None:
            return answer
        before, after = (earlier[0, 0] > 0).cpu().numpy(), answer.logits[0] > 0
        window = correction_window(before, after, prompt.clicks[-1], seen, spec.close_up_side)
        if window is None:
            return answer
        close_up = self.zoom.close_up(embedding, window)
        again = replace(prompt, mask=answer.logits[0], window=answer.window)
        group = PromptGroup(close_up, (again,), (0,))
        detail = self._consistent_answers(group, False, adapters)[0]
        size = self._model.logits_size(view)
        logits = torch.from_numpy(detail.logits.copy())[None]
        on_grid = self.zoom.onto_view(view, logits, window, size)[0].numpy()
        on_grid = np.where(inner_part(window, seen, size), on_grid, answer.logits)
        refined = merge(answer, detail, window, on_grid)
        return more_consistent(refined, answer, prompt)

    def _answers(
        self,
        view: ImageEmbedding,
        prompts: Sequence[Prompt],
        multimask: bool,
        adapters: Sequence[Seams],
        own_dense: bool = False,
    ) -> tuple[list[Prediction], bool]:
        """Predictions for prompts of one structure; whether the dense prompt may be replaced."""
        output, can_yield = self._decode(view, prompts, multimask, adapters, own_dense)
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
        return found, can_yield

    def _decode(
        self,
        view: ImageEmbedding,
        prompts: Sequence[Prompt],
        multimask: bool,
        adapters: Sequence[Seams],
        own_dense: bool,
    ) -> tuple[DecoderOutput, bool]:
        if not prompts:
            raise PromptError("no prompts given")
        if len({_structure(p) for p in prompts}) != 1:
            raise PromptError(
                "prompts of different structure cannot share a decoder call; use predict()"
            )
        model = self._model
        masks = self._mask_logits(view, prompts)
        with reduced_precision(model.device, model.encoder_dtype):
            own = embedded = model.embed_prompts(view, prompts, masks)
            decoder = model.decoder
            for seam in adapters:
                embedded = self._checked(seam, embedded, seam.prompt(embedded, view))
                decoder = seam.mask_decoder(decoder)
            is_changed = embedded.dense is not own.dense or embedded.prior is not own.prior
            can_yield = model.spec.has_merged_dense or (is_changed and not embedded.keeps_dense)
            if own_dense:
                embedded = replace(embedded, dense=own.dense, prior=own.prior, own_dense=True)
            with active(adapters), decoder_grid(view.grid):
                output = model.run_decoder(decoder, view, embedded, multimask)
        return DecoderOutput(output.logits.float(), output.scores.float()), can_yield

    def _checked(
        self, seam: Seams, before: PromptEmbedding, after: PromptEmbedding
    ) -> PromptEmbedding:
        """Return the prompt as changed by an adapter, after checking that the decoder takes it."""
        if after is before:
            return after
        name, width = self._model.identity.name, self._model.spec.width
        wrong = ""
        if after.tokens.shape[0] != before.tokens.shape[0] or after.tokens.shape[-1] != width:
            wrong = f"tokens of shape {tuple(after.tokens.shape)}, not of width {width}"
        elif after.dense.shape[1:] != before.dense.shape[1:]:
            wrong = f"a dense prompt of shape {tuple(after.dense.shape)}, not {width} channels"
        elif (after.prior is None) != (before.prior is None):
            wrong = "a prior" if before.prior is None else "no prior"
        elif before.bias is not None and (
            after.bias is None or after.bias.shape != after.tokens.shape[:2]
        ):
            wrong = "no bias for each of its tokens"
        if wrong:
            raise AdapterError(
                f"the adapter {seam.title!r} gives the mask decoder of {name} {wrong}: it was made "
                "for a decoder of another kind"
            )
        return after

    def _mask_logits(self, view: ImageEmbedding, prompts: Sequence[Prompt]) -> Tensor | None:
        """Earlier masks as logits (B, 1, h, w) on the view's grid."""
        if prompts[0].mask is None:
            return None
        size = self._model.logits_size(view)
        rows = []
        for prompt in prompts:
            mask = prompt.mask
            if mask is None:
                raise PromptError("either all prompts of one decoder call have a mask, or none")
            tensor = torch.tensor(mask, device=self._model.device)[None, None]
            if mask.dtype == np.bool_:
                if tuple(mask.shape) != view.original_size:
                    raise PromptError(
                        f"bool mask prompt of shape {tuple(mask.shape)}: give it at the image's "
                        f"size {view.original_size} (height, width)"
                    )
                soft = view.geometry.to_decoder(tensor, size)
                tensor = (soft * 2 - 1) * MASK_LOGIT
            else:
                tensor = self.zoom.onto_view(view, tensor, prompt.window, size)
            rows.append(tensor)
        return torch.cat(rows)


def _structure(prompt: Prompt) -> tuple[int, bool, bool]:
    return len(prompt.points), prompt.box is not None, prompt.mask is not None
