"""One intent, at most one request: what is written before it leaves, and what its answer makes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection
from django.http import Http404
from django.utils import timezone

from markets.models import Market
from tests.trading.conftest import ENV, TICKER, a_ticket
from tests.trading.exchange import Answer, ScriptedExchange, Turn
from trading import clients, events, orders
from trading.models import Account, ApiKey, AuditEntry, DeskEvent, Order, RiskLimit, Team
from trading.orders import KeyReused, NoKey


def submit(actor: User, team: Team, *, key: str = "k1", **changes: object) -> Order:
    """Submit a ticket for 10 YES at 48¢, changed as told."""
    return orders.submit(actor, team=team, environment=ENV, ticket=a_ticket(**changes), idempotency_key=key)


# --- answers --------------------------------------------------------------------------------------------------


def test_an_order_rests_and_everything_is_written_down(ready: ScriptedExchange, bob: User, team: Team) -> None:
    order = submit(bob, team)

    assert (order.state, order.remaining, order.filled) == ("resting", Decimal(10), Decimal(0))
    assert order.exchange_order_id in ready.orders
    assert ready.sent == [
        {
            "ticker": TICKER,
            "client_order_id": order.client_order_id,
            "side": "bid",
            "count": "10.00",
            "price": "0.4800",
            "time_in_force": "good_till_canceled",
            "self_trade_prevention_type": "taker_at_cross",
        }
    ]
    actions = list(AuditEntry.objects.filter(team=team).order_by("number").values_list("action", "actor_name"))
    assert actions == [
        ("order.submitted", "bob"),
        ("order.queued", "bob"),
        ("order.sending", ""),
        ("order.resting", ""),
    ]
    assert list(DeskEvent.objects.order_by("number").values_list("number", flat=True)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "side", "price"),
    [
        ({"action": "buy", "side": "yes", "price": Decimal("0.48")}, "bid", "0.4800"),
        ({"action": "sell", "side": "yes", "price": Decimal("0.48")}, "ask", "0.4800"),
        ({"action": "buy", "side": "no", "price": Decimal("0.51")}, "ask", "0.4900"),
        ({"action": "sell", "side": "no", "price": Decimal("0.51")}, "bid", "0.4900"),
    ],
)
def test_the_four_directions_go_out_as_bids_and_asks_for_yes(
    ready: ScriptedExchange, bob: User, team: Team, changes: dict[str, Any], side: str, price: str
) -> None:
    order = submit(bob, team, **changes)

    assert (ready.sent[0]["side"], ready.sent[0]["price"]) == (side, price)
    assert (order.action, order.side, order.price) == (changes["action"], changes["side"], changes["price"])


@pytest.mark.parametrize(
    ("turn", "changes", "state", "filled", "reason"),
    [
        (Turn(fill="10.00"), {}, "executed", "10", ""),
        (Turn(fill="4.00"), {}, "resting", "4", ""),
        (Turn(fill="4.00", rest=False), {"time_in_force": "immediate_or_cancel"}, "canceled", "4", "NOT_RESTING"),
        (Turn(rest=False), {"time_in_force": "immediate_or_cancel"}, "canceled", "0", "NOT_RESTING"),
        (Turn(rest=False), {}, "canceled", "0", "SELF_TRADE"),
    ],
)
def test_the_state_follows_from_the_counts(
    ready: ScriptedExchange,
    bob: User,
    team: Team,
    turn: Turn,
    changes: dict[str, Any],
    state: str,
    filled: str,
    reason: str,
) -> None:
    ready.creates.append(turn)

    order = submit(bob, team, **changes)

    assert (order.state, order.filled, order.reason_code) == (state, Decimal(filled), reason)


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (400, "insufficient_balance", "The balance is not enough for this order; reduce it or add money."),
        (400, "invalid_price", "The price is not one of this market's steps; choose another."),
        (
            401,
            "header_timestamp_expired",
            "This computer's clock differs from the exchange's; correct it and try again.",
        ),
        (403, "forbidden", "The exchange refused: no."),
        (409, "trading_is_paused", "Trading is paused on the exchange; try again when it resumes."),
        (410, "deprecated_v1_order_endpoint", "The exchange no longer has this way of sending orders."),
    ],
)
def test_a_definite_refusal_is_a_rejection(
    ready: ScriptedExchange, bob: User, team: Team, status: int, code: str, sentence: str
) -> None:
    ready.creates.append(Turn(accept=False, answer=(status, {"error": {"code": code, "message": "no"}})))

    order = submit(bob, team)

    assert (order.state, order.reason_code, order.reason_text) == ("rejected", code.upper(), sentence)


def test_too_many_requests_is_a_rejection_and_nothing_is_sent_again(
    ready: ScriptedExchange, bob: User, team: Team
) -> None:
    ready.creates.append(Turn(accept=False, answer=(429, {"error": "too many requests"})))

    assert (submit(bob, team).state, len(ready.sent)) == ("rejected", 1)


@pytest.mark.parametrize("accept", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        "drop",
        "truncate",
        (408, {"msg": "timeout"}),
        (500, {}),
        (502, b"<html>"),
        (503, {"error": {"code": "service_unavailable"}}),
        (504, {}),
        (200, {"error": {"code": "deprecated_v1_order_endpoint"}}),
        (201, {}),
        (201, b""),
        (200, b"<html>well</html>"),
        (302, {}),
    ],
)
def test_whatever_is_no_clear_answer_is_unknown_and_never_sent_again(
    ready: ScriptedExchange, bob: User, team: Team, answer: Answer, accept: bool
) -> None:
    ready.creates.append(Turn(accept=accept, answer=answer))

    order = submit(bob, team)

    assert (order.state, order.reason_code, len(ready.sent)) == ("unknown", "NO_ANSWER", 1)
    assert order.unknown_at is not None
    assert submit(bob, team).state == "unknown"
    assert len(ready.sent) == 1


@pytest.mark.parametrize(("told_its_time", "state"), [(True, "unknown"), (False, "lapsed")])
def test_an_order_is_unknown_once_it_was_to_leave_for_an_exchange_that_cannot_be_reached(
    ready: ScriptedExchange, api_key: ApiKey, bob: User, team: Team, told_its_time: bool, state: str
) -> None:
    if told_its_time:
        clients.rest_client(api_key, purpose="trade")._transport.clock.told_at = time.monotonic()
    ready.__exit__()

    order = submit(bob, team)

    assert (order.state, len(ready.sent)) == (state, 0)


def test_the_exchange_that_has_our_id_already_has_our_order(ready: ScriptedExchange, bob: User, team: Team) -> None:
    ready.creates.append(Turn(accept=False, answer=(409, {"error": {"code": "order_already_exists"}})))
    ready.on_create = lambda body: ready.place(body, Turn(fill="4.00"))

    order = submit(bob, team)

    assert (order.state, order.filled, len(ready.sent)) == ("resting", Decimal(4), 1)
    assert order.exchange_order_id in ready.orders


def test_an_order_that_exists_but_cannot_be_looked_up_stays_unknown(
    ready: ScriptedExchange, bob: User, team: Team
) -> None:
    ready.creates.append(Turn(accept=False, answer=(409, {"error": {"code": "order_already_exists"}})))
    ready.reads.extend([("/portfolio/orders", (500, {}))] * 3)

    order = submit(bob, team)

    assert (order.state, order.reason_code) == ("unknown", "ORDER_ALREADY_EXISTS")


# --- once -----------------------------------------------------------------------------------------------------


def test_the_same_key_with_the_same_order_is_the_same_order(ready: ScriptedExchange, bob: User, team: Team) -> None:
    first, second = submit(bob, team), submit(bob, team)

    assert first == second
    assert len(ready.sent) == 1


@pytest.mark.parametrize(
    "changes",
    [{"count": Decimal(11)}, {"price": Decimal("0.47")}, {"side": "no"}, {"action": "sell"}, {"ticker": "KX"}],
)
def test_the_same_key_with_another_order_is_refused(
    ready: ScriptedExchange, bob: User, team: Team, changes: dict[str, Any]
) -> None:
    submit(bob, team)

    with pytest.raises(KeyReused):
        submit(bob, team, **changes)

    assert (len(ready.sent), Order.objects.count()) == (1, 1)


def test_another_team_may_use_the_same_key(
    ready: ScriptedExchange,
    bob: User,
    team: Team,
    mallory: User,
    other_team: Team,
    store_key: Callable[..., ApiKey],
) -> None:
    theirs = Account.objects.create(environment=ENV, team=other_team, name="Main", reconciled_at=timezone.now())
    store_key(theirs, mallory)

    assert submit(bob, team) != submit(mallory, other_team)


@pytest.mark.django_db(transaction=True)
def test_forty_clicks_at_once_are_one_row_and_one_request(ready: ScriptedExchange, bob: User, team: Team) -> None:
    found: list[object] = []
    barrier = threading.Barrier(40)

    def click() -> None:
        barrier.wait()
        try:
            found.append(submit(bob, team).pk)
        except Exception as exc:
            found.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=click) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (Order.objects.count(), len(ready.sent)) == (1, 1)
    order = Order.objects.get()
    assert found == [order.pk] * 40
    assert order.state == "resting"


@pytest.mark.django_db(transaction=True)
def test_two_orders_at_once_cannot_both_use_the_last_of_a_limit(
    ready: ScriptedExchange, bob: User, team: Team, limits: RiskLimit
) -> None:
    RiskLimit.objects.filter(pk=limits.pk).update(max_position=Decimal(50))
    barrier = threading.Barrier(12)

    def click(number: int) -> None:
        barrier.wait()
        submit(bob, team, key=f"k{number}")
        connection.close()

    threads = [threading.Thread(target=click, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    states = sorted(Order.objects.values_list("state", flat=True))
    assert states == ["denied"] * 7 + ["resting"] * 5
    assert len(ready.sent) == 5


@pytest.mark.django_db(transaction=True)
def test_an_order_whose_leaving_could_not_be_kept_lapses(
    ready: ScriptedExchange, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = orders._leave

    def no_room() -> None:
        raise OperationalError("the disk is full")

    def unkept(order: Order) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(connection, "commit", no_room)
            leave(order)

    monkeypatch.setattr(orders, "_leave", unkept)

    order = submit(bob, team)

    assert (order.state, order.reason_code, ready.sent) == ("lapsed", "NOT_SENT", [])
    assert Order.objects.get().state == "lapsed"


# --- who and whether ------------------------------------------------------------------------------------------


def test_a_viewer_places_nothing(ready: ScriptedExchange, vera: User, bob: User, team: Team) -> None:
    with pytest.raises(PermissionDenied):
        submit(vera, team)
    assert Order.objects.count() == 0

    assert submit(bob, team).state == "resting"


def test_somebody_of_another_team_finds_no_team(ready: ScriptedExchange, mallory: User, team: Team) -> None:
    with pytest.raises(Http404):
        submit(mallory, team)

    assert (Order.objects.count(), len(ready.sent)) == (0, 0)


def test_a_denied_order_is_kept_with_its_reason_and_not_sent(
    ready: ScriptedExchange, bob: User, team: Team, market: Market
) -> None:
    order = submit(bob, team, price=Decimal("0.485"))

    assert (order.state, order.reason_code, order.sent_at) == ("denied", "PRICE_OFF_GRID", None)
    assert order.reason_text == "48.5¢ is not a price of this market; the nearest: 48¢ or 49¢."
    assert ready.requests == []
    assert AuditEntry.objects.filter(action="order.denied").exists()


def test_a_team_without_a_key_is_told_so(exchange: ScriptedExchange, account: Account, bob: User, team: Team) -> None:
    with pytest.raises(NoKey):
        submit(bob, team)


def test_a_key_that_may_only_read_does_not_trade(
    exchange: ScriptedExchange, account: Account, bob: User, alice: User, team: Team, store_key: Callable[..., ApiKey]
) -> None:
    store_key(account, alice, scopes=("read",))

    with pytest.raises(NoKey):
        submit(bob, team)


def test_without_a_fresh_top_one_book_is_asked_for(
    exchange: ScriptedExchange, api_key: ApiKey, limits: RiskLimit, market: Market, bob: User, team: Team
) -> None:
    assert submit(bob, team).state == "resting"
    assert [path for method, path, _ in exchange.requests] == [
        f"/markets/{TICKER}/orderbook",
        "/exchange/status",
        "/portfolio/events/orders",
    ]


def test_without_any_book_the_order_is_denied(
    exchange: ScriptedExchange, api_key: ApiKey, limits: RiskLimit, market: Market, bob: User, team: Team
) -> None:
    exchange.reads.extend([("/orderbook", (500, {}))] * 3)

    assert submit(bob, team).reason_code == "BOOK_STALE"
    assert exchange.sent == []


def test_fees_are_kept_to_the_millionth_of_a_dollar(ready: ScriptedExchange, bob: User, team: Team) -> None:
    ack = {"order_id": "3b23c1c7", "fill_count": "2.25", "remaining_count": "0.00", "ts_ms": 1}
    average = {"average_fill_price": "0.4800", "average_fee_paid": "0.001234"}
    ready.creates.append(Turn(accept=False, answer=(201, ack | average)))

    order = submit(bob, team, count=Decimal("2.25"))

    assert (order.state, order.fees) == ("executed", Decimal("0.002776"))  # of 0.0027765
    assert events.order_frame(order, 1)["fees"] == 2776
