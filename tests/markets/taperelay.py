"""A relay as a process of its own, on a recording that it plays in the recording's own time.

Run as `python -m tests.markets.taperelay URL TAPE START SECONDS`: its first line falls at START, in ms since
1970. Every change's clock is its line, so whoever has the recording knows what is true and when it was said.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tests import judges
from tests.markets.units import Place, count_units, price_units

Row = tuple[int, int, str, Place | None, Any]  # line, ms after the first, market, level, change or whole book


def rows(path: Path, seconds: float) -> Iterator[Row]:
    """Yield the changes and whole books of a recording's first seconds, on the YES scale in whole units."""
    first: int | None = None
    for line, at, frame in judges.read_tape(path):
        first = at if first is None else first
        if at - first > 1_000 * seconds:
            return
        message = frame["msg"]
        if frame["type"] == "orderbook_snapshot":
            book = {(True, price_units(p)): count_units(c) for p, c in message.get("yes_dollars_fp") or []}
            book |= {(False, 10_000 - price_units(p)): count_units(c) for p, c in message.get("no_dollars_fp") or []}
            yield line, at - first, message["market_ticker"], None, book
        elif frame["type"] == "orderbook_delta":
            price = price_units(message["price_dollars"])
            place = (True, price) if message["side"] == "yes" else (False, 10_000 - price)
            yield line, at - first, message["market_ticker"], place, count_units(message["delta_fp"])


class TapeFeed:
    """Plays the feed: whole books at first and when asked, and every change when it is due."""

    def __init__(self, path: Path, start_ms: int, seconds: float, on_event: Callable[[Any], None]) -> None:
        self._say = on_event
        self._rows = list(rows(path, seconds))
        self._start_ms = start_ms
        self._books: dict[str, dict[Place, int]] = {}
        self._lines: dict[str, int] = {}
        self._asked: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._seq = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def watch(self, tickers: Iterable[str]) -> None:
        self.resync(tickers)

    def unwatch(self, tickers: Iterable[str]) -> None:
        pass

    def resync(self, tickers: Iterable[str]) -> None:
        with self._lock:
            self._asked.update(tickers)

    def _run(self) -> None:
        from markets.kalshi import feed

        self._say(feed.Connected(1))
        at = alive_at = 0
        while not self._stop.wait(0.002):
            now = time.time_ns() // 1_000_000 - self._start_ms
            for row in islice(self._rows, at, None):
                if row[1] > now:
                    break
                at += 1
                self._tell(row)
            with self._lock:
                asked, self._asked = self._asked, set()
            for ticker in asked & self._books.keys():
                self._snapshot(ticker)
            if now - alive_at >= 1_000:
                alive_at = now
                self._say(feed.Alive())

    def _tell(self, row: Row) -> None:
        from markets.kalshi import feed
        from markets.kalshi.messages import BookDelta

        line, _, ticker, place, change = row
        self._lines[ticker] = line
        if place is None:
            self._books[ticker] = dict(change)
            self._snapshot(ticker)
            return
        book = self._books[ticker]
        book[place] = book.get(place, 0) + change
        if not book[place]:
            del book[place]
        self._seq += 1
        message = BookDelta(ticker, place[0], place[1], change, None, line, 1, self._seq)
        self._say(feed.DeltaReceived(message, 1))

    def _snapshot(self, ticker: str) -> None:
        from markets.kalshi import feed
        from markets.kalshi.messages import BookSnapshot

        self._seq += 1
        sides = [
            tuple((price, size) for (is_bid, price), size in self._books[ticker].items() if is_bid is bid)
            for bid in (True, False)
        ]
        message = BookSnapshot(ticker, sides[0], sides[1], 1, self._seq, self._lines[ticker])
        self._say(feed.SnapshotReceived(message, 1))


async def main(url: str, path: str, start_ms: str, seconds: str) -> None:
    """Run a relay for ever."""
    import gc

    from channels.layers import get_channel_layer
    from redis.asyncio import Redis

    from markets.leadership import Leadership
    from markets.livebook import Listing
    from markets.relay import BookRelay

    gc.collect()
    gc.freeze()  # as the feed's process does
    relay = BookRelay(
        "sandbox",
        layer=get_channel_layer(),
        lease=Leadership(Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2), "sandbox"),
        make_feed=lambda on_event: TapeFeed(Path(path), int(start_ms), float(seconds), on_event),
        look_up=lambda tickers, fresh=False: {ticker: Listing(ticker) for ticker in tickers},
    )
    await relay.run()


if __name__ == "__main__":
    import django

    django.setup()
    asyncio.run(main(*sys.argv[1:]))
