"""The process that owns the books: wishes in, feed asked, a message per hub and tick out, and only while it reigns."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from markets import relay
from markets.events import relay_group
from markets.kalshi.feed import LifecycleReceived
from markets.kalshi.messages import Lifecycle
from markets.leadership import Leadership, SoleRelay
from markets.livebook import Listing, Moment
from markets.pace import USUAL_MS
from markets.relay import DESCRIBE_AGAIN_MS, BookRelay, NoFeed, rest_after
from markets.repairs import READING_LAG_MS
from markets.tops import Top
from markets.wishes import LEASE_MS, LINGER_MS
from tests.kalshiweb.valkeys import RunningValkey
from tests.markets.conftest import layer_on
from tests.markets.playedfeed import PlayedFeed


async def until(condition: Callable[[], Any], *, seconds: float = 10) -> None:
    """Let the loop and its threads run until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


class World:
    """Everything around a relay: the time, the catalogue, the feeds it made, the tops it wrote, one hub."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.now = Moment(1_000_000, 2_000_000)
        self.feeds: list[PlayedFeed] = []
        self.no_feed: str | None = None
        self.listings: dict[str, Listing | None] = {"A": Listing("A"), "B": Listing("B"), "NONE": None}
        self.uncatalogued = {"NONE", "NEW"}  # only the exchange can tell of them
        self.exchange_answers = threading.Event()
        self.exchange_answers.set()
        self.catalogue_answers = threading.Event()
        self.catalogue_answers.set()
        self.looked_up: list[tuple[list[str], bool]] = []
        self.written: dict[str, Top] = {}
        self.hub = ""

    def relay(self, lease: Any) -> BookRelay:
        return BookRelay(
            "sandbox",
            layer=self.layer,
            lease=lease,
            make_feed=self._make_feed,
            look_up=self._look_up,
            clock=lambda: self.now,
            write_tops=self.written.update,
        )

    def _make_feed(self, on_event: Callable[[Any], None]) -> PlayedFeed:
        if self.no_feed is not None:
            raise NoFeed(self.no_feed)
        self.feeds.append(PlayedFeed(on_event))
        return self.feeds[-1]

    def _look_up(self, tickers: Iterable[str], *, fresh: bool = False) -> dict[str, Listing | None]:
        wanted = list(tickers)
        self.looked_up.append((wanted, fresh))
        assert (self.exchange_answers if fresh else self.catalogue_answers).wait(10)
        known = self.listings.keys() - (set() if fresh else self.uncatalogued)
        return {ticker: self.listings[ticker] for ticker in wanted if ticker in known}

    def wait(self, ms: int) -> None:
        self.now = Moment(self.now.mono + ms, self.now.wall + ms)

    def wish(self, *books: str) -> dict[str, Any]:
        return {"type": "relay.wish", "hub": self.hub, "books": books, "tops": [], "pace_ms": 40}

    async def hear(self, kind: str) -> dict[str, Any]:
        """Return the next frame of a kind that reaches the hub."""
        async with asyncio.timeout(10):
            while True:
                message = await self.layer.receive(self.hub)
                for _, _, _, encoded in message["frames"]:
                    frame: dict[str, Any] = json.loads(encoded)
                    if frame["t"] == kind:
                        return frame
                if kind == "beat" and message["beat"]:
                    return dict(message["beat"]) | {"fence": message["fence"]}


@pytest.fixture
async def world() -> World:
    world = World(InMemoryChannelLayer())
    world.hub = await world.layer.new_channel("hub")
    return world


@pytest.fixture
async def idle(world: World) -> AsyncIterator[BookRelay]:
    """A relay that holds the lease and has a feed, whose works the test does by hand."""
    one = world.relay(SoleRelay())
    await one.lease.renew()
    one._begin_epoch()
    assert await one._make_and_start()
    yield one
    await one._drop_feed()


async def follow(one: BookRelay, world: World, *tickers: str) -> None:
    one.receive(world.wish(*tickers))
    await one.follow_wishes()
    await one.ask_about_markets()


@pytest.fixture
async def run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[BookRelay], asyncio.Task[None]]]:
    """Return a function that runs a relay until the test ends; it notices and tries again quickly."""
    monkeypatch.setattr(relay, "RENEW_SECONDS", 0.02)
    monkeypatch.setattr(relay, "STAND_BY_SECONDS", 0.02)
    monkeypatch.setattr(relay, "FEED_AGAIN_SECONDS", 0.02)
    tasks: list[asyncio.Task[None]] = []

    def start(one: BookRelay) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(one.run()))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_wanted_market_is_looked_up_and_subscribed(idle: BookRelay, world: World) -> None:
    await follow(idle, world, "A")

    assert world.looked_up[0] == (["A"], False)
    await until(lambda: world.feeds[0].asked == [("watch", ["A"])])
    assert world.feeds[0].is_running


async def test_what_the_feed_says_reaches_the_hub_as_frames(idle: BookRelay, world: World) -> None:
    await follow(idle, world, "A")
    world.feeds[0].connect()
    world.feeds[0].snapshot("A", {4800: 100}, {5200: 300})
    await until(lambda: idle.intake.counts["snapshots"] == 1)
    await idle.publish()
    book = await world.hear("book")
    world.wait(USUAL_MS)
    world.feeds[0].delta("A", True, 4800, -40)
    await until(lambda: idle.intake.counts["deltas"] == 1)
    await idle.publish()
    delta = await world.hear("delta")

    assert (book["bids"], book["asks"], book["state"], book["n"]) == ([[4800, 100]], [[5200, 300]], "LIVE", 1)
    assert (delta["b"], delta["n"], delta["e"]) == ([[4800, 60]], 2, book["e"])


async def test_a_market_that_does_not_exist_is_refused_and_not_asked_for_again_for_a_while(
    idle: BookRelay, world: World
) -> None:
    await follow(idle, world, "NONE")
    await idle.publish()
    assert (await world.hear("error"))["code"] == "UNKNOWN_MARKET"
    world.looked_up.clear()

    world.wait(29_999)
    await follow(idle, world, "NONE")
    assert world.looked_up == []
    world.wait(1)
    await follow(idle, world, "NONE")
    assert world.looked_up == [(["NONE"], True)]


async def test_a_market_that_appears_comes_to_those_who_were_refused_it(idle: BookRelay, world: World) -> None:
    await follow(idle, world, "NONE")
    world.listings["NONE"] = Listing("NONE")

    world.wait(30_000)
    await follow(idle, world, "NONE")
    await idle.publish()

    assert (await world.hear("book"))["m"] == "NONE"
    await until(lambda: ("watch", ["NONE"]) in world.feeds[0].asked)


async def test_a_market_that_the_exchange_announces_is_asked_for_at_once_and_until_it_is_shown(
    idle: BookRelay, world: World
) -> None:
    await follow(idle, world, "NONE")
    world.looked_up.clear()
    world.wait(1_000)

    idle.take(LifecycleReceived(Lifecycle("NONE", "created"), 1))
    assert idle._is_asking_due.is_set()
    await idle.ask_about_markets()
    assert world.looked_up == [(["NONE"], True)]
    world.listings["NONE"] = Listing("NONE")
    world.wait(2_000)
    await idle.ask_about_markets()

    assert set(idle.intake.books) == {"NONE"}


async def test_what_happens_to_a_market_that_nobody_wants_asks_nothing(idle: BookRelay, world: World) -> None:
    idle.take(LifecycleReceived(Lifecycle("NONE", "created"), 1))

    assert not idle._is_asking_due.is_set()


async def test_fifty_unknown_markets_are_one_question_and_hold_up_no_known_one(idle: BookRelay, world: World) -> None:
    nowhere = [f"NONE-{number:02}" for number in range(50)]
    world.uncatalogued.update(nowhere)
    world.listings.update(dict.fromkeys(nowhere))
    world.exchange_answers.clear()

    idle.receive(world.wish("A", *nowhere))
    await idle.follow_wishes()
    assert set(idle.intake.books) == {"A"}
    asking = asyncio.create_task(idle.ask_about_markets())
    await until(lambda: (nowhere, True) in world.looked_up)
    idle.receive(world.wish("A", "B", *nowhere))
    await idle.follow_wishes()
    assert set(idle.intake.books) == {"A", "B"}, "while the exchange is still silent"
    world.exchange_answers.set()
    await asking

    assert [asked for asked, fresh in world.looked_up if fresh] == [nowhere]


async def test_a_running_relay_asks_for_unknown_markets_beside_the_known_ones(world: World, run: Any) -> None:
    world.exchange_answers.clear()
    one = world.relay(SoleRelay())
    run(one)
    await until(lambda: world.feeds and one.line.joined.is_set())
    await world.layer.group_send(relay_group("sandbox"), world.wish("NONE"))
    await until(lambda: (["NONE"], True) in world.looked_up)

    await world.layer.group_send(relay_group("sandbox"), world.wish("NONE", "A"))
    await until(lambda: world.feeds[0].watched == {"A"})
    world.exchange_answers.set()

    world.wait(1_000)
    assert (await world.hear("error"))["m"] == "NONE"


async def test_a_market_found_meanwhile_keeps_its_book(idle: BookRelay, world: World) -> None:
    await follow(idle, world, "A")
    book = idle.intake.books["A"]

    idle._add({"A": Listing("A")})

    assert idle.intake.books["A"] is book


async def test_a_market_that_the_exchange_names_while_the_catalogue_is_asked_again_is_asked_for_no_more(
    idle: BookRelay, world: World
) -> None:
    world.listings["NEW"] = Listing("NEW")
    idle.receive(world.wish("NEW"))
    await idle.follow_wishes()
    world.exchange_answers.clear()
    asking = asyncio.create_task(idle.ask_about_markets())
    await until(lambda: (["NEW"], True) in world.looked_up)
    idle.receive(world.wish())  # its only page is loaded again
    await idle.follow_wishes()
    idle.receive(world.wish("NEW"))
    world.catalogue_answers.clear()
    following = asyncio.create_task(idle.follow_wishes())
    await until(lambda: world.looked_up.count((["NEW"], False)) == 2)
    world.exchange_answers.set()
    await until(lambda: "NEW" in idle.intake.books)
    world.catalogue_answers.set()
    await following
    await asyncio.wait_for(asking, 1)
    world.looked_up.clear()

    await asyncio.wait_for(idle.ask_about_markets(), 1)

    assert world.looked_up == []
    assert "NEW" not in idle._unknown


@pytest.mark.parametrize("answer", [{"NEW": None}, {}], ids=["a late no", "no answer"])
async def test_what_the_exchange_says_of_a_market_that_the_catalogue_has_by_then_changes_nothing(
    idle: BookRelay, world: World, answer: dict[str, Listing | None]
) -> None:
    world.listings |= answer
    idle.receive(world.wish("NEW"))
    await idle.follow_wishes()
    world.exchange_answers.clear()
    asking = asyncio.create_task(idle.ask_about_markets())
    await until(lambda: (["NEW"], True) in world.looked_up)
    idle._add({"NEW": Listing("NEW")})
    world.exchange_answers.set()
    await asking
    await idle.publish()

    assert "NEW" not in idle._unknown
    kinds = [kind for kind, *_ in (await world.layer.receive(world.hub))["frames"]]
    assert "error" not in kinds


async def test_a_market_that_the_catalogue_lacks_is_described_again_by_the_exchange(
    idle: BookRelay, world: World
) -> None:
    world.listings["NEW"] = Listing("NEW")
    await follow(idle, world, "A", "NEW")
    world.looked_up.clear()
    world.wait(DESCRIBE_AGAIN_MS)
    await idle.ask_about_markets()

    assert world.looked_up == [(["A", "NEW"], False), (["NEW"], True)]


async def test_a_market_that_could_not_be_asked_for_is_asked_for_again(idle: BookRelay, world: World) -> None:
    await follow(idle, world, "C")
    assert idle.intake.books == {}
    world.listings["C"] = Listing("C")

    world.wait(2_000)
    await idle.ask_about_markets()

    assert set(idle.intake.books) == {"C"}


async def test_a_market_that_nobody_wants_any_more_is_let_go_after_a_while(idle: BookRelay, world: World) -> None:
    await follow(idle, world, "A", "B")
    await follow(idle, world, "A")
    world.wait(LEASE_MS // 2)
    await follow(idle, world, "A")
    world.wait(LINGER_MS)
    await follow(idle, world, "A")

    assert set(idle.intake.books) == {"A"}
    await until(lambda: ("unwatch", ["B"]) in world.feeds[0].asked)


async def test_markets_are_described_again_now_and_then(idle: BookRelay, world: World) -> None:
    await follow(idle, world, "A")
    world.listings["A"] = Listing("A", status="inactive", as_of_ms=world.now.wall)
    world.wait(DESCRIBE_AGAIN_MS)
    await follow(idle, world, "A")

    assert idle.intake.books["A"].listing.status == "inactive"


async def test_a_price_off_the_grid_has_the_exchange_asked_for_the_grid(idle: BookRelay, world: World) -> None:
    world.listings["A"] = Listing("A", bands=((0, 10_000, 100),))
    await follow(idle, world, "A")
    world.feeds[0].connect()
    world.feeds[0].snapshot("A", {4850: 100}, {})
    await until(lambda: idle.intake.counts["off_grid"] == 1)
    world.listings["A"] = Listing("A", bands=((0, 10_000, 50),), as_of_ms=world.now.wall)

    await idle.ask_about_markets()

    assert (["A"], True) in world.looked_up
    assert idle.intake.books["A"].listing.bands == ((0, 10_000, 50),)


async def test_after_an_outage_markets_are_described_until_an_answer_is_certainly_of_later(
    idle: BookRelay, world: World
) -> None:
    await follow(idle, world, "A")
    world.feeds[0].connect()
    await until(lambda: "A" in idle.intake.descriptions)
    idle.look()
    assert idle._is_asking_due.is_set()
    world.listings["A"] = Listing("A", status="inactive", as_of_ms=world.now.wall)

    await idle.ask_about_markets()
    assert idle.intake.books["A"].listing.status == "inactive"
    assert "A" in idle.intake.descriptions, "the exchange's reading side may lag behind"

    world.wait(READING_LAG_MS)
    world.listings["A"] = Listing("A", status="active", as_of_ms=world.now.wall)
    await idle.ask_about_markets()
    assert idle.intake.books["A"].listing.status == "active"
    assert "A" not in idle.intake.descriptions


async def test_a_doubted_book_is_asked_for_again(idle: BookRelay, world: World) -> None:
    await follow(idle, world, "A")
    world.feeds[0].connect()
    world.feeds[0].snapshot("A", {4800: 100}, {})
    world.feeds[0].delta("A", True, 4800, -101)
    await until(lambda: idle.intake.counts["negative"] == 1)

    idle.look()

    await until(lambda: ("resync", ["A"]) in world.feeds[0].asked)


async def test_who_does_not_hold_the_lease_publishes_nothing(idle: BookRelay, world: World) -> None:
    await follow(idle, world, "A")
    await idle.lease.release()

    await idle.publish()

    assert idle.counts["messages"] == 0


async def test_who_loses_the_lease_between_two_messages_sends_no_more_of_them(world: World) -> None:
    lease = SoleRelay()

    class SlowLayer(InMemoryChannelLayer):  # type: ignore[misc]
        """It takes so long over a message that the lease is gone by then."""

        async def send(self, channel: str, message: dict[str, Any]) -> None:
            await lease.release()

    world.layer = SlowLayer()
    one = world.relay(lease)
    await lease.renew()
    for hub in ("hub!1", "hub!2"):
        one.receive(world.wish("A") | {"hub": hub})

    await one.publish()

    assert one.counts["messages"] == 1


async def test_who_stands_by_knows_the_hubs_that_live_and_keeps_no_question(idle: BookRelay, world: World) -> None:
    await idle.lease.release()
    for number in range(20):
        hub = {"hub": f"hub!{number}"}
        idle.receive(world.wish("A") | {"tops": ["B"]} | hub)
        idle.receive({"type": "relay.ask", "tickers": ["A"]} | hub)
        idle.receive({"type": "relay.trades", "wanted": [["A", 0]]} | hub)
        world.wait(LEASE_MS // 2)

    assert set(idle.broadcast.wishes.hubs) == {"hub!18", "hub!19"}
    broadcast = idle.broadcast
    assert (broadcast._asked, broadcast._trades_asked, broadcast._tops_owed) == ({}, {}, {})


async def test_who_takes_over_follows_what_was_wished_before_and_answers_what_is_asked_again(
    idle: BookRelay, world: World
) -> None:
    question = {"type": "relay.ask", "hub": world.hub, "tickers": ["A"]}
    await idle.lease.release()
    idle.receive(world.wish("A"))
    idle.receive(question)

    await idle.lease.renew()
    idle._begin_epoch()
    await idle.follow_wishes()
    assert set(idle.intake.books) == {"A"}
    await idle.publish()
    assert (await world.hear("book"))["m"] == "A"
    world.wait(USUAL_MS)
    idle.receive(question)
    await idle.publish()

    assert (await world.hear("book"))["m"] == "A"


async def test_a_message_that_could_not_be_handed_over_is_counted(idle: BookRelay, world: World) -> None:
    await follow(idle, world, "A")
    world.layer.capacity = 1
    for _ in range(2):
        await idle.publish()
        world.wait(1_000)

    assert (idle.counts["messages"], idle.counts["messages_lost"]) == (2, 1)


async def test_a_feed_that_says_more_than_can_be_taken_makes_every_book_stale(idle: BookRelay, world: World) -> None:
    await follow(idle, world, "A")
    world.feeds[0].connect()
    world.feeds[0].snapshot("A", {4800: 100}, {})
    await until(lambda: idle.intake.counts["snapshots"] == 1)

    idle._overrun()

    assert idle.intake.books["A"].label(world.now, idle.intake.upstream).state == "STALE"
    assert idle.counts["overruns"] == 1


async def test_a_whole_relay_from_wish_to_frame(world: World, run: Any) -> None:
    one = world.relay(SoleRelay())
    run(one)
    await until(lambda: world.feeds and one.line.joined.is_set())
    await world.layer.group_send(relay_group("sandbox"), world.wish("A"))
    await until(lambda: world.feeds[0].watched == {"A"})
    world.feeds[0].connect()
    world.feeds[0].snapshot("A", {4800: 100}, {})

    book = await world.hear("book")
    while not book["bids"]:
        world.wait(USUAL_MS)
        one.take(None)
        book = await world.hear("book")

    assert (book["bids"], book["state"]) == ([[4800, 100]], "LIVE")
    await until(lambda: "A" in world.written and world.written["A"].state == "LIVE")
    assert (world.written["A"].bid, world.written["A"].bid_size) == (4800, 100)


async def test_without_a_key_viewers_are_told_why_until_there_is_one(world: World, run: Any) -> None:
    world.no_feed = "No key is lent to the desk's feed yet."
    one = world.relay(SoleRelay())
    run(one)
    await until(one.line.joined.is_set)
    await world.layer.group_send(relay_group("sandbox"), world.wish("A"))
    while (beat := await world.hear("beat"))["why"] != world.no_feed:
        world.wait(1_000)
    assert beat["feed"] == "down"

    world.no_feed = None
    await until(lambda: world.feeds)
    await until(lambda: world.feeds[0].watched == {"A"})


async def test_a_changed_key_makes_the_feed_anew_with_all_its_markets(world: World, run: Any) -> None:
    one = world.relay(SoleRelay())
    run(one)
    await until(lambda: world.feeds and one.line.joined.is_set())
    await world.layer.group_send(relay_group("sandbox"), world.wish("A", "B"))
    await until(lambda: world.feeds[0].watched == {"A", "B"})

    one.renew_feed()

    await until(lambda: len(world.feeds) == 2)
    await until(lambda: world.feeds[1].watched == {"A", "B"} and world.feeds[1].is_running)
    assert not world.feeds[0].is_running
    world.feeds[0].connect()
    assert one.intake.upstream.state == "DOWN", "an old feed's words count for nothing"


async def test_the_second_takes_over_under_a_higher_number_and_a_new_epoch(
    shared_valkey: RunningValkey, store: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layer_on(shared_valkey)
    world = World(layer)
    world.hub = await layer.new_channel("hub")
    first, second = (world.relay(Leadership(store, "sandbox")) for _ in range(2))
    running = run(first)
    await until(lambda: world.feeds)
    run(second)
    await until(lambda: second.line.joined.is_set() and first.line.joined.is_set())
    await layer.group_send(relay_group("sandbox"), world.wish("A"))
    before = await world.hear("beat")
    assert len(world.feeds) == 1, "the second stands by"

    running.cancel()
    await until(lambda: len(world.feeds) == 2)
    await layer.group_send(relay_group("sandbox"), world.wish("A"))
    after = await world.hear("beat")
    while after["e"] == before["e"]:
        world.wait(1_000)
        second.take(None)
        after = await world.hear("beat")

    assert after["fence"] > before["fence"]
    assert not world.feeds[0].is_running
    assert world.feeds[1].is_running


async def test_a_relay_that_finds_itself_deposed_stops_its_feed(store: Any, world: World, run: Any) -> None:
    one = world.relay(Leadership(store, "sandbox"))
    run(one)
    await until(lambda: world.feeds and world.feeds[0].is_running)

    usurper = Leadership(store, "sandbox")
    await store.delete(*usurper._keys[:1])
    while not await usurper.renew():
        await store.delete(*usurper._keys[:1])

    await until(lambda: not world.feeds[0].is_running)
    assert not one.lease.is_held


@pytest.mark.parametrize(("took_ms", "rests_ms"), [(0, 5), (1, 5), (2.5, 5), (4, 8), (5, 10), (80, 10)])
def test_what_is_quickly_told_is_told_more_often(took_ms: float, rests_ms: float) -> None:
    assert rest_after(took_ms / 1000) == pytest.approx(rests_ms / 1000)
