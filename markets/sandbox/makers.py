"""Seeded life: quotes that follow a wandering opinion, and takers that trade with them and now and then with members.

Every choice comes from one generator, so the same seed and the same steps give the same market.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import lru_cache

from markets.sandbox.accounts import Member
from markets.sandbox.catalogue import Market
from markets.sandbox.grid import Bands, grid_prices
from markets.sandbox.listing import Listing
from markets.sandbox.numbers import CONTRACT, DOLLAR, MONEY
from markets.sandbox.orders import NewOrder, Order, TimeInForce
from markets.sandbox.refusals import Refusal
from markets.sandbox.venue import Venue

HOUSE_MONEY = 10**9 * MONEY
LEVELS = 12
STEP_SECONDS = 0.1
ACTIONS_A_STEP = 4
TRADE_SHARE = 0.25
# One of a member's orders is met about this often, a few contracts at a time.
MEMBER_SHARE = 0.01
MOST_TO_MEMBER = 5
LOWEST, HIGHEST = 150, DOLLAR - 150
CANDIDATE_LEVELS = 400


@dataclass(slots=True)
class Opinion:
    """What the house thinks of one market: a price that wanders, a spread in ticks, and how lively it is."""

    price: float
    spread: int
    pull: float
    weight: float
    home: float
    orders: dict[int, list[str]] = field(default_factory=dict)  # price → resting quotes, + for bids and − for asks


@lru_cache(maxsize=32)
def ladder(bands: Bands) -> tuple[int, ...]:
    """Return the prices of a grid in order; of a very fine one only those on $0.001, so that books have depth."""
    prices = sorted(grid_prices(bands))
    if len(prices) > 2000:
        prices = [price for price in prices if price % 10 == 0]
    return tuple(prices)


class Makers:
    """The house: one member that quotes and one that takes, both quiet and rich."""

    def __init__(self, venue: Venue, listing: Listing, *, seed: int = 0) -> None:
        self._venue = venue
        self._listing = listing
        self._rng = random.Random(f"makers {seed}")
        self._quoter = self._member("house quotes")
        self._taker = self._member("house takes")
        self._opinions: dict[str, Opinion] = {}
        listing.fair = self.fair

    def _member(self, name: str) -> Member:
        exchange = self._venue.exchange
        known = self._venue.member_named(name)
        member = known or exchange.add_member(name, is_quiet=True)
        for index in range(4):
            missing = HOUSE_MONEY - member.balances.get((0, index), 0)
            if missing > HOUSE_MONEY // 2:
                exchange.deposit(member.member_id, missing, exchange_index=index)
        return member

    def begin(self) -> None:
        """Quote every market in full, after taking back whatever an earlier run left."""
        self._venue.exchange.cancel_all(self._quoter.member_id)
        for market in self._listing.traded():
            self._quote(market, self.opinion(market))

    def fair(self, ticker: str) -> int:
        """Return what the house thinks a market is worth, in $0.0001."""
        opinion = self._opinions.get(ticker)
        return round(opinion.price) if opinion is not None else self._listing.first_price.get(ticker, DOLLAR // 2)

    # --- one step ------------------------------------------------------------------------------------

    def step(self) -> None:
        """Let a few markets move; called about ten times a second."""
        markets = list(self._listing.traded())
        if not markets:
            return
        weights = [self.opinion(market).weight for market in markets]
        for market in self._rng.choices(markets, weights, k=ACTIONS_A_STEP):
            self._move(market, self.opinion(market))
        if self._rng.random() < MEMBER_SHARE:
            self._meet_a_member()

    def _move(self, market: Market, opinion: Opinion) -> None:
        rng = self._rng
        opinion.price += rng.gauss(0, 25) + opinion.pull * (opinion.home - opinion.price)
        opinion.price = min(max(opinion.price, LOWEST), HIGHEST)
        if rng.random() < TRADE_SHARE:
            self._trade(market)
        self._quote(market, opinion)

    def _trade(self, market: Market) -> None:
        """Take a little of the best level of one side, or sweep two or three."""
        rng = self._rng
        is_bid = rng.random() < 0.5
        view = self._venue.exchange.book(market.ticker, depth=3)
        levels = view.asks if is_bid else view.bids
        if not levels:
            return
        price = levels[-1 if rng.random() < 0.1 else 0][0]
        count = rng.choice((100, 200, 500, 1000, 2500, 750, 125))
        self.take(market.ticker, is_bid=is_bid, price=price, count=count)

    def take(self, ticker: str, *, is_bid: bool, price: int, count: int) -> int:
        """Trade at once up to `price` and return the count that matched."""
        new = NewOrder(ticker, is_bid, count, price, time_in_force=TimeInForce.IOC)
        try:
            return self._venue.exchange.create_order(self._taker.member_id, new).filled
        except Refusal:
            return 0

    def take_from_members(self, ticker: str, *, is_bid: bool, price: int, count: int) -> int:
        """Trade at once up to `price` with the members alone: the house's own quotes there step aside first."""
        for order in self._venue.exchange.orders(self._quoter.member_id, tickers=[ticker]):
            is_in_reach = order.price <= price if is_bid else order.price >= price
            if order.is_bid != is_bid and is_in_reach:
                self.cancel(order.order_id, ticker)
        return self.take(ticker, is_bid=is_bid, price=price, count=count)

    def _meet_a_member(self) -> None:
        """Trade with one of the members' resting orders, if it is the best of its side."""
        resting = [
            order
            for member in self._venue.exchange.members.values()
            if not member.is_quiet
            for order in self._resting(member)
        ]
        if not resting:
            return
        order = self._rng.choice(resting)
        quote = self._venue.exchange.quote(order.ticker)
        if order.price == (quote.bid if order.is_bid else quote.ask):
            count = min(order.remaining, self._rng.randint(1, MOST_TO_MEMBER) * CONTRACT)
            self.take(order.ticker, is_bid=not order.is_bid, price=order.price, count=count)

    def _resting(self, member: Member) -> list[Order]:
        ids = set(member.resting_ids)
        return (
            [order for order in self._venue.exchange.orders(member.member_id) if order.order_id in ids] if ids else []
        )

    # --- quotes ----------------------------------------------------------------------------------------

    def opinion(self, market: Market) -> Opinion:
        """Return what the house thinks of a market."""
        found = self._opinions.get(market.ticker)
        if found is None:
            rng = self._rng
            home = float(min(max(self._listing.first_price.get(market.ticker, DOLLAR // 2), LOWEST), HIGHEST))
            # A few markets are lively, most are not.
            weight = rng.choice((8.0, 4.0, 2.0, 1.0, 1.0, 0.5))
            found = Opinion(home, spread=rng.choice((1, 1, 2, 3)), pull=0.002, weight=weight, home=home)
            self._opinions[market.ticker] = found
        return found

    def _quote(self, market: Market, opinion: Opinion) -> None:
        """Bring the resting quotes to where the opinion is: cancel what is out of place, add what is missing."""
        prices = ladder(market.bands)
        resting = self._quoter.resting_ids
        below = bisect_right(prices, round(opinion.price) - 1) - (opinion.spread // 2)
        above = bisect_left(prices, round(opinion.price) + 1) + (opinion.spread - 1) // 2
        wanted = set(prices[max(0, below - LEVELS) : max(0, below)])
        wanted |= {-price for price in prices[above : above + LEVELS]}
        for key in list(opinion.orders):
            alive = [order_id for order_id in opinion.orders[key] if order_id in resting]
            opinion.orders[key] = alive
            if key not in wanted or not alive:
                for order_id in alive:
                    self.cancel(order_id, market.ticker)
                del opinion.orders[key]
        for key in sorted(
            wanted - opinion.orders.keys(), key=lambda key: (key < 0, -abs(key) if key > 0 else abs(key))
        ):
            self._rest(market, opinion, key)

    def _rest(self, market: Market, opinion: Opinion, key: int) -> None:
        distance = abs(abs(key) - opinion.price) / 100
        count = self._rng.randint(5, 60) * CONTRACT + round(distance * 20) * CONTRACT
        if self._rng.random() < 0.15:
            count += self._rng.randint(1, 99)  # fractional counts are every sixth change of the real exchange
        resting = self.rest(NewOrder(market.ticker, key > 0, count, abs(key), post_only=True))
        if resting:
            opinion.orders[key] = resting

    def rest(self, new: NewOrder) -> list[str]:
        """Quote once and return the order's id; nothing where a member's order stands in the way."""
        try:
            return [self._venue.exchange.create_order(self._quoter.member_id, new).order_id]
        except Refusal:
            return []

    def cancel(self, order_id: str, ticker: str) -> None:
        """Take a quote back; one that is gone already is no matter."""
        try:
            self._venue.exchange.cancel_order(self._quoter.member_id, order_id, ticker=ticker)
        except Refusal:
            return
