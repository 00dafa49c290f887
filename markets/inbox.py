"""From the feed's reader thread to the event loop: a queue and, only when it was empty, one wake-up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from markets.kalshi import feed

DRAIN_MOST = 2_000  # taken at once, so that the loop breathes
QUEUE_MOST = 100_000  # minutes of a busy connection: a loop this late cannot be right about anything

# What may be thrown away, for then every book is doubted. All else says how the way upstream or a market is, and no
# snapshot tells that again.
DATA = (
    feed.SnapshotReceived,
    feed.DeltaReceived,
    feed.TradeReceived,
    feed.TickerReceived,
    feed.Alive,
)


class Inbox:
    """One feed's events on their way to the loop, in order. `take` is called there with each."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, take: Callable[[Any], None], *, overrun: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._take = take
        self._overrun = overrun
        self._events: deque[Any] = deque()
        self._is_awake = False
        self._is_closed = False

    def post(self, event: Any) -> None:
        """Add an event. Called in the reader thread; never blocks."""
        if self._is_closed:
            return
        self._events.append(event)
        if not self._is_awake:
            self._is_awake = True
            self._wake()

    def close(self) -> None:
        """Take nothing more: whatever the feed still says is of the past."""
        self._is_closed = True
        self._events.clear()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            self.close()  # the loop has ended

    def _drain(self) -> None:
        # Cleared before the first look: an event that comes after the last look wakes the loop again.
        self._is_awake = False
        events = self._events
        if len(events) > QUEUE_MOST:
            self._throw_away_data()
        for _ in range(DRAIN_MOST):
            if not events:
                return
            self._take(events.popleft())
        if events and not self._is_awake:
            self._is_awake = True
            self._loop.call_soon(self._drain)

    def _throw_away_data(self) -> None:
        events = self._events
        waiting = [events.popleft() for _ in range(len(events))]  # the reader may add to it meanwhile
        kept = [event for event in waiting if not isinstance(event, DATA)]
        events.extendleft(reversed(kept))
        if len(kept) < len(waiting):
            self._overrun()
