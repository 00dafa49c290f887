"""`static/js/watched.js` hands a market's trades on in the order of their numbers, each once, and fills the holes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

ASK_AGAIN_MS = 500
KEPT = 200

# Plays what happens to one market, each thing at its time; `told` are the numbers its listeners heard, in order.
PLAY = """async (story) => {
  const {Watched} = await import("/js/watched.js");
  const watched = new Watched("sandbox", "A");
  const told = [];
  watched.listeners.add((_book, frame) => frame.t === "trade" && told.push(frame.k));
  const asked = [];
  for (const [atMs, name, frame] of story) {
    const question = watched[name](...(frame ? [frame, atMs] : [atMs]));
    if (question) asked.push([atMs, question.op, question.after ?? null]);
  }
  return {told, asked, kept: watched.trades.map(({k}) => k)};
}"""


@dataclass
class PlayedMarket:
    """One market on a page: what happens to it is noted first and then played."""

    page: Page
    story: list[tuple[int, str, dict[str, Any] | None]] = field(default_factory=list)
    number: int = 0

    def book(self, at_ms: int, trades: int, *, epoch: str = "e1") -> None:
        """Bring a whole book, which says how many trades there were."""
        self.number += 1
        frame: dict[str, Any] = {
            **{"t": "book", "env": "sandbox", "m": "A", "e": epoch, "n": self.number, "up": None, "ts": None, "at": 5},
            **{"quiet": 0, "state": "LIVE", "why": "", "bids": [], "asks": [], "grid": None},
            **{"status": "active", "close": None, "replay": False, "last": None, "k": trades},
        }
        self.story.append((at_ms, "take", frame))

    def trades(self, at_ms: int, *numbers: int, epoch: str = "e1") -> None:
        """Bring trades: as they happen, or as the answer to a question."""
        for number in numbers:
            frame = {"t": "trade", "env": "sandbox", "m": "A", "e": epoch, "k": number, "p": 4000, "c": 100}
            self.story.append((at_ms, "take", frame | {"side": "yes", "ts": None, "id": str(number)}))

    def beat(self, at_ms: int) -> None:
        self.story.append((at_ms, "remind", None))

    def lose_connection(self, at_ms: int) -> None:
        self.story.append((at_ms, "lose", None))

    def hear_of_no_trades(self, at_ms: int) -> None:
        self.story.append((at_ms, "haveNoTrades", None))

    def told(self) -> list[int]:
        """Return the numbers of the trades that were handed on."""
        told: list[int] = self._play()["told"]
        return told

    def asked(self) -> list[list[Any]]:
        """Return what was asked: [when, "trades", after which number]."""
        asked: list[list[Any]] = self._play()["asked"]
        return asked

    def kept(self) -> list[int]:
        """Return the numbers of the trades that the page has now."""
        kept: list[int] = self._play()["kept"]
        return kept

    def _play(self) -> Any:
        return self.page.evaluate(PLAY, self.story)


@pytest.fixture
def market(static_page: Page) -> PlayedMarket:
    return PlayedMarket(static_page)


# --- holes that are filled -----------------------------------------------------------------------------


def test_trades_that_follow_each_other_are_handed_on_at_once(market: PlayedMarket) -> None:
    market.book(0, trades=0)
    market.trades(10, 1, 2)
    market.trades(20, 3)

    assert market.told() == market.kept() == [1, 2, 3]
    assert market.asked() == []


def test_a_trade_that_comes_before_the_answer_waits_for_it(market: PlayedMarket) -> None:
    market.book(0, trades=300)
    market.trades(30, 301)
    assert market.asked() == [[0, "trades", 0]]
    assert market.told() == [], "the ones before it are on their way"

    market.trades(60, *range(102, 302))

    assert market.told() == market.kept() == list(range(102, 302))
    assert market.asked() == [[0, "trades", 0]]


def test_trades_behind_a_hole_in_one_message_wait_for_what_is_missing(market: PlayedMarket) -> None:
    market.book(0, trades=0)
    market.trades(10, 1, 2, 3, 4, 5)
    market.trades(20, 7, 8)
    assert market.asked() == [[20, "trades", 5]]
    assert market.told() == [1, 2, 3, 4, 5]

    market.trades(60, 6, 7, 8)

    assert market.told() == market.kept() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_trades_go_on_behind_the_answer(market: PlayedMarket) -> None:
    market.book(0, trades=2)
    market.trades(50, 1, 2)
    market.trades(60, 3)

    assert market.told() == [1, 2, 3]


def test_a_second_hole_soon_after_the_first_is_asked_for_when_it_is_time(market: PlayedMarket) -> None:
    market.book(0, trades=2)
    market.trades(50, 1, 2)
    market.trades(60, 4)
    market.beat(ASK_AGAIN_MS - 1)
    assert market.asked() == [[0, "trades", 0]]
    assert market.told() == [1, 2]

    market.beat(ASK_AGAIN_MS)
    market.trades(ASK_AGAIN_MS + 50, 3, 4)

    assert market.asked() == [[0, "trades", 0], [ASK_AGAIN_MS, "trades", 2]]
    assert market.told() == [1, 2, 3, 4]


def test_trades_that_come_twice_are_handed_on_once(market: PlayedMarket) -> None:
    market.book(0, trades=0)
    market.trades(10, 1, 2, 2, 1, 3)

    assert market.told() == [1, 2, 3]
    assert market.asked() == []


# --- holes that stay -----------------------------------------------------------------------------------


def test_what_the_server_no_longer_remembers_is_passed_over(market: PlayedMarket) -> None:
    market.book(0, trades=0)
    market.trades(10, 1, 2)
    market.trades(20, 300)

    market.trades(60, *range(101, 301))

    assert market.told() == [1, 2, *range(101, 301)]
    assert market.kept() == list(range(101, 301))


def test_an_answer_that_begins_behind_a_trade_that_waits_costs_neither(market: PlayedMarket) -> None:
    market.book(0, trades=0)
    market.trades(10, 3, 5)

    market.trades(60, 4, 5)

    assert market.told() == [3, 4, 5]


@pytest.mark.parametrize("what_comes", ["a trade", "a beat"])
def test_trades_wait_for_an_answer_that_never_comes_half_a_second(market: PlayedMarket, what_comes: str) -> None:
    market.book(0, trades=0)
    market.trades(10, 1)
    market.trades(20, 3)
    market.trades(20 + ASK_AGAIN_MS - 1, 4)
    assert market.told() == [1]

    if what_comes == "a beat":
        market.beat(20 + ASK_AGAIN_MS)
        assert market.told() == [1, 3, 4]
    market.trades(20 + ASK_AGAIN_MS, 5)

    assert market.told() == market.kept() == [1, 3, 4, 5]
    assert market.asked() == [[20, "trades", 1]]


def test_an_answer_that_comes_too_late_changes_nothing(market: PlayedMarket) -> None:
    market.book(0, trades=0)
    market.trades(10, 1, 3)
    market.beat(10 + ASK_AGAIN_MS)

    market.trades(600, 2, 3)

    assert market.told() == [1, 3]


def test_a_late_answer_that_no_trade_overtook_is_not_lost(market: PlayedMarket) -> None:
    market.book(0, trades=3)
    market.beat(1_000)
    market.trades(1_200, 1, 2, 3)

    assert market.told() == [1, 2, 3]


def test_a_hole_without_an_answer_is_asked_for_once(market: PlayedMarket) -> None:
    market.book(0, trades=300)
    for second in range(1, 60):
        market.beat(second * 1_000)

    assert market.asked() == [[0, "trades", 0]]


def test_a_whole_book_that_tells_of_more_trades_is_reason_to_ask_again(market: PlayedMarket) -> None:
    market.book(0, trades=3)
    market.book(ASK_AGAIN_MS - 1, trades=3)
    assert market.asked() == [[0, "trades", 0]]

    market.book(ASK_AGAIN_MS, trades=3)
    market.trades(600, 1, 2, 3)

    assert market.asked() == [[0, "trades", 0], [ASK_AGAIN_MS, "trades", 0]]
    assert market.told() == [1, 2, 3]


def test_holes_upon_holes_are_asked_for_twice_a_second_at_most(market: PlayedMarket) -> None:
    market.book(0, trades=0)
    for step in range(1, 100):
        market.trades(step * 10, step * 2)

    assert market.asked() == [[10, "trades", 0], [520, "trades", 102]]
    assert market.told() == list(range(2, 103, 2)), "the first 51, half a second after they were asked for"


def test_a_hole_that_nobody_can_fill_makes_no_later_trade_wait(market: PlayedMarket) -> None:
    market.book(0, trades=300)
    market.hear_of_no_trades(40)
    market.trades(50, 301)
    market.book(600, trades=301)

    assert market.told() == [301]
    assert market.asked() == [[0, "trades", 0]]


def test_trades_that_wait_go_on_when_they_hear_that_there_are_none(market: PlayedMarket) -> None:
    market.book(0, trades=300)
    market.trades(30, 301, 303)
    market.hear_of_no_trades(40)

    assert market.told() == [301, 303]


def test_no_more_trades_wait_than_the_page_keeps(market: PlayedMarket) -> None:
    market.book(0, trades=0)
    market.trades(10, *range(2, 2 + KEPT))
    assert market.told() == []

    market.trades(20, 2 + KEPT)

    assert market.told() == list(range(2, 3 + KEPT))
    assert len(market.kept()) == KEPT


# --- beginning anew ------------------------------------------------------------------------------------


def test_a_new_epoch_is_asked_for_from_the_first_trade_and_nothing_of_the_old_one_waits(market: PlayedMarket) -> None:
    market.book(0, trades=0)
    market.trades(10, 1, 2, 4)
    market.book(20, trades=4, epoch="e2")
    assert market.asked() == [[10, "trades", 2], [20, "trades", 0]]
    assert market.kept() == []

    market.trades(60, 1, 2, 3, 4, epoch="e2")

    assert market.kept() == [1, 2, 3, 4]
    assert market.told() == [1, 2, 1, 2, 3, 4]


def test_a_trade_of_a_new_epoch_waits_for_those_before_it(market: PlayedMarket) -> None:
    market.book(0, trades=2)
    market.trades(10, 1, 2)
    market.trades(20, 4, epoch="e2")
    assert market.asked() == [[0, "trades", 0], [20, "trades", 0]]

    market.trades(60, 1, 2, 3, 4, epoch="e2")

    assert market.kept() == [1, 2, 3, 4]


def test_fewer_trades_than_were_heard_of_are_counted_anew(market: PlayedMarket) -> None:
    market.book(0, trades=0)
    market.trades(10, 1, 2, 5)
    market.book(1_000, trades=4)
    market.trades(1_050, 1, 2, 3, 4)

    assert market.asked() == [[10, "trades", 2], [1_000, "trades", 0]]
    assert market.kept() == [1, 2, 3, 4]


def test_a_new_connection_asks_for_what_the_old_one_owed(market: PlayedMarket) -> None:
    market.book(0, trades=0)
    market.trades(10, 1, 3)
    market.lose_connection(20)
    market.book(100, trades=6)
    assert market.asked() == [[10, "trades", 1], [100, "trades", 1]]

    market.trades(150, 2, 3, 4, 5, 6)

    assert market.told() == [1, 2, 3, 4, 5, 6]
