"""Looks from time to time whether the live books are those that the exchange shows over REST.

A REST book has no position in the stream: the stream may be ahead of it, or behind. So a level is only held against us
if REST shows a size that the level never had around the reading, and if it rested on our side all the while; and only
if a second look finds the very same difference. A moving book explains itself; a change that was lost does not.

All books are looked at together, with one lead and one trail: the look takes as long as the reading, however many move.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from markets.intake import Intake
from markets.kalshi import feed
from markets.kalshi.errors import BadMessage, KalshiError, RateLimited, Rejected
from markets.kalshi.messages import OrderBookBody
from markets.livebook import LiveBook
from markets.source import OF_THESE_TICKERS, Pace

logger = logging.getLogger(__name__)

EVERY_SECONDS = (30.0, 60.0)  # from start to start
LEAD_SECONDS = 1.0  # the reading side of the exchange lags: what a level was a moment ago explains it too
TRAIL_SECONDS = 4.0  # and the stream may lag: what a level becomes soon after explains it as well
STEP_SECONDS = 0.25
AGAIN_SECONDS = 2.0  # between the two looks
BOOKS_A_CALL = 100
READ_SECONDS = 25.0  # for one look: what was not read by then waits for the next one
CULPRITS_MOST = 10  # a look; if there are more, it is not for single markets that the exchange cannot be read
LEFT_OUT_SECONDS = 600.0

WHY = "it is not the book that the exchange shows over REST"

Place = tuple[bool, int]  # is it a bid, at which price


class Window:
    """What each level of one book held while it was open. Spoiled by whatever replaces or doubts the book.

    Only levels that move are written down, so that two thousand books may be looked at together.
    """

    def __init__(self, live: LiveBook) -> None:
        self.live = live
        self._stream = None if live.up is None else live.up[:2]
        self._is_replaced = False
        self._moved: dict[Place, set[int]] = {}

    def note(self, event: Any) -> None:
        """Take an event of this market that the book has taken."""
        message = event.message
        if type(event) is feed.SnapshotReceived:
            self._is_replaced = True
        elif type(event) is feed.DeltaReceived:
            place, book = (message.is_bid, message.price_units), self.live.book
            after = (book.bids if message.is_bid else book.asks).get(message.price_units, 0)
            self._moved.setdefault(place, {after - message.change_units}).add(after)

    @property
    def is_spoiled(self) -> bool:
        """Say whether the book was not the same stream's all the while."""
        live = self.live
        return self._is_replaced or live.fault is not None or live.up is None or live.up[:2] != self._stream

    def unexplained(self, body: OrderBookBody) -> dict[Place, int]:
        """Return the levels that never were as REST shows them: REST's size minus the last one of ours."""
        shown, ours = _levels(body.bids, body.asks), _levels(self.live.book.bids.items(), self.live.book.asks.items())
        return {
            place: shown.get(place, 0) - ours.get(place, 0)
            for place in shown.keys() | ours.keys() | self._moved.keys()
            if shown.get(place, 0) not in self._moved.get(place, (ours.get(place, 0),))
        }

    def suspicious(self, body: OrderBookBody) -> dict[Place, int]:
        """Return those unexplained levels that rested on our side all the while."""
        return {place: by for place, by in self.unexplained(body).items() if len(self._moved.get(place, (0,))) == 1}


