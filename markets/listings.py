"""What the relay knows of a market beside its book: price grid, status, closing time, whether it is a replay.

From the catalogue's row where there is one, else from the exchange itself. Everything here blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from django.db import close_old_connections

from markets.book import Bands, bands_of
from markets.livebook import Listing
from markets.models import Market

logger = logging.getLogger(__name__)

# Returns the description of one market from the exchange, None if there is no such market.
AskExchange = Callable[[str], Listing | None]


class Lookup:
    """Finds listings of one environment. Safe to call from any thread."""

    def __init__(self, environment: str, ask_exchange: AskExchange | None = None) -> None:
        self.environment = environment
        self._ask_exchange = ask_exchange

    def __call__(self, tickers: Iterable[str], *, fresh: bool = False) -> dict[str, Listing | None]:
        """Return each market's listing, None where the exchange says there is none.

        A market that could not be asked for is left out: it is asked for again. `fresh` asks the exchange first.
        """
        close_old_connections()
        try:
            wanted = list(tickers)
            known = self._from_catalogue(wanted)
            asked = self._from_exchange(wanted if fresh else [ticker for ticker in wanted if ticker not in known])
            return (
                asked | known | {ticker: _with_replay(new, known.get(ticker)) for ticker, new in asked.items() if new}
            )
        finally:
            close_old_connections()

    def _from_catalogue(self, tickers: list[str]) -> dict[str, Listing | None]:
        if not tickers:
            return {}
        rows = Market.objects.in_environment(self.environment).filter(ticker__in=tickers)
        return {row.ticker: listing_of(row) for row in rows}

    def _from_exchange(self, tickers: list[str]) -> dict[str, Listing | None]:
        if self._ask_exchange is None:
            return dict.fromkeys(tickers)
        found: dict[str, Listing | None] = {}
        for ticker in tickers:
            try:
                found[ticker] = self._ask_exchange(ticker)
            except Exception as exc:
                logger.warning("market %s could not be asked for: %s", ticker, type(exc).__name__)
        return found


def _with_replay(listing: Listing, known: Listing | None) -> Listing:
    """Keep what only the catalogue knows."""
    return listing if known is None else replace(listing, is_replay=known.is_replay)


def listing_of(market: Market) -> Listing:
    """Return the listing of a catalogue row."""
    return Listing(
        ticker=market.ticker,
        status=market.status,
        close_ms=int(market.close_at.timestamp() * 1000) if market.close_at else None,
        bands=_bands(market.price_ranges),
        is_replay=market.is_replay,
        as_of_ms=int(market.synced_at.timestamp() * 1000),
    )


def _bands(ranges: Any) -> Bands | None:
    try:
        return bands_of(ranges)
    except (TypeError, ValueError):
        return None
