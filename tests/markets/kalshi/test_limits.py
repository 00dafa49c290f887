"""Token buckets and backoff, with a clock and a pause that are handed in."""

from __future__ import annotations

import random

import pytest

from markets.kalshi.errors import RateLimited
from markets.kalshi.limits import LocalBudget, TokenBucket, backoff


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def budget(clock: Clock, **rates: float) -> LocalBudget:
    return LocalBudget(clock=clock, pause=clock.pause, **rates)


def test_a_bucket_gives_what_it_holds_and_says_how_long_the_rest_takes() -> None:
    clock = Clock()
    bucket = TokenBucket(10.0, 20.0, clock=clock)

    assert [bucket.take(10.0), bucket.take(10.0), bucket.take(10.0)] == [0.0, 0.0, 1.0]
    clock.now = 1.0
    assert bucket.take(10.0) == 0.0


def test_a_bucket_never_holds_more_than_its_capacity() -> None:
    clock = Clock()
    bucket = TokenBucket(10.0, 20.0, clock=clock)
    clock.now = 1_000.0
    assert [bucket.take(20.0), bucket.take(1.0)] == [0.0, 0.1]


def test_reads_wait_for_their_tokens() -> None:
    clock = Clock()
    account = budget(clock, read_rate=20.0, read_capacity=20.0)
    for _ in range(4):
        account.acquire("read", 10)
    assert clock.waits == [0.5, 0.5]


def test_reads_and_writes_have_a_bucket_each() -> None:
    clock = Clock()
    account = budget(clock, read_rate=10.0, write_rate=100.0)
    account.acquire("read", 10)
    account.acquire("write", 10)
    assert clock.waits == []


def test_creates_leave_tokens_that_only_cancels_may_use() -> None:
    clock = Clock()
    account = budget(clock, write_rate=100.0)
    for _ in range(8):
        account.acquire("write", 10)
    for _ in range(10):
        account.acquire("write", 2)
    assert clock.waits == []

    account.acquire("write", 10)  # must refill its own ten and the twenty it has to leave
    assert clock.waits == [pytest.approx(0.3)]


def test_nobody_waits_for_ever() -> None:
    clock = Clock()
    account = budget(clock, read_rate=1.0, read_capacity=1.0, longest_wait_seconds=5.0)
    with pytest.raises(RateLimited) as limited:
        account.acquire("read", 10)
    assert limited.value.retry_after_seconds == 9.0
    assert clock.waits == []


def test_backoff_spreads_from_nothing_to_a_bound_that_doubles() -> None:
    rng = random.Random(7)
    for attempt, bound in ((0, 1.0), (1, 2.0), (3, 8.0), (9, 60.0), (500, 60.0)):
        waits = [backoff(attempt, rng) for _ in range(200)]
        assert 0.0 <= min(waits) < bound / 10
        assert bound * 0.9 < max(waits) <= bound
