"""One market's frames: when they are due, how they are numbered, and what label they carry."""

from __future__ import annotations

import json
from typing import Any

import pytest

from markets.book import NegativeLevel, OffGrid
from markets.events import Entry, Upstream
from markets.livebook import CROSSED_MS, LIVE, Label, Listing, LiveBook, Moment
from markets.pace import USUAL_MS

DOWN = Label("DOWN", "connection lost: reset")
CENTS = ((0, 10_000, 100),)
CLOSE_MS = 1_000_000


def at(ms: int) -> Moment:
    return Moment(ms, ms + 500_000)


def frames(entries: list[Entry]) -> list[dict[str, Any]]:
    return [json.loads(encoded) for _, _, _, encoded in entries]


@pytest.fixture
def live() -> LiveBook:
    """A market with its first snapshot told, at 0 ms."""
    live = LiveBook("sandbox", Listing("A", close_ms=CLOSE_MS, bands=CENTS), "e1")
    live.snapshot([(4800, 100)], [(5200, 300)], (1, 1, 1, 10), None, at(0))
    live.take(at(0), LIVE)
    return live


def test_a_market_waits_for_its_first_snapshot() -> None:
    live = LiveBook("sandbox", Listing("A"), "e1")
    [frame] = frames(live.take(at(0), LIVE))

    assert (frame["t"], frame["n"], frame["state"], frame["bids"]) == ("book", 1, "RESYNC", [])


def test_the_first_snapshot_is_told_whole(live: LiveBook) -> None:
    frame = json.loads(live.whole(at(7), LIVE)[3])

    assert frame == {
        "t": "book",
        "env": "sandbox",
        "m": "A",
        "e": "e1",
        "n": 1,
        "up": [1, 1, 1, 10],
        "ts": None,
        "at": 500_007,
        "quiet": 7,
        "state": "LIVE",
        "why": "",
        "bids": [[4800, 100]],
        "asks": [[5200, 300]],
        "grid": [[0, 10_000, 100]],
        "status": "active",
        "close": CLOSE_MS,
        "replay": False,
        "last": None,
        "k": 0,
    }


def test_a_quiet_markets_change_is_due_at_once_with_its_absolute_size(live: LiveBook) -> None:
    now = at(1000)
    live.delta(True, 4800, -40, (1, 1, 2, 11), 77, now)

    assert live.due_at(now, LIVE) == 1000
    [frame] = frames(live.take(now, LIVE))
    assert (frame["t"], frame["n"], frame["b"], frame["a"]) == ("delta", 2, [[4800, 60]], [])
    assert (frame["up"], frame["ts"]) == ([1, 1, 2, 11], 77)


def test_a_busy_markets_changes_are_merged_into_the_next_interval(live: LiveBook) -> None:
    live.delta(True, 4800, -40, (1, 1, 2, 11), None, at(1000))
    live.take(at(1000), LIVE)
    live.delta(True, 4800, -60, (1, 1, 3, 12), None, at(1001))
    live.delta(False, 5100, 5, (1, 1, 4, 13), None, at(1002))
    live.delta(False, 5100, 6, (1, 1, 5, 14), None, at(1003))

    assert live.take(at(1003), LIVE) == []
    assert live.due_at(at(1003), LIVE) == 1000 + USUAL_MS
    [frame] = frames(live.take(at(1000 + USUAL_MS), LIVE))
    assert (frame["n"], frame["b"], frame["a"], frame["up"]) == (3, [[4800, 0]], [[5100, 11]], [1, 1, 5, 14])
    assert live.due_at(at(1000 + USUAL_MS), LIVE) is None


def test_a_fault_is_told_at_once_after_what_was_still_right(live: LiveBook) -> None:
    live.delta(True, 4800, -40, (1, 1, 2, 11), None, at(1000))
    live.take(at(1000), LIVE)
    live.delta(True, 4700, 10, (1, 1, 3, 12), None, at(1001))
    live.doubt(Label("RESYNC", "a message was lost"))

    delta, state = frames(live.take(at(1002), LIVE))
    assert (delta["t"], delta["n"], delta["b"]) == ("delta", 3, [[4700, 10]])
    assert (state["t"], state["n"], state["state"], state["why"]) == ("state", 4, "RESYNC", "a message was lost")


def test_a_doubted_book_takes_no_change_until_a_snapshot(live: LiveBook) -> None:
    live.doubt(Label("RESYNC"))

    assert not live.delta(True, 4800, 5, (1, 1, 2, 11), None, at(1))
    assert live.book.bids == {4800: 100}
    live.snapshot([(4000, 1)], [], (1, 1, 9, 20), None, at(2))
    assert live.delta(True, 4000, 1, (1, 1, 10, 21), None, at(3))
    assert live.label(at(3), LIVE) == LIVE


