"""`manage.py run_sandbox`: the local exchange as a process of its own."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from markets.sandbox import command


class Command(BaseCommand):
    """The same as `manage.py run_sandbox`, which comes past here without loading Django."""

    help = command.HELP
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Describe what it can be asked to be."""
        command.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        sys.exit(command.serve(argparse.Namespace(**options)))
