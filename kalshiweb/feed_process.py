"""What the feed process consists of: the relay, the private streams of the keys, and its sign of life.

It connects with the key that a team lends to the desk. As long as there is none, or none that can be used, books are
read over REST and browsers are told why; every two seconds it looks for a key, and when that changes it connects anew.
A key that is there and could not be opened is tried again now and then: its master key may only come later.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from django.db import close_old_connections
from django.db.models import Max
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
from markets.lookback import Keeper, awaited
from markets.quotes import QuoteBoard
from markets.relay import BookRelay, Feed
from markets.source import Pace, ask_markets, books_reader
from trading import clients
from trading.models import ApiKey, Order
from trading.stream import PrivateStreams

logger = logging.getLogger(__name__)

SIGN_SECONDS = 1.0
SIGN_KEPT_SECONDS = 3600
KEYS_SECONDS = 2.0
OPEN_AGAIN_MS = 15_000
ORDERS_SECONDS = 3.0
ORDERED_MOST = 200  # markets watched for their orders' sake: two calls a second where books are polled
STORE_SECONDS = 2.0  # time-out of every word with the store: the lease's renewal must not hang

# Beside books and trades: what happens to markets, for a pause and a settlement are told by no book, and the best
# prices of those that nobody watches.
CHANNELS: tuple[Channel, ...] = ("orderbook_delta", "trade", "market_lifecycle_v2", "ticker")

NO_KEY = "no key is lent to the desk's feed yet: add one on the keys page"


@dataclass(slots=True)
class Fallback:
    """A feed that polls because its key, which may be used, could not be opened."""

    tried_ms: int


class FeedProcess:
    """One environment's feed."""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self.exchange = settings.EXCHANGES[environment]
        self._redis = Redis.from_url(
            settings.REDIS_URL, socket_timeout=STORE_SECONDS, socket_connect_timeout=STORE_SECONDS
        )
        self._connected_with: object = None
        self._fallback: Fallback | None = None
        self.quotes = QuoteBoard(environment)
        self._pace = Pace()
        self._reader = books_reader(environment, self._pace)
        self.relay = BookRelay(
            environment,
            layer=get_channel_layer(),
            lease=Leadership(self._redis, environment),
            make_feed=self._make_feed,
            look_up=Lookup(environment, partial(ask_markets, self._reader, self._pace)),
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
            "the books' cross-check": CrossCheck(self.relay, self._reader.orderbooks, pace=self._pace).run,
            "what is looked back at": Keeper(self.relay).run,
            "the private streams": self._follow_orders,
            "the books of our orders": self._stand_for_orders,
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
        self._connected_with, self._fallback = _identity(key), None
        if key is None:
            return polled.open_feed(self.environment, on_event=on_event, why=NO_KEY)
        try:
            return self._feed_on(key, on_event)
        except clients.CannotUse as exc:
            if key.is_usable:
                self._fallback = Fallback(monotonic_ms())
            return polled.open_feed(self.environment, on_event=on_event, why=str(exc))

    def _feed_on(self, key: ApiKey, on_event: Callable[[Any], None]) -> Feed:
        """Return an unstarted feed on a key. Raises CannotUse."""
        feed: Feed = clients.feed_client(key, on_event=self._sorted(on_event), channels=CHANNELS)
        return feed

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
        """Have the feed made anew when another key is lent, the same one resumed, or one opens that did not."""
        while True:
            await asyncio.sleep(KEYS_SECONDS)
            if self.relay.lease.is_held and await asyncio.to_thread(self._is_feed_due):
                self.relay.renew_feed()

    def _is_feed_due(self) -> bool:
        """Say whether another feed than the present one can be had. Blocks."""
        key = self._lent_key()
        return _identity(key) != self._connected_with or (key is not None and self._opens_by_now(key))

    def _opens_by_now(self, key: ApiKey) -> bool:
        """Say whether a key opens that could not be opened before; tried seldom, as its service may be in trouble."""
        fallback = self._fallback
        if fallback is None or monotonic_ms() - fallback.tried_ms < OPEN_AGAIN_MS:
            return False
        fallback.tried_ms = monotonic_ms()
        try:
            self._feed_on(key, on_event=_drop)
        except clients.CannotUse:
            return False
        finally:
            close_old_connections()
        return self._fallback is fallback  # else a feed was made meanwhile

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

    async def _stand_for_orders(self) -> None:
        """Have the books of our orders watched, whoever looks at them."""
        while True:
            await asyncio.sleep(ORDERS_SECONDS)
            if self.relay.lease.is_held:
                await self.stand_for_orders()

    async def stand_for_orders(self) -> None:
        """Have the books watched that are to be kept around a fill: where orders work, and until the minute after it.

        An order fills when nobody looks, too; what was not watched by then cannot be kept.
        """
        self.relay.broadcast.wishes.standing = await asyncio.to_thread(self._ordered)

    def _ordered(self) -> frozenset[str]:
        close_old_connections()
        try:
            working = Order.objects.at_risk().filter(account__environment=self.environment)
            latest = working.values("ticker").annotate(at=Max("created_at")).order_by("-at", "ticker")
            tickers = latest.values_list("ticker", flat=True)[:ORDERED_MOST]
            return frozenset(tickers) | awaited(self.environment, wall_ms(), most=ORDERED_MOST)
        finally:
            close_old_connections()

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


def _drop(event: Any) -> None:
    """Take an event of a feed that is never started."""


def _identity(key: ApiKey | None) -> object:
    """Return what makes the feed connect anew when it changes."""
    return None if key is None else (key.pk, key.key_id, key.state)
