"""`TaskPromptAdapter`: one task, such as "wheel", learned as a change of the prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from samadapt.adapters.base import Adapter
from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.fitted import FittedAdapter
from samadapt.adapters.fitting import TASK_RECIPE, Fitting, MarkedImage, Phase
from samadapt.adapters.losses import mask_loss
from samadapt.adapters.registry import get_method, register
from samadapt.adapters.task_prompt.config import VARIANTS, TaskPromptConfig
from samadapt.adapters.task_prompt.dense import DensePrompt
from samadapt.adapters.task_prompt.examples import gather
from samadapt.adapters.task_prompt.judge import Judge, pooled_features
from samadapt.adapters.task_prompt.module import PromptLearning
from samadapt.adapters.tokens import starting_tokens
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import DecoderSpec, PromptEmbedding

_JUDGE = "judge."
_OUTLINE = "point-matching"
"""Method of the adapter that refines outlines."""


@register("task-prompt")
class TaskPromptAdapter(FittedAdapter["TaskModule"]):
    """Prompt learning for one task (PLM; Kim et al., arXiv 2403.09199); the model is frozen.

    Acts at seam 1: `PromptLearning` transforms the prompt tokens, together with the image and a
    few learned task tokens, and passes both to the mask decoder; `DensePrompt` adds to the dense
    prompt and the prior. With `point_matching` it also acts at seam 4, where an adapter of that
    method refines the outline. An untrained adapter passes the prompt unchanged.

        hair = samadapt.fit("task-prompt", model, dataset, out="hair", category="hair", shots=16)
        model.predict(embedding, Prompt([(x, y)]), adapters=[hair])
    """

    about = "prompt tokens for one task"
    # A higher weight of the outlines makes the masks worse.
    fitting = Fitting(recipe={**TASK_RECIPE, "points_weight": 0.1}, one_task=True, row="plm")
    config_class: ClassVar[type[TaskPromptConfig]] = TaskPromptConfig
    config: TaskPromptConfig
    variants = VARIANTS

    def __init__(self, config: TaskPromptConfig | None = None) -> None:
        super().__init__(config)
        self.outline: Adapter | None = None
        """The point matching adapter, if it is part of this adapter."""
        if self.config.point_matching:
            self.outline = _outline(self.config.outline)
        if self.config.channels:
            self._build(torch.zeros(2, self.config.channels // 2))

    @property
    def category(self) -> str | None:
        """The task's name."""
        return self.config.category

    @property
    def width(self) -> int:
        """C of its model; 0 before it is bound to one."""
        return self.config.channels

    # -- the seams ----------------------------------------------------------------------------

    def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
        """Transform N tokens, add T of the task and change the dense prompt.

        Prompts without a token stay as they are.
        """
        tokens = embedded.tokens
        if self.module is None or not tokens.shape[1] or not self.module.prompt.is_in_use:
            return embedded
        module, image = self._on(tokens.device), embedding.image.to(tokens.device)
        embedded = embedded.with_tokens(module.prompt(tokens, image))
        if module.dense is None:
            return embedded
        learns = torch.is_grad_enabled() and module.dense.dense.weight.requires_grad
        strength = 1.0 if learns else self.config.strength
        embedded = module.dense.added_to(embedded, image, strength)
        return embedded if self.config.yields_to_clicks else replace(embedded, keeps_dense=True)

    def mask_boundary(self, logits: Tensor, embedding: ImageEmbedding) -> Tensor:
        """Logits (B, K, H, W) with refined outlines, if point matching is part of the adapter.

        In training they are refined only if the loss is `shared`; otherwise the prompt module
        learns the same with and without point matching.
        """
        learns = any(parameter.requires_grad for parameter in self._outline_parameters())
        if self.outline is None or (learns and not self.config.shared):
            return logits
        return self.outline.mask_boundary(logits, embedding)

    def check_export(self) -> None:
        """Raise `AdapterError` for an untrained adapter and for one with point matching."""
        self._check_in_use(self.module is not None and self.module.prompt.is_in_use)
        if self.outline is not None:
            self.outline.check_export()

    # -- learning -----------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        """First the prompt; second the outline, on the finished prompt's predictions.

        With `shared` in the config there is one phase: the loss of the outline's points reaches
        the prompt through the logits.
        """
        every = () if self.module is None else tuple(self.module.parameters())
        if self.outline is None:
            return (Phase(every, mask_loss),)
        points_loss = self.outline.phases()[0].points_loss
        if points_loss is None or self.config.shared:
            return (Phase(every, mask_loss, points_loss),)
        outline = self._outline_parameters()
        known = {id(parameter) for parameter in outline}
        prompt = tuple(parameter for parameter in every if id(parameter) not in known)
        return Phase(prompt, mask_loss), Phase(outline, points_loss)

    def calibrate(
        self, model: SegmentationModel, images: Iterable[MarkedImage], count: int, seed: int
    ) -> None:
        """Fit the judge of masks; see `Judge` and `gather`."""
        self.check_model(model)
        judge = self._on(model.device).judge
        judge.learn(*gather(model, self, images, count, seed))

    def judge(self, masks: Tensor, embedding: ImageEmbedding) -> Tensor | None:
        """Return the probability (B,) that masks show an object of the task; None if untrained.

        Args:
            masks: (B, h, w) in 0..1 on the decoder's grid of the whole image.
            embedding: that image.
        """
        if self.module is None or not self.module.judge.is_trained:
            return None
        features = pooled_features(masks, embedding)
        found: Tensor = self._on(features.device).judge(features)
        return found

    # -- the learned state --------------------------------------------------------------------

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load a state that `state_dict` returned; without its tensors the judge is untrained.

        Raises:
            AdapterError: other names or shapes than this adapter has.
        """
        own = self.state_dict()
        judge = {n: torch.zeros_like(t) for n, t in own.items() if n.startswith(_JUDGE)}
        super().load_state_dict({**judge, **state})

    # -- the base model -----------------------------------------------------------------------

    def bind(self, model: SegmentationModel) -> None:
        """Bind this adapter to `model`, or check that it was made for `model`."""
        super().bind(model)
        if self.module is None:
            if self.outline is not None:
                self.outline.bind(model)
                self.config = replace(self.config, outline=_plain(self.outline.config))
            self.config = replace(
                self.config,
                channels=model.spec.width,
                cells=model.spec.position_cells,
                has_prior=model.spec.has_prior,
            )
            self._build(_frequencies(model.spec))
        self._on(model.device)

    # -- private ------------------------------------------------------------------------------

    def _outline_parameters(self) -> tuple[nn.Parameter, ...]:
        outline = None if self.module is None else self.module.outline
        return () if outline is None else tuple(outline.parameters())

    def _build(self, frequencies: Tensor) -> None:
        config = self.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            prompt = PromptLearning(
                config.channels,
                config.heads,
                config.width,
                config.hidden,
                starting_tokens(config.tokens, config.channels, config.scale),
                frequencies,
                config.cells,
            )
            dense = None
            if config.dense:
                dense = DensePrompt(
                    config.channels,
                    config.dense,
                    config.context,
                    config.gain,
                    config.has_prior,
                )
        outline = None if self.outline is None else self.outline.module
        self.module = TaskModule(prompt, dense, outline, Judge(config.channels))
        self.module.requires_grad_(False)
        count = sum(parameter.numel() for parameter in self.module.parameters())
        self.config = replace(config, parameters=count)


class TaskModule(nn.Module):
    """The learned modules: `prompt` (PLM), and `dense` and `outline` (PMM) if they are used.

    `judge` is learned last, and has no parameters.
    """

    def __init__(
        self,
        prompt: PromptLearning,
        dense: DensePrompt | None,
        outline: nn.Module | None,
        judge: Judge,
    ) -> None:
        super().__init__()
        self.prompt = prompt
        self.dense = dense
        self.outline = outline
        self.judge = judge


def _frequencies(spec: DecoderSpec) -> Tensor:
    """Frequencies (2, C/2) of the model's positional encoding, or 0 where it has none.

    With zeros the attention does not know the positions of features, but it still works.
    """
    known = spec.position_frequencies
    if known is None:
        return torch.zeros(2, spec.width // 2)
    return known.detach().float().clone()


def _plain(config: AdapterConfig) -> dict[str, Any]:
    """A config after a round trip through JSON."""
    found: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return found


def _outline(values: Mapping[str, Any]) -> Adapter:
    """An adapter of the method that refines outlines, from its config's values."""
    method = get_method(_OUTLINE)
    return method(method.config_class.from_dict({"method": _OUTLINE, **values}))
