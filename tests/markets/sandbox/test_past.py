"""A new exchange has a day behind it: lively in every body, alike in all of them, and true to the last cent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from markets.sandbox.running import Options, RunningSandbox, Sandbox

DAY = 86_400


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Return the address of an exchange that has just been opened for the first time."""
    running = RunningSandbox(Options(seed=3, tier="prestige"))
    yield running.rest_url
    running.stop()


def get(url: str, path: str, **params: Any) -> Any:
    answer = requests.get(f"{url}{path}", params=params, timeout=5)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_first_start_shows_a_lively_exchange(url: str) -> None:
    markets = get(url, "/markets", limit=1000)["markets"]
    of_days = [row for row in markets if row["previous_price_dollars"] != "0.0000"]

    assert len(markets) == 40
    assert sum(float(row["volume_24h_fp"]) for row in markets) > 100_000
    assert all(float(row["volume_fp"]) > 0 for row in markets)
    assert sum(float(row["open_interest_fp"]) > 0 for row in markets) >= 38
    assert len(of_days) >= 30
    assert all(row["previous_yes_bid_dollars"] < row["previous_yes_ask_dollars"] for row in of_days)
    assert any(row["previous_price_dollars"] != row["last_price_dollars"] for row in of_days)


def test_the_past_is_the_same_in_markets_candles_and_trades(url: str) -> None:
    now = int(time.time())
    (row,) = get(url, "/markets", series_ticker="KXMAYOR", limit=1)["markets"]
    ticker = row["ticker"]
    first = get(url, f"/markets/{ticker}")["market"]
    asked = {"start_ts": now - 2 * DAY, "end_ts": now + 3600, "period_interval": 60}
    candles = get(url, f"/series/KXMAYOR/markets/{ticker}/candlesticks", **asked)["candlesticks"]
    trades = get(url, "/markets/trades", ticker=ticker, limit=1000)["trades"]
    last = get(url, f"/markets/{ticker}")["market"]

    traded = sum(hundredths(trade["count_fp"]) for trade in trades)
    charted = sum(hundredths(candle["volume_fp"]) for candle in candles)
    assert hundredths(first["volume_fp"]) <= charted <= hundredths(last["volume_fp"])
    assert hundredths(first["volume_fp"]) <= traded <= hundredths(last["volume_fp"])
    assert len(candles) >= 24
    assert candles[0]["price"]["previous_dollars"] is None
    assert trades[0]["created_time"] > trades[-1]["created_time"]
    assert len({trade["trade_id"] for trade in trades}) == len(trades)


def hundredths(text: str) -> int:
    return int(text.replace(".", ""))


def test_contracts_and_cash_are_conserved() -> None:
    sandbox = Sandbox(Options(seed=5))
    sandbox._begin_with_a_past()

    exchange = sandbox.venue.exchange
    cash = sum(sum(member.balances.values()) for member in exchange.members.values())
    held: dict[str, list[int]] = {}
    for member in exchange.members.values():
        for (_, ticker), position in member.positions.items():
            held.setdefault(ticker, []).append(position.count)
    assert all(sum(counts) == 0 for counts in held.values())
    open_interest = {ticker: exchange.quote(ticker).open_interest for ticker in held}
    assert open_interest == {ticker: sum(max(0, count) for count in counts) for ticker, counts in held.items()}
    # Two members with $10,000 and two houses with a milliard on each of four shards; $1 stands behind each contract.
    paid_in = 2 * 10_000 * 1_000_000 + 2 * 4 * 10**9 * 1_000_000
    assert cash + exchange._floor.fees_collected + sum(open_interest.values()) * 10_000 == paid_in


def past(seed: int) -> list[tuple[int, int, int]]:
    """Return what the markets that do not come anew within the day have behind them."""
    sandbox = Sandbox(Options(seed=seed))
    sandbox._begin_with_a_past()
    quotes = (sandbox.venue.quote(ticker) for ticker in sandbox.venue.exchange.markets)
    return [(quote.volume, quote.open_interest, quote.last_price) for quote in quotes if quote.previous_price]


def test_another_seed_has_another_past() -> None:
    assert past(1) != past(2)


def test_the_clock_is_the_machines_again_and_has_not_run_backwards() -> None:
    sandbox = Sandbox(Options())
    sandbox._begin_with_a_past()

    assert abs(sandbox.venue.now_us() - time.time_ns() // 1000) < 1_000_000
    with pytest.raises(ValueError, match="backwards"):
        sandbox.venue.clock.begin_in_the_past(1)


def test_nobody_lives_a_past_twice(tmp_path: Path) -> None:
    first = RunningSandbox(Options(state=tmp_path / "state.sqlite3"))
    volume = sum(float(row["volume_fp"]) for row in get(first.rest_url, "/markets", limit=1000)["markets"])
    first.stop()

    again = RunningSandbox(Options(state=tmp_path / "state.sqlite3"))
    later = sum(float(row["volume_fp"]) for row in get(again.rest_url, "/markets", limit=1000)["markets"])
    again.stop()

    assert volume <= later < 1.1 * volume


def test_an_exchange_without_makers_has_no_past() -> None:
    running = RunningSandbox(Options(has_makers=False))
    markets = get(running.rest_url, "/markets", limit=1000)["markets"]
    running.stop()

    assert {row["volume_fp"] for row in markets} == {"0.00"}
