"""What the feed connects with, when it connects anew, and what it says of itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings

from kalshiweb import feed_process
from kalshiweb.feed_process import FeedProcess
from markets.models import KeptLook
from markets.polled import PolledFeed
from tests.kalshiweb.valkeys import RunningValkey
from trading import clients, vault
from trading.models import Account, ApiKey, Order, Team

# Committed for real: the process asks the database from threads of its own.
pytestmark = pytest.mark.django_db(transaction=True)


def lend(*, state: str = "active", **columns: Any) -> ApiKey:
    """Store a key that is lent to the feed; nothing is sealed in it, so it cannot be opened."""
    team, _ = Team.objects.get_or_create(name="Desk", slug="desk")
    account, _ = Account.objects.get_or_create(environment="sandbox", team=team, name="main")
    owner, _ = User.objects.get_or_create(username="alice")
    values = {"environment": "sandbox", "key_id": "k1", "name": "feed", "key_type": "ed25519", "is_feed": True}
    return ApiKey.objects.create(account=account, added_by=owner, state=state, **(values | columns))


@pytest.fixture
async def make() -> AsyncIterator[Callable[[], FeedProcess]]:
    """Return a function that makes a process; its connection is closed after the test."""
    made: list[FeedProcess] = []

    def run() -> FeedProcess:
        made.append(FeedProcess("sandbox"))
        return made[-1]

    yield run
    for process in made:
        await process._redis.aclose()


@pytest.fixture
async def process(make: Callable[[], FeedProcess]) -> FeedProcess:
    return make()


def refusal(process: FeedProcess) -> str:
    """Return why the process polls instead of connecting."""
    feed = process._make_feed(lambda event: None)
    assert isinstance(feed, PolledFeed)
    feed.stop()
    return feed.why


async def test_without_a_lent_key_the_way_to_one_is_told(process: FeedProcess) -> None:
    assert await sync_to_async(refusal)(process) == "no key is lent to the desk's feed yet: add one on the keys page"


async def test_a_key_that_is_not_lent_or_of_another_exchange_is_not_used(process: FeedProcess) -> None:
    await sync_to_async(lend)(is_feed=False)
    await sync_to_async(lend)(environment="demo")

    assert (await sync_to_async(refusal)(process)).startswith("no key is lent")


async def test_a_lent_key_that_the_exchange_refused_says_so(process: FeedProcess) -> None:
    await sync_to_async(lend)(state="refused", reason="deleted at the exchange")

    assert "deleted at the exchange" in await sync_to_async(refusal)(process)


async def test_a_key_that_cannot_be_opened_says_so_and_repeats_nothing_of_it(process: FeedProcess) -> None:
    await sync_to_async(lend)(ciphertext=b"sealed text", wrapped_key=b"wrapped text")

    said = await sync_to_async(refusal)(process)
    assert said
    assert "text" not in said


def lend_another(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(is_feed=False)
    lend(key_id="k2")


def refuse(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(state="refused")


def take_back(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(is_feed=False)


@pytest.mark.parametrize("happens", [lend_another, refuse, take_back])
async def test_a_changed_key_makes_the_feed_anew(
    process: FeedProcess, monkeypatch: pytest.MonkeyPatch, happens: Callable[[ApiKey], None]
) -> None:
    monkeypatch.setattr(feed_process, "KEYS_SECONDS", 0.01)
    renewed = asyncio.Event()
    monkeypatch.setattr(process.relay, "renew_feed", renewed.set)
    monkeypatch.setattr(process.relay.lease, "_held_until", float("inf"))
    key = await sync_to_async(lend)()
    await sync_to_async(refusal)(process)
    following = asyncio.create_task(process._follow_keys())

    await sync_to_async(happens)(key)
    await asyncio.wait_for(renewed.wait(), 5)

    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_key_that_is_as_it_was_changes_nothing(process: FeedProcess) -> None:
    key = await sync_to_async(lend)()
    await sync_to_async(refusal)(process)
    await ApiKey.objects.filter(pk=key.pk).aupdate(name="another name", last_used_at="2026-11-25T12:00:00Z")

    assert feed_process._identity(await sync_to_async(process._lent_key)()) == process._connected_with


# --- a key that could not be opened ----------------------------------------------------------------------


def lend_sealed(**columns: Any) -> ApiKey:
    """Store a key that is lent to the feed and opens with the ring of master keys."""
    key = lend(**columns)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    sealed = vault.seal(pem, clients.binding(key))
    key.version, key.kid, key.wrapped_key, key.ciphertext = (
        sealed.version,
        sealed.kid,
        sealed.wrapped_key,
        sealed.ciphertext,
    )
    key.save()
    return key


class Ring:
    """The file of master keys, which may not be there yet."""

    def __init__(self, folder: Path) -> None:
        self._there, self._away = folder / "master.keys", folder / "not mounted"

    def go(self) -> None:
        self._there.rename(self._away)

    def come(self) -> None:
        self._away.rename(self._there)


@pytest.fixture
def ring(settings: Settings, tmp_path: Path) -> Ring:
    settings.KALSHIWEB_DATA_DIR = tmp_path
    return Ring(tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the time of the process in ms, to be changed."""
    now = [1_000_000]
    monkeypatch.setattr(feed_process, "monotonic_ms", lambda: now[0])
    return now


