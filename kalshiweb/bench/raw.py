"""Every change to every browser, without merging: our hub and the published way in one process, each as fast as it can.

Both are held back by what has been taken, so nothing is lost and no buffer grows: the hub by its browsers'
acknowledgements, the published way by what its consumers have sent.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from channels.layers import get_channel_layer

from kalshiweb.bench.children import Answer
from kalshiweb.bench.naive import GROUP, NaiveConsumer
from kalshiweb.bench.relaying import ENVIRONMENT
from kalshiweb.bench.upstream import ticker_of
from markets.hub import get_hub
from markets.livebook import LIVE, Listing, LiveBook, Moment
from markets.pace import USUAL_MS

TICKER = ticker_of(0)
LEVEL, SIZE = 4_800, 100_000
AHEAD_BYTES = 192 * 1024
AHEAD_MESSAGES = 40  # of the 100 that the layer keeps for a channel
BREATH = 16


class Raw:
    """The hub's market, and how far the rounds have got."""

    def __init__(self) -> None:
        self._live = LiveBook(ENVIRONMENT, Listing(TICKER), "raw")
        self._clock = 0
        self._naive_number = 0

    async def admit(self, browsers: int) -> Answer:
        """Give so many waiting browsers their first whole book."""
        key = (ENVIRONMENT, TICKER)
        hub = get_hub()
        while key not in hub.audience.books or len(hub.audience.books[key].waiting) < browsers:
            await asyncio.sleep(0.02)
        self._live.snapshot([(LEVEL, SIZE)], [], (1, 1, self._clock, self._clock), None, self._now())
        self._live.begin_epoch("raw")
        self._pass_on()
        return {}

    async def empty(self) -> Answer:
        """Wait until no browser is left."""
        while get_hub().audience.browsers:
            await asyncio.sleep(0.02)
        return {}

    async def hub(self, changes: int) -> Answer:
        """Send so many changes through book, frame and hub."""
        browsers = list(get_hub().audience.browsers)
        began = time.monotonic()
        for number in range(changes):
            self._clock += 1
            up = (1, 1, self._clock, self._clock)
            self._live.delta(True, LEVEL, 100 if number % 2 else -100, up, time.time_ns() // 1_000_000, self._now())
            self._pass_on()
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)
                while max(browser.outbox.outstanding for browser in browsers) > AHEAD_BYTES:
                    await asyncio.sleep(0.001)
        return {"began": began, "last": self._clock}

    async def naive(self, changes: int) -> Answer:
        """Send so many changes through the group."""
        layer: Any = get_channel_layer()
        began, sent, before = time.monotonic(), 0, NaiveConsumer.delivered
        for number in range(changes):
            self._naive_number += 1
            delta = {"n": self._naive_number, "market": TICKER, "side": "yes", "price": "0.4800", "delta": "1.00"}
            delta |= {"ts_ms": time.time_ns() // 1_000_000, "seq": number}
            await layer.group_send(GROUP, {"type": "book.delta", "delta": delta})
            sent += NaiveConsumer.open
            while sent - (NaiveConsumer.delivered - before) > AHEAD_MESSAGES * NaiveConsumer.open:
                await asyncio.sleep(0)
        return {"began": began, "last": self._naive_number}

    def _pass_on(self) -> None:
        frames = self._live.take(self._now(), LIVE)
        get_hub().receive({"env": ENVIRONMENT, "e": "raw", "fence": 1, "frames": frames, "beat": None, "numbers": None})

    def _now(self) -> Moment:
        return Moment((self._clock + 1) * USUAL_MS, time.time_ns() // 1_000_000)  # each is due at once
