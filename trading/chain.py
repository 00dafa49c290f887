"""The chain of a team's record, read fast: every row's hash covers the row before it.

A walk stops at the first row that does not fit. It reads columns, not model instances: a million rows take half a
minute. What a chain alone cannot show (a tail that was cut off, a chain computed anew) is shown by `checkpoints`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.db import connection

from trading.models import AuditEntry, Team
from trading.models.record import canonical

TABLE = AuditEntry._meta.db_table
TRIGGERS = {
    "sqlite": {f"{TABLE}_no_update", f"{TABLE}_no_delete"},
    "postgresql": {f"{TABLE}_no_change"},
}
COLUMNS = (
    "number",
    "at",
    "environment",
    "actor_id",
    "actor_name",
    "action",
    "subject",
    "facts",
    "previous_hash",
    "hash",
)
ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at a team's chain found; `number` is that of the first bad row."""

    is_whole: bool
    entries: int
    number: int | None = None
    why: str = ""


def verify(team: Team) -> Verdict:
    """Walk over a team's chain from its beginning; stop at the first row that does not fit."""
    previous, expected, team_id = "", 0, str(team.pk)
    for number, at, environment, actor, actor_name, action, subject, facts, before, digest in _rows(team):
        expected += 1
        if number != expected:
            return Verdict(False, expected - 1, expected, "a row is missing")
        if before != previous:
            return Verdict(False, expected - 1, expected, "the row does not follow the one before it")
        row = {
            "team": team_id,
            "action": action,
            "actor": actor,
            "actor_name": actor_name,
            "at": at.astimezone(UTC).isoformat(),
            "environment": environment,
            "facts": facts,
            "number": number,
            "subject": subject,
        }
        if digest != hashlib.sha256((previous + canonical(row)).encode()).hexdigest():
            return Verdict(False, expected - 1, expected, "the row was changed")
        previous = digest
    return Verdict(True, expected)


def hashes(team: Team, *, after: int = 0) -> Iterator[tuple[int, str]]:
    """Yield (number, hash) of a team's rows after a number, in order."""
    rows = AuditEntry.objects.filter(team=team, number__gt=after).order_by("number")
    yield from rows.values_list("number", "hash").iterator(chunk_size=ROWS_AT_ONCE)


def missing_triggers() -> set[str]:
    """Return which of the database's guards of the record are gone."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [TABLE])
        else:
            cursor.execute("SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled <> 'D'", [TABLE])
        standing = {name for (name,) in cursor.fetchall()}
    return TRIGGERS[connection.vendor] - standing


def _rows(team: Team) -> Iterator[tuple[Any, ...]]:
    rows = AuditEntry.objects.filter(team=team).order_by("number")
    return rows.values_list(*COLUMNS).iterator(chunk_size=ROWS_AT_ONCE)
