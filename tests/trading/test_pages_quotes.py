"""What a confirmation shows: cost, the dearest fee within the limit, the most that can be lost, what is paid."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.utils import timezone

from markets.models import Event, Market, Series
from tests.trading.conftest import ENV, a_ticket
from trading.views.quotes import FeeTerms, fee_terms, quote

USUAL = FeeTerms("quadratic", Decimal(1), is_waived=False)


@pytest.mark.parametrize(
    ("action", "side", "price", "cost", "fee", "outcome"),
    [
        # 100 contracts. A bid above 50¢ may be filled at 50¢, where the fee is 1.75¢ each; an ask above it only higher.
        ("buy", "yes", "0.57", "57.00", "1.75", "yes"),
        ("buy", "yes", "0.15", "15.00", "0.90", "yes"),
        ("buy", "no", "0.43", "43.00", "1.72", "no"),
        ("sell", "yes", "0.60", "40.00", "1.68", "no"),
        ("sell", "no", "0.40", "60.00", "1.75", "yes"),
    ],
)
def test_the_sums_of_all_four_directions(action: str, side: str, price: str, cost: str, fee: str, outcome: str) -> None:
    found = quote(a_ticket(action=action, side=side, price=Decimal(price), count=Decimal(100)), USUAL)

    assert (found.cost, found.fee, found.outcome) == (Decimal(cost), Decimal(fee), outcome)
    assert found.loss == Decimal(cost) + Decimal(fee)
    assert found.pays == Decimal(100)


def test_an_order_that_only_rests_pays_what_makers_pay() -> None:
    resting = a_ticket(price=Decimal("0.50"), count=Decimal(100), post_only=True)

    assert quote(resting, USUAL).fee == Decimal("0.00")
    assert quote(resting, FeeTerms("quadratic_with_maker_fees", Decimal(1), is_waived=False)).fee == Decimal("0.44")


def test_a_fee_table_we_do_not_know_is_not_guessed() -> None:
    found = quote(a_ticket(), FeeTerms("flat", Decimal(1), is_waived=False))

    assert (found.fee, found.loss) == (None, None)


def test_a_waived_fee_is_nothing() -> None:
    assert quote(a_ticket(), FeeTerms("flat", Decimal(1), is_waived=True)).fee == Decimal(0)


def test_the_events_own_terms_win_over_those_of_its_series(market: Market) -> None:
    now = timezone.now()
    market.series_ticker = "KXRAIN"
    Series.objects.create(environment=ENV, ticker="KXRAIN", fee_multiplier=Decimal("0.5"), synced_at=now)
    assert fee_terms(market) == FeeTerms("quadratic", Decimal("0.5"), is_waived=False)

    Event.objects.create(
        environment=ENV,
        ticker=market.event_ticker,
        fee_type_override="quadratic_with_maker_fees",
        fee_multiplier_override=Decimal(2),
        synced_at=now,
    )
    assert fee_terms(market) == FeeTerms("quadratic_with_maker_fees", Decimal(2), is_waived=False)
