"""The book as it was: kept small for fifteen minutes, told to the page at any time, kept for good around fills."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest
from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer
from django.contrib.auth.models import User
from django.test import AsyncClient

from markets import lookback, views
from markets.hub import Hub
from markets.leadership import SoleRelay
from markets.livebook import Listing
from markets.lookback import Keeper, Lookback, around
from markets.models import KeptLook
from markets.reels import Reel, replay
from markets.relay import BookRelay
from tests.markets.playedfeed import PlayedFeed
from tests.markets.test_relay import until
from trading import booking
from trading.models import Fill

LIVE = ("LIVE", "")
T = 1_795_356_000_000


# --- keeping ---------------------------------------------------------------------------------------------


class Reigning:
    """A relay that has one reel."""

    environment = "sandbox"

    def __init__(self) -> None:
        self.lease = SoleRelay()
        self.lookback = Lookback()
        self.lookback.reels["A"] = Reel()
        self.lookback.reels["A"].whole(T, LIVE, [(4800, 1000)], [])


@pytest.mark.django_db
def test_stretches_that_meet_become_one_row_and_repetitions_none() -> None:
    lookback.keep("sandbox", "A", from_ms=T, to_ms=T + 120_000)
    lookback.keep("sandbox", "A", from_ms=T + 30_000, to_ms=T + 150_000)
    lookback.keep("sandbox", "A", from_ms=T + 40_000, to_ms=T + 140_000)
    lookback.keep("sandbox", "B", from_ms=T, to_ms=T + 120_000)
    lookback.keep("demo", "A", from_ms=T, to_ms=T + 120_000)

    rows = KeptLook.objects.order_by("environment", "ticker").values_list("environment", "ticker", "from_ms", "to_ms")
    assert list(rows) == [
        ("demo", "A", T, T + 120_000),
        ("sandbox", "A", T, T + 150_000),
        ("sandbox", "B", T, T + 120_000),
    ]


@pytest.mark.django_db
def test_a_stretch_of_many_fills_is_cut_after_ten_minutes() -> None:
    for minute in range(20):
        lookback.keep("sandbox", "A", from_ms=T + 60_000 * minute, to_ms=T + 60_000 * (minute + 2))

    rows = list(KeptLook.objects.order_by("from_ms").values_list("from_ms", "to_ms"))
    assert 2 <= len(rows) <= 4
    assert all(to_ms - from_ms <= 600_000 for from_ms, to_ms in rows)
    assert (rows[0][0], rows[-1][1]) == (T, T + 60_000 * 21)


@pytest.mark.django_db
def test_around_a_fill_is_a_minute_before_and_after_and_long_ago_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookback, "wall_ms", lambda: T + 1_000)
    lookback.keep_around("sandbox", "A", first_ms=T, last_ms=T)
    lookback.keep_around("sandbox", "B", first_ms=T - 3_600_000, last_ms=T - 3_600_000)

    assert list(KeptLook.objects.values_list("ticker", "from_ms", "to_ms")) == [("A", T - 60_000, T + 60_000)]


@pytest.mark.django_db(transaction=True)
async def test_a_row_is_filled_once_its_stretch_has_passed_and_never_again() -> None:
    relay = Reigning()
    await sync_to_async(lookback.keep)("sandbox", "A", from_ms=T, to_ms=T + 120_000)

    assert await Keeper(relay).fill(T + 121_000) == 0
    assert await Keeper(relay).fill(T + 123_000) == 1
    assert await Keeper(relay).fill(T + 124_000) == 0

    row = await KeptLook.objects.aget()
    assert replay(row.pieces, T, T + 1_000)["book"]["bids"] == [(4800, 1000)]


@pytest.mark.django_db(transaction=True)
def test_a_row_that_became_longer_while_it_was_filled_is_filled_again() -> None:
    lookback.keep("sandbox", "A", from_ms=T, to_ms=T + 120_000)
    due = lookback._due("sandbox", T + 123_000)
    lookback.keep("sandbox", "A", from_ms=T + 63_000, to_ms=T + 183_000)

    lookback._fill([(row, []) for row in due])

    row = KeptLook.objects.get()
    assert (row.from_ms, row.to_ms, row.kept_at) == (T, T + 183_000, None)


@pytest.mark.django_db(transaction=True)
async def test_a_market_that_nobody_watched_is_kept_as_unknown() -> None:
    await sync_to_async(lookback.keep)("sandbox", "NONE", from_ms=T, to_ms=T + 120_000)

    assert await Keeper(Reigning()).fill(T + 123_000) == 1

    row = await KeptLook.objects.aget()
    assert (row.pieces, row.kept_at is None) == ([], False)


@pytest.mark.django_db
def test_the_minutes_around_the_desks_fills_are_kept(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    monkeypatch.setattr(lookback, "wall_ms", lambda: T + 5_000)
    at = [datetime.fromtimestamp((T + after) / 1000, UTC) for after in (0, 4_000)]
    fills = [Fill(ticker="A", traded_at=at[0]), Fill(ticker="A", traded_at=at[1]), Fill(ticker="B", traded_at=at[0])]

    with django_capture_on_commit_callbacks(execute=True):
        booking._keep_books("sandbox", fills)

    rows = KeptLook.objects.order_by("ticker").values_list("environment", "ticker", "from_ms", "to_ms")
    assert list(rows) == [
        ("sandbox", "A", T - 60_000, T + 64_000),
        ("sandbox", "B", T - 60_000, T + 60_000),
    ]


@pytest.mark.django_db(transaction=True)
async def test_a_market_in_which_only_an_order_rests_has_a_reel(desk: BookRelay) -> None:
    desk.broadcast.wishes.standing = frozenset({"A"})
    await until(lambda: "A" in desk.intake.books and desk._feed is not None)
    feed = cast("PlayedFeed", desk._feed)
    feed.connect()
    feed.snapshot("A", {4800: 1000}, {5200: 300})

    def bids() -> Any:
        now = desk._clock().wall
        book = replay(desk.lookback.pieces("A", now, now), now, now)["book"]
        return book and book["bids"]

    await until(lambda: "A" in desk.lookback.reels and bids() == [(4800, 1000)])
    assert desk.broadcast.wishes.hubs == {}


# --- what was kept ---------------------------------------------------------------------------------------


def kept_row(*, from_ms: int, to_ms: int, reel: Reel | None = None, ticker: str = "A", is_kept: bool = True) -> None:
    """Store a stretch that was kept, or is to be."""
    pieces = reel.pieces(from_ms, to_ms, to_ms) if reel else []
    KeptLook.objects.create(
        environment="sandbox",
        ticker=ticker,
        from_ms=from_ms,
        to_ms=to_ms,
        packed=msgspec.msgpack.encode(pieces),
        kept_at=datetime.fromtimestamp(to_ms / 1000, UTC) if is_kept else None,
    )


def test_around_fills_are_the_minutes_that_meet_as_one_stretch_and_none_is_too_long() -> None:
    minutes = (0, 1, 3, 6, 7)  # before the fourth is a minute that belongs to none

    assert [(found.from_ms, found.to_ms) for found in around(60_000 * minute for minute in minutes)] == [
        (-60_000, 240_000),
        (300_000, 480_000),
    ]
    assert [(found.from_ms, found.to_ms) for found in around(60_000 * minute for minute in range(11))] == [
        (-60_000, 540_000),
        (480_000, 660_000),
    ]
    assert around([]) == []


@pytest.mark.django_db
def test_what_was_kept_around_fills_is_told_as_the_door_of_all_tells_what_it_knows() -> None:
    reel = Reel()
    reel.whole(T - 60_000, LIVE, [(4800, 1000)], [(5200, 300)])
    reel.changes(T - 1_000, [(4800, 400)], [])
    kept_row(from_ms=T - 60_000, to_ms=T + 60_000, reel=reel)

    assert lookback.kept("sandbox", "A", times_ms=[T]) == {
        "stretches": [
            {
                "env": "sandbox",
                "m": "A",
                "from": T - 60_000,
                "to": T + 60_000,
                "covered": [[T - 60_000, T + 60_000]],
                "book": {"at": T - 60_000, "state": "LIVE", "why": "", "bids": [(4800, 1000)], "asks": [(5200, 300)]},
                "frames": [{"at": T - 1_000, "b": [(4800, 400)], "a": []}],
                "missing": None,
            }
        ],
        "next": None,
    }


@pytest.mark.django_db
def test_what_is_missing_is_said_in_a_sentence() -> None:
    half = Reel()
    half.whole(T, LIVE, [(4800, 1000)], [])
    kept_row(ticker="HALF", from_ms=T - 60_000, to_ms=T + 60_000, reel=half)
    kept_row(ticker="UNWATCHED", from_ms=T - 60_000, to_ms=T + 60_000)
    kept_row(ticker="WAITING", from_ms=T - 60_000, to_ms=T + 60_000, is_kept=False)

    def missing(ticker: str) -> tuple[Any, Any]:
        [found] = lookback.kept("sandbox", ticker, times_ms=[T])["stretches"]
        return found["covered"], found["missing"]

    assert missing("HALF") == ([[T, T + 60_000]], "Nobody watched this market for a part of the time.")
    assert missing("UNWATCHED") == ([], "Nobody watched this market then: nothing is known of its book.")
    assert missing("WAITING") == ([], "Not kept yet: the minutes around a fill are kept when they have passed.")
    assert missing("LATE") == ([], "Nothing was kept: the desk heard of the fill long after it.")


@pytest.mark.django_db
def test_what_was_kept_for_another_fill_nearby_is_not_told_of() -> None:
    reel = Reel()
    reel.whole(T, LIVE, [(4800, 1000)], [])
    kept_row(from_ms=T, to_ms=T + 120_000, reel=reel)

    [found] = lookback.kept("sandbox", "A", times_ms=[T + 30_000])["stretches"]

    assert (found["covered"], found["book"], found["frames"]) == ([], None, [])


@pytest.mark.django_db
def test_no_more_than_fifteen_minutes_are_told_at_once_and_where_they_go_on() -> None:
    hourly = [T + 3_600_000 * hour for hour in range(10)]

    found = lookback.kept("sandbox", "A", times_ms=hourly)
    assert [stretch["from"] + 60_000 for stretch in found["stretches"]] == hourly[:7], "of two minutes each"
    assert found["next"] == hourly[7]

    rest = lookback.kept("sandbox", "A", times_ms=hourly[7:])
    assert (len(rest["stretches"]), rest["next"]) == (3, None)


# --- the door --------------------------------------------------------------------------------------------


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BookRelay]:
    """A relay with a reel and the web process's hub, joined by a layer."""
    layer = InMemoryChannelLayer()
    relay = BookRelay(
        "sandbox",
        layer=layer,
        lease=SoleRelay(),
        make_feed=PlayedFeed,
        look_up=lambda tickers, fresh=False: {ticker: Listing(ticker) for ticker in tickers},
    )
    hub = Hub(layer)
    monkeypatch.setattr(views, "get_hub", lambda: hub)
    running = asyncio.create_task(relay.run())
    hub.start()
    await until(lambda: relay.lease.is_held and relay.line.joined.is_set() and hub.line.joined.is_set())
    yield relay
    await hub.stop()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def client(db: None) -> AsyncClient:
    client = AsyncClient()
    await client.aforce_login(await User.objects.acreate(username="alice"))
    return client


