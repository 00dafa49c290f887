"""Which hub is told what: frames by wish, answers to who asked, one beat a second with the books' numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from markets.broadcast import BEAT_MS, Broadcast
from markets.intake import Intake
from markets.livebook import TOP_INTERVAL_MS, Listing, Moment
from markets.pace import USUAL_MS
from markets.wishes import LEASE_MS, TOPS_AGAIN_MS
from tests.markets.playedfeed import PlayedFeed


class Told:
    """An intake with two LIVE books, and what is broadcast of it."""

    def __init__(self) -> None:
        self.now = Moment(1_000_000, 2_000_000)
        self.intake = Intake("sandbox", "e1")
        self.feed = PlayedFeed(lambda event: self.intake.take(event, self.now))
        self.broadcast = Broadcast("sandbox")
        for ticker in ("A", "B"):
            self.intake.add(Listing(ticker), self.now)
        self.feed.connect()
        self.feed.snapshot("A", {4800: 100}, {5200: 300})
        self.feed.snapshot("B", {1000: 5}, {})

    def wait(self, ms: int) -> None:
        self.now = Moment(self.now.mono + ms, self.now.wall + ms)

    def wish(
        self,
        hub: str,
        *,
        books: tuple[str, ...] = (),
        tops: tuple[str, ...] = (),
        pace_ms: int = 40,
        anew: bool = False,
    ) -> bool:
        message = {"type": "relay.wish", "hub": hub, "books": books, "tops": tops, "pace_ms": pace_ms, "anew": anew}
        return self.broadcast.hear(message, self.now)

    def hear(self, kind: str, hub: str, **more: Any) -> bool:
        return self.broadcast.hear({"type": kind, "hub": hub, **more}, self.now)

    def tick(self) -> dict[str, Any]:
        """Return each hub's message of one tick."""
        entries = self.broadcast.frames(self.intake, self.now)
        return dict(self.broadcast.messages(self.intake, entries, self.now, fence=7))

    def next_due(self) -> int:
        return self.broadcast.next_due(self.intake, self.now) - self.now.mono


@pytest.fixture
def told() -> Told:
    return Told()


def kinds(message: Any) -> list[tuple[str, str]]:
    return [(kind, ticker) for kind, ticker, _, _ in message["frames"]] if message else []


def test_a_hub_is_told_of_the_markets_that_it_wants(told: Told) -> None:
    told.wish("one", books=("A",))
    told.wish("two", books=("A", "B"))

    messages = told.tick()

    assert kinds(messages["one"]) == [("book", "A")]
    assert sorted(kinds(messages["two"])) == [("book", "A"), ("book", "B")]
    assert {message["fence"] for message in messages.values()} == {7}


def test_hubs_that_want_the_same_market_get_the_very_same_text(told: Told) -> None:
    told.wish("one", books=("A",))
    told.wish("two", books=("A",))
    messages = told.tick()

    assert messages["one"]["frames"][0][3] is messages["two"]["frames"][0][3]


def test_nothing_to_hear_is_no_message(told: Told) -> None:
    told.wish("one", books=("A",))
    told.tick()
    told.wait(20)

    assert told.tick() == {}


def test_a_beat_comes_once_a_second_with_the_numbers_of_the_wanted_books(told: Told) -> None:
    told.wish("one", books=("A", "UNKNOWN"), tops=("B",))
    first = told.tick()["one"]
    told.wait(BEAT_MS - 1)
    assert told.tick() == {}
    told.wait(1)
    second = told.tick()["one"]

    assert first["numbers"] == second["numbers"] == {"A": 1}
    assert second["beat"] == {
        "t": "beat",
        "env": "sandbox",
        "e": "e1",
        "at": 2_001_000,
        "feed": "live",
        "why": "",
        "age": 1000,
        "heard": 1000,
        "hub_ms": 0,
    }


def test_the_way_upstream_is_told_at_once_when_it_changes(told: Told) -> None:
    told.wish("one", books=("A",))
    told.tick()
    told.wait(20)
    told.feed.disconnect("gone")
    assert told.next_due() == 0

    lost = told.tick()["one"]
    told.wait(20)
    told.feed.connect()
    back = told.tick()["one"]

    assert (lost["beat"]["feed"], lost["beat"]["why"]) == ("down", "connection lost: gone")
    assert back["beat"]["feed"] == "live"
    told.wait(20)
    assert all(message["beat"] is None for message in told.tick().values())


