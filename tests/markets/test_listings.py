"""What the relay knows of a market: from the catalogue where it stands there, else from the exchange."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from markets.listings import Lookup
from markets.livebook import Listing
from markets.models import Market

# Committed for real: a look-up closes its thread's old connections.
pytestmark = pytest.mark.django_db(transaction=True)

SYNCED = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CLOSE = datetime(2026, 11, 26, 5, 0, tzinfo=UTC)


def save(ticker: str, **columns: Any) -> None:
    values: dict[str, Any] = {
        "environment": "sandbox",
        "event_ticker": "E",
        "status": "active",
        "close_at": CLOSE,
        "price_ranges": [[0, 10_000, 100]],
        "synced_at": SYNCED,
    }
    Market.objects.create(ticker=ticker, **(values | columns))


class Exchange:
    """What the exchange answers, and what it was asked."""

    def __init__(self, **listings: Listing | None) -> None:
        self.listings = listings
        self.asked: list[list[str]] = []
        self.is_away = False

    def __call__(self, tickers: Sequence[str]) -> dict[str, Listing | None]:
        self.asked.append(list(tickers))
        if self.is_away:
            raise OSError("away")
        return {ticker: self.listings[ticker] for ticker in tickers if ticker in self.listings}


def test_a_row_of_the_catalogue_is_enough() -> None:
    save("A", is_replay=True)
    exchange = Exchange()

    found = Lookup("sandbox", exchange)(["A"])

    assert found == {
        "A": Listing(
            "A",
            status="active",
            close_ms=1_795_669_200_000,
            bands=((0, 10_000, 100),),
            is_replay=True,
            as_of_ms=1_795_521_600_000,
        )
    }
    assert exchange.asked == []


def test_a_row_of_another_environment_is_none_of_ours() -> None:
    save("A", environment="demo")

    assert Lookup("sandbox")(["A"]) == {"A": None}


def test_what_the_catalogue_lacks_is_left_out_and_the_exchange_is_not_asked_unless_told_so() -> None:
    save("A")
    exchange = Exchange(NEW=Listing("NEW"), NONE=None)
    look_up = Lookup("sandbox", exchange)

    assert set(look_up(["A", "NEW", "NONE", "AWAY"])) == {"A"}
    assert exchange.asked == []
    assert look_up(["NEW", "NONE", "AWAY"], fresh=True) == {"NEW": Listing("NEW"), "NONE": None}
    assert exchange.asked == [["NEW", "NONE", "AWAY"]], "one question for all"


def test_an_exchange_that_is_away_leaves_out_what_the_catalogue_lacks() -> None:
    save("A")
    exchange = Exchange()
    exchange.is_away = True

    assert set(Lookup("sandbox", exchange)(["A", "NEW"], fresh=True)) == {"A"}


def test_a_fresh_look_asks_the_exchange_and_keeps_what_only_the_catalogue_knows() -> None:
    save("A", is_replay=True)
    exchange = Exchange(A=Listing("A", bands=((0, 10_000, 50),), as_of_ms=9))

    found = Lookup("sandbox", exchange)(["A"], fresh=True)

    assert found == {"A": Listing("A", bands=((0, 10_000, 50),), is_replay=True, as_of_ms=9)}


@pytest.mark.parametrize("answer", [{"A": None}, {}])
def test_a_fresh_look_that_finds_nothing_falls_back_on_the_catalogue(answer: dict[str, Listing | None]) -> None:
    save("A")

    found = Lookup("sandbox", Exchange(**answer))(["A"], fresh=True)

    assert found["A"] is not None
    assert found["A"].bands == ((0, 10_000, 100),)


@pytest.mark.parametrize("ranges", [[], [[0, 10_000]], [["0", "x", "1"]], [[0, 10_000, 0]]])
def test_a_grid_that_makes_no_sense_is_no_grid(ranges: list[Any]) -> None:
    save("A", price_ranges=ranges)

    found = Lookup("sandbox")(["A"])["A"]

    assert found is not None
    assert found.bands is None
