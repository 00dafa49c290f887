"""`manage.py audit_verify [--team SLUG] [--archive FILE]`: whether the record is as it was; names the first bad row."""

from __future__ import annotations

import time
from datetime import UTC
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading import archive, chain, checkpoints
from trading.archive import ArchiveRefused
from trading.checkpoints import CheckpointRefused
from trading.models import Archive, Team


class Command(BaseCommand):
    """Checks every team's chain against itself and against the signed checkpoints, then signs what is new."""

    help = "Verify the record's chains and checkpoints, name the first bad row, and sign what is new."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take one team, or all; and files of archives."""
        parser.add_argument("--team", help="The team's short name (slug); all teams without it.")
        parser.add_argument(
            "--archive", type=Path, action="append", default=[], help="Verify this archive's file too; may be repeated."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a line for each team; fail where anything is wrong."""
        teams = Team.objects.order_by("slug")
        if options["team"]:
            teams = teams.filter(slug=options["team"])
            if not teams:
                raise CommandError("There is no team of that name.")
        bad = [f"The database's guards of the record are gone: {name}." for name in sorted(chain.missing_triggers())]
        for team in teams:
            bad += self._look_at(team)
        for path in options["archive"] or []:
            bad += self._look_into(path)
        try:
            self.stdout.write(f"Signing key {checkpoints.fingerprint()}")
        except CheckpointRefused as exc:
            bad.append(str(exc))
        if bad:
            raise CommandError("\n".join(bad))

    def _look_at(self, team: Team) -> list[str]:
        started = time.monotonic()
        try:
            verdict = checkpoints.verify(team)
            if verdict.is_whole:
                checkpoints.make(team)
        except CheckpointRefused as exc:
            return [f"{team.slug}: {exc}"]
        for made in Archive.objects.of(team):
            day = made.at.astimezone(UTC).date()
            self.stdout.write(f"{team.slug}: rows {made.first}–{made.through} archived on {day} in {made.file}.")
        if not verdict.is_whole:
            return [f"{team.slug}: row {verdict.number} is bad, {verdict.why}; {verdict.entries} rows before it hold."]
        self.stdout.write(f"{team.slug}: {verdict.entries} rows hold ({time.monotonic() - started:.1f} s).")
        return []

    def _look_into(self, path: Path) -> list[str]:
        started = time.monotonic()
        try:
            made = archive.check(path)
            verdict = checkpoints.verify(made.team)
        except (ArchiveRefused, CheckpointRefused) as exc:
            return [str(exc)]
        if verdict.number is not None and verdict.number <= made.through + 1:
            return [f"{path.name} holds, but the record does not go on from it: row {verdict.number} is bad."]
        joins = f"and join the record at row {made.through + 1}"
        seconds = time.monotonic() - started
        self.stdout.write(f"{path.name}: rows {made.first}–{made.through} hold {joins} ({seconds:.1f} s).")
        return []
