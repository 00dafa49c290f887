"""Where the catalogue is read: the exchange's public lists over REST, without a key and at a pace of its own.

The exchange names no limit for such calls. We begin well below that of the lowest tier, halve the pace at every refusal
for speed and win it back slowly; no token of any account is spent here. Everything blocks.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from django.conf import settings

from markets.book import bands_of
from markets.kalshi.errors import BadMessage, KalshiError, RateLimited, Rejected, Unavailable
from markets.kalshi.limits import Kind
from markets.kalshi.messages import EventBody, MarketBody, Page, SeriesBody
from markets.kalshi.prices import NotRepresentable
from markets.kalshi.rest import RestClient
from markets.livebook import Listing

logger = logging.getLogger(__name__)

EVENTS_A_PAGE = 200
MARKETS_A_PAGE = 1_000
MARKETS_A_CALL = 100  # by name: their tickers are part of the address
OF_THESE_TICKERS = frozenset({400, 404, 413, 414, 431})  # refusals that others may not get
FASTEST_PER_SECOND = 10.0
SLOWEST_PER_SECOND = 0.5
CALM_READS = 50  # so many reads without a refusal win a step of pace back
ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0

Answer = TypeVar("Answer")


class Pace:
    """How many reads a second we allow ourselves; a `Budget` whose tokens do not matter."""

    def __init__(self, *, pause: Callable[[float], object] = time.sleep) -> None:
        self.per_second = FASTEST_PER_SECOND
        self._pause = pause
        self._next_at = 0.0
        self._calm = 0
        self._lock = threading.Lock()

    def acquire(self, kind: Kind, tokens: int) -> None:
        """Wait for the next turn; each of several threads gets one of its own."""
        with self._lock:
            now = time.monotonic()
            wait = self._next_at - now
            self._next_at = max(now, self._next_at) + 1 / self.per_second
        if wait > 0:
            self._pause(wait)

    def slow_down(self) -> None:
        """Halve the pace: the exchange has refused for speed."""
        self._calm = 0
        self.per_second = max(SLOWEST_PER_SECOND, self.per_second / 2)

    def note_answer(self) -> None:
        """Win back a little after many answers without a refusal."""
        self._calm += 1
        if self._calm >= CALM_READS:
            self._calm = 0
            self.per_second = min(FASTEST_PER_SECOND, self.per_second + 1)


class MarketsReader(Protocol):
    """What is asked of the exchange's REST client to describe markets."""

    def markets(self, *, tickers: Sequence[str]) -> Page[MarketBody]:
        """Return those of the named markets that there are."""


class RestSource:
    """The three lists of one exchange, read without a key. Use as a context manager."""

    def __init__(self, rest_url: str, *, pause: Callable[[float], object] = time.sleep) -> None:
        self.pace = Pace(pause=pause)
        self._pause = pause
        self._client = RestClient(rest_url, budget=self.pace, read_attempts=1)

    def __enter__(self) -> RestSource:
        """Begin to read."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Let go of the connections."""
        self._client.close()

    def series(self, *, changed_since: datetime | None = None) -> Sequence[SeriesBody]:
        """Return the unpaged list of series. Raises KalshiError."""
        return tuple(self._read(self._client.series, min_updated_ts=_seconds(changed_since)))

    def events(
        self, cursor: str, *, status: str | None = None, changed_since: datetime | None = None
    ) -> tuple[Sequence[EventBody], str]:
        """Return one page of events and the cursor of the next. Raises KalshiError."""
        since = _seconds(changed_since)
        page = self._read(self._client.events, cursor=cursor, limit=EVENTS_A_PAGE, status=status, min_updated_ts=since)
        return page.items, page.cursor

    def markets(
        self,
        cursor: str,
        *,
        status: str | None = None,
        changed_since: datetime | None = None,
        tickers: Sequence[str] = (),
    ) -> tuple[Sequence[MarketBody], str]:
        """Return one page of markets without combos, or the named ones, and the cursor. Raises KalshiError."""
        page: Page[MarketBody] = self._read(
            self._client.markets,
            cursor=cursor,
            limit=MARKETS_A_PAGE,
            status=status,
            tickers=tuple(tickers),
            min_updated_ts=_seconds(changed_since),
            mve_filter=None if tickers else "exclude",
        )
        return page.items, page.cursor

    def _read(self, ask: Callable[..., Answer], **query: Any) -> Answer:
        """Ask until there is an answer: slower after a refusal for speed, later after a failure."""
        for attempt in range(ATTEMPTS):
            try:
                answer = ask(**query)
            except RateLimited as exc:
                self.pace.slow_down()
                wait, error = max(exc.retry_after_seconds or 0.0, 1 / self.pace.per_second), exc
            except Unavailable as exc:
                wait, error = FIRST_PAUSE_SECONDS * 2**attempt, exc  # type: ignore[assignment]
            else:
                self.pace.note_answer()
                return answer
            if attempt == ATTEMPTS - 1:
                raise error
            self._pause(min(wait, LONGEST_PAUSE_SECONDS))
        raise AssertionError("unreachable")


def open_source(environment: str) -> RestSource:
    """Return the source of an environment's catalogue."""
    return RestSource(settings.EXCHANGES[environment].rest_url)


def books_reader(environment: str, pace: Pace) -> RestClient:
    """Return a client for an environment's public books; whoever asks again and again repeats nothing at once."""
    exchange = settings.EXCHANGES[environment]
    return RestClient(exchange.rest_url, budget=pace, hosts=exchange.hosts, timeout=(3.0, 5.0), read_attempts=1)


def ask_markets(reader: MarketsReader, pace: Pace, tickers: Sequence[str]) -> dict[str, Listing | None]:
    """Ask the exchange for these markets: None where there is none; those whose answer cannot be used are left out.

    One call a hundred; what one ticker spoils is found by halves. A refusal for speed slows `pace` down, and ends the
    asking like any failure: what was not asked for yet is left out too.
    """
    found: dict[str, Listing | None] = {}
    try:
        for start in range(0, len(tickers), MARKETS_A_CALL):
            _ask_into(found, reader, tickers[start : start + MARKETS_A_CALL])
            pace.note_answer()
    except KalshiError as exc:
        if isinstance(exc, RateLimited):
            pace.slow_down()
        logger.warning("markets could not be asked for: %s", type(exc).__name__)
    return found


def _ask_into(found: dict[str, Listing | None], reader: MarketsReader, tickers: Sequence[str]) -> None:
    try:
        page = reader.markets(tickers=tickers)
    except (Rejected, BadMessage) as exc:
        if isinstance(exc, Rejected) and exc.status not in OF_THESE_TICKERS:
            raise
        middle = len(tickers) // 2
        for half in (tickers[:middle], tickers[middle:]) if middle else ():
            _ask_into(found, reader, half)
        return
    found |= dict.fromkeys(tickers)
    found |= {market.ticker: listed(market) for market in page.items if market.ticker in found}


def listed(market: MarketBody) -> Listing:
    """Return what the relay needs of a market's body. Only the catalogue knows replays, so none is taken for one."""
    return Listing(
        ticker=market.ticker,
        status=market.status,
        close_ms=int(market.close_at.timestamp() * 1000) if market.close_at else None,
        bands=_bands(market),
        as_of_ms=time.time_ns() // 1_000_000,
    )


def _bands(market: MarketBody) -> Any:
    try:
        return bands_of(market.bands)
    except NotRepresentable:
        return None


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
