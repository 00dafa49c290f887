"""How fast we may go: the account's token buckets behind one small protocol, and backoff with full jitter.

Reads and writes have a bucket each. A cancel costs less and may use the last tokens of the write bucket, which creates
have to leave: whatever happens, one can still get out. Source: Kalshi trade API v2, "Rate limits and tiers".
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Literal, Protocol

from markets.kalshi.errors import RateLimited

Kind = Literal["read", "write"]

DEFAULT_COST = 10
CANCEL_COST = 2
ORDER_READ_COST = 2
BASIC_READ_RATE = 200.0  # tokens a second of the lowest tier
BASIC_WRITE_RATE = 100.0
CANCEL_RESERVE = 20.0  # tokens of the write bucket that only cancels may use
LONGEST_WAIT_SECONDS = 10.0
RETRY_AFTER_MOST_SECONDS = 60.0


class Budget(Protocol):
    """Grants tokens of one account, or of the public endpoints."""

    def acquire(self, kind: Kind, tokens: int) -> None:
        """Take tokens, waiting for them if need be; cancels before creates. Raises RateLimited instead of waiting long.

        A write of `CANCEL_COST` tokens is a cancel.
        """


class TokenBucket:
    """Tokens that refill at a steady rate up to a capacity. Not safe for threads: its owner locks."""

    __slots__ = ("_at", "_clock", "capacity", "level", "rate")

    def __init__(self, rate: float, capacity: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.capacity = capacity
        self.level = capacity
        self._clock = clock
        self._at = clock()

    def take(self, tokens: float, *, leave: float = 0.0) -> float:
        """Take tokens if that leaves `leave`; return 0, else the seconds until it would, taking nothing."""
        now = self._clock()
        self.level = min(self.capacity, self.level + (now - self._at) * self.rate)
        self._at = now
        missing = tokens + leave - self.level
        if missing <= 1e-9:
            self.level -= tokens
            return 0.0
        return missing / self.rate


class LocalBudget:
    """The buckets of one account within one process. Safe to use from several threads."""

    def __init__(
        self,
        *,
        read_rate: float = BASIC_READ_RATE,
        read_capacity: float | None = None,
        write_rate: float = BASIC_WRITE_RATE,
        write_capacity: float | None = None,
        longest_wait_seconds: float = LONGEST_WAIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._buckets = {
            "read": TokenBucket(read_rate, read_capacity or read_rate, clock=clock),
            "write": TokenBucket(write_rate, write_capacity or write_rate, clock=clock),
        }
        self._longest_wait = longest_wait_seconds
        self._pause = pause
        self._lock = threading.Lock()

    def acquire(self, kind: Kind, tokens: int) -> None:
        """Take tokens, waiting up to the longest wait. Raises RateLimited."""
        is_cancel = kind == "write" and tokens <= CANCEL_COST
        waited = 0.0
        while (wait := self._try(kind, tokens, is_cancel=is_cancel)) > 0:
            if waited + wait > self._longest_wait:
                raise RateLimited("our own budget has no room", retry_after_seconds=wait)
            self._pause(wait)
            waited += wait

    def _try(self, kind: Kind, tokens: int, *, is_cancel: bool) -> float:
        bucket = self._buckets[kind]
        with self._lock:
            if kind == "read" or is_cancel:
                return bucket.take(tokens)
            reserve = min(CANCEL_RESERVE, max(0.0, bucket.capacity - tokens))
            return bucket.take(tokens, leave=reserve)


def backoff(attempt: int, rng: random.Random, *, base_seconds: float = 1.0, most_seconds: float = 60.0) -> float:
    """Return seconds to wait before trying again: anything from 0 to a bound that doubles with each attempt from 0."""
    return rng.uniform(0.0, min(most_seconds, base_seconds * 2.0 ** min(attempt, 30)))
