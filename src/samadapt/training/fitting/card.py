"""The model card of a trained adapter."""

from __future__ import annotations

from typing import Any

from samadapt.adapters.base import Adapter


def card_text(adapter: Adapter, name: str) -> str:
    """The card as Markdown, with the front matter that the Hugging Face Hub reads.

    Args:
        adapter: trained.
        name: of the adapter's folder.
    """
    config = adapter.config.to_dict()
    base = config["base_model"] or {"name": "?", "weights_hash": "?"}
    data = config["training_data"]
    lines = [
        "---",
        "library_name: samadapt",
        f"base_model: {base['name']}",
        "tags: [segment-anything, interactive-segmentation, adapter]",
        "---",
        f"# {name}",
        "",
        f"An adapter of samadapt's method `{adapter.method}` for the model `{base['name']}` "
        f"(weights {base['weights_hash'][:12]}), with {adapter.parameter_count:,} learned "
        "parameters.",
        "",
        "```python",
        "import samadapt",
        "",
        f'model = samadapt.load("{base["name"]}")',
        f'adapter = samadapt.load_adapter("{name}", model)',
        "prediction = model.predict(model.encode(image), prompt, adapters=[adapter])",
        "```",
        "",
        "## Training",
        "",
        "| data | images | objects |",
        "| --- | --- | --- |",
        *(f"| {d['masks']} | {d['images']} | {d['objects']} |" for d in data.get("datasets", ())),
        "",
        f"{data.get('images', 0)} images and {data.get('prompts', 0)} prompts were seen, "
        f"{data.get('skipped', 0)} images could not be used.",
        "",
        *_table("recipe", config["recipe"]),
        *_table("settings", _settings(config)),
        *_table("measured while training", config["metrics"]),
    ]
    return "\n".join(lines)


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    shared = ("method", "base_model", "recipe", "training_data", "metrics")
    return {name: value for name, value in config.items() if name not in shared}


def _table(title: str, values: dict[str, Any]) -> list[str]:
    if not values:
        return []
    rows = [f"| {name} | {value} |" for name, value in values.items()]
    return [f"| {title} | |", "| --- | --- |", *rows, ""]
