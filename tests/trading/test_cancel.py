"""A cancel is a wish: canceled is what the exchange calls so."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils import timezone

from markets.kalshi.rest.transport import NeverLeft, Transport
from tests.trading.conftest import ENV, a_ticket
from tests.trading.exchange import Answer, ScriptedExchange, Turn
from tests.trading.test_models import an_order
from trading import clients, orders, reconcile
from trading.models import Account, ApiKey, AuditEntry, Membership, Order, Team, TradingState
from trading.orders import CannotCancel


@pytest.fixture
def resting(ready: ScriptedExchange, bob: User, team: Team) -> Order:
    """Return bob's order that rests at the exchange."""
    order = orders.submit(bob, team=team, environment=ENV, ticket=a_ticket(), idempotency_key="k1")
    assert order.state == "resting"
    return order


def test_a_canceled_order_is_what_the_exchange_calls_so(ready: ScriptedExchange, resting: Order, bob: User) -> None:
    order = orders.cancel(bob, order=resting)

    assert (order.state, order.remaining) == ("canceled", Decimal(0))
    assert AuditEntry.objects.get(action="order.cancel_requested").actor == bob


def test_an_acknowledged_cancel_that_the_lists_do_not_show_yet_is_only_requested(
    ready: ScriptedExchange, resting: Order, bob: User
) -> None:
    stale = {"order": dict(ready.orders[resting.exchange_order_id or ""])}
    ready.reads.append(("/portfolio/orders/", (200, stale)))

    order = orders.cancel(bob, order=resting)

    assert (order.state, order.state_words) == ("resting", "resting, cancel requested")


def test_a_second_wish_within_seconds_sends_nothing(ready: ScriptedExchange, resting: Order, bob: User) -> None:
    ready.cancels.append(Turn(accept=False, answer="drop"))
    orders.cancel(bob, order=resting)
    orders.cancel(bob, order=resting)
    assert ready.cancels_sent == 1

    Order.objects.update(cancel_requested_at=timezone.now() - timedelta(seconds=6))
    assert orders.cancel(bob, order=resting).state == "canceled"
    assert ready.cancels_sent == 2


@pytest.mark.parametrize("accept", [True, False])
@pytest.mark.parametrize("answer", ["drop", "truncate", (502, b"<html>"), (200, {})])
def test_a_lost_answer_leaves_the_wish_standing(
    ready: ScriptedExchange, resting: Order, bob: User, answer: Answer, accept: bool
) -> None:
    ready.cancels.append(Turn(accept=accept, answer=answer))

    order = orders.cancel(bob, order=resting)

    assert (order.state, order.cancel_requested_at is not None) == ("resting", True)


def compare(account: Account, api_key: ApiKey, *, after: float) -> None:
    """Compare the account with the exchange some seconds after the cancel was asked for."""
    later = time_machine.travel(timezone.now() + timedelta(seconds=after))
    with later, clients.rest_client(api_key, purpose="read") as client:
        reconcile.compare(account, client)


def test_a_cancel_that_never_left_is_told_and_may_be_wished_again(
    ready: ScriptedExchange, resting: Order, bob: User, account: Account, api_key: ApiKey
) -> None:
    def never_leaves(*args: object, **kwargs: object) -> None:
        raise NeverLeft("no connection to the exchange")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transport, "send", never_leaves)
        order = orders.cancel(bob, order=resting)

    assert (order.state_words, order.reason_code, ready.cancels_sent) == ("resting", "CANCEL_REFUSED", 0)
    assert order.reason_text == "The exchange could not be reached: the cancel was not sent. Try again."

    ready.fill(order.exchange_order_id or "", "10.00")
    compare(account, api_key, after=0)
    order.refresh_from_db()
    assert (order.state, order.reason_text) == ("executed", "")


@pytest.mark.parametrize("answer", [(429, {}), "drop"])
def test_an_order_that_cannot_be_read_after_its_cancel_keeps_the_wish(
    ready: ScriptedExchange, resting: Order, bob: User, api_key: ApiKey, answer: Answer
) -> None:
    clients.rest_client(api_key, purpose="trade")._pause = lambda seconds: None
    ready.reads.extend([("/portfolio/orders/", answer)] * 3)

    order = orders.cancel(bob, order=resting)

    assert (order.state_words, order.reason_code, ready.cancels_sent) == ("resting, cancel requested", "", 1)


