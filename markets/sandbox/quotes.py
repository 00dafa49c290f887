"""What the public sees of a market: best prices, sizes, volumes, the book and the trades."""

from __future__ import annotations

from dataclasses import dataclass

from markets.sandbox.book import Side
from markets.sandbox.floor import Floor
from markets.sandbox.numbers import DOLLAR
from markets.sandbox.statistics import Trade

__all__ = ["BookView", "Quote", "Trade", "book_view", "quote", "trades"]


@dataclass(frozen=True, slots=True)
class Quote:
    """The numbers of the market object. A missing bid is 0, a missing ask is 10000 ($1), both with size 0."""

    ticker: str
    bid: int
    bid_size: int
    ask: int
    ask_size: int
    last_price: int
    last_count: int
    previous_bid: int
    previous_ask: int
    previous_price: int
    volume: int
    volume_24h: int
    open_interest: int
    ts_us: int


@dataclass(frozen=True, slots=True)
class BookView:
    """Both sides on the YES scale, best price first: (price, size). `clock` 0 is a book nothing ever happened to."""

    ticker: str
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    clock: int


def _best(side: Side, missing: int) -> tuple[int, int]:
    price = side.best()
    return (missing, 0) if price is None else (price, side.levels[price].size)


def quote(floor: Floor, ticker: str) -> Quote:
    """Return the numbers of one market; what was a day ago goes by whole minutes."""
    market, book, now = floor.market(ticker), floor.books[ticker], floor.begin()
    statistics = book.statistics
    statistics.age(now)
    bid, ask, ago = _best(book.bids, 0), _best(book.asks, DOLLAR), statistics.day_ago
    return Quote(
        ticker,
        *bid,
        *ask,
        market.last_price,
        market.last_count,
        previous_bid=ago.bid if ago else 0,
        previous_ask=ago.ask if ago else DOLLAR,
        previous_price=ago.last_price if ago else 0,
        volume=market.volume,
        volume_24h=statistics.day_volume,
        open_interest=market.open_interest,
        ts_us=now,
    )


def _levels(side: Side, depth: int) -> tuple[tuple[int, int], ...]:
    prices = side.prices()
    return tuple((price, side.levels[price].size) for price in (prices[:depth] if depth else prices))


def book_view(floor: Floor, ticker: str, depth: int) -> BookView:
    """Return the best levels of each side."""
    floor.market(ticker)
    floor.begin()
    book = floor.books[ticker]
    return BookView(ticker, _levels(book.bids, depth), _levels(book.asks, depth), book.clock)


def trades(floor: Floor, ticker: str, *, min_us: int | None, max_us: int | None) -> list[Trade]:
    """Return kept trades, newest first; an unknown ticker has none."""
    if ticker and ticker not in floor.books:
        return []
    kept = floor.books[ticker].statistics.trades if ticker else floor.trades
    return [
        trade
        for trade in reversed(kept)
        if (min_us is None or trade.ts_us >= min_us) and (max_us is None or trade.ts_us <= max_us)
    ]
