"""Books without a key: read over REST within the public budget, labelled POLLED, never younger than their reading."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from kalshiweb.exchanges import Exchange as Addresses
from markets import polled
from markets.broadcast import Broadcast
from markets.intake import Intake, Polling
from markets.kalshi import feed
from markets.kalshi.errors import BadMessage, KalshiError, RateLimited, Rejected, Unavailable
from markets.kalshi.messages import BookSnapshot, OrderBookBody
from markets.livebook import Listing, Moment
from markets.polled import PolledFeed
from markets.source import FASTEST_PER_SECOND, Pace
from markets.topboard import TopBoard
from tests.markets.pagebook import PageBook
from tests.trading.venue import Venue


class Exchange:
    """Answers with the books that a test gave it, refuses what it was told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.books: dict[str, OrderBookBody] = {}
        self.asked: list[list[str]] = []
        self.spoiled: dict[str, KalshiError] = {}
        self.fails: KalshiError | None = None
        self.answers_left: int | None = None  # then it refuses for speed
        self.broken_at: str | None = None  # no call that names this market is answered

    def set(self, ticker: str, bids: dict[int, int], asks: dict[int, int]) -> None:
        self.books[ticker] = OrderBookBody(ticker=ticker, bids=tuple(bids.items()), asks=tuple(asks.items()))

    def orderbooks(self, tickers: Sequence[str]) -> tuple[OrderBookBody, ...]:
        self.asked.append(list(tickers))
        if self.fails is not None:
            raise self.fails
        if self.broken_at in tickers:
            raise Unavailable("the exchange answered with HTTP 500")
        if self.answers_left is not None:
            if not self.answers_left:
                raise RateLimited()
            self.answers_left -= 1
        for ticker in tickers:
            if ticker in self.spoiled:
                raise self.spoiled[ticker]
        return tuple(self.books[ticker] for ticker in tickers if ticker in self.books)

    def exchange_status(self) -> None:
        self.asked.append([])
        if self.fails is not None:
            raise self.fails

    def close(self) -> None:
        pass


