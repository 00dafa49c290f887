"""`manage.py reset_password --user NAME`: a one-time link with which a person sets a new password."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from kalshiweb import lock
from trading import setup


def person(name: str) -> User:
    """Return an active user. Raises CommandError."""
    found = User.objects.filter(username=name, is_active=True).first()
    if found is None:
        raise CommandError("There is no active person of that name.")
    return found


def address(token: str) -> str:
    """Return the link as it is opened in a browser: at the desk that runs here, whatever its port, if there is one."""
    running = re.search(r"https?://\S+", lock.holder(settings.KALSHIWEB_DATA_DIR) or "")
    origin = running.group() if running else settings.WEB_ORIGINS[0]
    return f"{origin.rstrip('/')}/welcome/{token}"


class Command(BaseCommand):
    """Prints the link; whoever has it logs in once, with the second factor where there is one."""

    help = "Print a link that lets a person in once, within an hour, to set a new password."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the person's name."""
        parser.add_argument("--user", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the link."""
        self.stdout.write(address(setup.make_link(person(options["user"]), kind="reset")))