class SlowReplay:
    """A replay that ends when it may."""

    def __init__(self) -> None:
        self.is_begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, *stretch: Any) -> dict[str, Any]:
        self.is_begun.set()
        assert self.may_end.wait(10)
        return replay(*stretch)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowReplay]:
    slow = SlowReplay()
    monkeypatch.setattr(lookback, "replay", slow)
    yield slow
    slow.may_end.set()


def url(ticker: str = "A", **query: Any) -> str:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return f"/x/sandbox/markets/{ticker}/lookback.json?{asked}".replace("since=", "from=").replace("until=", "to=")


@pytest.mark.django_db(transaction=True)
async def test_the_door_tells_the_book_as_it_was(desk: BookRelay, client: AsyncClient) -> None:
    reel = desk.lookback.reels.setdefault("A", Reel())
    reel.whole(T, LIVE, [(4800, 1000)], [(5200, 300)])
    reel.changes(T + 1_000, [(4800, 0)], [])

    answer = await client.get(url(since=T + 500, until=T + 5_000))

    assert answer.status_code == 200
    assert json.loads(answer.content) == {
        "env": "sandbox",
        "m": "A",
        "from": T + 500,
        "to": T + 5_000,
        "covered": [[T + 500, T + 5_000]],
        "book": {"at": T + 500, "state": "LIVE", "why": "", "bids": [[4800, 1000]], "asks": [[5200, 300]]},
        "frames": [{"at": T + 1_000, "b": [[4800, 0]], "a": []}],
    }


