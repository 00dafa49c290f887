"""Says whether anything in the database changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

from django.db import connection

IGNORED = {"django_session"}  # a log-in's own notes, such as its messages
INTO = re.compile(r'(?:INSERT INTO|UPDATE|DELETE FROM) "(\w+)"')


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


class Writes:
    """Counts, while it is entered, what this connection writes, what triggers do and what is undone included.

    Where it counts nothing no digest can have changed, and it costs far less than one. Like a digest it passes over
    IGNORED; where a database does not count for us it says that it cannot know.
    Source: SQLite, sqlite3_total_changes (rows) and PRAGMA schema_version (tables).
    """

    def __enter__(self) -> Writes:
        """Begin to count."""
        self._start, self._passed_over = self._so_far(), 0
        self._wrapper = connection.execute_wrapper(self._execute)
        self._wrapper.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        """Count no more."""
        self._wrapper.__exit__(None, None, None)

    def are_none(self) -> bool:
        """Say whether certainly nothing was written yet."""
        rows, tables = self._so_far()
        return connection.vendor == "sqlite" and (rows - self._passed_over, tables) == self._start

    def _execute(self, execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        found = INTO.match(sql)
        if found is None or found[1] not in IGNORED:
            return execute(sql, *arguments)
        before, _ = self._so_far()
        answer = execute(sql, *arguments)
        self._passed_over += self._so_far()[0] - before
        return answer

    def _so_far(self) -> tuple[int, int]:
        if connection.vendor != "sqlite":
            return 0, 0
        connection.ensure_connection()
        [[tables]] = connection.connection.execute("PRAGMA schema_version").fetchall()
        return connection.connection.total_changes, tables
