"""The desk's relay inside a process of a bench, on a simulated feed or on the real one against the player."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from channels.layers import get_channel_layer

from kalshiweb.bench.children import Answer
from kalshiweb.bench.upstream import SimulatedFeed, Stamps
from markets.leadership import SoleRelay
from markets.livebook import Listing
from markets.relay import BookRelay, Feed

ENVIRONMENT = "sandbox"
LOOK_SECONDS = 0.02
CALM_SECONDS = 0.3
COUNTED = ("deltas", "snapshots", "trades", "deltas_passed_over")


class Relaying:
    """The relay of one process. The verbs are called in the thread that listens to the bench."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._relay: BookRelay | None = None
        self._simulated: SimulatedFeed | None = None
        self._running: Any = None

    def verbs(self) -> dict[str, Callable[..., Answer]]:
        """Return what the bench may ask."""
        return {
            "simulate": self.simulate,
            "follow": self.follow,
            "play": self.play,
            "settled": self.settled,
            "expected": self.expected,
            "counts": self.counts,
        }

    def simulate(self, *, stamps: str, markets: int) -> Answer:
        """Start the relay on a simulated feed."""
        rows = Stamps(Path(stamps), markets=markets)

        def make(on_event: Callable[[Any], None]) -> Feed:
            self._simulated = SimulatedFeed(on_event, rows)
            return self._simulated

        return self._start(make)

    def follow(self, *, url: str) -> Answer:
        """Start the relay on the real feed at an address."""
        from kalshiweb.bench.ingest import own_signer
        from markets.kalshi.feed import FeedClient

        return self._start(lambda on_event: FeedClient(url, signer=own_signer(), on_event=on_event))

    def play(self, *, markets: int, rate: float, seconds: float) -> Answer:
        """Play the simulated feed, blocking."""
        assert self._simulated is not None  # noqa: S101 - simulate() comes first
        return {"played": self._simulated.play(markets=markets, rate=rate, seconds=seconds)}

    def expected(self) -> Answer:
        """Return the books and the number of changes that everybody must have in the end."""
        assert self._simulated is not None  # noqa: S101 - simulate() comes first
        return {"books": self._simulated.levels(), "clocks": self._simulated.clocks()}

    def counts(self) -> Answer:
        """Return what the relay has counted."""
        assert self._relay is not None  # noqa: S101 - started first
        return dict(self._relay.counts + self._relay.intake.counts)

    def settled(self, *, frames: int) -> Answer:
        """Wait until so many frames are in the books, or nothing more comes."""
        found: Answer = self._run(self._settled(frames))
        return found

    async def _settled(self, frames: int) -> Answer:
        assert self._relay is not None  # noqa: S101 - started first
        taken, loop = -1, asyncio.get_running_loop()
        moved_at = loop.time()
        while taken < frames and loop.time() - moved_at < CALM_SECONDS * 10:
            found = sum(self._relay.intake.counts[name] for name in COUNTED)
            if found != taken:
                taken, moved_at = found, loop.time()
            await asyncio.sleep(LOOK_SECONDS)
        wrong = sum(1 for live in self._relay.intake.books.values() if live.fault is not None)
        return {"frames": taken, "at": moved_at, "wrong": wrong}

    def _start(self, make: Callable[[Callable[[Any], None]], Feed]) -> Answer:
        async def begin() -> None:
            self._relay = BookRelay(
                ENVIRONMENT, layer=get_channel_layer(), lease=SoleRelay(), make_feed=make, look_up=_any_market
            )
            self._running = asyncio.create_task(self._relay.run())

        self._run(begin())
        return {}

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(120)


def _any_market(tickers: Iterable[str], *, fresh: bool = False) -> dict[str, Listing | None]:
    return {ticker: Listing(ticker) for ticker in tickers}
