"""Rules for the names and the number of labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from samadapt.errors import DataError
from samadapt.store.events import Attribute, Label
from samadapt.store.texts import clean_line

MOST = 500
"""Largest number of labels of a project, since the editor shows all of them."""
LONGEST = 100
"""Largest number of characters of a name."""
UNLABELLED = "object"
"""Name for objects without a label, where one is needed."""


def clean_name(name: str) -> str:
    """The stored form of the name of a label, tag or attribute; see `clean_line`.

    Raises:
        DataError: empty, too long, or with control characters or line breaks.
    """
    return clean_line(name, "the name", LONGEST)


def checked(labels: Sequence[Label], known: Iterable[Label]) -> list[Label]:
    """A list of labels with clean names.

    Names of existing labels are not checked, and a list that was too long may become shorter step
    by step, so that projects of earlier versions remain editable.

    Raises:
        DataError: an invalid new name, or too many labels.
    """
    before = {(label.id, label.name) for label in known}
    if len(labels) > max(MOST, len(before)):
        raise DataError(f"{len(labels)} labels: a project can have {MOST}")
    return [
        label
        if (label.id, label.name) in before
        else label.model_copy(update={"name": clean_name(label.name)})
        for label in labels
    ]


def usable(names: Iterable[str], known: Iterable[Label]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the valid label names of a file, and the reasons against the others.

    Args:
        names: in the file.
        known: the existing labels.

    Returns:
        (the label's name for each valid name, the reason for each invalid one).
    """
    labels = {label.name for label in known}
    good: dict[str, str] = {}
    bad: dict[str, str] = {}
    for name in dict.fromkeys(names):
        try:
            label = name if name in labels else clean_name(name)
            if label not in labels and len(labels) >= MOST:
                raise DataError(
                    f"a project can have {MOST} labels, and {label!r} would be one more"
                )
        except DataError as error:
            bad[name] = str(error)
            continue
        labels.add(label)
        good[name] = label
    return good, bad


def check_attributes(attributes: Iterable[Attribute]) -> None:
    """Raise `DataError` for invalid names or choices."""
    names = [attribute.name for attribute in attributes]
    for attribute in attributes:
        if (clean := clean_name(attribute.name)) != attribute.name:
            raise DataError(f"the attribute {attribute.name!r} has to be written {clean!r}")
        if names.count(attribute.name) > 1:
            raise DataError(f"two attributes are called {attribute.name!r}: rename one of them")
        for choice in attribute.choices:
            if (clean := clean_name(choice)) != choice:
                raise DataError(
                    f"the choice {choice!r} of {attribute.name!r} has to be written {clean!r}"
                )
        if attribute.kind == "choice" and not attribute.choices:
            raise DataError(f"the attribute {attribute.name!r} has nothing to choose from: add it")
