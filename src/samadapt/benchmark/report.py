"""`Report`: the HTML report of a benchmark, a single self-contained file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samadapt.benchmark.plots import Plot
from samadapt.benchmark.tables import Row, Table
from samadapt.data.files import replacing

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Mark:
    """A numbered click on a picture, in the picture's own pixels."""

    number: int
    x: float
    y: float
    positive: bool
    iou: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A crop of an image with outlines and clicks.

    Attributes:
        source: the crop as a `data:` address.
        width, height: of the crop, in its own pixels.
        mask, reference: outlines as SVG path data; "" for nothing.
        marks: the clicks.
        radius: of a mark.
    """

    source: str
    width: int
    height: int
    mask: str
    reference: str
    marks: tuple[Mark, ...]
    radius: float


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """One object, annotated by one run; `run` is "" where there is a single run."""

    run: str
    clicks: int
    iou: float
    reached: bool
    picture: Picture


@dataclass(frozen=True, slots=True)
class Card:
    """One object, annotated by every run."""

    number: int
    image: str
    category: str
    annotation_id: Any
    runs: tuple[AnnotatedObject, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures of objects: titles with the cards below them, and the IoU to reach."""

    parts: tuple[tuple[str, tuple[Card, ...]], ...]
    target: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """Content of a report, from top to bottom.

    Attributes:
        benchmark: its name, such as "interactive".
        title: heading.
        environment: of the result; "date" and "samadapt" are shown.
        headlines: the most important findings, a sentence each.
        note: explanation of the numbers.
        warnings: images that could not be evaluated, with reasons.
        tiles: rows of a table that are shown large.
        tables: in order; the first stands beside the narrow plots if there are tiles.
        legend: names of the lines of all plots.
        plots_title: heading of the plots that do not stand beside the table.
        plots: in order.
        gallery: pictures of the objects.
        facts: conditions of the measurement; nested mappings and lists are shown flat.
    """

    benchmark: str
    title: str
    environment: Mapping[str, Any]
    headlines: tuple[str, ...] = ()
    note: str = ""
    warnings: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tiles: tuple[Row, ...] = ()
    tables: tuple[Table, ...] = ()
    legend: tuple[str, ...] = ()
    plots_title: str = ""
    plots: tuple[Plot, ...] = ()
    gallery: Gallery | None = None
    facts: tuple[tuple[str, Mapping[str, Any]], ...] = ()


def write_report(path: str | os.PathLike[str], report: Report) -> None:
    """Write a report, completely or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    text = render_report(report)
    with replacing(path) as file:
        file.write(text.encode("utf-8", "replace"))


def render_report(report: Report) -> str:
    """Return a report as HTML; a missing template variable is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    facts = [(title, flat(values)) for title, values in report.facts]
    return environment.get_template("report.html").render(report=report, facts=facts)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested values as names and texts."""
    found: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            found |= flat(value, f"{name} ")
        elif key == "adapters":
            specs = (str(one["spec"] if isinstance(one, Mapping) else one) for one in value)
            found[name] = ", ".join(specs) or "none"
        elif isinstance(value, list | tuple):
            found[name] = " ".join(str(item) for item in value)
        else:
            found[name] = str(value)
    return found
