"""Writes leave once; what their failure means decides what may happen to an order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from markets.kalshi.errors import OutcomeUnknown, RateLimited, Rejected, Unavailable
from markets.kalshi.limits import Kind
from markets.kalshi.messages import CreateOrder
from markets.kalshi.prices import NotRepresentable
from markets.kalshi.rest import RestClient, transport
from markets.kalshi.signing import Signer
from tests.markets.kalshi.scripted import DROP, HANG, TRUNCATED, Scripted, Step, answer, scripted_exchange
from tests.wire import rest as wire

ORDER = CreateOrder(ticker=wire.TICKER, side="bid", count=D(10), price=D("0.31"), client_order_id=wire.OUR_ID)


class Tokens:
    """A budget that notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Kind, int]] = []

    def acquire(self, kind: Kind, tokens: int) -> None:
        self.asked.append((kind, tokens))


@contextmanager
def client_of(script: Scripted, **options: Any) -> Iterator[RestClient]:
    with RestClient(script.url, **({"timeout": (1.0, 0.3)} | options)) as client:
        yield client


def test_an_order_goes_out_as_strings_in_the_exchanges_words(signer: Signer) -> None:
    with scripted_exchange(answer(201, wire.ACK)) as script, client_of(script, signer=signer) as client:
        ack = client.create_order(ORDER)
    [heard] = script.heard

    assert (heard.method, heard.target) == ("POST", "/trade-api/v2/portfolio/events/orders")
    assert heard.headers["Content-Type"] == "application/json"
    assert heard.json == {
        "ticker": wire.TICKER,
        "client_order_id": wire.OUR_ID,
        "side": "bid",
        "count": "10.00",
        "price": "0.3100",
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
    }
    assert (ack.order_id, ack.filled, ack.remaining, ack.fees) == (wire.ORDER_ID, D(4), D(6), D("0.06"))


def test_what_an_order_asks_beyond_the_usual_is_said() -> None:
    order = replace(ORDER, expires_at=1_795_442_400, post_only=True, cancel_on_pause=True, subaccount=0)
    with scripted_exchange(answer(201, wire.ACK)) as script, client_of(script) as client:
        client.create_order(order)
    sent = script.heard[0].json
    assert (sent["expiration_time"], sent["post_only"], sent["cancel_order_on_pause"], sent["subaccount"]) == (
        1_795_442_400,
        True,
        True,
        0,
    )
    assert "reduce_only" not in sent


@pytest.mark.parametrize("change", [{"price": D("0.31005")}, {"price": D(1)}, {"count": D("0.001")}, {"count": D(0)}])
def test_an_order_without_notation_is_never_made(change: dict[str, Any]) -> None:
    with pytest.raises(NotRepresentable):
        replace(ORDER, **change)


@pytest.mark.parametrize(
    "change", [{"side": "buy"}, {"client_order_id": ""}, {"expires_at": 5, "time_in_force": "fill_or_kill"}]
)
def test_an_order_that_contradicts_itself_is_never_made(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(ORDER, **change)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410])
def test_a_definite_refusal_is_rejected_and_sent_once(status: int) -> None:
    body = wire.refused("insufficient_balance")
    with scripted_exchange(answer(status, body)) as script, client_of(script) as client:  # noqa: SIM117
        with pytest.raises(Rejected) as refused:
            client.create_order(ORDER)
    assert (refused.value.status, refused.value.code, len(script.heard)) == (status, "insufficient_balance", 1)


def test_too_many_requests_is_told_and_not_sent_again() -> None:
    with scripted_exchange(answer(429, {"error": "too many requests"}, Retry_After="3")) as script:  # noqa: SIM117
        with client_of(script) as client, pytest.raises(RateLimited) as limited:
            client.create_order(ORDER)
    assert (limited.value.retry_after_seconds, len(script.heard)) == (3.0, 1)


