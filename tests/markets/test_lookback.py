"""The book as it was: kept small for fifteen minutes, told to the page at any time, kept for good around fills."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer
from django.contrib.auth.models import User
from django.test import AsyncClient

from markets import lookback, views
from markets.hub import Hub
from markets.intake import Intake
from markets.kalshi import feed
from markets.leadership import SoleRelay
from markets.livebook import Listing, Moment
from markets.lookback import Keeper, Lookback
from markets.models import KeptLook
from markets.reels import KEPT_MS, MOST_BYTES, PIECE_MS, Reel, replay, unseal
from markets.relay import BookRelay
from tests import judges
from tests.markets.playedfeed import PlayedFeed
from tests.markets.retold import event_of
from tests.markets.test_relay import until
from trading import booking
from trading.models import Fill

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
        to_ms=T + 9_000,
        packed=msgspec.msgpack.encode(pieces),
        kept_at="2026-11-25T12:00:00Z",
    )

    found = await sync_to_async(lookback.kept)("sandbox", "A", from_ms=T + 500, to_ms=T + 5_000)

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
