"""What a market counts while it trades: minutes with their quotes and trades, the newest trades, the last 24 hours."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from markets.sandbox.numbers import DOLLAR

MINUTE_US = 60 * 1_000_000
DAY_US = 1440 * MINUTE_US


@dataclass(frozen=True, slots=True)
class Trade:
    """One public match at the maker's price."""

    trade_id: str
    ticker: str
    price: int
    count: int
    taker_is_bid: bool
    ts_us: int


@dataclass(slots=True)
class Minute:
    """One minute in which something changed; a price of 0 says that nothing traded. `notional` is Σ price × count."""

    number: int  # minutes since 1970
    bid_open: int
    bid_low: int
    bid_high: int
    bid: int
    ask_open: int
    ask_low: int
    ask_high: int
    ask: int
    open: int = 0
    low: int = 0
    high: int = 0
    close: int = 0
    notional: int = 0
    volume: int = 0
    last_price: int = 0
    open_interest: int = 0

    @property
    def end_us(self) -> int:
        """Return when it ends."""
        return (self.number + 1) * MINUTE_US


class Statistics:
    """One market's counters. `minutes` holds the minutes in which something changed, `recent` those of 24 hours."""

    __slots__ = ("ask", "bid", "day_ago", "day_volume", "last_price", "minutes", "open_interest", "recent", "trades")

    def __init__(self, *, trades_kept: int, minutes_kept: int) -> None:
        self.bid = 0
        self.ask = DOLLAR
        self.last_price = 0
        self.open_interest = 0
        self.minutes: deque[Minute] = deque(maxlen=minutes_kept)
        self.recent: deque[Minute] = deque()
        self.trades: deque[Trade] = deque(maxlen=trades_kept)  # oldest first
        self.day_volume = 0
        self.day_ago: Minute | None = None

    def _minute(self, now_us: int) -> Minute:
        number = now_us // MINUTE_US
        if self.minutes and self.minutes[-1].number == number:
            return self.minutes[-1]
        bid, ask = self.bid, self.ask
        minute = Minute(number, bid, bid, bid, bid, ask, ask, ask, ask)
        minute.last_price, minute.open_interest = self.last_price, self.open_interest
        self.minutes.append(minute)
        self.recent.append(minute)
        return minute

    def quote(self, bid: int, ask: int, now_us: int) -> None:
        """Note the best prices after an operation; a missing bid is 0, a missing ask $1."""
        minute = self._minute(now_us)
        self.bid, self.ask = minute.bid, minute.ask = bid, ask
        minute.bid_low, minute.bid_high = min(minute.bid_low, bid), max(minute.bid_high, bid)
        minute.ask_low, minute.ask_high = min(minute.ask_low, ask), max(minute.ask_high, ask)

    def trade(self, trade: Trade, open_interest: int) -> None:
        """Note one match."""
        self.trades.append(trade)
        minute, price = self._minute(trade.ts_us), trade.price
        if not minute.volume:
            minute.open = minute.low = minute.high = price
        minute.low, minute.high = min(minute.low, price), max(minute.high, price)
        minute.close = minute.last_price = self.last_price = price
        minute.open_interest = self.open_interest = open_interest
        minute.volume += trade.count
        minute.notional += price * trade.count
        self.day_volume += trade.count

    def age(self, now_us: int) -> None:
        """Let go of the minutes that ended a day ago or earlier, remembering the newest of them."""
        while self.recent and self.recent[0].end_us <= now_us - DAY_US:
            self.day_ago = self.recent.popleft()
            self.day_volume -= self.day_ago.volume
