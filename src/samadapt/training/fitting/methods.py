"""The methods that can be fitted, collected from their declarations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from samadapt.adapters.base import Adapter
from samadapt.adapters.registry import get_method, method_names
from samadapt.errors import AdapterError
from samadapt.spelling import did_you_mean
from samadapt.training.fitting.recipe import FitRecipe


@dataclass(frozen=True, slots=True)
class FitMethod:
    """A method that can be fitted.

    Attributes:
        name: of the method.
        adapter: its class.
        recipe: default recipe.
        task_changes: changes of the recipe in the task benchmark.
        one_task: whether an adapter learns exactly one category, whose name it needs.
        rows: argument of `fit` for each row of the task benchmark's table.
    """

    name: str
    adapter: type[Adapter]
    recipe: FitRecipe
    task_changes: Mapping[str, Any]
    one_task: bool
    rows: Mapping[str, str]


def fit_methods() -> tuple[FitMethod, ...]:
    """Return all methods that can be fitted, sorted by name."""
    found = (_declared(get_method(name)) for name in method_names())
    return tuple(method for method in found if method is not None)


def fit_method(name: str) -> FitMethod:
    """The method of this name.

    Raises:
        AdapterError: no such method; the message lists the known ones.
    """
    known = {method.name: method for method in fit_methods()}
    if name in known:
        return known[name]
    hint = did_you_mean(name, known)
    raise AdapterError(f"method {name!r} cannot be fitted{hint}: use {', '.join(known)}")


def _declared(adapter: type[Adapter]) -> FitMethod | None:
    fitting = adapter.fitting
    if fitting is None:
        return None
    name, recipe = adapter.method, FitRecipe().changed(**fitting.recipe)
    rows = {v.row: f"{name}:{key}" for key, v in adapter.variants.items() if v.row is not None}
    if fitting.row is not None:
        rows[fitting.row] = name
    return FitMethod(name, adapter, recipe, dict(fitting.task_recipe), fitting.one_task, rows)
