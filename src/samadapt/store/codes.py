"""`StoredCodes`: one-time login codes, valid at any server of a project."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from sqlalchemy import delete, insert, select

from samadapt.store.database import Database
from samadapt.store.tables import codes

_MOST = 100


class StoredCodes:
    """The unused login codes of one project.

    Args:
        database: the database.
        project_id: the project.
        secret: of the servers; codes are valid for servers that share it.
    """

    def __init__(self, database: Database, project_id: int, secret: str) -> None:
        self._database, self._project, self._secret = database, project_id, secret

    def add(self, code: str) -> None:
        """Make a code valid; the oldest codes beyond the limit become invalid."""
        mine = codes.c.project_id == self._project
        row = {"project_id": self._project, "digest": self._digest(code), "made": time.time()}
        with self._database.write() as tx:
            tx.execute(insert(codes).values(row))
            kept = select(codes.c.digest).where(mine).order_by(codes.c.made.desc()).limit(_MOST)
            tx.execute(delete(codes).where(mine, codes.c.digest.not_in(kept)))

    def has(self, code: str) -> bool:
        """Whether a code is valid."""
        with self._database.read() as tx:
            return tx.execute(select(codes.c.made).where(*self._here(code))).first() is not None

    def take(self, code: str) -> bool:
        """Use up a code; False when it was not valid."""
        with self._database.write() as tx:
            return tx.execute(delete(codes).where(*self._here(code))).rowcount == 1

    def _here(self, code: str) -> tuple[Any, ...]:
        return codes.c.project_id == self._project, codes.c.digest == self._digest(code)

    def _digest(self, code: str) -> str:
        return hashlib.sha256(f"{self._secret} {code}".encode("utf-8", "replace")).hexdigest()
