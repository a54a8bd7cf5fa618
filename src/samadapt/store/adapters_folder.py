"""`adapters_folder`: where what was learned for a project is kept."""

from __future__ import annotations

import re
from pathlib import Path

from samadapt.store.projects import UNNAMED, Project

ADAPTERS = "samadapt.adapters"
"""The folder of a project in the default file, and in earlier versions of all projects there."""
_ENDING = ".adapters"
_NO_FILE_NAME = re.compile(r'[\\/:*?"<>|%\x00-\x1f]')


def adapters_folder(project: Project, images: Path) -> Path:
    """The folder of what is learned for a project; it may not be there yet.

    It is beside the project's file and named after it (and after the project, where that has a
    name of its own), or beside the images and named after the project, where a server keeps that.
    A project that was annotated with an earlier version goes on with `ADAPTERS`.

    Args:
        project: whose.
        images: the folder of its images.
    """
    name = _NO_FILE_NAME.sub(lambda found: f"%{ord(found[0]):02x}", project.name)
    path = project.database.path
    if path is None:
        place, stem = images.absolute(), name
    else:
        place = path.absolute().parent
        stem = path.stem if project.name == UNNAMED else f"{path.stem}.{name}"
    own, earlier = place / f"{stem}{_ENDING}", place / ADAPTERS
    if own.is_dir() or not earlier.is_dir():
        return own
    was_annotated = project.learning.read() is not None or project.objects.measured()
    return earlier if was_annotated else own
