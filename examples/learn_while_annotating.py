"""Let a robot annotator click coins, with the frozen model and with one that learns.

python examples/learn_while_annotating.py [NUMBER_OF_COINS]
"""

from __future__ import annotations

import sys

import samadapt
from samadapt.benchmark.demo import demo_dataset


def main(coins: int) -> None:
    """Print the number of clicks per coin."""
    model = samadapt.load("nano")
    dataset = demo_dataset()
    objects = dataset.objects(categories=["coin"])[:coins]
    embedding = model.encode(dataset.image_path(objects[0].image_id))
    protocol = samadapt.ClickProtocol(max_clicks=10, targets=(0.85,))
    for name, adapters in (("frozen", []), ("adapting", [samadapt.OnlineAdapter()])):
        session = samadapt.Session(model, adapters=adapters, options=protocol.session_options)
        traces = [
            samadapt.annotate_object(
                session, embedding, dataset.mask(coin.annotation_id), protocol, label="coin"
            )
            for coin in objects
        ]
        print(f"{name}: clicks per coin {[len(trace.ious) for trace in traces]}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