@pytest.mark.parametrize(
    ("after", "words", "code"),
    [(4, "resting, cancel requested", ""), (6, "resting", "CANCEL_NOT_DONE")],
)
def test_a_cancel_ends_where_a_later_list_still_shows_the_order_resting(
    ready: ScriptedExchange,
    resting: Order,
    bob: User,
    account: Account,
    api_key: ApiKey,
    after: float,
    words: str,
    code: str,
) -> None:
    ready.cancels.append(Turn(accept=False, answer="drop"))
    orders.cancel(bob, order=resting)

    compare(account, api_key, after=after)

    resting.refresh_from_db()
    assert (resting.state_words, resting.reason_code) == (words, code)
    if code:
        assert resting.reason_text == (
            "The cancel was not carried out: the order still rests at the exchange. Cancel it again."
        )
        assert AuditEntry.objects.get(action="order.cancel_not_done").facts["reason_code"] == code
        assert orders.cancel(bob, order=resting).state == "canceled"


def test_a_cancel_that_took_effect_ends_as_canceled_however_late_the_list_is(
    ready: ScriptedExchange, resting: Order, bob: User, account: Account, api_key: ApiKey
) -> None:
    ready.cancels.append(Turn(answer="drop"))
    orders.cancel(bob, order=resting)

    compare(account, api_key, after=60)

    resting.refresh_from_db()
    assert (resting.state, resting.reason_code) == ("canceled", "")


def test_one_wish_is_not_ended_for_another(resting: Order) -> None:
    first, second = Order.objects.get(pk=resting.pk), Order.objects.get(pk=resting.pk)

    assert first.note("cancel_requested", cancel_requested_at=timezone.now()) is True
    assert second.note("cancel_requested", cancel_requested_at=timezone.now()) is False
    assert second.cancel_requested_at == first.cancel_requested_at
    assert second.note("cancel_not_done", cancel_requested_at=None) is True


def test_a_404_says_nothing_and_the_order_is_read_again(ready: ScriptedExchange, resting: Order, bob: User) -> None:
    ready.fill(resting.exchange_order_id or "", "10.00")

    order = orders.cancel(bob, order=resting)

    assert (order.state, order.filled, order.reason_text) == ("executed", Decimal(10), "Filled before the cancel.")


def test_a_partly_filled_order_keeps_its_fills(ready: ScriptedExchange, resting: Order, bob: User) -> None:
    ready.fill(resting.exchange_order_id or "", "4.00")

    order = orders.cancel(bob, order=resting)

    assert (order.state, order.filled, order.state_words) == ("canceled", Decimal(4), "partly filled, rest canceled")


def test_a_refused_cancel_is_told_and_may_be_wished_again(ready: ScriptedExchange, resting: Order, bob: User) -> None:
    closed = (400, {"error": {"code": "market_inactive", "message": "no"}})
    ready.cancels.append(Turn(accept=False, answer=closed))

    order = orders.cancel(bob, order=resting)
    assert (order.state, order.reason_code, order.cancel_requested_at) == ("resting", "CANCEL_REFUSED", None)
    assert order.reason_text == "The market no longer takes orders."

    assert orders.cancel(bob, order=resting).state == "canceled"


def test_an_order_that_is_over_is_left_alone(ready: ScriptedExchange, resting: Order, bob: User) -> None:
    orders.cancel(bob, order=resting)

    assert orders.cancel(bob, order=resting).state == "canceled"
    assert ready.cancels_sent == 1


@pytest.mark.parametrize("state", ["queued", "sending", "unknown", "needs_human"])
def test_what_does_not_rest_cannot_be_canceled(account: Account, bob: User, state: str) -> None:
    with pytest.raises(CannotCancel):
        orders.cancel(bob, order=an_order(account, state=state))


def test_who_may_cancel(ready: ScriptedExchange, resting: Order, vera: User, mallory: User, alice: User) -> None:
    with pytest.raises(PermissionDenied):
        orders.cancel(vera, order=resting)
    with pytest.raises(Http404):
        orders.cancel(mallory, order=resting)
    assert ready.cancels_sent == 0

    assert orders.cancel(alice, order=resting).state == "canceled"


def test_a_trader_who_became_a_viewer_cancels_nothing(ready: ScriptedExchange, resting: Order, bob: User) -> None:
    Membership.objects.filter(user=bob).update(role="viewer")

    with pytest.raises(PermissionDenied):
        orders.cancel(bob, order=resting)


def test_a_halt_keeps_nobody_from_cancelling(ready: ScriptedExchange, resting: Order, bob: User, team: Team) -> None:
    TradingState.objects.create(environment=ENV, team=team, state="halted")

    assert orders.cancel(bob, order=resting).state == "canceled"


def test_a_key_that_cannot_be_used_leaves_the_order_as_it_is(
    ready: ScriptedExchange, resting: Order, bob: User, api_key: ApiKey
) -> None:
    ApiKey.objects.filter(pk=api_key.pk).update(ciphertext=b"damaged")

    order = orders.cancel(bob, order=resting)

    assert (order.state, order.reason_code, ready.cancels_sent) == ("resting", "CANCEL_REFUSED", 0)
