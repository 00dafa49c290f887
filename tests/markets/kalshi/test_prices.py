"""Prices and counts: whole units, the market's grid, and who buys what."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.kalshi.prices import (
    Action,
    Direction,
    NotRepresentable,
    PriceGrid,
    Side,
    complement,
    count_units_of,
    from_count_units,
    from_price_units,
    price_units_of,
    to_count_units,
    to_price_units,
    wire_count,
    wire_price,
)

CENT = ((0, 10_000, 100),)
TAPERED = ((0, 1_000, 10), (1_000, 9_000, 100), (9_000, 10_000, 10))


def test_dollars_and_contracts_become_whole_units_and_come_back() -> None:
    assert (to_price_units(D("0.4801")), to_count_units(D("2.5"))) == (4801, 250)
    assert (from_price_units(4801), from_count_units(250)) == (D("0.4801"), D("2.50"))
    assert str(from_price_units(4800)) == "0.4800"


@pytest.mark.parametrize("price", ["0.48005", "-0.01", "1.0001", "NaN", "Infinity", "1e9999", "1e-40"])
def test_a_price_without_notation_is_refused_never_rounded(price: str) -> None:
    with pytest.raises(NotRepresentable):
        to_price_units(D(price))


@pytest.mark.parametrize("count", ["0.005", "NaN", "1e30", "-Infinity"])
def test_a_count_without_notation_is_refused(count: str) -> None:
    with pytest.raises(NotRepresentable):
        to_count_units(D(count))


def test_orders_are_written_with_four_and_two_decimals() -> None:
    assert (wire_price(D("0.48")), wire_count(D(10))) == ("0.4800", "10.00")


@pytest.mark.parametrize("price", ["0", "1", "0.00001"])
def test_an_order_cannot_have_a_price_at_the_edge_or_between_steps(price: str) -> None:
    with pytest.raises(NotRepresentable):
        wire_price(D(price))


@pytest.mark.parametrize("count", ["0", "-1", "0.001"])
def test_an_order_is_for_something(count: str) -> None:
    with pytest.raises(NotRepresentable):
        wire_count(D(count))


@pytest.mark.parametrize("text", ["", " 0.48", "0.48 ", "1_0", "٠.٤", "0,48", "NaN", "1e-2", "+0.4", "2.00", "0.48001"])
def test_only_plain_numbers_are_read_as_a_price(text: str) -> None:
    with pytest.raises(NotRepresentable):
        price_units_of(text)


def test_prices_and_signed_counts_of_messages_are_read() -> None:
    assert [price_units_of(text) for text in ("0.4800", "0.001", "0", "1.0000")] == [4800, 10, 0, 10_000]
    assert [count_units_of(text) for text in ("-54.00", "0.1", "966425.00")] == [-5400, 10, 96_642_500]


def test_yes_and_no_are_worth_a_dollar_together() -> None:
    assert complement(D("0.40")) == D("0.6000")
    with pytest.raises(NotRepresentable):
        complement(D("1.01"))


@given(st.integers(0, 10_000))
def test_the_complement_of_the_complement_is_the_price(units: int) -> None:
    price = from_price_units(units)
    assert complement(complement(price)) == price
    assert to_price_units(price) == units
    assert price_units_of(f"{price:.4f}") == units


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_any_number_is_either_exact_or_refused(number: D) -> None:
    try:
        units = to_count_units(number)
    except NotRepresentable:
        return
    assert from_count_units(units) == number


def test_a_grid_holds_its_steps_and_both_ends_of_each_band() -> None:
    grid = PriceGrid.from_ranges(TAPERED)

    assert grid.contains(D("0.099")) and grid.contains(D("0.10")) and grid.contains(D("0.90"))
    assert grid.contains(D("0.901"))
    assert not grid.contains(D("0.105"))
    assert len(grid.ticks()) == 279  # 99 + 81 + 99: below, between (both edges), above


@pytest.mark.parametrize("price", ["0", "1", "0.005", "-0.01", "NaN", "1.5"])
def test_a_grid_refuses_edges_and_what_lies_between(price: str) -> None:
    assert not PriceGrid.from_ranges(CENT).contains(D(price))


def test_the_ticks_run_upwards_in_units_and_in_dollars() -> None:
    grid = PriceGrid.from_ranges(CENT)

    assert (grid.ticks()[0], grid.ticks()[-1], len(grid.ticks())) == (100, 9_900, 99)
    assert grid.prices()[:2] == (D("0.01"), D("0.02"))


def test_a_grid_without_bands_has_no_price() -> None:
    assert PriceGrid.from_ranges([]).ticks() == ()
    assert not PriceGrid.from_ranges([]).contains(D("0.5"))


@pytest.mark.parametrize("band", [(0, 10_000, 0), (100, 0, 1), (0, 10_001, 1), (-1, 5, 1)])
def test_a_band_that_makes_no_sense_is_refused(band: tuple[int, int, int]) -> None:
    with pytest.raises(NotRepresentable):
        PriceGrid.from_ranges([band])


# The exchange's own table: who wants what, what goes over the wire, and how the same order reads on the other side.
CASES: list[tuple[Action, Side, str, str, str, str]] = [
    ("buy", "yes", "0.48", "bid", "0.4800", "Buy 10 YES at $0.48, the same as sell 10 NO at $0.52"),
    ("sell", "yes", "0.48", "ask", "0.4800", "Sell 10 YES at $0.48, the same as buy 10 NO at $0.52"),
    ("buy", "no", "0.40", "ask", "0.6000", "Buy 10 NO at $0.40, the same as sell 10 YES at $0.60"),
    ("sell", "no", "0.40", "bid", "0.6000", "Sell 10 NO at $0.40, the same as buy 10 YES at $0.60"),
]


@pytest.mark.parametrize(("action", "side", "price", "wire_side", "wire", "words"), CASES)
def test_each_direction_has_one_side_and_one_price_on_the_wire(
    action: Action, side: Side, price: str, wire_side: str, wire: str, words: str
) -> None:
    direction = Direction(action, side, D(price))

    assert (direction.wire_side, wire_price(direction.wire_price)) == (wire_side, wire)
    assert direction.both_words(D("10.00")) == words
    assert direction.wire_words(D(10)) == f"{wire_side} 10.00 at the YES price ${wire}"
    assert direction.outcome_side == ("yes" if wire_side == "bid" else "no")


@pytest.mark.parametrize(("action", "side", "price", "wire_side", "wire", "words"), CASES)
def test_the_wire_is_read_back_as_the_same_wish(
    action: Action, side: Side, price: str, wire_side: str, wire: str, words: str
) -> None:
    read = Direction.from_wire(wire_side, D(wire), side=side)  # type: ignore[arg-type]

    assert read == Direction(action, side, D(price))
    assert read.mirrored().mirrored() == read


def test_odd_prices_keep_their_decimals_in_words() -> None:
    assert Direction("buy", "no", D("0.0425")).words(D("0.05")) == "Buy 0.05 NO at $0.0425"


def test_other_words_are_no_direction() -> None:
    with pytest.raises(NotRepresentable):
        Direction("hold", "yes", D("0.5"))  # type: ignore[arg-type]
    with pytest.raises(NotRepresentable):
        Direction.from_wire("buy", D("0.5"))  # type: ignore[arg-type]
