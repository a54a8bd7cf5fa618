"""`LearningTable`: the model and adapters that all servers of a project use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from samadapt.store.database import Database
from samadapt.store.tables import learning


@dataclass(frozen=True, slots=True)
class LearningChoice:
    """The model and adapters of all servers of a project.

    Attributes:
        model: name of the model.
        weights: hash of its weights.
        adapters: in order, by their names on the command line.
        revision: number of choices so far.
        resets: number of requests to reset the learned adapters.
        resets_done: number of finished resets.
    """

    model: str
    weights: str
    adapters: tuple[str, ...]
    revision: int
    resets: int = 0
    resets_done: int = 0


class LearningTable:
    """The choice of one project."""

    def __init__(self, database: Database, project_id: int) -> None:
        self._database, self._project = database, project_id

    def read(self) -> LearningChoice | None:
        """The present choice; None before the first."""
        with self._database.read() as tx:
            row = tx.execute(select(learning).where(self._mine())).first()
        if row is None:
            return None
        return LearningChoice(
            row.model,
            row.weights,
            tuple(json.loads(row.adapters)),
            row.revision,
            row.resets,
            row.resets_done,
        )

    def choose(self, model: str, weights: str, adapters: tuple[str, ...]) -> int:
        """Choose a model and adapters for all servers; returns the revision."""
        values: dict[str, Any] = {
            "model": model,
            "weights": weights,
            "adapters": json.dumps(list(adapters)),
        }
        with self._database.write() as tx:
            self._database.lock(tx, self._project)
            changed = update(learning).where(self._mine())
            changed = changed.values(**values, revision=learning.c.revision + 1)
            found = tx.execute(changed.returning(learning.c.revision)).scalar()
            if found is None:
                fresh = insert(learning).values(project_id=self._project, revision=1, **values)
                tx.execute(fresh)
                found = 1
        return int(found)

    def wish_reset(self) -> int:
        """Request a reset of the learned adapters; returns the number of the request."""
        with self._database.write() as tx:
            wished = update(learning).where(self._mine()).values(resets=learning.c.resets + 1)
            return int(tx.execute(wished.returning(learning.c.resets)).scalar() or 0)

    def reset_is_done(self, number: int) -> None:
        """Record that a reset is done; all servers are notified, as of another choice."""
        done = update(learning).where(self._mine())
        done = done.values(resets_done=number, revision=learning.c.revision + 1)
        with self._database.write() as tx:
            tx.execute(done)

    def _mine(self) -> Any:
        return learning.c.project_id == self._project
