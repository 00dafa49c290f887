"""Live books against the exchange's own over REST: a lost change is found and healed, a moving book never accused."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest
import requests
from channels.layers import InMemoryChannelLayer

from markets import crosscheck
from markets.crosscheck import LEFT_OUT_SECONDS, CrossCheck, Window
from markets.intake import Intake
from markets.kalshi.errors import BadMessage, KalshiError, RateLimited, Rejected, Unavailable
from markets.kalshi.feed import FeedClient
from markets.kalshi.messages import OrderBookBody
from markets.kalshi.rest import RestClient
from markets.kalshi.signing import Signer, load_private_key
from markets.leadership import SoleRelay
from markets.livebook import Listing, Moment
from markets.relay import BookRelay
from markets.source import FASTEST_PER_SECOND, Pace
from tests.markets.playedfeed import PlayedFeed
from tests.markets.test_relay import until
from tests.trading.venue import Venue


class Floor:
    """A relay without its works, a feed by hand, and what REST shows."""

    def __init__(self, *tickers: str) -> None:
        self.now = Moment(1_000_000, 2_000_000)
        self.intake = Intake("sandbox", "e1")
        self.counts: Counter[str] = Counter()
        self.observe: Callable[[Any], None] | None = None
        self.feed = PlayedFeed(self.take)
        self.rest: dict[str, tuple[dict[int, int], dict[int, int]]] = {}
        self.read_when: list[list[str]] = []
        self.during: list[Callable[[], None]] = []  # played one by one, at each sleep of the check
        self.seconds = 1_000.0
        self.a_reading_takes = 0.1
        self.refused: dict[str, KalshiError] = {}  # what a call that names this market is answered
        self.pace = Pace(pause=lambda seconds: None)
        for ticker in tickers:
            self.intake.add(Listing(ticker), self.now)
        self.feed.connect()

    def take(self, event: Any) -> None:
        self.intake.take(event, self.now)
        if self.observe is not None:
            self.observe(event)

    def distrust(self, ticker: str, why: str) -> None:
        self.intake.distrust(ticker, why, self.now)

    def read(self, tickers: Sequence[str]) -> tuple[OrderBookBody, ...]:
        self.read_when.append(sorted(tickers))
        self.seconds += self.a_reading_takes
        for ticker in self.refused.keys() & set(tickers):
            raise self.refused[ticker]
        return tuple(
            OrderBookBody(
                ticker=ticker, bids=tuple(self.rest[ticker][0].items()), asks=tuple(self.rest[ticker][1].items())
            )
            for ticker in tickers
        )

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if self.during:
            self.during.pop(0)()
        await asyncio.sleep(0)

    def check(self) -> CrossCheck:
        return CrossCheck(
            self, self.read, pace=self.pace, sleep=self.sleep, clock=lambda: self.seconds, rng=random.Random(1)
        )

    def asked_for(self, ticker: str) -> int:
        return sum(ticker in asked for asked in self.read_when)

    def state(self, ticker: str = "A") -> str:
        return self.intake.books[ticker].label(self.now, self.intake.upstream).state


@pytest.fixture
def floor() -> Floor:
    floor = Floor("A", "B")
    floor.feed.snapshot("A", {4800: 1000, 4700: 500}, {5200: 300})
    floor.feed.snapshot("B", {100: 100}, {})
    floor.rest = {"A": ({4800: 1000, 4700: 500}, {5200: 300}), "B": ({100: 100}, {})}
    return floor


async def test_books_that_agree_stay_live(floor: Floor) -> None:
    assert await floor.check().check() == []
    assert (floor.state(), floor.counts) == ("LIVE", Counter(cross_checked=2))


@pytest.mark.parametrize(
    "shown",
    [
        ({4800: 900, 4700: 500}, {5200: 300}),
        ({4800: 1000}, {5200: 300}),
        ({4800: 1000, 4700: 500, 4600: 1}, {5200: 300}),
        ({4800: 1000, 4700: 500}, {}),
    ],
    ids=["another size", "a level less", "a level more", "a side less"],
)
async def test_a_difference_that_stays_is_told_and_a_snapshot_is_asked_for(floor: Floor, shown: Any) -> None:
    floor.rest["A"] = shown

    assert await floor.check().check() == ["A"]

    assert (floor.state("A"), floor.state("B"), floor.counts["mismatches"]) == ("STALE", "LIVE", 1)
    assert floor.intake.repairs(floor.now) == ["A"]
    assert floor.read_when == [["A", "B"], ["A"]]


async def test_a_difference_that_the_second_look_does_not_find_again_is_nothing(floor: Floor) -> None:
    floor.rest["A"] = ({4800: 900, 4700: 500}, {5200: 300})

    def catch_up() -> None:
        floor.rest["A"] = ({4800: 1000, 4700: 500}, {5200: 300})

    floor.during = [*[lambda: None] * 17, catch_up]

    assert await floor.check().check() == []
    assert (floor.state(), floor.counts["cross_check_suspicions"]) == ("LIVE", 1)


async def test_a_reading_that_is_ahead_of_the_stream_is_explained_when_the_stream_comes(floor: Floor) -> None:
    floor.rest["A"] = ({4800: 900, 4700: 500}, {5200: 300})
    floor.during = [lambda: None, lambda: None, lambda: floor.feed.delta("A", True, 4800, -100)]

    assert await floor.check().check() == []
    assert floor.counts["cross_check_suspicions"] == 0


async def test_a_reading_that_is_behind_the_stream_is_explained_by_what_was(floor: Floor) -> None:
    floor.during = [lambda: floor.feed.delta("A", True, 4800, -1000)]

    assert await floor.check().check() == []
    assert floor.counts["cross_check_suspicions"] == 0


async def test_a_book_that_was_replaced_meanwhile_proves_nothing(floor: Floor) -> None:
    floor.rest["A"] = ({4800: 900}, {})
    floor.during = [lambda: floor.feed.snapshot("A", {4800: 1000}, {})]

    assert await floor.check().check() == []


async def test_a_doubted_book_and_a_feed_that_is_down_are_not_checked(floor: Floor) -> None:
    floor.feed.gap(["A"])
    await floor.check().check()
    assert floor.read_when == [["B"]]

    floor.feed.disconnect()
    await floor.check().check()
    assert floor.read_when == [["B"]]


async def test_an_exchange_that_does_not_answer_accuses_nobody(floor: Floor) -> None:
    def read(tickers: Sequence[str]) -> tuple[OrderBookBody, ...]:
        raise Unavailable("no route")

    assert await CrossCheck(floor, read, sleep=floor.sleep).check() == []
    assert (floor.state(), floor.counts["cross_check_failures"], floor.observe) == ("LIVE", 1, None)


def crowd(number: int) -> Floor:
    """Return a floor of so many books that agree, M0 and on."""
    tickers = [f"M{one}" for one in range(number)]
    floor = Floor(*tickers)
    for ticker in tickers:
        floor.feed.snapshot(ticker, {100: 100}, {})
        floor.rest[ticker] = ({100: 100}, {})
    return floor


async def test_a_hundred_and_one_books_take_two_readings() -> None:
    floor = crowd(101)

    await floor.check().check()

    assert [len(asked) for asked in floor.read_when] == [100, 1]


async def test_two_thousand_books_are_each_checked_every_minute_though_some_of_them_move() -> None:
    floor = crowd(2_000)
    moving = [f"M{number}" for number in range(0, 2_000, 50)]
    for ticker in moving:
        floor.rest[ticker] = ({100: 100, 90: 700}, {})  # the stream never comes that far

    def move(change: int) -> None:
        for ticker in moving:
            floor.feed.delta(ticker, True, 90, change)

    floor.during = [lambda: move(+100), lambda: move(-100)] * 1_000
    running = asyncio.create_task(floor.check().run())
    began = floor.seconds

    await until(lambda: floor.seconds - began >= 605)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert min(floor.asked_for(f"M{number}") for number in range(2_000)) >= 9
    assert floor.asked_for("M1") <= 20, "nor more often than every half minute"


@pytest.mark.parametrize("error", [Rejected(404), Rejected(400), BadMessage("no book")], ids=["404", "400", "bad"])
async def test_a_market_that_spoils_its_call_is_singled_out_and_left_out_and_all_others_are_checked(
    error: KalshiError,
) -> None:
    floor = crowd(101)
    floor.refused["M7"] = error
    check = floor.check()

    await check.check()
    assert (floor.counts["cross_checked"], floor.counts["cross_check_left_out"]) == (100, 1)
    assert floor.read_when.count(["M7"]) == 1

    floor.read_when.clear()
    await check.check()
    assert (floor.counts["cross_checked"], floor.asked_for("M7")) == (200, 0)


async def test_a_market_that_was_left_out_is_tried_again_later() -> None:
    floor = crowd(3)
    floor.refused["M1"] = Rejected(404)
    check = floor.check()
    await check.check()
    del floor.refused["M1"]

    floor.seconds += LEFT_OUT_SECONDS
    floor.counts.clear()
    await check.check()

    assert floor.counts == Counter(cross_checked=3)


async def test_a_refusal_that_is_of_no_single_market_is_not_looked_into() -> None:
    floor = crowd(101)
    floor.refused["M7"] = Rejected(403)

    await floor.check().check()

    assert len(floor.read_when) == 2
    assert (floor.counts["cross_check_failures"], floor.counts["cross_check_left_out"]) == (1, 0)
    assert floor.counts["cross_checked"] in {1, 100}, "the other call's"


async def test_an_exchange_of_which_no_book_can_be_read_is_not_asked_for_each_of_them() -> None:
    floor = crowd(2_000)
    floor.refused = {ticker: BadMessage("another shape") for ticker in floor.rest}

    check = floor.check()

    await check.check()
    assert floor.counts["cross_check_left_out"] == 0, "that is not for single markets"
    assert len(floor.read_when) <= 40

    floor.refused = {}
    floor.read_when.clear()
    await check.check()
    assert len(floor.read_when) == 20, "all of them, a hundred at a time"


async def test_a_refusal_for_speed_slows_everybodys_pace_and_ends_the_look() -> None:
    floor = crowd(300)
    floor.refused = {ticker: RateLimited() for ticker in floor.rest}

    await floor.check().check()

    assert (floor.pace.per_second, len(floor.read_when)) == (FASTEST_PER_SECOND / 2, 1)


async def test_an_exchange_that_answers_slowly_is_not_read_beyond_the_time_of_a_look() -> None:
    floor = crowd(1_000)
    floor.a_reading_takes = 8.0
    check = floor.check()

    await check.check()
    assert len(floor.read_when) == 4, "25 seconds at 8 each"
    assert floor.counts["cross_checked"] == 400

    for _ in range(20):
        await check.check()
    assert min(map(floor.asked_for, floor.rest)) > 0, "none is last for ever"


class MovingFloor(Floor):
    """Two books that move all the time; REST shows them as they were or will be: at any lag of either side."""

    def __init__(self, seed: int) -> None:
        super().__init__("A")
        self.dice = random.Random(seed)
        self.true: dict[int, int] = dict.fromkeys(range(4000, 4100, 10), 1000)
        self.past: list[dict[int, int]] = [dict(self.true)]
        self.feed.snapshot("A", self.true, {})
        self.unheard: list[tuple[int, int]] = []

    async def sleep(self, seconds: float) -> None:
        for _ in range(self.dice.randrange(40)):
            self.move()
        # The stream is behind by some of the moves, at times by all.
        while self.unheard and self.dice.random() < 0.97:
            self.feed.delta("A", True, *self.unheard.pop(0))
        await asyncio.sleep(0)

    def move(self) -> None:
        price = self.dice.choice(list(range(4000, 4100, 10)))
        change = self.dice.choice([-100, 100, -self.true.get(price, 0)])
        if change == 0 or self.true.get(price, 0) + change < 0:
            return
        self.true[price] = self.true.get(price, 0) + change
        self.past.append(dict(self.true))
        self.unheard.append((price, change))

    def read(self, tickers: Sequence[str]) -> tuple[OrderBookBody, ...]:
        back = self.dice.randrange(min(30, len(self.past)))
        shown = {price: size for price, size in self.past[-1 - back].items() if size}
        return (OrderBookBody(ticker="A", bids=tuple(shown.items()), asks=()),)


@pytest.mark.parametrize("seed", range(60))
async def test_a_moving_book_is_never_accused(seed: int) -> None:
    floor = MovingFloor(seed)

    for _ in range(10):
        assert await floor.check().check() == []


@pytest.mark.parametrize("seed", range(20))
async def test_a_change_that_was_lost_in_a_moving_book_is_found(seed: int) -> None:
    floor = MovingFloor(seed)
    floor.intake.books["A"].book.bids[3990] = 700  # what the exchange never had, or took away unheard
    for _ in range(3):
        if "A" in await floor.check().check():
            return
    raise AssertionError("not found")


def test_a_window_holds_every_size_that_a_level_had(floor: Floor) -> None:
    window = Window(floor.intake.books["A"])
    floor.observe = lambda event: window.note(event)
    floor.feed.delta("A", True, 4800, 500)
    floor.feed.delta("A", True, 4800, -200)
    floor.feed.delta("A", False, 5300, 50)

    def shown(size: int) -> OrderBookBody:
        return OrderBookBody(ticker="A", bids=((4800, size), (4700, 500)), asks=((5200, 300),))

    assert [size for size in range(900, 1600, 100) if not window.unexplained(shown(size))] == [1000, 1300, 1500]
    assert window.unexplained(shown(1100)) == {(True, 4800): -200}
    assert window.suspicious(shown(1100)) == {}, "a level that moves is not held against us"


# --- the local exchange goes another way, and says nothing ------------------------------------------------


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    """The local exchange."""
    venue = Venue()
    yield venue
    venue.stop()


@pytest.fixture
async def following(venue: Venue) -> AsyncIterator[tuple[BookRelay, str]]:
    """A relay on the local exchange that follows one market."""
    ticker = venue.market()
    key_id, pem = venue.member()
    signer = Signer(key_id, load_private_key(pem))

    def make_feed(on_event: Callable[[Any], None]) -> FeedClient:
        return FeedClient(venue.running.ws_url, signer=signer, on_event=on_event, hosts={"127.0.0.1"})

    def look_up(tickers: Any, *, fresh: bool = False) -> dict[str, Listing | None]:
        return {ticker: Listing(ticker) for ticker in tickers}

    relay = BookRelay("sandbox", layer=InMemoryChannelLayer(), lease=SoleRelay(), make_feed=make_feed, look_up=look_up)
    running = asyncio.create_task(relay.run())
    relay.receive({"type": "relay.wish", "hub": "hub!1", "books": [ticker], "tops": [], "pace_ms": 40})
    await until(lambda: ticker in relay.intake.books and relay.intake.books[ticker].fault is None)
    yield relay, ticker
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_local_exchange_that_goes_another_way_in_silence_is_found_and_healed(
    venue: Venue, following: tuple[BookRelay, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crosscheck, "LEAD_SECONDS", 0.05)
    monkeypatch.setattr(crosscheck, "TRAIL_SECONDS", 0.3)
    monkeypatch.setattr(crosscheck, "STEP_SECONDS", 0.05)
    monkeypatch.setattr(crosscheck, "AGAIN_SECONDS", 0.05)
    relay, ticker = following
    live = relay.intake.books[ticker]
    rival = await asyncio.to_thread(venue.member)
    client = venue.client(rival)
    # A change that arrives in order, with its number, and says that nothing changed.
    fault = {
        "fault": "S7",
        "match": {"type": "orderbook_delta", "ticker": ticker},
        "params": {"kind": "zero"},
        "count": 1,
    }
    url = f"{venue.running.url}/__sandbox__/faults"
    (await asyncio.to_thread(requests.post, url, json=fault, timeout=5)).raise_for_status()
    before = live.up
    await asyncio.to_thread(lambda: venue.order(client, ticker, "bid", price="0.4000", count="9.00"))
    await until(lambda: live.up != before)
    assert (live.book.bids, live.fault) == ({}, None), "the book is wrong and nothing shows it"

    with RestClient(venue.running.rest_url) as reader:
        assert await CrossCheck(relay, reader.orderbooks).check() == [ticker]
        await until(lambda: live.fault is None and live.book.bids == {4000: 900})
        assert await CrossCheck(relay, reader.orderbooks).check() == []

    assert (relay.counts["mismatches"], relay.intake.counts["gaps"]) == (1, 0)
