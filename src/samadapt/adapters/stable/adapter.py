"""`StableAdapter`: deformable sampling and routing at the mask decoder's last attention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, get_args

import torch
from torch import Tensor, nn

from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.fitted import FittedAdapter
from samadapt.adapters.fitting import Fitting, Variant
from samadapt.adapters.readings import note
from samadapt.adapters.registry import register
from samadapt.adapters.stable.routing import ConstantRouting, Normalisation, Router
from samadapt.adapters.stable.sampling import DeformableSampling
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel

VARIANTS = {
    "no-routing": Variant({"routed": False}, "one learned weight instead of a router (DSP alone)"),
    "no-sampling": Variant({"deformable": False}, "learned amplitudes, no offsets (DRP alone)"),
    "softmax": Variant({"normalisation": "softmax"}, "weights of the router sum to one"),
}


@dataclass(frozen=True, kw_only=True)
class StableConfig(AdapterConfig):
    """Config of a stable adapter.

    Attributes:
        deformable: DSP moves the sampling places; False learns amplitudes alone.
        routed: DRP predicts alpha for every prompt; False learns one alpha for all (DSP alone).
        normalisation: of alpha, see `Router`.
        hidden: width of the router's hidden layer.
        reach: largest offset along each axis, in cells of the feature grid.
        seed: of the weights that do not start as zero or identity.
        channels: C of its model; 0 until it is bound to one.
        mask_token: index of the mask's output token among the decoder's tokens.
        parameters: exact number of learned parameters; 0 until it is bound to a model.
    """

    method: str = "stable"
    deformable: bool = True
    routed: bool = True
    normalisation: Normalisation = "free"
    hidden: int = 24
    reach: float = 8.0
    seed: int = 0
    channels: int = 0
    mask_token: int = 1
    parameters: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.normalisation not in get_args(Normalisation):
            raise AdapterError(
                f"normalisation {self.normalisation!r}: use {' or '.join(get_args(Normalisation))}"
            )
        self.check_positive("reach")
        self.check_whole(1, "hidden")
        self.check_whole(0, "channels", "mask_token")


@register("stable")
class StableAdapter(FittedAdapter["StableModule"]):
    """Makes masks robust to imprecise prompts: Stable-SAM (Fan et al., ICLR 2025).

    See arXiv 2311.15776. Acts at seam 2, in the decoder's only run. Instead of the image features
    x, the last layer's token-to-image attention sees

        alpha1 x*(p + dp) + alpha2 x(p)        (alpha1, alpha2) = Router(t)

    with x* and dp from `DeformableSampling` and t the mask's output token after the layer's
    self-attention (the attention's query, which includes the token's embedding). The positional
    encoding is added to the keys as before. Untrained, alpha is (0, 1), and no bit changes.

    It is fitted to masks with prompts of all qualities: `samadapt.fit("stable", ...)`.
    """

    about = "deformable sampling and routing at the decoder's last attention"
    fitting = Fitting()
    config_class: ClassVar[type[StableConfig]] = StableConfig
    config: StableConfig
    variants = VARIANTS

    def __init__(self, config: StableConfig | None = None) -> None:
        super().__init__(config)
        if self.config.channels:
            self._build(self.config.channels, self.config.mask_token)

    # -- the seam -----------------------------------------------------------------------------

    def mask_attention(self, features: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Mix moved and plain features (B, h*w, C), weighed for each prompt."""
        if self.module is None:
            return features
        module = self._on(features.device)
        mixed: Tensor = module(features, tokens[:, self.config.mask_token], grid)
        return mixed

    @property
    def width(self) -> int:
        """C of its model; 0 before it is bound to one."""
        return self.config.channels

    def bind(self, model: SegmentationModel) -> None:
        """Bind this adapter to `model`, or check that it was made for `model`."""
        super().bind(model)
        if self.module is None:
            self._build(model.spec.width, model.spec.mask_token)
        self._on(model.device)

    # -- private ------------------------------------------------------------------------------

    def _build(self, channels: int, mask_token: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            module = StableModule(replace(self.config, channels=channels))
        module.requires_grad_(False)
        count = sum(parameter.numel() for parameter in module.parameters())
        self.config = replace(
            self.config, channels=channels, mask_token=mask_token, parameters=count
        )
        self.module = module


class StableModule(nn.Module):
    """The learned modules: `sampling` (DSP) and `routing` (DRP)."""

    def __init__(self, config: StableConfig) -> None:
        super().__init__()
        self.sampling = DeformableSampling(config.channels, config.reach, config.deformable)
        self.routing: nn.Module = (
            Router(config.channels, config.hidden, config.normalisation)
            if config.routed
            else ConstantRouting()
        )

    def forward(self, features: Tensor, token: Tensor, grid: tuple[int, int]) -> Tensor:
        """Mix features (B, h*w, C) with weights that depend on the mask's token (B, C)."""
        alphas: Tensor = self.routing(token)
        note("alphas", alphas)
        moved: Tensor = self.sampling(features, grid)
        return torch.addcmul(alphas[:, 1, None, None] * features, alphas[:, 0, None, None], moved)
