"""The methods that can be fitted, from their declarations."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from samadapt.adapters.base import Adapter
from samadapt.adapters.registry import get_method, method_names
from samadapt.errors import AdapterError
from samadapt.training.fitting.recipe import FitRecipe


@dataclass(frozen=True, slots=True)
class FitMethod:
    """A method that can be fitted.

    Attributes:
        name: of the method.
        adapter: its class.
        recipe: the defaults.
        task_changes: of the recipe, in the task benchmark.
        one_task: whether an adapter learns one category, and has to know its name.
        rows: of the task benchmark's table, by name, with what `fit` calls them.
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
        AdapterError: there is none; the message lists those that there are.
    """
    known = {method.name: method for method in fit_methods()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
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
