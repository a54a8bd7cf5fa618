"""Write the model card of nano weights from the weights file and from benchmark results.

    samadapt benchmark interactive --dataset voc --json voc.json
    python -m research.nano.card --weights nano.safetensors --results voc.json

Leaves `README.md` for people and `card.json` for programs beside the weights; `samadapt doctor`
compares the weights with the latter. No figure in either is typed by hand.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from research.nano.card_data import DATA
from samadapt.data.files import replacing
from samadapt.errors import DataError, SamadaptError
from samadapt.models.nano.weights import NanoWeights, read_weights

CARD, README = "card.json", "README.md"
FORMAT = "samadapt-model-card-1"
RESULT_FORMAT = "samadapt-interactive-1"
LICENSE = "apache-2.0"

_ENVIRONMENT = (
    "date",
    "commit",
    "python",
    "samadapt",
    "torch",
    "numpy",
    "opencv",
    "cpu",
    "device",
    "encoder_dtype",
)
_COLUMNS = {
    "objects": "objects",
    "iou@1": "IoU@1",
    "iou@3": "IoU@3",
    "iou@5": "IoU@5",
    "iou@10": "IoU@10",
    "noc20@85": "NoC20@85",
    "noc20@90": "NoC20@90",
}
_RUN_COLUMNS = ("steps", "minutes", "processes", "side", "batch", "objects", "learning_rate")

_HEAD = """---
license: {license}
library_name: samadapt
pipeline_tag: mask-generation
tags:
  - segment-anything
  - interactive-segmentation
  - image-segmentation
---

# nano

The small promptable segmentation model that ships with samadapt: {parameters:.1f} M parameters,
{megabytes:.1f} MB. Clicks, boxes and earlier masks in; one mask, or three candidates with predicted
IoUs, out.

| | |
| --- | --- |
| file | `{file}` |
| SHA-256 of the file | `{sha256}` |
| samadapt's hash of the weights | `{weights_hash}` |
| license of the weights | Apache-2.0; see the terms of the photographs below |

```python
import samadapt

model = samadapt.load("nano")
```
"""

_FAILURES = """## Known failures

- One click is often not enough: which of a whole, its part and a part of that is meant cannot be
  known, and the single mask settles for one of them.
- Predicted IoUs order the candidates only roughly. They were learned on photographs and generated
  scenes, and are too high on images of another kind.
- Thin structures (hairs, wires, vessels): logits have half of the input's resolution, so that lines
  of less than two pixels of {side} vanish.
- Small objects: the longer side of an image is resampled to {side} pixels, and after a first click
  alone an object of a few pixels there has next to no features. It is looked at more closely only
  when a box or an earlier mask tells its size.
- Kinds of images that it has never seen (medicine, microscopy, aerial views, drawings) need more
  clicks. Adapting it while annotating is what samadapt is for.
- Animals, clothes and cars are over-represented, people appear mostly as wearers of clothes, and
  nobody has looked at whether masks are equally good for all people.

