"""The judge of all other tests of this folder sees what it is there to see."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from markets.sandbox.app import ROUTES
from markets.sandbox.rest_orders import gone
from markets.sandbox.running import Options, RunningSandbox
from markets.sandbox.sessions import Session
from tests.markets.sandbox.conformance import Judge
from tests.markets.sandbox.covered import COVERED, EMPTY, absence, silence
from tests.markets.sandbox.hearing import Ear, listen

BALANCE = {"balance": 1, "balance_dollars": "0.0100", "portfolio_value": 0, "updated_ts": 1}
TRADE = {
    "type": "trade",
    "sid": 1,
    "seq": 1,
    "msg": {
        "trade_id": "f4a42159-b500-47c6-afa2-c31d94d916c1",
        "market_ticker": "X",
        "yes_price_dollars": "0.5000",
        "no_price_dollars": "0.5000",
        "count_fp": "1.00",
        "taker_side": "yes",
        "taker_outcome_side": "yes",
        "taker_book_side": "bid",
        "is_block_trade": False,
        "ts": 1,
        "ts_ms": 1,
    },
}


@pytest.fixture
def own_judge(exchange_documents: Path) -> Judge:
    """Return a judge whose complaints are this test's own business."""
    return Judge(exchange_documents)


def answer_of(body: Any, status: int = 200) -> requests.Response:
    answer = requests.Response()
    answer.status_code = status
    answer.headers["content-type"] = "application/json"
    answer._content = (body if isinstance(body, str) else json.dumps(body)).encode()
    return answer


def test_a_body_as_documented_is_no_complaint(own_judge: Judge) -> None:
    own_judge.hear("GET", "/portfolio/balance", answer_of(BALANCE))
    own_judge.hear("WS", "trade", TRADE)

    assert own_judge.complaints == []
    assert own_judge.answers["GET", "/portfolio/balance", 200] == 1
    assert own_judge.frames["tradePayload"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**BALANCE, "a_surprise": 1}, 200),
        ({name: value for name, value in BALANCE.items() if name != "updated_ts"}, 200),
        ({**BALANCE, "balance": "1"}, 200),
        ('{"balance_dollars":"0.0100","balance":1,"portfolio_value":0,"updated_ts":1}', 200),
        (BALANCE, 202),
        ({"error": {"message": "no code"}}, 400),
        ({"error": {"code": "odd", "message": "odd", "service": "exchange"}}, 400),
    ],
)
def test_every_departure_of_a_body_is_a_complaint(own_judge: Judge, body: Any, status: int) -> None:
    own_judge.hear("GET", "/portfolio/balance", answer_of(body, status))

    assert own_judge.complaints != []


def test_an_operation_nobody_documented_is_a_complaint(own_judge: Judge) -> None:
    own_judge.hear("GET", "/portfolio/luck", answer_of({}))

    assert own_judge.complaints == ["GET /portfolio/luck 200: the document knows no such operation"]


@pytest.mark.parametrize(
    "frame",
    [
        {**TRADE, "type": "surprise"},
        {**TRADE, "extra": 1},
        {**TRADE, "msg": {**TRADE["msg"], "extra": 1}},  # type: ignore[dict-item]
        {name: value for name, value in TRADE.items() if name != "seq"},
        {**TRADE, "msg": {**TRADE["msg"], "taker_side": "maybe"}},  # type: ignore[dict-item]
    ],
)
def test_every_departure_of_a_frame_is_a_complaint(own_judge: Judge, frame: dict[str, Any]) -> None:
    own_judge.hear("WS", frame["type"], frame)

    assert own_judge.complaints != []


def test_the_report_counts_what_was_heard(own_judge: Judge) -> None:
    own_judge.hear("GET", "/portfolio/balance", answer_of(BALANCE))
    own_judge.hear("GET", "/portfolio/balance", answer_of({**BALANCE, "balance": 250}))
    own_judge.overhear("GET", "/portfolio/balance", answer_of(BALANCE))
    own_judge.hear("WS", "trade", TRADE)

    assert "2 GET    /portfolio/balance 200" in own_judge.totals()
    assert "1 tradePayload" in own_judge.totals()
    assert "        2 required balance_dollars" in own_judge.table()
    assert "        0 optional balance_breakdown" in own_judge.table()
    assert ("GET /portfolio/balance 200", "balance_breakdown") in set(own_judge.unseen())