async def test_a_key_that_could_not_be_opened_is_used_as_soon_as_it_opens(
    process: FeedProcess, monkeypatch: pytest.MonkeyPatch, ring: Ring
) -> None:
    monkeypatch.setattr(feed_process, "KEYS_SECONDS", 0.01)
    monkeypatch.setattr(feed_process, "OPEN_AGAIN_MS", 10)
    renewed = asyncio.Event()
    monkeypatch.setattr(process.relay, "renew_feed", renewed.set)
    monkeypatch.setattr(process.relay.lease, "_held_until", float("inf"))
    await sync_to_async(lend_sealed)()
    ring.go()
    assert "not in the ring" in await sync_to_async(refusal)(process)
    following = asyncio.create_task(process._follow_keys())

    ring.come()
    await asyncio.wait_for(renewed.wait(), 5)

    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    feed = await sync_to_async(process._make_feed)(lambda event: None)
    assert not isinstance(feed, PolledFeed)


async def test_a_key_that_still_cannot_be_opened_is_tried_now_and_then_and_renews_nothing(
    process: FeedProcess, monkeypatch: pytest.MonkeyPatch, ring: Ring, clock: list[int]
) -> None:
    await sync_to_async(lend_sealed)()
    ring.go()
    await sync_to_async(refusal)(process)
    tried: list[ApiKey] = []
    opened = clients.feed_client

    def open_and_count(key: ApiKey, **how: Any) -> Any:
        tried.append(key)
        return opened(key, **how)

    monkeypatch.setattr(clients, "feed_client", open_and_count)

    for _ in range(30):  # a minute, every two seconds
        clock[0] += 2_000
        assert not await sync_to_async(process._is_feed_due)()

    assert len(tried) == 3, "every 15 seconds or a little later"


async def test_a_key_that_opens_by_now_renews_the_feed_once(process: FeedProcess, ring: Ring, clock: list[int]) -> None:
    await sync_to_async(lend_sealed)()
    ring.go()
    await sync_to_async(refusal)(process)
    ring.come()
    clock[0] += 15_000
    assert await sync_to_async(process._is_feed_due)()

    await sync_to_async(process._make_feed)(lambda event: None)

    clock[0] += 60_000
    assert not await sync_to_async(process._is_feed_due)()


@pytest.mark.parametrize("state", ["refused", "paused", "unchecked"])
async def test_a_key_that_is_not_to_be_used_is_not_tried_again(
    process: FeedProcess, ring: Ring, clock: list[int], state: str
) -> None:
    await sync_to_async(lend_sealed)(state=state)
    await sync_to_async(refusal)(process)

    clock[0] += 60_000
    assert not await sync_to_async(process._is_feed_due)()


# --- our own orders --------------------------------------------------------------------------------------


def order(ticker: str, *, state: str = "resting", environment: str = "sandbox") -> Order:
    """Return an order of the desk for 10 YES at 48¢."""
    team, _ = Team.objects.get_or_create(name="Desk", slug="desk")
    account, _ = Account.objects.get_or_create(environment=environment, team=team, name="main")
    price, count = Decimal("0.48"), Decimal(10)
    number = Order.objects.count()
    return Order.objects.create(
        environment=environment,
        team=team,
        account=account,
        ticker=ticker,
        action="buy",
        side="yes",
        price=price,
        count=count,
        remaining=count,
        wire_side="bid",
        wire_price=price,
        state=state,
        idempotency_key=str(number),
        exchange_order_id=str(number),
    )


