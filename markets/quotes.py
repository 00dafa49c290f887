"""Best prices of every market that trades, watched or not, kept apart from the catalogue's rows, each with its own age.

The exchange's `ticker` channel, asked for without a market, tells of all markets, each at most about once a second. The
feed writes what changed in batches to one hash of the store; any process reads. Prices are integers of $0.0001 on the
YES scale, sizes integers of 0.01 contract. Source: Kalshi trade API v2, WebSocket channel `ticker`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec
from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from markets.kalshi.clock import wall_ms
from markets.kalshi.messages import TickerTick

logger = logging.getLogger(__name__)

WRITE_SECONDS = 0.2
SWEEP_SECONDS = 3_600.0
KEPT_MS = 24 * 3_600_000
STORE_SECONDS = 2.0
FIELDS_A_LOOK = 1_000


class Quote(msgspec.Struct, frozen=True, array_like=True):
    """What the exchange said last of a market; None where it said nothing. `as_of_ms` is when it came to us."""

    bid: int | None
    bid_size: int | None
    ask: int | None
    ask_size: int | None
    last: int | None
    volume: int | None
    open_interest: int | None
    ts_ms: int | None
    as_of_ms: int

    def age_ms(self, now_ms: int) -> int:
        """Return how old this knowledge is."""
        return max(0, now_ms - self.as_of_ms)


_decode = msgspec.json.Decoder(Quote).decode
_encode = msgspec.json.Encoder().encode


class QuoteBoard:
    """The quotes that were not written yet. `note` is for the feed's thread, the rest for whoever writes."""

    def __init__(self, environment: str, *, store: Redis | None = None, clock: Callable[[], int] = wall_ms) -> None:
        self.environment = environment
        self.written = 0
        self._store = store
        self._clock = clock
        self._new: dict[str, tuple[TickerTick, int]] = {}
        self._lock = threading.Lock()

    def note(self, tick: TickerTick) -> None:
        """Take one frame; the newest of a market is the one that is written. Never blocks."""
        with self._lock:
            self._new[tick.ticker] = (tick, self._clock())

    def flush(self) -> int:
        """Write what is new in one round trip and return how many; what a store that is away misses is kept."""
        with self._lock:
            new, self._new = self._new, {}
        if not new:
            return 0
        encoded: Any = {ticker: _encode(_quote(tick, at)) for ticker, (tick, at) in new.items()}
        try:
            (self._store or _store()).hset(_key(self.environment), mapping=encoded)
        except (RedisError, OSError):
            with self._lock:
                self._new = new | self._new
            raise
        self.written += len(encoded)
        return len(encoded)

    async def run(self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Write five times a second, and forget once an hour what nobody has spoken of for a day."""
        swept_at = time.monotonic()
        while True:
            await sleep(WRITE_SECONDS)
            try:
                if self._new:
                    await asyncio.to_thread(self.flush)
                if time.monotonic() - swept_at > SWEEP_SECONDS:
                    swept_at = time.monotonic()
                    await asyncio.to_thread(sweep, self.environment, store=self._store)
            except (RedisError, OSError) as exc:
                logger.warning("quotes could not be written: %s", type(exc).__name__)


def read_many(environment: str, tickers: Iterable[str], *, store: Redis | None = None) -> dict[str, Quote]:
    """Return the quotes of those markets that have one, of whatever age; none where the store is away. Blocks."""
    wanted = list(tickers)
    if not wanted:
        return {}
    try:
        found: Any = (store or _store()).hmget(_key(environment), wanted)
    except (RedisError, OSError):
        return {}
    return {ticker: _decode(encoded) for ticker, encoded in zip(wanted, found, strict=True) if encoded is not None}


def read_all(environment: str, *, store: Redis | None = None) -> Iterator[tuple[str, Quote]]:
    """Yield every market's quote, in no order. Blocks for a round trip a thousand. Raises RedisError."""
    for ticker, encoded in (store or _store()).hscan_iter(_key(environment), count=FIELDS_A_LOOK):
        yield ticker.decode(), _decode(encoded)


def sweep(environment: str, *, store: Redis | None = None, now_ms: int | None = None) -> int:
    """Forget the quotes of markets that were not spoken of for a day; return how many. Raises RedisError."""
    now = wall_ms() if now_ms is None else now_ms
    old = [ticker for ticker, quote in read_all(environment, store=store) if quote.age_ms(now) > KEPT_MS]
    for start in range(0, len(old), FIELDS_A_LOOK):
        (store or _store()).hdel(_key(environment), *old[start : start + FIELDS_A_LOOK])
    return len(old)


def _quote(tick: TickerTick, at: int) -> Quote:
    return Quote(
        bid=tick.bid_units,
        bid_size=tick.bid_size_units,
        ask=tick.ask_units,
        ask_size=tick.ask_size_units,
        last=tick.price_units,
        volume=tick.volume_units,
        open_interest=tick.open_interest_units,
        ts_ms=tick.ts_ms,
        as_of_ms=at,
    )


def _key(environment: str) -> str:
    return f"kalshiweb:quotes:{environment}"


def _store() -> Redis:
    return _connect(settings.REDIS_URL)


@lru_cache(maxsize=4)
def _connect(url: str) -> Redis:
    return Redis.from_url(url, socket_timeout=STORE_SECONDS, socket_connect_timeout=STORE_SECONDS)
