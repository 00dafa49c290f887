"""`manage.py run_feed`: the process that reads one environment's exchange and feeds everybody's browsers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from kalshiweb.feed_process import FeedProcess


class Command(BaseCommand):
    """Run the relay of one environment until told to stop; a second one stands by for the first."""

    help = "Read the exchange's stream and relay its books to every web process."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the environment."""
        parser.add_argument("--environment", default=settings.ENVIRONMENT, choices=sorted(settings.EXCHANGES))

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        asyncio.run(self._run(options["environment"]))

    async def _run(self, environment: str) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        running = asyncio.create_task(FeedProcess(environment).run())
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not running.done():
            running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
