"""What was kept of the book around an order's fills: for the team whose order it was, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User

from markets import lookback
from markets.models import KeptLook
from markets.reels import Reel
from tests.trading.conftest import TICKER
from tests.trading.test_pages_doors import as_
from tests.trading.test_pages_market import placed
from trading import permissions
from trading.models import Account, Fill, Order
from trading.permissions import Permission

T = 1_795_356_000_000
MINUTE = 60_000


def fill(order: Order, at_ms: int) -> Fill:
    """Return a fill of an order for 4 contracts."""
    return Fill.objects.create(
        environment=order.environment,
        team=order.team,
        account=order.account,
        order=order,
        trade_id=str(Fill.objects.count()),
        exchange_order_id=order.exchange_order_id or "",
        ticker=order.ticker,
        wire_side="bid",
        wire_price=Decimal("0.48"),
        count=Decimal(4),
        is_taker=False,
        traded_at=datetime.fromtimestamp(at_ms / 1000, UTC),
    )


def keep(ticker: str, at_ms: int) -> None:
    """Keep the book of the minutes around a time, which had one bid."""
    reel = Reel()
    reel.whole(at_ms - MINUTE, ("LIVE", ""), [(4800, 1000)], [])
    KeptLook.objects.create(
        environment="sandbox",
        ticker=ticker,
        from_ms=at_ms - MINUTE,
        to_ms=at_ms + MINUTE,
        packed=msgspec.msgpack.encode(reel.pieces(at_ms - MINUTE, at_ms + MINUTE, at_ms + MINUTE)),
        kept_at=datetime.fromtimestamp((at_ms + MINUTE) / 1000, UTC),
    )


@pytest.fixture
def order(account: Account, bob: User) -> Order:
    """Return bob's order, filled once, the book around it kept."""
    order = placed(account, bob)
    fill(order, T)
    keep(TICKER, T)
    return order


def ask(user: User, order: Order, query: str = "") -> Any:
    return as_(user).get(f"/x/sandbox/orders/{order.pk}/lookback.json{query}")


def test_everybody_of_the_team_sees_the_book_around_the_fills(vera: User, order: Order) -> None:
    answer = ask(vera, order)

    assert answer.status_code == 200
    assert answer.json() == {
        "order": str(order.pk),
        "stretches": [
            {
                "env": "sandbox",
                "m": TICKER,
                "from": T - MINUTE,
                "to": T + MINUTE,
                "covered": [[T - MINUTE, T + MINUTE]],
                "book": {"at": T - MINUTE, "state": "LIVE", "why": "", "bids": [[4800, 1000]], "asks": []},
                "frames": [],
                "missing": None,
            }
        ],
        "next": None,
        "missing": None,
    }


def test_another_team_learns_nothing_not_even_that_there_is_such_an_order(mallory: User, order: Order) -> None:
    assert ask(mallory, order).status_code == 404


def test_a_role_that_may_not_see_orders_is_refused(vera: User, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    may = {role: allowed - {Permission.SEE_ORDERS} for role, allowed in permissions.ALLOWS.items()}
    monkeypatch.setattr(permissions, "ALLOWS", may)

    answer = ask(vera, order)

    assert (answer.status_code, answer.json()["fault"]["text"]) == (403, "Your role in North desk does not allow this.")


def test_only_this_orders_fills_are_told_of(vera: User, order: Order, account: Account, bob: User) -> None:
    other = placed(account, bob)
    fill(other, T + 3_600_000)
    keep(TICKER, T + 3_600_000)

    assert [found["from"] for found in ask(vera, order).json()["stretches"]] == [T - MINUTE]


def test_an_order_without_a_fill_says_so(vera: User, account: Account, bob: User) -> None:
    answer = ask(vera, placed(account, bob)).json()

    assert (answer["stretches"], answer["missing"]) == ([], "This order has no fill.")


def test_what_is_not_there_yet_is_said(vera: User, order: Order) -> None:
    KeptLook.objects.update(kept_at=None, packed=b"")

    [found] = ask(vera, order).json()["stretches"]

    assert (found["covered"], found["missing"]) == (
        [],
        "Not kept yet: the minutes around a fill are kept when they have passed.",
    )


def test_many_fills_are_told_a_part_at_a_time(vera: User, order: Order) -> None:
    for hour in range(1, 9):
        fill(order, T + 3_600_000 * hour)

    first = ask(vera, order).json()
    second = ask(vera, order, f"?from={first['next']}").json()

    assert (len(first["stretches"]), first["next"]) == (7, T + 3_600_000 * 7)
    assert [found["from"] for found in second["stretches"]] == [T + 3_600_000 * hour - MINUTE for hour in (7, 8)]
    assert second["next"] is None
    assert ask(vera, order, "?from=noon").status_code == 400


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lookback, "REPLAYS_MOST", 1)
    with lookback._replays.place():
        yield


def test_only_so_many_look_back_at_once(vera: User, order: Order, busy: None) -> None:
    answer = ask(vera, order)

    assert answer.status_code == 503
    assert answer.json()["fault"]["text"] == "Many look back at this moment: try again in a few seconds."
