"""What the public sees: quotes, books, trades, volumes and candles."""

from __future__ import annotations

import pytest

from markets.sandbox.candles import Ohlc
from markets.sandbox.refusals import Refusal
from markets.sandbox.rules import Rules
from tests.markets.sandbox.cast import HOUR, IOC, NOW, SECOND, Cast, M, refusal

DAY = 24 * 3600
START = NOW // SECOND  # the first second of an hour and of a minute


@pytest.fixture
def cast() -> Cast:
    return Cast(close_us=NOW + 72 * HOUR)


def trade(cast: Cast, size: str, at: str) -> None:
    cast.ask("bob", size, at)
    cast.bid("ann", size, at)


def test_a_market_nobody_touched_shows_the_conventions_of_nothing(cast: Cast) -> None:
    quote = cast.exchange.quote(M)

    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (0, 0, 10_000, 0)
    assert (quote.last_price, quote.volume, quote.volume_24h, quote.open_interest) == (0, 0, 0, 0)
    assert (quote.previous_bid, quote.previous_ask, quote.previous_price) == (0, 10_000, 0)


def test_a_quote_shows_the_best_level_of_each_side_and_the_last_trade(cast: Cast) -> None:
    trade(cast, "3", "0.50")
    cast.bid("ann", "2", "0.48")
    cast.bid("ann", "5", "0.48")
    cast.bid("ann", "9", "0.47")
    cast.ask("bob", "1", "0.52")

    quote = cast.exchange.quote(M)
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (4800, 700, 5200, 100)
    assert (quote.last_price, quote.last_count, quote.volume, quote.open_interest) == (5000, 300, 300, 300)


def test_a_book_shows_as_many_levels_as_are_asked_for(cast: Cast) -> None:
    for bid, ask in (("0.45", "0.55"), ("0.47", "0.53"), ("0.46", "0.54")):
        cast.bid("ann", "1", bid)
        cast.ask("bob", "1", ask)

    book = cast.exchange.book(M, depth=2)
    assert book.bids == ((4700, 100), (4600, 100))
    assert book.asks == ((5300, 100), (5400, 100))
    assert len(cast.exchange.book(M).bids) == 3
    assert book.clock == 6


def test_an_unknown_market_has_no_book_quote_or_candles_and_no_trades(cast: Cast) -> None:
    for read in (
        lambda: cast.exchange.book("NOWHERE"),
        lambda: cast.exchange.quote("NOWHERE"),
        lambda: cast.exchange.market("NOWHERE"),
        lambda: cast.exchange.candles("NOWHERE", start_s=0, end_s=60, minutes=1),
    ):
        with pytest.raises(Refusal) as error:
            read()
        assert refusal(error) == (404, "not_found", None)
    assert cast.exchange.trades("NOWHERE") == []


def test_trades_come_newest_first_over_all_markets_or_one(cast: Cast) -> None:
    cast.list_market("KXSNOW-M")
    trade(cast, "1", "0.40")
    cast.wait(1)
    cast.ask("bob", "2", "0.41", ticker="KXSNOW-M")
    cast.bid("ann", "2", "0.41", ticker="KXSNOW-M")
    cast.wait(1)
    trade(cast, "3", "0.42")

    assert [found.count for found in cast.exchange.trades()] == [300, 200, 100]
    assert [found.count for found in cast.exchange.trades(M)] == [300, 100]
    assert [found.count for found in cast.exchange.trades(min_us=NOW + SECOND, max_us=NOW + SECOND)] == [200]


def test_only_the_newest_trades_are_kept() -> None:
    cast = Cast(Rules(trades_kept=2))
    for size in ("1", "2", "3"):
        trade(cast, size, "0.40")

    assert [found.count for found in cast.exchange.trades()] == [300, 200]
    assert cast.exchange.quote(M).volume == 600


def test_the_volume_of_a_day_lets_go_of_yesterdays_minutes(cast: Cast) -> None:
    trade(cast, "3", "0.50")
    cast.wait(3600)
    trade(cast, "2", "0.60")
    assert cast.exchange.quote(M).volume_24h == 500

    cast.wait(DAY - 3600)  # the first minute ended 23 h 59 min ago
    assert cast.exchange.quote(M).volume_24h == 500
    cast.wait(60)
    quote = cast.exchange.quote(M)
    assert (quote.volume_24h, quote.volume) == (200, 500)


