"""Recordings at full speed through everything, with faults on every way: what is shown LIVE is true, and LIVE it is.

Planted bugs at the end show that these judges see.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from markets.audience import BookWatch
from markets.book import BookError, OrderBook
from markets.hub import Hub
from markets.kalshi.feed.client import FeedClient
from markets.kalshi.feed.numbers import Numbers, Order
from markets.livebook import LiveBook
from tests import judges
from tests.markets.faultyfloor import Floor
from tests.markets.weather import ALL, ANEW, COUNTS_ANEW, SHOWERS, STORMS, Weather

OWN_TAPE = Path(__file__).parent / "tapes" / "own_three_markets.jsonl.gz"
RECORDED = (
    "gold15m_nine_markets.jsonl.gz",
    "gold15m_reconnect.jsonl.gz",
    "btc15m_45_0145_subpenny.jsonl.gz",
    "btc15m_00_0200_subpenny.jsonl.gz",
    "sports_twelve_markets.jsonl",
)
LIVE_SHARE = 0.995
DELTAS = 1_000_000
TIMES = 1_000
RESYNC_P95_MS = 2_000
# What leaves the connection as it is: an outage and a stall last as long as they last.
WITHOUT_OUTAGE = tuple(kind for kind in SHOWERS.kinds if kind not in {"reconnect", "stall", "relay anew"})


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The feed warns of each frame that it cannot read: thousands here."""
    feed = logging.getLogger("markets.kalshi.feed")
    before = feed.level
    feed.setLevel(logging.CRITICAL)
    yield
    feed.setLevel(before)


def told(path: Path, *, seed: int, weather: Weather, most: int | None = None, extra: float = 0.0) -> Floor:
    return Floor(judges.tickers_of(path), seed=seed, weather=weather).play(path, most=most, extra=extra).settle()


def assert_true_and_live(floor: Floor) -> None:
    assert floor.wrongs[:3] == []
    assert floor.live_share >= LIVE_SHARE
    for page in floor.pages:
        assert {ticker: book.shown for ticker, book in page.books.items()} == dict.fromkeys(page.books, "LIVE")
        for ticker, book in page.books.items():
            assert book.up is not None
            assert book.up[3] == floor.exchange.clocks[ticker], "in the end every page has the newest book"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weather", [STORMS, SHOWERS], ids=["storms", "showers"])
def test_our_own_recording_is_shown_truly_through_every_fault(weather: Weather, seed: int) -> None:
    floor = told(OWN_TAPE, seed=seed, weather=weather, extra=0.3)

    assert_true_and_live(floor)
    assert len(floor.faults) >= (14 if weather is STORMS else 12)
    assert floor.counts["judged"] > 500


@pytest.mark.parametrize("seed", range(4))
def test_our_own_recording_is_shown_truly_through_counts_that_begin_anew(seed: int) -> None:
    floor = told(OWN_TAPE, seed=seed, weather=COUNTS_ANEW, extra=0.3)

    assert floor.wrongs[:3] == []
    assert floor.client.counts["counted_anew"] >= 3
    assert floor.faults[ANEW] > floor.faults["late"] > 5
    assert {book.shown for page in floor.pages for book in page.books.values()} == {"LIVE"}


@pytest.mark.parametrize("name", RECORDED)
def test_a_part_of_each_real_recording_is_shown_truly_through_every_fault(recordings: Path, name: str) -> None:
    assert_true_and_live(told(recordings / "tapes" / name, seed=7, weather=STORMS, most=5_000, extra=0.05))


