"""`manage.py log_in_link`: a way back into a desk on the local exchange, from the machine that runs it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from kalshiweb.management.commands.reset_password import address, person
from trading import setup


class Command(BaseCommand):
    """Prints a one-time link for this machine."""

    help = "Print a link that lets a person in once, within ten minutes, on this machine; for the local exchange."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the person's name."""
        parser.add_argument("--user", default=setup.OWNER_NAME)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the link."""
        if settings.ENVIRONMENT != "sandbox":
            raise CommandError("This desk is not on the local exchange: use reset_password.")
        self.stdout.write(address(setup.make_link(person(options["user"]), kind="local")))
