"""An order whose answer was lost is found, or it is proved that it was never placed; until then it is unknown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from markets.kalshi.errors import KalshiError
from markets.kalshi.rest import RestClient
from tests.trading.exchange import ScriptedExchange, Turn
from trading import clients, reconcile
from trading.models import Account, ApiKey, Order


@pytest.mark.parametrize(
    ("turn", "state", "filled"),
    [
        (Turn(answer="drop"), "resting", "0"),
        (Turn(answer="truncate", fill="4.00"), "resting", "4"),
        (Turn(answer=(502, b""), fill="10.00"), "executed", "10"),
        (Turn(answer=(200, {}), fill="4.00", rest=False), "canceled", "4"),
    ],
)
def test_an_unknown_order_that_exists_is_found_with_its_fills(
    ready: ScriptedExchange,
    reader: RestClient,
    account: Account,
    place: Callable[..., Order],
    turn: Turn,
    state: str,
    filled: str,
) -> None:
    order = place(turn)
    assert order.state == "unknown"

    reconcile.resolve(account, reader)

    order.refresh_from_db()
    assert (order.state, order.filled, order.reason_text) == (state, Decimal(filled), "")
    assert sum((fill.count for fill in order.fills.all()), Decimal(0)) == Decimal(filled)
    assert len(ready.sent) == 1


def test_an_unknown_order_is_found_through_a_fill_that_is_on_the_list_before_it(
    ready: ScriptedExchange, reader: RestClient, account: Account, place: Callable[..., Order]
) -> None:
    order = place(Turn(answer="drop", fill="4.00"))
    ready.reads.append(("/portfolio/orders", (200, {"orders": [], "cursor": ""})))

    reconcile.resolve(account, reader)

    order.refresh_from_db()
    assert (order.state, order.filled) == ("resting", Decimal(4))


def scan(clock: time_machine.Traveller, account: Account, api_key: ApiKey, *, after: float) -> str:
    """Let seconds pass, scan once, and return the state of the only order."""
    clock.shift(after)
    with clients.rest_client(api_key, purpose="read") as client:
        client._pause = lambda seconds: None
        reconcile.resolve(account, client)
    return Order.objects.get().state


def test_not_placed_takes_three_complete_scans_after_the_last_moment_of_acceptance(
    ready: ScriptedExchange, account: Account, api_key: ApiKey, place: Callable[..., Order]
) -> None:
    with time_machine.travel(timezone.now()) as clock:
        place(Turn(accept=False, answer="drop"))

        assert [scan(clock, account, api_key, after=10) for _ in range(6)] == ["unknown"] * 6  # until 60 s: no proof
        assert scan(clock, account, api_key, after=11) == "unknown"  # the first that counts
        assert scan(clock, account, api_key, after=2) == "unknown"  # too soon after it
        assert scan(clock, account, api_key, after=4) == "unknown"  # the second
        assert scan(clock, account, api_key, after=6) == "not_placed"

    assert len(ready.sent) == 1


def test_a_scan_that_fails_counts_for_nothing(
    ready: ScriptedExchange, account: Account, api_key: ApiKey, place: Callable[..., Order]
) -> None:
    with time_machine.travel(timezone.now()) as clock:
        place(Turn(accept=False, answer="drop"))
        scan(clock, account, api_key, after=71)
        for _ in range(3):
            ready.reads.extend([("/portfolio/fills", (500, {}))] * 3)
            with pytest.raises(KalshiError):
                scan(clock, account, api_key, after=6)
        assert Order.objects.get().clean_scans == 1


def test_a_scan_during_a_pause_counts_for_nothing(
    ready: ScriptedExchange, account: Account, api_key: ApiKey, place: Callable[..., Order]
) -> None:
    ready.is_trading = False
    with time_machine.travel(timezone.now()) as clock:
        place(Turn(accept=False, answer="drop"))
        assert [scan(clock, account, api_key, after=71) for _ in range(4)] == ["unknown"] * 4


def test_an_order_that_appears_late_is_found_before_it_is_given_up(
    ready: ScriptedExchange, account: Account, api_key: ApiKey, place: Callable[..., Order]
) -> None:
    with time_machine.travel(timezone.now()) as clock:
        place(Turn(accept=False, answer="drop"))
        scan(clock, account, api_key, after=71)
        scan(clock, account, api_key, after=6)
        ready.place(ready.sent[0])
        assert scan(clock, account, api_key, after=6) == "resting"


def test_what_is_open_for_15_minutes_needs_a_person_and_is_still_looked_for(
    ready: ScriptedExchange, account: Account, api_key: ApiKey, place: Callable[..., Order]
) -> None:
    order = place(Turn(answer="drop"))
    reconcile.recover(timezone.now() + timedelta(minutes=14))
    order.refresh_from_db()
    assert order.state == "unknown"

    reconcile.recover(timezone.now() + timedelta(minutes=16))
    order.refresh_from_db()
    assert order.state == "needs_human"

    with clients.rest_client(api_key, purpose="read") as client:
        reconcile.resolve(account, client)
    order.refresh_from_db()
    assert order.state == "resting"


def test_no_machine_gives_up_what_needs_a_person(
    ready: ScriptedExchange, account: Account, api_key: ApiKey, place: Callable[..., Order]
) -> None:
    with time_machine.travel(timezone.now()) as clock:
        place(Turn(accept=False, answer="drop"))
        Order.objects.update(state="needs_human")
        assert [scan(clock, account, api_key, after=71) for _ in range(4)] == ["needs_human"] * 4


def test_an_exchange_whose_clock_is_behind_is_asked_for_earlier(
    ready: ScriptedExchange,
    reader: RestClient,
    account: Account,
    place: Callable[..., Order],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = place(Turn(answer="drop"))
    since: list[int | None] = []
    ask = RestClient.orders

    def note(self: RestClient, **query: Any) -> Any:
        since.append(query.get("min_ts"))
        return ask(self, **query)

    monkeypatch.setattr(RestClient, "orders", note)
    monkeypatch.setattr(RestClient, "skew_ms", -600_000)

    reconcile.resolve(account, reader)

    assert since[0] is not None
    assert since[0] <= order.created_at.timestamp() - 600
