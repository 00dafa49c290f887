"""`manage.py record`: write what the exchange's feed sends as a tape, to be replayed by the local exchange."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from kalshiweb.feed_process import NO_KEY
from kalshiweb.recording import Recording
from markets.events import relay_group
from markets.kalshi.feed import Disconnected, FeedClient
from markets.kalshi.messages import Channel
from markets.lines import Line
from trading import clients
from trading.models import ApiKey

CHANNELS: tuple[Channel, ...] = ("orderbook_delta", "trade", "market_lifecycle_v2")


class Command(BaseCommand):
    """Record books, trades and what happens to markets, over a connection of its own on the lent key."""

    help = "Write what the exchange sends of these markets, or of all that browsers watch, as a tape."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add which markets, where to and for how long."""
        parser.add_argument("tickers", nargs="*", metavar="TICKER", help="none: all that browsers watch meanwhile")
        parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON lines; .gz is compressed")
        parser.add_argument("--seconds", type=float, help="how long; until interrupted unless given")
        parser.add_argument("--environment", default=settings.ENVIRONMENT, choices=sorted(settings.EXCHANGES))

    def handle(self, *args: Any, **options: Any) -> None:
        """Record until the time is over, SIGTERM or SIGINT."""
        key = ApiKey.objects.filter(environment=options["environment"], is_feed=True).first()
        if key is None:
            raise CommandError(NO_KEY)
        try:
            feed = clients.feed_client(key, on_event=self._tell, channels=CHANNELS)
            with Recording(options["out"]) as recording:
                asyncio.run(self._record(feed, recording, options))
        except (clients.CannotUse, OSError) as exc:
            raise CommandError(str(exc)) from exc
        counted = ", ".join(f"{count} {kind}" for kind, count in recording.counts.most_common())
        self.stdout.write(f"{options['out']}: {len(recording.tickers)} markets; {counted or 'nothing'}")

    async def _record(self, feed: FeedClient, recording: Recording, options: dict[str, Any]) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        feed.on_frame = recording.take
        feed.watch(options["tickers"])
        listening = None if options["tickers"] else asyncio.create_task(follow(feed, options["environment"]))
        feed.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options["seconds"]):
                await stop.wait()
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        await asyncio.to_thread(feed.stop)

    def _tell(self, event: Any) -> None:
        if isinstance(event, Disconnected) and event.reason != "stopped":
            self.stderr.write(f"disconnected: {event.reason}")


async def follow(feed: FeedClient, environment: str) -> None:
    """Record whatever the hubs wish for, as they tell the relay."""

    def hear(message: dict[str, Any]) -> None:
        if message["type"] == "relay.wish":
            feed.watch([*message["books"], *message["tops"]])

    await Line(get_channel_layer(), "record", hear, group=relay_group(environment)).run()
