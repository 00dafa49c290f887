"""What a private stream does with what it hears, and with what it cannot read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from markets.kalshi.feed import Connected, FillReceived, Malformed, UserOrderReceived
from markets.kalshi.messages import FillTick, UserOrder, read_body
from tests.trading.exchange import ScriptedExchange, Turn
from trading import booking, stream
from trading.models import Account, ApiKey, Order
from trading.stream import PrivateStream


@pytest.fixture
def private(ready: ScriptedExchange, api_key: ApiKey, monkeypatch: pytest.MonkeyPatch) -> PrivateStream:
    """Return a stream that is driven by hand: no socket, no thread."""
    monkeypatch.setattr(stream, "close_old_connections", lambda: None)
    monkeypatch.setattr(stream, "IDLE_SECONDS", 0)
    return PrivateStream(api_key)


def test_orders_and_fills_are_written_down(
    ready: ScriptedExchange, private: PrivateStream, place: Callable[..., Order]
) -> None:
    order = place()
    said = ready.fill(order.exchange_order_id or "", "4.00")
    row = ready.orders[order.exchange_order_id or ""]

    private.take(UserOrderReceived(read_body(UserOrder, json.dumps(row).encode()), 1))
    tick = {**said, "client_order_id": order.client_order_id, "ts_ms": 1_795_356_000_000}
    private.take(FillReceived(read_body(FillTick, json.dumps(tick).encode()), 1))

    order.refresh_from_db()
    assert (order.state_words, order.fills.count()) == ("partly filled", 1)


@pytest.mark.parametrize("event", [Connected(2), Malformed(None, "no JSON")])
def test_what_was_missed_is_asked_for(
    ready: ScriptedExchange, private: PrivateStream, place: Callable[..., Order], event: Any
) -> None:
    order = place()
    ready.fill(order.exchange_order_id or "", "10.00")

    private._events.put(event)
    private._turn()

    order.refresh_from_db()
    assert order.state == "executed"


def test_an_exchange_that_does_not_answer_is_asked_again(
    ready: ScriptedExchange, private: PrivateStream, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    Account.objects.update(reconciled_at=None)
    monkeypatch.setattr(stream, "COMPARE_AGAIN_SECONDS", 0)
    ready.reads.extend([("/portfolio/orders", (500, {}))] * 3)
    private.account.refresh_from_db()

    private._events.put(Connected(1))
    private._turn()
    account.refresh_from_db()
    assert account.reconciled_at is None

    private._turn()
    account.refresh_from_db()
    assert account.reconciled_at is not None


def test_unknown_orders_are_looked_for_without_being_asked(
    ready: ScriptedExchange, private: PrivateStream, place: Callable[..., Order]
) -> None:
    order = place(Turn(answer="drop"))

    private._turn()

    order.refresh_from_db()
    assert order.state == "resting"


def test_what_could_not_be_written_down_is_found_by_a_comparison(
    ready: ScriptedExchange, private: PrivateStream, place: Callable[..., Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = place()
    row = ready.orders[order.exchange_order_id or ""]
    ready.fill(row["order_id"], "10.00")
    monkeypatch.setattr(booking, "hear", _fails_once(booking.hear))
    private._events.put(UserOrderReceived(read_body(UserOrder, json.dumps(row).encode()), 1))
    private._is_stopping.set()
    monkeypatch.setattr(stream, "COMPARE_AGAIN_SECONDS", 0)

    private._run()
    order.refresh_from_db()
    assert order.state == "resting"

    private._turn()
    order.refresh_from_db()
    assert order.state == "executed"


def _fails_once(real: Callable[..., None]) -> Callable[..., None]:
    failures = [RuntimeError("the disk is full")]

    def hear(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        real(*arguments)

    return hear


def test_a_connection_is_noted(private: PrivateStream) -> None:
    assert not private.is_connected
    private.take(Connected(1))
    assert private.is_connected
    assert private._compare_at is not None
    assert private._compare_at <= time.monotonic()
