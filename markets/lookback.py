"""The book as it was: the last minutes of every watched market, and for good the minutes around each fill of the desk.

The relay keeps a reel of each market it publishes and answers hubs from it. What is to be kept is asked for by a row,
from any process; the feed's process fills the row once its stretch of time has passed. The relay knows no fills.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, Protocol

import msgspec
from django.db import close_old_connections, transaction
from django.utils import timezone

from markets.events import Entry, relay_group
from markets.kalshi.clock import wall_ms
from markets.models import KeptLook
from markets.reels import KEPT_MS, Reel, replay

logger = logging.getLogger(__name__)

AROUND_MS = 60_000  # of a fill, before and after
LONGEST_MS = 10 * 60_000  # a stretch of fills that follow each other is cut into rows
KEEP_SECONDS = 5.0
LATE_MS = 2_000  # the last frames of a stretch are told a little after it
PATIENCE_SECONDS = 2.0
ROWS_AT_ONCE = 50
REPLAYS_MOST = 10


class _Frame(msgspec.Struct):
    """What of a frame is kept."""

    at: int
    state: str = ""
    why: str = ""
    bids: list[tuple[int, int]] = []
    asks: list[tuple[int, int]] = []
    b: list[tuple[int, int]] = []
    a: list[tuple[int, int]] = []


_read = msgspec.json.Decoder(_Frame).decode


class Lookback:
    """The reels of one relay."""

    def __init__(self) -> None:
        self.reels: dict[str, Reel] = {}

    def take(self, entries: Iterable[Entry]) -> None:
        """Take what the relay has to tell in this tick."""
        for kind, ticker, _, encoded in entries:
            if kind == "delta":
                frame = _read(encoded)
                if reel := self.reels.get(ticker):
                    reel.changes(frame.at, frame.b, frame.a)
            elif kind == "book":
                frame = _read(encoded)
                self.reels.setdefault(ticker, Reel()).whole(
                    frame.at, (frame.state, frame.why), bids=frame.bids, asks=frame.asks
                )
            elif kind == "state" and (reel := self.reels.get(ticker)):
                frame = _read(encoded)
                reel.label(frame.at, (frame.state, frame.why))

    def end(self, tickers: Iterable[str], now_ms: int) -> None:
        """Note that nothing more will be told of these markets for now; forget what is too old."""
        for ticker in tickers:
            if reel := self.reels.get(ticker):
                reel.end(now_ms)
        self.reels = {ticker: reel for ticker, reel in self.reels.items() if reel.forget(now_ms)}

    def pieces(self, ticker: str, from_ms: int, to_ms: int) -> list[bytes]:
        """Return the sealed pieces of a market that touch a stretch of time."""
        reel = self.reels.get(ticker)
        return [] if reel is None else reel.pieces(from_ms, to_ms, wall_ms())

    def answer(self, message: dict[str, Any], environment: str) -> dict[str, Any]:
        """Return what is told to the hub that asked."""
        pieces = self.pieces(message["ticker"], message["from_ms"], message["to_ms"])
        return {"type": "hub.look", "env": environment, "id": message["id"], "pieces": pieces}


class Questions:
    """What a hub has asked relays about the past, and who waits for the answers."""

    def __init__(self) -> None:
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[list[bytes]]] = {}

    def take(self, message: dict[str, Any]) -> None:
        """Take an answer; nobody may be waiting for it any more."""
        waiting = self._waiting.get(message["id"])
        if waiting is not None and not waiting.done():
            waiting.set_result(list(message["pieces"]))

    async def ask(self, send: Callable[[dict[str, Any]], Awaitable[bool]], **question: Any) -> list[bytes]:
        """Send a question and return the answer. Raises TimeoutError."""
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await send({"type": "relay.look", "id": number, **question})
                return await self._waiting[number]
        finally:
            del self._waiting[number]


class Asker(Protocol):
    """What is needed of a hub."""

    line: Any
    questions: Questions


class TooMany(Exception):
    """So many look back already that another would wait for long."""


class Replays:
    """The replays of one process: one after the other, in a thread of their own, and only so many at once.

    A long one is a third of a second of work, and meanwhile everybody's frames have to go out.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lookback")
        self._under_way = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Be one of those that are under way. Raises TooMany."""
        if self._under_way >= REPLAYS_MOST:
            raise TooMany
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def run(
        self, pieces: list[bytes], *, environment: str, ticker: str, stretch: tuple[int, int]
    ) -> bytes | None:
        """Return a stretch of a market's book as JSON, None where these pieces tell nothing of it."""
        work = partial(_replayed, pieces, environment, ticker, stretch)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


_replays = Replays()