class World:
    """A polled feed by hand, and the intake that takes what it says."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.exchange = Exchange()
        self.said: list[Any] = []
        self.intake = Intake("production", "e1")
        self.pace = Pace(pause=lambda seconds: None)
        self.feed = PolledFeed(
            self.exchange,
            pace=self.pace,
            on_event=self.take,
            why="no key",
            clock=lambda: self.seconds,
            rng=random.Random(1),
        )

    @property
    def now(self) -> Moment:
        return Moment(int(self.seconds * 1000), int(self.seconds * 1000) + 7_000_000)

    def take(self, event: Any) -> None:
        self.said.append(event)
        self.intake.take(event, self.now)

    def follow(self, *tickers: str) -> None:
        for ticker in tickers:
            self.intake.add(Listing(ticker), self.now)
        self.feed.watch(tickers)

    def label(self, ticker: str) -> tuple[str, str]:
        return tuple(self.intake.books[ticker].label(self.now, self.intake.upstream))  # type: ignore[return-value]


@pytest.fixture
def world() -> World:
    return World()


def test_a_book_that_is_read_is_polled_and_says_why(world: World) -> None:
    world.exchange.set("A", {4800: 1000}, {5200: 300})
    world.follow("A")

    wait = world.feed.read_once()

    assert world.label("A") == ("POLLED", "no key")
    assert world.intake.books["A"].book.bids == {4800: 1000}
    assert world.intake.feed_state() == "polled"
    assert 0 < wait <= 1.0


def test_a_read_book_stands_at_no_place_of_any_stream(world: World) -> None:
    world.exchange.set("A", {4800: 1000}, {})
    world.follow("A")

    world.feed.read_once()
    world.feed.read_once()

    assert world.intake.books["A"].up == (1, 0, 2, None)


def test_pages_get_each_reading_with_its_time(world: World) -> None:
    world.exchange.set("A", {4800: 1000}, {})
    world.follow("A")
    broadcast, page = Broadcast("production"), PageBook()

    for size in (1000, 1500):
        world.exchange.set("A", {4800: size}, {})
        world.feed.read_once()
        world.seconds += 1
        for entry in broadcast.frames(world.intake, world.now):
            frame = json.loads(entry[3])
            page.apply(frame)

    assert (page.shown, page.bids) == ("POLLED", {4800: 1500})
    assert frame["quiet"] == 1_000


def test_two_hundred_and_one_markets_take_three_calls_of_at_most_a_hundred(world: World) -> None:
    tickers = [f"M{number}" for number in range(201)]
    for ticker in tickers:
        world.exchange.set(ticker, {}, {})
    world.follow(*tickers)

    world.feed.read_once()

    assert [len(asked) for asked in world.exchange.asked] == [100, 100, 1]


def three_calls(world: World) -> list[str]:
    """Follow so many markets that a round takes three calls, and return the first market of each."""
    tickers = [f"M{number:03}" for number in range(300)]
    for ticker in tickers:
        world.exchange.set(ticker, {}, {})
    world.follow(*tickers)
    return [tickers[0], tickers[100], tickers[200]]


def firsts(world: World) -> list[str]:
    """Return the first market of each call since this was asked last."""
    found = [asked[0] for asked in world.exchange.asked]
    world.exchange.asked.clear()
    return found


def test_a_round_that_was_refused_goes_on_where_it_was_refused(world: World) -> None:
    one, two, three = three_calls(world)
    rounds = []
    for _ in range(3):
        world.exchange.answers_left = 1
        world.feed.read_once()
        rounds.append(firsts(world))
    world.exchange.answers_left = None
    world.feed.read_once()

    assert rounds == [[one, two], [two, three], [three, one]]
    assert firsts(world) == [one, two, three]
    world.feed.read_once()
    assert firsts(world) == [one, two, three]


def test_a_call_that_is_never_answered_does_not_stand_before_the_others_for_good(world: World) -> None:
    one, two, three = three_calls(world)
    world.exchange.broken_at = one
    for _ in range(4):
        world.feed.read_once()

    assert firsts(world) == [one, two, three, one, one, two, three, one]


def test_what_is_unwatched_between_two_rounds_is_not_gone_on_with(world: World) -> None:
    _, two, _ = three_calls(world)
    world.exchange.answers_left = 1
    world.feed.read_once()
    firsts(world)
    world.exchange.answers_left = None

    world.feed.unwatch([two])
    world.feed.read_once()

    assert firsts(world)[0] == "M101"
    assert all(two not in asked for asked in world.exchange.asked)


def test_what_one_market_spoils_costs_no_other(world: World) -> None:
    for ticker in "ABCDE":
        world.exchange.set(ticker, {4800: 100}, {})
    world.exchange.spoiled = {"B": BadMessage("a size of NaN", ticker="B"), "D": Rejected(404, "not_found")}
    world.follow(*"ABCDE")

    world.feed.read_once()

    assert {ticker: world.label(ticker)[0] for ticker in "ABCDE"} == {
        "A": "POLLED",
        "B": "STALE",
        "C": "POLLED",
        "D": "STALE",
        "E": "POLLED",
    }


def test_a_market_that_the_exchange_leaves_out_is_stale_and_asked_again_a_minute_later(world: World) -> None:
    world.exchange.set("A", {4800: 100}, {})
    world.follow("A", "GONE")

    world.feed.read_once()
    world.feed.read_once()

    assert world.label("GONE")[0] == "STALE"
    assert world.exchange.asked == [["A", "GONE"], ["A"]]
    world.seconds += 61
    world.feed.read_once()
    assert world.exchange.asked[-1] == ["A", "GONE"]


def test_refusals_for_speed_halve_the_pace_and_lengthen_the_pauses(world: World) -> None:
    world.exchange.set("A", {}, {})
    world.follow("A")
    world.feed.read_once()
    world.exchange.fails = RateLimited()

    waits = [world.feed.read_once() for _ in range(8)]

    assert world.pace.per_second == 0.5 < FASTEST_PER_SECOND
    assert max(waits) <= 20.0
    assert waits[-1] > waits[0]
    assert len(set(waits)) > 4, "pauses without a random part come at once from everybody"


def test_a_refusal_says_how_long_and_is_obeyed(world: World) -> None:
    world.follow("A")
    world.exchange.fails = RateLimited(retry_after_seconds=7.0)

    assert world.feed.read_once() >= 7.0


def test_an_exchange_that_does_not_answer_is_stale_after_five_seconds_and_down_after_fifteen(world: World) -> None:
    world.exchange.set("A", {4800: 100}, {})
    world.follow("A")
    world.feed.read_once()
    world.exchange.fails = Unavailable("no route")
    states = []
    for _ in range(8):
        world.seconds += 2
        world.feed.read_once()
        states.append(world.label("A")[0])

    assert states == ["POLLED", "POLLED", "STALE", "STALE", "STALE", "STALE", "STALE", "DOWN"]


def test_a_book_whose_last_reading_is_older_than_fifteen_seconds_is_stale_whatever_else_is_read(world: World) -> None:
    world.exchange.set("A", {4800: 100}, {})
    world.exchange.set("B", {4800: 100}, {})
    world.follow("A", "B")
    world.feed.read_once()
    world.feed.unwatch(["A"])
    world.seconds += 15
    world.feed.read_once()
    world.intake.look(world.now)
    assert (world.label("A")[0], world.label("B")[0]) == ("POLLED", "POLLED")

    world.seconds += 0.001
    world.intake.look(world.now)

    assert world.label("A") == ("STALE", "it was last read more than 15 seconds ago")
    assert world.label("B")[0] == "POLLED"
    assert "A" in world.intake.dirty, "pages are told"
    for _ in range(4):
        world.seconds += 2
        world.feed.read_once()
        world.intake.repairs(world.now)
    assert world.label("A")[0] == "STALE"
    world.feed.watch(["A"])
    world.feed.read_once()
    assert world.label("A")[0] == "POLLED"


def test_books_are_believed_again_after_an_answer_that_took_half_a_minute(world: World) -> None:
    for ticker in ("A", "B"):
        world.exchange.set(ticker, {4800: 100}, {})
    world.follow("A", "B")
    world.feed.read_once()
    world.seconds += 30.001
    world.intake.look(world.now)
    assert world.label("A") == ("STALE", "nothing has been heard from the exchange")

    world.feed.unwatch(["B"])
    world.feed.read_once()
    world.intake.look(world.now)

    assert world.label("A") == ("POLLED", "no key")
    assert world.label("B") == ("STALE", "it was last read more than 15 seconds ago")


def test_orders_that_rest_off_the_grid_of_today_are_read_in_two_rounds(world: World) -> None:
    world.intake.add(Listing("A", bands=((0, 10_000, 100),)), world.now)
    world.feed.watch(["A"])
    world.exchange.set("A", {4850: 100}, {})
    world.feed.read_once()
    assert world.label("A")[0] == "STALE"

    world.feed.read_once()

    assert world.label("A") == ("POLLED", "no key")
    assert world.intake.books["A"].book.bids == {4850: 100}


def test_a_streamed_book_of_a_quiet_market_is_live_however_old(world: World) -> None:
    world.follow("A")
    world.take(feed.Connected(1))
    world.take(feed.SnapshotReceived(BookSnapshot("A", ((4800, 900),), (), 1, 1, 77), 1))
    world.seconds += 20
    world.take(feed.Alive())

    world.intake.look(world.now)

    assert world.label("A") == ("LIVE", "")


def test_an_answer_after_a_silence_is_another_connection(world: World) -> None:
    world.exchange.set("A", {4800: 100}, {})
    world.follow("A")
    world.exchange.fails = Unavailable("no route")
    world.feed.read_once()
    assert world.label("A")[0] == "DOWN"

    world.exchange.fails = None
    world.feed.read_once()

    assert world.label("A")[0] == "POLLED"
    assert [event.connection for event in world.said if isinstance(event, Polling)] == [1]


def test_an_answer_within_a_stall_ends_it(world: World) -> None:
    world.exchange.set("A", {4800: 100}, {})
    world.follow("A")
    world.feed.read_once()
    world.exchange.fails = Unavailable("no route")
    world.seconds += 6
    world.feed.read_once()
    assert world.label("A")[0] == "STALE"

    world.exchange.fails = None
    world.feed.read_once()

    assert world.label("A")[0] == "POLLED"
    assert any(isinstance(event, feed.Resumed) for event in world.said)


def test_without_markets_only_the_exchange_itself_is_asked_after(world: World) -> None:
    assert world.feed.read_once() == 5.0
    assert world.exchange.asked == [[]]
    assert world.intake.upstream.state == "POLLED"


def test_an_unwatched_market_is_read_no_more(world: World) -> None:
    world.exchange.set("A", {}, {})
    world.exchange.set("B", {}, {})
    world.follow("A", "B")
    world.feed.unwatch(["A"])

    world.feed.read_once()

    assert world.exchange.asked == [["B"]]


def test_the_top_of_a_polled_book_is_as_old_as_its_reading(world: World) -> None:
    world.exchange.set("A", {4800: 100}, {})
    world.follow("A")
    world.feed.read_once()
    world.seconds += 3

    top = TopBoard(None).due(world.intake, world.now)["A"]

    assert (top.state, top.age_ms(world.now.wall)) == ("POLLED", 3_000)


def test_a_stream_after_polling_is_live_and_polling_after_a_stream_is_polled(world: World) -> None:
    world.exchange.set("A", {4800: 100}, {})
    world.follow("A")
    world.feed.read_once()
    world.intake.go_down("the feed has been stopped", world.now)

    world.take(feed.Connected(1))
    assert world.label("A")[0] == "RESYNC"
    world.take(feed.SnapshotReceived(BookSnapshot("A", ((4800, 900),), (), 1, 1, 77), 1))
    assert world.label("A") == ("LIVE", "")

    world.take(Polling(1, "the key was taken back"))
    assert world.label("A")[0] == "RESYNC"
    world.take(feed.SnapshotReceived(BookSnapshot("A", ((4800, 950),), (), 0, 1, None), 1))
    assert world.label("A") == ("POLLED", "the key was taken back")


# --- against the local exchange --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    """The local exchange."""
    venue = Venue()
    yield venue
    venue.stop()


def test_nine_books_of_the_local_exchange_are_never_older_than_two_seconds(venue: Venue, settings: Settings) -> None:
    tickers = [venue.market() for _ in range(9)]
    rival = venue.client(venue.member())
    venue.order(rival, tickers[4], "bid", price="0.3300", count="7.00")
    settings.EXCHANGES = {"sandbox": Addresses("sandbox", venue.running.rest_url, venue.running.ws_url)}
    readings: dict[str, list[float]] = {ticker: [] for ticker in tickers}
    found: dict[str, Any] = {}
    done = threading.Event()

    def take(event: Any) -> None:
        if isinstance(event, feed.SnapshotReceived):
            found[event.message.ticker] = event.message
            readings[event.message.ticker].append(time.monotonic())
            if all(len(times) >= 4 for times in readings.values()):
                done.set()

    one = polled.open_feed("sandbox", on_event=take, why="no key")
    one.watch(tickers)
    one.start()
    assert done.wait(10)
    one.stop()

    gaps = [later - earlier for times in readings.values() for earlier, later in pairwise(times)]
    assert max(gaps) < 2.0
    assert (found[tickers[4]].bids, found[tickers[4]].asks) == (((3300, 700),), ())
