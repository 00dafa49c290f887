"""Books without a key: what the exchange shows to everybody over REST, read again and again, played as a feed.

It stands where the exchange's socket would stand, so that relay and intake know only one way. Every book read is a
snapshot of `sid` 0; nothing is streamed, so each is as old as its reading and is labelled POLLED.
Source: Kalshi trade API v2, `GET /markets/orderbooks` (public since September 2026, at most 100 markets a call).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from markets.intake import Polling
from markets.kalshi import feed
from markets.kalshi.errors import BadMessage, KalshiError, RateLimited, Rejected
from markets.kalshi.limits import backoff
from markets.kalshi.messages import BookSnapshot, OrderBookBody
from markets.source import Pace, books_reader

logger = logging.getLogger(__name__)

BOOKS_A_CALL = 100
EVERY_SECONDS = 1.0
IDLE_SECONDS = 5.0  # while nobody watches a market, only whether the exchange answers
STALLED_AFTER_SECONDS = 5.0
DOWN_AFTER_SECONDS = 15.0
SKIPPED_SECONDS = 60.0  # a market that the exchange does not show
BACKOFF_BASE_SECONDS = 0.5
BACKOFF_MOST_SECONDS = 20.0
JOIN_SECONDS = 15.0
OF_ONE_MARKET = frozenset({400, 404})

SID = 0  # no subscription of the stream has it


class Reader(Protocol):
    """What is asked of the exchange's REST client."""

    def orderbooks(self, tickers: Sequence[str]) -> tuple[OrderBookBody, ...]:
        """Return the books of at most 100 markets."""

    def exchange_status(self) -> Any:
        """Return whether the exchange works."""

    def close(self) -> None:
        """Let go of the connections."""


