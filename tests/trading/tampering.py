"""Six ways to bend the record with the database's own rights, behind the triggers' back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any

from django.db import connection

from trading.models import AuditEntry, Team

TABLE, ARCHIVES = "trading_auditentry", "trading_archive"


@contextmanager
def without_guards() -> Iterator[None]:
    """Let the tables be changed, then put the guards back."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            asked = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN (%s, %s)"
            cursor.execute(asked, [TABLE, ARCHIVES])
            guards = cursor.fetchall()
            for name, _ in guards:
                cursor.execute(f"DROP TRIGGER {name}")
            yield
            for _, sql in guards:
                cursor.execute(sql)
        else:
            # What is still to be checked keeps a table from being altered.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for table in (TABLE, ARCHIVES):
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            yield
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for table in (TABLE, ARCHIVES):
                cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def run(statement: str, *values: str | int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def edit(team: Team, number: int) -> None:
    """Say that somebody else did it."""
    run("UPDATE trading_auditentry SET actor_name = 'mallory' WHERE team_id = %s AND number = %s", _pk(team), number)


def delete(team: Team, number: int) -> None:
    """Take a row out of the middle."""
    run("DELETE FROM trading_auditentry WHERE team_id = %s AND number = %s", _pk(team), number)


def cut(team: Team, number: int) -> None:
    """Take all rows from this one away."""
    run("DELETE FROM trading_auditentry WHERE team_id = %s AND number >= %s", _pk(team), number)


def insert(team: Team, number: int) -> None:
    """Put a row in before this one and move the rest; the new row's own hash is right."""
    _move(team, number, 1)
    before = AuditEntry.objects.get(team=team, number=number - 1)
    entry = AuditEntry(team=team, number=number, at=before.at, action="order.canceled", previous_hash=before.hash)
    entry.hash = entry.digest()
    entry.save(force_insert=True)


def reorder(team: Team, number: int) -> None:
    """Let this row and the next change places."""
    first, second = (AuditEntry.objects.get(team=team, number=number + step).pk for step in (0, 1))
    run("UPDATE trading_auditentry SET number = 0 WHERE id = %s", first)
    run("UPDATE trading_auditentry SET number = %s WHERE id = %s", number, second)
    run("UPDATE trading_auditentry SET number = %s WHERE id = %s", number + 1, first)


def recompute(team: Team, number: int) -> None:
    """Change a row and compute the whole chain anew from there: without a checkpoint it would hold."""
    edit(team, number)
    rows = AuditEntry.objects.filter(team=team, number__gte=number - 1).order_by("number")
    previous, changed = "", []
    for entry in rows.iterator(chunk_size=2_000):
        if entry.number >= number:
            entry.previous_hash = previous
            changed.append((previous, hash_of(entry), entry.pk))
        previous = changed[-1][1] if changed else entry.hash
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE trading_auditentry SET previous_hash = %s, hash = %s WHERE id = %s", changed)


def hash_of(entry: AuditEntry) -> str:
    """Return the hash that a row ought to have: SHA-256 over the hash before it and the row as sorted, dense JSON."""
    row: dict[str, Any] = {
        "team": str(entry.team_id),
        "number": entry.number,
        "at": entry.at.astimezone(UTC).isoformat(),
        "environment": entry.environment,
        "actor": entry.actor_id,
        "actor_name": entry.actor_name,
        "action": entry.action,
        "subject": entry.subject,
        "facts": entry.facts,
    }
    text = entry.previous_hash + json.dumps(row, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# how → the number of the first bad row, where row n is asked for
WAYS: dict[str, Callable[[Team, int], None]] = {
    "edit": edit,
    "delete": delete,
    "cut": cut,
    "insert": insert,
    "reorder": reorder,
    "recompute": recompute,
}


def _move(team: Team, number: int, step: int) -> None:
    """Renumber from the end, so that no number is there twice at any time."""
    rows = AuditEntry.objects.filter(team=team, number__gte=number).order_by("-number")
    with connection.cursor() as cursor:
        moved = [(old + step, pk) for pk, old in rows.values_list("pk", "number")]
        cursor.executemany("UPDATE trading_auditentry SET number = %s WHERE id = %s", moved)


def _pk(team: Team) -> str:
    return team.pk.hex if connection.vendor == "sqlite" else str(team.pk)
