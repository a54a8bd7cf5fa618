"""`Project`: one folder's images, labels, objects and log, in a file or on a server."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import insert, select

from samadapt.store.claims import ClaimTable
from samadapt.store.database import Database
from samadapt.store.details import DetailTable
from samadapt.store.duties import Duty
from samadapt.store.errors import StoreError
from samadapt.store.images import ImageTable
from samadapt.store.journal import Journal
from samadapt.store.labels import LabelTable
from samadapt.store.learning import LearningTable
from samadapt.store.objects import ObjectTable
from samadapt.store.project_file import refuse_what_is_lost
from samadapt.store.proposals import ProposalTable
from samadapt.store.reviews import ReviewTable
from samadapt.store.stacks import StackTable
from samadapt.store.tables import projects
from samadapt.store.tracks import TrackTable

PROJECT_FILE = "samadapt.sqlite"
"""Name of a project's file, beside its images."""
UNNAMED = "project"
"""Default name of a project in its database."""


class Project:
    """The images of a folder with all annotations.

    The log of events is the truth; the tables beside it are computed from it. Every change is
    durable when its method returns. Threads, processes and (with PostgreSQL) machines may use
    the same project at once.
    """

    def __init__(self, database: Database, project_id: int, name: str) -> None:
        self.database, self.id, self.name = database, project_id, name
        self.journal = Journal(database, project_id)
        self.stacks = StackTable(database, project_id, self.journal)
        self.images = ImageTable(database, project_id, self.journal, self.stacks)
        self.labels = LabelTable(database, project_id, self.journal)
        self.objects = ObjectTable(database, project_id, self.journal, self.labels)
        self.details = DetailTable(database, project_id, self.journal)
        self.reviews = ReviewTable(database, project_id, self.journal, self.images)
        self.claims = ClaimTable(database, project_id)
        self.proposals = ProposalTable(database, project_id)
        self.tracks = TrackTable(database, project_id, self.journal, self.objects, self.proposals)
        self.learning = LearningTable(database, project_id)

    @classmethod
    def open(cls, where: str | Path, name: str | None = None, *, create: bool = True) -> Project:
        """Open a project, or create it.

        Args:
            where: the project's file, or the URL of a database.
            name: name of the project in the database; needed where there are several. A new one
                is called "project" by default.
            create: whether to create it when it is missing.

        Raises:
            StoreError: the project is missing, or cannot be opened.
        """
        if not create and "://" not in str(where) and not Path(where).is_file():
            refuse_what_is_lost(Path(where))
            raise StoreError(f"there is no project {where}: give the file of an annotated folder")
        database = Database(where)
        try:
            with database.write() as tx:
                database.alone(tx)
                rows = tx.execute(select(projects.c.id, projects.c.name)).all()
                known = {row.name: int(row.id) for row in rows}
                wanted = name or (next(iter(known)) if len(known) == 1 else None)
                if wanted is None and len(known) > 1:
                    raise StoreError(
                        f"{database.name} has several projects, name one of them: "
                        + ", ".join(sorted(known))
                    )
                wanted = wanted or UNNAMED
                if wanted not in known:
                    if not create:
                        raise StoreError(
                            f"{database.name} has no project {wanted!r}; it has: "
                            + (", ".join(sorted(known)) or "none")
                        )
                    made = tx.execute(insert(projects).values(name=wanted))
                    known[wanted] = int((made.inserted_primary_key or (0,))[0])
        except BaseException:
            database.close()
            raise
        return cls(database, known[wanted], wanted)

    def duty(self, name: str) -> Duty:
        """A lock for work that one process at a time does for this project; see `Duty`."""
        return self.database.duty(f"{name}-{self.id}")

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def project_file(folder: Path) -> Path:
    """Return the default project file of a folder of images."""
    return folder / PROJECT_FILE
