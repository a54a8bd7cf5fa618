"""Teach nano what a coin is from the masks that `sample_images.py` writes, and ask it.

python examples/sample_images.py samples
python examples/teach_a_task.py samples [MASKS [STEPS]]
"""

from __future__ import annotations

import sys
from pathlib import Path

import samadapt
from samadapt.data.coco import CocoDataset
from samadapt.metrics import iou


def main(folder: Path, masks: int, steps: int) -> None:
    """Print the IoU of one point, frozen and taught, on coins that were not learned from."""
    model = samadapt.load("nano")
    train = CocoDataset.load(folder / "train.json", folder / "images")
    test = CocoDataset.load(folder / "test.json", folder / "images")
    samadapt.fit(
        "task-prompt",
        model,
        train,
        out=folder / "coin",
        category="coin",
        shots=masks,
        steps=steps,
    )
    task = samadapt.Tasks(model, folder / "coin")["coin"]

    coin = test.objects(categories=["coin"])[0]
    truth = test.mask(coin.annotation_id)
    rows, columns = truth.nonzero()
    prompt = samadapt.Prompt(points=[(columns.mean() + 0.5, rows.mean() + 0.5)])
    embedding = model.encode(test.image_path(coin.image_id))
    for name, adapters in (("frozen", []), ("taught", [task])):
        prediction = model.predict(embedding, prompt, adapters=adapters)
        print(f"{name}: IoU {iou(prediction.masks[0], truth):.2f}")


if __name__ == "__main__":
    given = sys.argv[1:]
    folder, masks, steps = given + ["samples", "12", "120"][len(given) :]
    main(Path(folder), int(masks), int(steps))
