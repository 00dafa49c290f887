"""What is held, what it cost and what it brought, from fills alone."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import count

import pytest
from django.utils import timezone

from markets.models import Market
from tests.trading.conftest import TICKER
from tests.trading.test_models import a_fill
from trading import positions
from trading.models import Account

_numbers = count(1)


def traded(account: Account, *fills: tuple[str, str, str], ticker: str = TICKER) -> positions.Position:
    """Book fills of (side, price of YES, count) one after the other, and return the position."""
    for side, price, contracts in fills:
        number = next(_numbers)
        a_fill(
            account,
            trade_id=f"trade {number}",
            ticker=ticker,
            wire_side=side,
            wire_price=Decimal(price),
            count=Decimal(contracts),
            fee=Decimal("0.01"),
            traded_at=timezone.now() + timedelta(seconds=number),
        )
    return positions.of_market(account, ticker)


def numbers(position: positions.Position) -> tuple[str, str, str]:
    """Return (net, cost, realized) as text, without empty decimals."""
    return tuple(f"{value.normalize():f}" for value in (position.net, position.cost, position.realized))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("fills", "held"),
    [
        ([], ("0", "0", "0")),
        ([("bid", "0.48", "10")], ("10", "4.8", "0")),
        ([("ask", "0.60", "5")], ("-5", "2", "0")),  # 5 NO at 40¢
        ([("bid", "0.40", "10"), ("bid", "0.60", "10")], ("20", "10", "0")),
        # YES bought at 48¢, then NO at 48¢: a dollar comes back for 96¢. As the exchange itself reports it.
        ([("bid", "0.48", "1"), ("ask", "0.52", "1")], ("0", "0", "0.04")),
        ([("bid", "0.50", "10"), ("ask", "0.60", "4")], ("6", "3", "0.4")),
        ([("bid", "0.50", "4"), ("ask", "0.45", "10")], ("-6", "3.3", "-0.2")),  # through zero: 6 NO at 55¢
        ([("ask", "0.60", "5"), ("bid", "0.50", "5")], ("0", "0", "0.5")),
    ],
)
def test_yes_and_no_net_at_once(
    account: Account, fills: list[tuple[str, str, str]], held: tuple[str, str, str]
) -> None:
    assert numbers(traded(account, *fills)) == held


def test_fees_are_kept_apart(account: Account) -> None:
    assert traded(account, ("bid", "0.48", "1"), ("ask", "0.52", "1")).fees == Decimal("0.02")


def test_the_average_is_that_of_the_side_one_holds(account: Account) -> None:
    assert positions.of_market(account, TICKER).average_price is None
    assert traded(account, ("ask", "0.60", "5")).average_price == Decimal("0.40")


def test_fills_count_in_the_order_of_their_trades(account: Account) -> None:
    later = timezone.now() + timedelta(hours=1)
    a_fill(account, trade_id="late", wire_side="ask", wire_price=Decimal("0.60"), count=Decimal(10), traded_at=later)

    assert numbers(traded(account, ("bid", "0.50", "10"))) == ("0", "0", "1")


def test_each_market_has_its_own_and_settled_ones_are_gone(account: Account) -> None:
    traded(account, ("bid", "0.48", "10"))
    traded(account, ("bid", "0.20", "5"), ticker="KXPAST")
    Market.objects.create(environment="sandbox", ticker="KXPAST", status="finalized", synced_at=timezone.now())

    held = positions.of_account(account)

    assert list(held) == [TICKER]
    assert held[TICKER].net == Decimal(10)


def test_another_account_holds_nothing_of_it(account: Account, other_team: object) -> None:
    theirs = Account.objects.create(environment="sandbox", team=other_team, name="Main")  # type: ignore[misc]
    traded(account, ("bid", "0.48", "10"))

    assert positions.of_account(theirs) == {}
