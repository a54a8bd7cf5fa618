"""Migrations that bring older databases to the present schema."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, insert, inspect, select

from samadapt.store.errors import StoreError
from samadapt.store.label_migration import put_labels_into_a_table
from samadapt.store.tables import identities, labels, metadata, versions

Migration = Callable[[Connection], None]


def _labels_in_a_table(tx: Connection) -> None:
    for table in (labels, identities):
        table.create(tx)
    _give_identity(tx)
    put_labels_into_a_table(tx)


MIGRATIONS: Mapping[int, Migration] = {2: _labels_in_a_table}
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
