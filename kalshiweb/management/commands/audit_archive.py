"""`manage.py audit_archive --team SLUG --through NUMBER|--before DATE --to DIRECTORY`: move old rows into a file."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading import archive, checkpoints
from trading.archive import ArchiveRefused
from trading.checkpoints import CheckpointRefused
from trading.models import Team


class Command(BaseCommand):
    """Moves the oldest rows of a team's record into a signed file, which is verified before a row goes."""

    help = "Move the oldest rows of a team's record, up to a signed checkpoint, out of the database into a signed file."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the team, how far, and where to."""
        parser.add_argument("--team", required=True, help="The team's short name (slug).")
        how_far = parser.add_mutually_exclusive_group(required=True)
        how_far.add_argument("--through", type=int, help="Number of the last row to go; a checkpoint must end there.")
        how_far.add_argument(
            "--before", type=date.fromisoformat, help="Day (UTC): all whole checkpoints written before it go."
        )
        parser.add_argument("--to", type=Path, required=True, help="Directory for the file; never overwrites one.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Archive, and say what went where."""
        team = Team.objects.filter(slug=options["team"]).first()
        if team is None:
            raise CommandError("There is no team of that name.")
        started = time.monotonic()
        try:
            rows = archive.span(team, through=options["through"], before=options["before"])
            made = archive.make(rows, options["to"].resolve())
            seconds = time.monotonic() - started
            self.stdout.write(
                f"{team.slug}: rows {made.first}–{made.through} archived in {made.file} ({seconds:.1f} s)."
            )
            self.stdout.write(f"SHA-256 {made.digest}")
            self.stdout.write("Keep a copy of the file elsewhere: these rows are nowhere else now.")
            checkpoints.make(team)  # the entry that tells of the archive is signed at once
        except (ArchiveRefused, CheckpointRefused) as exc:
            raise CommandError(str(exc)) from None
