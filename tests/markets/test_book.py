"""The order book: what it folds, what it refuses, and that a refusal changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.book import BookError, NegativeLevel, OffGrid, OrderBook, bands_of, grid_prices

CENTS = ((0, 10_000, 100),)
TAPERED = ((0, 1_000, 10), (1_000, 9_000, 100), (9_000, 10_000, 10))


def contents(book: OrderBook) -> tuple[dict[int, int], dict[int, int], int | None, int | None]:
    return dict(book.bids), dict(book.asks), book.best_bid, book.best_ask


@pytest.fixture
def book() -> OrderBook:
    book = OrderBook(CENTS)
    book.apply_snapshot([(4800, 1000), (4900, 12000)], [(5000, 7550), (5100, 3325)])
    return book


def test_a_snapshot_replaces_both_sides(book: OrderBook) -> None:
    book.apply_snapshot([(100, 5)], [])

    assert contents(book) == ({100: 5}, {}, 100, None)


def test_a_change_adds_to_what_the_level_holds(book: OrderBook) -> None:
    assert book.apply_delta(True, 4900, -5400) == 6600
    assert book.apply_delta(False, 5000, 50) == 7600

    assert book.bids == {4800: 1000, 4900: 6600}
    assert book.asks == {5000: 7600, 5100: 3325}


def test_a_level_that_reaches_zero_goes_and_the_next_is_best(book: OrderBook) -> None:
    assert book.apply_delta(True, 4900, -12000) == 0
    assert book.apply_delta(False, 5000, -7550) == 0

    assert contents(book) == ({4800: 1000}, {5100: 3325}, 4800, 5100)


def test_a_better_level_becomes_the_best(book: OrderBook) -> None:
    book.apply_snapshot([(4000, 1)], [(6000, 1)])
    book.apply_delta(True, 4100, 1)
    book.apply_delta(False, 5900, 1)

    assert (book.best_bid, book.best_ask) == (4100, 5900)


def test_a_level_below_nothing_is_refused_and_changes_nothing(book: OrderBook) -> None:
    before = contents(book)

    with pytest.raises(NegativeLevel):
        book.apply_delta(True, 4900, -12001)
    with pytest.raises(NegativeLevel):
        book.apply_delta(False, 5200, -1)

    assert contents(book) == before


@pytest.mark.parametrize("price", [4950, 0, 10_000, -100, 10_100])
def test_a_price_off_the_grid_is_refused_and_changes_nothing(book: OrderBook, price: int) -> None:
    before = contents(book)

    with pytest.raises(OffGrid):
        book.apply_delta(True, price, 1)
    with pytest.raises(OffGrid):
        book.apply_snapshot([(100, 1)], [(price, 1)])

    assert contents(book) == before


@pytest.mark.parametrize("size", [0, -1])
def test_a_snapshot_with_an_empty_level_is_refused(book: OrderBook, size: int) -> None:
    before = contents(book)

    with pytest.raises(NegativeLevel):
        book.apply_snapshot([(100, size)], [])

    assert contents(book) == before


def test_a_snapshot_that_names_a_price_twice_is_refused(book: OrderBook) -> None:
    with pytest.raises(BookError):
        book.apply_snapshot([(100, 1), (100, 2)], [])


def test_without_a_grid_every_price_inside_the_dollar_is_accepted() -> None:
    book = OrderBook()
    book.apply_delta(True, 1, 5)
    book.apply_delta(False, 9_999, 5)

    with pytest.raises(OffGrid):
        book.apply_delta(True, 10_000, 5)


def test_resting_levels_outlive_a_change_of_the_grid(book: OrderBook) -> None:
    fine = OrderBook(((0, 10_000, 10),))
    fine.apply_delta(True, 4_990, 5)
    fine.set_grid(CENTS, keep=True)
    fine.apply_delta(True, 4_990, 5)
    fine.apply_snapshot([(4_990, 7)], [])

    assert fine.bids == {4_990: 7}
    fine.set_grid(CENTS)
    with pytest.raises(OffGrid):
        fine.apply_delta(True, 4_980, 5)


def test_a_snapshot_that_is_off_the_grid_names_all_such_prices_once_nothing_else_is_wrong(book: OrderBook) -> None:
    before = contents(book)
    with pytest.raises(OffGrid) as between:
        book.apply_snapshot([(4_850, 1), (4_800, 1)], [(5_201, 2)])
    with pytest.raises(OffGrid) as outside:
        book.apply_snapshot([(4_850, 1)], [(10_001, 2)])
    with pytest.raises(NegativeLevel):
        book.apply_snapshot([(4_850, 1), (4_800, 0)], [])
    assert contents(book) == before
    assert sorted(between.value.prices) == [4_850, 5_201]
    assert not outside.value.prices

    book.accept(frozenset({4_850}))
    book.apply_snapshot([(4_850, 1)], [])
    assert book.bids == {4_850: 1}
    with pytest.raises(OffGrid):
        book.apply_delta(True, 4_851, 1)


def test_a_tapered_grid_has_fine_steps_at_both_ends() -> None:
    prices = grid_prices(TAPERED)

    assert {10, 990, 1_000, 1_100, 8_900, 9_000, 9_010, 9_990} <= prices
    assert not {0, 1_010, 1_050, 8_990, 10_000, 5} & prices


@pytest.mark.parametrize("ranges", [None, [], [[0, 10_000, 0]], [[500, 100, 10]], [[0, 20_000, 100]]])
def test_ranges_that_make_no_sense_are_no_grid(ranges: list[list[int]] | None) -> None:
    assert bands_of(ranges) is None


def test_bid_and_ask_that_meet_are_crossed(book: OrderBook) -> None:
    assert not book.is_crossed
    book.apply_delta(True, 5000, 1)
    assert book.is_crossed


def test_levels_come_best_first(book: OrderBook) -> None:
    assert book.levels(True) == [(4900, 12000), (4800, 1000)]
    assert book.levels(False) == [(5000, 7550), (5100, 3325)]


changes = st.lists(st.tuples(st.booleans(), st.integers(1, 9).map(lambda n: n * 1000), st.integers(-5, 5)), max_size=60)


@given(changes)
def test_whatever_comes_the_best_prices_are_those_of_the_levels(steps: list[tuple[bool, int, int]]) -> None:
    book = OrderBook()
    for is_bid, price, change in steps:
        before = contents(book)
        try:
            book.apply_delta(is_bid, price, change)
        except NegativeLevel:
            assert contents(book) == before
        assert book.best_bid == max(book.bids, default=None)
        assert book.best_ask == min(book.asks, default=None)
        assert all(size > 0 for size in [*book.bids.values(), *book.asks.values()])
