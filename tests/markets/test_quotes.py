"""Quotes of markets that nobody watches: written in batches, read by anybody, each with its own age."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from pytest_django.fixtures import Settings

from markets import quotes
from markets.kalshi import feed
from markets.kalshi.feed import FeedClient
from markets.kalshi.messages import Channel, TickerTick
from markets.kalshi.signing import Signer, load_private_key
from markets.quotes import Quote, QuoteBoard
from tests.kalshiweb.valkeys import RunningValkey
from tests.trading.venue import Venue

QUOTES: tuple[Channel, ...] = ("ticker",)
DAY_MS = 24 * 3_600_000


def tick(ticker: str, bid: int | None = 4800, ask: int | None = 5000) -> TickerTick:
    return TickerTick(ticker, 4900, bid, ask, 6600, 6550, 3_390_600, 2_043_200, 1_795_356_000_004)


@pytest.fixture
def valkey(shared_valkey: RunningValkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(shared_valkey.url) as client:
        yield client


class Clock:
    ms = 5_000_000_000_000

    def __call__(self) -> int:
        return self.ms


def test_a_quote_is_read_as_it_came_with_its_age(valkey: redis.Redis) -> None:
    clock = Clock()
    board = QuoteBoard("production", store=valkey, clock=clock)
    board.note(tick("A"))
    clock.ms += 700
    board.note(tick("B", bid=None, ask=5200))

    assert board.flush() == 2

    found = quotes.read_many("production", ["A", "B", "NONE"], store=valkey)
    ts, first = 1_795_356_000_004, 5_000_000_000_000
    assert found == {
        "A": Quote(4800, 6600, 5000, 6550, 4900, 3_390_600, 2_043_200, ts, first),
        "B": Quote(None, 6600, 5200, 6550, 4900, 3_390_600, 2_043_200, ts, first + 700),
    }
    assert (found["A"].age_ms(first + 3_000), found["B"].age_ms(first + 3_000)) == (3_000, 2_300)


def test_environments_do_not_meet(valkey: redis.Redis) -> None:
    board = QuoteBoard("demo", store=valkey)
    board.note(tick("A"))
    board.flush()

    assert quotes.read_many("production", ["A"], store=valkey) == {}


def test_of_two_frames_of_a_market_the_newer_is_written_once(valkey: redis.Redis) -> None:
    board = QuoteBoard("demo", store=valkey)
    board.note(tick("A", bid=100))
    board.note(tick("A", bid=200))

    assert (board.flush(), board.flush()) == (1, 0)
    assert quotes.read_many("demo", ["A"], store=valkey)["A"].bid == 200


def test_what_a_store_that_is_away_missed_is_written_when_it_is_back(own_valkey: RunningValkey) -> None:
    client = redis.Redis.from_url(own_valkey.url)
    board = QuoteBoard("demo", store=client)
    board.note(tick("A", bid=100))
    board.note(tick("B", bid=100))
    own_valkey.kill()
    with pytest.raises((redis.RedisError, OSError)):
        board.flush()
    assert quotes.read_many("demo", ["A"], store=client) == {}
    board.note(tick("A", bid=300))

    own_valkey.start()
    board.flush()

    assert {t: q.bid for t, q in quotes.read_many("demo", ["A", "B"], store=client).items()} == {"A": 300, "B": 100}
    client.close()


def test_a_market_that_nobody_spoke_of_for_a_day_is_forgotten(valkey: redis.Redis) -> None:
    clock = Clock()
    board = QuoteBoard("demo", store=valkey, clock=clock)
    board.note(tick("OLD"))
    board.flush()
    clock.ms += DAY_MS
    board.note(tick("NEW"))
    board.flush()

    assert quotes.sweep("demo", store=valkey, now_ms=clock.ms + 1) == 1
    assert [ticker for ticker, _ in quotes.read_all("demo", store=valkey)] == ["NEW"]


def test_who_asks_without_a_store_gets_nothing_and_no_error(settings: Settings) -> None:
    settings.REDIS_URL = "unix:///nowhere/valkey.sock"

    assert quotes.read_many("demo", ["A"]) == {}


class CountedStore:
    """Counts round trips."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def hset(self, key: str, *, mapping: dict[str, bytes]) -> None:
        self.sizes.append(len(mapping))


async def test_writes_are_at_most_five_a_second_however_much_comes() -> None:
    store: Any = CountedStore()
    board = QuoteBoard("demo", store=store)
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        for number in range(400):  # 2,000 frames a second
            board.note(tick(f"M{number}"))
        if len(naps) == 10:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await board.run(sleep=nap)

    assert naps == [0.2] * 10
    assert store.sizes == [400] * 9


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    """The local exchange."""
    venue = Venue()
    yield venue
    venue.stop()


def test_the_local_exchange_tells_of_markets_that_nobody_asked_for(venue: Venue) -> None:
    board = QuoteBoard("sandbox", store=CountedStore())  # type: ignore[arg-type]
    heard = threading.Event()
    ticker = venue.market()
    rival = venue.client(venue.member())

    def take(event: Any) -> None:
        if isinstance(event, feed.TickerReceived) and event.message.ticker == ticker:
            board.note(event.message)
            heard.set()

    key_id, pem = venue.member()
    client = FeedClient(
        venue.running.ws_url,
        signer=Signer(key_id, load_private_key(pem)),
        on_event=take,
        channels=QUOTES,
        hosts={"127.0.0.1"},
    )
    client.start()
    for cents in range(30, 60):
        venue.order(rival, ticker, "bid", price=f"0.{cents}00", count="2.00")
        if heard.wait(0.5):
            break
    client.stop()

    assert heard.is_set()
    assert board.flush() == 1


@pytest.mark.long
def test_ten_thousand_markets_at_two_thousand_frames_a_second_cost_little(
    valkey: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    frames: Callable[[int], TickerTick] = lambda n: tick(f"KXSERIES-26NOV25-M{n % 10_000:05d}", bid=n % 9_000 + 1)  # noqa: E731
    board = QuoteBoard("production", store=valkey)
    seconds, total = 10, 0
    began, cpu = time.monotonic(), time.process_time()
    for _ in range(seconds * 5):
        for _ in range(400):
            board.note(frames(total))
            total += 1
        board.flush()
    spent, took = time.process_time() - cpu, time.monotonic() - began
    began_read = time.monotonic()
    found = quotes.read_many("production", [f"KXSERIES-26NOV25-M{n:05d}" for n in range(500)], store=valkey)
    read_ms = (time.monotonic() - began_read) * 1000
    size = valkey.memory_usage("kalshiweb:quotes:production") or 0
    with capsys.disabled():
        sys.stdout.write(
            f"\nquotes: {total:,} frames of 10,000 markets, {100 * spent / seconds:.1f} % of a core at 2,000/s "
            f"({took:.2f} s of work), 500 read in {read_ms:.1f} ms, {size / 10_000:.0f} bytes a market\n"
        )

    assert len(found) == 500
    assert spent / seconds < 0.05
