"""Options of the task benchmark: tasks, numbers of training masks and methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from samadapt.benchmark.options import Selection
from samadapt.errors import DataError
from samadapt.proposals.grid import ProposalOptions
from samadapt.spelling import did_you_mean
from samadapt.training.fitting.methods import fit_method, fit_methods
from samadapt.training.prompt_sampling import kinds

FROZEN = "frozen-1p"
ORACLE = "frozen-best-of-3"
SHOTS = (1, 4, 16, 64, None)
KINDS = kinds(("1p", "box0.4"))
"""Measured prompts: one point, drawn uniformly from the object, and a noisy box."""


def fitted_rows() -> dict[str, str]:
    """Return the argument of `samadapt.fit` for each trained row of the table."""
    found: dict[str, str] = {}
    for method in fit_methods():
        found |= method.rows
    return dict(sorted(found.items()))


def all_rows() -> tuple[str, ...]:
    """Return the names of all rows."""
    return (FROZEN, ORACLE, *fitted_rows())


def fit_spec(row: str) -> str | None:
    """Return the argument of `samadapt.fit` for a row, None if the row is not trained.

    A row may also be any "method:variant".

    Raises:
        DataError: no such row.
    """
    if row in (FROZEN, ORACLE):
        return None
    rows = fitted_rows()
    if row in rows:
        return rows[row]
    name, _, variant = row.partition(":")
    if any(method.name == name for method in fit_methods()):
        fit_method(name).adapter.create(variant or None)
        return row
    hint = did_you_mean(row, all_rows())
    raise DataError(f"unknown method {row!r}{hint}: use {', '.join(all_rows())}")


@dataclass(frozen=True, kw_only=True)
class TaskOptions(Selection):
    """Options of the task benchmark: categories, numbers of shots and test objects.

    The selection applies to the test objects of each category, and its seed also to the first
    training. Each category is a separate task (None for all categories of both datasets).

    Attributes:
        shots: numbers of training masks; None stands for all.
        methods: rows of the table, see `all_rows` and `fit_spec`.
        draws: number of prompts of each kind per test object.
        max_images: largest number of images of each category to search without a prompt; None for
            all, 0 for none.
        grid: see `ProposalOptions.points`.
        seeds: number of trainings of each kind, with different masks and initial weights.
        settings: changes of all fits' recipes, such as {"steps": 50}.

    Raises:
        DataError: an invalid value.
        AdapterError: a method that cannot be fitted here.
    """

    min_area: int = 2
    shots: tuple[int | None, ...] = SHOTS
    methods: tuple[str, ...] = field(default_factory=all_rows)
    draws: int = 3
    max_images: int | None = 50
    grid: int = 8
    seeds: int = 1
    settings: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("shots", "methods", "categories"):
            values = getattr(self, name)
            if values is not None and (not values or len(set(values)) != len(values)):
                raise DataError(f"name every one of the {name} once, at least one of them")
        for method in self.methods:
            fit_spec(method)
        for count in self.shots:
            if count is not None and count < 1:
                raise DataError(f"shots {count}: use whole numbers, 1 or more, or all")
        for name in ("draws", "seeds", "grid"):
            if getattr(self, name) < 1:
                raise DataError(f"{name} {getattr(self, name)}: use 1 or more")
        if (self.max_images or 0) < 0:
            raise DataError(f"max_images {self.max_images}: use 0 or more")

    @property
    def runs(self) -> tuple[int, ...]:
        """Return the seeds of the trainings."""
        return tuple(range(self.seed, self.seed + self.seeds))

    def proposals(self, method: str) -> ProposalOptions:
        """Return the options with which a row searches images without a prompt."""
        return ProposalOptions(points=self.grid, candidates=method == ORACLE)

    def settings_of(
        self, method: str, category: str, shots: int | None, seed: int
    ) -> dict[str, Any]:
        """Return the settings of one fit; all methods get the same number and kinds of prompts."""
        name = (fit_spec(method) or "").partition(":")[0]
        return {
            **fit_method(name).task_changes,
            **(self.settings or {}),
            "category": category,
            "shots": shots,
            "seed": seed,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "categories": None if self.categories is None else list(self.categories),
            "shots": [shots_name(count) for count in self.shots],
            "methods": list(self.methods),
            "prompts": [kind.name for kind in KINDS],
            "draws": self.draws,
            "max_objects": self.max_objects,
            "max_images": self.max_images,
            "grid": self.grid,
            "min_area": self.min_area,
            "seed": self.seed,
            "training_seeds": list(self.runs),
            "settings": dict(self.settings or {}),
        }


def shots_name(shots: int | None) -> str:
    """Return the number in the form of a result: "16" or "all"."""
    return "all" if shots is None else str(shots)
