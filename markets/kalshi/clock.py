"""The time in ms: ours, and the exchange's as far as its answers tell it.

An order is signed with the time at which it is sent, and the exchange refuses one that is far from its own.
Source: Kalshi trade API v2, KALSHI-ACCESS-TIMESTAMP; the HTTP header `Date`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

SKEW_TOLERATED_MS = 2_000  # the exchange's Date has whole seconds


def wall_ms() -> int:
    """Return our clock, since 1970."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Return a clock that never jumps, for distances of time."""
    return time.monotonic_ns() // 1_000_000


class ExchangeClock:
    """One exchange's clock, compared with ours at each of its answers. Safe to use from several threads."""

    def __init__(self, our_ms: Callable[[], int] = wall_ms) -> None:
        self.our_ms = our_ms
        self.skew_ms = 0  # theirs minus ours, as of the last answer
        self.told_at = -math.inf  # when that was, by time.monotonic()

    def note(self, date: str) -> None:
        """Take the `Date` of an answer; one that cannot be read tells nothing."""
        try:
            told = parsedate_to_datetime(date)
        except (ValueError, TypeError):
            return
        self.skew_ms = int(told.timestamp() * 1000) + 500 - self.our_ms()
        self.told_at = time.monotonic()

    def now_ms(self) -> int:
        """Return the exchange's time as far as it is known: ours, corrected where the two differ noticeably."""
        return self.our_ms() + (self.skew_ms if abs(self.skew_ms) > SKEW_TOLERATED_MS else 0)
