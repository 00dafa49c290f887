"""A client that others wrote trades a short day here as at the real exchange; only its addresses are changed."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pykalshi import KalshiClient
from pykalshi.enums import Action, MarketStatus, OrderStatus, Side, TimeInForce
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
    """Return a whole-cent market quoted on both sides in the middle of its range."""
    for market in client.get_markets(status=MarketStatus.OPEN, limit=200):
        bid, ask = float(market.yes_bid_dollars), float(market.yes_ask_dollars)
        if market.price_level_structure == "linear_cent" and 0.2 < bid < ask < 0.8:
            return market
    raise AssertionError("no such market")


def test_the_catalogue_is_read(client: Any) -> None:
    assert client.exchange.get_status().trading_active is True
    assert len(client.get_markets(limit=100)) >= 40
    event = client.get_events(limit=5)[0]
    assert client.get_event(event.event_ticker).title == event.title
    assert len(client.get_all_series()) >= 8


def test_a_short_day_of_trading(client: Any) -> None:
    market = market_with_room(client)
    portfolio = client.portfolio
    before = portfolio.get_balance().balance

    resting = portfolio.place_order(market, Action.BUY, Side.YES, "5.00", yes_price_dollars="0.05")
    assert portfolio.get_order(resting.order_id).status == OrderStatus.RESTING
    amended = portfolio.amend_order(
        resting.order_id,
        ticker=market.ticker,
        action=Action.BUY,
        side=Side.YES,
        count_fp="6.00",
        yes_price_dollars="0.06",
    )
    assert amended.order_id == resting.order_id
    assert portfolio.decrease_order(resting.order_id, "4.00").remaining_count_fp == "2.00"
    assert portfolio.cancel_order(resting.order_id).order_id == resting.order_id
    assert portfolio.get_order(resting.order_id).status == OrderStatus.CANCELED

    taken = portfolio.place_order(
        market, Action.BUY, Side.YES, "1.00", yes_price_dollars="0.99", time_in_force=TimeInForce.IOC
    )
    assert portfolio.get_order(taken.order_id).status == OrderStatus.EXECUTED
    assert [fill.order_id for fill in portfolio.get_fills(ticker=market.ticker)] == [taken.order_id]
    (position,) = portfolio.get_positions(ticker=market.ticker)
    assert position.position_fp == "1.00"
    assert portfolio.get_balance().balance < before


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