class PolledFeed:
    """Plays the exchange's feed from its REST books. `on_event` is called in its thread and must not block."""

    def __init__(
        self,
        reader: Reader,
        *,
        pace: Pace,
        on_event: Callable[[Any], None],
        why: str,
        every_seconds: float = EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._reader = reader
        self._pace = pace
        self._say = on_event
        self.why = why
        self._every = every_seconds
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - it only spreads retries
        self._wanted: dict[str, None] = {}
        self._unread: list[str] = []  # of a round that failed: where the next one begins
        self._skipped: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stirred = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed-poller", daemon=True)
        self._connection = self._seq = self._failures = 0
        self._answered_at: float | None = None
        self._is_connected = self._is_stalled = False

    # --- what its owner asks ---------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read, in a thread of its own. Once."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more, and wait for the reading under way."""
        self._stop.set()
        self._stirred.set()
        if self._thread.is_alive():
            self._thread.join(timeout=JOIN_SECONDS)
        self._reader.close()

    def watch(self, tickers: Iterable[str]) -> None:
        """Read these markets' books too, at once."""
        with self._lock:
            self._wanted.update(dict.fromkeys(tickers))
        self._stirred.set()

    def unwatch(self, tickers: Iterable[str]) -> None:
        """Read these no longer."""
        with self._lock:
            for ticker in tickers:
                self._wanted.pop(ticker, None)

    def resync(self, tickers: Iterable[str]) -> None:
        """Read at once; every reading brings whole books."""
        self._stirred.set()

    # --- reading ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stirred.clear()
            try:
                wait = self.read_once()
            except Exception:
                logger.exception("the books could not be polled")
                wait = IDLE_SECONDS
            # What is new is read at once, but not while the exchange asks for patience.
            (self._stop if self._failures else self._stirred).wait(wait)

    def read_once(self) -> float:
        """Read every watched book once and say what was found; return the seconds to wait."""
        began = self._clock()
        tickers = self._due(began)
        try:
            if not tickers:
                self._reader.exchange_status()
                self._note_answer()
            self._read_round(tickers)
        except KalshiError as exc:
            return self._note_failure(exc)
        self._failures = 0
        pause = self._every if tickers else IDLE_SECONDS
        return max(0.0, began + pause - self._clock())

    def _due(self, now: float) -> list[str]:
        with self._lock:
            self._skipped = {ticker: until for ticker, until in self._skipped.items() if until > now}
            due = {ticker: None for ticker in self._wanted if ticker not in self._skipped}
        unread = {ticker: None for ticker in self._unread if ticker in due}
        return list(unread | due)

    def _read_round(self, tickers: list[str]) -> None:
        """Read the books call by call; after a failure the next round begins there, so that none waits for ever.

        A call that fails as the first of its round is put last: what it asks for may be the reason.
        """
        for start in range(0, len(tickers), BOOKS_A_CALL):
            if self._stop.is_set():
                return
            end = start + BOOKS_A_CALL
            self._unread = tickers[start:] if start else tickers[end:] + tickers[:end]
            self._read(tickers[start:end])
        self._unread = []

    def _read(self, tickers: list[str]) -> None:
        """Read at most a call's books; what one market spoils is found by halves, without losing the others."""
        try:
            books = self._reader.orderbooks(tickers)
        except (Rejected, BadMessage) as exc:
            if isinstance(exc, Rejected) and exc.status not in OF_ONE_MARKET:
                raise
            self._blame(tickers, exc)
            return
        self._note_answer()
        for book in books:
            self._show(book)
        named = {book.ticker for book in books}
        self._skip([ticker for ticker in tickers if ticker not in named], "it names no book of this market")

    def _blame(self, tickers: list[str], error: Rejected | BadMessage) -> None:
        if len(tickers) > 1:
            middle = len(tickers) // 2
            self._read(tickers[:middle])
            self._read(tickers[middle:])
            return
        self._note_answer()
        if isinstance(error, BadMessage):
            self.counts["malformed"] += 1
            self._say(feed.Malformed(tickers[0], error.reason))
        else:
            self._skip(tickers, error.sentence)

    def _show(self, book: OrderBookBody) -> None:
        self._seq += 1
        message = BookSnapshot(book.ticker, book.bids, book.asks, SID, self._seq, None)
        self._say(feed.SnapshotReceived(message, self._connection))

    def _skip(self, tickers: list[str], reason: str) -> None:
        if tickers:
            until = self._clock() + SKIPPED_SECONDS
            self._skipped.update(dict.fromkeys(tickers, until))
            self._say(feed.SubscriptionRefused(tuple(tickers), reason))

    # --- how the exchange answers ----------------------------------------------------------------

    def _note_answer(self) -> None:
        self.counts["answers"] += 1
        self._pace.note_answer()
        self._answered_at = self._clock()
        if not self._is_connected:
            self._is_connected = True
            self._connection += 1
            self._say(Polling(self._connection, self.why))
        elif self._is_stalled:
            self._say(feed.Resumed())
        self._is_stalled = False
        self._say(feed.Alive())

    def _note_failure(self, error: KalshiError) -> float:
        """Say what a failure makes of the way upstream, and return how long to wait."""
        self.counts["failures"] += 1
        wait = backoff(self._failures, self._rng, base_seconds=BACKOFF_BASE_SECONDS, most_seconds=BACKOFF_MOST_SECONDS)
        self._failures += 1
        if isinstance(error, RateLimited):
            self._pace.slow_down()
            wait += error.retry_after_seconds or 1 / self._pace.per_second
        self._judge(f"the exchange's books cannot be read ({type(error).__name__})")
        return min(wait, BACKOFF_MOST_SECONDS)

    def _judge(self, reason: str) -> None:
        silent = None if self._answered_at is None else self._clock() - self._answered_at
        if not self._is_connected or silent is None or silent >= DOWN_AFTER_SECONDS:
            self._is_connected = self._is_stalled = False
            self._say(feed.Disconnected(reason, None))
        elif silent >= STALLED_AFTER_SECONDS and not self._is_stalled:
            self._is_stalled = True
            self._say(feed.Stalled())


def open_feed(environment: str, *, on_event: Callable[[Any], None], why: str) -> PolledFeed:
    """Return an unstarted feed of an environment's public books; `why` says why there is no stream."""
    pace = Pace()
    return PolledFeed(books_reader(environment, pace), pace=pace, on_event=on_event, why=why)
