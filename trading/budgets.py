"""Request tokens of an account, counted once for all processes of the desk in Redis or Valkey.

The exchange fills two buckets per account, one for reads and one for writes, whatever key is used. Cancels may empty
the write bucket; anything dearer leaves a reserve in it, so that there is always room to get out of an order.
Without the store each process goes on at a safe share of the account's rate, on a count of its own.
Source: Kalshi's documentation of rate limits; `GET /account/limits`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import redis
from django.conf import settings
from redis.exceptions import RedisError

from markets.kalshi.errors import RateLimited
from markets.kalshi.messages import AccountLimits, BucketLimit

logger = logging.getLogger(__name__)

Kind = Literal["read", "write"]

CANCEL_TOKENS = 2  # what one cancel costs; a create costs ten
RESERVED_SHARE = 0.2  # of the write bucket, kept for cancels
PATIENCE_SECONDS = {"read": 5.0, "write": 2.0}  # a person waits for a write
WITHOUT_STORE_SHARE = 0.25  # of the account's rate, for each process that cannot ask the others
STORE_REST_SECONDS = 5.0  # before a store that did not answer is asked again
LIMITS_KEPT_SECONDS = 6 * 3600
STORE_TIMEOUT_SECONDS = 0.5

# Takes ARGV[1] tokens if they leave ARGV[2] in the bucket. KEYS: the bucket, the account's limits (may be missing).
# ARGV[3..4]: rate and capacity where there are no limits; ARGV[5]: the kind. Returns ms to wait (0: taken), and
# whether the limits are known.
_TAKE = """
local limits = redis.call('HMGET', KEYS[2], ARGV[5] .. '_rate', ARGV[5] .. '_capacity')
local rate, capacity = tonumber(limits[1] or ARGV[3]), tonumber(limits[2] or ARGV[4])
local known = limits[1] and 1 or 0
local bucket = redis.call('HMGET', KEYS[1], 'level', 'at')
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local since = math.max(0, now - tonumber(bucket[2] or now))
local level = math.min(capacity, tonumber(bucket[1] or capacity) + since * rate / 1000)
local cost = math.min(tonumber(ARGV[1]), capacity)
local short = cost + math.min(tonumber(ARGV[2]) * capacity, capacity - cost) - level
if short > 0 then return {math.ceil(short * 1000 / rate), known} end
redis.call('HSET', KEYS[1], 'level', tostring(level - cost), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], 60000)
return {0, known}
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """One bucket: tokens a second, and how many it holds."""

    refill: int
    capacity: int


# The lowest tier, without bursts: what is safe before the exchange has told us more.
BASIC: dict[Kind, Rate] = {"read": Rate(200, 200), "write": Rate(100, 100)}


class AccountBudget:
    """The budget of one account; safe to share between threads. Blocks until the tokens are there."""

    def __init__(self, account: str, *, learn: Callable[[], AccountLimits] | None = None) -> None:
        """Count for `account`; `learn` asks the exchange for its limits, at the first read that finds none stored."""
        self._account = account
        self._learn = learn
        self._learning = threading.Lock()
        self._alone = {kind: _LocalBucket(rate) for kind, rate in BASIC.items()}

    def acquire(self, kind: Kind, tokens: int) -> None:
        """Take tokens, waiting for them if need be; raise RateLimited, with nothing sent, where that takes too long."""
        deadline = time.monotonic() + PATIENCE_SECONDS[kind]
        while wait_ms := self._take(kind, tokens):
            if time.monotonic() + wait_ms / 1000 > deadline:
                raise RateLimited("The account's requests are used up for the moment: try again in a few seconds.")
            time.sleep(wait_ms / 1000)

    def store_limits(self, limits: AccountLimits) -> None:
        """Tell all processes what the exchange grants this account."""
        rates: dict[Kind, BucketLimit] = {"read": limits.read, "write": limits.write}
        for kind, rate in rates.items():
            self._alone[kind].rate = Rate(rate.refill_rate, rate.bucket_capacity)
        fields: dict[Any, Any] = {f"{kind}_rate": rate.refill_rate for kind, rate in rates.items()}
        fields |= {f"{kind}_capacity": rate.bucket_capacity for kind, rate in rates.items()}
        try:
            with _store().pipeline() as pipe:
                pipe.hset(self._limits_key, mapping=fields)
                pipe.expire(self._limits_key, LIMITS_KEPT_SECONDS)
                pipe.execute()
        except RedisError as exc:
            _store_failed(exc)

    @property
    def _limits_key(self) -> str:
        return f"kalshiweb:limits:{self._account}"

    def _take(self, kind: Kind, tokens: int) -> int:
        """Return 0 where the tokens were taken, else the ms after which to ask again."""
        reserve = RESERVED_SHARE if kind == "write" and tokens > CANCEL_TOKENS else 0.0
        if _is_resting():
            return self._alone[kind].take(tokens, reserve)
        try:
            wait_ms, is_known = self._ask(kind, tokens, reserve)
        except RedisError as exc:
            _store_failed(exc)
            return self._alone[kind].take(tokens, reserve)
        if not is_known and kind == "read":
            self._find_limits()
        return int(wait_ms)

    def _ask(self, kind: Kind, tokens: int, reserve: float) -> Any:
        keys = (f"kalshiweb:budget:{self._account}:{kind}", self._limits_key)
        rate = BASIC[kind]
        return _store().eval(_TAKE, 2, *keys, tokens, reserve, rate.refill, rate.capacity, kind)

    def _find_limits(self) -> None:
        """Ask the exchange once; whoever comes meanwhile goes on with the lowest tier."""
        if self._learn is None or not self._learning.acquire(blocking=False):
            return
        learn, self._learn = self._learn, None
        try:
            self.store_limits(learn())
        except Exception as exc:
            logger.warning("the account's limits could not be read: %s", type(exc).__name__)
            self._learn = learn
        finally:
            self._learning.release()


@dataclass(slots=True)
class _LocalBucket:
    """One process's own count, at a share of the account's rate that is safe beside the other processes."""

    rate: Rate
    _level: float | None = None
    _at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, tokens: int, reserve: float) -> int:
        """Return 0 where the tokens were taken, else the ms after which to ask again."""
        refill, capacity = self.rate.refill * WITHOUT_STORE_SHARE, self.rate.capacity * WITHOUT_STORE_SHARE
        cost = min(float(tokens), capacity)
        with self._lock:
            now = time.monotonic()
            level = capacity if self._level is None else min(capacity, self._level + (now - self._at) * refill)
            short = cost + min(reserve * capacity, capacity - cost) - level
            if short > 0:
                return math.ceil(short * 1000 / refill)
            self._level, self._at = level - cost, now
            return 0


def _store() -> redis.Redis:
    return _store_at(settings.REDIS_URL)


@cache
def _store_at(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=STORE_TIMEOUT_SECONDS, socket_connect_timeout=STORE_TIMEOUT_SECONDS)


_rests_until = 0.0


def _is_resting() -> bool:
    return time.monotonic() < _rests_until


def _store_failed(exc: Exception) -> None:
    """Leave the store alone for a while: asking a dead one at each request would cost every request its time-out."""
    global _rests_until
    _rests_until = time.monotonic() + STORE_REST_SECONDS
    logger.warning("budgets are counted by this process alone: %s", type(exc).__name__)
