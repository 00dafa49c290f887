"""A client that others wrote trades a day here as at the real exchange; only its addresses are changed."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from pykalshi import KalshiClient
from pykalshi.enums import (
    Action,
    BookSide,
    CandlestickPeriod,
    MarketStatus,
    OrderStatus,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from pykalshi.exceptions import KalshiAPIError

from markets.sandbox.running import Options, RunningSandbox


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """Return an exchange with makers, as it runs by default."""
    folder = tmp_path_factory.mktemp("keys")
    running = RunningSandbox(Options(credentials=folder, tier="prestige"))
    yield running
    running.stop()


@pytest.fixture
def client(exchange: RunningSandbox) -> Iterator[Any]:
    """Return the foreign client with the desk's credentials file."""
    assert exchange.sandbox.options.credentials is not None
    facts = json.loads((exchange.sandbox.options.credentials / "desk.json").read_text())
    found = KalshiClient(
        api_key_id=facts["key_id"],
        private_key_path=str(Path(facts["private_key_file"])),
        api_base=exchange.rest_url,
        max_retries=0,
    )
    yield found
    found.close()


def market_with_room(client: Any) -> Any:
    """Return a whole-cent market quoted on both sides in the middle of its range that stays open for hours."""
    soon = datetime.now(UTC) + timedelta(hours=2)
    for market in client.get_markets(status=MarketStatus.OPEN, limit=200):
        bid, ask = float(market.yes_bid_dollars), float(market.yes_ask_dollars)
        is_lasting = datetime.fromisoformat(market.close_time) > soon
        if is_lasting and market.price_level_structure == "linear_cent" and 0.2 < bid < ask < 0.8:
            return market
    raise AssertionError("no such market")


def test_the_catalogue_is_read(client: Any) -> None:
    assert client.exchange.get_status().trading_active is True
    assert client.exchange.get_schedule()["standard_hours"]
    assert len(client.get_markets(limit=100)) >= 40
    assert len(client.get_markets(limit=7, fetch_all=True)) >= 40
    event = client.get_events(limit=5)[0]
    assert client.get_event(event.event_ticker).title == event.title
    assert {row.event_ticker for row in event.get_markets()} == {event.event_ticker}
    assert len(client.get_all_series()) >= 8
    assert client.get_series(event.series_ticker).ticker == event.series_ticker
    assert client.history.get_cutoff().market_settled_ts is not None
    assert client.api_keys.get_limits().usage_tier == "prestige"


def test_books_trades_and_candles_are_read(client: Any) -> None:
    market = market_with_room(client)
    now = int(time.time())

    book = market.get_orderbook(depth=3)
    trades = market.get_trades(limit=20)
    candles = market.get_candlesticks(now - 86_400, now, CandlestickPeriod.ONE_HOUR)
    many = client.get_candlesticks_batch([market.ticker], now - 3600, now, CandlestickPeriod.ONE_MINUTE)

    assert len(book.orderbook.yes_dollars) == len(book.orderbook.no_dollars) == 3
    assert {trade.ticker for trade in trades} == {market.ticker}
    assert candles.candlesticks
    assert list(many) == [market.ticker]


@pytest.fixture
def quiet(exchange: RunningSandbox, client: Any) -> Iterator[Any]:
    """Return a market of a clean account: nothing of an earlier test rests."""
    client.delete("/portfolio/events/orders")
    yield market_with_room(client)
    client.delete("/portfolio/events/orders")


def test_orders_of_every_kind(client: Any, quiet: Any) -> None:
    place, own = client.portfolio.place_order, client.portfolio.get_order
    before = client.portfolio.get_balance().balance
    later = int(time.time()) + 3600

    resting = place(quiet, Action.BUY, Side.YES, "5.00", yes_price_dollars="0.05", client_order_id="pk resting")
    of_no = place(quiet, Action.BUY, Side.NO, "2.00", no_price_dollars="0.04", expiration_ts=later, post_only=True)
    careful = place(
        quiet, book_side=BookSide.BID, price_dollars="0.03", count_fp="1.25", cancel_order_on_pause=True, subaccount=0
    )
    taken = place(quiet, Action.BUY, Side.YES, "3.00", yes_price_dollars="0.99", time_in_force=TimeInForce.IOC)
    whole = place(quiet, Action.BUY, Side.YES, "1.00", yes_price_dollars="0.99", time_in_force=TimeInForce.FOK)
    missed = place(quiet, Action.BUY, Side.YES, "1.00", yes_price_dollars="0.01", time_in_force=TimeInForce.IOC)
    sold = place(
        quiet,
        Action.SELL,
        Side.YES,
        "1.00",
        yes_price_dollars="0.01",
        time_in_force=TimeInForce.IOC,
        reduce_only=True,
        self_trade_prevention=SelfTradePrevention.CANCEL_INCOMING,
    )

    assert [own(order.order_id).status for order in (resting, of_no, careful)] == [OrderStatus.RESTING] * 3
    assert (own(of_no.order_id).book_side, own(of_no.order_id).yes_price_dollars) == (BookSide.ASK, "0.9600")
    assert own(of_no.order_id).expiration_time is not None
    assert own(careful.order_id).remaining_count_fp == "1.25"
    assert [own(order.order_id).status for order in (taken, whole, sold)] == [OrderStatus.EXECUTED] * 3
    assert (missed.status, own(missed.order_id).status) == (OrderStatus.CANCELED, OrderStatus.CANCELED)
    (position,) = client.portfolio.get_positions(ticker=quiet.ticker)
    assert position.position_fp == "3.00"
    fills = client.portfolio.get_fills(ticker=quiet.ticker)
    assert {fill.order_id for fill in fills} == {taken.order_id, whole.order_id, sold.order_id}
    assert client.portfolio.get_balance().balance < before


