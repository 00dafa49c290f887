"""Looks from time to time whether the live books are those that the exchange shows over REST.

A REST book has no position in the stream: the stream may be ahead of it, or behind. So a level is only held against us
if REST shows a size that the level never had around the reading, and if it rested on our side all the while; and only
if a second look finds the very same difference. A moving book explains itself; a change that was lost does not.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from markets.intake import Intake
from markets.kalshi import feed
from markets.kalshi.errors import KalshiError
from markets.kalshi.messages import OrderBookBody
from markets.livebook import LiveBook

logger = logging.getLogger(__name__)

EVERY_SECONDS = (30.0, 60.0)
LEAD_SECONDS = 1.0  # the reading side of the exchange lags: what a level was a moment ago explains it too
TRAIL_SECONDS = 4.0  # and the stream may lag: what a level becomes soon after explains it as well
STEP_SECONDS = 0.25
AGAIN_SECONDS = 2.0  # between the two looks
BOOKS_A_CALL = 100

WHY = "it is not the book that the exchange shows over REST"

Place = tuple[bool, int]  # is it a bid, at which price


class Window:
    """What each level of one book held while it was open. Spoiled by whatever replaces or doubts the book."""

    def __init__(self, live: LiveBook) -> None:
        self.live = live
        self._stream = None if live.up is None else live.up[:2]
        self._is_replaced = False
        self._held: dict[Place, set[int]] = {(True, price): {size} for price, size in live.book.bids.items()}
        self._held |= {(False, price): {size} for price, size in live.book.asks.items()}

    def note(self, event: Any) -> None:
        """Take an event of this market that the book has taken."""
        message = event.message
        if type(event) is feed.SnapshotReceived:
            self._is_replaced = True
        elif type(event) is feed.DeltaReceived:
            place, book = (message.is_bid, message.price_units), self.live.book
            after = (book.bids if message.is_bid else book.asks).get(message.price_units, 0)
            self._held.setdefault(place, {after - message.change_units}).add(after)

    @property
    def is_spoiled(self) -> bool:
        """Say whether the book was not the same stream's all the while."""
        live = self.live
        return self._is_replaced or live.fault is not None or live.up is None or live.up[:2] != self._stream

    def unexplained(self, body: OrderBookBody) -> dict[Place, int]:
        """Return the levels that never were as REST shows them: REST's size minus the last one of ours."""
        shown = {(True, price): size for price, size in body.bids} | {(False, price): size for price, size in body.asks}
        places = shown.keys() | self._held.keys()
        return {
            place: shown.get(place, 0) - self._now(place)
            for place in places
            if shown.get(place, 0) not in self._held.get(place, {0})
        }

    def suspicious(self, body: OrderBookBody) -> dict[Place, int]:
        """Return those unexplained levels that rested on our side all the while."""
        return {place: by for place, by in self.unexplained(body).items() if len(self._held.get(place, {0})) == 1}

    def _now(self, place: Place) -> int:
        is_bid, price = place
        return (self.live.book.bids if is_bid else self.live.book.asks).get(price, 0)


class Relay(Protocol):
    """What is needed of the relay."""

    intake: Intake
    counts: Counter[str]
    observe: Callable[[Any], None] | None

    def distrust(self, ticker: str, why: str) -> None:
        """Doubt one book, and ask for its snapshot."""


class CrossCheck:
    """Compares the relay's live books with the exchange's own, on the relay's loop; `read` blocks, in a thread."""

    def __init__(
        self,
        relay: Relay,
        read: Callable[[Sequence[str]], tuple[OrderBookBody, ...]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._relay = relay
        self._read = read
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - it only spreads the readings
        self._windows: dict[str, Window] = {}

    async def run(self) -> None:
        """Check all live books every thirty to sixty seconds until cancelled."""
        while True:
            await self._sleep(self._rng.uniform(*EVERY_SECONDS))
            await self.check()

    async def check(self) -> list[str]:
        """Check all live books once; return those that were found wrong, and are doubted now."""
        first = await self._look_all(self._live())
        if not first:
            return []
        self._relay.counts["cross_check_suspicions"] += len(first)
        await self._sleep(AGAIN_SECONDS)
        second = await self._look_all(list(first))
        wrong = [ticker for ticker, places in second.items() if places.items() & first[ticker].items()]
        for ticker in wrong:
            logger.warning("the book of %s differs from the exchange's own at %s", ticker, sorted(second[ticker])[:5])
            self._relay.counts["mismatches"] += 1
            self._relay.distrust(ticker, WHY)
        return wrong

    def _live(self) -> list[str]:
        intake = self._relay.intake
        if intake.upstream.state != "LIVE":
            return []
        return [ticker for ticker, live in intake.books.items() if live.fault is None and live.up is not None]

    # --- one look --------------------------------------------------------------------------------

    async def _look_all(self, tickers: list[str]) -> dict[str, dict[Place, int]]:
        found: dict[str, dict[Place, int]] = {}
        for start in range(0, len(tickers), BOOKS_A_CALL):
            try:
                found |= await self._look(tickers[start : start + BOOKS_A_CALL])
            except KalshiError as exc:
                self._relay.counts["cross_check_failures"] += 1
                logger.info("the books could not be cross-checked: %s", type(exc).__name__)
        return found

    async def _look(self, tickers: list[str]) -> dict[str, dict[Place, int]]:
        books = self._relay.intake.books
        self._windows = {ticker: Window(books[ticker]) for ticker in tickers if ticker in books}
        if not self._windows:
            return {}
        self._relay.observe = self._note
        try:
            await self._sleep(LEAD_SECONDS)
            bodies = await asyncio.to_thread(self._read, list(self._windows))
            await self._wait_for_explanations(bodies)
            return self._judged(bodies)
        finally:
            self._relay.observe = None
            self._windows = {}

    def _note(self, event: Any) -> None:
        message = getattr(event, "message", None)
        window = None if message is None else self._windows.get(message.ticker)
        if window is not None:
            window.note(event)

    async def _wait_for_explanations(self, bodies: Sequence[OrderBookBody]) -> None:
        waited = 0.0
        while waited < TRAIL_SECONDS and any(self._is_open(body) for body in bodies):
            await self._sleep(STEP_SECONDS)
            waited += STEP_SECONDS

    def _is_open(self, body: OrderBookBody) -> bool:
        window = self._windows.get(body.ticker)
        return window is not None and not window.is_spoiled and bool(window.unexplained(body))

    def _judged(self, bodies: Sequence[OrderBookBody]) -> dict[str, dict[Place, int]]:
        found: dict[str, dict[Place, int]] = {}
        for body in bodies:
            window = self._windows.get(body.ticker)
            is_kept = window is not None and self._relay.intake.books.get(body.ticker) is window.live
            if window is None or not is_kept or window.is_spoiled:
                continue
            self._relay.counts["cross_checked"] += 1
            if places := window.suspicious(body):
                found[body.ticker] = places
        return found
