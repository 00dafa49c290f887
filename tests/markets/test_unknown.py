"""Wanted markets of which nothing is known: asked for in calls, seldom where there is none, soon once announced."""

from __future__ import annotations

import pytest

from markets.unknown import UnknownMarkets


@pytest.fixture
def unknown() -> UnknownMarkets:
    return UnknownMarkets()


def turns(unknown: UnknownMarkets, ticker: str, until: int, *, answer: str) -> list[int]:
    """Return when a market is asked for, if each question is answered alike."""
    found = []
    for now in range(0, until, 1_000):
        if unknown.due(now):
            found.append(now)
            getattr(unknown, answer)(ticker, now)
    return found


def test_a_new_market_is_due_at_once_and_one_that_was_found_is_not_unknown(unknown: UnknownMarkets) -> None:
    unknown.add(["A"], 0)
    assert unknown.due(0) == ["A"]

    unknown.find("A")

    assert unknown.due(0) == []
    assert "A" not in unknown


def test_a_market_that_does_not_exist_is_asked_for_after_half_a_minute_then_later_and_later(
    unknown: UnknownMarkets,
) -> None:
    unknown.add(["NONE"], 0)

    asked = turns(unknown, "NONE", 2_200_000, answer="refuse")

    assert asked == [0, 30_000, 90_000, 210_000, 450_000, 930_000, 1_530_000, 2_130_000], "at most ten minutes apart"


def test_a_question_that_failed_is_asked_again_soon_and_at_least_twice_a_minute(unknown: UnknownMarkets) -> None:
    unknown.add(["A"], 0)

    asked = turns(unknown, "A", 130_000, answer="fail")

    assert asked == [0, 2_000, 6_000, 14_000, 30_000, 60_000, 90_000, 120_000]


def test_failures_do_not_make_the_first_refusal_a_late_one(unknown: UnknownMarkets) -> None:
    unknown.add(["A"], 0)
    turns(unknown, "A", 130_000, answer="fail")

    unknown.refuse("A", 150_000)

    assert unknown.due(179_999) == []
    assert unknown.due(180_000) == ["A"]


def test_an_announced_market_is_due_at_once_and_soon_again_while_the_exchange_does_not_show_it(
    unknown: UnknownMarkets,
) -> None:
    unknown.add(["A"], 0)
    unknown.refuse("A", 0)
    assert unknown.due(5_000) == []

    unknown.announce("A", 5_000)
    assert unknown.due(5_000) == ["A"]
    unknown.refuse("A", 5_000)

    assert unknown.due(6_999) == []
    assert unknown.due(7_000) == ["A"]


def test_an_announcement_of_a_market_that_nobody_wants_is_none_of_ours(unknown: UnknownMarkets) -> None:
    unknown.announce("A", 0)

    assert unknown.due(0) == []


def test_a_call_takes_a_hundred_markets_and_those_that_waited_longest_first(unknown: UnknownMarkets) -> None:
    unknown.add([f"M{number:03}" for number in range(150)], 1_000)
    unknown.add(["EARLIER"], 0)

    first = unknown.due(1_000)

    assert (len(first), first[0]) == (100, "EARLIER")


def test_to_want_a_market_again_is_no_reason_to_ask_earlier(unknown: UnknownMarkets) -> None:
    unknown.add(["NONE"], 0)
    unknown.refuse("NONE", 0)

    assert unknown.keep(frozenset(), 29_999) == []
    unknown.add(["NONE"], 29_999)

    assert unknown.due(29_999) == []


def test_what_nobody_wants_is_forgotten_when_its_turn_comes(unknown: UnknownMarkets) -> None:
    unknown.add(["NONE", "WANTED"], 0)
    unknown.refuse("NONE", 0)
    unknown.refuse("WANTED", 0)

    assert unknown.keep(frozenset({"WANTED"}), 30_000) == ["NONE"]

    assert unknown.due(30_000) == ["WANTED"]
