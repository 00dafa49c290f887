"""The judge of all other tests of this folder sees what it is there to see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.markets.sandbox.conformance import Judge

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
    own_judge.hear("WS", "trade", TRADE)

    assert "1 GET    /portfolio/balance 200" in own_judge.report()
    assert "1 tradePayload" in own_judge.report()
