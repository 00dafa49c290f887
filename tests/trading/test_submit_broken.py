"""Wherever the way of an order breaks, what is written down leads back to the truth, and nothing is sent twice."""

from __future__ import annotations

import json
import math
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from markets.kalshi.errors import RateLimited
from markets.kalshi.messages import OrderBody, read_body
from markets.kalshi.rest import RestClient
from markets.kalshi.rest.transport import Transport
from tests.trading.exchange import ScriptedExchange, Turn
from tests.trading.test_submit import submit
from trading import booking, clients, orders, reconcile
from trading.models import Account, ApiKey, AuditEntry, Membership, Order, OrderState, Team, TradingState


def test_without_its_audit_row_there_is_no_order_and_no_request(
    ready: ScriptedExchange, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(AuditEntry, "save", fail)

    with pytest.raises(RuntimeError):
        submit(bob, team)

    assert (Order.objects.count(), ready.requests) == (0, [])


class Killed(BaseException):
    """The process ends here: nothing of ours runs any more."""


def dies(*args: object, **kwargs: object) -> None:
    """Stand where the process is killed."""
    raise Killed


@pytest.mark.django_db(transaction=True)
def test_killed_before_sending_was_written_the_order_lapses(
    ready: ScriptedExchange, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "_send", dies)
    with pytest.raises(Killed):
        submit(bob, team)

    reconcile.recover(timezone.now() + timedelta(seconds=4))
    assert Order.objects.get().state == "queued"
    reconcile.recover(timezone.now() + timedelta(seconds=6))

    assert Order.objects.get().state == "lapsed"
    assert ready.sent == []


@pytest.mark.django_db(transaction=True)
def test_killed_between_sending_and_the_request_the_order_is_unknown_until_it_is_shown_that_it_was_not_placed(
    ready: ScriptedExchange, account: Account, api_key: ApiKey, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RestClient, "_write", dies)
    with pytest.raises(Killed):
        submit(bob, team)
    assert Order.objects.get().state == "sending"

    reconcile.recover(timezone.now() + timedelta(seconds=31))
    assert Order.objects.get().state == "unknown"

    with time_machine.travel(timezone.now() + timedelta(seconds=71)) as clock:
        for _ in range(3):
            assert Order.objects.get().state == "unknown"
            with clients.rest_client(api_key, purpose="read") as client:
                reconcile.resolve(account, client)
            clock.shift(6)

    assert Order.objects.get().state == "not_placed"
    assert ready.sent == []


@pytest.mark.django_db(transaction=True)
def test_killed_before_the_answer_was_written_the_order_is_found(
    ready: ScriptedExchange, account: Account, api_key: ApiKey, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready.creates.append(Turn(fill="4.00"))
    monkeypatch.setattr(Order, "hear", dies)
    with pytest.raises(Killed):
        submit(bob, team)
    monkeypatch.undo()
    assert Order.objects.get().state == "sending"

    reconcile.recover(timezone.now() + timedelta(seconds=31))
    with clients.rest_client(api_key, purpose="read") as client:
        reconcile.resolve(account, client)

    order = Order.objects.get()
    assert (order.state, order.filled, order.fills.count()) == ("resting", Decimal(4), 1)
    assert len(ready.sent) == 1


def test_an_order_that_waited_too_long_is_never_sent(
    ready: ScriptedExchange, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = orders._write_intent

    def then_freeze(*args: Any, **kwargs: Any) -> Any:
        written = write(*args, **kwargs)
        clock.shift(600)
        return written

    monkeypatch.setattr(orders, "_write_intent", then_freeze)
    with time_machine.travel(timezone.now()) as clock:
        order = submit(bob, team)

    assert (order.state, order.reason_code, ready.sent) == ("lapsed", "TOO_LATE", [])


def test_frozen_after_sending_was_written_nothing_leaves_late(
    ready: ScriptedExchange, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Order.advance

    def then_freeze(self: Order, to: OrderState, **learnt: Any) -> bool:
        written = advance(self, to, **learnt)
        if to == "sending":
            clock.shift(600)
        return written

    monkeypatch.setattr(Order, "advance", then_freeze)
    with time_machine.travel(timezone.now()) as clock:
        order = submit(bob, team)

    assert (order.state, ready.sent) == ("unknown", [])


def test_who_loses_the_role_before_the_order_leaves_has_sent_nothing(
    ready: ScriptedExchange, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = orders._write_intent

    def then_dismiss(*args: Any, **kwargs: Any) -> Any:
        written = write(*args, **kwargs)
        Membership.objects.filter(user=bob).update(role="viewer")
        return written

    monkeypatch.setattr(orders, "_write_intent", then_dismiss)

    order = submit(bob, team)

    assert (order.state, order.reason_code, ready.sent) == ("lapsed", "PERMISSION_LOST", [])


def test_a_key_that_does_not_open_sends_nothing(
    ready: ScriptedExchange, bob: User, team: Team, api_key: ApiKey
) -> None:
    ApiKey.objects.filter(pk=api_key.pk).update(ciphertext=b"damaged")

    order = submit(bob, team)

    assert order.state in {"lapsed", "unknown"}
    assert ready.sent == []


@pytest.mark.django_db(transaction=True)
def test_the_private_stream_may_be_faster_than_the_answer(
    ready: ScriptedExchange, account: Account, bob: User, team: Team
) -> None:
    def tell_first(body: dict[str, Any]) -> None:
        placed = ready.place(body, Turn(fill="10.00"))
        booking.hear(account, read_body(OrderBody, json.dumps(placed).encode()))
        connection.close()

    ready.on_create = tell_first
    ack = {"order_id": "the same", "fill_count": "0.00", "remaining_count": "10.00", "ts_ms": 1}
    ready.creates.append(Turn(accept=False, answer=(201, ack)))

    order = submit(bob, team)

    assert (order.state, order.filled) == ("executed", Decimal(10))
    assert Order.objects.count() == 1


def test_frozen_while_it_waited_for_the_budget_nothing_leaves_late(
    ready: ScriptedExchange, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Freezes:
        def acquire(self, kind: str, tokens: int) -> None:
            if kind == "write":
                clock.shift(600)

    monkeypatch.setattr(clients, "_budget", lambda environment, account: Freezes())
    clients._shared_client.cache_clear()
    with time_machine.travel(timezone.now()) as clock:
        order = submit(bob, team)

    assert (order.state, order.reason_code, ready.sent) == ("lapsed", "TOO_LATE", [])
    assert not AuditEntry.objects.filter(action="order.sending").exists()


@pytest.mark.parametrize(("room", "state", "code"), [(False, "lapsed", "RATE_LIMITED"), (True, "resting", "")])
def test_our_own_budgets_refusal_is_not_the_exchanges(
    ready: ScriptedExchange, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch, room: bool, state: str, code: str
) -> None:
    class Budget:
        def acquire(self, kind: str, tokens: int) -> None:
            if kind == "write" and not room:
                raise RateLimited("used up")

    monkeypatch.setattr(clients, "_budget", lambda environment, account: Budget())
    clients._shared_client.cache_clear()

    order = submit(bob, team)

    assert (order.state, order.reason_code, len(ready.sent)) == (state, code, int(room))
    assert AuditEntry.objects.filter(action="order.sending").exists() is room


def test_sending_is_committed_before_the_first_byte_leaves(ready: ScriptedExchange, bob: User, team: Team) -> None:
    seen: list[str] = []
    ready.creates.append(Turn(accept=False, answer="drop"))
    ready.on_create = lambda body: seen.append("the request is here")
    record, sent = AuditEntry.objects, Transport.send

    def send(self: Transport, method: str, path: str, **more: Any) -> Any:
        if method == "POST":
            seen.extend(record.filter(action="order.sending").values_list("action", flat=True))
        return sent(self, method, path, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transport, "send", send)
        assert submit(bob, team).state == "unknown"

    assert seen == ["order.sending", "the request is here"]


def test_a_halt_stops_an_order_that_was_cleared_before_it(
    ready: ScriptedExchange, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = orders._write_intent

    def then_halt(*args: Any, **kwargs: Any) -> Any:
        written = write(*args, **kwargs)
        TradingState.objects.create(environment="sandbox", team=team, state="halted")
        return written

    monkeypatch.setattr(orders, "_write_intent", then_halt)

    order = submit(bob, team)

    assert (order.state, order.reason_code, ready.sent) == ("lapsed", "TRADING_HALTED", [])


def test_an_order_whose_book_was_long_in_coming_is_not_sent(
    ready: ScriptedExchange, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = orders._newest_top

    def slowly(*args: Any) -> Any:
        clock.shift(6)
        return ask(*args)

    monkeypatch.setattr(orders, "_newest_top", slowly)
    with time_machine.travel(timezone.now()) as clock:
        order = submit(bob, team)

    assert (order.state, order.reason_code, ready.sent) == ("lapsed", "TOO_LATE", [])


@pytest.mark.parametrize(("skew_ms", "state"), [(4_900, "resting"), (5_100, "lapsed"), (-5_100, "lapsed")])
def test_nothing_is_sent_while_our_clock_and_the_exchanges_differ(
    ready: ScriptedExchange, bob: User, team: Team, monkeypatch: pytest.MonkeyPatch, skew_ms: int, state: str
) -> None:
    monkeypatch.setattr(RestClient, "skew_ms", skew_ms)

    order = submit(bob, team)

    assert (order.state, len(ready.sent)) == (state, int(state == "resting"))


def trading_client(api_key: ApiKey) -> RestClient:
    """Return the client that orders go out with."""
    clients._shared_client.cache_clear()
    return clients.rest_client(api_key, purpose="trade")


def paths(exchange: ScriptedExchange) -> list[str]:
    """Return what was asked for, in order."""
    return [path for _, path, _ in exchange.requests]


def test_one_wrong_reading_of_the_clocks_does_not_stop_the_orders_after_it(
    ready: ScriptedExchange, api_key: ApiKey, bob: User, team: Team
) -> None:
    client = trading_client(api_key)
    clock = client._transport.clock
    clock.skew_ms, clock.told_at = 40_000, time.monotonic()

    assert [submit(bob, team, key=key).state for key in ("k1", "k2")] == ["resting", "resting"]
    assert paths(ready) == ["/exchange/status", "/portfolio/events/orders", "/portfolio/events/orders"]


@pytest.mark.parametrize(("told_ago", "asks"), [(59.0, 0), (61.0, 1), (math.inf, 1)])
def test_the_clocks_are_compared_where_that_was_not_done_for_a_minute(
    ready: ScriptedExchange, api_key: ApiKey, bob: User, team: Team, told_ago: float, asks: int
) -> None:
    trading_client(api_key)._transport.clock.told_at = time.monotonic() - told_ago

    assert submit(bob, team).state == "resting"
    assert paths(ready).count("/exchange/status") == asks


@pytest.mark.parametrize(("ahead_ms", "state"), [(40_000, "lapsed"), (0, "resting")])
def test_the_first_order_of_a_process_is_not_sent_by_a_wrong_clock(
    ready: ScriptedExchange, api_key: ApiKey, bob: User, team: Team, ahead_ms: int, state: str
) -> None:
    clock = trading_client(api_key)._transport.clock
    clock.our_ms = lambda: int(time.time() * 1000) + ahead_ms

    order = submit(bob, team)

    assert (order.state, len(ready.sent)) == (state, int(state == "resting"))
    assert order.reason_code == ("CLOCK_DIFFERS" if ahead_ms else "")


@pytest.mark.parametrize(("answer", "state", "code"), [("drop", "lapsed", "CLOCK_UNKNOWN"), ((429, {}), "resting", "")])
def test_an_exchange_that_tells_no_time_gets_no_order_and_a_refusal_tells_it(
    ready: ScriptedExchange, api_key: ApiKey, bob: User, team: Team, answer: Any, state: str, code: str
) -> None:
    trading_client(api_key)._pause = lambda seconds: None
    ready.reads.extend([("/exchange/status", answer)] * 3)

    order = submit(bob, team)

    assert (order.state, order.reason_code) == (state, code)
    assert len(ready.sent) == int(state == "resting")
