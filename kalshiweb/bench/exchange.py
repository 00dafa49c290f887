"""The local exchange as a process of a bench: no makers, the quickest usage level, and able to flood one book."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from kalshiweb.bench.children import Answer, cpu, obey
from markets.sandbox.events import BookChanged
from markets.sandbox.running import Options, RunningSandbox
from markets.sandbox.server import Threaded

BATCH = 200
LEVELS = 20


class Flooded:
    """One running exchange and its first market."""

    def __init__(self, folder: Path) -> None:
        self._running = RunningSandbox(Options(credentials=folder, tier="prestige", has_makers=False, markets=4))
        self._venue = self._running.sandbox.venue
        self._ticker = next(iter(self._venue.exchange.markets))

    def market(self) -> Answer:
        """Return its first market."""
        return {"ticker": self._ticker}

    def flood(self, *, frames: int) -> Answer:
        """Tell so many changes of its book to whoever listens, as fast as they are taken."""
        began = {"began": time.monotonic(), **cpu()}
        loop: Any = Threaded.call(asyncio.get_event_loop)
        asyncio.run_coroutine_threadsafe(self._flood(frames), loop).result(90)
        return began

    async def _flood(self, frames: int) -> None:
        now_us = self._venue.now_us()
        for number in range(frames):
            level, is_growing = number % LEVELS, (number // LEVELS) % 2 == 0
            change = 100 if is_growing else -100
            told = BookChanged(self._ticker, True, 100 * (level + 1), change, number + 1, now_us, "", "", 0)
            self._venue.publisher.receive(told)
            if number % BATCH == BATCH - 1:
                await asyncio.sleep(0)
                while any(session.waiting > BATCH for session in self._venue.audience.sessions):
                    await asyncio.sleep(0)


if __name__ == "__main__":
    flooded = Flooded(Path(sys.argv[1]))
    obey({"market": flooded.market, "flood": flooded.flood, "cpu": cpu})
