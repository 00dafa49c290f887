"""`manage.py create_team NAME --owner USER`: a team, its owner and its account on this installation's exchange."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.text import slugify

from kalshiweb.management.commands.reset_password import address
from trading import setup


class Command(BaseCommand):
    """Makes a team, or completes it, and prints a one-time link for an owner who has no password yet."""

    help = "Make a team, its owner and its account; print a one-time link for an owner without a password."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the team's name and its owner's."""
        parser.add_argument("name")
        parser.add_argument("--owner", required=True, help="User name of the person who answers for the team.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it, and say what there is now."""
        if not slugify(options["name"]):
            raise CommandError("Give the team a name with letters or digits.")
        try:
            desk = setup.create_team(options["name"], owner=options["owner"], environment=settings.ENVIRONMENT)
        except setup.TeamRefused as exc:
            raise CommandError(str(exc)) from None
        self.stdout.write(f"Team {desk.team.name}, owner {desk.owner}, account {desk.account}.")
        if not desk.owner.has_usable_password():
            self.stdout.write(f"Once, within an hour: {address(setup.make_link(desk.owner, kind='reset'))}")