UNKNOWN: list[tuple[str, Step]] = [
    ("dropped", DROP),
    ("no answer in time", HANG),
    ("half an answer", TRUNCATED),
    ("half a status line", Step(b"HTTP/1.1 20", then="close")),
    ("408", answer(408)),
    ("500", answer(500, wire.refused("internal_error"))),
    ("502", answer(502, b"<html>bad gateway</html>")),
    ("503", answer(503, wire.refused("service_unavailable"))),
    ("504", answer(504)),
    ("a redirect", answer(307, Location="http://127.0.0.1:9/")),
    ("an odd status", answer(422, wire.refused("unprocessable"))),
    ("no body", answer(201)),
    ("no JSON", answer(201, b"<html>")),
    ("no order id", answer(201, {"fill_count": "0.00", "remaining_count": "10.00", "ts_ms": 1})),
    ("an empty order id", answer(201, wire.ACK | {"order_id": ""})),
    ("an error in a 200", answer(200, wire.refused("deprecated_v1_order_endpoint"))),
    ("no counts", answer(201, {"order_id": wire.ORDER_ID, "ts_ms": 1})),
    ("a count that is none", answer(201, wire.ACK | {"fill_count": "NaN"})),
    ("another order", answer(201, wire.ACK | {"client_order_id": "somebody-elses"})),
]


