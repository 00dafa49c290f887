"""A feed that plays changes of made-up markets at a rate and stamps each, so that browsers know how old they are.

The stamps lie in a file that all processes map: one clock for all of them. A change's place in its market's row is its
`clock`, which every frame carries on: a merged frame counts from the oldest change in it.
"""

from __future__ import annotations

import mmap
import random
import threading
import time
from array import array
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

from markets.kalshi import feed
from markets.kalshi.messages import BookDelta, BookSnapshot

SLOTS = 1 << 20
LEVELS = 20
SIZE = 100_000
PAUSE_SECONDS = 0.001


class Stamps:
    """When each change came in, in ns of the clock that never jumps: market → row, change → place."""

    def __init__(self, path: Path, *, markets: int) -> None:
        if not path.exists():
            path.write_bytes(bytes(SLOTS * 8))
        with path.open("r+b") as file:
            self._memory = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
        self._row = SLOTS // markets

    def __getitem__(self, place: tuple[int, int]) -> int:
        """Return a stamp by (market, change)."""
        market, change = place
        return self._memory[market * self._row + change % self._row]

    def __setitem__(self, place: tuple[int, int], stamp: int) -> None:
        """Set a stamp by (market, change)."""
        market, change = place
        self._memory[market * self._row + change % self._row] = stamp


def ticker_of(market: int) -> str:
    """Return the name of a made-up market."""
    return f"BENCH-{market:03d}"


def market_of(ticker: str) -> int:
    """Return the number of a made-up market."""
    return int(ticker.rpartition("-")[2])


class SimulatedFeed:
    """One connection; books of forty levels whose sizes move. The relay takes it for the exchange's."""

    def __init__(self, on_event: Callable[[Any], None], stamps: Stamps) -> None:
        self._say = on_event
        self._stamps = stamps
        self._lock = threading.Lock()
        self._rng = random.Random(5)  # noqa: S311 - every run plays the same
        self._seq = count(1)
        self._clock: dict[str, int] = {}
        self.books: dict[str, dict[bool, array[int]]] = {}

    def start(self) -> None:
        """Connect."""
        self._say(feed.Connected(1))
        with self._lock:
            for ticker in self.books:
                self._snapshot(ticker)

    def stop(self) -> None:
        """Disconnect."""

    def watch(self, tickers: Iterable[str]) -> None:
        """Begin these markets."""
        with self._lock:
            for ticker in tickers:
                self._clock[ticker] = 0
                self.books[ticker] = {side: array("q", [SIZE] * LEVELS) for side in (True, False)}
                self._snapshot(ticker)

    def unwatch(self, tickers: Iterable[str]) -> None:
        """Let these markets go."""

    def resync(self, tickers: Iterable[str]) -> None:
        """Send these books again."""
        with self._lock:
            for ticker in tickers:
                self._snapshot(ticker)

    def play(self, *, markets: int, rate: float, seconds: float) -> int:
        """Play changes in turn over the first so many markets, of those watched, blocking; return how many."""
        tickers = [ticker for ticker in map(ticker_of, range(markets)) if ticker in self.books]
        began, played, total = time.monotonic(), 0, int(rate * seconds)
        while played < total:
            due = min(total, int((time.monotonic() - began) * rate))
            with self._lock:
                while played < due:
                    self._change(tickers[played % len(tickers)])
                    played += 1
            time.sleep(max(PAUSE_SECONDS, began + (played + 1) / rate - time.monotonic()))
        return played

    def clocks(self) -> dict[str, int]:
        """Return how many changes each market has had."""
        return dict(self._clock)

    def levels(self) -> dict[str, dict[str, list[list[int]]]]:
        """Return the books as they must be in the end."""
        return {
            ticker: {"bids": sorted(_priced(sides[True], True)), "asks": sorted(_priced(sides[False], False))}
            for ticker, sides in self.books.items()
        }

    def _snapshot(self, ticker: str) -> None:
        sides = self.books[ticker]
        bids = tuple((price, size) for price, size in _priced(sides[True], True))
        asks = tuple((price, size) for price, size in _priced(sides[False], False))
        message = BookSnapshot(ticker, bids, asks, sid=1, seq=next(self._seq), clock=self._clock[ticker])
        self._say(feed.SnapshotReceived(message, 1))

    def _change(self, ticker: str) -> None:
        rng = self._rng
        is_bid = rng.random() < 0.5
        level = min(int(rng.expovariate(0.3)), LEVELS - 1)
        change = rng.choice((-500, 500, 1000, -1000, 25))
        self.books[ticker][is_bid][level] += change
        clock = self._clock[ticker] = self._clock[ticker] + 1
        stamp = time.monotonic_ns()
        self._stamps[market_of(ticker), clock] = stamp
        ts_ms = time.time_ns() // 1_000_000
        message = BookDelta(ticker, is_bid, _price(level, is_bid), change, ts_ms, clock, 1, next(self._seq))
        self._say(feed.DeltaReceived(message, 1))


def _price(level: int, is_bid: bool) -> int:
    return 4_900 - 100 * level if is_bid else 5_100 + 100 * level


def _priced(sizes: Iterable[int], is_bid: bool) -> list[list[int]]:
    return [[_price(level, is_bid), size] for level, size in enumerate(sizes)]