def test_a_second_body_of_the_same_form_is_judged_by_its_form_alone(own_judge: Judge) -> None:
    own_judge.hear("GET", "/portfolio/balance", answer_of(BALANCE))
    own_judge.hear("GET", "/portfolio/balance", answer_of({**BALANCE, "balance_dollars": "0.01"}))

    (complaint,) = own_judge.complaints
    assert "balance_dollars: '0.01' does not match" in complaint


def test_the_128_operations_are_served_or_a_reason_is_given(own_judge: Judge) -> None:
    documented = {
        f"{method.upper()} {path}"
        for path, operations in own_judge.rest["paths"].items()
        for method, operation in operations.items()
        if "operationId" in operation
    }
    assert len(documented) == 128
    assert documented >= COVERED | set(EMPTY)
    assert COVERED.isdisjoint(EMPTY)

    for operation in sorted(documented):
        assert (absence(operation) is None) == (operation in COVERED or operation in EMPTY), operation


def test_what_is_listed_as_served_is_what_is_served(own_judge: Judge) -> None:
    served = {f"{route.method} {route.path}": route.operation for route in ROUTES if route.handle is not gone}

    assert {re.sub(r"\{\w+\}", "{}", name) for name in served} == {
        re.sub(r"\{\w+\}", "{}", name) for name in COVERED | set(EMPTY)
    }
    for route in ROUTES:
        found = own_judge.operation(route.method, re.sub(r"\{\w+\}", "x", route.path))
        if route.handle is not gone:
            assert found is not None
            assert (route.operation, bool(route.scope)) == (found[1]["operationId"], bool(found[1].get("security")))


def test_what_was_never_sent_is_named_and_an_excuse_is_not(own_judge: Judge) -> None:
    own_judge.hear("GET", "/portfolio/balance", answer_of(BALANCE))
    refused = {"client_order_id": None, "error": {"code": "not_found", "message": "not found"}, "order_id": "x"}
    batch = {"orders": [{**refused, "reduced_by": "0.00", "ts_ms": None}]}
    own_judge.hear("DELETE", "/portfolio/events/orders/batched", answer_of(batch))
    own_judge.hear("WS", "trade", TRADE)

    found = set(silence(own_judge))

    assert {line for line in found if line.startswith("GET /portfolio/balance")} == {
        "GET /portfolio/balance 200: balance_breakdown",
        "GET /portfolio/balance 200: balance_breakdown.balance",
        "GET /portfolio/balance 200: balance_breakdown.exchange_index",
    }
    assert {line for line in found if line.startswith("DELETE /portfolio/events/orders/")} == {
        "DELETE /portfolio/events/orders/{order_id}: never answered",
    }
    assert {line for line in found if line.startswith("tradePayload")} == {"tradePayload: sending_ts_ms"}
    assert "tickerPayload: never sent" in found


def test_the_ear_hears_exchanges_that_others_start(own_judge: Judge) -> None:
    ear = Ear(own_judge.documents)
    stop = listen(ear)
    try:
        running = RunningSandbox(Options(markets=0, has_makers=False))
        requests.get(f"{running.rest_url}/exchange/status", timeout=5).close()
        running.stop()
    finally:
        stop()

    assert ear.complaints() == []
    assert ear.judge.answers == {("GET", "/exchange/status", 200): 1}


def test_the_ear_hears_that_a_sid_ends_and_that_once(own_judge: Judge) -> None:
    ear = Ear(own_judge.documents)
    session = Session(_unsent, None, member="desk", subaccount=None, now_ms=lambda: 5)
    ended = session.open_subscription("orderbook_delta")
    stop = listen(ear)
    try:
        session.terminate(ended, 10, "Channel error")
        session.terminate(ended, 10, "Channel error")
    finally:
        stop()

    assert [json.loads(str(said)) for said in ear.said] == [
        {"type": "error", "sid": 1, "seq": 1, "msg": {"code": 10, "msg": "Channel error"}, "sending_ts_ms": 5}
    ]
    assert ear.complaints() == []


async def _unsent(message: dict[str, Any]) -> None:
    raise AssertionError("nothing is written here")


def test_the_ear_hears_a_refused_handshake(own_judge: Judge) -> None:
    ear = Ear(own_judge.documents)
    running = RunningSandbox(Options(markets=0, has_makers=False))
    stop = listen(ear)
    try:
        with pytest.raises(websocket.WebSocketBadStatusException):
            websocket.create_connection(running.ws_url, timeout=5)
    finally:
        stop()
        running.stop()

    assert ear.complaints() == []
    assert ear.judge.answers == {("GET", "/trade-api/ws/v2", 401): 1}