@pytest.mark.django_db(transaction=True)
async def test_a_long_look_back_does_not_hold_up_the_loop_of_the_web_process(
    desk: BookRelay, client: AsyncClient, slow: SlowReplay
) -> None:
    desk.lookback.reels.setdefault("A", Reel()).whole(T, LIVE, [(4800, 1000)], [])
    asked = asyncio.create_task(client.get(url(since=T, until=T + 1_000)))
    await until(slow.is_begun.is_set)
    slow.may_end.set()

    assert (await asked).status_code == 200


@pytest.mark.django_db(transaction=True)
async def test_only_so_many_look_back_at_once(
    desk: BookRelay, client: AsyncClient, slow: SlowReplay, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.lookback.reels.setdefault("A", Reel()).whole(T, LIVE, [(4800, 1000)], [])
    monkeypatch.setattr(lookback, "REPLAYS_MOST", 1)
    asked = asyncio.create_task(client.get(url(since=T, until=T + 1_000)))
    await until(slow.is_begun.is_set)

    refused = await client.get(url(since=T, until=T + 1_000))
    slow.may_end.set()

    assert (refused.status_code, json.loads(refused.content)["error"]["code"]) == (503, "TOO_MANY")
    assert (await asked).status_code == 200
    assert (await client.get(url(since=T, until=T + 1_000))).status_code == 200


@pytest.mark.django_db(transaction=True)
async def test_what_was_kept_is_for_whose_fills_they_were_and_for_no_door_of_all(
    desk: BookRelay, client: AsyncClient
) -> None:
    reel = Reel()
    reel.whole(T, LIVE, [(4700, 900)], [])
    pieces = reel.pieces(T, T + 9_000, T + 9_000)
    await KeptLook.objects.acreate(
        environment="sandbox",
        ticker="A",
        from_ms=T,
        to_ms=T + 120_500,
        packed=msgspec.msgpack.encode(pieces),
        kept_at="2026-11-25T12:00:00Z",
    )

    [found] = (await sync_to_async(lookback.kept)("sandbox", "A", times_ms=[T + 60_500]))["stretches"]

    assert found["book"]["bids"] == [(4700, 900)]
    assert (await client.get(url(since=T + 500, until=T + 5_000))).status_code == 404


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"since": T, "until": T + 1_000}, 404),
        ({"since": "x", "until": T}, 400),
        ({"since": T}, 400),
        ({"since": T + 1, "until": T}, 400),
        ({"since": T, "until": T + 900_001}, 400),
        ({"since": 10**30, "until": 10**30}, 400),
    ],
)
async def test_a_stretch_of_which_nothing_is_known_or_that_is_none_is_refused(
    desk: BookRelay, client: AsyncClient, query: dict[str, Any], status: int
) -> None:
    assert (await client.get(url(**query))).status_code == status


@pytest.mark.django_db(transaction=True)
async def test_a_stranger_is_sent_to_the_log_in(desk: BookRelay) -> None:
    assert (await AsyncClient().get(url(since=T, until=T + 1_000))).status_code == 302


@pytest.mark.django_db(transaction=True)
async def test_a_relay_that_does_not_answer_is_not_waited_for_long(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookback, "PATIENCE_SECONDS", 0.05)
    hub = Hub(InMemoryChannelLayer())
    monkeypatch.setattr(views, "get_hub", lambda: hub)

    assert (await client.get(url(since=T, until=T + 1_000))).status_code == 404
