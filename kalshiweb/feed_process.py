"""What the feed process consists of: the relay, the private streams of the keys, and its sign of life.

It connects with the key that a team lends to the desk. As long as there is none, or none that can be used, books are
read over REST and browsers are told why; every two seconds it looks for a key, and when that changes it connects anew.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from django.db import close_old_connections
from redis.asyncio import Redis
from redis.exceptions import RedisError

from kalshiweb.health import KEY
from markets import polled, tops
from markets.crosscheck import CrossCheck
from markets.kalshi.clock import monotonic_ms, wall_ms
from markets.kalshi.feed import TickerReceived
from markets.kalshi.messages import Channel
from markets.leadership import Leadership
from markets.lines import supervise
from markets.listings import Lookup
from markets.lookback import Keeper
from markets.quotes import QuoteBoard
from markets.relay import BookRelay, Feed
from markets.source import Pace, ask_markets, books_reader
from trading import clients
from trading.models import ApiKey
from trading.stream import PrivateStreams

logger = logging.getLogger(__name__)

SIGN_SECONDS = 1.0
SIGN_KEPT_SECONDS = 3600
KEYS_SECONDS = 2.0
STORE_SECONDS = 2.0  # time-out of every word with the store: the lease's renewal must not hang

# Beside books and trades: what happens to markets, for a pause and a settlement are told by no book, and the best
# prices of those that nobody watches.
CHANNELS: tuple[Channel, ...] = ("orderbook_delta", "trade", "market_lifecycle_v2", "ticker")

NO_KEY = "no key is lent to the desk's feed yet: add one on the keys page"


class FeedProcess:
    """One environment's feed."""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self.exchange = settings.EXCHANGES[environment]
        self._redis = Redis.from_url(
            settings.REDIS_URL, socket_timeout=STORE_SECONDS, socket_connect_timeout=STORE_SECONDS
        )
        self._connected_with: object = None
        self.quotes = QuoteBoard(environment)
        pace = Pace()
        self._reader = books_reader(environment, pace)
        self.relay = BookRelay(
            environment,
            layer=get_channel_layer(),
            lease=Leadership(self._redis, environment),
            make_feed=self._make_feed,
            look_up=Lookup(environment, partial(ask_markets, self._reader, pace)),
            write_tops=partial(tops.write, environment, store=tops.own_store()),
        )

    async def run(self) -> None:
        """Run until cancelled."""
        # What exists by now stays: the collector need not walk over it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        works = {
            "the feed's sign of life": self._give_signs,
            "the feed's keys": self._follow_keys,
            "the feed's quotes": self.quotes.run,
            "the books' cross-check": CrossCheck(self.relay, self._reader.orderbooks).run,
            "what is looked back at": Keeper(self.relay).run,
            "the private streams": self._follow_orders,
        }
        tasks = [asyncio.create_task(supervise(name, work)) for name, work in works.items()]
        try:
            await self.relay.run()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._reader.close()
            await self._redis.aclose()

    # --- what it connects with -------------------------------------------------------------------

    def _make_feed(self, on_event: Callable[[Any], None]) -> Feed:
        """Return a feed on the lent key, or one that polls and says why there is no key to be used. Blocks."""
        key = self._lent_key()
        self._connected_with = _identity(key)
        if key is None:
            return polled.open_feed(self.environment, on_event=on_event, why=NO_KEY)
        try:
            feed: Feed = clients.feed_client(key, on_event=self._sorted(on_event), channels=CHANNELS)
            return feed
        except clients.CannotUse as exc:
            return polled.open_feed(self.environment, on_event=on_event, why=str(exc))

    def _sorted(self, on_event: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return what takes the feed's events: quotes of all markets need not go through the loop of the books."""

        def take(event: Any) -> None:
            if type(event) is TickerReceived:
                self.quotes.note(event.message)
            else:
                on_event(event)

        return take

    def _lent_key(self) -> ApiKey | None:
        close_old_connections()
        try:
            return ApiKey.objects.filter(environment=self.environment, is_feed=True).first()
        finally:
            close_old_connections()

    async def _follow_keys(self) -> None:
        """Have the feed made anew when another key is lent, or the same one opened again."""
        while True:
            await asyncio.sleep(KEYS_SECONDS)
            if self.relay.lease.is_held and _identity(await asyncio.to_thread(self._lent_key)) != self._connected_with:
                self.relay.renew_feed()

    # --- our own orders --------------------------------------------------------------------------

    async def _follow_orders(self) -> None:
        """Run the private streams from the first reign on until somebody else is known to reign.

        A store that is away ends nothing here: what was filled meanwhile is written down all the same, and twice does
        no harm.
        """
        while not self.relay.lease.is_held:
            await asyncio.sleep(SIGN_SECONDS)
        streams = asyncio.create_task(PrivateStreams(self.environment).run())
        try:
            while not self.relay.lease.is_lost and not streams.done():
                await asyncio.sleep(SIGN_SECONDS)
        finally:
            streams.cancel()
            await asyncio.gather(streams, return_exceptions=True)

    # --- its sign of life ------------------------------------------------------------------------

    async def _give_signs(self) -> None:
        """Say every second that we live and how much came and went; who stands by is silent."""
        while True:
            if self.relay.lease.is_held:
                await self._sign()
            await asyncio.sleep(SIGN_SECONDS)

    async def _sign(self) -> None:
        sign = json.dumps(self.sign())
        try:
            await self._redis.set(f"{KEY}feed:{self.environment}", sign, ex=SIGN_KEPT_SECONDS)
        except (RedisError, OSError) as exc:
            logger.warning("no sign of life left for the feed: %s", type(exc).__name__)

    def sign(self) -> dict[str, Any]:
        """Return what /status shows of the feed: state and age of the way upstream, markets, hubs, counters."""
        intake, broadcast = self.relay.intake, self.relay.broadcast
        return {
            "as_of": wall_ms(),
            "state": intake.feed_state(),
            "why": intake.upstream.why,
            "heard_ms": None if intake.heard_at is None else monotonic_ms() - intake.heard_at,
            "markets": len(intake.books),
            "hubs": len(broadcast.wishes.hubs),
            "counts": dict(intake.counts + self.relay.counts),
        }


def _identity(key: ApiKey | None) -> object:
    """Return what makes the feed connect anew when it changes."""
    return None if key is None else (key.pk, key.key_id, key.state)
