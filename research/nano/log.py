"""`TrainingLog`: one line of JSON every so many steps, without waiting for the device between."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class TrainingLog:
    """Collects what steps report and writes the means.

    Args:
        path: file to append to; None keeps nothing (all processes but the main one).
        every: steps per line.
    """

    def __init__(self, path: Path | None, every: int) -> None:
        self.path = path
        self.every = every
        self._totals: dict[str, list[Tensor]] = {}

    def write(self, line: Mapping[str, Any]) -> None:
        """Write one line: about the run, or what was validated."""
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def add(self, step: int, report: Mapping[str, Tensor], facts: Mapping[str, float]) -> None:
        """Take the report of one step; writes `facts` and the means when a line is full.

        Only then is the device waited for.
        """
        if self.path is None:
            return
        for name, value in report.items():
            self._totals.setdefault(name, []).append(value)
        if step % self.every == 0:
            means = {n: round(float(torch.stack(v).mean()), 4) for n, v in self._totals.items()}
            self.write({"step": step, **facts, **means})
            self._totals.clear()
