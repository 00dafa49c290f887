"""`manage.py reset_second_factor --user NAME`: for somebody who has lost both the device and the recovery codes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from kalshiweb.management.commands.reset_password import person
from trading import sessions


class Command(BaseCommand):
    """Takes a person's second factors away; their password is still needed, and their sessions end."""

    help = "Take a person's second factors and recovery codes away, end their sessions, and write it down."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the person's name."""
        parser.add_argument("--user", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """Take them away."""
        gone = sessions.forget_second_factor(person(options["user"]))
        self.stdout.write(f"{gone} second factors taken away; a new one is set up after the next log-in.")
