"""The load generator: many browsers in one process. Each counts what it was sent and what it missed.

A text that several browsers get is read once. Latency is from a change's stamp to the arrival of the frame that holds
it, and a frame of several changes counts from the oldest.
"""

from __future__ import annotations

import asyncio
import threading
import time
from array import array
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from kalshiweb.bench.children import Answer, cpu, obey
from kalshiweb.bench.desk import ORIGIN
from kalshiweb.bench.figures import percentile
from kalshiweb.bench.socketclient import SocketClient
from kalshiweb.bench.upstream import Stamps, market_of

ACK_BYTES = 64 * 1024
ACK_APART_NS = 60_000_000
ACK_AT_LEAST_SECONDS = 1.0
ACK_TURNS = 50
OPEN_AT_ONCE = 25
READ_KEPT = 4_096
PATHS = {"book": "/ws/markets/", "naive": "/ws/naive/", "plain": "/"}

Told = tuple[str, str, str, int, int, Any]  # kind, market, epoch, number, newest change, frame
_decode = msgspec.json.Decoder().decode
_read: dict[bytes, list[Told]] = {}


def read(text: bytes) -> list[Told]:
    """Return what a text of the desk says of books."""
    found = _read.get(text)
    if found is None:
        if len(_read) >= READ_KEPT:
            _read.clear()
        found = _read[text] = [
            (frame["t"], frame["m"], frame["e"], frame["n"], (frame.get("up") or (0, 0, 0, 0))[3] or 0, frame)
            for frame in _decode(text)
            if frame["t"] in ("book", "delta", "state")
        ]
    return found


class Place:
    """How far one browser is in one market."""

    __slots__ = ("book", "clock", "epoch", "number")

    def __init__(self) -> None:
        self.epoch, self.number, self.clock = "", -1, 0
        self.book: dict[str, dict[int, int]] | None = None


class Load:
    """What all browsers together have counted since the last reset."""

    def __init__(self) -> None:
        self.stamps: Stamps | None = None
        self._unread: list[tuple[Browser, bytes, int]] = []
        self.reset()

    def note(self, browser: Browser, text: bytes, now: int) -> None:
        """Take down that a text has arrived; it is read once all sockets of this turn have been emptied.

        A thousand browsers in one process would else wait for each other's reading, and be late by that.
        """
        if not self._unread:
            asyncio.get_running_loop().call_soon(self._read_all)
        self._unread.append((browser, text, now))

    def _read_all(self) -> None:
        unread, self._unread = self._unread, []
        for browser, text, now in unread:
            browser.hear(text, now)

    def reset(self) -> None:
        """Count from here."""
        self.texts = self.bytes = self.frames = self.changes = self.holes = self.repeats = 0
        self.latencies = array("q")
        self.last_at = 0


class Browser:
    """One page's socket."""

    def __init__(self, kind: str, load: Load) -> None:
        self.kind = kind
        self.load = load
        self.client: SocketClient | None = None
        self.places: dict[str, Place] = {}
        self.last = 0
        self.arrived = self.acked = 0
        self.acked_at = 0

    def hear(self, text: bytes, now: int) -> None:
        """Take one text."""
        load = self.load
        load.texts += 1
        load.bytes += len(text)
        if self.kind == "book":
            self.arrived += len(text)
            for told in read(text):
                self._take(told, now)
            if self.arrived - self.acked >= ACK_BYTES and now - self.acked_at >= ACK_APART_NS:
                self.ack(now)
            return
        frame = _decode(text)
        number = (frame[0] if self.kind == "plain" else frame)["n"]
        load.holes += number != self.last + 1 and self.last > 0
        self.last = number
        load.changes += 1
        load.last_at = now

    def ack(self, now: int) -> None:
        """Tell the desk what has arrived."""
        if self.client is not None and self.arrived != self.acked and not self.client.is_closed:
            self.acked, self.acked_at = self.arrived, now
            self.client.send(b'{"op":"ack","bytes":%d}' % self.arrived)

    def watch(self, tickers: list[str], *, is_folding: bool) -> None:
        """Begin these markets, keeping whole books of them if asked to."""
        assert self.client is not None  # noqa: S101 - opened first
        for ticker in tickers:
            self.places[ticker] = Place()
            if is_folding:
                self.places[ticker].book = {}
        self.client.send(msgspec.json.encode({"op": "watch", "env": "sandbox", "books": tickers}))

    def _take(self, told: Told, now: int) -> None:
        kind, ticker, epoch, number, clock, frame = told
        place, load = self.places[ticker], self.load
        if kind == "book":
            place.epoch, place.number, place.clock = epoch, number, clock
            if place.book is not None:
                place.book = {"bids": dict(frame["bids"]), "asks": dict(frame["asks"])}
            return
        if epoch != place.epoch or number != place.number + 1:
            if number <= place.number:
                load.repeats += 1
            else:
                load.holes += 1
        place.epoch, place.number = epoch, number
        if kind != "delta":
            return
        load.frames += 1
        load.last_at = now
        if load.stamps is not None:
            load.latencies.append(now - load.stamps[market_of(ticker), place.clock + 1])
        load.changes += clock - place.clock
        place.clock = self.last = clock
        if place.book is not None:
            _fold(place.book["bids"], frame["b"])
            _fold(place.book["asks"], frame["a"])


