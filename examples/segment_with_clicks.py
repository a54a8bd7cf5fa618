"""Segment one object with clicks: the model by itself, then a session that can undo.

python examples/segment_with_clicks.py [PICTURE X,Y]
"""

from __future__ import annotations

import sys

import samadapt
from samadapt.benchmark.demo import demo_dataset


def main(arguments: list[str]) -> None:
    """Print the sizes of the masks."""
    if arguments:
        image, (x, y) = arguments[0], (float(part) for part in arguments[1].split(","))
    else:
        dataset = demo_dataset()
        image, x, y = dataset.image_path(1), 150.5, 110.5
    model = samadapt.load("nano")
    embedding = model.encode(image)
    prediction = model.predict(embedding, samadapt.Prompt(points=[(x, y)]), multimask=True)
    for mask, score in zip(prediction.masks, prediction.scores, strict=True):
        print(f"candidate: {mask.sum()} pixels, predicted IoU {score:.2f}")

    session = samadapt.Session(model)
    session.open(image)
    session.click(x, y)
    session.click(x, y + 40, positive=False)
    session.undo()
    mask = session.accept(label="object")
    print(f"accepted: {mask.sum()} of {mask.size} pixels")


if __name__ == "__main__":
    main(sys.argv[1:])
