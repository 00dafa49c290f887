"""`manage.py bench NAME`: measure one of the paths that must be quick, and compare it with the published way."""

from __future__ import annotations

from argparse import ArgumentParser
from importlib import import_module
from typing import Any

from django.core.management.base import BaseCommand, CommandError

NAMES = ("fanout", "ingest", "sandbox")


class Command(BaseCommand):
    """Print a bench's method, the machine, its figures beside their goals, and the ratio to the naive way."""

    help = "Run a benchmark on loopback with processes and a directory of its own."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the name and how long and in which form."""
        parser.add_argument("name", choices=NAMES)
        parser.add_argument("--json", action="store_true", help="one JSON object a line; the last has ratio_to_naive")
        parser.add_argument("--quick", action="store_true", help="everything once and small: seconds, rough figures")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure and print."""
        from kalshiweb.bench import machine
        from kalshiweb.bench.children import ChildFailed
        from kalshiweb.bench.figures import Report

        bench = import_module(f"kalshiweb.bench.{options['name']}")
        before, watch = machine.foreign_now(), machine.Watch()
        report = Report(options["name"], bench.__doc__ or "", machine.describe())
        try:
            bench.run(report, size=bench.QUICK if options["quick"] else bench.Size())
        except (ChildFailed, TimeoutError) as exc:
            raise CommandError(f"The bench could not be run to its end: {exc}") from exc
        if (warning := machine.warning(before, watch.foreign())) is not None:
            report.warnings.append(warning)
        self.stdout.write(report.json_lines() if options["json"] else report.text())