class Browsers:
    """All of them, and what the bench asks of them."""

    def __init__(self) -> None:
        self.load = Load()
        self.all: list[Browser] = []

    async def open(self, *, kind: str, count: int, port: int, cookies: list[str]) -> Answer:
        """Open so many sockets more, a few at once."""
        gate = asyncio.Semaphore(OPEN_AT_ONCE)

        async def one(number: int) -> None:
            browser = Browser(kind, self.load)
            async with gate:
                await self._open(browser, port, cookies[number % len(cookies)])
            self.all.append(browser)

        await asyncio.gather(*(one(number) for number in range(count)))
        return {"open": len(self.all)}

    async def _open(self, browser: Browser, port: int, cookie: str) -> None:
        request = (
            f"GET {PATHS[browser.kind]} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            f"Origin: {ORIGIN}\r\nCookie: {cookie}\r\n\r\n"
        ).encode()
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(
            lambda: SocketClient(request, partial(self.load.note, browser)), "127.0.0.1", port
        )
        await client.opened
        browser.client = client

    async def watch(self, *, tickers: list[str], each: int = 0, fold: int = 0) -> Answer:
        """Have every browser watch all markets, or `each` of them in turn, and wait for the first books.

        The first `fold` browsers keep whole books.
        """
        watching = self._of("book")
        for number, browser in enumerate(watching):
            mine = tickers if not each else [tickers[(number * each + step) % len(tickers)] for step in range(each)]
            browser.watch(mine, is_folding=number < fold)
        while not all(place.number >= 0 for browser in watching for place in browser.places.values()):
            self._check_open()
            await asyncio.sleep(0.02)
        return {}

    async def begin(self, *, stamps: str = "", markets: int = 1) -> Answer:
        """Count from here, with latencies if there are stamps."""
        self.load.stamps = Stamps(Path(stamps), markets=markets) if stamps else None
        self.load.reset()
        return cpu()

    async def reached(self, *, kind: str, last: int) -> Answer:
        """Wait until every browser of a kind has change `last` of its only market."""
        waiting = self._of(kind)
        while any(browser.last < last for browser in waiting):
            self._check_open()
            await asyncio.sleep(0.002)
        return self._counted()

    async def caught_up(self, *, clocks: dict[str, int]) -> Answer:
        """Wait until every browser has every change of its markets; one that never does is counted as behind."""
        patience = time.monotonic() + 5
        while (behind := self._behind(clocks)) and time.monotonic() < patience:
            await asyncio.sleep(0.02)
        return self._counted() | {"behind": behind}

    async def quiet(self) -> Answer:
        """Wait until nothing of books has come for half a second."""
        while time.monotonic_ns() - self.load.last_at < 500_000_000:
            await asyncio.sleep(0.05)
        return self._counted()

    async def books(self) -> Answer:
        """Return the books that were kept whole, and the holes that were counted."""
        kept = [
            {ticker: _levels(place.book) for ticker, place in browser.places.items() if place.book is not None}
            for browser in self._of("book")
        ]
        return {"books": [books for books in kept if books], "holes": self.load.holes}

    async def ack_forever(self) -> None:
        """Acknowledge about once a second, as pages do: each in a moment of its own."""
        for turn in count():
            await asyncio.sleep(ACK_AT_LEAST_SECONDS / ACK_TURNS)
            now = time.monotonic_ns()
            for browser in self._of("book")[turn % ACK_TURNS :: ACK_TURNS]:
                browser.ack(now)

    def _of(self, kind: str) -> list[Browser]:
        return [browser for browser in self.all if browser.kind == kind]

    def _behind(self, clocks: dict[str, int]) -> int:
        return sum(
            1
            for browser in self._of("book")
            if any(place.clock < clocks.get(ticker, 0) for ticker, place in browser.places.items())
        )

    def _check_open(self) -> None:
        closed = sum(1 for browser in self.all if browser.client is None or browser.client.is_closed)
        if closed:
            raise ConnectionError(f"{closed} of {len(self.all)} browsers were closed by the server")

    def _counted(self) -> Answer:
        load = self.load
        found: Answer = {name: getattr(load, name) for name in ("texts", "bytes", "frames", "changes", "holes")}
        found |= {"repeats": load.repeats, "last_at": load.last_at / 1e9, **cpu()}
        found["closed"] = sum(1 for browser in self.all if browser.client is None or browser.client.is_closed)
        if load.latencies:
            found["p50_ms"] = percentile(load.latencies, 0.50) / 1e6
            found["p99_ms"] = percentile(load.latencies, 0.99) / 1e6
        return found


def _fold(side: dict[int, int], levels: list[list[int]]) -> None:
    for price, size in levels:
        if size:
            side[price] = size
        else:
            side.pop(price, None)


def _levels(book: dict[str, dict[int, int]]) -> dict[str, list[list[int]]]:
    return {name: [[price, size] for price, size in sorted(side.items())] for name, side in book.items()}


async def main() -> None:
    """Obey the bench."""
    loop, browsers = asyncio.get_running_loop(), Browsers()

    def verb(work: Callable[..., Coroutine[Any, Any, Answer]]) -> Callable[..., Answer]:
        return lambda **asked: asyncio.run_coroutine_threadsafe(work(**asked), loop).result(300)

    works = (browsers.open, browsers.watch, browsers.begin, browsers.reached, browsers.caught_up, browsers.quiet)
    verbs = {work.__name__: verb(work) for work in (*works, browsers.books)} | {"cpu": cpu}
    threading.Thread(target=obey, args=(verbs,), daemon=True).start()
    await browsers.ack_forever()


if __name__ == "__main__":
    asyncio.run(main())
