"""Measured results for an adapter's card: from a benchmark's JSON to the Hub's model-index."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samadapt.adapters.base import Adapter
from samadapt.adapters.card import TASK
from samadapt.benchmark.results import read_result
from samadapt.errors import DataError

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_FORMATS = {"samadapt-interactive-1": "interactive", "samadapt-robustness-1": "robustness"}


def measured(path: str | os.PathLike[str], adapter: Adapter) -> list[EvalResult]:
    """Read the results of a benchmark of this adapter, for `Adapter.push_to_hub`.

    Args:
        path: file that `samadapt benchmark interactive` or `robustness` wrote with `--json`.
        adapter: the adapter, unchanged since the benchmark.

    Returns:
        One result per measure of masks in the summary (`noc20@85`, `miou@1p`, ...).

    Raises:
        DataError: no such file, another benchmark, or results of another adapter or model.
    """
    from huggingface_hub import EvalResult

    values = read_result(Path(path), tuple(_FORMATS), " or ".join(_FORMATS.values()))
    try:
        _check_adapter(Path(path), values["environment"], adapter)
        masks = Path(values["protocol"]["dataset"]["masks"])
        summary = {k: v for k, v in values["summary"].items() if v is not None and "@" in k}
        return [
            EvalResult(
                task_type=TASK,
                dataset_type=masks.parent.name or masks.stem,
                dataset_name=f"{masks.parent.name}/{masks.name}".strip("/"),
                metric_type=key,
                metric_value=round(float(value), 5),
            )
            for key, value in summary.items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is a damaged benchmark result ({type(error).__name__}: {error}): run the "
            "benchmark again"
        ) from None


def _check_adapter(path: Path, environment: Mapping[str, Any], adapter: Adapter) -> None:
    own = json.loads(json.dumps(dict(adapter.describe())))
    if [entry["config"] for entry in environment["adapters"]] != [own]:
        found = ", ".join(str(entry["spec"]) for entry in environment["adapters"]) or "no adapter"
        raise DataError(
            f"{path} measured {found}, which is not this adapter alone: run the benchmark with "
            "--adapter and its folder"
        )
