"""Migrations that bring older databases to the present schema."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    insert,
    inspect,
    literal,
    select,
)

from samadapt.store.errors import StoreError
from samadapt.store.label_migration import put_labels_into_a_table
from samadapt.store.tables import (
    codes,
    comments,
    details,
    identities,
    labels,
    learning,
    metadata,
    proposals,
    reviews,
    versions,
)

Migration = Callable[[Connection], None]

_REJECTED = Table(
    "rejected_proposals",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("project_id", Integer, nullable=False),
    Column("image_id", Integer, nullable=False),
    Column("label", Text, nullable=False),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("counts", Text, nullable=False),
)
"""Schemas 5 and 6 kept rejected proposals apart."""


def _labels_in_a_table(tx: Connection) -> None:
    for table in (labels, identities):
        table.create(tx)
    _give_identity(tx)
    put_labels_into_a_table(tx)


def _waiting_proposals(tx: Connection) -> None:
    proposals.create(tx)


def _details(tx: Connection) -> None:
    details.create(tx)


def _reviews(tx: Connection) -> None:
    for table in (reviews, comments, _REJECTED):
        table.create(tx)


def _several_servers(tx: Connection) -> None:
    for table in (learning, codes):
        table.create(tx)


def _proposals_with_a_state(tx: Connection) -> None:
    known = {column["name"] for column in inspect(tx).get_columns(proposals.name)}
    if proposals.c.state.name not in known:
        tx.exec_driver_sql("ALTER TABLE proposals ADD COLUMN state TEXT NOT NULL DEFAULT 'waiting'")
        tx.exec_driver_sql("DROP INDEX proposals_of_image")
        for index in proposals.indexes:
            index.create(tx)
    same = [column for column in _REJECTED.c if column.name != "id"]
    told = {"source": "", "score": 0.0, "x": 0.0, "y": 0.0, "state": "rejected"}
    columns = [*same, *(literal(value).label(name) for name, value in told.items())]
    names = [column.name for column in same] + list(told)
    tx.execute(insert(proposals).from_select(names, select(*columns).order_by(_REJECTED.c.id)))
    _REJECTED.drop(tx)


def _proposals_with_their_pixels(tx: Connection) -> None:
    known = {column["name"] for column in inspect(tx).get_columns(proposals.name)}
    if proposals.c.content_hash.name not in known:
        tx.exec_driver_sql("ALTER TABLE proposals ADD COLUMN content_hash TEXT")


MIGRATIONS: Mapping[int, Migration] = {
    2: _labels_in_a_table,
    3: _waiting_proposals,
    4: _details,
    5: _reviews,
    6: _several_servers,
    7: _proposals_with_a_state,
    8: _proposals_with_their_pixels,
}
"""Number k brings version k - 1 to version k. Never change one that was released: add another.

A new database is made as the present tables are, at the highest version.
"""


def migrate(
    tx: Connection, name: str, migrations: Mapping[int, Migration] = MIGRATIONS
) -> list[int]:
    """Apply missing migrations in the caller's transaction, and return their versions.

    Raises:
        StoreError: the database was made by a newer samadapt, or is none of samadapt's.
    """
    tables = set(inspect(tx).get_table_names())
    if versions.name not in tables:
        if foreign := sorted(tables & {table.name for table in metadata.sorted_tables}):
            raise StoreError(
                f"{name} has a table {foreign[0]!r} that is not samadapt's: choose another database"
            )
        metadata.create_all(tx)
        _give_identity(tx)
        tx.execute(insert(versions), [{"version": k + 1} for k in range(max(MIGRATIONS))])
    done = {int(row.version) for row in tx.execute(select(versions.c.version))}
    if done and max(done) > max(migrations):
        raise StoreError(
            f"{name} was made by a newer samadapt (schema {max(done)}, this one knows "
            f"{max(migrations)}): install a newer samadapt"
        )
    applied = []
    for version, step in sorted(migrations.items()):
        if version not in done:
            step(tx)
            tx.execute(insert(versions).values(version=version))
            applied.append(version)
    return applied


def _give_identity(tx: Connection) -> None:
    tx.execute(insert(identities).values(identity=uuid.uuid4().hex))
