"""One active relay per environment, told by a lock that lapses and a number that only rises."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from redis.asyncio import Redis

from markets import leadership
from markets.leadership import Leadership, SoleRelay
from tests.kalshiweb.valkeys import RunningValkey


class Monotonic:
    """The clock by which a holder knows for how long it may publish."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return 1_790_000_000_000_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    clock = Monotonic()
    monkeypatch.setattr(leadership, "time", clock)
    return clock


async def lapse(store: Redis, environment: str = "sandbox") -> None:
    """Let the lock run out, as it does by itself after its time to live."""
    await store.delete(f"kalshiweb:relay:{environment}:holder")


async def test_the_first_who_asks_holds_it_and_the_second_does_not(store: Redis) -> None:
    one, two = Leadership(store, "sandbox"), Leadership(store, "sandbox")

    assert await one.renew()
    assert not await two.renew()
    assert (one.is_held, two.is_held) == (True, False)
    assert (one.is_lost, two.is_lost) == (False, True)


async def test_environments_have_a_lock_each(store: Redis) -> None:
    assert await Leadership(store, "sandbox").renew()
    assert await Leadership(store, "production").renew()


async def test_the_holder_keeps_its_number_while_it_renews(store: Redis) -> None:
    one = Leadership(store, "sandbox")
    await one.renew()
    first = one.fence

    assert await one.renew()
    assert one.fence == first > 0


async def test_each_reign_has_a_higher_number_than_the_one_before(store: Redis) -> None:
    one, two = Leadership(store, "sandbox"), Leadership(store, "sandbox")
    await one.renew()
    await one.release()
    assert not one.is_held

    assert await two.renew()
    assert two.fence > one.fence


async def test_a_holder_whose_lock_lapsed_and_was_taken_knows_that_it_is_lost(store: Redis) -> None:
    one, two = Leadership(store, "sandbox"), Leadership(store, "sandbox")
    await one.renew()
    await lapse(store)
    await two.renew()

    assert not await one.renew()
    assert one.is_lost
    assert not one.is_held


async def test_releasing_what_another_holds_takes_nothing_from_it(store: Redis) -> None:
    one, two = Leadership(store, "sandbox"), Leadership(store, "sandbox")
    await one.renew()
    await lapse(store)
    await two.renew()

    await one.release()

    assert await two.renew()
    assert not await one.renew()


async def test_a_holder_that_was_frozen_finds_its_lease_over(store: Redis, clock: Monotonic) -> None:
    one = Leadership(store, "sandbox")
    await one.renew()
    assert one.is_held

    clock.now += leadership.LOCK_MS / 1000

    assert not one.is_held


async def test_an_empty_store_hands_out_no_old_number(store: Redis) -> None:
    one, two = Leadership(store, "sandbox"), Leadership(store, "sandbox")
    await one.renew()
    await store.flushall()

    assert await two.renew()
    assert two.fence >= one.fence
    await two.release()
    assert await one.renew()
    assert one.fence > two.fence


async def test_a_store_that_is_away_prolongs_nothing_and_deposes_nobody(
    own_valkey: RunningValkey, clock: Monotonic
) -> None:
    store = Redis.from_url(own_valkey.url)
    one = Leadership(store, "sandbox")
    await one.renew()
    own_valkey.kill()

    assert await one.renew(), "the last renewal still counts"
    assert not one.is_lost
    clock.now += leadership.LOCK_MS / 1000
    assert not await one.renew()
    assert not one.is_lost
    await one.release()
    await store.aclose()


async def test_where_there_is_one_process_it_holds_from_the_first_question() -> None:
    sole = SoleRelay()
    assert not sole.is_held

    assert await sole.renew()
    first = sole.fence
    assert await sole.renew()
    assert sole.fence == first > 0
    await sole.release()
    assert not sole.is_held
    await sole.renew()
    assert sole.fence > first


class SwallowingStore:
    """Answers although it was cancelled, as the store's client does on Python 3.11 if the answer is there just then."""

    async def eval(self, *args: Any) -> int:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return 5


async def test_a_renewal_that_is_cancelled_ends_even_if_the_store_has_answered_just_then() -> None:
    lease: Any = Leadership(SwallowingStore(), "sandbox")  # type: ignore[arg-type]
    renewing = asyncio.create_task(lease.renew())
    await asyncio.sleep(0)

    renewing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await renewing
