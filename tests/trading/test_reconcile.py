"""What the exchange has becomes what we have, however it is told; and a look-up that fails changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from markets.kalshi.errors import KalshiError
from markets.kalshi.messages import FillBody, FillTick, OrderBody, UserOrder, read_body
from markets.kalshi.rest import RestClient
from tests.trading.conftest import TICKER
from tests.trading.exchange import Answer, ScriptedExchange, Turn
from tests.trading.test_models import an_order
from trading import booking, orders, reconcile, tasks
from trading.models import Account, ApiKey, AuditEntry, DeskEvent, Fill, Order


def elsewhere(exchange: ScriptedExchange, **changes: str) -> dict[str, Any]:
    """Place 5 NO at 40¢ at the exchange itself, changed as told."""
    return exchange.place({"ticker": TICKER, "side": "ask", "price": "0.6000", "count": "5.00", **changes})


def order_body(said: dict[str, Any]) -> OrderBody:
    """Read a row of the exchange's list."""
    return read_body(OrderBody, json.dumps(said).encode())


def fill_body(said: dict[str, Any]) -> FillBody:
    """Read a row of the exchange's fills."""
    return read_body(FillBody, json.dumps(said).encode())


# --- orders ---------------------------------------------------------------------------------------------------


def test_what_was_filled_while_nobody_listened_is_found(
    ready: ScriptedExchange, reader: RestClient, account: Account, place: Callable[..., Order]
) -> None:
    order = place()
    ready.fill(order.exchange_order_id or "", "4.00", fee="0.017000")

    reconcile.compare(account, reader)

    order.refresh_from_db()
    assert (order.state, order.filled, order.remaining, order.fees) == (
        "resting",
        Decimal(4),
        Decimal(6),
        Decimal("0.017"),
    )
    fill = Fill.objects.get()
    assert (fill.order, fill.count, fill.wire_price, fill.fee) == (order, Decimal(4), Decimal("0.48"), Decimal("0.017"))


@pytest.mark.parametrize("end", ["executed", "canceled"])
def test_an_end_while_nobody_listened_is_found(
    ready: ScriptedExchange, reader: RestClient, account: Account, place: Callable[..., Order], end: str
) -> None:
    order = place()
    if end == "executed":
        ready.fill(order.exchange_order_id or "", "10.00")
    else:
        ready.end(order.exchange_order_id or "")

    reconcile.compare(account, reader)

    order.refresh_from_db()
    assert order.state == end


def test_an_order_that_is_on_no_list_is_asked_for_by_its_id(
    ready: ScriptedExchange, reader: RestClient, account: Account, place: Callable[..., Order]
) -> None:
    order = place()
    ready.end(order.exchange_order_id or "")
    ready.reads.extend([("/portfolio/orders", (200, {"orders": [], "cursor": ""}))] * 2)

    reconcile.compare(account, reader)

    order.refresh_from_db()
    assert order.state == "canceled"


def test_an_exchange_that_does_not_show_an_order_proves_nothing(
    ready: ScriptedExchange, reader: RestClient, account: Account, place: Callable[..., Order]
) -> None:
    order = place()
    del ready.orders[order.exchange_order_id or ""]

    reconcile.compare(account, reader)

    order.refresh_from_db()
    assert order.state == "resting"


BROKEN: list[Answer] = [
    "drop",
    "truncate",
    (500, {}),
    (200, b"<html>maintenance</html>"),
    (200, {"orders": "none"}),
    (429, {"error": "too many requests"}),
    (200, {"orders": [], "cursor": "again"}),  # and the same cursor once more: the list cannot be complete
]


@pytest.mark.parametrize("answer", BROKEN)
def test_a_look_up_that_fails_changes_no_order(
    ready: ScriptedExchange, reader: RestClient, account: Account, place: Callable[..., Order], answer: Answer
) -> None:
    reader._pause = lambda seconds: None
    placed = [place() for _ in range(3)]
    for order in placed:
        ready.fill(order.exchange_order_id or "", "4.00")
    before = account.reconciled_at
    ready.reads.extend([("/portfolio/orders", answer)] * 3)

    with pytest.raises(KalshiError):
        reconcile.compare(account, reader)

    assert set(Order.objects.values_list("state", "filled")) == {("resting", Decimal(0))}
    account.refresh_from_db()
    assert account.reconciled_at == before
    assert account.reconcile_error != ""

    ready.reads.clear()
    reconcile.compare(account, reader)
    assert set(Order.objects.values_list("state", "filled")) == {("resting", Decimal(4))}
    assert Fill.objects.count() == 3


def test_nothing_new_writes_nothing(
    ready: ScriptedExchange, reader: RestClient, account: Account, place: Callable[..., Order]
) -> None:
    order = place()
    ready.fill(order.exchange_order_id or "", "4.00")
    reconcile.compare(account, reader)
    written = AuditEntry.objects.count()

    reconcile.compare(account, reader)

    assert AuditEntry.objects.count() == written


