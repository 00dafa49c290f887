"""Candles of a market: minutes from trades and quotes, added up on reading.

Source: Kalshi trade API v2, `GET /series/{s}/markets/{t}/candlesticks`: a candle is named by its end.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from markets.sandbox.numbers import DOLLAR, SECOND, rounded_ratio
from markets.sandbox.statistics import Minute, Statistics

_NUMBER = attrgetter("number")


@dataclass(frozen=True, slots=True)
class Ohlc:
    """First, lowest, highest and last of a period."""

    open: int
    low: int
    high: int
    close: int


@dataclass(frozen=True, slots=True)
class Candle:
    """One period. `price` and `mean` are None when nothing traded, `previous` before any earlier trade."""

    end_s: int
    bid: Ohlc
    ask: Ohlc
    price: Ohlc | None
    mean: int | None
    previous: int | None
    volume: int
    open_interest: int


def candles(
    statistics: Statistics, opened_us: int, now_us: int, *, start_s: int, end_s: int, minutes: int, include_latest: bool
) -> list[Candle]:
    """Return the candles whose end lies in start … end, oldest first; a quiet period repeats the quote before it.

    Nothing before the market opened and nothing that has not begun is shown. `include_latest` puts the state at
    `start_s` in front, as a candle without trades.
    """
    kept, period_s = list(statistics.minutes), minutes * 60
    now_s, opened_s = now_us // SECOND, opened_us // SECOND
    first = max(-(-start_s // period_s), opened_s // period_s + 1) * period_s
    last = min(end_s, (now_s // period_s + 1) * period_s)
    found = [_candle(kept, end, minutes) for end in range(first, last + 1, period_s)]
    if include_latest and start_s > opened_s:
        found.insert(0, _candle(kept, start_s // 60 * 60, 0))
    return found


def _candle(kept: Sequence[Minute], end_s: int, minutes: int) -> Candle:
    end = end_s // 60
    begin = end - minutes
    inside = kept[bisect_left(kept, begin, key=_NUMBER) : bisect_left(kept, end, key=_NUMBER)]
    index = bisect_right(kept, begin - 1, key=_NUMBER)
    before = kept[index - 1] if index else Minute(0, *(0,) * 4, *(DOLLAR,) * 4)
    traded = [minute for minute in inside if minute.volume]
    volume = sum(minute.volume for minute in traded)
    latest = inside[-1] if inside else before
    return Candle(
        end_s=end_s,
        bid=_bids(before, inside),
        ask=_asks(before, inside),
        price=_prices(traded) if traded else None,
        mean=rounded_ratio(sum(minute.notional for minute in traded), volume) if volume else None,
        previous=before.last_price or None,
        volume=volume,
        open_interest=latest.open_interest,
    )


def _bids(before: Minute, inside: Sequence[Minute]) -> Ohlc:
    lows, highs = [minute.bid_low for minute in inside], [minute.bid_high for minute in inside]
    close = inside[-1].bid if inside else before.bid
    return Ohlc(before.bid, min([before.bid, *lows]), max([before.bid, *highs]), close)


def _asks(before: Minute, inside: Sequence[Minute]) -> Ohlc:
    lows, highs = [minute.ask_low for minute in inside], [minute.ask_high for minute in inside]
    close = inside[-1].ask if inside else before.ask
    return Ohlc(before.ask, min([before.ask, *lows]), max([before.ask, *highs]), close)


def _prices(traded: Sequence[Minute]) -> Ohlc:
    low, high = min(minute.low for minute in traded), max(minute.high for minute in traded)
    return Ohlc(traded[0].open, low, high, traded[-1].close)
