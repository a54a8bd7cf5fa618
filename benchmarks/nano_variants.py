"""Ways of using nano at test time, side by side on the validation photographs.

    python benchmarks/nano_variants.py --data DIR --count 16

Nothing is trained. `DIR` holds voc, clothing and carparts as for training; of them only the share
held out from training is used, beside generated scenes and the training files of `--domains`.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samadapt.clicks import next_click
from samadapt.metrics import iou
from samadapt.models import zoom_in
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.nano.model import NanoModel, load_nano
from samadapt.prompts import Click, Prompt
from samadapt.training.nano.validate import OWN, Example, examples

SHOWN = (1, 3, 5, 10, 15, 20)


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way of use; None leaves what ships."""

    largest_share: float | None = None
    margin: float | None = None
    close_up_side: int | None = None
    flips: bool = False
    second_look: bool = False
    candidates: bool = False
    newest: int | None = None


VARIANTS = {
    "as shipped": Variant(),
    "no close-ups": Variant(largest_share=0.0),
    "close-ups up to half of the image": Variant(largest_share=0.5),
    "wider close-ups (2.2 times the object)": Variant(margin=2.2),
    "close-ups of 256 pixels": Variant(close_up_side=256),
    "close-ups of 384 pixels": Variant(close_up_side=384),
    "second look after the first click": Variant(second_look=True),
    "mean with the mirrored image": Variant(flips=True),
    "best-scored of three at the first click": Variant(candidates=True),
    "the newest four clicks and the earlier logits": Variant(newest=4),
    "the newest two clicks and the earlier logits": Variant(newest=2),
}


class Annotator:
    """Answers clicks on one image in the variant's way."""

    def __init__(self, model: NanoModel, image: NDArray[np.uint8], variant: Variant) -> None:
        self.model = model
        self.variant = variant
        self.width = image.shape[1]
        self.sides = [model.encode(image)]
        if variant.flips:
            self.sides.append(model.encode(np.ascontiguousarray(image[:, ::-1])))
        self.earlier: list[tuple[NDArray[np.float32], object] | None] = [None] * len(self.sides)

    def mask(self, clicks: list[Click]) -> NDArray[np.bool_]:
        full = [self._logits(side, clicks) for side in range(len(self.sides))]
        if self.variant.second_look and len(clicks) == 1:
            full = [self._logits(side, clicks) for side in range(len(self.sides))]
        return np.asarray(np.mean(full, axis=0) > 0)

    def _logits(self, side: int, clicks: list[Click]) -> NDArray[np.float32]:
        """Logits (H, W) on the image or, for side 1, on its mirror image, mirrored back."""
        placed = [Click(self.width - c.x, c.y, c.positive) if side else c for c in clicks]
        prompt = Prompt.from_clicks(placed)
        earlier = self.earlier[side]
        if earlier is not None:
            prompt = prompt.with_mask(*earlier)  # type: ignore[arg-type]
        embedding: ImageEmbedding = self.sides[side]
        view = self.model.view(embedding, prompt)
        ambiguous = self.variant.candidates and len(clicks) == 1
        if earlier is not None and self.variant.newest:
            newest = Prompt.from_clicks(placed[-self.variant.newest :])
            prompt = newest.with_mask(prompt.mask, prompt.window)
        output = self.model.decode(view, [prompt], multimask=ambiguous)
        best = int(output.scores[0].argmax())
        logits = output.logits[:, best : best + 1].detach()
        self.earlier[side] = logits[0, 0].numpy(), view.geometry.window
        full = self.model.upsample(view, logits)[0, 0].numpy()
        return full[:, ::-1] if side else full


def curve(model: NanoModel, example: Example, variant: Variant, count: int) -> list[float]:
    """IoU after each of `count` clicks of the robot."""
    image, truth = example
    annotator = Annotator(model, image, variant)
    clicks: list[Click] = []
    mask = np.zeros_like(truth)
    ious: list[float] = []
    while len(clicks) < count:
        click = next_click(truth, mask, clicks)
        if click is None:
            break
        clicks.append(click)
        mask = annotator.mask(clicks)
        ious.append(iou(mask, truth))
    return ious + ious[-1:] * (count - len(ious))


@contextmanager
def used(model: NanoModel, variant: Variant) -> Iterator[None]:
    """The model in this variant, until the block ends."""
    kept = zoom_in.LARGEST_SHARE, zoom_in.MARGIN, model.config, model.spec
    if variant.largest_share is not None:
        zoom_in.LARGEST_SHARE = variant.largest_share
    if variant.margin is not None:
        zoom_in.MARGIN = variant.margin
    if variant.close_up_side is not None:
        side = variant.close_up_side
        model.config = dataclasses.replace(model.config, close_up_side=side)
        model.spec = dataclasses.replace(model.spec, close_up_side=side)
    try:
        yield
    finally:
        zoom_in.LARGEST_SHARE, zoom_in.MARGIN, model.config, model.spec = kept


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--clicks", type=int, default=5)
    parser.add_argument("--domains", nargs="*", default=[])
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    arguments = parser.parse_args()
    model = load_nano(arguments.weights)
    sources = (*OWN, *arguments.domains)
    known = {name: list(examples(arguments.data, name, arguments.count)) for name in sources}
    shown = [click - 1 for click in SHOWN if click <= arguments.clicks]
    print(f"| variant | {' | '.join(sources)} | mean |")
    print("| --- |" + " --- |" * (len(sources) + 1))
    for name in arguments.only:
        variant = VARIANTS[name]
        with used(model, variant):
            means = [
                np.mean([curve(model, one, variant, arguments.clicks) for one in known[source]], 0)
                for source in sources
            ]
        cells = [" ".join(f"{m[k]:.2f}" for k in shown) for m in (*means, np.mean(means, 0))]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
