"""Bugs planted by name into feed, book, relay, hub and page: the stories or the tape must see each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from markets import broadcast
from markets.audience import BookWatch
from markets.book import OrderBook
from markets.events import encode
from markets.hub import Hub
from markets.intake import Intake
from markets.kalshi.messages import frames
from markets.livebook import LiveBook
from tests import judges
from tests.markets.pagebook import PageBook
from tests.markets.retold import retell
from tests.markets.stories import Story, random_actions

pytestmark = pytest.mark.sight

SEEDS = range(40)
Plant = Callable[[pytest.MonkeyPatch], None]

# The exchange adds 200 unheard, then takes 450 of what was 500: less than nothing for a book that holds 300.
SLIPPED = [
    ("connect",),
    ("change", "A", True, 1000, 300),
    ("tick", False),
    ("wait", 60),
    ("tick", False),
    ("slip", "A", True, 1000, 500),
    ("change", "A", True, 1000, 50),
    ("wait", 60),
    ("tick", False),
    ("tick", False),
]
# The last frame before a silence is the one that the layer loses.
LAST_LOST = [
    ("connect",),
    ("tick", False),
    ("tick", False),
    ("wait", 60),
    ("change", "A", True, 1000, 300),
    ("tick", True),
]


def found_by_stories() -> str:
    """Return what the stories hold against the code, or nothing."""
    for actions in [SLIPPED, LAST_LOST, *(random_actions(seed, 150) for seed in SEEDS)]:
        story = Story()
        try:
            story.tell(actions).settle()
        except Exception as exc:
            return f"{type(exc).__name__}: {exc}"
        if story.wrongs:
            return story.wrongs[0]
        for page in story.pages:
            for ticker, book in page.books.items():
                if book.shown != "LIVE" or (book.bids, book.asks) != story.true[ticker]:
                    return f"{ticker} does not end well: {book.shown}"
    return ""


def found_by_tape(path: Path) -> str:
    """Return what the tape holds against the code, or nothing."""
    samples = retell(path)
    return "".join(judges.differences(path, samples)[:1]) or ("" if samples else "nothing is LIVE")


# --- the bugs ------------------------------------------------------------------------------------------


def gap_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Intake, "_books_stale", lambda self, event, now: None)


def duplicate_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LiveBook.delta

    def wrong(self: LiveBook, is_bid: bool, price: int, change: int, up: Any, ts: Any, now: Any) -> bool:
        if self.up is not None and self.fault is None and up[:2] == self.up[:2] and up[2] == self.up[2]:
            self.up = (*up[:2], up[2] - 1, up[3])
        return right(self, is_bid, price, change, up, ts, now)

    monkeypatch.setattr(LiveBook, "delta", wrong)


def another_connections_change_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LiveBook.delta

    def wrong(self: LiveBook, is_bid: bool, price: int, change: int, up: Any, ts: Any, now: Any) -> bool:
        here = up if self.up is None else (*self.up[:2], up[2], up[3])
        return right(self, is_bid, price, change, here, ts, now)

    monkeypatch.setattr(LiveBook, "delta", wrong)


def no_side_is_not_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    right = frames.read_frame
    wrong = lambda raw, is_no_side_in_yes_prices: right(raw, is_no_side_in_yes_prices=True)  # noqa: E731
    monkeypatch.setattr("tests.markets.retold.read_frame", wrong)


def negative_is_clamped(monkeypatch: pytest.MonkeyPatch) -> None:
    right = OrderBook.apply_delta

    def wrong(self: OrderBook, is_bid: bool, price: int, change: int) -> int:
        held = (self.bids if is_bid else self.asks).get(price, 0)
        return right(self, is_bid, price, max(change, -held))

    monkeypatch.setattr(OrderBook, "apply_delta", wrong)


def snapshot_after_a_gap_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LiveBook.snapshot

    def wrong(self: LiveBook, bids: Any, asks: Any, up: Any, ts: Any, now: Any) -> None:
        if self.up is not None and self.fault is not None:
            bids, asks = list(self.book.bids.items()), list(self.book.asks.items())
        right(self, bids, asks, up, ts, now)

    monkeypatch.setattr(LiveBook, "snapshot", wrong)


def doubted_book_takes_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LiveBook.delta

    def wrong(self: LiveBook, *arguments: Any) -> bool:
        self.fault = None
        return right(self, *arguments)

    monkeypatch.setattr(LiveBook, "delta", wrong)


def sizes_are_changes_not_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: PageBook, frame: dict[str, Any]) -> str:
        if frame["t"] == "delta":
            held = {**{("b", p): s for p, s in self.bids.items()}, **{("a", p): s for p, s in self.asks.items()}}
            frame = frame | {side: [[p, held.get((side, p), 0) + s] for p, s in frame[side]] for side in ("b", "a")}
        return right(self, frame)

    right = PageBook.apply
    monkeypatch.setattr(PageBook, "apply", wrong)


def merged_frame_loses_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LiveBook._delta_frame

    def wrong(self: LiveBook, now: Any) -> Any:
        frame = right(self, now)
        return frame | {"b": frame["b"][-1:]}

    monkeypatch.setattr(LiveBook, "_delta_frame", wrong)


def answer_is_numbered_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: LiveBook, now: Any, upstream: Any) -> Any:
        number = self.number + 1
        return "snap", self.ticker, number, encode(self._book_frame(self.label(now, upstream), now, number))

    monkeypatch.setattr(LiveBook, "whole", wrong)


def epoch_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    right = PageBook.apply
    monkeypatch.setattr(PageBook, "apply", lambda self, frame: right(self, frame | {"e": "always"}))


def hole_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: PageBook, frame: dict[str, Any]) -> str:
        if frame["t"] in {"delta", "state"} and frame["n"] > self.number + 1 and self.is_whole:
            self.number = frame["n"] - 1
        return right(self, frame)

    right = PageBook.apply
    monkeypatch.setattr(PageBook, "apply", wrong)


def zero_level_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: PageBook, frame: dict[str, Any]) -> str:
        said = right(self, frame)
        if frame["t"] == "delta" and said == "applied":
            self.bids |= {price: 0 for price, size in frame["b"] if not size}
        return said

    right = PageBook.apply
    monkeypatch.setattr(PageBook, "apply", wrong)


def lost_last_frame_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "_check_numbers", lambda self, environment, epoch, numbers: None)


def newcomers_are_never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "_answers", lambda hub, owed, intake, now, answers: [])
    monkeypatch.setattr(BookWatch, "admit", lambda self: set())


def fault_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveBook, "_tell", lambda self, label, now: [])


BY_STORIES: list[Plant] = [
    gap_is_ignored,
    duplicate_is_applied,
    another_connections_change_is_applied,
    negative_is_clamped,
    snapshot_after_a_gap_is_ignored,
    doubted_book_takes_changes,
    sizes_are_changes_not_absolute,
    merged_frame_loses_a_level,
    answer_is_numbered_ahead,
    epoch_is_ignored,
    hole_is_ignored,
    zero_level_is_kept,
    lost_last_frame_is_not_looked_for,
    newcomers_are_never_answered,
    fault_is_not_told,
]
BY_TAPE: list[Plant] = [
    no_side_is_not_mirrored,
    sizes_are_changes_not_absolute,
    merged_frame_loses_a_level,
    zero_level_is_kept,
]


def test_the_stories_hold_nothing_against_the_code_as_it_is() -> None:
    assert found_by_stories() == ""


def test_the_tape_holds_nothing_against_the_code_as_it_is(small_tape: Path) -> None:
    assert found_by_tape(small_tape) == ""


@pytest.mark.parametrize("plant", BY_STORIES, ids=lambda plant: plant.__name__)
def test_the_stories_see(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    assert found_by_stories() != ""


@pytest.mark.parametrize("plant", BY_TAPE, ids=lambda plant: plant.__name__)
def test_the_tape_sees(plant: Plant, small_tape: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    assert found_by_tape(small_tape) != ""