def test_amend_decrease_and_cancel(client: Any, quiet: Any) -> None:
    portfolio = client.portfolio
    resting = portfolio.place_order(quiet, Action.BUY, Side.YES, "5.00", yes_price_dollars="0.05")

    amended = portfolio.amend_order(resting.order_id, count_fp="6.00", yes_price_dollars="0.06")
    smaller = portfolio.decrease_order(resting.order_id, "4.00")
    ahead = portfolio.get_queue_position(resting.order_id)
    queued = portfolio.get_queue_positions(market_tickers=[quiet.ticker])
    gone = portfolio.cancel_order(resting.order_id)

    assert amended.order_id == gone.order_id == resting.order_id
    assert smaller.remaining_count_fp == "2.00"
    assert ahead.queue_position_fp == queued[0].queue_position_fp
    assert portfolio.get_order(resting.order_id).status == OrderStatus.CANCELED


def test_batches_and_cancel_all(client: Any, quiet: Any) -> None:
    asked = [
        {"ticker": quiet.ticker, "book_side": "bid", "price_dollars": f"0.0{number}", "count_fp": "1.00"}
        for number in (1, 2, 3)
    ]
    made = client.portfolio.batch_place_orders([*asked, {**asked[0], "price_dollars": "0.99", "post_only": True}])
    gone = client.portfolio.batch_cancel_orders([made[0].order_id, made[1].order_id])
    left = client.portfolio.get_orders(status=OrderStatus.RESTING)
    client.delete("/portfolio/events/orders")  # this client has no word for it

    assert len(made) == 3  # the fourth would have traded
    assert [order.order_id for order in gone] == [made[0].order_id, made[1].order_id]
    assert [order.order_id for order in left] == [made[2].order_id]
    assert client.portfolio.get_orders(status=OrderStatus.RESTING) == []


def test_groups_keys_and_subaccounts(client: Any, quiet: Any) -> None:
    portfolio = client.portfolio
    group = portfolio.create_order_group("150.00")
    order = portfolio.place_order(
        quiet, Action.BUY, Side.YES, "1.00", yes_price_dollars="0.05", order_group_id=group.id
    )
    portfolio.update_order_group_limit(group.id, "20.00")
    portfolio.trigger_order_group(group.id)
    portfolio.reset_order_group(group.id)
    key = client.api_keys.generate("of the day")
    client.api_keys.delete(key.id)
    number = portfolio.create_subaccount().subaccount_number
    portfolio.transfer_between_subaccounts(0, number, 1234)

    assert portfolio.get_order(order.order_id).status == OrderStatus.CANCELED
    assert group.id in [row.id for row in portfolio.get_order_groups()]
    assert key.id not in [row.id for row in client.api_keys.list()]
    assert key.private_key.startswith("-----BEGIN RSA PRIVATE KEY-----")
    moved = {row.subaccount_number: row.balance for row in portfolio.get_subaccount_balances()}
    assert moved[number] == "12.3400"


def test_a_market_is_settled_and_pays(client: Any, exchange: RunningSandbox, quiet: Any) -> None:
    portfolio = client.portfolio
    held_before = {row.ticker: row.position_fp for row in portfolio.get_positions(ticker=quiet.ticker)}
    portfolio.place_order(quiet, Action.BUY, Side.YES, "2.00", yes_price_dollars="0.99", time_in_force=TimeInForce.IOC)
    (held,) = portfolio.get_positions(ticker=quiet.ticker)
    before = portfolio.get_balance().balance
    for verb in ("determine", "settle"):
        path = f"{exchange.url}/__sandbox__/markets/{quiet.ticker}/{verb}"
        requests.post(path, json={"result": "yes"}, timeout=5).raise_for_status()

    (settled,) = portfolio.get_settlements(ticker=quiet.ticker)

    contracts = int(held.position_fp.partition(".")[0])
    assert contracts == 2 + int(held_before.get(quiet.ticker, "0").partition(".")[0])
    assert (settled.market_result, settled.revenue, settled.value) == ("yes", 100 * contracts, 100)
    assert settled.yes_count_fp == held.position_fp
    assert portfolio.get_balance().balance - before == 100 * contracts
    assert client.get_market(quiet.ticker).status == MarketStatus.FINALIZED


def test_a_refusal_is_understood(client: Any) -> None:
    with pytest.raises(KalshiAPIError) as refused:
        client.portfolio.cancel_order("00000000-0000-4000-8000-000000000000")

    assert refused.value.status_code == 404


def test_its_feed_follows_a_book_and_hears_its_own_order(client: Any, exchange: RunningSandbox) -> None:
    market = market_with_room(client)
    heard: queue.Queue[tuple[str, Any]] = queue.Queue()
    feed = client.feed()
    feed._ws_url = exchange.ws_url  # the one thing that has no option
    for channel in ("orderbook_delta", "trade", "user_orders"):
        feed.on(channel, lambda message, channel=channel: heard.put((channel, message)))
    feed.subscribe("orderbook_delta", market_ticker=market.ticker)
    feed.subscribe("user_orders")
    feed.start()
    try:
        channel, first = heard.get(timeout=5)
        assert (channel, first.market_ticker) == ("orderbook_delta", market.ticker)

        order = client.portfolio.place_order(market, Action.BUY, Side.NO, "1.00", no_price_dollars="0.03")

        while (told := heard.get(timeout=5))[0] != "user_orders":
            pass
        assert told[1].order_id == order.order_id
    finally:
        feed.stop()
    client.portfolio.cancel_order(order.order_id)
