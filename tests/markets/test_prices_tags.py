"""How prices, money, counts and times are written for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.template import Context, Template

from markets.templatetags import prices

NOW = datetime(2026, 12, 18, 18, 55, 7, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (4800, "48¢"),
        (4850, "48.5¢"),
        (310, "3.1¢"),
        (25, "0.25¢"),
        (1, "0.01¢"),
        (10_000, "100¢"),
        (Decimal("0.4800"), "48¢"),
        (Decimal("0.485"), "48.5¢"),
        (Decimal("-0.0200"), "−2¢"),
        (-150, "−1.5¢"),
        (None, "–"),
    ],
)
def test_a_price_is_written_in_cents_with_all_its_digits(price: Any, expected: str) -> None:
    assert prices.cents(price) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (Decimal("12480.22"), "$12,480.22"),
        (Decimal("-3.1"), "−$3.10"),
        (Decimal("0"), "$0.00"),
        (Decimal("0.0025"), "$0.0025"),
        (Decimal("19.20"), "$19.20"),
        (Decimal("1E+3"), "$1,000.00"),
        (4850, "$0.485"),
        (None, "–"),
    ],
)
def test_money_has_two_digits_at_least_and_a_true_minus(amount: Any, expected: str) -> None:
    assert prices.dollars(amount) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(Decimal("214.1"), "+$214.10"), (Decimal("-3.1"), "−$3.10"), (Decimal("0"), "$0.00"), (None, "–")],
)
def test_a_gain_carries_its_sign(amount: Any, expected: str) -> None:
    assert prices.signed_dollars(amount) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (12_000, "120"),
        (7_550, "75.5"),
        (123_425, "1,234.25"),
        (1, "0.01"),
        (0, "0"),
        (Decimal("40.00"), "40"),
        (Decimal("-2.50"), "−2.5"),
        (None, "–"),
    ],
)
def test_a_count_is_written_in_contracts(count: Any, expected: str) -> None:
    assert prices.contracts(count) == expected


def test_times_are_those_of_the_exchange_and_say_so() -> None:
    assert prices.clock_time(NOW) == "13:55:07"
    assert prices.day_time(NOW) == "18 Dec 13:55 EST"
    assert prices.day_time(datetime(2026, 7, 4, 12, 0, tzinfo=UTC)) == "4 Jul 08:00 EDT"
    assert prices.machine_time(NOW) == "2026-12-18T18:55:07.250Z"


def test_a_time_that_nobody_knows_is_a_dash_and_no_machine_time() -> None:
    assert (prices.clock_time(None), prices.day_time(None), prices.machine_time(None)) == ("–", "–", "")


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        (0, "0.0 s"),
        (249, "0.2 s"),
        (9_999, "9.9 s"),
        (10_000, "10 s"),
        (59_999, "59 s"),
        (60_000, "1 min"),
        (3_599_999, "59 min"),
        (3_600_000, "1 h"),
        (86_400_000, "1 d"),
        (26 * 86_400_000, "26 d"),
        (-5, "0.0 s"),
        (None, "–"),
    ],
)
def test_a_duration_is_written_in_its_largest_unit(ms: int | None, expected: str) -> None:
    assert prices.duration_ms(ms) == expected


def test_ages_and_what_is_left_are_counted_from_now() -> None:
    with time_machine.travel(NOW, tick=False):
        assert prices.age(NOW - timedelta(minutes=12, seconds=5)) == "12 min ago"
        assert prices.until(NOW + timedelta(days=26)) == "26 d"
        assert prices.until(NOW) == "over"
    assert (prices.age(None), prices.until(None)) == ("never", "–")


def test_a_template_uses_them_as_filters() -> None:
    page = Template("{% load prices %}{{ bid|cents }} × {{ size|contracts }}")

    assert page.render(Context({"bid": 4850, "size": 7_550})) == "48.5¢ × 75.5"
