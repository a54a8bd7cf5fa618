"""One rule for everything that people type, wherever they do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from samadapt.errors import DataError
from samadapt.store.events import Attribute, Label
from samadapt.store.projects import Project
from samadapt.store.texts import as_line, clean_lines

Take = Callable[[Project, str], object]
IMAGE = 1


def as_label(project: Project, name: str) -> str:
    project.labels.named([name], "ann")
    return project.labels.all()[0][0].name


def as_attribute(project: Project, name: str) -> str:
    attribute = Attribute(name=name, kind="flag")
    project.labels.set([Label(id=0, name="l", colour="#ff0000", attributes=(attribute,))], 0, "")
    return project.labels.all()[0][0].attributes[0].name


def as_choice(project: Project, name: str) -> str:
    attribute = Attribute(name="kind", kind="choice", choices=(name,))
    project.labels.set([Label(id=0, name="l", colour="#ff0000", attributes=(attribute,))], 0, "")
    return project.labels.all()[0][0].attributes[0].choices[0]


def as_tag(project: Project, name: str) -> str:
    return project.details.tag(IMAGE, [name], "ann")[0]


def as_assignee(project: Project, name: str) -> str:
    project.reviews.assign([IMAGE], name, "ann")
    return project.reviews.get(IMAGE).assignee


@pytest.mark.parametrize("take", [as_label, as_attribute, as_choice, as_tag, as_assignee])
def test_no_name_has_line_breaks_or_control_characters(project: Project, take: Take) -> None:
    for name in ("Ann\nBob", "Ann\tBob", "Ann\u2028Bob", "Ann\x85Bob", "Ann\0", "\ud800"):
        before = project.journal.last_number()
        with pytest.raises(DataError, match="has control characters or line breaks: leave them"):
            take(project, name)
        assert project.journal.last_number() == before
    assert take(project, "caf\u00e9 \N{FAMILY}") == "caf\u00e9 \N{FAMILY}"


def test_comments_have_lines() -> None:
    assert clean_lines(" one\r\ntwo\tthree\n", "the comment", 20) == "one\ntwo\tthree"
    with pytest.raises(DataError, match=r"the comment 'a.x00b' has control characters: leave"):
        clean_lines("a\0b", "the comment", 20)
    with pytest.raises(DataError, match="has 21 characters: use 20"):
        clean_lines("x" * 21, "the comment", 20)


def test_what_comes_with_every_request_is_made_a_line() -> None:
    assert as_line(" Ann\n\tBob\u2028\ud800 ", 60) == "Ann Bob"
    assert as_line("cafe\u0301" + "x" * 99, 60) == "caf\u00e9" + "x" * 56
    assert as_line("\0\n\ufeff", 60) == ""
