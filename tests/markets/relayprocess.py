"""A relay as a process of its own, on a market that every process computes alike from the time of day.

Every 20 ms one of ten levels gets a new size, so the book at any step is known to everybody without asking. Run as
`python -m tests.markets.relayprocess URL` with the address of a Valkey.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

STEP_MS = 20
LEVELS = 10
TICKER = "KXCLOCK-1"
LEADER = "tests:leader"


def step_now() -> int:
    """Return the number of this moment's step."""
    return time.time_ns() // 1_000_000 // STEP_MS


def level(step: int) -> tuple[int, int]:
    """Return the level that a step changes, and its new size."""
    return 1_000 + 100 * (step % LEVELS), 100 + step * 7_919 % 90_000


def book_at(step: int) -> dict[int, int]:
    """Return all bids after a step."""
    return dict(level(step - back) for back in range(LEVELS))


class ClockFeed:
    """Plays the feed: a connection, a whole book when asked, and each step's change as it happens."""

    def __init__(self, on_event: Callable[[Any], None]) -> None:
        self._say = on_event
        self._stop = threading.Event()
        self._is_watched = False
        self._is_asked = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._seq = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def watch(self, tickers: Iterable[str]) -> None:
        self._is_watched = True
        self._is_asked.set()

    def unwatch(self, tickers: Iterable[str]) -> None:
        self._is_watched = False

    def resync(self, tickers: Iterable[str]) -> None:
        self._is_asked.set()

    def _run(self) -> None:
        from markets.kalshi import feed

        self._say(feed.Connected(1))
        said = step_now()
        while not self._stop.wait(0.005):
            now = step_now()
            if self._is_asked.is_set():
                self._is_asked.clear()
                said = now
                self._snapshot(now)
            for step in range(said + 1, now + 1) if self._is_watched else ():
                self._delta(step)
            said = now
            self._say(feed.Alive())

    def _snapshot(self, step: int) -> None:
        from markets.kalshi import feed
        from markets.kalshi.messages import BookSnapshot

        self._seq += 1
        message = BookSnapshot(TICKER, tuple(book_at(step).items()), (), 1, self._seq, step)
        self._say(feed.SnapshotReceived(message, 1))

    def _delta(self, step: int) -> None:
        from markets.kalshi import feed
        from markets.kalshi.messages import BookDelta

        self._seq += 1
        price, size = level(step)
        message = BookDelta(TICKER, True, price, size - level(step - LEVELS)[1], None, step, 1, self._seq)
        self._say(feed.DeltaReceived(message, 1))


async def main(url: str) -> None:
    """Run a relay for ever, and leave word of being the leader."""
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    from markets.layers import StoreLayer
    from markets.leadership import Leadership
    from markets.livebook import Listing
    from markets.relay import BookRelay

    store = Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
    relay = BookRelay(
        "sandbox",
        layer=StoreLayer(url=url, prefix="tests"),
        lease=Leadership(store, "sandbox"),
        make_feed=ClockFeed,
        look_up=lambda tickers, fresh=False: {ticker: Listing(ticker) for ticker in tickers},
    )
    running = asyncio.create_task(relay.run())
    while not running.done():
        await asyncio.sleep(0.1)
        try:
            if relay.lease.is_held:
                await store.set(LEADER, os.getpid(), px=1_000)
        except (RedisError, OSError):
            continue


if __name__ == "__main__":
    import django

    django.setup()
    asyncio.run(main(sys.argv[1]))
