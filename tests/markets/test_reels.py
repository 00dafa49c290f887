"""The book as it was, kept small: pieces of a minute, of which any moment and every change can be read again."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from markets.intake import Intake
from markets.kalshi import feed
from markets.livebook import Listing, Moment
from markets.lookback import Lookback
from markets.reels import KEPT_MS, MOST_BYTES, PIECE_MS, PIECE_ROWS, Reel, replay, unseal
from tests import judges
from tests.markets.playedfeed import PlayedFeed
from tests.markets.retold import event_of

LIVE = ("LIVE", "")
T = 1_795_356_000_000


def shown(reel: Reel, start: int, end: int) -> dict[str, Any]:
    return replay(reel.pieces(start, end, end), start, end)


@pytest.fixture
def reel() -> Reel:
    """A market that began at T with two levels, changed at +1 s and +2 s, and was doubted at +3 s."""
    reel = Reel()
    reel.whole(T, LIVE, [(4800, 1000), (4700, 500)], [(5200, 300)])
    reel.changes(T + 1_000, [(4800, 0), (4900, 200)], [])
    reel.changes(T + 2_000, [], [(5200, 450)])
    reel.label(T + 3_000, ("STALE", "lost"))
    return reel


@pytest.mark.parametrize(
    ("after_ms", "bids", "asks", "state"),
    [
        (0, [(4800, 1000), (4700, 500)], [(5200, 300)], "LIVE"),
        (999, [(4800, 1000), (4700, 500)], [(5200, 300)], "LIVE"),
        (1_000, [(4900, 200), (4700, 500)], [(5200, 300)], "LIVE"),
        (2_500, [(4900, 200), (4700, 500)], [(5200, 450)], "LIVE"),
        (3_000, [(4900, 200), (4700, 500)], [(5200, 450)], "STALE"),
    ],
)
def test_the_book_at_a_time(reel: Reel, after_ms: int, bids: Any, asks: Any, state: str) -> None:
    book = shown(reel, T + after_ms, T + 5_000)["book"]

    assert (book["bids"], book["asks"], book["state"]) == (bids, asks, state)


def test_what_came_after_comes_in_order_and_nothing_beyond_the_end(reel: Reel) -> None:
    assert shown(reel, T + 500, T + 2_999)["frames"] == [
        {"at": T + 1_000, "b": [(4800, 0), (4900, 200)], "a": []},
        {"at": T + 2_000, "b": [], "a": [(5200, 450)]},
    ]
    assert shown(reel, T + 2_500, T + 9_000)["frames"] == [
        {"at": T + 3_000, "b": [], "a": [], "state": "STALE", "why": "lost"}
    ]


def test_before_the_first_frame_nothing_is_known(reel: Reel) -> None:
    found = shown(reel, T - 60_000, T + 1_500)

    assert (found["book"], found["covered"]) == (None, [[T, T + 1_500]])
    assert found["frames"][0] == {
        "at": T,
        "state": "LIVE",
        "why": "",
        "bids": [(4800, 1000), (4700, 500)],
        "asks": [(5200, 300)],
    }
    assert shown(reel, T - 60_000, T - 1)["covered"] == []


def test_a_pause_in_watching_is_a_hole_and_not_a_quiet_market(reel: Reel) -> None:
    reel.end(T + 10_000)
    reel.whole(T + 70_000, LIVE, [(100, 100)], [])

    found = shown(reel, T + 5_000, T + 80_000)

    assert found["covered"] == [[T + 5_000, T + 10_000], [T + 70_000, T + 80_000]]
    assert [frame["at"] for frame in found["frames"]] == [T + 70_000]
    assert shown(reel, T + 20_000, T + 30_000) == {
        "from": T + 20_000,
        "to": T + 30_000,
        "covered": [],
        "book": None,
        "frames": [],
    }


def test_a_whole_book_costs_only_where_it_differs(reel: Reel) -> None:
    before = reel.memory
    for second in range(4, 40):
        reel.whole(T + 1_000 * second, ("POLLED", ""), [(4900, 200), (4700, 500)], [(5200, 450)])
    reel.whole(T + 40_000, ("POLLED", ""), [(4900, 250)], [(5200, 450)])

    assert reel.memory - before == 2 * 12
    assert shown(reel, T + 40_000, T + 41_000)["book"]["bids"] == [(4900, 250)]


def test_a_clock_that_goes_back_puts_frames_where_they_belong_in_order(reel: Reel) -> None:
    reel.changes(T + 1_500, [(100, 100)], [])

    assert shown(reel, T + 2_000, T + 4_000)["book"]["bids"] == [(4900, 200), (4700, 500), (100, 100)]


def play(seed: int, *, seconds: int, per_second: float) -> tuple[Reel, dict[int, Any]]:
    """Return a reel of a market that changes at random, and the true book at each whole second."""
    dice = random.Random(seed)
    reel, at = Reel(), T
    truth: dict[int, Any] = {}
    book: dict[tuple[bool, int], int] = {(True, p): 100 for p in range(4000, 4100, 10)}
    book |= {(False, p): 100 for p in range(4200, 4300, 10)}
    reel.whole(at, LIVE, [(p, s) for (b, p), s in book.items() if b], [(p, s) for (b, p), s in book.items() if not b])
    places = list(book)
    while at < T + 1_000 * seconds:
        later = at + max(1, int(dice.expovariate(per_second) * 1000))
        for second in range(-(-at // 1000), -(-later // 1000)):
            truth[second] = dict(book)
        at = later
        place = dice.choice(places)
        book[place] = dice.choice([0, dice.randrange(1, 1_000_000)])
        reel.changes(at, [(place[1], book[place])] if place[0] else [], [] if place[0] else [(place[1], book[place])])
    return reel, truth


@pytest.mark.parametrize("seed", range(5))
def test_any_second_of_ten_minutes_is_the_book_that_it_was(seed: int) -> None:
    reel, truth = play(seed, seconds=600, per_second=20)
    for second in random.Random(seed).sample(sorted(truth), 60):
        book = shown(reel, 1_000 * second, 1_000 * second + 1)["book"]
        found = {(True, p): s for p, s in book["bids"]} | {(False, p): s for p, s in book["asks"]}
        assert found == {place: size for place, size in truth[second].items() if size}


def test_frames_lead_from_any_book_to_any_later_one() -> None:
    reel, truth = play(1, seconds=200, per_second=30)
    start, end = min(truth) + 20, max(truth) - 20
    found = shown(reel, 1_000 * start, 1_000 * end)
    book = {(True, p): s for p, s in found["book"]["bids"]} | {(False, p): s for p, s in found["book"]["asks"]}
    for frame in found["frames"]:
        book |= {(True, p): s for p, s in frame["b"]} | {(False, p): s for p, s in frame["a"]}

    assert {k: v for k, v in book.items() if v} == {k: v for k, v in truth[end].items() if v}
    assert found["covered"] == [[1_000 * start, 1_000 * end]]


def test_what_is_older_than_fifteen_minutes_is_forgotten() -> None:
    reel, _ = play(2, seconds=1_200, per_second=5)

    oldest = min(unseal(piece).start for piece in reel.pieces(0, T + 10_000_000, T + 1_200_000))

    assert KEPT_MS <= T + 1_200_000 - oldest <= KEPT_MS + 2 * PIECE_MS


def test_a_market_that_is_too_busy_is_kept_for_less_and_never_takes_more() -> None:
    reel, _ = play(3, seconds=400, per_second=900)

    assert reel.memory <= MOST_BYTES
    assert reel.pieces(T + 390_000, T + 400_000, T + 400_000)


def wide(levels: int) -> tuple[Reel, list[int]]:
    """Return a reel that begins with so many levels, and their prices; sizes that do not pack well."""
    dice, reel = random.Random(4), Reel()
    prices = list(range(1, levels + 1))
    reel.whole(T, LIVE, [(price, dice.randrange(1, 1_000_000)) for price in prices], [])
    return reel, prices


def test_a_piece_ends_after_so_many_changes_however_many_levels_its_book_has() -> None:
    reel, prices = wide(PIECE_ROWS + 1_000)
    for step in range(PIECE_ROWS):
        reel.changes(T + step, [(prices[step], 7)], [])
    assert len(reel.pieces(T, T + PIECE_MS, T + PIECE_MS)) == 1

    reel.changes(T + PIECE_ROWS, [(prices[0], 9)], [])

    assert len(reel.pieces(T, T + PIECE_MS, T + PIECE_MS)) == 2
    assert dict(shown(reel, T + PIECE_ROWS, T + PIECE_MS)["book"]["bids"])[1] == 9
    assert dict(shown(reel, T + PIECE_ROWS - 1, T + PIECE_MS)["book"]["bids"])[1] == 7


@pytest.mark.parametrize("levels", [100, 1_000, PIECE_ROWS, 6_000, 8_500])
def test_a_book_of_many_levels_is_kept_for_less_and_never_takes_more(levels: int) -> None:
    reel, prices = wide(levels)
    dice, most = random.Random(5), 0
    for step in range(5 * PIECE_ROWS):
        reel.changes(T + 5 * step, [(dice.choice(prices), dice.randrange(1, 1_000_000))], [])
        most = max(most, reel.memory)

    assert most <= MOST_BYTES
    assert shown(reel, T + 25 * PIECE_ROWS - 5, T + 25 * PIECE_ROWS)["book"] is not None


def test_the_widest_book_of_all_is_kept_as_far_as_its_newest_piece() -> None:
    reel, prices = wide(9_999)
    for step in range(2 * PIECE_ROWS + 1):
        reel.changes(T + step, [(prices[step], 7)], [])

    [piece] = [unseal(sealed) for sealed in reel.pieces(0, T + PIECE_MS, T + PIECE_MS)]
    assert (piece.start, piece.first) == (T + 2 * PIECE_ROWS, 9_999)


# --- frames of the relay ---------------------------------------------------------------------------------


def test_it_takes_the_relays_own_frames() -> None:
    kept, now = Lookback(), Moment(1_000, T)
    intake = Intake("sandbox", "e1")
    played = PlayedFeed(lambda event: intake.take(event, now))
    live = intake.add(Listing("A"), now)
    played.connect()
    for step in range(4):
        now = Moment(1_000 + 100 * step, T + 100 * step)
        if step == 1:
            played.snapshot("A", {4800: 1000}, {5200: 300})
        elif step == 2:
            played.delta("A", True, 4800, -400)
        elif step == 3:
            played.gap(["A"])
        kept.take(live.take(now, intake.upstream))

    found = replay(kept.pieces("A", T, T + 1_000), T, T + 1_000)
    assert found["book"]["state"] == "RESYNC"
    assert found["frames"] == [
        {"at": T + 100, "b": [(4800, 1000)], "a": [(5200, 300)], "state": "LIVE", "why": ""},
        {"at": T + 200, "b": [(4800, 600)], "a": []},
        {"at": T + 300, "b": [], "a": [], "state": "RESYNC", "why": "a message was lost"},
    ]
    assert kept.pieces("B", T, T + 1_000) == []


def test_a_recorded_market_at_the_median_rate_fits_into_150_kib(recordings: Path) -> None:
    tape = recordings / "tapes" / "gold15m_reconnect.jsonl.gz"
    ticker = judges.tickers_of(tape)[0]
    intake, kept = Intake("sandbox", "e1"), Lookback()
    intake.take(feed.Connected(1), Moment(0, 0))
    intake.add(Listing(ticker), Moment(0, 0))
    true, deltas, first, last = judges.TrueBook(), 0, 0, 0
    for seq, (line, at, frame) in enumerate(judges.read_tape(tape), start=1):
        if frame["type"] not in {"orderbook_snapshot", "orderbook_delta"}:
            continue
        intake.take(event_of(frame, line, seq), Moment(at, at))
        is_whole = frame["type"] == "orderbook_snapshot"
        (true.replace if is_whole else true.change)(frame["msg"])
        deltas += not is_whole
        first, last = first or at, at
        live = intake.books[ticker]
        if live.due_at(Moment(at, at), intake.upstream) == at:
            kept.take(live.take(Moment(at, at), intake.upstream))
    kept.take(intake.books[ticker].take(Moment(last + 60, last + 60), intake.upstream))

    reel = kept.reels[ticker]
    pieces = [unseal(piece) for piece in reel.pieces(0, last + 100, last + 100)]
    assert deltas / ((last - first) / 1000) > 30, "a median market sends 42 a second while it is active"
    assert last - max(first, last - KEPT_MS) <= last - pieces[0].start, "all of fifteen minutes is there"
    assert reel.memory < MOST_BYTES
    book = replay(reel.pieces(last, last + 100, last + 100), last + 90, last + 100)["book"]
    assert (dict(book["bids"]), dict(book["asks"])) == true.in_units()


@pytest.mark.parametrize("is_seamless", [True, False])
def test_what_begins_a_new_piece_is_told_like_any_other_change(is_seamless: bool) -> None:
    reel = Reel()
    reel.whole(T, LIVE, [(4800, 1000)], [])
    if is_seamless:
        reel.changes(T + PIECE_MS - 1, [(4700, 100)], [])
    reel.changes(T + PIECE_MS, [(4800, 400)], [])
    reel.label(T + 2 * PIECE_MS, ("STALE", "lost"))

    frames = shown(reel, T + PIECE_MS - 1, T + 3 * PIECE_MS)["frames"]

    assert frames == [
        {"at": T + PIECE_MS, "b": [(4800, 400)], "a": []},
        {"at": T + 2 * PIECE_MS, "b": [], "a": [], "state": "STALE", "why": "lost"},
    ]
