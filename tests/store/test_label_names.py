"""One rule for labels, whoever brings them: the editor, the command line or an import."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from samadapt.errors import DataError
from samadapt.store.events import Label
from samadapt.store.label_rows import put_labels
from samadapt.store.projects import Project
from samadapt.store.tables import projects


def label(name: str, number: int = 0) -> Label:
    return Label(id=number, name=name, colour="#ff0000")


@pytest.mark.parametrize(
    "name", ["", " \n", "\ufeff", "x" * 101, "a\0b", "a\nb", "\ud800", "a\u2028b"]
)
def test_names_that_no_label_can_have(project: Project, name: str) -> None:
    with pytest.raises(DataError, match="the name"):
        project.labels.named(["cell", name], "ann")
    with pytest.raises(DataError, match="the name"):
        project.labels.set([label("cell"), label(name)], 0, "ann")
    assert project.labels.all() == ((), 0)


def test_names_are_stored_clean(project: Project) -> None:
    numbers = project.labels.named([" cell\n", "cell", "cafe\u0301"], "ann")
    assert numbers[" cell\n"] == numbers["cell"]
    assert [one.name for one in project.labels.all()[0]] == ["cell", "caf\u00e9"]


def test_labels_that_an_earlier_version_let_in_do_not_lock_the_list(project: Project) -> None:
    odd = label("x" * 200, 1)
    with project.database.write() as tx:
        put_labels(tx, project.id, [odd])
        tx.execute(update(projects).values(labels_revision=1))
    assert project.labels.named([odd.name], "ann") == {odd.name: 1}
    assert project.labels.set([odd, label("cell")], 1, "ann") == 2
    with pytest.raises(DataError, match="200 characters"):
        project.labels.set([label("y" * 200, 1), label("cell", 2)], 2, "ann")
    assert project.labels.set([label("shorter", 1), label("cell", 2)], 2, "ann") == 3


def test_more_labels_than_a_project_can_have(project: Project) -> None:
    many = [label(f"c{k}") for k in range(501)]
    with pytest.raises(DataError, match="501 labels: a project can have 500"):
        project.labels.set(many, 0, "ann")
    assert project.labels.set(many[:500], 0, "ann") == 1
    with pytest.raises(DataError, match="501 labels"):
        project.labels.named(["one more"], "ann")
