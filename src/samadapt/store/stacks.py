"""`StackTable`: how a project takes up the stacks of its folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from samadapt.data.stacks.finding import FolderContent, StackFinder
from samadapt.store.database import Database
from samadapt.store.details import all_details, put_detail
from samadapt.store.events import FramesGrouped
from samadapt.store.journal import Journal


class StackTable:
    """The stacks of one project: what its folder holds, and whether folders are stacks."""

    def __init__(self, database: Database, project_id: int, journal: Journal) -> None:
        self._database, self._project, self._journal = database, project_id, journal
        self._finder = StackFinder()

    @property
    def frames(self) -> bool:
        """Whether the images of each folder are the frames of one stack."""
        with self._database.read() as tx:
            return bool(all_details(tx, self._project, "frames"))

    def set_frames(self, frames: bool, person: str) -> None:
        """Take the images of each folder for the frames of one stack, or for single images."""
        if frames == self.frames:
            return
        with self._database.write() as tx:
            self._journal.lock(tx)
            self._journal.add(tx, FramesGrouped(frames=frames), person=person)
            put_detail(tx, self._project, "frames", 0, frames)

    def look(self, folder: Path, known: Collection[str]) -> FolderContent:
        """The images and stacks that are in a folder now; see `StackFinder.look`."""
        return self._finder.look(folder, known, self.frames)
