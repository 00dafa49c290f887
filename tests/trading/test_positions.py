"""What is held, what it cost and what it brought, from fills alone."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from itertools import count

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction
from django.utils import timezone

from markets.models import Market
from tests.trading.conftest import TICKER
from tests.trading.test_models import a_fill
from trading import positions
from trading.models import Account, BookedPosition, Fill

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


def test_what_is_flat_has_cost_nothing(account: Account) -> None:
    # 27 YES cost $12.46; 1 and 13 of them go at a basis that no number of digits can write.
    bought = [("bid", "0.50", "1"), ("bid", "0.46", "26")]
    flat = traded(account, *bought, ("ask", "0.51", "1"), ("ask", "0.51", "13"), ("ask", "0.51", "13"))

    assert (flat.net, flat.cost) == (Decimal(0), Decimal(0))
    assert flat.realized == Decimal("1.31")  # 27 × 51¢ less $12.46
    assert traded(account, ("bid", "0.50", "1")).cost == Decimal("0.50")


def test_a_part_of_a_cost_is_kept_to_the_millionth_and_never_too_low(account: Account) -> None:
    held = traded(account, ("bid", "0.50", "1"), ("bid", "0.51", "2"), ("ask", "0.60", "1"))

    assert (held.cost, held.realized) == (Decimal("1.013334"), Decimal("0.093334"))  # of $1.52, a third is 50.6666…¢


# --- the sums beside the fills ---------------------------------------------------------------------------------


def some_fills(account: Account, rng: random.Random, known: list[Fill]) -> list[Fill]:
    """Write a few fills of one market, a third of them older than others, some of one moment; not yet in the sums."""
    start = timezone.now().replace(microsecond=0)
    ticker = rng.choice(["KXA", "KXB"])
    fills = [
        Fill(
            environment=account.environment,
            team_id=account.team_id,
            account=account,
            trade_id=f"{len(known)}-{number}",
            exchange_order_id="o",
            ticker=ticker,
            wire_side=rng.choice(["bid", "ask"]),
            wire_price=Decimal(rng.randrange(1, 10_000)).scaleb(-4),
            count=Decimal(rng.randrange(1, 1_000)).scaleb(-2),
            fee=Decimal(rng.randrange(1_000_000)).scaleb(-7),
            is_taker=True,
            traded_at=start + timedelta(seconds=rng.randrange(30) if rng.random() < 0.3 else 100 + len(known)),
        )
        for number in range(rng.randrange(1, 5))
    ]
    return Fill.objects.bulk_create(fills)


def from_scratch(account: Account, ticker: str) -> positions.Position:
    """Add up all fills of a market as they stand in their table."""
    position = positions.Position(ticker)
    for fill in Fill.objects.filter(account=account, ticker=ticker).order_by("traded_at", "pk"):
        position = position.after(wire_side=fill.wire_side, wire_price=fill.wire_price, count=fill.count, fee=fill.fee)
    return position


@pytest.mark.parametrize("seed", range(12))
def test_the_sums_are_those_of_all_fills_whenever_and_in_whichever_order_they_come(account: Account, seed: int) -> None:
    rng = random.Random(seed)
    known: list[Fill] = []
    given_up = 0
    for _ in range(25):
        new = some_fills(account, rng, known)
        known += new
        positions.add(account, new)
        given_up += BookedPosition.objects.filter(last_traded_at=None).count()
        if rng.random() < 0.6:
            positions.count_anew(account)
            assert not BookedPosition.objects.filter(last_traded_at=None).exists()
        for ticker in ("KXA", "KXB"):
            held = positions.of_market(account, ticker)
            assert held == from_scratch(account, ticker)
            bought = [fill.count if fill.wire_side == "bid" else -fill.count for fill in known if fill.ticker == ticker]
            assert held.net == sum(bought, Decimal(0))
            assert positions.of_account(account).get(ticker, positions.Position(ticker)).net == held.net
    assert given_up > 0, "some came late"
    Market.objects.create(environment="sandbox", ticker="KXA", status="finalized", synced_at=timezone.now())
    positions.count_anew(account)
    assert set(positions.of_account(account)) == {"KXB"}
    assert positions.of_market(account, "KXA") == from_scratch(account, "KXA")


def test_a_late_fill_has_its_own_market_counted_anew_and_no_other(account: Account) -> None:
    early = timezone.now() - timedelta(hours=1)
    traded(account, ("bid", "0.50", "10"))
    traded(account, ("bid", "0.20", "5"), ticker="KXOTHER")

    a_fill(account, trade_id="late", wire_side="ask", wire_price=Decimal("0.60"), count=Decimal(10), traded_at=early)

    assert list(BookedPosition.objects.filter(last_traded_at=None).values_list("ticker", flat=True)) == [TICKER]
    assert numbers(positions.of_market(account, TICKER)) == ("0", "0", "1")
    positions.count_anew(account)
    assert not BookedPosition.objects.filter(last_traded_at=None).exists()
    assert numbers(positions.of_market(account, TICKER)) == ("0", "0", "1")


def test_fills_from_before_there_were_sums_are_counted_as_soon_as_the_account_is_compared(account: Account) -> None:
    held = traded(account, ("bid", "0.50", "10"), ("ask", "0.60", "4"))
    BookedPosition.objects.all().delete()

    migration = import_module("trading.migrations.0006_bookedposition")
    migration.note_markets(apps, None)

    assert positions.of_market(account, TICKER) == held
    assert positions.of_account(account) == {TICKER: held}
    positions.count_anew(account)
    assert positions.of_account(account) == {TICKER: held}
    assert BookedPosition.objects.get().last_traded_at is not None


def test_a_fill_beside_others_that_no_sum_knows_is_not_taken_for_the_first(account: Account) -> None:
    traded(account, ("bid", "0.50", "10"))
    BookedPosition.objects.all().delete()

    assert numbers(traded(account, ("bid", "0.60", "10"))) == ("20", "11", "0")


def test_a_fill_that_is_not_kept_is_not_in_the_sums_either(account: Account) -> None:
    traded(account, ("bid", "0.50", "10"))
    with pytest.raises(IntegrityError), transaction.atomic():
        a_fill(account, trade_id="new", count=Decimal(4))
        a_fill(account, trade_id="new", count=Decimal(4))

    assert positions.of_market(account, TICKER).net == Decimal(10)
