"""`manage.py audit_verify [--team SLUG]`: whether the record is as it was; names the first row that is not."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading import chain, checkpoints
from trading.checkpoints import CheckpointRefused
from trading.models import Team


class Command(BaseCommand):
    """Checks every team's chain against itself and against the signed checkpoints, then signs what is new."""

    help = "Verify the record's chains and checkpoints, name the first bad row, and sign what is new."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take one team, or all."""
        parser.add_argument("--team", help="The team's short name (slug); all teams without it.")

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
        self.stdout.write(f"Signing key {checkpoints.fingerprint()}")
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
        if not verdict.is_whole:
            return [f"{team.slug}: row {verdict.number} is bad, {verdict.why}; {verdict.entries} rows before it hold."]
        self.stdout.write(f"{team.slug}: {verdict.entries} rows hold ({time.monotonic() - started:.1f} s).")
        return []
