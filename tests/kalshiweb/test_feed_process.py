"""What the feed connects with, when it connects anew, and what it says of itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings

from kalshiweb import feed_process
from kalshiweb.feed_process import FeedProcess
from markets.polled import PolledFeed
from tests.kalshiweb.valkeys import RunningValkey
from trading.models import Account, ApiKey, Team

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
