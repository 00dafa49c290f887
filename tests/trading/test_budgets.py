"""An account's tokens are counted once for all processes, and there are always some left for a cancel."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kalshiweb import valkey
from markets.kalshi.errors import RateLimited, Unavailable
from markets.kalshi.messages import AccountLimits, BucketLimit
from trading import budgets
from trading.budgets import AccountBudget

# So slow that nothing comes back while a test runs.
SLOW = AccountLimits(
    usage_tier="basic",
    read=BucketLimit(refill_rate=1, bucket_capacity=30),
    write=BucketLimit(refill_rate=1, bucket_capacity=100),
)


@pytest.fixture(scope="module")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Valkey and return its address."""
    path = tmp_path_factory.mktemp("valkey") / "v.sock"
    server = subprocess.Popen(valkey.command(path))
    deadline = time.monotonic() + 10
    while not valkey.answers(path) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    yield f"unix://{path}?db=0"
    server.terminate()
    server.wait()


@pytest.fixture
def store(valkey_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count there, with nothing in it, and wait for nothing."""
    settings.REDIS_URL = valkey_url
    monkeypatch.setattr(budgets, "_rests_until", 0.0)
    monkeypatch.setattr(budgets, "PATIENCE_SECONDS", {"read": 0.0, "write": 0.0})
    budgets._store().flushall()


@pytest.fixture
def no_store(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have no store at all."""
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock?db=0"
    monkeypatch.setattr(budgets, "_rests_until", 0.0)
    monkeypatch.setattr(budgets, "PATIENCE_SECONDS", {"read": 0.0, "write": 0.0})


def granted(budget: AccountBudget, kind: Any, tokens: int, *, tries: int = 100) -> int:
    """Ask again and again; return how often there were tokens."""
    count = 0
    for _ in range(tries):
        try:
            budget.acquire(kind, tokens)
        except RateLimited:
            return count
        count += 1
    return count


def test_two_processes_share_the_tokens_of_one_account(store: None) -> None:
    one, other = AccountBudget("sandbox:1"), AccountBudget("sandbox:1")
    one.store_limits(SLOW)

    one.acquire("read", 10)

    assert granted(other, "read", 10) == 2
    assert granted(one, "read", 10) == 0


def test_another_account_has_tokens_of_its_own(store: None) -> None:
    one, other = AccountBudget("sandbox:1"), AccountBudget("production:1")
    one.store_limits(SLOW)
    other.store_limits(SLOW)

    assert granted(one, "read", 10) == 3
    assert granted(other, "read", 10) == 3


def test_creates_leave_a_reserve_that_cancels_may_use(store: None) -> None:
    budget = AccountBudget("sandbox:1")
    budget.store_limits(SLOW)

    assert granted(budget, "write", 10) == 8
    assert granted(budget, "write", 2) == 10
    assert granted(budget, "write", 2) == 0


def test_reads_and_writes_are_counted_apart(store: None) -> None:
    budget = AccountBudget("sandbox:1")
    budget.store_limits(SLOW)
    granted(budget, "write", 10)

    assert granted(budget, "read", 10) == 3


def test_many_threads_get_no_more_than_there_is(store: None) -> None:
    budgets_of_threads = [AccountBudget("sandbox:1") for _ in range(8)]
    budgets_of_threads[0].store_limits(SLOW)
    counts: list[int] = []

    def ask(budget: AccountBudget) -> None:
        counts.append(granted(budget, "write", 2, tries=20))

    threads = [threading.Thread(target=ask, args=(budget,)) for budget in budgets_of_threads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counts) == 50


def test_a_cost_above_the_capacity_waits_for_a_full_bucket_instead_of_for_ever(store: None) -> None:
    budget = AccountBudget("sandbox:1")
    budget.store_limits(SLOW)

    budget.acquire("read", 150)

    assert granted(budget, "read", 10) == 0


def test_an_empty_bucket_is_waited_for(store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "PATIENCE_SECONDS", {"read": 5.0, "write": 5.0})
    budget = AccountBudget("sandbox:1")
    fast = BucketLimit(refill_rate=500, bucket_capacity=10)
    budget.store_limits(AccountLimits(usage_tier="basic", read=fast, write=fast))
    budget.acquire("read", 10)

    before = time.monotonic()
    budget.acquire("read", 10)

    assert time.monotonic() - before >= 0.015


def test_the_exchange_is_asked_for_the_limits_once(store: None) -> None:
    asked: list[int] = []

    def learn() -> AccountLimits:
        asked.append(1)
        return SLOW

    one, other = AccountBudget("sandbox:1", learn=learn), AccountBudget("sandbox:1", learn=learn)
    one.acquire("read", 10)
    other.acquire("read", 10)

    assert asked == [1]
    assert granted(other, "read", 10) <= 2


def test_a_write_never_waits_for_the_limits(store: None) -> None:
    def learn() -> AccountLimits:
        raise AssertionError("asked")

    AccountBudget("sandbox:1", learn=learn).acquire("write", 10)


def test_limits_that_cannot_be_read_leave_those_of_the_lowest_tier(store: None) -> None:
    def learn() -> AccountLimits:
        raise Unavailable("no connection")

    assert granted(AccountBudget("sandbox:1", learn=learn), "read", 10, tries=15) == 15


def test_without_the_store_each_process_keeps_to_a_quarter(no_store: None) -> None:
    budget = AccountBudget("sandbox:1")
    budget.store_limits(SLOW)

    # A quarter of 100: 25 tokens, of which creates leave 5.
    assert granted(budget, "write", 10) == 2
    assert granted(budget, "write", 2) == 2


def test_a_store_that_is_away_is_not_asked_at_every_request(no_store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = AccountBudget("sandbox:1")
    budget.acquire("read", 10)

    monkeypatch.setattr(budgets, "_store", lambda: pytest.fail("asked again at once"))
    budget.acquire("read", 10)
