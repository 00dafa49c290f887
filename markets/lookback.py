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
from dataclasses import dataclass
from functools import partial
from itertools import count
from threading import Lock
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

NOT_PASSED = "Not kept yet: the minutes around a fill are kept when they have passed."
NOT_WATCHED = "Nobody watched this market then: nothing is known of its book."
PARTLY_WATCHED = "Nobody watched this market for a part of the time."
HEARD_LATE = "Nothing was kept: the desk heard of the fill long after it."


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
        self._lock = Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Be one of those that are under way, from any thread. Raises TooMany."""
        with self._lock:
            if self._under_way >= REPLAYS_MOST:
                raise TooMany
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    async def run(
        self, pieces: list[bytes], *, environment: str, ticker: str, stretch: tuple[int, int]
    ) -> bytes | None:
        """Return a stretch of a market's book as JSON, None where these pieces tell nothing of it."""
        work = partial(_replayed, pieces, environment, ticker, stretch)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def wait(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do some work when its turn has come; blocks until then, so never on a loop."""
        return self._thread.submit(work).result()


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


async def _ask(hub: Asker, environment: str, **stretch: Any) -> list[bytes]:
    await asyncio.wait_for(hub.line.joined.wait(), PATIENCE_SECONDS)

    async def send(message: dict[str, Any]) -> bool:
        sent: bool = await hub.line.send_group(relay_group(environment), {**message, "hub": hub.line.channel})
        return sent

    return await hub.questions.ask(send, **stretch)


# --- what was kept ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stretch:
    """The minutes around fills that follow each other."""

    times_ms: tuple[int, ...]  # of the fills, ascending

    @property
    def from_ms(self) -> int:
        """A minute before the first."""
        return self.times_ms[0] - AROUND_MS

    @property
    def to_ms(self) -> int:
        """A minute after the last."""
        return self.times_ms[-1] + AROUND_MS


def around(times_ms: Iterable[int]) -> list[Stretch]:
    """Return the stretches around fills, oldest first; those that meet are one, unless that would be too long."""
    groups: list[list[int]] = []
    for at in sorted(times_ms):
        if groups and at - groups[-1][-1] <= 2 * AROUND_MS and at - groups[-1][0] <= LONGEST_MS - 2 * AROUND_MS:
            groups[-1].append(at)
        else:
            groups.append([at])
    return [Stretch(tuple(group)) for group in groups]


def kept(environment: str, ticker: str, *, times_ms: Iterable[int]) -> dict[str, Any]:
    """Return what was kept for good around fills, before it is JSON; for those whose fills they were.

    Of the oldest `stretches` as many as make up fifteen minutes, each as the relay's door tells it, with a sentence
    about what is `missing` of it; `next` is the time of the first fill after them. Blocks. Raises TooMany.
    """
    stretches = around(times_ms)
    shown = _within(stretches, KEPT_MS)
    following = stretches[len(shown) :]
    with _replays.place():
        found = [(stretch, _rows_of(environment, ticker, stretch)) for stretch in shown]
        told = [_replays.wait(partial(_told, environment, ticker, stretch, rows)) for stretch, rows in found]
    return {"stretches": told, "next": following[0].times_ms[0] if following else None}


def _within(stretches: list[Stretch], most_ms: int) -> list[Stretch]:
    """Return the first stretches that are no longer together than that, one at least."""
    total = 0
    for number, stretch in enumerate(stretches):
        total += stretch.to_ms - stretch.from_ms
        if total > most_ms:
            return stretches[: max(1, number)]
    return stretches


def _rows_of(environment: str, ticker: str, stretch: Stretch) -> list[KeptLook]:
    """Return the rows that these fills have left: those around others show when somebody else traded."""
    rows = KeptLook.objects.filter(environment=environment, ticker=ticker, to_ms__gte=stretch.from_ms + 2 * AROUND_MS)
    found = rows.filter(from_ms__lte=stretch.to_ms - 2 * AROUND_MS).order_by("from_ms")
    return [row for row in found if any(_is_around(row, at) for at in stretch.times_ms)]


def _is_around(row: KeptLook, at_ms: int) -> bool:
    return row.from_ms <= at_ms - AROUND_MS and at_ms + AROUND_MS <= row.to_ms


def _told(environment: str, ticker: str, stretch: Stretch, rows: list[KeptLook]) -> dict[str, Any]:
    pieces = [bytes(piece) for row in rows if row.kept_at is not None for piece in row.pieces]
    found = replay(pieces, stretch.from_ms, stretch.to_ms)
    return _named(environment, ticker, found) | {"missing": _missing(found, rows)}


def _missing(found: dict[str, Any], rows: list[KeptLook]) -> str | None:
    """Return what of a stretch is not told, and why, in a sentence."""
    if not rows:
        return HEARD_LATE
    if any(row.kept_at is None for row in rows):
        return NOT_PASSED
    if not found["covered"]:
        return NOT_WATCHED
    return None if found["covered"] == [[found["from"], found["to"]]] else PARTLY_WATCHED


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


def awaited(environment: str, now_ms: int, *, most: int) -> frozenset[str]:
    """Return the markets of stretches to be kept that have not passed yet, the latest where there are too many."""
    rows = KeptLook.objects.filter(environment=environment, kept_at=None, to_ms__gte=now_ms).order_by("-to_ms")
    return frozenset(rows.values_list("ticker", flat=True)[:most])


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
            # One that another fill has made longer meanwhile is filled when the rest has passed as well.
            as_read = KeptLook.objects.filter(pk=row.pk, from_ms=row.from_ms, to_ms=row.to_ms, kept_at=None)
            as_read.update(packed=msgspec.msgpack.encode(pieces), kept_at=timezone.now())
    finally:
        close_old_connections()