# --- orders from elsewhere --------------------------------------------------------------------------------------


def test_an_order_placed_elsewhere_is_adopted_and_followed(
    ready: ScriptedExchange, reader: RestClient, account: Account
) -> None:
    theirs = elsewhere(ready)
    reconcile.compare(account, reader)

    order = Order.objects.get()
    assert (order.is_external, order.placed_by, order.who) == (True, None, "EXT")
    assert (order.action, order.side, order.price, order.count) == ("buy", "no", Decimal("0.40"), Decimal(5))
    assert (order.state, order.wire_side, order.wire_price) == ("resting", "ask", Decimal("0.60"))

    ready.fill(theirs["order_id"], "5.00")
    reconcile.compare(account, reader)
    order.refresh_from_db()
    assert (order.state, order.fills.count()) == ("executed", 1)
    assert Order.objects.count() == 1


def test_an_order_placed_elsewhere_can_be_canceled_here(
    ready: ScriptedExchange, reader: RestClient, account: Account, bob: User
) -> None:
    elsewhere(ready)
    reconcile.compare(account, reader)

    assert orders.cancel(bob, order=Order.objects.get()).state == "canceled"


def test_an_order_that_should_not_be_there_becomes_visible(
    ready: ScriptedExchange, reader: RestClient, account: Account, place: Callable[..., Order]
) -> None:
    ours = place(Turn(accept=False))
    assert ours.state == "rejected"
    ready.place(
        {"ticker": TICKER, "side": "bid", "price": "0.4800", "count": "10.00", "client_order_id": ours.client_order_id}
    )

    reconcile.compare(account, reader)
    reconcile.compare(account, reader)

    ours.refresh_from_db()
    assert (ours.state, ours.reason_code) == ("rejected", "CONTRADICTED")
    assert Order.objects.get(is_external=True).state == "resting"
    assert AuditEntry.objects.filter(action="order.contradicted").count() == 1


# --- fills ------------------------------------------------------------------------------------------------------


def test_a_fill_is_booked_once_however_often_it_is_told(
    ready: ScriptedExchange, account: Account, place: Callable[..., Order]
) -> None:
    order = place()
    said = ready.fill(order.exchange_order_id or "", "4.00")

    told = [booking.book(account, fill_body(said)) for _ in range(5)]
    told.append(booking.book(account, tick_of(said, order.client_order_id)))

    assert told == [True, False, False, False, False, False]
    order.refresh_from_db()
    assert (order.filled, order.remaining, order.state) == (Decimal(4), Decimal(6), "resting")
    assert DeskEvent.objects.filter(kind="fill").count() == 1


def tick_of(said: dict[str, Any], client_order_id: str | None) -> FillTick:
    """Return the same fill as the private stream tells it."""
    tick = {**said, "market_ticker": said["ticker"], "client_order_id": client_order_id, "ts_ms": 1_795_356_000_000}
    return read_body(FillTick, json.dumps(tick).encode())


def test_fills_may_come_in_any_order_and_after_the_end(
    ready: ScriptedExchange, account: Account, place: Callable[..., Order]
) -> None:
    order = place()
    first, second = (ready.fill(order.exchange_order_id or "", count) for count in ("4.00", "3.00"))
    ready.end(order.exchange_order_id or "")
    booking.hear(account, order_body(ready.orders[order.exchange_order_id or ""]))

    booking.book(account, fill_body(second))
    booking.book(account, fill_body(first))

    order.refresh_from_db()
    assert (order.state, order.filled, order.fills.count()) == ("canceled", Decimal(7), 2)


def test_the_fills_alone_can_prove_that_an_order_is_executed(
    ready: ScriptedExchange, account: Account, place: Callable[..., Order]
) -> None:
    order = place()
    for count in ("4.00", "6.00"):
        booking.book(account, fill_body(ready.fill(order.exchange_order_id or "", count)))

    order.refresh_from_db()
    assert (order.state, order.remaining) == ("executed", Decimal(0))


def test_a_fill_of_the_stream_proves_that_an_unknown_order_exists(
    ready: ScriptedExchange, account: Account, place: Callable[..., Order]
) -> None:
    order = place(Turn(answer="drop"))
    assert order.state == "unknown"
    (exchange_id,) = ready.orders

    booking.book(account, tick_of(ready.fill(exchange_id, "4.00"), order.client_order_id))

    order.refresh_from_db()
    assert (order.state, order.exchange_order_id, order.filled) == ("resting", exchange_id, Decimal(4))


def test_a_fill_before_its_order_is_known_finds_it_later(
    ready: ScriptedExchange, account: Account, place: Callable[..., Order]
) -> None:
    order = place(Turn(answer="drop"))
    (exchange_id,) = ready.orders
    booking.book(account, fill_body(ready.fill(exchange_id, "4.00")))
    assert Fill.objects.get().order is None

    booking.hear(account, order_body(ready.orders[exchange_id]))

    assert Fill.objects.get().order == order
    order.refresh_from_db()
    assert (order.state, order.filled) == ("resting", Decimal(4))


