"""The model card of an adapter: method, training data, results and usage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from samadapt.adapters.base import Adapter

TASK = "mask-generation"
"""The Hub's name for the task of promptable segmentation."""
_TAGS = ("segment-anything", "interactive-segmentation", "adapter")


def card_text(
    adapter: Adapter,
    name: str,
    *,
    license: str | None = None,
    datasets: Sequence[str] = (),
    results: Sequence[EvalResult] = (),
) -> str:
    """The card as Markdown, with the front matter that the Hugging Face Hub reads.

    Args:
        adapter: trained.
        name: argument of `load_adapter`.
        license: as in `Adapter.push_to_hub`.
        datasets: as in `Adapter.push_to_hub`.
        results: as in `Adapter.push_to_hub`.
    """
    config = adapter.config.to_dict()
    base = config["base_model"] or {"name": "?", "weights_hash": "?"}
    data = config["training_data"]
    lines = [
        "---",
        _front_matter(adapter, name, license, datasets, results),
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
        *_training(data),
        *_table("recipe", config["recipe"]),
        *_table("settings", _settings(config)),
        *_table("measured while training", config["metrics"]),
        *_table("measured by a benchmark", {r.metric_type: r.metric_value for r in results}),
    ]
    return "\n".join(lines)


def _front_matter(
    adapter: Adapter,
    name: str,
    license: str | None,
    datasets: Sequence[str],
    results: Sequence[EvalResult],
) -> str:
    from huggingface_hub import ModelCardData

    base = adapter.config.base_model
    data = ModelCardData(
        library_name="samadapt",
        pipeline_tag=TASK,
        license=license,
        base_model=base.name if base is not None and _is_hub_id(base.name) else None,
        tags=[*_TAGS, adapter.method],
        datasets=list(datasets) or None,
        model_name=name if results else None,
        eval_results=list(results) or None,
    )
    if base is not None:
        data["base_model_relation"] = "adapter"
    return data.to_yaml().strip()


def _is_hub_id(name: str) -> bool:
    """Return True if the Hub accepts a name as a model id; it refuses cards with other names."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _training(data: dict[str, Any]) -> list[str]:
    if not data:
        return []
    return [
        "## Training",
        "",
        "| data | images | objects |",
        "| --- | --- | --- |",
        *(f"| {d['masks']} | {d['images']} | {d['objects']} |" for d in data.get("datasets", ())),
        "",
        f"{data.get('prompts', 0)} prompts were used in {data.get('images', 0)} visits of images, "
        f"{data.get('skipped', 0)} images were skipped.",
        "",
    ]


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    shared = ("method", "base_model", "recipe", "training_data", "metrics")
    return {name: value for name, value in config.items() if name not in shared}


def _table(title: str, values: dict[str, Any]) -> list[str]:
    if not values:
        return []
    rows = [f"| {name} | {value} |" for name, value in values.items()]
    return [f"| {title} | |", "| --- | --- |", *rows, ""]
