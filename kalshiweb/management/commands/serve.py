"""Run the whole desk on this machine: `python manage.py serve`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from kalshiweb import serve


class Command(BaseCommand):
    """The same as `manage.py serve`, which comes past here without loading Django."""

    help = "Run the whole desk on this machine: pages, feed, worker, embedded Valkey and, unless told, the sandbox."
    requires_system_checks: list[str] = []  # noqa: RUF012  (Django's own attribute)

    def add_arguments(self, parser: CommandParser) -> None:
        """Describe the command line."""
        serve.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until Ctrl-C."""
        sys.exit(serve.serve(argparse.Namespace(**options)))
