"""The operator's side: the record of what happened, the clock, markets, pauses, true books; for loopback alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from markets.sandbox.control import Control
from markets.sandbox.web import Request
from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import PREFIX, Peer


@pytest.fixture
def operate(house: House) -> Callable[..., requests.Response]:
    """Return a function that asks the control."""

    def ask(method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(method, f"{house.url}/__sandbox__/{path}", json=body, timeout=5)

    return ask


def record_of(house: House, since: int) -> list[dict[str, Any]]:
    answer = requests.get(f"{house.url}/__sandbox__/truth", params={"since": since}, timeout=5)
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_every_request_order_and_fill_is_recorded_in_order(house: House, desk: Peer, rival: Peer, ticker: str) -> None:
    since = house.venue.truth.count
    desk.create(ticker, "bid", "0.4800", "10.00", client_order_id="mine")
    rival.create(ticker, "ask", "0.4800", "4.00", client_order_id="theirs")

    entries = record_of(house, since)

    assert [entry["n"] for entry in entries] == list(range(since + 1, since + 1 + len(entries)))
    requests_seen = [entry for entry in entries if entry["kind"] == "request"]
    assert [(entry["method"], entry["path"], entry["status"], entry["client_order_id"]) for entry in requests_seen] == [
        ("POST", f"{PREFIX}/portfolio/events/orders", 201, "mine"),
        ("POST", f"{PREFIX}/portfolio/events/orders", 201, "theirs"),
    ]
    orders = [
        (entry["client_order_id"], entry["status"], entry["filled"]) for entry in entries if entry["kind"] == "order"
    ]
    assert orders[0] == ("mine", "resting", "0.00")
    assert set(orders[1:]) >= {("mine", "resting", "4.00"), ("theirs", "executed", "4.00")}
    fills = [entry for entry in entries if entry["kind"] == "fill"]
    assert {(entry["client_order_id"], entry["count"], entry["price"]) for entry in fills} == {
        ("mine", "4.00", "0.4800"),
        ("theirs", "4.00", "0.4800"),
    }
    assert len({entry["trade_id"] for entry in fills}) == 1


def test_the_record_is_read_from_any_line_on(house: House, desk: Peer) -> None:
    desk.get("/portfolio/orders")
    since = house.venue.truth.count
    desk.get("/portfolio/orders")

    assert [entry["path"] for entry in record_of(house, since)] == [f"{PREFIX}/portfolio/orders"]
    assert record_of(house, since + 1) == []


def test_a_record_that_grew_too_long_forgets_its_oldest_lines() -> None:
    from markets.sandbox.truth import Truth

    truth = Truth(kept=3)
    for number in range(5):
        truth.record("request", number)

    assert [json.loads(line)["n"] for line in truth.since(0).splitlines()] == [3, 4, 5]
    assert [json.loads(line)["n"] for line in truth.since(4).splitlines()] == [5]


def test_signatures_and_private_keys_never_reach_the_record(house: House, desk: Peer) -> None:
    made = desk.call("POST", "/api_keys/generate", body={"name": "secret"}).json()

    text = house.venue.truth.since(0).decode()

    assert made["private_key"].splitlines()[1] not in text
    assert "SIGNATURE" not in text.upper()


def test_true_books_show_both_sides_best_first(house: House, desk: Peer, ticker: str, operate: Any) -> None:
    for price in ("0.4700", "0.4800"):
        desk.create(ticker, "bid", price, "10.00")
    desk.create(ticker, "ask", "0.5000", "1.50")

    book = operate("GET", f"books/{ticker}").json()

    assert book["bids"] == [["0.4800", "10.00"], ["0.4700", "10.00"]]
    assert book["asks"] == [["0.5000", "1.50"]]
    assert operate("GET", "books/KXNOBODY").status_code == 404


def test_a_take_trades_with_what_rests(desk: Peer, ticker: str, operate: Any) -> None:
    order = desk.create(ticker, "bid", "0.4800", "40.00").json()["order_id"]

    answer = operate("POST", f"markets/{ticker}/take", {"side": "ask", "price": "0.4800", "count": "15.00"})

    assert answer.json() == {"filled": "15.00", "ticker": ticker}
    assert desk.get(f"/portfolio/orders/{order}")["order"]["fill_count_fp"] == "15.00"
    assert (
        operate("POST", f"markets/{ticker}/take", {"side": "ask", "price": "0.48005", "count": "1"}).status_code == 400
    )


def test_markets_are_paused_activated_closed_and_settled(house: House, desk: Peer, operate: Any) -> None:
    ticker = house.market()

    statuses = [operate("POST", f"markets/{ticker}/{verb}").json()["status"] for verb in ("pause", "activate", "close")]
    reopened = operate("POST", f"markets/{ticker}/reopen", {"seconds": 60}).json()["status"]
    settled = operate("POST", f"markets/{ticker}/settle", {"result": "no"}).json()["status"]

    assert (statuses, reopened, settled) == (["inactive", "active", "closed"], "active", "finalized")
    assert desk.get(f"/markets/{ticker}")["market"]["result"] == "no"
    assert operate("POST", f"markets/{ticker}/pause").status_code == 400
    assert operate("POST", f"markets/{ticker}/dance").status_code == 404


def test_a_grid_changes_while_the_market_is_open(house: House, desk: Peer, operate: Any) -> None:
    ticker = house.market()

    operate("POST", f"markets/{ticker}/grid", {"structure": "deci_cent"})

    assert desk.create(ticker, "bid", "0.4810", "1.00").status_code == 201


def test_trading_is_paused_and_resumed(desk: Peer, ticker: str, operate: Any) -> None:
    order = desk.create(ticker, "bid", "0.4800", "1.00").json()["order_id"]
    assert operate("POST", "trading/pause", {}).json() == {"trading_active": False}

    refused = desk.create(ticker, "bid", "0.4800", "1.00")
    canceled = desk.call("DELETE", f"/portfolio/events/orders/{order}")

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "trading_is_paused")
    assert canceled.status_code == 200
    assert operate("POST", "trading/resume", {}).json() == {"trading_active": True}
    assert desk.create(ticker, "bid", "0.4800", "1.00").status_code == 201


def test_the_exchange_is_stopped_as_a_whole(desk: Peer, ticker: str, operate: Any) -> None:
    assert operate("POST", "exchange/pause", {}).json() == {"exchange_active": False}

    refused = desk.create(ticker, "bid", "0.4800", "1.00")
    operate("POST", "exchange/resume", {})

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "service_unavailable")


def test_the_clock_moves_forward_and_closes_what_is_due_and_signatures_go_on(
    house: House, desk: Peer, operate: Any
) -> None:
    ticker = house.market(close_us=house.venue.now_us() + 60_000_000)

    before = operate("GET", "clock").json()["now_ms"]
    after = operate("POST", "clock", {"advance_seconds": 61}).json()["now_ms"]

    assert 61_000 <= after - before < 63_000
    assert house.venue.exchange.markets[ticker].status == "closed"
    assert desk.get("/portfolio/orders")["orders"] == []
    assert operate("POST", "clock", {"advance_seconds": -1}).status_code == 400


def test_the_clock_is_held_and_released(operate: Any) -> None:
    held = operate("POST", "clock", {"hold": True}).json()
    again = operate("GET", "clock").json()
    released = operate("POST", "clock", {"release": True}).json()

    assert (held["held"], again["now_ms"], released["held"]) == (True, held["now_ms"], False)
    assert released["now_ms"] >= held["now_ms"]


def test_nobody_but_this_machine_is_answered(house: House) -> None:
    control = Control(house.venue)

    assert control.answer(Request("GET", "/__sandbox__/truth", client="192.0.2.7")).status == 404
    assert control.answer(Request("GET", "/__sandbox__/truth", client="127.0.0.1")).status == 200
    assert control.answer(Request("GET", "/__sandbox__/nothing", client="127.0.0.1")).status == 404
