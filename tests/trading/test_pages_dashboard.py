"""The dashboard: what the team holds and risks, and what closes next."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django.contrib.auth.models import User
from django.utils import timezone

from markets.models import Event, Market
from tests.trading.conftest import ENV
from tests.trading.test_models import an_order
from tests.trading.test_pages_doors import as_
from tests.trading.test_pages_market import filled, placed
from trading.models import Account

URL = "/x/sandbox/"


def money(user: User) -> str:
    """Return the part that scripts fetch after a fill."""
    return as_(user).get(f"{URL}?part=money").content.decode()


def test_the_money_alone_is_a_part_of_the_page(bob: User, account: Account, market: Market) -> None:
    filled(account, wire_side="bid", wire_price="0.60", count="50")
    placed(account, bob)  # 40 YES at 48¢
    part = money(bob)

    assert "<html" not in part
    assert "held $30.00" in part
    assert "at most $19.20" in part
    assert '<b class="yes">50 YES</b>' in part
    assert part.strip() in as_(bob).get(URL).content.decode()


def test_a_flat_team_is_told_so(bob: User, account: Account, market: Market) -> None:
    assert "Flat: the team holds nothing." in money(bob)


def test_another_teams_money_is_not_in_it(mallory: User, account: Account, market: Market) -> None:
    filled(account, wire_side="bid", wire_price="0.60", count="50")

    assert "50 YES" not in money(mallory)


def test_answers_that_close_together_are_one_line(bob: User, account: Account, market: Market) -> None:
    soon = timezone.now() + timedelta(hours=1)
    Event.objects.create(
        environment=ENV, ticker=market.event_ticker, title="Rain on Tuesday?", synced_at=timezone.now()
    )
    Market.objects.filter(pk=market.pk).update(close_at=soon)
    other = Market.objects.get(pk=market.pk)
    other.pk, other.ticker = None, "KXRAIN-26DEC01-T3"
    other.save(force_insert=True)

    html = as_(bob).get(URL).content.decode()
    assert html.partition("Closing soon")[2].count("Rain on Tuesday?") == 1
    assert html.count("data-closes=") == 1


def test_all_open_orders_are_in_the_exposure_however_many_are_listed(
    bob: User, account: Account, market: Market
) -> None:
    for _ in range(201):  # one more than the list shows
        placed(account, bob)  # 40 YES at 48¢: $19.20

    assert "at most $3,859.20" in money(bob)


def test_what_closes_a_position_is_not_in_the_exposure_as_for_a_limit(
    bob: User, account: Account, market: Market
) -> None:
    filled(account, wire_side="bid", wire_price="0.60", count="30")
    forty = {"count": Decimal(40), "remaining": Decimal(40)}
    an_order(account, placed_by=bob, action="sell", wire_side="ask", **forty)  # 30 close, 10 are NO at 52¢
    part = money(bob)

    assert "held $18.00" in part
    assert "at most $5.20" in part


def test_what_an_order_told_of_is_held_before_its_fills_are_booked(bob: User, account: Account, market: Market) -> None:
    placed(account, bob, state="executed", filled=Decimal(40), remaining=Decimal(0))
    part = money(bob)

    assert '<b class="yes">40 YES</b>' in part
    assert "held $19.20" in part