def test_more_filled_than_ordered_is_flagged(
    ready: ScriptedExchange, account: Account, place: Callable[..., Order]
) -> None:
    order = place()
    for count in ("6.00", "6.00"):
        booking.book(account, fill_body(ready.fill(order.exchange_order_id or "", count)))

    order.refresh_from_db()
    assert (order.filled, order.is_overfilled) == (Decimal(12), True)


def test_a_message_of_the_private_stream_is_heard(
    ready: ScriptedExchange, account: Account, place: Callable[..., Order]
) -> None:
    order = place()
    row = ready.orders[order.exchange_order_id or ""]
    ready.fill(row["order_id"], "4.00")
    ready.end(row["order_id"])
    said = read_body(UserOrder, json.dumps({**row, "last_update_reason": "ExpiryCancel"}).encode())

    booking.hear(account, said)

    order.refresh_from_db()
    assert (order.state, order.filled, order.reason_text) == ("canceled", Decimal(4), "Expired.")


# --- by the schedule ------------------------------------------------------------------------------------------------


def test_the_sweep_compares_every_account_with_a_key(
    ready: ScriptedExchange, account: Account, place: Callable[..., Order]
) -> None:
    order = place()
    ready.fill(order.exchange_order_id or "", "10.00")
    Account.objects.update(reconciled_at=None)

    tasks.sweep_orders()

    order.refresh_from_db()
    account.refresh_from_db()
    assert order.state == "executed"
    assert account.reconciled_at is not None
    assert account.reconciling_until is None


def test_a_sweep_of_an_exchange_that_does_not_answer_ends_quietly(
    ready: ScriptedExchange, account: Account, place: Callable[..., Order]
) -> None:
    place()
    Account.objects.update(reconciled_at=None)
    ready.__exit__()

    tasks.sweep_orders()

    account.refresh_from_db()
    assert account.reconciled_at is None
    assert account.reconcile_error == "The exchange does not answer."


def test_an_account_that_is_being_compared_is_left_alone(
    ready: ScriptedExchange, account: Account, api_key: ApiKey
) -> None:
    assert reconcile.claim(account.pk)
    tasks.reconcile_account(account.pk)
    assert ready.requests == []

    reconcile.release(account.pk)
    tasks.reconcile_account(account.pk)
    assert ready.requests != []


def test_a_sweep_lets_lapse_what_was_never_sent(ready: ScriptedExchange, account: Account) -> None:
    old = an_order(account, state="queued", created_at=timezone.now() - timedelta(seconds=6))
    young = an_order(account, state="queued")

    tasks.sweep_orders()

    old.refresh_from_db()
    young.refresh_from_db()
    assert (old.state, young.state) == ("lapsed", "queued")


def test_the_tasks_never_send_an_order(ready: ScriptedExchange, account: Account, api_key: ApiKey) -> None:
    for state in ("draft", "queued", "sending", "unknown", "needs_human"):
        an_order(account, state=state, sent_at=timezone.now(), client_order_id=state)

    for _ in range(3):
        tasks.sweep_orders()
        tasks.check_unknown(account.pk)

    assert ready.sent == []


def test_an_account_whose_key_cannot_be_used_says_so(
    ready: ScriptedExchange, account: Account, api_key: ApiKey
) -> None:
    ApiKey.objects.filter(pk=api_key.pk).update(ciphertext=b"damaged")

    tasks.sweep_orders()

    account.refresh_from_db()
    assert account.reconcile_error != ""
    assert ready.requests == []


def test_a_second_order_under_our_id_becomes_visible(
    ready: ScriptedExchange, reader: RestClient, account: Account, place: Callable[..., Order]
) -> None:
    ours = place()
    ready.place(
        {"ticker": TICKER, "side": "bid", "price": "0.4800", "count": "10.00", "client_order_id": ours.client_order_id}
    )

    reconcile.compare(account, reader)
    reconcile.compare(account, reader)

    twin = Order.objects.get(is_external=True)
    assert (twin.state, twin.count, twin.client_order_id) == ("resting", Decimal(10), None)
    assert twin.exchange_order_id != ours.exchange_order_id
    assert Order.objects.count() == 2


@pytest.mark.parametrize("booked", [1, 9])
def test_a_scan_books_no_fill_again(
    ready: ScriptedExchange, reader: RestClient, account: Account, place: Callable[..., Order], booked: int
) -> None:
    order = place()
    for _ in range(booked):
        ready.fill(order.exchange_order_id or "", "1.00")
    reconcile.compare(account, reader)
    place(Turn(accept=False, answer="drop"))

    with CaptureQueriesContext(connection) as queries:
        reconcile.resolve(account, reader)

    assert not any("SAVEPOINT" in query["sql"] for query in queries)
    assert len(queries) == 6  # however many are booked

    ready.fill(order.exchange_order_id or "", "1.00")
    reconcile.resolve(account, reader)
    assert Fill.objects.count() == booked + 1
