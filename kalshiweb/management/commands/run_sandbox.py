"""`manage.py run_sandbox`: the local exchange as a process of its own."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

DEFAULT_PORT = 8790


class Command(BaseCommand):
    """Serve an exchange with play money on this machine until told to stop."""

    help = "Run the local exchange: REST, stream and its control on one port of loopback."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe what it can be asked to be."""
        from markets.sandbox.limits import TIERS
        from markets.sandbox.listing import DEFAULT_MARKETS

        parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port on loopback; 0 takes a free one")
        parser.add_argument("--credentials", type=Path, metavar="DIR", help="folder for each member's first key")
        parser.add_argument("--state", type=Path, metavar="FILE", help="what survives a restart (SQLite)")
        parser.add_argument(
            "--tape", type=Path, action="append", default=[], metavar="FILE", help="recording to replay"
        )
        parser.add_argument("--speed", type=float, default=1.0, help="how fast recordings run; 1 is as recorded")
        parser.add_argument("--loop", action="store_true", help="start recordings again at their end")
        parser.add_argument("--seed", type=int, default=0, help="seed of the makers and of every id")
        parser.add_argument("--markets", type=int, default=DEFAULT_MARKETS, help="how many markets are listed")
        parser.add_argument("--tier", choices=sorted(TIERS), default="basic", help="usage level of every account")
        parser.add_argument("--no-makers", action="store_true", help="leave the books to the members")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        from markets.sandbox.keeping import BadState
        from markets.sandbox.running import Options, Sandbox
        from markets.sandbox.server import Application, PortTaken, run
        from markets.sandbox.tape import BadTape

        if options["speed"] <= 0:
            raise CommandError("--speed must be above 0.")
        asked = Options(
            seed=options["seed"],
            markets=options["markets"],
            tapes=tuple(options["tape"]),
            speed=options["speed"],
            loop=options["loop"],
            credentials=options["credentials"],
            state=options["state"],
            tier=options["tier"],
            has_makers=not options["no_makers"],
        )
        try:
            sandbox = Sandbox(asked)

            def make() -> tuple[Application, Callable[[], None]]:
                sandbox.begin()
                return sandbox.application, sandbox.end

            def ready(port: int) -> None:
                sandbox.write_credentials(port)
                self.stdout.write(f"The local exchange serves at http://127.0.0.1:{port}/trade-api/v2")
                self.stdout.flush()

            run(make, options["port"], ready=ready)
        except (PortTaken, BadTape, BadState, OSError) as exc:
            raise CommandError(str(exc)) from exc
