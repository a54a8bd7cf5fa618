"""`ImageTable`: the images of a project, found in its folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.engine import Row

from samadapt.data.images import natural_key
from samadapt.data.stacks.address import file_of
from samadapt.data.stacks.finding import FoundStack
from samadapt.store.database import Database
from samadapt.store.errors import ConflictError, MissingError
from samadapt.store.events import ImageMarked, ImagesAdded, Mark
from samadapt.store.journal import Journal
from samadapt.store.records import ImageEntry, ImageFacts, StoredImage
from samadapt.store.review_rows import follow_mark
from samadapt.store.stacks import StackTable
from samadapt.store.tables import images, objects


class ImageTable:
    """The images of one project.

    Attributes:
        stacks: those of the folder that hold several images, as the last scan found them.
    """

    def __init__(
        self, database: Database, project_id: int, journal: Journal, stacks: StackTable
    ) -> None:
        self._database, self._project, self._journal = database, project_id, journal
        self._stacks = stacks
        self.stacks: tuple[FoundStack, ...] = ()

    def scan(self, folder: Path, person: str = "") -> int:
        """Add the images of `folder` and its subfolders; returns the number of new ones.

        Only the headers of files that may hold several slices are read. Images whose file is gone
        are kept, with their objects.

        Raises:
            DataError: not a folder, or no image in it.
        """
        mine = images.c.project_id == self._project
        with self._database.read() as tx:
            before = list(tx.execute(select(images.c.name).where(mine)).scalars())
        content = self._stacks.look(folder, before)
        self.stacks, names = content.stacks, content.names
        with self._database.write() as tx:
            self._journal.lock(tx)
            known = {
                row.name: bool(row.present)
                for row in tx.execute(select(images.c.name, images.c.present).where(mine))
            }
            fresh = [name for name in names if name not in known]
            there = set(names)
            gone = [name for name, present in known.items() if present and name not in there]
            back = [name for name in names if known.get(name) is False]
            if not (fresh or gone or back):
                return 0
            for changed, present in ((gone, False), (back, True)):
                for some in _parts(changed):
                    here = mine, images.c.name.in_(some)
                    tx.execute(update(images).where(*here).values(present=present))
            if fresh:
                rows = [{"project_id": self._project, "name": name} for name in fresh]
                tx.execute(insert(images), rows)
                numbers = {
                    row.name: int(row.id)
                    for row in tx.execute(select(images.c.name, images.c.id).where(mine))
                }
                added = tuple((numbers[name], name) for name in fresh)
                self._journal.add(tx, ImagesAdded(images=added), person=person)
        return len(fresh)

    def entries(self, only: Collection[int] | None = None) -> list[ImageEntry]:
        """Return images in natural order of names; images without a file only if annotated.

        Args:
            only: numbers of the wanted images; all if left out.
        """
        counts = (
            select(objects.c.image_id, func.count().label("objects"))
            .where(objects.c.project_id == self._project, ~objects.c.deleted)
            .group_by(objects.c.image_id)
            .subquery()
        )
        wanted = (
            select(
                images.c.id,
                images.c.name,
                images.c.present,
                images.c.mark,
                images.c.problem,
                func.coalesce(counts.c.objects, 0).label("objects"),
            )
            .join_from(images, counts, images.c.id == counts.c.image_id, isouter=True)
            .where(images.c.project_id == self._project)
        )
        if only is not None:
            wanted = wanted.where(images.c.id.in_(only))
        with self._database.read() as tx:
            rows = tx.execute(wanted).all()
        found = [
            ImageEntry(r.id, r.name, bool(r.present), r.mark, r.problem, r.objects)
            for r in rows
            if r.present or r.objects
        ]
        return sorted(found, key=lambda entry: natural_key(entry.name))

    def annotated_in(self, folder: Path) -> tuple[int, int]:
        """How many images have objects, and how many of these have a file in `folder`."""
        names = [entry.name for entry in self.entries() if entry.objects]
        return len(names), sum(file_of(folder / name).exists() for name in names)

    def get(self, image_id: int) -> StoredImage:
        """One image.

        Raises:
            MissingError: there is no image of this number.
        """
        here = images.c.project_id == self._project, images.c.id == image_id
        with self._database.read() as tx:
            row = tx.execute(select(images).where(*here)).first()
        if row is None:
            raise MissingError(f"there is no image {image_id} in this project")
        return _image(row)

    def states(self) -> dict[int, tuple[Mark, bool, bool]]:
        """(mark, whether it is unreadable, whether its file exists) by number."""
        columns = images.c.id, images.c.mark, images.c.problem, images.c.present
        wanted = select(*columns).where(images.c.project_id == self._project)
        with self._database.read() as tx:
            rows = tx.execute(wanted).all()
        return {row.id: (row.mark, row.problem is not None, bool(row.present)) for row in rows}

    def all(self) -> dict[int, StoredImage]:
        """Return all images by id, also those whose files are missing."""
        wanted = select(images).where(images.c.project_id == self._project)
        with self._database.read() as tx:
            return {row.id: _image(row) for row in tx.execute(wanted)}

    def named(self, name: str) -> StoredImage | None:
        """The image of a file name."""
        here = images.c.project_id == self._project, images.c.name == name
        with self._database.read() as tx:
            row = tx.execute(select(images).where(*here)).first()
        return None if row is None else _image(row)

    def note(self, image_id: int, facts: ImageFacts | None, problem: str | None = None) -> None:
        """Store the facts of an image file, or the reason why it cannot be read."""
        values: dict[str, Any] = {"problem": problem}
        if facts is not None:
            values |= {
                "height": facts.height,
                "width": facts.width,
                "content_hash": facts.content_hash,
                "file_size": facts.file_size,
                "modified": str(facts.modified),
            }
        with self._database.write() as tx:
            tx.execute(update(images).where(images.c.id == image_id).values(**values))

    def same_content(self, image: StoredImage) -> list[StoredImage]:
        """Other images known to have the same pixels."""
        if image.facts is None or image.facts.content_hash is None:
            return []
        wanted = select(images).where(
            images.c.project_id == self._project,
            images.c.content_hash == image.facts.content_hash,
            images.c.id != image.id,
            images.c.present,
        )
        with self._database.read() as tx:
            return [_image(row) for row in tx.execute(wanted.order_by(images.c.id))]

    def mark(self, image_id: int, mark: Mark, revision: int, person: str) -> StoredImage:
        """Mark an image as done, skipped or neither.

        Raises:
            ConflictError: somebody else changed the mark since `revision`.
            MissingError: there is no image of this number.
        """
        now = self.get(image_id)
        if now.mark == mark:
            return now
        if now.revision != revision:
            raise ConflictError(
                f"{now.name} was marked {now.mark or 'unfinished'!r} by somebody else meanwhile"
            )
        with self._database.write() as tx:
            if self.mark_in(tx, image_id, mark, person) != revision + 1:
                raise ConflictError(f"{now.name} was marked by somebody else at this moment")
            follow_mark(tx, self._project, self._journal, image_id, mark, person)
        return self.get(image_id)

    def mark_in(self, tx: Connection, image_id: int, mark: Mark, person: str) -> int:
        """Mark an image, in the caller's transaction; returns the revision of its mark."""
        self._journal.lock(tx)
        here = images.c.id == image_id
        now = tx.execute(select(images.c.mark, images.c.revision).where(here)).one()
        if now.mark == mark:
            return int(now.revision)
        event = ImageMarked(image=image_id, mark=mark, revision=now.revision + 1)
        self._journal.add(tx, event, person=person, image_id=image_id)
        tx.execute(update(images).where(here).values(mark=mark, revision=now.revision + 1))
        return int(now.revision) + 1


def _parts(names: list[str]) -> list[list[str]]:
    """Few enough names for one statement."""
    return [names[start : start + 500] for start in range(0, len(names), 500)]


def _image(row: Row[Any]) -> StoredImage:
    facts = None
    if row.height is not None:
        facts = ImageFacts(
            row.height, row.width, row.content_hash, int(row.file_size), int(row.modified)
        )
    return StoredImage(
        id=row.id,
        name=row.name,
        present=bool(row.present),
        mark=row.mark,
        revision=row.revision,
        problem=row.problem,
        facts=facts,
        annotated_hash=row.annotated_hash,
    )
