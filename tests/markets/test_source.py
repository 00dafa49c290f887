"""The exchange's public lists: read at a pace of its own, slower when told so, and one market by name."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from kalshiweb.exchanges import Exchange
from markets import source
from markets.kalshi.errors import RateLimited, Rejected, Unavailable
from markets.livebook import Listing
from markets.source import ATTEMPTS, CALM_READS, Pace, RestSource, ask_market, open_source
from tests.markets import listing as listings
from tests.markets.listing import listing_served, market

THERE = market("A", "E", close_time="2026-11-26T05:00:00Z")


@pytest.fixture
def exchange(settings: Settings) -> Iterator[listings.Listing]:
    with listing_served() as served:
        settings.EXCHANGES = {"sandbox": Exchange("sandbox", served.url, "ws://127.0.0.1:1/ws")}
        yield served


class Waits:
    """How long the source has waited."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def test_a_refusal_for_speed_halves_the_pace_and_it_has_a_floor() -> None:
    pace = Pace()
    rates = []
    for _ in range(6):
        pace.slow_down()
        rates.append(pace.per_second)

    assert rates == [5.0, 2.5, 1.25, 0.625, 0.5, 0.5]


def test_pace_is_won_back_slowly_and_has_a_ceiling() -> None:
    pace = Pace()
    pace.slow_down()
    for _ in range(CALM_READS - 1):
        pace.note_answer()
    assert pace.per_second == 5
    pace.note_answer()
    assert pace.per_second == 6
    for _ in range(CALM_READS * 10):
        pace.note_answer()
    assert pace.per_second == 10


def test_turns_are_a_tenth_of_a_second_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits()
    monkeypatch.setattr(source, "time", SimpleNamespace(monotonic=lambda: 100.0))
    pace = Pace(pause=waits)
    for _ in range(3):
        pace.acquire("read", 10)

    assert waits.seconds == pytest.approx([0.1, 0.2])


def test_a_failing_exchange_is_asked_again_later_and_later_and_then_given_up(exchange: listings.Listing) -> None:
    exchange.refusals = [503] * ATTEMPTS
    waits = Waits()

    with RestSource(exchange.url, pause=waits) as reading, pytest.raises(Unavailable):
        reading.series()

    assert [wait for wait in waits.seconds if wait >= 0.5] == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_an_exchange_that_refuses_for_speed_to_the_end_is_given_up(exchange: listings.Listing) -> None:
    exchange.refusals = [429] * ATTEMPTS

    with RestSource(exchange.url, pause=Waits()) as reading, pytest.raises(RateLimited):
        reading.series()


def test_a_final_refusal_is_not_asked_again(exchange: listings.Listing) -> None:
    exchange.refusals = [400]

    with RestSource(exchange.url, pause=Waits()) as reading, pytest.raises(Rejected):
        reading.markets("", status="open")


def test_the_source_of_an_environment_is_its_rest_address(exchange: listings.Listing) -> None:
    exchange.add(listings.series("KXHIGHNY"))

    with open_source("sandbox") as reading:
        assert [row.ticker for row in reading.series()] == ["KXHIGHNY"]


def test_one_market_becomes_what_the_relay_needs(exchange: listings.Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "answer", lambda path, query: {"market": THERE})
    monkeypatch.setattr(source, "time", SimpleNamespace(time_ns=lambda: 7_000_000, monotonic=lambda: 100.0))

    found = ask_market("sandbox", "A")

    assert found == Listing("A", status="active", close_ms=1_795_669_200_000, bands=((0, 10_000, 100),), as_of_ms=7)


def test_a_market_that_the_exchange_does_not_know_is_none_and_another_refusal_is_raised(
    exchange: listings.Listing,
) -> None:
    exchange.refusals = [404, 403]

    assert ask_market("sandbox", "NONE") is None
    with pytest.raises(Rejected):
        ask_market("sandbox", "A")


@pytest.mark.parametrize("ranges", [[], [{"start": "0.0000", "end": "1.0000", "step": "0.00001"}]])
def test_a_grid_that_cannot_be_represented_is_no_grid(
    exchange: listings.Listing, monkeypatch: pytest.MonkeyPatch, ranges: list[Any]
) -> None:
    monkeypatch.setattr(exchange, "answer", lambda path, query: {"market": THERE | {"price_ranges": ranges}})

    found = ask_market("sandbox", "A")

    assert found is not None
    assert found.bands is None
