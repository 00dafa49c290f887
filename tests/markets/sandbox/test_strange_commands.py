"""Commands of the stream that do not fit, or come twice: the code they are answered with; the connection stays."""

from __future__ import annotations

from typing import Any

import pytest

from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import Peer, Socket


@pytest.fixture
def socket(desk: Peer) -> Any:
    opened = desk.connect()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("cmd", "params", "code"),
    [
        ("subscribe", {"channels": [{}]}, 8),
        ("subscribe", {"channels": [["trade"]]}, 8),
        ("subscribe", {"channels": ["ticker"], "market_ids": 5}, 11),
        ("subscribe", {"channels": ["ticker"], "market_ids": "abc"}, 11),
        ("subscribe", {"channels": ["ticker"], "market_ids": [5]}, 11),
        ("subscribe", {"channels": ["ticker"], "market_id": "a", "market_ids": ["b"]}, 11),
        ("subscribe", {"channels": ["orderbook_delta"], "market_tickers": {}}, 14),
        ("subscribe", {"channels": ["trade"], "market_tickers": [["A"]]}, 11),
        ("unsubscribe", {"sids": [{}]}, 7),
        ("update_subscription", {"sids": [{}], "action": "add_markets"}, 12),
    ],
)
def test_params_of_a_wrong_kind_are_refused_and_the_connection_goes_on(
    socket: Socket, cmd: str, params: Any, code: int
) -> None:
    command = socket.send(cmd, **params)

    error = socket.next()
    assert (error["type"], error["id"], error["msg"]["code"]) == ("error", command, code)
    socket.send("list_subscriptions")
    assert socket.next()["msg"] == []


@pytest.mark.parametrize("action", [{}, ["add_markets"], 5])
def test_an_action_that_is_no_word_is_not_supported(socket: Socket, ticker: str, action: Any) -> None:
    socket.send("subscribe", channels=["trade"], market_tickers=[ticker])
    socket.next()

    socket.send("update_subscription", sid=1, action=action, market_tickers=[ticker])

    assert socket.next()["msg"]["code"] in {13, 15}
    socket.send("list_subscriptions")
    assert socket.next()["type"] == "ok"


def test_text_nested_without_end_cannot_be_processed(socket: Socket) -> None:
    socket.raw.send("[" * 20_000 + "]" * 20_000)

    assert socket.next()["msg"]["code"] == 1
    socket.send("list_subscriptions")
    assert socket.next()["type"] == "ok"


def test_a_filter_that_one_of_the_channels_cannot_use_opens_none(house: House, socket: Socket, ticker: str) -> None:
    market_id = house.venue.exchange.markets[ticker].market_id

    socket.send("subscribe", channels=["ticker", "trade"], market_ids=[market_id])

    assert socket.next()["msg"]["code"] == 11
    socket.send("list_subscriptions")
    assert socket.next()["msg"] == []


# --- the same channel twice ---------------------------------------------------------------------------


def test_one_market_first_and_all_afterwards_hears_each_trade_once(
    socket: Socket, desk: Peer, rival: Peer, ticker: str
) -> None:
    socket.send("subscribe", channels=["trade"], market_tickers=[ticker])
    socket.next()
    command = socket.send("subscribe", channels=["trade"])
    ok = socket.next()
    assert (ok["type"], ok["id"], ok["sid"], ok["seq"]) == ("ok", command, 1, 1)

    for price in ("0.5000", "0.5100"):
        rival.create(ticker, "ask", price, "1.00")
        desk.create(ticker, "bid", price, "1.00")

    first, second = socket.read(2)
    assert [first["msg"]["yes_price_dollars"], second["msg"]["yes_price_dollars"]] == ["0.5000", "0.5100"]
    assert [first["seq"], second["seq"]] == [2, 3]


def test_all_markets_first_and_one_afterwards_still_hears_all(
    house: House, socket: Socket, desk: Peer, rival: Peer, ticker: str
) -> None:
    other = house.market()
    socket.send("subscribe", channels=["trade"])
    socket.next()
    socket.send("subscribe", channels=["trade"], market_tickers=[ticker])
    assert socket.next()["type"] == "ok"

    for traded in (other, ticker):
        rival.create(traded, "ask", "0.5000", "1.00")
        desk.create(traded, "bid", "0.5000", "1.00")

    assert [frame["msg"]["market_ticker"] for frame in socket.read(2)] == [other, ticker]
    socket.send("unsubscribe", sids=[1])
    assert socket.next()["type"] == "unsubscribed"


def test_a_short_acknowledgement_can_be_asked_for_at_any_subscribe(house: House, socket: Socket, ticker: str) -> None:
    other, third = house.market(), house.market()
    socket.send("subscribe", channels=["trade"], market_tickers=[ticker])
    socket.next()
    socket.send("subscribe", channels=["trade"], market_tickers=[other])
    assert socket.next()["msg"] == {"market_tickers": sorted([ticker, other])}

    socket.send("subscribe", channels=["trade"], market_tickers=[third], skip_ticker_ack=True)
    assert "market_tickers" not in socket.next()["msg"]
    socket.send("update_subscription", sid=1, action="delete_markets", market_tickers=[third])
    assert "market_tickers" not in socket.next()["msg"]


def test_one_channel_named_twice_in_a_command_is_one_sid(socket: Socket, ticker: str) -> None:
    command = socket.send("subscribe", channels=["orderbook_delta", "orderbook_delta"], market_tickers=[ticker])

    subscribed, snapshot, ok = socket.read(3)
    assert (subscribed["type"], subscribed["msg"]["sid"], subscribed["id"]) == ("subscribed", 1, command)
    assert (snapshot["type"], snapshot["seq"]) == ("orderbook_snapshot", 1)
    assert (ok["type"], ok["seq"], ok["msg"]["market_tickers"]) == ("ok", 2, [ticker])


def test_unsubscribing_twice_ends_it_once(socket: Socket, ticker: str) -> None:
    socket.send("subscribe", channels=["trade"], market_tickers=[ticker])
    socket.next()
    socket.send("unsubscribe", sids=[1])
    again = socket.send("unsubscribe", sids=[1])

    ended, error = socket.read(2)
    assert (ended["type"], ended["sid"], ended["seq"]) == ("unsubscribed", 1, 1)
    assert (error["type"], error["id"], error["msg"]["code"]) == ("error", again, 7)


def test_a_channel_subscribed_anew_gets_another_sid_and_counts_from_one(socket: Socket, ticker: str) -> None:
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
    list(socket.read(2))
    socket.send("unsubscribe", sids=[1])
    socket.next()
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])

    subscribed, snapshot = socket.read(2)
    assert (subscribed["msg"]["sid"], snapshot["sid"], snapshot["seq"]) == (2, 2, 1)
