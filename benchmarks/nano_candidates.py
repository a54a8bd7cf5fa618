"""After one click, which of nano's three candidates to show: IoU by rule.

    python benchmarks/nano_candidates.py --data DIR --count 30 --domains nuclei cardiac emcells

On photographs held out from training, generated scenes, and training files of domains that nano
has never seen. `single` is the one mask for a clear prompt, `score head` the decoder's own choice
among three, which ships, `surest` that with the highest mean probability inside, `best` an oracle.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from samadapt.clicks import next_click
from samadapt.metrics import iou
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import DecoderOutput
from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.model import NanoModel, load_nano
from samadapt.prompts import Prompt
from samadapt.training.nano.validate import OWN, Example, examples

RULES = ("single", "score head", "surest", "best")


def surest(embedding: ImageEmbedding, output: DecoderOutput) -> int:
    """The candidate whose cells, where they show the image, are the most probable on average."""
    rows, columns = (-(-size // NanoConfig.FINE_STRIDE) for size in embedding.geometry.resized)
    shown = output.logits[0, :, :rows, :columns]
    inside = (shown > 0).float()
    count = inside.sum((-2, -1)).clamp_min(1)
    return int(((shown.sigmoid() * inside).sum((-2, -1)) / count).argmax())


def by_rule(model: NanoModel, example: Example) -> list[float]:
    """IoU after the robot's first click, one per rule."""
    image, truth = example
    embedding = model.encode(image)
    click = next_click(truth, np.zeros_like(truth), [])
    if click is None:
        raise ValueError("an empty mask cannot be clicked on")
    prompt = Prompt.from_clicks([click])
    with torch.no_grad():
        output = model.decode(embedding, [prompt], multimask=True)
        masks = model.upsample(embedding, output.logits)[0].numpy() > 0
    ious = [iou(mask, truth) for mask in masks]
    single = iou(model.predict(embedding, prompt).masks[0], truth)
    return [single, ious[int(output.scores.argmax())], ious[surest(embedding, output)], max(ious)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--domains", nargs="*", default=[])
    given = parser.parse_args()
    model = load_nano()
    print(f"| | {' | '.join(RULES)} |\n| --- |{' ---: |' * len(RULES)}")
    for name in (*OWN, *given.domains):
        rows = [by_rule(model, example) for example in examples(given.data, name, given.count)]
        print(f"| {name} | {' | '.join(f'{v:.3f}' for v in np.mean(rows, axis=0))} |", flush=True)


if __name__ == "__main__":
    main()
