"""What tests of archives share: a record with checkpoints at rows 5 and 12, and the command."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import time_machine
from django.contrib.auth.models import User
from django.core.management import call_command

from trading import audit, checkpoints
from trading.evidence import VERIFIER
from trading.models import Team

NAME = "record-north-desk-1-5.zip"


def write(team: Team, actor: User, count: int, *, day: int) -> None:
    """Write rows on a day of November 2026 and sign them."""
    with time_machine.travel(datetime(2026, 11, day, 12, 0, tzinfo=UTC)):
        for number in range(count):
            audit.record("limits.changed", actor, team=team, facts={"number": number})
        checkpoints.make(team)


def archive(folder: Path, *, through: int | None = None, before: str = "", team: str = "north-desk") -> str:
    """Run the command; return what it says."""
    how_far = ["--before", before] if before else ["--through", str(through)]
    said = io.StringIO()
    call_command("audit_archive", "--team", team, *how_far, "--to", str(folder), stdout=said)
    return said.getvalue()


def verify(*arguments: str) -> str:
    """Run `audit_verify`; return what it says."""
    said = io.StringIO()
    call_command("audit_verify", *arguments, stdout=said)
    return said.getvalue()


def check_alone(path: Path) -> subprocess.CompletedProcess[str]:
    """Run the stand-alone program on a file where nothing of the desk can be imported."""
    command = [sys.executable, "-I", "-S", str(VERIFIER), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
