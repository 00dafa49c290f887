"""The trading floor: everything the exchange knows, and the few acts every operation shares."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from markets.sandbox.accounts import Member, Position
from markets.sandbox.book import Book
from markets.sandbox.catalogue import Event, Market, Series
from markets.sandbox.clockwork import Clock, Timers
from markets.sandbox.events import ExchangeEvent
from markets.sandbox.fees import fee_rates
from markets.sandbox.numbers import DOLLAR
from markets.sandbox.orders import Group, Order
from markets.sandbox.refusals import not_found
from markets.sandbox.rules import Rules
from markets.sandbox.statistics import Statistics, Trade

SHARDS = (0, 1, 2, 3)


class Floor:
    """State of one exchange. `now` is the engine's time: of the operation, or of the timer that is being served."""

    def __init__(self, clock: Clock, rng: random.Random, rules: Rules, run_due: Callable[[Floor, int], None]) -> None:
        self.clock = clock
        self.rng = rng
        self.rules = rules
        self._run_due = run_due
        self.now = 0
        self.priority = 0
        self.listeners: list[Callable[[ExchangeEvent], None]] = []
        self.series: dict[str, Series] = {}
        self.events: dict[str, Event] = {}
        self.markets: dict[str, Market] = {}
        self.books: dict[str, Book] = {}
        self.holders: dict[str, dict[tuple[str, int], None]] = {}  # ticker → (member, subaccount) that traded it
        self.members: dict[str, Member] = {}
        self.orders: dict[str, Order] = {}
        self.groups: dict[str, Group] = {}
        self.timers = Timers()
        self.trades: deque[Trade] = deque(maxlen=rules.trades_kept)  # of all markets, oldest first
        self.paused: set[int] = set()  # shards in a trading pause
        self.stopped: set[int] = set()  # shards in an exchange pause
        self.fees_collected = 0

    def begin(self) -> int:
        """Start an operation: do what is due and return the engine's time."""
        now = self.clock.now_us()
        heap = self.timers.heap
        if heap and heap[0][0] <= now:
            self._run_due(self, now)
        self.now = now
        return now

    def emit(self, event: ExchangeEvent) -> None:
        """Tell every listener."""
        for listener in self.listeners:
            listener(event)

    def new_id(self) -> str:
        """Return a UUID4 from the seeded generator."""
        digits = f"{self.rng.getrandbits(128):032x}"
        variant = "89ab"[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"

    def next_priority(self) -> int:
        """Return a number above all earlier ones."""
        self.priority += 1
        return self.priority

    def market(self, ticker: str) -> Market:
        """Return a market or raise the 404."""
        market = self.markets.get(ticker)
        if market is None:
            raise not_found()
        return market

    def open_book(self, market: Market) -> Book:
        """Give a new market its empty book."""
        statistics = Statistics(trades_kept=self.rules.trades_kept, minutes_kept=self.rules.minutes_kept)
        event = self.events[market.event_ticker]
        rates = fee_rates(self.series[event.series_ticker], event, market, self.rules.flat_fee)
        book = self.books[market.ticker] = Book(market.ticker, market.bands, rates, statistics)
        self.holders[market.ticker] = {}
        return book

    def note_quote(self, book: Book) -> None:
        """Keep the best prices for the candles when an operation changed them."""
        bids, asks, statistics = book.bids.ranks, book.asks.ranks, book.statistics
        bid, ask = bids[-1] if bids else 0, -asks[-1] if asks else DOLLAR
        if bid != statistics.bid or ask != statistics.ask:
            statistics.quote(bid, ask, self.now)

    def held(self, order: Order) -> int:
        """Return the signed position an order of that sub-account starts from."""
        position = self.members[order.member_id].positions.get((order.subaccount, order.ticker))
        return position.count if position else 0

    def position(self, member: Member, subaccount: int, market: Market) -> Position:
        """Return what a sub-account holds in a market, beginning with nothing."""
        key = (subaccount, market.ticker)
        position = member.positions.get(key)
        if position is None:
            position = Position(market.ticker, market.event_ticker, market.exchange_index, subaccount)
            member.positions[key] = position
            self.holders[market.ticker][member.member_id, subaccount] = None
        return position
