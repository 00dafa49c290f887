"""Rows are written in short pieces, only by natural key, and alike on every database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction

from markets import rows
from markets.models import Market, Series

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SERIES = {
    "title": "Highest temperature in NYC",
    "category": "Climate and Weather",
    "tags": ["Daily temperature"],
    "frequency": "daily",
    "fee_type": "quadratic",
    "fee_multiplier": 1,
}


def series_row(ticker: str, environment: str = "sandbox", **changes: Any) -> rows.Values:
    values = tuple((SERIES | changes)[name] for name in rows.COLUMNS[Series])
    return (environment, ticker, *values, rows.digest(values), NOW)


def no_pause(seconds: float) -> None:
    return


@pytest.mark.django_db
def test_upsert_writes_new_rows_and_changes_known_ones() -> None:
    pieces = rows.Pieces(pause=no_pause)
    rows.upsert(Series, [series_row("KXHIGHNY"), series_row("KXRAIN")], pieces)
    kept = Series.objects.get(ticker="KXHIGHNY").pk

    written = rows.upsert(Series, [series_row("KXHIGHNY", title="Heat", tags=["a", "b"])], pieces)

    assert written == 1
    found = Series.objects.get(ticker="KXHIGHNY")
    assert (found.pk, found.title, found.tags, found.synced_at) == (kept, "Heat", ["a", "b"], NOW)
    assert Series.objects.get(ticker="KXRAIN").title == "Highest temperature in NYC"


@pytest.mark.django_db
def test_upsert_never_touches_the_same_ticker_of_another_environment() -> None:
    pieces = rows.Pieces(pause=no_pause)
    rows.upsert(Series, [series_row("KXHIGHNY", "production")], pieces)

    rows.upsert(Series, [series_row("KXHIGHNY", "demo", title="Mirror")], pieces)

    titles = dict(Series.objects.values_list("environment", "title"))
    assert titles == {"production": "Highest temperature in NYC", "demo": "Mirror"}


@pytest.mark.django_db
def test_a_new_market_starts_without_quotes_and_they_are_written_apart() -> None:
    described = {column.name: column.get_default() for column in Market._meta.concrete_fields}
    values = tuple((described | {"event_ticker": "E", "status": "active"})[name] for name in rows.COLUMNS[Market])
    pieces = rows.Pieces(pause=no_pause)
    rows.upsert(Market, [("sandbox", "A", *values, "d", NOW)], pieces)
    before = Market.objects.get(ticker="A")

    rows.update_quotes([("sandbox", "A", 4900, 5000, 12000, 7550, 5000, 4500, 3389600, 512055, 2042200, NOW)], pieces)

    after = Market.objects.get(ticker="A")
    assert (before.yes_bid, before.volume, before.quoted_at) == (None, 0, None)
    assert (after.yes_bid, after.yes_ask, after.yes_bid_size, after.yes_ask_size) == (4900, 5000, 12000, 7550)
    assert (after.last_price, after.previous_price, after.volume_24h, after.quoted_at) == (5000, 4500, 512055, NOW)
    assert after.digest == "d"


def test_a_digest_tells_values_apart_that_print_alike() -> None:
    assert rows.digest(("1", None)) != rows.digest((1, None))
    assert rows.digest(("ab", "c")) != rows.digest(("a", "bc"))
    assert rows.digest((None, "x")) == rows.digest((None, "x"))


class Clock:
    """Each piece takes `row_seconds` for each of its rows."""

    def __init__(self, row_seconds: float) -> None:
        self.row_seconds = row_seconds
        self.now = 0.0
        self.pieces: list[int] = []
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def execute(self, execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if not many:
            return execute(sql, parameters, many, context)
        self.pieces.append(len(parameters))
        self.now += self.row_seconds * len(parameters)
        return None


@pytest.fixture
def written(request: pytest.FixtureRequest) -> Iterator[Clock]:
    clock = Clock(request.param)
    with connection.execute_wrapper(clock.execute):
        yield clock


@pytest.mark.django_db
@pytest.mark.parametrize("written", [0.0001, 0.0004, 0.00001], indirect=True)
def test_a_piece_holds_the_lock_for_ten_milliseconds_at_most_and_the_pause_is_five_times_that(written: Clock) -> None:
    pieces = rows.Pieces(rows=20, clock=written, pause=written.pauses.append)

    assert pieces.run("INSERT", [()] * 2_000) == 2_000

    assert sum(written.pieces) == 2_000
    assert max(written.pieces) <= 250
    assert pieces.longest_seconds <= 0.010
    if connection.vendor == "sqlite":
        assert written.pauses == pytest.approx([5 * written.row_seconds * size for size in written.pieces])
    else:
        assert written.pauses == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="only SQLite has one writer")
def test_an_order_gets_its_turn_between_two_pieces() -> None:
    turns: list[str] = []
    first_piece_done, order_committed = threading.Event(), threading.Event()

    def order() -> None:
        try:
            assert first_piece_done.wait(5)
            with transaction.atomic():
                Series.objects.create(environment="demo", ticker="ORDER", synced_at=NOW)
            turns.append("order")
        finally:
            connection.close()
            order_committed.set()

    def pause(seconds: float) -> None:
        turns.append("pause")
        first_piece_done.set()
        assert order_committed.wait(5)

    other = threading.Thread(target=order)
    other.start()
    rows.upsert(Series, [series_row(f"S{n}") for n in range(30)], rows.Pieces(rows=10, pause=pause))
    other.join()

    assert turns[:3] == ["pause", "order", "pause"]
    assert Series.objects.filter(environment="sandbox").count() == 30
