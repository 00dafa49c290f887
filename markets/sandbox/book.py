"""One market's resting orders: price, then time. Bids and asks stand on the YES scale; a NO bid is an ask at 1 − n."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from markets.sandbox.fees import FeeRates
from markets.sandbox.grid import Bands, grid_prices
from markets.sandbox.orders import Order
from markets.sandbox.statistics import Statistics


class Level:
    """The orders at one price, first come first, and how much they are together."""

    __slots__ = ("orders", "size")

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.size = 0


class Side:
    """One side of a book. `ranks` is sorted, the best last: a bid ranks by its price, an ask by minus its price."""

    __slots__ = ("is_bid", "levels", "ranks")

    def __init__(self, is_bid: bool) -> None:
        self.is_bid = is_bid
        self.levels: dict[int, Level] = {}
        self.ranks: list[int] = []

    def best(self) -> int | None:
        """Return the best price, or None when the side is empty."""
        if not self.ranks:
            return None
        return self.ranks[-1] if self.is_bid else -self.ranks[-1]

    def best_within(self, price: int) -> Level | None:
        """Return the best level when an opposite order at `price` would meet it."""
        if not self.ranks:
            return None
        rank = self.ranks[-1]
        if self.is_bid:
            return self.levels[rank] if rank >= price else None
        return self.levels[-rank] if -rank <= price else None

    def add(self, order: Order) -> None:
        """Put an order at the end of its level."""
        level = self.levels.get(order.price)
        if level is None:
            level = self.levels[order.price] = Level()
            rank = order.price if self.is_bid else -order.price
            self.ranks.insert(bisect_left(self.ranks, rank), rank)
        level.orders[order.order_id] = order
        level.size += order.remaining

    def remove(self, order: Order) -> None:
        """Take an order out, with what remains of it."""
        level = self.levels[order.price]
        del level.orders[order.order_id]
        level.size -= order.remaining
        if not level.orders:
            del self.levels[order.price]
            rank = order.price if self.is_bid else -order.price
            del self.ranks[bisect_left(self.ranks, rank)]

    def prices(self) -> list[int]:
        """Return every price that holds something, best first."""
        ranks = reversed(self.ranks)
        return list(ranks) if self.is_bid else [-rank for rank in ranks]

    def walk(self, price: int) -> Iterator[Order]:
        """Yield what an opposite order at `price` would meet, in that order; nothing may change meanwhile."""
        for own in self.prices():
            if own < price if self.is_bid else own > price:
                return
            yield from self.levels[own].orders.values()

    def ahead_of(self, order: Order) -> int:
        """Return the contracts that match before an order: all at better prices, and the earlier ones at its own."""
        better = (price for price in self.levels if (price > order.price if self.is_bid else price < order.price))
        ahead = sum(self.levels[price].size for price in better)
        for other in self.levels[order.price].orders.values():
            if other is order:
                break
            ahead += other.remaining
        return ahead


class Book:
    """Both sides of one market, its rising clock, its grid, what it charges and what it counts."""

    __slots__ = ("asks", "bids", "clock", "fees", "prices", "statistics", "ticker")

    def __init__(self, ticker: str, bands: Bands, fees: FeeRates, statistics: Statistics) -> None:
        self.ticker = ticker
        self.bids = Side(True)
        self.asks = Side(False)
        self.clock = 0
        self.prices = grid_prices(bands)
        self.fees = fees
        self.statistics = statistics

    def side(self, is_bid: bool) -> Side:
        """Return the side an order of that direction rests on."""
        return self.bids if is_bid else self.asks

    def resting(self) -> list[Order]:
        """Return every resting order, bids before asks, best price first, then time."""
        return [*self.bids.walk(0), *self.asks.walk(10_000)]

    def clear(self) -> None:
        """Forget every order."""
        self.bids = Side(True)
        self.asks = Side(False)