def test_a_tick_without_a_beat_carries_no_numbers(told: Told) -> None:
    told.wish("one", books=("A",))
    told.tick()
    told.wait(USUAL_MS)
    told.feed.delta("A", True, 4800, 5)

    message = told.tick()["one"]

    assert (message["beat"], message["numbers"], kinds(message)) == (None, None, [("delta", "A")])


def test_the_numbers_contain_the_frames_of_their_own_tick(told: Told) -> None:
    told.wish("one", books=("A",))
    told.tick()
    told.wait(BEAT_MS)
    told.feed.delta("A", True, 4800, 5)

    message = told.tick()["one"]

    assert [number for _, _, number, _ in message["frames"]] == [2]
    assert message["numbers"] == {"A": 2}


def test_a_whole_book_goes_to_the_hub_that_asked_under_the_current_number(told: Told) -> None:
    told.wish("one", books=("A",))
    told.wish("two", books=("A",))
    told.tick()
    told.wait(20)
    told.hear("relay.ask", "two", tickers=["A", "UNKNOWN"])

    messages = told.tick()

    assert set(messages) == {"two"}
    [(kind, ticker, number, encoded)] = messages["two"]["frames"]
    assert (kind, ticker, number) == ("snap", "A", 1)
    assert json.loads(encoded)["bids"] == [[4800, 100]]
    told.wait(20)
    assert told.tick() == {}, "an answer is given once"


def test_the_answer_comes_after_the_frames_of_its_tick(told: Told) -> None:
    told.wish("one", books=("A",))
    told.tick()
    told.wait(USUAL_MS)
    told.feed.delta("A", True, 4800, 5)
    told.hear("relay.ask", "one", tickers=["A"])

    frames = told.tick()["one"]["frames"]

    assert [(kind, number) for kind, _, number, _ in frames] == [("delta", 2), ("snap", 2)]


def test_a_refusal_goes_to_those_who_want_the_market(told: Told) -> None:
    told.wish("one", books=("X",))
    told.wish("two", tops=("X",))
    told.wish("three", books=("A",))
    told.tick()
    told.wait(20)
    told.broadcast.refuse("X", "UNKNOWN_MARKET", "The exchange has no market of this ticker.")

    messages = told.tick()

    assert set(messages) == {"one", "two"}
    assert json.loads(messages["one"]["frames"][0][3])["code"] == "UNKNOWN_MARKET"


def test_who_asks_for_a_refused_market_is_refused_again_until_it_is_there(told: Told) -> None:
    told.wish("one", books=("X",))
    told.broadcast.refuse("X", "UNKNOWN_MARKET", "The exchange has no market of this ticker.")
    told.tick()
    told.hear("relay.ask", "one", tickers=["X"])
    assert kinds(told.tick()["one"]) == [("error", "X")]

    told.broadcast.forget_refusal("X")
    told.hear("relay.ask", "one", tickers=["X"])

    assert told.tick() == {}


def test_tops_are_told_at_most_a_few_times_a_second_and_only_when_they_differ(told: Told) -> None:
    told.wish("one", tops=("A",))
    told.tick()
    told.wait(TOP_INTERVAL_MS)
    told.feed.delta("A", True, 4900, 5)
    assert kinds(told.tick().get("one")) == [("top", "A")]
    told.wait(USUAL_MS)
    told.feed.delta("A", True, 4900, 1)
    assert kinds(told.tick().get("one")) == [], "too soon"
    told.wait(TOP_INTERVAL_MS - USUAL_MS)
    [(_, _, _, encoded)] = told.tick()["one"]["frames"]

    assert json.loads(encoded)["bid_size"] == 6


def test_a_wish_is_answered_with_the_tops_that_are_new_in_it(told: Told) -> None:
    told.wish("one", tops=("A", "B"))
    assert {("top", "A"), ("top", "B")} <= set(kinds(told.tick()["one"]))
    told.wait(20)
    told.wish("one", tops=("A",))
    assert told.tick() == {}

    told.wish("one", tops=("A", "B"))

    assert kinds(told.tick()["one"]) == [("top", "B")]


def test_all_tops_are_told_again_after_some_seconds_for_one_may_have_been_lost(told: Told) -> None:
    told.wish("one", tops=("A", "B"))
    told.tick()
    told.wait(TOPS_AGAIN_MS - 1)
    told.wish("one", tops=("A", "B"))
    assert kinds(told.tick()["one"]) == [], "the beat alone"
    told.wait(1)

    told.wish("one", tops=("A", "B"))

    assert sorted(kinds(told.tick()["one"])) == [("top", "A"), ("top", "B")]


