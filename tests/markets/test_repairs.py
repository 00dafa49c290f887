"""What may have happened to markets unheard of: they are described again, and what is read is no newer than it is."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from markets.kalshi import feed
from markets.repairs import DESCRIBED_AT_ONCE, READING_LAG_MS, Descriptions
from tests.markets.feeding import START, Feeding, lifecycle, two_books


@pytest.fixture
def fed() -> Feeding:
    """Two markets, connected, each with its first snapshot."""
    return two_books()


@pytest.mark.parametrize(
    "event",
    [feed.LifecycleMissed("a message was lost"), feed.Connected(2), feed.Malformed(None, "?", "market_lifecycle_v2")],
    ids=lambda event: type(event).__name__,
)
def test_what_happened_unheard_of_has_every_market_described_again(fed: Feeding, event: Any) -> None:
    assert fed.intake.descriptions_due(fed.now) == []

    fed.feed.say(event)

    assert fed.intake.descriptions_due(fed.now) == ["A", "B"]
    fed.describe("inactive")
    assert fed.a.listing.status == "inactive"


def test_a_broken_message_of_what_happens_to_a_market_doubts_no_book(fed: Feeding) -> None:
    fed.feed.say(feed.Malformed("A", "no status", "market_lifecycle_v2"))
    fed.feed.say(feed.Malformed("ELSEWHERE", "no status", "market_lifecycle_v2"))

    assert {fed.state("A"), fed.state("B")} == {("LIVE", "")}
    assert fed.intake.descriptions_due(fed.now) == ["A"]
    assert fed.intake.counts["malformed"] == 2


def test_a_broken_trade_doubts_nothing_else(fed: Feeding) -> None:
    fed.feed.say(feed.Malformed("A", "no price", "trade"))

    assert fed.state("A") == ("LIVE", "")
    assert fed.intake.descriptions_due(fed.now) == []
    assert fed.intake.counts["malformed"] == 1


def test_a_market_is_described_until_the_answer_is_certainly_of_after_the_doubt(fed: Feeding) -> None:
    fed.feed.say(feed.LifecycleMissed("a message was lost"))
    asked_at = []
    for _ in range(200):
        if "A" in fed.intake.descriptions_due(fed.now):
            asked_at.append(fed.now.mono - START)
            fed.describe("active")
        fed.wait(50)

    assert asked_at == [0, 1_000, 2_000]


def test_a_market_that_cannot_be_described_is_asked_about_at_growing_distances(fed: Feeding) -> None:
    fed.feed.say(feed.LifecycleMissed("a message was lost"))
    asked_at = []
    for _ in range(1_000):
        if "A" in fed.intake.descriptions_due(fed.now):
            asked_at.append(fed.now.mono - START)
        fed.wait(50)

    assert [after - before for before, after in pairwise(asked_at)] == [
        1_000,
        1_000,
        2_000,
        4_000,
        8_000,
        *[10_000] * 3,
    ]


def test_what_is_read_does_not_take_back_what_the_stream_has_just_told(fed: Feeding) -> None:
    fed.feed.say(lifecycle("deactivated"))
    fed.wait(READING_LAG_MS - 1)
    fed.describe("active")
    assert fed.state() == ("PAUSED", "inactive")

    fed.wait(1)
    fed.describe("active")
    assert fed.state() == ("LIVE", "")


def test_a_doubt_that_arises_while_an_answer_is_on_its_way_stays(fed: Feeding) -> None:
    fed.feed.say(feed.LifecycleMissed("a message was lost"))
    fed.wait(5_000)
    fed.feed.say(feed.LifecycleMissed("another was lost"))

    fed.describe("active", ago=1_000)

    assert "A" in fed.intake.descriptions
    fed.intake.remove("A")
    assert "A" not in fed.intake.descriptions


def test_many_markets_are_described_in_turns() -> None:
    descriptions = Descriptions()
    tickers = [f"M{number:04}" for number in range(DESCRIBED_AT_ONCE + 1)]
    assert descriptions.next_at is None

    descriptions.want(tickers, now=100, wall=5_000)

    assert descriptions.next_at == 100
    assert descriptions.due(100) == tickers[:-1]
    assert descriptions.due(100) == tickers[-1:]
    assert descriptions.due(100) == []
    assert descriptions.next_at == 1_100
