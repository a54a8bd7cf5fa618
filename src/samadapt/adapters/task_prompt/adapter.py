"""`TaskPromptAdapter`: one task, such as "wheel", learned as a change of the prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from samadapt.adapters.base import AdapterConfig
from samadapt.adapters.fitted import FittedAdapter
from samadapt.adapters.registry import register
from samadapt.adapters.task_prompt.config import VARIANTS, TaskPromptConfig
from samadapt.adapters.task_prompt.dense import DensePrompt
from samadapt.adapters.task_prompt.examples import MarkedImage, gather
from samadapt.adapters.task_prompt.judge import Judge, pooled_features
from samadapt.adapters.task_prompt.module import PromptLearning
from samadapt.adapters.tokens import starting_tokens
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import DecoderSpec, PromptEmbedding

if TYPE_CHECKING:
    from samadapt.adapters.point_matching import PointMatchingAdapter

_JUDGE = "judge."


@register("task-prompt")
class TaskPromptAdapter(FittedAdapter["TaskModule"]):
    """Prompt learning for one task (PLM; Kim et al., arXiv 2403.09199); SAM stays as it is.

    Acts at seam 1: prompt tokens go through `PromptLearning`, together with the image and with a
    few tokens that stand for the task, and take these tokens along into the mask decoder; the
    dense prompt and the prior get an addition (`DensePrompt`). With `point_matching` it also acts
    at seam 4, where a `PointMatchingAdapter` refines the outline. Until something is learned the
    prompt passes as it is, and no bit changes.

        hair = samadapt.fit("task-prompt", model, dataset, out="hair", category="hair", shots=16)
        model.predict(embedding, Prompt([(x, y)]), adapters=[hair])

    Args:
        config: settings and what an adapter folder says.
    """

    config_class: ClassVar[type[TaskPromptConfig]] = TaskPromptConfig
    config: TaskPromptConfig
    variants = VARIANTS

    def __init__(self, config: TaskPromptConfig | None = None) -> None:
        super().__init__(config)
        self.outline: PointMatchingAdapter | None = None
        """PMM, when it is part of this adapter."""
        if self.config.point_matching:
            self.outline = _outline(self.config.outline)
        if self.config.channels:
            self._build(torch.zeros(2, self.config.channels // 2))

    @property
    def category(self) -> str | None:
        """The task's name."""
        return self.config.category

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
        return module.dense.added_to(embedded, image, strength)

    def mask_boundary(self, logits: Tensor, embedding: ImageEmbedding) -> Tensor:
        """Logits (B, K, H, W) with refined outlines, if point matching is part of the adapter.

        While it learns they stay as they are, unless its loss is `shared`: the prompt's part
        learns what it would without it.
        """
        if self.outline is None or any(part.requires_grad for part in self.learned_apart()):
            return logits
        return self.outline.mask_boundary(logits, embedding)

    # -- learning -----------------------------------------------------------------------------

    def training_loss(
        self, logits: Tensor, target: Tensor, valid: Tensor, view: ImageEmbedding
    ) -> Tensor | None:
        """What point matching adds to the loss of each prompt, (B,); None if it does not learn.

        Unless the config says `shared`, the prompt's part does not learn from it.

        Args:
            logits: (B, h, w) of the view.
            target: (B, h, w) in 0..1.
            valid: (h, w) bool.
            view: that was decoded.
        """
        apart = self.learned_apart()
        if self.outline is None or (apart and not apart[0].requires_grad):
            return None
        given = logits if self.config.shared else logits.detach()
        return self.outline.training_loss(given, target, valid, view)

    def learned_apart(self) -> Sequence[nn.Parameter]:
        """The parameters of the outline's part, unless its loss is `shared`."""
        module = self.module
        if module is None or module.outline is None or self.config.shared:
            return ()
        return tuple(module.outline.parameters())

    def finish(
        self, model: SegmentationModel, images: Iterable[MarkedImage], count: int, seed: int
    ) -> None:
        """Learn to judge masks, once the rest is learned; see `Judge` and `gather`.

        Args:
            model: that the adapter is bound to.
            images: with their masks of the task.
            count: how many images there are.
            seed: of the points that are answered.
        """
        self.check_model(model)
        judge = self._on(model.device).judge
        judge.learn(*gather(model, self, images, count, seed))

    def judge(self, masks: Tensor, embedding: ImageEmbedding) -> Tensor | None:
        """How likely masks show the task's kind of thing, (B,) in 0..1; None if it cannot tell.

        Args:
            masks: (B, h, w) in 0..1 on the decoder's grid of the whole image.
            embedding: that image.
        """
        if self.module is None or not self.module.judge.is_trained:
            return None
        features = pooled_features(masks, embedding)
        found: Tensor = self._on(features.device).judge(features)
        return found

    # -- what was learned ---------------------------------------------------------------------

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` gave; without a judge's tensors the judge is untrained.

        Raises:
            AdapterError: other names or shapes than this adapter has.
        """
        own = self.state_dict()
        judge = {n: torch.zeros_like(t) for n, t in own.items() if n.startswith(_JUDGE)}
        super().load_state_dict({**judge, **state})

    # -- the base model -----------------------------------------------------------------------

    def bind(self, model: SegmentationModel) -> None:
        """Tie this adapter to `model`, or check that it is the one it was made for."""
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
                    config.context if config.looks_around else 0,
                    config.gain if config.looks_around or not config.context else 1.0,
                    config.has_prior,
                )
        outline = None if self.outline is None else self.outline.module
        self.module = TaskModule(prompt, dense, outline, Judge(config.channels))
        self.module.requires_grad_(False)
        count = sum(parameter.numel() for parameter in self.module.parameters())
        self.config = replace(config, parameters=count)


class TaskModule(nn.Module):
    """What is learned: `prompt` (PLM), `dense` and `outline` (PMM) where they are wanted.

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
    """Frequencies (2, C/2) of the model's positions, or 0 where it has none.

    Without them nothing tells the attention where a feature lies, but the rest works.
    """
    known = spec.position_frequencies
    if known is None:
        return torch.zeros(2, spec.width // 2)
    return known.detach().float().clone()


def _plain(config: AdapterConfig) -> dict[str, Any]:
    """A config as JSON gives it back."""
    found: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return found


def _outline(values: Mapping[str, Any]) -> PointMatchingAdapter:
    from samadapt.adapters.point_matching import PointMatchingAdapter

    if not values:
        return PointMatchingAdapter()
    return PointMatchingAdapter(PointMatchingAdapter.config_class.from_dict(values))