def _levels(bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> dict[Place, int]:
    return {(True, price): size for price, size in bids} | {(False, price): size for price, size in asks}


class Relay(Protocol):
    """What is needed of the relay."""

    intake: Intake
    counts: Counter[str]
    observe: Callable[[Any], None] | None

    def distrust(self, ticker: str, why: str) -> None:
        """Doubt one book, and ask for its snapshot."""


Read = Callable[[Sequence[str]], tuple[OrderBookBody, ...]]  # at most BOOKS_A_CALL; blocks


class Readings:
    """Reads many books call by call, in threads. A market that spoils its call is singled out and left out for long."""

    def __init__(self, read: Read, counts: Counter[str], *, pace: Pace, clock: Callable[[], float]) -> None:
        self._read = read
        self._counts = counts
        self._pace = pace
        self._clock = clock
        self._left_out: dict[str, float] = {}  # until when

    def without_culprits(self, tickers: Sequence[str]) -> list[str]:
        """Return those that are not left out by now; who is not among these books is forgotten."""
        now = self._clock()
        self._left_out = {ticker: self._left_out[ticker] for ticker in tickers if ticker in self._left_out}
        return [ticker for ticker in tickers if self._left_out.get(ticker, now) <= now]

    async def each(self, tickers: Sequence[str]) -> AsyncIterator[tuple[OrderBookBody, ...]]:
        """Yield the books of each call that is answered, for as long as a look may take.

        A refusal for speed slows the pace down and ends the reading.
        """
        calls = [list(tickers[start : start + BOOKS_A_CALL]) for start in range(0, len(tickers), BOOKS_A_CALL)]
        began, culprits = self._clock(), dict[str, KalshiError]()
        while calls and len(culprits) < CULPRITS_MOST and self._clock() - began < READ_SECONDS:
            asked = calls.pop(0)
            try:
                bodies = await asyncio.to_thread(self._read, asked)
            except KalshiError as exc:
                if not _is_of_one_market(exc):
                    self._fail(exc)
                    calls = [] if isinstance(exc, RateLimited) else calls
                elif len(asked) > 1:
                    calls[:0] = [asked[: len(asked) // 2], asked[len(asked) // 2 :]]
                else:
                    culprits[asked[0]] = exc
            else:
                self._pace.note_answer()
                yield bodies
        for ticker, error in culprits.items() if len(culprits) < CULPRITS_MOST else ():
            self._leave_out(ticker, error)

    def _fail(self, error: KalshiError) -> None:
        if isinstance(error, RateLimited):
            self._pace.slow_down()
        self._counts["cross_check_failures"] += 1
        logger.info("the books could not be cross-checked: %s", type(error).__name__)

    def _leave_out(self, ticker: str, error: KalshiError) -> None:
        self._counts["cross_check_left_out"] += 1
        if ticker not in self._left_out:
            logger.warning("the book of %s is not cross-checked for now: %s", ticker, error)
        self._left_out[ticker] = self._clock() + LEFT_OUT_SECONDS


def _is_of_one_market(error: KalshiError) -> bool:
    """Say whether others than the one that this is about may be answered."""
    return isinstance(error, BadMessage) or (isinstance(error, Rejected) and error.status in OF_THESE_TICKERS)


class CrossCheck:
    """Compares the relay's live books with the exchange's own, on the relay's loop; `read` blocks, in a thread.

    `pace` is the one that `read` keeps to: a refusal for speed slows down whoever shares it.
    """

    def __init__(
        self,
        relay: Relay,
        read: Read,
        *,
        pace: Pace | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._relay = relay
        self._readings = Readings(read, relay.counts, pace=pace or Pace(), clock=clock)
        self._sleep = sleep
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - it only spreads the readings
        self._windows: dict[str, Window] = {}

    async def run(self) -> None:
        """Check all live books every thirty to sixty seconds until cancelled."""
        began = self._clock()
        while True:
            await self._sleep(max(0.0, began + self._rng.uniform(*EVERY_SECONDS) - self._clock()))
            began = self._clock()
            await self.check()

    async def check(self) -> list[str]:
        """Check all live books once; return those that were found wrong, and are doubted now."""
        first = await self._look(self._live())
        if not first:
            return []
        self._relay.counts["cross_check_suspicions"] += len(first)
        await self._sleep(AGAIN_SECONDS)
        second = await self._look(list(first))
        wrong = [ticker for ticker, places in second.items() if places.items() & first[ticker].items()]
        for ticker in wrong:
            logger.warning("the book of %s differs from the exchange's own at %s", ticker, sorted(second[ticker])[:5])
            self._relay.counts["mismatches"] += 1
            self._relay.distrust(ticker, WHY)
        return wrong

    def _live(self) -> list[str]:
        """Return the books to check, in an order of their own each time: whoever is read last may not be reached."""
        intake = self._relay.intake
        if intake.upstream.state != "LIVE":
            return []
        live = [ticker for ticker, live in intake.books.items() if live.fault is None and live.up is not None]
        live = self._readings.without_culprits(live)
        self._rng.shuffle(live)
        return live

    # --- one look --------------------------------------------------------------------------------

    async def _look(self, tickers: list[str]) -> dict[str, dict[Place, int]]:
        books = self._relay.intake.books
        self._windows = {ticker: Window(books[ticker]) for ticker in tickers if ticker in books}
        if not self._windows:
            return {}
        self._relay.observe = self._note
        try:
            await self._sleep(LEAD_SECONDS)
            read: list[str] = []
            open_bodies: list[OrderBookBody] = []
            async for bodies in self._readings.each(list(self._windows)):
                read += [body.ticker for body in bodies]
                open_bodies += self._still_open(bodies)
            return self._judged(read, await self._wait_for_explanations(open_bodies))
        finally:
            self._relay.observe = None
            self._windows = {}

    def _note(self, event: Any) -> None:
        message = getattr(event, "message", None)
        window = None if message is None else self._windows.get(message.ticker)
        if window is not None:
            window.note(event)

    async def _wait_for_explanations(self, bodies: list[OrderBookBody]) -> list[OrderBookBody]:
        """Wait for what explains these bodies; return those that nothing has. What is explained once stays so."""
        waited = 0.0
        while waited < TRAIL_SECONDS and bodies:
            await self._sleep(STEP_SECONDS)
            waited += STEP_SECONDS
            bodies = self._still_open(bodies)
        return bodies

    def _still_open(self, bodies: Iterable[OrderBookBody]) -> list[OrderBookBody]:
        return [body for body in bodies if self._is_whole(body.ticker) and self._windows[body.ticker].unexplained(body)]

    def _is_whole(self, ticker: str) -> bool:
        """Say whether the book has been the same one all the while."""
        window = self._windows.get(ticker)
        is_kept = window is not None and self._relay.intake.books.get(ticker) is window.live
        return window is not None and is_kept and not window.is_spoiled

    def _judged(self, read: list[str], unexplained: list[OrderBookBody]) -> dict[str, dict[Place, int]]:
        self._relay.counts["cross_checked"] += sum(self._is_whole(ticker) for ticker in read)
        found = {body.ticker: self._windows[body.ticker].suspicious(body) for body in unexplained}
        return {ticker: places for ticker, places in found.items() if places}
