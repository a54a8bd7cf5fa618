"""Import of a dataset's attributes and tags into a project."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from samadapt.data.import_issues import ImportIssues
from samadapt.errors import DataError
from samadapt.store.details import MOST_TAGS, fits
from samadapt.store.errors import ConflictError
from samadapt.store.events import Attribute, Label, Value
from samadapt.store.label_names import check_attributes
from samadapt.store.projects import Project

MOST_ATTRIBUTES = 50
"""Attributes of one label."""
_TRACK = "track_id"


@dataclass(frozen=True, slots=True)
class Described:
    """An imported object with its attributes in the dataset.

    Attributes:
        object_id, label_id: in the project.
        where: in the dataset, for messages.
        attributes: in the dataset's form.
    """

    object_id: int
    label_id: int
    where: str
    attributes: Mapping[str, Value]


def said_of(extra: Mapping[str, Any]) -> dict[str, Value]:
    """The attributes in the extra fields of an annotation; only plain values are kept.

    The track number, which readers look for among the attributes, too, is not an attribute.
    """
    said = extra.get("attributes")
    if not isinstance(said, Mapping):
        return {}
    return {
        str(name): _value(value)
        for name, value in said.items()
        if _is_value(value) and not (name == _TRACK and value == extra.get(_TRACK))
    }


def defined_in(extra: Mapping[str, Any]) -> list[Attribute]:
    """The definitions of attributes in the extra fields of a category, as exported by samadapt."""
    found: list[Attribute] = []
    defined = extra.get("attributes")
    for one in defined if isinstance(defined, list) else []:
        try:
            attribute = Attribute.model_validate(one)
            check_attributes([*found, attribute])
        except (ValidationError, DataError):
            continue  # of another program, or damaged: the kind follows from the values
        found.append(attribute)
    return found


def tags_of(extra: Mapping[str, Any]) -> list[str]:
    """The tags in the extra fields of an image."""
    tags = extra.get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list | tuple) else []


def import_attributes(
    project: Project,
    described: Iterable[Described],
    defined: Mapping[int, Sequence[Attribute]],
    person: str,
    findings: ImportIssues,
) -> None:
    """Set the attributes of imported objects, and add missing attributes to their labels.

    The kind of an attribute that the dataset does not define follows from its values: yes or no,
    number or text. Values that a label's attribute cannot hold are left out.

    Args:
        project: of the objects.
        described: the objects.
        defined: attributes that the dataset defines, by the label's number.
        person: the person who imports.
        findings: receives values that are left out.
    """
    wanted = [one for one in described if one.attributes]
    known_kinds = {n: {one.name: one for one in some} for n, some in defined.items() if some}
    kinds = {number: dict(some) for number, some in known_kinds.items()}
    for one in wanted:
        for name, value in one.attributes.items():
            if name in known_kinds.get(one.label_id, {}):
                continue
            known = kinds.setdefault(one.label_id, {}).get(name)
            kind = _kind(value)
            if known is not None and known.kind != kind:
                kind = "text"
            kinds[one.label_id][name] = Attribute(name=name, kind=kind)
    labels = _with_attributes(project, kinds, person, findings) if kinds else {}
    for one in wanted:
        fitting = _fitting(one, labels[one.label_id], findings)
        if not fitting:
            continue
        try:
            project.details.describe(one.object_id, fitting, person)
        except DataError as error:
            findings.remark(one.where, f"its attributes are left out: {error}")


def import_tags(
    project: Project, tags: Mapping[int, Iterable[str]], person: str, findings: ImportIssues
) -> None:
    """Add tags to images."""
    there = project.details.tags()
    for image_id, some in tags.items():
        before = there.get(image_id, [])
        after = list(dict.fromkeys((*before, *some)))[:MOST_TAGS]
        if after != before:
            try:
                project.details.tag(image_id, after[len(before) :], person)
            except DataError as error:
                findings.remark(project.images.get(image_id).name, f"its tags stay: {error}")


def _with_attributes(
    project: Project,
    kinds: Mapping[int, Mapping[str, Attribute]],
    person: str,
    findings: ImportIssues,
) -> dict[int, Label]:
    """The labels with added attributes, by number."""
    while True:
        labels, revision = project.labels.all()
        grown = [_grown(label, kinds.get(label.id, {}), findings) for label in labels]
        if tuple(grown) == labels:
            break
        try:
            project.labels.set(grown, revision, person)
            break
        except ConflictError:
            if project.labels.all()[1] == revision:
                raise
    return {label.id: label for label in project.labels.all()[0]}


def _grown(label: Label, more: Mapping[str, Attribute], findings: ImportIssues) -> Label:
    found = list(label.attributes)
    for attribute in more.values():
        if attribute.name in {one.name for one in found}:
            continue
        try:
            check_attributes([attribute])
            if len(found) >= MOST_ATTRIBUTES:
                raise DataError(f"a label can have {MOST_ATTRIBUTES} attributes")
        except DataError as error:
            findings.remark(f"label {label.name}", f"{attribute.name!r} is left out: {error}")
            continue
        found.append(attribute)
    return label.model_copy(update={"attributes": tuple(found)})


def _fitting(one: Described, label: Label, findings: ImportIssues) -> dict[str, Value]:
    kinds = {attribute.name: attribute for attribute in label.attributes}
    fitting: dict[str, Value] = {}
    for name, value in one.attributes.items():
        attribute = kinds.get(name)
        if attribute is None:
            continue
        if attribute.kind == "text" and not isinstance(value, str):
            value = str(value)
        if fits(attribute, value):
            fitting[name] = value
        else:
            findings.remark(one.where, f"{name!r} cannot be {value!r} here: it is left out")
    return fitting


def _kind(value: Value) -> Any:
    if isinstance(value, bool):
        return "flag"
    return "text" if isinstance(value, str) else "number"


def _is_value(value: Any) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return math.isfinite(value)
    return isinstance(value, bool | str)


def _value(value: Any) -> Value:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    found: Value = float(value) if is_whole else value
    return found
