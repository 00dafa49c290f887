"""Says whether anything in the database changed."""

from __future__ import annotations

import hashlib

from django.db import connection

IGNORED = {"django_session"}  # a log-in's own notes, such as its messages


def digest(*, but: frozenset[str] | set[str] = frozenset()) -> str:
    """Return a digest of all tables, rows and all, without some columns."""
    found = hashlib.sha256()
    with connection.cursor() as cursor:
        for table in sorted(set(connection.introspection.table_names(cursor)) - IGNORED):
            cursor.execute(f"SELECT * FROM {table}")  # noqa: S608  (names out of the database itself)
            kept = [index for index, column in enumerate(cursor.description) if column[0] not in but]
            rows = sorted(repr([row[index] for index in kept]) for row in cursor.fetchall())
            found.update(repr((table, rows)).encode())
    return found.hexdigest()


def writes_so_far() -> tuple[int, int] | None:
    """Return what grows with every write of this connection, triggers' and undone ones included; None if none counts.

    As long as it stands still no digest can have changed, and it costs nothing to ask for.
    Source: SQLite, sqlite3_total_changes (rows) and PRAGMA schema_version (tables).
    """
    if connection.vendor != "sqlite":
        return None
    with connection.cursor() as cursor:
        [[version]] = cursor.execute("PRAGMA schema_version").fetchall()
    return connection.connection.total_changes, version