def test_a_hub_that_may_have_lost_whatever_it_was_told_is_told_all_tops_at_once(told: Told) -> None:
    told.wish("one", tops=("A", "B"))
    told.tick()
    told.wait(20)

    told.wish("one", tops=("A", "B"), anew=True)

    assert sorted(kinds(told.tick()["one"])) == [("top", "A"), ("top", "B")]


def test_new_tops_of_two_wishes_in_one_tick_are_both_told(told: Told) -> None:
    told.wish("one")
    told.tick()
    told.wait(20)
    told.wish("one", tops=("A",))
    told.wish("one", tops=("A", "B"))

    assert sorted(kinds(told.tick()["one"])) == [("top", "A"), ("top", "B")]


def test_a_wish_without_news_is_nothing_due(told: Told) -> None:
    told.wish("one", tops=("A",))
    told.tick()
    told.tick()

    told.wish("one", tops=("A",))

    assert told.next_due() > 0


def test_what_is_asked_while_the_messages_go_out_is_answered_with_the_next(told: Told) -> None:
    for hub in ("one", "two"):
        told.wish(hub, books=("A",), tops=("A",))
    told.tick()
    told.intake.books["A"].trade(5200, 1, "yes", None, "t1", told.now)
    for _ in range(2):  # the trade, and the top that changed with it
        told.tick()
        told.wait(BEAT_MS)

    for hub, _ in told.broadcast.messages(told.intake, [], told.now, fence=7):
        if hub == "two":
            told.hear("relay.ask", "one", tickers=["A"])
            told.hear("relay.trades", "one", wanted=[("A", 0)])
            told.wish("one", books=("A",), tops=("A", "B"))
    assert told.next_due() == 0

    answers = told.tick()
    assert kinds(answers["one"]) == [("snap", "A"), ("top", "B"), ("past", "A")]
    assert set(answers) == {"one"}
    assert told.next_due() > 0


def test_remembered_trades_go_to_who_asked_from_the_earliest_wanted(told: Told) -> None:
    told.wish("one", books=("A",))
    told.tick()
    told.wait(20)
    for number in (1, 2, 3):
        told.intake.books["A"].trade(5200, number, "yes", None, f"t{number}", told.now)
    told.tick()
    told.hear("relay.trades", "one", wanted=[("A", 2)])
    told.hear("relay.trades", "one", wanted=[("A", 1)])
    told.wait(20)

    [(kind, _, _, encoded)] = told.tick()["one"]["frames"]

    assert kind == "past"
    assert [frame["k"] for frame in json.loads(f"[{encoded}]")] == [2, 3]


def test_a_hub_that_no_longer_renews_is_told_nothing(told: Told) -> None:
    told.wish("one", books=("A",))
    told.wait(LEASE_MS)

    assert told.tick() == {}


def test_a_wish_may_change_which_markets_are_followed_a_question_does_not(told: Told) -> None:
    assert told.wish("one", books=("A",))
    assert not told.hear("relay.ask", "one", tickers=["A"])
    assert not told.hear("relay.trades", "one", wanted=[])


def test_a_question_is_due_at_once_and_otherwise_the_next_frame_or_beat(told: Told) -> None:
    told.wish("one", books=("A", "B"))
    assert told.next_due() == 0
    told.tick()
    told.tick()
    assert told.next_due() <= BEAT_MS
    told.wait(10)
    told.feed.delta("A", True, 4800, 5)
    assert told.next_due() == USUAL_MS - 10
    told.hear("relay.ask", "one", tickers=["A"])

    assert told.next_due() == 0


def test_frames_go_out_at_the_pace_of_the_slowest_hub(told: Told) -> None:
    told.wish("one", books=("A",), pace_ms=25)
    told.wish("two", books=("A",), pace_ms=25)
    told.tick()
    told.tick()
    told.feed.delta("A", True, 4800, 1)
    assert told.next_due() == 25
    told.wish("two", books=("A",), pace_ms=100)

    told.wait(60)
    assert kinds(told.tick().get("one")) == []
    assert told.next_due() == 40
    told.wait(40)
    assert kinds(told.tick()["one"]) == [("delta", "A")]
