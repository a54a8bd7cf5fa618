"""What parts of nano are worth: every variant is trained from nothing, for the same few steps.

    python benchmarks/nano_ablations.py --data DIR --out runs/ablations --steps 300 --count 40

`DIR` holds voc, clothing and carparts as for training. Variants see the same samples in the same
order, and are compared on the held-out photographs and on generated scenes. So short a training
says what helps at its beginning, and no more.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.encoder import NanoFeatures
from samadapt.models.nano.model import NanoModel
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.weights import NanoWeights, read_weights
from samadapt.training.nano.recipe import Recipe
from samadapt.training.nano.train import Trainer
from samadapt.training.nano.validate import validate

COMPARING_MAPS = (0, 1, 8, 9, 11, 12)
"""Of the prompt encoder's maps, those that compare image features."""

Surgery = Callable[[NanoNetwork], None]


def without_prior(network: NanoNetwork) -> None:
    """No comparison of the image with the prompt, and no first guess."""

    def blind(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen = torch.ones(args[0].shape[1], device=args[0].device)
        seen[list(COMPARING_MAPS)] = 0
        return (args[0] * seen.view(1, -1, 1, 1), *args[1:])

    network.prompt_encoder.dense.register_forward_pre_hook(blind)
    network.prompt_encoder.prior.register_forward_hook(lambda module, args, found: found * 0)


def without_fine_features(network: NanoNetwork) -> None:
    """The mask head sees image features at a stride of 8 alone."""

    def coarse(module: nn.Module, args: Any, found: NanoFeatures) -> NanoFeatures:
        return found._replace(fine=found.fine * 0)

    network.encoder.register_forward_hook(coarse)


@dataclass(frozen=True)
class Variant:
    """One network: other sizes, or something taken out."""

    sizes: dict[str, Any] = field(default_factory=dict)
    surgery: Surgery | None = None

    def operate(self, network: NanoNetwork) -> NanoNetwork:
        """Take out what is to be taken out, in place."""
        if self.surgery is not None:
            self.surgery(network)
        return network


VARIANTS = {
    "as shipped": Variant(),
    "no similarity prior": Variant(surgery=without_prior),
    "no stride-4 features": Variant(surgery=without_fine_features),
    "half the encoder's width": Variant({"widths": (32, 64, 96, 128)}),
    "half the encoder's depth": Variant({"depths": (1, 1, 1, 1)}),
    "one layer of the transformer": Variant({"decoder_layers": 1}),
    "half the decoder's width": Variant({"channels": 64}),
}


class VariantTrainer(Trainer):
    """Trains a network of the variant's kind."""

    def __init__(self, recipe: Recipe, variant: Variant) -> None:
        self._variant = variant
        super().__init__(recipe)

    def new_network(self) -> NanoNetwork:
        """A new network, with other sizes or something taken out."""
        return self._variant.operate(NanoNetwork(NanoConfig(**self._variant.sizes)))


def trained(variant: Variant, recipe: Recipe) -> NanoModel:
    """The variant's model, trained anew or as it lies in the folder."""
    weights = Path(recipe.out) / "nano.safetensors"
    trainer = VariantTrainer(recipe, variant)
    trainer.run()
    found = read_weights(weights)
    return NanoModel(NanoWeights(variant.operate(found.network), found.info, found.hash))


def main() -> None:
    """Print a table, one row per variant, and keep it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    given = parser.parse_args()
    rows = {}
    for name in given.variants:
        recipe = Recipe(
            data=str(given.data),
            out=str(given.out / name.replace(" ", "-").replace("'", "")),
            minutes=1e6,
            max_steps=given.steps,
            side=given.side,
            batch=given.batch,
            warmup_steps=max(1, given.steps // 10),
            decay_share=0.5,
            ema=0.98,
            pseudo=0.0,
            workers=0,  # a process forked after a validation may wait forever for its threads
            seed=given.seed,
        )
        model = trained(VARIANTS[name], recipe)
        curves = validate(model, given.data, given.count)
        ious = {source: values.mean(axis=0) for source, values in curves.items()}
        ious["mean"] = np.mean(list(ious.values()), axis=0)
        rows[name] = {source: [round(float(v), 4) for v in row] for source, row in ious.items()}
        cells = (" ".join(f"{row[i]:.2f}" for i in (0, 2, 4)) for row in ious.values())
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        (given.out / "ablations.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
