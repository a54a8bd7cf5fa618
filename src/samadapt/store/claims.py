"""`ClaimTable`: people's claims on images, so that two people do not draw the same objects."""

from __future__ import annotations

import time

from sqlalchemy import delete, insert, select, update

from samadapt.store.database import Database
from samadapt.store.records import Claim
from samadapt.store.tables import claims

CLAIM_SECONDS = 60.0
"""A claim that was not renewed for this time is void."""


class ClaimTable:
    """Claims on the images of one project. They only warn other people."""

    def __init__(self, database: Database, project_id: int) -> None:
        self._database, self._project = database, project_id

    def take(self, client: str, image_id: int, person: str) -> list[Claim]:
        """Claim an image, or renew the claim; a client has one claim at a time.

        Returns:
            The claims of others on the same image.
        """
        mine = claims.c.project_id == self._project, claims.c.client == client
        values = {"image_id": image_id, "person": person, "seen": time.time()}
        with self._database.write() as tx:
            self._database.lock(tx, self._project)
            if tx.execute(update(claims).where(*mine).values(**values)).rowcount == 0:
                key = {"project_id": self._project, "client": client}
                tx.execute(insert(claims).values(**key, **values))
        return [c for c in self.all() if c.image_id == image_id and c.client != client]

    def release(self, client: str) -> None:
        """Remove a client's claim."""
        mine = claims.c.project_id == self._project, claims.c.client == client
        with self._database.write() as tx:
            tx.execute(delete(claims).where(*mine))

    def release_all(self) -> None:
        """Remove all claims; open pages renew theirs within seconds."""
        with self._database.write() as tx:
            tx.execute(delete(claims).where(claims.c.project_id == self._project))

    def all(self) -> list[Claim]:
        """Return all valid claims. Claims from the future (the clock was set back) are void."""
        wanted = select(claims).where(claims.c.project_id == self._project)
        now = time.time()
        with self._database.read() as tx:
            rows = tx.execute(wanted).all()
        return [
            Claim(row.client, row.image_id, row.person)
            for row in rows
            if abs(now - row.seen) <= CLAIM_SECONDS
        ]
