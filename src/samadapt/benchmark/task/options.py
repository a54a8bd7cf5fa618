"""Options of the task benchmark: tasks, numbers of training masks and methods."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from samadapt.benchmark.options import Selection
from samadapt.errors import DataError
from samadapt.session.proposals import ProposalOptions
from samadapt.training.fitting.methods import fit_method
from samadapt.training.prompt_sampling import kinds

FROZEN = "frozen-1p"
ORACLE = "frozen-best-of-3"
FITTED: Mapping[str, str] = {
    "decoder": "decoder",
    "lora": "lora",
    "tokens": "tokens",
    "plm": "task-prompt",
    "pmm": "point-matching",
    "plm+pmm": "task-prompt:point-matching",
}
"""Rows of the table that are trained, and their names for `samadapt.fit`."""
METHODS = (FROZEN, ORACLE, *FITTED)
SHOTS = (1, 4, 16, 64, None)
KINDS = kinds(("1p", "box0.4"))
"""Prompts that are measured: one point, drawn evenly from the object, and a noisy box."""
_DECODER_RATE = 3e-4
"""Few steps on few masks need more than an epoch over photographs does: on 16 training masks of
hair and 60 steps the running IoU ended at 0.31 with 3e-5, at 0.51 with this."""

_SAME_BUDGET = (
    "steps",
    "images_per_step",
    "objects_per_image",
    "prompts",
    "prompts_per_object",
    "held_out",
    "least",
    "validate_steps",
    "patience",
)


@dataclass(frozen=True, kw_only=True)
class TaskOptions(Selection):
    """The tasks, what they are learned from, and the test objects of each.

    The selection is that of the test objects of each category; its seed is that of the first
    training, too, and each category is a task of its own (None: all that training and test share).

    Attributes:
        shots: masks to learn from; None stands for all.
        methods: of `METHODS`.
        draws: prompts of each kind per test object.
        max_images: images that are searched without a prompt, of each category at most; None for
            all, 0 to leave that out.
        grid: see `ProposalOptions.points`.
        seeds: trainings of each kind, with other masks and other starts.
        settings: changes of all fits' recipes, such as {"steps": 50}.

    Raises:
        DataError: a value that makes no sense.
        AdapterError: a method that cannot be fitted here.
    """

    min_area: int = 2
    shots: tuple[int | None, ...] = SHOTS
    methods: tuple[str, ...] = METHODS
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
            if method not in METHODS:
                near = difflib.get_close_matches(method, METHODS, 1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise DataError(f"unknown method {method!r}{hint}: use {', '.join(METHODS)}")
            if method in FITTED:
                fit_method(FITTED[method].partition(":")[0])
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
        """Return the settings of one fit: all methods see as many prompts of the same kinds."""
        own: dict[str, Any] = {}
        if method in ("decoder", "lora"):
            task = fit_method("task-prompt").recipe
            own = {name: getattr(task, name) for name in _SAME_BUDGET}
        if method == "decoder":
            own["learning_rate"] = _DECODER_RATE
        return {
            **own,
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
    """Return the number as it stands in a result: "16" or "all"."""
    return "all" if shots is None else str(shots)