class TimedFloor(Floor):
    """Takes down how long each book of each page was not LIVE, once it is again."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.healed_ms: list[int] = []
        self._doubted_at: dict[int, int] = {}
        super().__init__(*args, **kwargs)

    def _measure(self, step: int) -> None:
        super()._measure(step)
        for page in self.pages:
            for book in page.books.values():
                if not page.is_live(book):
                    self._doubted_at.setdefault(id(book), self.now.mono)
                elif id(book) in self._doubted_at:
                    self.healed_ms.append(self.now.mono - self._doubted_at.pop(id(book)))


def test_after_a_fault_a_book_is_live_again_within_two_seconds(recordings: Path) -> None:
    path, weather = recordings / "tapes" / "gold15m_reconnect.jsonl.gz", replace(SHOWERS, kinds=WITHOUT_OUTAGE)

    floor = TimedFloor(judges.tickers_of(path), seed=11, weather=weather)
    floor.play(path).settle()

    healed = sorted(floor.healed_ms)
    assert floor.wrongs == []
    assert len(healed) > 50
    assert healed[int(len(healed) * 0.95)] <= RESYNC_P95_MS


@pytest.mark.long
def test_all_recordings_one_fault_at_a_time(recordings: Path) -> None:
    for name in RECORDED:
        assert_true_and_live(told(recordings / "tapes" / name, seed=11, weather=SHOWERS))


@pytest.mark.long
def test_a_million_changes_and_a_thousand_faults_of_each_kind(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    live_ms = judged_ms = seed = 0
    while counts["deltas"] < DELTAS or min(faults[fault] for fault in ALL) < TIMES:
        # The nine markets bring the changes, the others the hours in which faults fall.
        names = RECORDED if counts["deltas"] < DELTAS and seed < 3 else RECORDED[1:4]
        for name in names:
            floor = told(recordings / "tapes" / name, seed=100 + seed, weather=STORMS, extra=0.05)
            assert_true_and_live(floor)
            faults += floor.faults
            counts += floor.counts
            live_ms, judged_ms = live_ms + floor.live_ms, judged_ms + floor.judged_ms
        seed += 1
    with capsys.disabled():
        sys.stdout.write(_table(faults, counts, live_ms / judged_ms))


def _table(faults: Counter[str], counts: Counter[str], share: float) -> str:
    lines = [f"{fault:>16} {faults[fault]:>7,}" for fault in ALL]
    ends = (
        f"\n{counts['deltas']:,} changes, {counts['judged']:,} LIVE frames judged, 0 wrong, LIVE {100 * share:.3f} %\n"
    )
    return "\n" + "\n".join(lines) + ends


# --- planted bugs ----------------------------------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]


def gaps_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(self: Numbers, seq: int, message: object = None) -> Order:
        self.expected = max(self.expected, seq + 1)
        return Order.NEXT

    monkeypatch.setattr(Numbers, "take", take)


def repeated_and_late_messages_are_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    take, right = Numbers.take, LiveBook.delta

    def every(self: Numbers, seq: int, message: object = None) -> Order:
        said = take(self, seq, message)
        return Order.NEXT if said is Order.DUPLICATE else said

    def delta(self: LiveBook, is_bid: bool, price: int, change: int, up: Any, ts: Any, now: Any) -> bool:
        if self.up is not None and self.fault is None and up[2] <= self.up[2]:
            self.up = (*self.up[:2], up[2] - 1, self.up[3])
        return right(self, is_bid, price, change, up, ts, now)

    monkeypatch.setattr(Numbers, "take", every)
    monkeypatch.setattr(LiveBook, "delta", delta)


def impossible_changes_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LiveBook.delta

    def delta(self: LiveBook, *arguments: Any) -> bool:
        before = self.fault
        try:
            return right(self, *arguments)
        except BookError:
            self.fault = before
            return False

    monkeypatch.setattr(LiveBook, "delta", delta)


def a_snapshot_is_merged_into_the_book(monkeypatch: pytest.MonkeyPatch) -> None:
    right = OrderBook.apply_snapshot

    def merge(self: OrderBook, bids: Any, asks: Any) -> None:
        right(self, (self.bids | dict(bids)).items(), (self.asks | dict(asks)).items())

    monkeypatch.setattr(OrderBook, "apply_snapshot", merge)


def a_healed_book_is_not_sent_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LiveBook.snapshot

    def snapshot(self: LiveBook, *arguments: Any) -> None:
        is_due = self._is_whole_due
        right(self, *arguments)
        self._is_whole_due = is_due

    monkeypatch.setattr(LiveBook, "snapshot", snapshot)


def merged_changes_forget_the_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LiveBook.delta

    def delta(self: LiveBook, *arguments: Any) -> bool:
        if self._changed and len(self._changed) > 3:
            self._changed.pop(next(iter(self._changed)))
        return right(self, *arguments)

    monkeypatch.setattr(LiveBook, "delta", delta)


def the_hub_hears_no_page_that_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "snapshot", lambda self, browser, environment, ticker: True)
    monkeypatch.setattr(BookWatch, "note_number", lambda self, epoch, kind, number: True)
    monkeypatch.setattr(Hub, "_check_numbers", lambda self, environment, epoch, numbers: None)


def nobody_looks_for_a_lost_last_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "_check_numbers", lambda self, environment, epoch, numbers: None)


def an_ended_subscription_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("markets.kalshi.feed.session.SID_IS_DEAD", frozenset())


def an_unreadable_frame_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def note(self: FeedClient, session: Any, error: Any, now: float) -> None:
        if error.seq is None:
            for numbers in session._numbers.values():
                numbers.expected += 1
        session.note_number(error.sid, error.seq, now)

    monkeypatch.setattr(FeedClient, "_note_malformed", note)


PLANTS: list[Plant] = [
    gaps_are_not_seen,
    repeated_and_late_messages_are_applied,
    impossible_changes_are_skipped,
    a_snapshot_is_merged_into_the_book,
    a_healed_book_is_not_sent_whole,
    merged_changes_forget_the_earlier,
    the_hub_hears_no_page_that_asks_again,
    nobody_looks_for_a_lost_last_frame,
    an_ended_subscription_is_not_told,
    an_unreadable_frame_is_passed_over,
]


@pytest.mark.sight
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_the_judges_see(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    for seed in range(4):
        for weather in (SHOWERS, STORMS):
            floor = told(OWN_TAPE, seed=seed, weather=weather, extra=0.5)
            books = [book for page in floor.pages for book in page.books.values()]
            if floor.wrongs or floor.live_share < LIVE_SHARE or any(book.shown != "LIVE" for book in books):
                return
    raise AssertionError("nothing was seen")
