"""Whole numbers and their text, and the price grids."""

from __future__ import annotations

import pytest

from markets.sandbox.grid import STRUCTURES, grid_prices
from markets.sandbox.numbers import balance_text, count_text, money_text, parse_fixed, price_text, rounded_ratio


def test_prices_counts_and_money_are_written_with_their_decimals() -> None:
    assert [price_text(price) for price in (0, 1, 4800, 10_000)] == ["0.0000", "0.0001", "0.4800", "1.0000"]
    assert [count_text(count) for count in (0, 1, 1050, -5400)] == ["0.00", "0.01", "10.50", "-54.00"]
    assert [money_text(money) for money in (0, 175_000, -40_001, 5_000_000)] == [
        "0.000000",
        "0.175000",
        "-0.040001",
        "5.000000",
    ]


def test_a_balance_is_cut_off_after_four_decimals() -> None:
    assert [balance_text(money) for money in (994_825_000, 98_018_699, -150)] == ["994.8250", "98.0186", "-0.0001"]


@pytest.mark.parametrize(
    ("text", "places", "number"),
    [("0.48", 4, 4800), ("10.00", 2, 1000), (".5", 4, 5000), ("7", 2, 700), ("-5", 2, -500), ("0.4800", 4, 4800)],
)
def test_decimal_strings_are_read_exactly(text: str, places: int, number: int) -> None:
    assert parse_fixed(text, places) == number


@pytest.mark.parametrize(
    "text", ["", ".", "-", "1e3", "0.48001", "NaN", "1,5", " 1", "1.2.3", "+1", "１", "--1", "1_0"]
)
def test_anything_else_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        parse_fixed(text, 4)


def test_averages_are_rounded_half_up() -> None:
    assert [rounded_ratio(amount, 2) for amount in (3, 4, 5)] == [2, 2, 3]


@pytest.mark.parametrize(
    ("structure", "on", "off"),
    [
        ("linear_cent", [100, 4800, 9900], [0, 50, 4850, 10_000]),
        ("deci_cent", [10, 4810, 9990], [5, 4815]),
        ("tapered_deci_cent", [10, 990, 1000, 1100, 8900, 9010], [1010, 4850, 9005]),
        ("center_whole_edge_half_cent", [50, 950, 1000, 1100, 9050], [1050, 10]),
        ("center_whole_edge_quint_cent", [20, 980, 1100, 9020], [1050, 10]),
        ("center_half_edge_half_cent", [50, 5050], [10, 25]),
        ("center_half_edge_quint_cent", [20, 1050, 9020], [1020, 9950 + 5]),
        ("center_half_edge_deci_cent", [10, 1050, 9010], [1010]),
        ("center_quint_edge_quint_cent", [20, 5020], [10, 5010]),
        ("center_quint_edge_deci_cent", [10, 1020, 9010], [1010]),
        ("center_centi_edge_centi_cent", [1, 5001, 9999], [0, 10_000]),
        ("center_deci_edge_centi_cent", [1, 100, 110, 9901], [101, 5005]),
    ],
)
def test_the_grid_of_every_structure(structure: str, on: list[int], off: list[int]) -> None:
    prices = grid_prices(STRUCTURES[structure])

    assert [price for price in on if price not in prices] == []
    assert [price for price in off if price in prices] == []
    assert set(range(100, 10_000, 100)) <= prices  # whole cents are valid in every structure
