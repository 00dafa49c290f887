"""Which message of the feed changes what, which one casts doubt, and what is asked for again."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from markets import intake
from markets.book import bands_of
from markets.events import FeedState
from markets.intake import FEED_REPAIRS_MS, FIRST_SNAPSHOT_MS, OVER_ATTEMPTS, OWN_WATCH_MS
from markets.kalshi import feed
from markets.kalshi.messages import BookDelta, TradeTick
from markets.livebook import CROSSED_MS, Listing, Moment
from markets.repairs import CALM_MS, REPAIR_FIRST_MS, REPAIR_MOST_MS
from tests.markets.feeding import CENTS, START, Feeding, lifecycle, trade_event, two_books


@pytest.fixture
def fed() -> Feeding:
    """Two markets, connected, each with its first snapshot."""
    return two_books()


def test_nothing_is_live_before_there_is_a_connection() -> None:
    fed = Feeding()
    fed.intake.add(Listing("A"), fed.now)

    assert fed.state() == ("DOWN", "not connected yet")
    assert fed.repairs() == []


def test_snapshots_and_changes_make_books(fed: Feeding) -> None:
    fed.feed.delta("A", True, 4800, -40)
    fed.feed.delta("A", False, 5200, -300)

    assert (fed.a.book.bids, fed.a.book.asks) == ({4800: 60}, {})
    assert fed.state() == ("LIVE", "")
    assert fed.intake.dirty == {"A", "B"}
    assert fed.intake.counts["deltas"] == 2


def test_messages_of_markets_that_nobody_follows_are_passed_over(fed: Feeding) -> None:
    fed.feed.snapshot("C", {1: 1}, {})
    fed.feed.delta("C", True, 1, 1)

    assert set(fed.intake.books) == {"A", "B"}
    fed.intake.remove("A")
    fed.feed.delta("A", True, 4800, 1)
    assert set(fed.intake.books) == {"B"}


def test_a_gap_doubts_every_book_of_the_subscription_and_the_feed_gets_time_to_heal_it(fed: Feeding) -> None:
    fed.feed.gap(["A", "B"])

    assert fed.state("A") == ("RESYNC", "a message was lost")
    assert fed.state("B") == ("RESYNC", "a message was lost")
    assert fed.repairs() == []
    fed.wait(FEED_REPAIRS_MS)
    assert fed.repairs() == ["A", "B"]
    fed.feed.snapshot("A", {4700: 1}, {})
    assert fed.state("A") == ("LIVE", "")
    assert fed.intake.counts["gaps"] == 1


def test_after_a_gap_a_change_is_not_applied_until_a_snapshot(fed: Feeding) -> None:
    fed.feed.gap(["A"])
    fed.feed.delta("A", True, 4800, -40)

    assert fed.a.book.bids == {4800: 100}
    assert fed.intake.counts["deltas_passed_over"] == 1


def test_a_negative_level_is_stale_and_repaired_at_once(fed: Feeding) -> None:
    fed.feed.delta("A", True, 4800, -101)

    assert fed.state()[0] == "STALE"
    assert fed.state("B") == ("LIVE", "")
    assert fed.intake.counts["negative"] == 1
    assert fed.repairs() == ["A"]


def test_a_price_off_the_grid_has_the_market_described_again(fed: Feeding) -> None:
    fed.feed.delta("A", True, 4850, 1)

    assert fed.state()[0] == "STALE"
    assert fed.intake.descriptions_due(fed.now) == ["A"]
    assert fed.intake.counts["off_grid"] == 1


def test_a_snapshot_that_cannot_be_is_asked_for_again_not_believed(fed: Feeding) -> None:
    fed.feed.snapshot("A", {4850: 1}, {})

    assert fed.state()[0] == "STALE"
    assert fed.a.book.bids == {4800: 100}
    assert fed.repairs() == ["A"]


def test_a_market_followed_anew_is_live_though_orders_rest_off_its_grid_of_today() -> None:
    fed = Feeding()
    fed.intake.add(Listing("A", bands=CENTS), fed.now)
    fed.feed.connect()
    fed.feed.snapshot("A", {4850: 7, 4800: 1}, {5200: 300})
    assert fed.state() == ("STALE", "the exchange's snapshot cannot be right: 4850 is not a price of this market")
    assert fed.repairs() == ["A"]
    assert fed.intake.descriptions_due(fed.now) == ["A"]

    fed.feed.snapshot("A", {4850: 6, 4800: 2}, {5200: 300})

    assert fed.state() == ("LIVE", "")
    assert fed.a.book.bids == {4850: 6, 4800: 2}
    assert fed.intake.counts["off_grid"] == 1
    fed.wait(REPAIR_MOST_MS)
    assert fed.repairs() == []
    fed.feed.delta("A", True, 4850, -6)
    assert fed.state() == ("LIVE", "")
    fed.feed.delta("A", True, 4790, 1)
    assert fed.state()[0] == "STALE", "other prices between the ticks still cast doubt"


def test_a_message_that_cannot_be_read_doubts_its_market_or_all(fed: Feeding) -> None:
    fed.feed.say(feed.Malformed("A", "no price"))
    assert (fed.state("A")[0], fed.state("B")[0]) == ("STALE", "LIVE")

    fed.feed.say(feed.Malformed(None, "no JSON"))
    assert fed.state("B") == ("STALE", "a message could not be read")
    assert fed.intake.counts["malformed"] == 2


def test_a_refused_subscription_says_why(fed: Feeding) -> None:
    fed.feed.say(feed.SubscriptionRefused(("A",), "market not found"))

    assert fed.state() == ("STALE", "the exchange refuses the subscription: market not found")


def test_a_lost_connection_is_down_and_the_next_waits_for_snapshots(fed: Feeding) -> None:
    fed.feed.disconnect("reset")
    assert fed.state() == ("DOWN", "connection lost: reset")
    assert fed.repairs() == []

    fed.feed.connect()
    assert fed.state() == ("RESYNC", "connected, waiting for a snapshot")
    fed.wait(FIRST_SNAPSHOT_MS)
    assert fed.repairs() == ["A", "B"]


def test_a_stalled_feed_is_stale_until_it_resumes(fed: Feeding) -> None:
    fed.feed.say(feed.Stalled())
    assert fed.state() == ("STALE", "nothing has been heard from the exchange")

    fed.feed.say(feed.Resumed())
    assert fed.state() == ("LIVE", "")


def test_a_feed_whose_thread_died_is_noticed_by_its_silence(fed: Feeding) -> None:
    fed.wait(OWN_WATCH_MS)
    fed.intake.look(fed.now)
    assert fed.state()[0] == "LIVE"

    fed.wait(1)
    fed.intake.look(fed.now)
    assert fed.state()[0] == "STALE"


@pytest.mark.parametrize("says", ["a sign of life", "a change"])
def test_a_feed_that_slept_for_long_is_believed_again_once_it_is_heard(fed: Feeding, says: str) -> None:
    fed.wait(OWN_WATCH_MS + 1)
    fed.intake.look(fed.now)
    fed.intake.look(fed.now)
    assert (fed.state("A")[0], fed.state("B")[0]) == ("STALE", "STALE")
    fed.intake.dirty.clear()

    if says == "a change":
        fed.feed.delta("A", True, 4800, -40)
    else:
        fed.feed.say(feed.Alive())
    fed.intake.look(fed.now)

    assert (fed.state("A"), fed.state("B")) == (("LIVE", ""), ("LIVE", ""))
    assert fed.intake.dirty == {"A", "B"}, "pages are told"


def test_a_book_that_lost_a_message_in_a_long_sleep_stays_in_doubt_when_the_feed_is_heard_again(fed: Feeding) -> None:
    fed.wait(OWN_WATCH_MS + 1)
    fed.intake.look(fed.now)

    fed.feed.gap(["A"])
    fed.feed.delta("B", True, 1000, 1)
    fed.intake.look(fed.now)

    assert (fed.state("A")[0], fed.state("B")[0]) == ("RESYNC", "LIVE")


def test_a_stall_that_the_feed_tells_of_is_over_when_the_feed_says_so_and_not_before(fed: Feeding) -> None:
    fed.feed.say(feed.Stalled())
    fed.feed.say(feed.Alive())
    fed.intake.look(fed.now)
    assert fed.state()[0] == "STALE"

    fed.feed.say(feed.Resumed())
    assert fed.state() == ("LIVE", "")


def test_signs_of_life_keep_a_quiet_feed_live(fed: Feeding) -> None:
    fed.wait(OWN_WATCH_MS)
    fed.feed.say(feed.Alive())
    fed.wait(1)
    fed.intake.look(fed.now)

    assert fed.state()[0] == "LIVE"
    assert (fed.now.mono - (fed.intake.alive_at or 0), fed.now.mono - (fed.intake.heard_at or 0)) == (1, 30_001)


def test_a_book_crossed_for_longer_than_an_instant_is_asked_for_again(fed: Feeding) -> None:
    fed.feed.delta("A", True, 5200, 10)
    fed.intake.look(fed.now)
    assert fed.repairs() == []

    fed.wait(CROSSED_MS + 1)
    fed.intake.look(fed.now)

    assert fed.state() == ("STALE", "bid and ask overlap")
    assert fed.repairs() == ["A"]
    assert fed.intake.counts["crossed"] == 1


def test_repairs_are_asked_for_at_growing_distances(fed: Feeding) -> None:
    fed.feed.delta("A", True, 4800, -101)
    asked_at: list[int] = []
    for _ in range(4 * REPAIR_MOST_MS // REPAIR_FIRST_MS):
        if fed.repairs():
            asked_at.append(fed.now.mono - START)
        fed.wait(REPAIR_FIRST_MS)

    distances = [after - before for before, after in pairwise(asked_at)]
    assert asked_at[0] == 0
    assert distances[:5] == [1_000, 1_000, 2_000, 4_000, 8_000]
    assert max(distances) <= REPAIR_MOST_MS
    assert fed.state() == ("RESYNC", f"asking for a snapshot, attempt {len(asked_at)}")


def test_snapshots_that_are_wrong_again_and_again_do_not_flood_the_exchange(fed: Feeding) -> None:
    asked = 0
    for _ in range(100):
        fed.feed.delta("A", True, 4800, -101)
        if fed.repairs():
            asked += 1
            fed.feed.snapshot("A", {4800: 100}, {})
        fed.wait(50)

    assert asked < 10


def test_a_market_that_was_calm_for_long_is_repaired_at_once_again(fed: Feeding) -> None:
    for _ in range(2):
        fed.feed.delta("A", True, 4800, -101)
        assert fed.repairs() == ["A"]
        fed.feed.snapshot("A", {4800: 100}, {})
        fed.wait(CALM_MS + 1)


def test_a_finished_market_is_not_asked_for_for_ever(fed: Feeding) -> None:
    fed.a.change_listing(status="finalized")
    fed.feed.say(feed.Malformed("A", "?"))
    asked = 0
    for _ in range(200):
        asked += fed.repairs() == ["A"]
        fed.wait(1_000)

    assert asked == OVER_ATTEMPTS


def test_a_trade_is_remembered_once(fed: Feeding) -> None:
    tick = TradeTick(
        ticker="A", trade_id="t1", price_units=5200, count_units=700, taker_side="yes", ts_ms=9, sid=2, seq=1
    )
    fed.feed.say(feed.TradeReceived(tick, 1))
    fed.feed.say(feed.TradeReceived(tick, 1))

    assert fed.a.last == (5200, 700, "yes", 9)
    assert fed.a.trade_number == 1
    assert fed.intake.heard_at == START


@pytest.mark.parametrize(
    ("event_type", "state"),
    [
        ("deactivated", ("PAUSED", "inactive")),
        ("determined", ("CLOSED", "determined")),
        ("settled", ("CLOSED", "finalized")),
        ("metadata_updated", ("LIVE", "")),
    ],
)
def test_the_life_of_a_market_changes_its_label(fed: Feeding, event_type: str, state: tuple[str, str]) -> None:
    fed.feed.say(lifecycle(event_type))

    assert fed.state() == state


def test_a_paused_market_that_is_activated_is_live_again(fed: Feeding) -> None:
    fed.feed.say(lifecycle("deactivated"))
    fed.wait(5)
    fed.feed.say(lifecycle("activated"))

    assert fed.state() == ("LIVE", "")


def test_a_new_closing_time_counts_from_when_it_is_told(fed: Feeding) -> None:
    fed.feed.say(lifecycle("close_date_updated", close_ms=fed.now.wall + 10))
    assert fed.state()[0] == "LIVE"

    fed.wait(10)
    assert fed.state() == ("CLOSED", "active")


def test_a_finer_grid_is_accepted_with_the_resting_orders_of_the_old(fed: Feeding) -> None:
    fed.feed.say(lifecycle("price_level_structure_updated", bands=((0, 10_000, 10),)))
    fed.feed.delta("A", True, 4810, 5)

    assert fed.a.book.bids == {4800: 100, 4810: 5}
    assert fed.a.listing.bands == bands_of([[0, 10_000, 10]])


def test_everything_is_doubted_when_messages_were_thrown_away(fed: Feeding) -> None:
    fed.intake.lose_everything("more came in than could be taken", fed.now)

    assert {fed.state("A")[0], fed.state("B")[0]} == {"STALE"}
    assert fed.repairs() == ["A", "B"]


def test_a_new_epoch_numbers_every_book_from_the_start(fed: Feeding) -> None:
    for live in fed.intake.books.values():
        live.take(fed.now, fed.intake.upstream)
    fed.intake.dirty.clear()

    fed.intake.begin_epoch("e2")

    assert [(live.epoch, live.number) for live in fed.intake.books.values()] == [("e2", 0), ("e2", 0)]
    assert fed.intake.dirty == {"A", "B"}


@pytest.mark.parametrize(
    ("say", "state"),
    [(feed.Stalled(), "stale"), (feed.Disconnected("gone", 1006), "down"), (feed.Alive(), "live")],
)
def test_beats_carry_the_state_of_the_way_upstream(fed: Feeding, say: Any, state: FeedState) -> None:
    fed.feed.say(say)

    assert fed.intake.feed_state() == state


def test_changes_of_another_subscription_show_that_a_whole_book_was_missed(fed: Feeding) -> None:
    change = BookDelta("A", True, 4800, 100, None, 99, sid=2, seq=7)

    fed.intake.take(feed.DeltaReceived(change, fed.feed.connection), fed.now)

    assert fed.state()[0] == "RESYNC"
    assert fed.repairs() == ["A"]


def test_a_change_that_came_before_casts_no_doubt(fed: Feeding) -> None:
    said = fed.feed.delta_event("A", True, 4800, 100)
    fed.intake.take(said, fed.now)

    fed.intake.take(said, fed.now)

    assert fed.state()[0] == "LIVE"


def test_a_book_that_is_distrusted_is_stale_and_asked_for_at_once(fed: Feeding) -> None:
    fed.intake.distrust("A", "REST shows another", fed.now)

    assert fed.state() == ("STALE", "REST shows another")
    assert fed.state("B")[0] == "LIVE"
    assert fed.repairs() == ["A"]


# --- numbers -------------------------------------------------------------------------------------


def test_a_market_that_is_followed_again_goes_on_from_the_numbers_that_it_had(fed: Feeding) -> None:
    fed.feed.say(trade_event("t1"))
    assert [(frame["t"], frame.get("n"), frame.get("k")) for frame in fed.tell()] == [
        ("trade", None, 1),
        ("book", 1, 1),
    ]
    fed.intake.remove("A")

    fed.intake.add(Listing("A"), fed.now)
    [book] = fed.tell()
    assert (book["t"], book["e"], book["n"], book["k"], book["state"]) == ("book", "e1", 2, 1, "RESYNC")
    fed.feed.say(trade_event("t2"))
    assert [(frame["t"], frame["k"]) for frame in fed.tell()] == [("trade", 2)]


def test_numbers_begin_anew_with_an_epoch_whoever_was_followed_before(fed: Feeding) -> None:
    fed.tell()
    fed.intake.remove("A")
    fed.intake.begin_epoch("e2")

    fed.intake.add(Listing("A"), fed.now)

    assert [(frame["e"], frame["n"]) for frame in fed.tell()] == [("e2", 1)]


def test_numbers_that_are_no_longer_remembered_are_not_given_again(
    fed: Feeding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "COUNTED_KEPT", 1)
    fed.feed.say(trade_event("t1"))
    fed.tell()
    fed.feed.say(feed.Stalled())
    fed.tell()
    assert (fed.a.number, fed.a.trade_number) == (2, 1)
    for ticker in ("A", "B"):
        fed.intake.remove(ticker)

    again = fed.intake.add(Listing("A"), fed.now)
    new = fed.intake.add(Listing("NEW"), fed.now)

    assert [(live.number, live.trade_number) for live in (again, new)] == [(2, 1), (2, 1)]


# --- the clock -----------------------------------------------------------------------------------


def test_a_quiet_market_is_told_as_closed_when_the_clock_closes_it(fed: Feeding) -> None:
    fed.describe("active", close_ms=fed.now.wall + 1_000)
    fed.tell()
    fed.intake.dirty.clear()
    fed.wait(999)
    fed.intake.look(fed.now)
    assert fed.intake.dirty == set()

    fed.wait(1)
    fed.intake.look(fed.now)

    assert fed.intake.dirty == {"A"}
    assert [(frame["t"], frame["state"]) for frame in fed.tell()] == [("state", "CLOSED")]
    fed.intake.dirty.clear()
    fed.intake.look(fed.now)
    assert fed.intake.dirty == set(), "told once"


def test_a_clock_that_is_put_back_opens_it_again(fed: Feeding) -> None:
    fed.describe("active", close_ms=fed.now.wall)
    fed.tell()
    fed.intake.dirty.clear()
    fed.now = Moment(fed.now.mono, fed.now.wall - 1)

    fed.intake.look(fed.now)

    assert fed.intake.dirty == {"A"}
    assert [(frame["t"], frame["state"]) for frame in fed.tell()] == [("state", "LIVE")]


# --- ages ----------------------------------------------------------------------------------------


def test_trades_make_no_book_young_that_is_in_doubt(fed: Feeding) -> None:
    fed.wait(100)
    fed.feed.say(trade_event("t1"))
    assert fed.a.heard_at == fed.now.mono
    fed.feed.gap(["A"])
    fed.wait(5_000)
    fed.feed.say(trade_event("t2"))

    assert fed.now.mono - (fed.a.heard_at or 0) == 5_000
