"""Schema versions: what has to be done to bring an older database to the present one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, insert, inspect, select

from samadapt.store.errors import StoreError
from samadapt.store.tables import metadata, versions

Migration = Callable[[Connection], None]


def _first_schema(tx: Connection) -> None:
    metadata.create_all(tx)


MIGRATIONS: tuple[Migration, ...] = (_first_schema,)
"""Number k brings version k - 1 to version k. Never change one that was released: add another."""


def migrate(tx: Connection, name: str, migrations: Sequence[Migration] = MIGRATIONS) -> list[int]:
    """Apply what is missing, in the caller's transaction; returns the versions applied.

    Raises:
        StoreError: the database was made by a newer samadapt, or is none of samadapt's.
    """
    tables = set(inspect(tx).get_table_names())
    if versions.name not in tables:
        if foreign := sorted(tables & {table.name for table in metadata.sorted_tables}):
            raise StoreError(
                f"{name} has a table {foreign[0]!r} that is not samadapt's: choose another database"
            )
        versions.create(tx)
    done = {int(row.version) for row in tx.execute(select(versions.c.version))}
    if done and max(done) > len(migrations):
        raise StoreError(
            f"{name} was made by a newer samadapt (schema {max(done)}, this one knows "
            f"{len(migrations)}): install a newer samadapt"
        )
    applied = []
    for version, step in enumerate(migrations, 1):
        if version not in done:
            step(tx)
            tx.execute(insert(versions).values(version=version))
            applied.append(version)
    return applied