@pytest.mark.parametrize("step", [row[1] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
def test_whatever_leaves_it_open_is_unknown_and_sent_once(step: Step, signer: Signer) -> None:
    with scripted_exchange(step, step, step) as script, client_of(script, signer=signer) as client:  # noqa: SIM117
        with pytest.raises(OutcomeUnknown) as failed:
            client.create_order(ORDER)
    assert len(script.heard) == 1
    assert failed.value.__context__ is None
    assert "KALSHI" not in repr(failed.value)


def test_an_order_that_found_no_connection_never_left() -> None:
    with scripted_exchange() as script:
        url = script.url
    with RestClient(url, timeout=(0.5, 0.5)) as client, pytest.raises(Unavailable):
        client.create_order(ORDER)


def test_a_connection_that_rested_too_long_is_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [answer(201, wire.ACK)] * 3
    with scripted_exchange(*steps) as script, client_of(script) as client:
        client.create_order(ORDER)
        client.create_order(ORDER)
        later = time.monotonic() + transport.IDLE_MOST_SECONDS + 1
        monkeypatch.setattr(time, "monotonic", lambda: later)
        client.create_order(ORDER)
    assert [heard.connection for heard in script.heard] == [1, 1, 2]


def test_a_connection_that_died_while_resting_costs_no_order() -> None:
    closing = answer(201, wire.ACK)
    closing.then = "close"
    with scripted_exchange(closing, answer(201, wire.ACK)) as script, client_of(script) as client:
        client.create_order(ORDER)
        assert script.closed.acquire(timeout=5)
        client.create_order(ORDER)
    assert [heard.connection for heard in script.heard] == [1, 2]


def test_a_cancel_names_the_market_so_that_its_shard_is_found() -> None:
    with scripted_exchange(answer(200, {"order_id": wire.ORDER_ID, "reduced_by": "6.00", "ts_ms": 1})) as script:  # noqa: SIM117
        with client_of(script) as client:
            ack = client.cancel_order(wire.ORDER_ID, ticker=wire.TICKER)
    [heard] = script.heard
    assert (heard.method, heard.path) == ("DELETE", f"/trade-api/v2/portfolio/events/orders/{wire.ORDER_ID}")
    assert heard.query == f"market_ticker={wire.TICKER}"
    assert ack.reduced_by == D(6)


def test_nothing_left_to_cancel_is_a_refusal_that_proves_nothing() -> None:
    with scripted_exchange(answer(404, wire.refused("not_found"))) as script, client_of(script) as client:  # noqa: SIM117
        with pytest.raises(Rejected) as refused:
            client.cancel_order(wire.ORDER_ID, ticker=wire.TICKER)
    assert refused.value.is_code("not_found")


def test_a_cancel_whose_answer_is_lost_is_unknown_and_not_repeated() -> None:
    with scripted_exchange(DROP, DROP) as script, client_of(script) as client, pytest.raises(OutcomeUnknown):
        client.cancel_order(wire.ORDER_ID, ticker=wire.TICKER)
    assert len(script.heard) == 1


def test_amend_decrease_and_cancel_all_go_where_they_should() -> None:
    amended = {"order_id": wire.ORDER_ID, "remaining_count": None, "fill_count": None, "ts_ms": 1}
    decreased = {"order_id": wire.ORDER_ID, "remaining_count": "2.00", "ts_ms": 1}
    with scripted_exchange(answer(200, amended), answer(200, decreased), answer(204)) as script:  # noqa: SIM117
        with client_of(script) as client:
            amend = client.amend_order(wire.ORDER_ID, ticker=wire.TICKER, side="bid", price=D("0.3"), count=D(8))
            decrease = client.decrease_order(wire.ORDER_ID, ticker=wire.TICKER, reduce_to=D(2))
            client.cancel_all()

    first, second, third = script.heard
    assert first.path.endswith(f"/portfolio/events/orders/{wire.ORDER_ID}/amend")
    assert first.json == {"ticker": wire.TICKER, "side": "bid", "price": "0.3000", "count": "8.00"}
    assert (amend.filled, amend.remaining, decrease.remaining) == (None, None, D(2))
    assert second.json == {"reduce_to": "2.00", "market_ticker": wire.TICKER}
    assert (third.method, third.target) == ("DELETE", "/trade-api/v2/portfolio/events/orders")


def test_a_generated_key_is_returned_once_and_never_shown() -> None:
    with scripted_exchange(answer(201, wire.GENERATED), answer(204)) as script, client_of(script) as client:
        key = client.generate_api_key(name="desk", scopes=["read", "write::trade"])
        client.delete_api_key(key.api_key_id)

    assert script.heard[0].json == {"name": "desk", "key_type": "ed25519", "scopes": ["read", "write::trade"]}
    assert (key.api_key_id, "CANARY" in key.private_key) == ("k-77", True)
    assert "CANARY" not in f"{key!r} {key}"
    assert (script.heard[1].method, script.heard[1].path) == ("DELETE", "/trade-api/v2/api_keys/k-77")


def test_a_key_whose_answer_cannot_be_read_is_unknown_and_its_text_is_in_no_error() -> None:
    body = {"private_key": "CANARY"}
    with scripted_exchange(answer(201, body)) as script, client_of(script) as client:  # noqa: SIM117
        with pytest.raises(OutcomeUnknown) as failed:
            client.generate_api_key(name="desk", scopes=["read"])
    assert "CANARY" not in repr(failed.value)
    assert failed.value.__context__ is None


def test_each_request_takes_the_tokens_that_the_exchange_counts() -> None:
    tokens = Tokens()
    steps = [
        answer(200, wire.STATUS),
        answer(200, {"order": wire.ORDER}),
        answer(201, wire.ACK),
        answer(200, {"order_id": wire.ORDER_ID, "reduced_by": "6.00", "ts_ms": 1}),
        answer(200, wire.BALANCE),
    ]
    with scripted_exchange(*steps) as script, client_of(script, budget=tokens) as client:
        client.exchange_status()
        client.order(wire.ORDER_ID)
        client.create_order(ORDER)
        client.cancel_order(wire.ORDER_ID, ticker=wire.TICKER)
        client.balance()
    assert tokens.asked == [("read", 10), ("read", 2), ("write", 10), ("write", 2)]


@pytest.mark.parametrize("order_id", ["", "..", "x" * 201])
def test_what_cannot_be_an_id_is_not_sent(order_id: str) -> None:
    with scripted_exchange() as script, client_of(script) as client, pytest.raises(ValueError):
        client.cancel_order(order_id, ticker=wire.TICKER)
    assert script.heard == []
