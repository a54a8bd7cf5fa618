"""Options of `samadapt fit` that change a method's recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any

import typer

from samadapt.errors import DataError

_ALL = "all"


def _of_data(metavar: str, text: str) -> Any:
    return typer.Option(metavar=metavar, help=text)


def _recipe(metavar: str, text: str) -> Any:
    panel = "Recipe (defaults: the method's own values)"
    return typer.Option(metavar=metavar, help=text, rich_help_panel=panel)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeOptions:
    """Settings of `FitRecipe`, by their names there; None leaves the method's own value."""

    category: Annotated[
        str | None, _of_data("NAME", "Learn only from objects of this category.")
    ] = None
    shots: Annotated[
        int | None, _of_data("N", "Number of objects to learn from; default: all.")
    ] = None
    steps: Annotated[
        int | None, _recipe("N", "Total number of steps, for any number of images.")
    ] = None
    epochs: Annotated[int | None, _recipe("N", "Visits of each image.")] = None
    learning_rate: Annotated[float | None, _recipe("RATE", "Of AdamW.")] = None
    weight_decay: Annotated[float | None, _recipe("DECAY", "Of AdamW.")] = None
    prompts: Annotated[
        str | None, _recipe("KIND[,KIND...]", "Kinds of prompts: box, noisy, box0.4, 1p, edge, ...")
    ] = None
    prompts_per_object: Annotated[
        str | None, _recipe("N|all", "Number of these kinds per visit of an object.")
    ] = None
    objects_per_image: Annotated[str | None, _recipe("N|all", "Largest number per visit.")] = None
    images_per_step: Annotated[int | None, _recipe("N", "Images per step.")] = None
    max_objects: Annotated[int | None, _recipe("N", "Largest number of objects.")] = None
    min_area: Annotated[int | None, _recipe("PIXELS", "Leave out smaller objects.")] = None
    seed: Annotated[int | None, _recipe("N", "Same seed, same result.")] = None

    def settings(self) -> dict[str, Any]:
        """Return the given settings, as arguments of `FitRecipe.changed`.

        Raises:
            DataError: a value that is neither a number nor "all".
        """
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen = {name: value for name, value in given.items() if value is not None}
        if self.prompts is not None:
            chosen["prompts"] = tuple(p.strip() for p in self.prompts.split(",") if p.strip())
        for name in ("prompts_per_object", "objects_per_image"):
            if name in chosen:
                chosen[name] = _count(name, chosen[name])
        return chosen


def _count(name: str, text: str) -> int | None:
    if text == _ALL:
        return None
    if not text.isdecimal():
        raise DataError(f"--{name.replace('_', '-')} {text}: give a number or {_ALL!r}")
    return int(text)
