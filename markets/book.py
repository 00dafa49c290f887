"""One market's order book in whole numbers, folded from a snapshot and signed changes.

Both sides stand on the YES scale: a NO bid at `n` is an ask at `10000 − n`. Prices are integers of $0.0001, sizes
integers of 0.01 contract. The book refuses what cannot be true and never repairs it; the order of messages (`seq`) is
the feed's business. Source: Kalshi trade API v2, WebSocket channel `orderbook_delta`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from functools import lru_cache
from typing import NamedTuple

DOLLAR = 10_000

Level = tuple[int, int]  # (price, size)
Levels = Sequence[Level]
Band = tuple[int, int, int]  # (start, end, step): a band's edge is on the band's grid
Bands = tuple[Band, ...]


class BookError(Exception):
    """A message that cannot be true for this book; the book is as it was before."""


class NegativeLevel(BookError):
    """A level would hold less than nothing: a message was lost."""


class OffGrid(BookError):
    """A price between the ticks of the market, or outside 0 and $1.

    `prices`: all those between the ticks of a snapshot that is right otherwise; an order may rest there since the grid
    was another.
    """

    def __init__(self, reason: str, prices: frozenset[int] = frozenset()) -> None:
        super().__init__(reason)
        self.prices = prices


class OffGridWord(NamedTuple):
    """The prices off the grid that a snapshot showed, and which message it was: connection, sid, seq."""

    message: tuple[int, int, int]
    prices: frozenset[int]

    def repeats(self, before: OffGridWord | None) -> bool:
        """Say whether another message, the one before, showed all of these too."""
        if before is None or before.message == self.message or not self.prices:
            return False
        return self.prices <= before.prices


@lru_cache(maxsize=64)
def grid_prices(bands: Bands) -> frozenset[int]:
    """Return every price on the grid, strictly between 0 and $1."""
    prices: set[int] = set()
    for start, end, step in bands:
        prices.update(range(start, end + 1, step))
    return frozenset(price for price in prices if 0 < price < DOLLAR)


_ANY_PRICE = frozenset(range(1, DOLLAR))


class OrderBook:
    """Price → size of both sides, with the best price of each kept at hand."""

    __slots__ = ("asks", "best_ask", "best_bid", "bids", "prices")

    def __init__(self, bands: Bands | None = None) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.best_bid: int | None = None
        self.best_ask: int | None = None
        self.prices = _ANY_PRICE
        self.set_grid(bands)

    def set_grid(self, bands: Bands | None, *, keep: bool = False) -> None:
        """Accept new levels at these prices only; no bands accept every $0.0001.

        `keep` accepts the earlier prices too: when a grid changes while the market is open, resting orders stay.
        """
        prices = grid_prices(bands) if bands else _ANY_PRICE
        self.prices = prices | self.prices if keep else prices

    def accept(self, prices: frozenset[int]) -> None:
        """Accept new levels at these prices too, which must be inside the dollar."""
        self.prices |= prices

    def apply_snapshot(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Replace both sides with absolute sizes.

        Raises NegativeLevel for a size that is not positive, OffGrid for a price the grid lacks, BookError for a price
        that comes twice, and leaves the book as it was.
        """
        new_bids, new_asks = self._checked(bids), self._checked(asks)
        self._check_grid(new_bids.keys() | new_asks.keys())
        self.bids, self.asks = new_bids, new_asks
        self.best_bid = max(new_bids, default=None)
        self.best_ask = min(new_asks, default=None)

    def apply_delta(self, is_bid: bool, price: int, change: int) -> int:
        """Add a signed change to one level and return its new size; a level that reaches zero goes.

        Raises NegativeLevel or OffGrid and leaves the book as it was.
        """
        side = self.bids if is_bid else self.asks
        old = side.get(price)
        if old is None:
            if price not in self.prices:
                raise OffGrid(f"{price} is not a price of this market")
            old = 0
        size = old + change
        if size < 0:
            raise NegativeLevel(f"{old} {change:+d} at {price}")
        if size:
            side[price] = size
            self._raise_best(is_bid, price)
        elif old:
            del side[price]
            self._lower_best(is_bid, price)
        return size

    @property
    def is_crossed(self) -> bool:
        """Say whether somebody bids as much as somebody asks: true for instants only, in a book that is right."""
        return self.best_bid is not None and self.best_ask is not None and self.best_bid >= self.best_ask

    def levels(self, is_bid: bool) -> list[Level]:
        """Return one side, best price first."""
        return sorted((self.bids if is_bid else self.asks).items(), reverse=is_bid)

    def _checked(self, levels: Iterable[Level]) -> dict[int, int]:
        side: dict[int, int] = {}
        for price, size in levels:
            if size <= 0:
                raise NegativeLevel(f"{size} at {price} in a snapshot")
            if price in side:
                raise BookError(f"{price} comes twice in a snapshot")
            side[price] = size
        return side

    def _check_grid(self, prices: Set[int]) -> None:
        off_grid = frozenset(prices - self.prices)
        if off_grid:
            between = off_grid if off_grid <= _ANY_PRICE else frozenset[int]()
            raise OffGrid(f"{min(off_grid)} is not a price of this market", between)

    def _raise_best(self, is_bid: bool, price: int) -> None:
        if is_bid:
            if self.best_bid is None or price > self.best_bid:
                self.best_bid = price
        elif self.best_ask is None or price < self.best_ask:
            self.best_ask = price

    def _lower_best(self, is_bid: bool, price: int) -> None:
        if is_bid:
            if price == self.best_bid:
                self.best_bid = max(self.bids, default=None)
        elif price == self.best_ask:
            self.best_ask = min(self.asks, default=None)


def bands_of(ranges: Sequence[Sequence[int]] | None) -> Bands | None:
    """Return bands from the catalogue's `[[start, end, step], …]`; None where there are none or they make no sense."""
    bands = tuple((int(start), int(end), int(step)) for start, end, step in ranges or ())
    if not bands or any(step <= 0 or not 0 <= start <= end <= DOLLAR for start, end, step in bands):
        return None
    return bands
