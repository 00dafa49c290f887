"""P24: the exchange fills more than was ordered, or takes a match back; REST, the stream and the record agree on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import requests

from markets.sandbox.catalogue import FeeType
from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import Peer, Socket

Mistake = Callable[..., requests.Response]


@pytest.fixture
def mistake(house: House) -> Mistake:
    """Return a function that lets the exchange make a mistake."""

    def make(name: str, **params: Any) -> requests.Response:
        return requests.post(f"{house.url}/__sandbox__/faults", json={"fault": name, "params": params}, timeout=5)

    return make


@pytest.fixture
def free(house: House) -> str:
    """Return a market without fees, so that money is prices times counts."""
    ticker = house.market(series="KXFREE")
    house.do(house.venue.exchange.set_series_fee, "KXFREE", FeeType.QUADRATIC, 0)
    return ticker


def listening(desk: Peer) -> Socket:
    socket = desk.connect()
    socket.send("subscribe", channels=["user_orders", "fill", "market_positions"])
    for _ in range(3):
        socket.until("subscribed")
    return socket


def told(socket: Socket) -> list[tuple[str, dict[str, Any]]]:
    """Return what has come up to the answer of one more command."""
    command, found = socket.send("list_subscriptions"), []
    while (frame := socket.next()).get("id") != command:
        found.append((frame["type"], frame["msg"]))
    return found


def balance(peer: Peer) -> str:
    return str(peer.get("/portfolio/balance")["balance_dollars"])


def held(peer: Peer, ticker: str) -> str:
    rows = peer.get("/portfolio/positions", ticker=ticker)["market_positions"]
    return str(rows[0]["position_fp"]) if rows else "none"


def fills(peer: Peer, ticker: str) -> list[tuple[str, str]]:
    return [(row["trade_id"], row["count_fp"]) for row in peer.get("/portfolio/fills", ticker=ticker)["fills"]]


def recorded(house: House, kind: str, order_id: str) -> list[dict[str, Any]]:
    text = requests.get(f"{house.url}/__sandbox__/truth", timeout=5).text
    entries = [json.loads(line) for line in text.splitlines()]
    return [entry for entry in entries if entry["kind"] == kind and entry.get("order_id") == order_id]


# --- more than was ordered --------------------------------------------------------------------------------


def test_p24_fills_more_than_was_ordered_everywhere(house: House, desk: Peer, free: str, mistake: Mistake) -> None:
    order_id = desk.create(free, "bid", "0.4000", "10.00").json()["order_id"]
    socket = listening(desk)

    assert mistake("P24-overfill", order_id=order_id, count="5.00").status_code == 201

    order = desk.get(f"/portfolio/orders/{order_id}")["order"]
    assert (order["status"], order["initial_count_fp"]) == ("executed", "10.00")
    assert (order["fill_count_fp"], order["remaining_count_fp"]) == ("15.00", "0.00")
    assert order["maker_fill_cost_dollars"] == "6.000000"
    assert [count for _, count in fills(desk, free)] == ["15.00"]
    assert held(desk, free) == "15.00"
    assert balance(desk) == "9994.0000"
    assert desk.get(f"/markets/{free}/orderbook")["orderbook_fp"]["yes_dollars"] == []
    shown = told(socket)
    assert [kind for kind, _ in shown] == ["user_order", "fill", "market_position"]
    assert (shown[0][1]["fill_count_fp"], shown[0][1]["initial_count_fp"]) == ("15.00", "10.00")
    assert (shown[1][1]["count_fp"], shown[1][1]["post_position_fp"]) == ("15.00", "15.00")
    assert shown[2][1]["position_fp"] == "15.00"
    assert [entry["count"] for entry in recorded(house, "fill", order_id)] == ["15.00"]


def test_p24_fills_an_executed_order_once_more(desk: Peer, rival: Peer, free: str, mistake: Mistake) -> None:
    order_id = desk.create(free, "bid", "0.4000", "2.00").json()["order_id"]
    rival.create(free, "ask", "0.4000", "2.00")

    mistake("P24-overfill", order_id=order_id, count="1.00")

    assert [count for _, count in fills(desk, free)] == ["1.00", "2.00"]
    assert desk.get(f"/portfolio/orders/{order_id}")["order"]["fill_count_fp"] == "3.00"
    assert desk.get(f"/markets/{free}")["market"]["open_interest_fp"] == "3.00"


def test_no_overfill_of_what_cannot_fill_or_be_paid(desk: Peer, free: str, mistake: Mistake) -> None:
    canceled = desk.create(free, "bid", "0.4000", "1.00").json()["order_id"]
    desk.call("DELETE", f"/portfolio/events/orders/{canceled}")
    dear = desk.create(free, "bid", "0.4000", "1.00").json()["order_id"]

    assert mistake("P24-overfill", order_id="nobody's", count="1.00").status_code == 400
    assert mistake("P24-overfill", order_id=canceled, count="1.00").status_code == 400
    assert mistake("P24-overfill", order_id=dear, count="0.00").status_code == 400
    assert mistake("P24-overfill", order_id=dear, count="25000.00").status_code == 400
    assert desk.get(f"/portfolio/orders/{dear}")["order"]["fill_count_fp"] == "0.00"
    assert balance(desk) == "10000.0000"


# --- taken back -------------------------------------------------------------------------------------------


def test_p24_takes_a_match_back_everywhere(house: House, desk: Peer, rival: Peer, free: str, mistake: Mistake) -> None:
    order_id = desk.create(free, "bid", "0.4000", "10.00").json()["order_id"]
    rival.create(free, "ask", "0.4000", "4.00")
    rival.create(free, "ask", "0.4000", "6.00")
    (_, _), (first, _) = fills(desk, free)
    socket = listening(desk)

    assert mistake("P24-bust", trade_id=first).status_code == 201

    assert [count for _, count in fills(desk, free)] == ["6.00"]
    assert [count for _, count in fills(rival, free)] == ["6.00"]
    order = desk.get(f"/portfolio/orders/{order_id}")["order"]
    assert (order["fill_count_fp"], order["remaining_count_fp"], order["status"]) == ("6.00", "0.00", "canceled")
    assert order["maker_fill_cost_dollars"] == "2.400000"
    assert (held(desk, free), held(rival, free)) == ("6.00", "-6.00")
    assert (balance(desk), balance(rival)) == ("9997.6000", "9996.4000")
    assert desk.get(f"/markets/{free}")["market"]["open_interest_fp"] == "6.00"
    shown = told(socket)
    assert [kind for kind, _ in shown] == ["user_order", "market_position"]
    assert (shown[0][1]["fill_count_fp"], shown[0][1]["status"]) == ("6.00", "canceled")
    assert "last_update_reason" not in shown[0][1]
    assert shown[1][1]["position_fp"] == "6.00"
    (entry,) = recorded(house, "fill_taken_back", order_id)
    assert (entry["trade_id"], entry["count"], entry["left"]) == (first, "4.00", "0.00")


def test_p24_adjusts_a_match_and_gives_its_fees_back_in_part(
    desk: Peer, rival: Peer, ticker: str, mistake: Mistake
) -> None:
    rival.create(ticker, "ask", "0.5000", "10.00")
    desk.create(ticker, "bid", "0.5000", "10.00")
    ((trade_id, _),) = fills(desk, ticker)
    assert balance(desk) == "9994.8250"  # 5.00, and 0.07 × 10 × 0.5 × 0.5

    mistake("P24-bust", trade_id=trade_id, left="4.00")

    assert fills(desk, ticker) == fills(rival, ticker) == [(trade_id, "4.00")]
    assert desk.get("/portfolio/fills", ticker=ticker)["fills"][0]["fee_cost"] == "0.070000"
    assert (held(desk, ticker), held(rival, ticker)) == ("4.00", "-4.00")
    assert (balance(desk), balance(rival)) == ("9997.9300", "9998.0000")


def test_p24_takes_back_what_opened_a_position_that_was_closed_since(
    desk: Peer, rival: Peer, free: str, mistake: Mistake
) -> None:
    rival.create(free, "ask", "0.4000", "10.00")
    desk.create(free, "bid", "0.4000", "10.00")
    ((opened, _),) = fills(desk, free)
    rival.create(free, "bid", "0.7000", "10.00")
    desk.create(free, "ask", "0.7000", "10.00")
    assert (balance(desk), held(desk, free)) == ("10003.0000", "0.00")

    mistake("P24-bust", trade_id=opened)

    assert (held(desk, free), held(rival, free)) == ("-10.00", "10.00")  # what closed has become an opening
    assert (balance(desk), balance(rival)) == ("9997.0000", "9993.0000")
    position = desk.get("/portfolio/positions", ticker=free)["market_positions"][0]
    assert (position["market_exposure_dollars"], position["realized_pnl_dollars"]) == ("3.000000", "0.000000")


def test_p24_takes_back_what_the_house_took(house: House, desk: Peer, free: str, mistake: Mistake) -> None:
    before = contracts(house, free)
    order_id = desk.create(free, "bid", "0.4000", "3.00").json()["order_id"]
    mistake("P24-overfill", order_id=order_id, count="1.00")
    assert contracts(house, free) == before
    ((trade_id, _),) = fills(desk, free)

    mistake("P24-bust", trade_id=trade_id)

    assert (fills(desk, free), held(desk, free), balance(desk)) == ([], "0.00", "10000.0000")
    assert contracts(house, free) == before
    assert desk.get(f"/markets/{free}")["market"]["open_interest_fp"] == "0.00"


def contracts(house: House, ticker: str) -> tuple[int, int]:
    """Return the sum of all positions of a market, and of all money with what the exchange took and pairs are worth."""
    exchange = house.venue.exchange
    rows = [row for member in exchange.members.values() for row in member.positions.values()]
    cash = sum(money for member in exchange.members.values() for money in member.balances.values())
    pairs = sum(max(row.count, 0) for row in rows if not row.is_settled)
    collected = exchange._floor.fees_collected
    return sum(row.count for row in rows if row.ticker == ticker), cash + collected + pairs * 10_000


def test_nothing_is_taken_back_twice_or_after_the_payout(
    house: House, desk: Peer, rival: Peer, free: str, mistake: Mistake
) -> None:
    rival.create(free, "ask", "0.4000", "2.00")
    desk.create(free, "bid", "0.4000", "2.00")
    ((trade_id, _),) = fills(desk, free)

    assert mistake("P24-bust", trade_id=trade_id, left="2.00").status_code == 400
    assert mistake("P24-bust", trade_id=trade_id, left="1.00").status_code == 201
    assert mistake("P24-bust", trade_id="nobody's").status_code == 400
    house.do(house.venue.exchange.determine, free, "yes")
    house.do(house.venue.exchange.settle, free)
    assert mistake("P24-bust", trade_id=trade_id).status_code == 400
    assert Decimal(balance(desk)) == Decimal("10000.60")


def test_a_mistake_that_was_refused_is_not_listed_as_made(house: House, mistake: Mistake) -> None:
    requests.delete(f"{house.url}/__sandbox__/faults", timeout=5)
    mistake("P24-bust", trade_id="nobody's")

    assert requests.get(f"{house.url}/__sandbox__/faults", timeout=5).json()["faults"] == []
