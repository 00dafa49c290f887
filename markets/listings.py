"""What the relay knows of a market beside its book: price grid, status, closing time, whether it is a replay.

From the catalogue's row where there is one, or from the exchange itself. Everything here blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db import close_old_connections

from markets.book import Bands, bands_of
from markets.livebook import Listing
from markets.models import Market

logger = logging.getLogger(__name__)

# Returns what the exchange says of these markets: None where there is none; what could not be learned is left out.
AskExchange = Callable[[Sequence[str]], Mapping[str, Listing | None]]


class Lookup:
    """Finds listings of one environment. Safe to call from any thread."""

    def __init__(self, environment: str, ask_exchange: AskExchange | None = None) -> None:
        self.environment = environment
        self._ask_exchange = ask_exchange

    def __call__(self, tickers: Iterable[str], *, fresh: bool = False) -> dict[str, Listing | None]:
        """Return the listings of those markets that the catalogue has; `fresh` asks the exchange first, of all at once.

        None where the exchange says that there is no such market; one of which nothing could be learned is left out.
        """
        close_old_connections()
        try:
            wanted = list(tickers)
            known = self._from_catalogue(wanted)
            if self._ask_exchange is None:
                return dict.fromkeys(wanted) | known
            asked = self._from_exchange(wanted) if fresh else {}
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
        assert self._ask_exchange is not None  # noqa: S101 - its caller has looked
        try:
            return dict(self._ask_exchange(tickers))
        except Exception as exc:
            logger.warning("%s markets could not be asked for: %s", len(tickers), type(exc).__name__)
            return {}


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