async def look(hub: Asker, environment: str, *, ticker: str, from_ms: int, to_ms: int) -> bytes | None:
    """Return as JSON what the relay still knows of a market's book in a stretch of time, None for nothing.

    Never of what was kept for good: that shows when somebody traded, and is for whose fills they were. Raises TooMany.
    """
    with _replays.place():
        try:
            pieces = await _ask(hub, environment, ticker=ticker, from_ms=from_ms, to_ms=to_ms)
        except TimeoutError:
            return None
        return await _replays.run(pieces, environment=environment, ticker=ticker, stretch=(from_ms, to_ms))


def _replayed(pieces: list[bytes], environment: str, ticker: str, stretch: tuple[int, int]) -> bytes | None:
    found = replay(pieces, *stretch)
    return msgspec.json.encode(_named(environment, ticker, found)) if found["covered"] else None


def _named(environment: str, ticker: str, found: dict[str, Any]) -> dict[str, Any]:
    return {"env": environment, "m": ticker} | found


def kept(environment: str, ticker: str, *, from_ms: int, to_ms: int) -> dict[str, Any]:
    """Return what was kept for good of a stretch of time, before it is JSON; for those whose fills they were."""
    rows = KeptLook.objects.filter(environment=environment, ticker=ticker, from_ms__lte=to_ms, to_ms__gte=from_ms)
    found = rows.exclude(kept_at=None).order_by("from_ms")
    pieces = [bytes(piece) for row in found for piece in row.pieces]
    return _named(environment, ticker, replay(pieces, from_ms, to_ms))


async def _ask(hub: Asker, environment: str, **stretch: Any) -> list[bytes]:
    await asyncio.wait_for(hub.line.joined.wait(), PATIENCE_SECONDS)

    async def send(message: dict[str, Any]) -> bool:
        sent: bool = await hub.line.send_group(relay_group(environment), {**message, "hub": hub.line.channel})
        return sent

    return await hub.questions.ask(send, **stretch)


# --- keeping ---------------------------------------------------------------------------------------------


def keep_around(environment: str, ticker: str, *, first_ms: int, last_ms: int) -> None:
    """Keep the minutes around fills for good, unless no reel goes back so far. Safe to repeat."""
    if last_ms > wall_ms() - KEPT_MS:
        keep(environment, ticker, from_ms=first_ms - AROUND_MS, to_ms=last_ms + AROUND_MS)


def keep(environment: str, ticker: str, *, from_ms: int, to_ms: int) -> None:
    """Keep a stretch of a market's book for good, as soon as it has passed. Safe to repeat, from any process."""
    with transaction.atomic():
        rows = KeptLook.objects.filter(environment=environment, ticker=ticker, from_ms__lte=to_ms, to_ms__gte=from_ms)
        for row in rows.select_for_update():
            first, last = min(row.from_ms, from_ms), max(row.to_ms, to_ms)
            if (first, last) == (row.from_ms, row.to_ms):
                return
            if row.kept_at is None and last - first <= LONGEST_MS:
                KeptLook.objects.filter(pk=row.pk).update(from_ms=first, to_ms=last)
                return
        KeptLook.objects.create(environment=environment, ticker=ticker, from_ms=from_ms, to_ms=to_ms)


class Reels(Protocol):
    """What is needed of the relay."""

    environment: str
    lease: Any
    lookback: Lookback


class Keeper:
    """Fills the rows whose stretch has passed from the reels of the relay that reigns."""

    def __init__(self, relay: Reels) -> None:
        self._relay = relay

    async def run(self) -> None:
        """Look for rows every five seconds until cancelled."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            if self._relay.lease.is_held:
                await self.fill(wall_ms())

    async def fill(self, now_ms: int) -> int:
        """Fill what is due and return how many rows; pieces are taken on this loop, rows written off it."""
        rows = await asyncio.to_thread(_due, self._relay.environment, now_ms - LATE_MS)
        found = [(row, self._relay.lookback.pieces(row.ticker, row.from_ms, row.to_ms)) for row in rows]
        if found:
            await asyncio.to_thread(_fill, found)
        return len(found)


def _due(environment: str, before_ms: int) -> list[KeptLook]:
    close_old_connections()
    try:
        return list(KeptLook.objects.filter(environment=environment, kept_at=None, to_ms__lt=before_ms)[:ROWS_AT_ONCE])
    finally:
        close_old_connections()


def _fill(found: Sequence[tuple[KeptLook, list[bytes]]]) -> None:
    close_old_connections()
    try:
        for row, pieces in found:
            KeptLook.objects.filter(pk=row.pk, kept_at=None).update(
                packed=msgspec.msgpack.encode(pieces), kept_at=timezone.now()
            )
    finally:
        close_old_connections()