def wanted(process: FeedProcess) -> frozenset[str]:
    return process.relay.broadcast.wishes.wanted()


async def test_markets_with_working_orders_are_watched_until_none_works(process: FeedProcess) -> None:
    working = [
        await sync_to_async(order)(ticker, state=state) for ticker, state in [("A", "resting"), ("B", "unknown")]
    ]
    await sync_to_async(order)("C", state="canceled")
    await sync_to_async(order)("D", environment="demo")

    await process.stand_for_orders()
    assert wanted(process) == {"A", "B"}
    assert process.relay.broadcast.wishes.hubs == {}, "nobody is sent anything for it"

    await Order.objects.filter(pk__in=[found.pk for found in working]).aupdate(state="executed")
    await process.stand_for_orders()
    assert wanted(process) == frozenset()


async def test_a_market_is_watched_until_the_minute_after_the_last_fill_has_passed(
    process: FeedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    stretch = {"from_ms": 1_000_000, "to_ms": 1_120_000}
    await KeptLook.objects.acreate(environment="sandbox", ticker="A", **stretch)
    await KeptLook.objects.acreate(environment="demo", ticker="B", **stretch)

    monkeypatch.setattr(feed_process, "wall_ms", lambda: 1_119_000)
    await process.stand_for_orders()
    assert wanted(process) == {"A"}

    monkeypatch.setattr(feed_process, "wall_ms", lambda: 1_121_000)
    await process.stand_for_orders()
    assert wanted(process) == frozenset()


async def test_of_too_many_markets_with_working_orders_the_latest_are_watched(
    process: FeedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_process, "ORDERED_MOST", 2)
    for ticker in ("A", "B", "C", "C"):
        await sync_to_async(order)(ticker)

    await process.stand_for_orders()

    assert wanted(process) == {"B", "C"}


async def test_our_orders_are_followed_while_nobody_else_is_known_to_reign(
    process: FeedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    class Streams:
        def __init__(self, environment: str) -> None:
            assert environment == "sandbox"

        async def run(self) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    monkeypatch.setattr(feed_process, "PrivateStreams", Streams)
    monkeypatch.setattr(feed_process, "SIGN_SECONDS", 0.01)
    lease = process.relay.lease
    following = asyncio.create_task(process._follow_orders())
    await asyncio.sleep(0.03)
    assert not begun.is_set(), "who stands by follows nothing"

    monkeypatch.setattr(lease, "_held_until", float("inf"))
    await asyncio.wait_for(begun.wait(), 5)
    monkeypatch.setattr(lease, "_held_until", 0.0)
    await asyncio.sleep(0.03)
    assert not ended.is_set(), "a store that is away ends nothing"
    monkeypatch.setattr(lease, "is_lost", True)
    await asyncio.wait_for(ended.wait(), 5)
    await following


async def test_its_sign_of_life_says_how_the_way_upstream_is(
    own_valkey: RunningValkey, settings: Settings, make: Callable[[], FeedProcess]
) -> None:
    settings.REDIS_URL = own_valkey.url
    process = make()
    process.relay.counts["frames"] = 7
    process.relay.intake.counts["gaps"] = 1

    await process._sign()

    with redis.Redis.from_url(own_valkey.url) as client:
        found = json.loads(client.get("kalshiweb:health:feed:sandbox") or b"")
    assert (found["state"], found["why"], found["markets"], found["hubs"]) == ("down", "not connected yet", 0, 0)
    assert found["counts"] == {"frames": 7, "gaps": 1}
    assert abs(found["as_of"] - time.time_ns() // 1_000_000) < 10_000


async def test_a_store_that_is_away_ends_no_sign_of_life(
    own_valkey: RunningValkey, settings: Settings, make: Callable[[], FeedProcess]
) -> None:
    settings.REDIS_URL = own_valkey.url
    process = make()
    own_valkey.kill()

    await process._sign()
