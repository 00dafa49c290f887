"""The chain of a team's record, read fast: every row's hash covers the row before it.

A walk begins where the team's archives end and stops at the first row that does not fit. It reads columns, not model
instances: a million rows take half a minute. What a chain alone cannot show (a tail that was cut off, a chain computed
anew, an archive that nobody signed) is shown by `checkpoints`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from trading.models import Archive, AuditEntry, Team
from trading.models.record import canonical

TABLE = AuditEntry._meta.db_table
ARCHIVES = Archive._meta.db_table
GUARDS = {
    "sqlite": {
        *(f"{TABLE}_no_{what}" for what in ("update", "delete", "replace")),
        *(f"{ARCHIVES}_no_{what}" for what in ("update", "delete")),
        f"{ARCHIVES}_fits",
    },
    "postgresql": {
        *(f"{table}_no_{what}" for table in (TABLE, ARCHIVES) for what in ("change", "truncate")),
        f"{ARCHIVES}_fits",
    },
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

Row = tuple[dict[str, Any], str, str]  # what is hashed, the hash of the row before, the row's own


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at a team's chain found; `number` is that of the first bad row.

    `entries` are the rows of the database that hold; `archived` are those before them, which stand in files.
    """

    is_whole: bool
    entries: int
    number: int | None = None
    why: str = ""
    archived: int = 0

    @property
    def last(self) -> int:
        """Number of the last row that holds."""
        return self.archived + self.entries


def verify(team: Team) -> Verdict:
    """Walk over a team's chain from where its archives end; stop at the first row that does not fit."""
    archives = list(Archive.objects.of(team))
    verdict = walk(team, archives)
    # Rows that went into an archive during the walk look as if they were missing: then walk once more.
    while not verdict.is_whole and archives != (now := list(Archive.objects.of(team))):
        archives, verdict = now, walk(team, now)
    return (untold(team, archives) or verdict) if verdict.is_whole else verdict


def walk(team: Team, archives: Sequence[Archive]) -> Verdict:
    """Walk over the archives as they stand and over the rows after them."""
    archived, previous = 0, ""
    for archive in archives:
        if archive.first != archived + 1 or archive.through < archive.first or archive.previous_hash != previous:
            return Verdict(False, 0, archive.first, "its archive does not join what is before it", archived)
        archived, previous = archive.through, archive.hash
    expected = archived
    for row, before, digest in rows(team, AuditEntry.objects.filter(team=team).order_by("number")):
        expected += 1
        if row["number"] < expected:
            return Verdict(False, 0, row["number"], "the row stands in an archive, and here as well", archived)
        if row["number"] != expected:
            return Verdict(False, expected - 1 - archived, expected, "a row is missing", archived)
        if before != previous:
            why = "the row does not follow the one before it"
            return Verdict(False, expected - 1 - archived, expected, why, archived)
        if digest != hashlib.sha256((previous + canonical(row)).encode()).hexdigest():
            return Verdict(False, expected - 1 - archived, expected, "the row was changed", archived)
        previous = digest
    return Verdict(True, expected - archived, archived=archived)


def untold(team: Team, archives: Sequence[Archive]) -> Verdict | None:
    """Return the verdict on the first archive of which the record tells nothing, or something else."""
    archived = 0
    for archive in archives:
        told = AuditEntry.objects.filter(team=team, action=Archive.ACTION, subject=f"archive:{archive.pk}")
        facts = list(told.values_list("facts", flat=True))
        # The entry of an older archive may stand in a newer one by now; that of the newest is always here.
        if not facts and archive is archives[-1]:
            return Verdict(False, 0, archive.first, "no entry of the record tells of its archive", archived)
        if any({**said, **archive.facts} != said for said in facts):
            return Verdict(False, 0, archive.first, "the record tells otherwise of its archive", archived)
        archived = archive.through
    return None


def rows(team: Team, found: QuerySet[AuditEntry]) -> Iterator[Row]:
    """Yield rows of a team, in the order given, as they are hashed; of any number, in the memory of some thousand."""
    team_id = str(team.pk)
    columns = found.values_list(*COLUMNS).iterator(chunk_size=ROWS_AT_ONCE)
    for number, at, environment, actor, actor_name, action, subject, facts, before, digest in columns:
        row = {
            "team": team_id,
            "number": number,
            "at": at.astimezone(UTC).isoformat(),
            "environment": environment,
            "actor": actor,
            "actor_name": actor_name,
            "action": action,
            "subject": subject,
            "facts": facts,
        }
        yield row, before, digest


def line(row: Row) -> bytes:
    """Return a row as a line of a package or an archive: what is hashed, and the two hashes, in canonical JSON."""
    return canonical({"row": row[0], "previous_hash": row[1], "hash": row[2]}).encode() + b"\n"


def hashes(team: Team, *, after: int = 0) -> Iterator[tuple[int, str]]:
    """Yield (number, hash) of a team's rows after a number, in order."""
    found = AuditEntry.objects.filter(team=team, number__gt=after).order_by("number")
    yield from found.values_list("number", "hash").iterator(chunk_size=ROWS_AT_ONCE)


def missing_triggers() -> set[str]:
    """Return which of the database's guards of the record and of its archives are gone."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            asked = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN (%s, %s)"
        else:
            # O and A fire for everybody; D (disabled) and R (for replication alone) let every statement through.
            asked = (
                "SELECT tgname FROM pg_trigger"
                " WHERE tgrelid IN (%s::regclass, %s::regclass) AND tgenabled IN ('O', 'A')"
            )
        cursor.execute(asked, [TABLE, ARCHIVES])
        standing = {name for (name,) in cursor.fetchall()}
    return GUARDS[connection.vendor] - standing