@pytest.mark.parametrize(
    ("up", "why"),
    [((1, 1, 1, 10), "repeated"), ((1, 1, 0, 9), "older"), ((2, 1, 2, 11), "connection"), ((1, 2, 2, 11), "sid")],
)
def test_a_change_that_is_not_the_next_of_this_stream_is_passed_over(
    live: LiveBook, up: tuple[int, int, int, int], why: str
) -> None:
    assert not live.delta(True, 4800, 5, up, None, at(1)), why
    assert live.book.bids == {4800: 100}


@pytest.mark.parametrize(("price", "change", "error"), [(4800, -101, NegativeLevel), (4850, 1, OffGrid)])
def test_a_change_that_cannot_be_makes_the_book_stale_and_changes_nothing(
    live: LiveBook, price: int, change: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        live.delta(True, price, change, (1, 1, 2, 11), None, at(1))

    assert live.label(at(1), LIVE).state == "STALE"
    assert live.book.bids == {4800: 100}


def test_a_snapshot_that_cannot_be_leaves_the_book_stale(live: LiveBook) -> None:
    with pytest.raises(NegativeLevel):
        live.snapshot([(4800, -1)], [], (1, 1, 2, 11), None, at(1))

    assert live.label(at(1), LIVE).state == "STALE"
    assert live.up == (1, 1, 1, 10)


ODD, ODDER = [(4850, 7), (4800, 1)], [(4850, 7), (4790, 2), (4800, 1)]


def refuse(live: LiveBook, bids: list[tuple[int, int]], up: Upstream, error: type[Exception] = OffGrid) -> None:
    with pytest.raises(error):
        live.snapshot(bids, [(5200, 300)], up, None, at(1))
    assert live.label(at(1), LIVE).state == "STALE"
    assert live.book.bids == {4800: 100}


def test_what_two_snapshots_in_a_row_show_off_the_grid_is_believed_and_kept(live: LiveBook) -> None:
    refuse(live, ODDER, (1, 1, 2, 11))

    live.snapshot(ODD, [(5200, 300)], (2, 1, 1, 12), None, at(2))

    assert live.label(at(2), LIVE) == LIVE
    assert live.book.bids == {4850: 7, 4800: 1}
    live.snapshot([(4800, 1)], [(4850, 2)], (2, 1, 2, 13), None, at(3))
    assert live.delta(True, 4850, 3, (2, 1, 3, 14), None, at(4))
    with pytest.raises(OffGrid):
        live.delta(True, 4790, 1, (2, 1, 4, 15), None, at(5))


def test_one_snapshot_that_comes_twice_is_no_second_word(live: LiveBook) -> None:
    for _ in range(3):
        refuse(live, ODD, (1, 1, 2, 11))

    live.snapshot(ODD, [], (1, 1, 3, 11), None, at(2))
    assert live.label(at(2), LIVE) == LIVE


def test_a_price_off_the_grid_that_the_snapshot_before_did_not_show_is_not_believed(live: LiveBook) -> None:
    refuse(live, ODD, (1, 1, 2, 11))
    refuse(live, ODDER, (1, 1, 3, 12))
    refuse(live, [(4710, 5)], (1, 1, 4, 13))


def test_a_snapshot_that_the_next_one_contradicts_counts_no_more(live: LiveBook) -> None:
    refuse(live, ODD, (1, 1, 2, 11))
    live.snapshot([(4800, 100)], [(5200, 300)], (1, 1, 3, 12), None, at(2))
    assert live.label(at(2), LIVE) == LIVE
    refuse(live, ODD, (1, 1, 4, 13))

    refuse(live, [(4850, 7), (4800, -1)], (1, 1, 5, 14), NegativeLevel)
    refuse(live, ODD, (1, 1, 6, 15))


@pytest.mark.parametrize("price", [0, -100, 10_000, 10_100])
def test_a_price_outside_the_dollar_is_never_believed(live: LiveBook, price: int) -> None:
    for seq in range(2, 6):
        refuse(live, [(price, 1), (4850, 7)], (1, 1, seq, 10 + seq))


def test_crossed_for_an_instant_is_live_for_longer_it_is_not(live: LiveBook) -> None:
    live.delta(True, 5200, 1, (1, 1, 2, 11), None, at(1000))
    assert live.label(at(1000 + CROSSED_MS), LIVE) == LIVE
    assert live.label(at(1001 + CROSSED_MS), LIVE).state == "STALE"

    live.delta(False, 5200, -300, (1, 1, 3, 12), None, at(1500))
    assert live.label(at(9000), LIVE) == LIVE


def test_the_label_follows_the_way_upstream(live: LiveBook) -> None:
    assert live.label(at(1), DOWN) == DOWN
    assert live.label(at(1), Label("STALE", "silent")) == Label("STALE", "silent")
    assert live.label(at(1), LIVE) == LIVE


def test_a_paused_market_says_so_and_still_follows_its_book(live: LiveBook) -> None:
    live.change_listing(status="inactive")

    assert live.label(at(1), LIVE).state == "PAUSED"
    assert live.delta(True, 4800, 5, (1, 1, 2, 11), None, at(1))


def test_the_clock_closes_a_market_and_a_later_closing_time_opens_it_again(live: LiveBook) -> None:
    before, after = Moment(0, CLOSE_MS - 1), Moment(0, CLOSE_MS)
    assert live.label(before, LIVE) == LIVE
    assert live.label(after, DOWN).state == "CLOSED"

    live.change_listing(close_ms=CLOSE_MS + 1)
    assert live.label(after, LIVE) == LIVE


def test_a_replayed_market_is_not_closed_by_our_clock() -> None:
    live = LiveBook("sandbox", Listing("A", close_ms=CLOSE_MS, is_replay=True), "e1")
    live.snapshot([], [], (1, 1, 1, None), None, at(0))

    assert live.label(Moment(0, CLOSE_MS + 1), LIVE) == LIVE
    live.change_listing(status="determined")
    assert live.label(Moment(0, CLOSE_MS + 1), LIVE) == Label("CLOSED", "determined")


def test_an_older_description_does_not_undo_a_newer_one(live: LiveBook) -> None:
    live.change_listing(status="determined", as_of_ms=2000)
    live.describe(Listing("A", status="active", as_of_ms=1999))
    assert live.listing.status == "determined"

    live.describe(Listing("A", status="finalized", as_of_ms=2001))
    assert live.listing.status == "finalized"


def test_a_new_epoch_counts_from_the_start_with_a_whole_book(live: LiveBook) -> None:
    live.begin_epoch("e2")
    [frame] = frames(live.take(at(5), LIVE))

    assert (frame["t"], frame["e"], frame["n"], frame["bids"]) == ("book", "e2", 1, [[4800, 100]])


def test_trades_are_told_one_by_one_and_remembered(live: LiveBook) -> None:
    for number in range(1, 4):
        assert live.trade(5200, number, "yes", 77, f"id{number}", at(1))
    assert not live.trade(5200, 3, "yes", 77, "id3", at(2))

    told = frames(live.take(at(2), LIVE))
    assert [(frame["t"], frame["k"], frame["c"]) for frame in told] == [
        ("trade", 1, 1),
        ("trade", 2, 2),
        ("trade", 3, 3),
    ]
    kind, _, after, encoded = live.past_trades(1)
    assert (kind, after) == ("past", 1)
    assert [frame["k"] for frame in json.loads(f"[{encoded}]")] == [2, 3]


def test_a_whole_book_that_is_asked_for_counts_no_trade_that_is_still_to_be_told(live: LiveBook) -> None:
    live.trade(5200, 1, "yes", 77, "told", at(1))
    live.take(at(1), LIVE)
    live.trade(5300, 2, "no", 78, "not told yet", at(2))

    [asked] = frames([live.whole(at(2), LIVE)])
    assert asked["k"] == 1
    [trade] = [frame for frame in frames(live.take(at(3), LIVE)) if frame["t"] == "trade"]
    assert trade["k"] == 2
    assert frames([live.whole(at(3), LIVE)])[0]["k"] == 2


def test_a_new_epoch_tells_the_remembered_trades_under_its_own_name(live: LiveBook) -> None:
    live.trade(5200, 1, "yes", 77, "told", at(1))
    live.take(at(1), LIVE)
    live.trade(5300, 2, "no", 78, "not told yet", at(2))

    live.begin_epoch("e2")

    trade, book = frames(live.take(at(3), LIVE))
    assert (trade["t"], trade["e"], trade["k"], book["k"]) == ("trade", "e2", 2, 2)
    past = json.loads(f"[{live.past_trades(0)[3]}]")
    assert [(frame["e"], frame["k"], frame["p"], frame["c"], frame["side"], frame["ts"]) for frame in past] == [
        ("e2", 1, 5200, 1, "yes", 77),
        ("e2", 2, 5300, 2, "no", 78),
    ]


def test_the_top_is_told_when_it_differs(live: LiveBook) -> None:
    first = live.take_top(at(1000), LIVE)
    assert first is not None
    assert json.loads(first[3]) == {
        "t": "top",
        "env": "sandbox",
        "m": "A",
        "e": "e1",
        "bid": 4800,
        "bid_size": 100,
        "ask": 5200,
        "ask_size": 300,
        "last": None,
        "state": "LIVE",
        "ts": None,
        "at": None,
    }
    assert live.take_top(at(2000), LIVE) is None
    assert live.take_top(at(3000), DOWN) is not None


def test_each_reading_of_a_polled_book_is_told_for_its_age(live: LiveBook) -> None:
    polled = Label("POLLED", "no key")
    for mono in (2000, 3000):
        live.snapshot([(4800, 100)], [(5200, 300)], (1, 0, mono, None), None, at(mono))
        entry = live.take_top(at(mono + 10), polled)
        assert entry is not None
        top = json.loads(entry[3])
        assert (top["state"], top["bid"], top["at"]) == ("POLLED", 4800, at(mono).wall)
        assert live.take_top(at(mono + 500), polled) is None
