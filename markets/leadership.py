"""One active relay per environment: a lock in Redis or Valkey that lapses by itself, and a fence that only rises.

The holder renews once a second. Whoever cannot renew, for whatever reason, holds no longer than the lock's time to live
after the last renewal was *sent*, on a clock that never jumps: a process that was frozen finds its lease over before it
publishes anything. The fence lets the hubs refuse a deposed relay's last words.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

LOCK_MS = 3_000
RENEW_SECONDS = 1.0
STAND_BY_SECONDS = 0.5

# Takes the lock where it is free, keeps it where it is ours. The fence is never lower than the clock in ms, so that a
# store that has come back empty cannot hand out an old one. Returns the fence, or 0 where somebody else holds the lock.
_TAKE_OR_KEEP = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
local before = tonumber(redis.call('GET', KEYS[2]) or '0')
if holder and before > 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return before
end
local clock = redis.call('TIME')
local fence = clock[1] * 1000 + math.floor(clock[2] / 1000)
if fence <= before then fence = before + 1 end
redis.call('SET', KEYS[2], string.format('%.0f', fence))
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return fence
"""

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Lease(Protocol):
    """Whether this process is the active relay."""

    @property
    def is_held(self) -> bool:
        """Say whether it may publish now."""

    @property
    def fence(self) -> int:
        """Return the number of this reign, higher than any before; 0 before the first."""

    @property
    def is_lost(self) -> bool:
        """Say whether somebody else is known to hold it."""

    async def renew(self) -> bool:
        """Take or keep the lease; return whether it is held."""

    async def release(self) -> None:
        """Let somebody else take over at once."""


class Leadership:
    """The lease of one environment's relay, held in Redis or Valkey."""

    def __init__(self, redis: Redis, environment: str) -> None:
        self._redis = redis
        self._token = secrets.token_hex(16)
        self._keys = [f"kalshiweb:relay:{environment}:holder", f"kalshiweb:relay:{environment}:fence"]
        self._held_until = 0.0
        self.is_lost = False
        self.fence = 0

    @property
    def is_held(self) -> bool:
        """Say whether it may publish now."""
        return time.monotonic() < self._held_until

    async def renew(self) -> bool:
        """Take or keep the lease; return whether it is held. A store that cannot be reached prolongs nothing."""
        asked_at = time.monotonic()
        try:
            fence = await self._call(_TAKE_OR_KEEP, 2, *self._keys, self._token, LOCK_MS)
        except (RedisError, OSError) as exc:
            logger.warning("the relay's lease could not be renewed: %s", type(exc).__name__)
            return self.is_held
        if (task := asyncio.current_task()) is not None and task.cancelling():
            # Python 3.11's wait_for, which the store's client uses, loses a cancellation that meets the answer.
            raise asyncio.CancelledError
        self.is_lost = not fence
        if self.is_lost:
            self._held_until = 0.0
            return False
        self.fence = int(fence)
        self._held_until = asked_at + LOCK_MS / 1000
        return self.is_held

    async def release(self) -> None:
        """Let somebody else take over at once."""
        self._held_until = 0.0
        try:
            await self._call(_RELEASE, 1, self._keys[0], self._token)
        except (RedisError, OSError):
            logger.warning("the relay's lease was not released: it lapses by itself")

    async def _call(self, script: str, *args: Any) -> Any:
        return await self._redis.eval(script, *args)


class SoleRelay:
    """The lease where there cannot be a second relay: one process, one memory."""

    def __init__(self) -> None:
        self.is_held = self.is_lost = False
        self.fence = 0

    async def renew(self) -> bool:
        """Hold it from the first question on."""
        if not self.is_held:
            self.is_held = True
            self.fence = max(self.fence + 1, time.time_ns() // 1_000_000)
        return True

    async def release(self) -> None:
        """Hold it no longer."""
        self.is_held = False
