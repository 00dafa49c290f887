"""The exchange's public lists: read at a pace of its own, slower when told so, and markets by name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from kalshiweb.exchanges import Exchange
from markets import source
from markets.kalshi.errors import RateLimited, Rejected, Unavailable
from markets.livebook import Listing
from markets.source import ATTEMPTS, CALM_READS, Pace, RestSource, ask_markets, books_reader, open_source
from tests.markets import listing as listings
from tests.markets.listing import listing_served, market
from tests.trading.venue import Venue

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


class Asking:
    """Asks an environment's exchange for markets by name, and knows how often it did."""

    def __init__(self, exchange: listings.Listing) -> None:
        self.exchange = exchange
        self.pace = Pace(pause=lambda seconds: None)

    def __call__(self, *tickers: str) -> dict[str, Listing | None]:
        with books_reader("sandbox", self.pace) as reader:
            return ask_markets(reader, self.pace, tickers)

    @property
    def calls(self) -> list[int]:
        """How many markets each call named."""
        return [len(query["tickers"].split(",")) for query in self.exchange.asked_for("markets")]


@pytest.fixture
def ask(exchange: listings.Listing) -> Asking:
    return Asking(exchange)


def test_a_market_becomes_what_the_relay_needs(ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    ask.exchange.add(THERE)
    monkeypatch.setattr(source, "time", SimpleNamespace(time_ns=lambda: 7_000_000, monotonic=lambda: 100.0))

    assert ask("A") == {
        "A": Listing("A", status="active", close_ms=1_795_669_200_000, bands=((0, 10_000, 100),), as_of_ms=7)
    }


def test_fifty_markets_are_one_call_and_those_that_there_are_not_are_none(ask: Asking) -> None:
    ask.exchange.add(THERE)
    nowhere = [f"NONE-{number}" for number in range(49)]

    found = ask("A", *nowhere)

    assert found.pop("A") is not None
    assert found == dict.fromkeys(nowhere)
    assert ask.calls == [50]


def test_a_call_names_at_most_a_hundred_markets(ask: Asking) -> None:
    ask(*[f"M{number}" for number in range(201)])

    assert ask.calls == [100, 100, 1]


def test_what_one_ticker_spoils_is_found_by_halves_and_left_out(ask: Asking) -> None:
    ask.exchange.add(THERE, market("BAD", "E", price_ranges="none"))

    found = ask("A", "NONE", "BAD", "NEITHER")

    assert found["A"] is not None
    assert (found["NONE"], found["NEITHER"]) == (None, None)
    assert "BAD" not in found
    assert ask.calls == [4, 2, 2, 1, 1]


def test_a_call_that_is_too_long_for_the_exchange_is_cut(ask: Asking) -> None:
    ask.exchange.add(THERE)
    ask.exchange.refusals = [414]

    assert ask("NONE", "A")["A"] is not None


@pytest.mark.parametrize(("status", "per_second"), [(429, 5.0), (503, 10.0), (403, 10.0)])
def test_an_exchange_that_does_not_answer_is_asked_no_further(ask: Asking, status: int, per_second: float) -> None:
    ask.exchange.refusals = [status, 200, 200]

    assert ask(*[f"M{number}" for number in range(201)]) == {}
    assert ask.exchange.refusals == [200, 200], "one call"
    assert ask.pace.per_second == per_second


def test_what_was_answered_before_a_refusal_is_kept(ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    first_hundred = [f"M{number}" for number in range(100)]
    answers = iter([200, 429])
    monkeypatch.setattr(ask.exchange, "refusals", Later(answers))

    assert ask(*first_hundred, "LATER") == dict.fromkeys(first_hundred)


class Later:
    """Statuses of answers, good ones included."""

    def __init__(self, statuses: Iterator[int]) -> None:
        self._statuses = statuses

    def pop(self, index: int) -> int:
        return next(self._statuses, 200)


def test_threads_that_share_a_pace_get_turns_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "time", SimpleNamespace(monotonic=lambda: 100.0))
    waits: list[float] = []
    pace = Pace(pause=waits.append)
    threads = [threading.Thread(target=pace.acquire, args=("read", 10)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(waits) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])


@pytest.mark.parametrize("ranges", [[], [{"start": "0.0000", "end": "1.0000", "step": "0.00001"}]])
def test_a_grid_that_cannot_be_represented_is_no_grid(ask: Asking, ranges: list[Any]) -> None:
    ask.exchange.add(THERE | {"price_ranges": ranges})

    found = ask("A")["A"]

    assert found is not None
    assert found.bands is None


def test_the_local_exchange_tells_markets_by_name_in_one_answer(settings: Settings) -> None:
    venue = Venue()
    try:
        there = [venue.market() for _ in range(2)]
        settings.EXCHANGES = {"sandbox": Exchange("sandbox", venue.running.rest_url, venue.running.ws_url)}
        nowhere = [f"NONE-{number}" for number in range(50)]
        with books_reader("sandbox", Pace()) as reader:
            found = ask_markets(reader, Pace(), [*nowhere, *there])
    finally:
        venue.stop()

    assert {ticker: found[ticker] for ticker in nowhere} == dict.fromkeys(nowhere)
    assert [listing.status for listing in map(found.get, there) if listing is not None] == ["active", "active"]
