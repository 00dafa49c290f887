"""The day before the doors open: a new exchange has traded already, so that nobody meets a dead one.

Nothing is made up beside the engine: the house quotes and takes at moments of the last day, in their order, and every
volume, candle, trade, open interest and previous price follows from that, contracts and cash conserved.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from markets.sandbox.catalogue import Market
from markets.sandbox.listing import DAY_US, HOUR_US, MINUTE_US
from markets.sandbox.makers import HIGHEST, LOWEST, Makers, Opinion, ladder
from markets.sandbox.numbers import CONTRACT
from markets.sandbox.orders import NewOrder
from markets.sandbox.venue import VenueClock

# Beyond a day, so that the prices of a day ago are there too.
LASTS_US = DAY_US + 2 * HOUR_US
TRADES = 4000  # of all markets together: two tenths of a second at the pace of the engine
TRADES_AN_OPINION = 3
QUOTED = 5000 * CONTRACT
COUNTS = tuple(count * CONTRACT for count in (5, 10, 25, 40, 100, 250, 1000))
BUYERS_SHARE = 0.6  # those who buy YES are more, else nobody would hold anything in the end


@contextmanager
def lived(clock: VenueClock) -> Iterator[int]:
    """Yield the present, and let the engine's clock stand a day before it until the block ends."""
    present = clock.begin_in_the_past(LASTS_US)
    yield present
    clock.arrive()


@dataclass(slots=True)
class _Walk:
    """The way one market's price took, and what is quoted on it."""

    market: Market
    opinion: Opinion
    price: float
    trades: int = 0
    quotes: list[str] = field(default_factory=list)


class Past:
    """What the house did in the last day."""

    def __init__(self, makers: Makers, clock: VenueClock, *, seed: int = 0) -> None:
        self._makers = makers
        self._clock = clock
        self._rng = random.Random(f"past {seed}")

    def live(self, markets: list[Market], present: int) -> None:
        """Trade from a day ago up to the present."""
        walks = [self._walk(market) for market in markets]
        for at_us, walk in self._moments(walks, present):
            self._clock.advance(at_us - self._clock.now_us())
            self._trade(walk)
        for walk in walks:
            self._take_back(walk)
            walk.opinion.price = walk.price

    def _walk(self, market: Market) -> _Walk:
        opinion = self._makers.opinion(market)
        return _Walk(market, opinion, opinion.home + self._rng.gauss(0, 400))

    def _moments(self, walks: list[_Walk], present: int) -> list[tuple[int, _Walk]]:
        """Return when which market trades, oldest first; the lively ones more often, and each once at the beginning."""
        began, weight = present - LASTS_US, sum(walk.opinion.weight for walk in walks)
        found = []
        for walk in walks:
            since, until = max(began, walk.market.open_us) + MINUTE_US, present - MINUTE_US
            times = max(3, round(TRADES * walk.opinion.weight / weight * (until - since) / LASTS_US))
            found += [(self._rng.randint(since, until), walk) for _ in range(times)]
            found.append((since + self._rng.randint(0, MINUTE_US), walk))
        return sorted(found, key=lambda moment: moment[0])

    def _trade(self, walk: _Walk) -> None:
        """Move the price and its quotes now and then, and take a little of one side."""
        if walk.trades % TRADES_AN_OPINION == 0:
            walk.price += self._rng.gauss(0, 60) + 0.03 * (walk.opinion.home - walk.price)
            walk.price = min(max(walk.price, LOWEST), HIGHEST)
            self._take_back(walk)
            self._quote(walk)
        walk.trades += 1
        is_bid = self._rng.random() < BUYERS_SHARE
        prices = ladder(walk.market.bands)
        worst = prices[-1] if is_bid else prices[0]
        self._makers.take(walk.market.ticker, is_bid=is_bid, price=worst, count=self._rng.choice(COUNTS))

    def _quote(self, walk: _Walk) -> None:
        prices = ladder(walk.market.bands)
        middle = min(max(bisect_left(prices, round(walk.price)), 1), len(prices) - 1)
        for is_bid, price in ((True, prices[middle - 1]), (False, prices[middle])):
            new = NewOrder(walk.market.ticker, is_bid, QUOTED, price, post_only=True)
            walk.quotes += self._makers.rest(new)

    def _take_back(self, walk: _Walk) -> None:
        for order_id in walk.quotes:
            self._makers.cancel(order_id, walk.market.ticker)
        walk.quotes.clear()