def test_previous_prices_are_those_of_a_day_ago(cast: Cast) -> None:
    trade(cast, "3", "0.50")
    cast.bid("ann", "1", "0.45")
    cast.ask("bob", "1", "0.55")
    cast.wait(3600)
    trade(cast, "2", "0.52")
    cast.wait(DAY)

    quote = cast.exchange.quote(M)
    assert (quote.previous_bid, quote.previous_ask, quote.previous_price) == (4500, 5500, 5000)
    assert quote.last_price == 5200


# --- candles


def test_a_candle_of_a_minute_shows_quotes_and_trades(cast: Cast) -> None:
    cast.bid("ann", "1", "0.40")
    cast.ask("bob", "5", "0.60")
    cast.wait(60)
    cast.bid("ann", "1", "0.45")
    cast.bid("ann", "2", "0.60", time_in_force=IOC)
    trade(cast, "6", "0.50")

    first, second = cast.exchange.candles(M, start_s=START, end_s=START + 120, minutes=1)

    assert (first.end_s, second.end_s) == (START + 60, START + 120)
    assert (first.bid, first.ask) == (Ohlc(0, 0, 4000, 4000), Ohlc(10_000, 6000, 10_000, 6000))
    assert (first.price, first.mean, first.previous, first.volume) == (None, None, None, 0)
    assert second.bid == Ohlc(4000, 4000, 4500, 4500)
    assert second.ask == Ohlc(6000, 5000, 6000, 6000)
    assert second.price == Ohlc(6000, 5000, 6000, 5000)
    assert (second.mean, second.volume, second.open_interest) == (5250, 800, 800)  # (2 × 0.60 + 6 × 0.50) / 8


def test_a_quiet_minute_repeats_the_quote_and_names_the_price_before(cast: Cast) -> None:
    trade(cast, "6", "0.50")
    cast.bid("ann", "1", "0.40")
    cast.wait(150)

    third = cast.exchange.candles(M, start_s=START + 180, end_s=START + 180, minutes=1)[0]
    assert (third.bid, third.ask) == (Ohlc(4000, 4000, 4000, 4000), Ohlc(10_000, 10_000, 10_000, 10_000))
    assert (third.price, third.previous, third.volume, third.open_interest) == (None, 5000, 0, 600)


def test_hours_and_days_add_minutes_up(cast: Cast) -> None:
    for wait, size, at in ((0, "1", "0.50"), (1800, "1", "0.55"), (1800, "2", "0.40")):
        cast.wait(wait)
        trade(cast, size, at)

    hours = cast.exchange.candles(M, start_s=START, end_s=START + 7200, minutes=60)
    assert [(found.price, found.volume) for found in hours] == [
        (Ohlc(5000, 5000, 5500, 5500), 200),
        (Ohlc(4000, 4000, 4000, 4000), 200),
    ]
    assert hours[1].previous == 5500
    days = cast.exchange.candles(M, start_s=START - DAY, end_s=START + DAY, minutes=1440)
    assert [(found.price, found.volume, found.mean) for found in days] == [
        (Ohlc(5000, 4000, 5500, 4000), 400, 4625)  # (0.50 + 0.55 + 2 × 0.40) / 4
    ]
    assert days[0].end_s % DAY == 0


def test_candles_begin_with_the_market_and_end_with_the_running_period(cast: Cast) -> None:
    trade(cast, "1", "0.50")
    cast.wait(90)

    found = cast.exchange.candles(M, start_s=0, end_s=START + DAY, minutes=1)
    assert [candle.end_s for candle in found] == [START + 60, START + 120]


def test_the_state_before_the_start_can_be_asked_for(cast: Cast) -> None:
    trade(cast, "1", "0.50")
    cast.bid("ann", "1", "0.40")
    cast.wait(300)

    before, first = cast.exchange.candles(
        M, start_s=START + 240, end_s=START + 240, minutes=1, include_latest_before_start=True
    )
    assert (before.end_s, before.bid.close, before.previous, before.volume) == (START + 240, 4000, 5000, 0)
    assert first.end_s == START + 240