Not meant for any use in which a wrong mask does harm without a person checking it.
"""


def build_card(weights: Path, results: Sequence[Path]) -> dict[str, Any]:
    """The machine-readable card: plain JSON values.

    Args:
        weights: nano weights file.
        results: files of `samadapt benchmark interactive --json`, measured with these weights.

    Raises:
        CheckpointError: the weights cannot be read.
        DataError: a result cannot be read, or was measured with other weights or with adapters.
    """
    loaded = read_weights(weights)
    content = weights.read_bytes()
    return {
        "format": FORMAT,
        "name": "nano",
        "file": weights.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "weights_hash": loaded.hash,
        "parameters": sum(p.numel() for p in loaded.network.parameters()),
        "config": loaded.network.config.to_dict(),
        "license": LICENSE,
        "data": [dict(source) for source in DATA],
        "training": dict(loaded.info),
        "metrics": [_metrics(path, loaded) for path in results],
    }


def render_card(card: Mapping[str, Any]) -> str:
    """The card for people, as Markdown with a YAML head (Hugging Face's form)."""
    head = _HEAD.format(
        license=card["license"],
        parameters=card["parameters"] / 1e6,
        megabytes=card["bytes"] / 1e6,
        file=card["file"],
        sha256=card["sha256"],
        weights_hash=card["weights_hash"],
    )
    sections = [
        head,
        _describe_data(card["data"]),
        _describe_training(card["training"]),
        _describe_metrics(card["metrics"]),
        _FAILURES.format(side=card["config"]["input_side"]),
    ]
    return "\n".join(sections)


def write_card(weights: Path, results: Sequence[Path]) -> tuple[Path, Path]:
    """Write `card.json` and `README.md` beside `weights`; returns both paths.

    Raises:
        CheckpointError, DataError: as `build_card`, or a file cannot be written.
    """
    card = build_card(weights, results)
    texts = {CARD: json.dumps(card, indent=1, allow_nan=False) + "\n", README: render_card(card)}
    for name, text in texts.items():
        with replacing(weights.parent / name) as file:
            file.write(text.encode())
    return weights.parent / CARD, weights.parent / README


def _metrics(path: Path, weights: NanoWeights) -> dict[str, Any]:
    """What the card keeps of one result: no paths and no single objects."""
    result = _read_result(path)
    try:
        environment, protocol = result["environment"], dict(result["protocol"])
        dataset = protocol.pop("dataset")
        if environment["model"]["weights_hash"] != weights.hash:
            raise DataError(f"{path} was measured with other weights: run the benchmark again")
        if environment["adapters"]:
            raise DataError(f"{path} was measured with an adapter: run the benchmark without one")
        masks = Path(dataset["masks"])
        return {
            "dataset": {
                "name": f"{masks.parent.name}/{masks.stem}",
                "sha256": dataset["sha256"],
                "images": dataset["image_count"],
                "annotations": dataset["annotation_count"],
            },
            "protocol": protocol,
            "summary": dict(result["summary"]),
            "intervals": dict(result["intervals"]),
            "environment": {key: environment.get(key) for key in _ENVIRONMENT},
        }
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is a damaged benchmark result ({error!r})") from None


def _read_result(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise DataError(f"{path} is not a JSON file ({error})") from None
    if not isinstance(result, dict) or result.get("format") != RESULT_FORMAT:
        raise DataError(
            f"{path} is no result of `samadapt benchmark interactive`: give what its --json wrote"
        )
    return result


def _describe_data(data: Sequence[Mapping[str, str]]) -> str:
    rows = [f"| {row['name']} | {row['what']} | {row['terms']} |" for row in data]
    lines = [
        "## Training data",
        "",
        "Only training files of these sources; nothing was learned from their test files, nor from",
        "the masks of another segmentation model. The trunk was pretrained on ImageNet.",
        "",
        "| name | what | terms, as far as known |",
        "| --- | --- | --- |",
        *rows,
        "",
    ]
    return "\n".join(lines)


def _describe_training(training: Mapping[str, Any]) -> str:
    lines = [
        "## Training",
        "",
        "The encoder first, by a contrastive loss over regions; then everything together on",
        "simulated clicks and boxes that are corrected where the mask is wrong. AdamW, running",
        "average of the weights.",
        "`python -m research.nano.train --help` lists every choice.",
        "",
    ]
    runs = training.get("runs", [])
    if not runs:
        steps = training.get("steps", "an unknown number of")
        return "\n".join([*lines, f"The file records {steps} steps for its last run.", ""])
    lines += [
        "| run | steps | minutes | processes | crops | batch x objects | learning rate |",
        "| ---: | ---: | ---: | ---: | --- | --- | --- |",
    ]
    for number, run in enumerate(runs, 1):
        if "of" in run:
            parts = " and ".join(f"`{part[:12]}`" for part in run["of"])
            lines.append(f"| {number} | mean of the weights {parts} |" + " |" * 5)
            continue
        known = {**run, **run.get("recipe", {}), "minutes": run.get("minutes", "?")}
        steps, minutes, processes, side, batch, objects, rate = (
            known.get(name, "?") for name in _RUN_COLUMNS
        )
        sizes = f"{side} px | {batch} x {objects}"
        cells = (number, steps, minutes, processes, sizes, rate)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, "", "`card.json` has the whole recipe of each run.", ""])


def _describe_metrics(metrics: Sequence[Mapping[str, Any]]) -> str:
    lines = ["## Metrics", ""]
    if not metrics:
        lines += [
            "None measured yet for these weights. To measure, and to fill this section:",
            "",
            "```sh",
            "samadapt benchmark interactive --dataset NAME --json result.json",
            "python -m research.nano.card --weights FILE --results result.json",
            "```",
            "",
        ]
        return "\n".join(lines)
    lines += [
        "`samadapt benchmark interactive`: a robot clicks in the middle of the largest error.",
        "Means over objects, 95 % bootstrap intervals over images in brackets. `card.json` has the",
        "whole protocol, the environment and the hash of each annotation file.",
        "",
        f"| dataset | {' | '.join(_COLUMNS.values())} |",
        f"| --- |{' ---: |' * len(_COLUMNS)}",
    ]
    for row in metrics:
        cells = [_cell(row["summary"].get(key), row["intervals"].get(key)) for key in _COLUMNS]
        lines.append(f"| {row['dataset']['name']} | {' | '.join(cells)} |")
    lines += ["", *sorted({_conditions(row) for row in metrics}), ""]
    return "\n".join(lines)


def _cell(value: float | int | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    if interval is None:
        return f"{value:.2f}"
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _conditions(row: Mapping[str, Any]) -> str:
    found, protocol = row["environment"], row["protocol"]
    return (
        f"- {str(found['date'])[:10]}, samadapt {found['samadapt']}, torch {found['torch']}, "
        f"{found['encoder_dtype']} on {found['device']}, seed {protocol.get('seed')}, "
        f"at most {protocol.get('max_clicks')} clicks."
    )


def main() -> None:
    """Command line; prints the two files that were written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--results", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    try:
        written = write_card(arguments.weights, arguments.results)
    except SamadaptError as error:
        parser.exit(2, f"error: {error}\n")
    for path in written:
        print(path)  # noqa: T201


if __name__ == "__main__":
    main()
