"""What the feed reports becomes books: which message changes what, which one casts doubt, and what to ask for again.

Pure but for the feed's event types: time is handed in, and what should be asked upstream is returned by `repairs`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from markets.book import BookError, NegativeLevel, OffGrid, bands_of
from markets.events import FeedState
from markets.kalshi import feed
from markets.kalshi.messages import Lifecycle
from markets.livebook import LIVE, Label, Listing, LiveBook, Moment

OWN_WATCH_MS = 30_000  # the feed has its own, shorter one: this is for a reader thread that died
REPAIR_FIRST_MS = 250
REPAIR_MOST_MS = 10_000
FEED_REPAIRS_MS = 3_000  # after a gap the feed asks by itself; only then do we
FIRST_SNAPSHOT_MS = 5_000
CALM_MS = 30_000
OVER_ATTEMPTS = 3

_FEED_STATES: dict[str, FeedState] = {"LIVE": "live", "STALE": "stale", "DOWN": "down", "POLLED": "polled"}


@dataclass(frozen=True, slots=True)
class Polling:
    """A feed without a stream: books are read over REST now and then. `connection` counts from 1; `why` is told."""

    connection: int
    why: str


class Repair:
    """When to ask for one market's snapshot (again): at once, then at growing distances."""

    __slots__ = ("asked", "asked_at", "next_at")

    def __init__(self, next_at: int) -> None:
        self.asked = 0
        self.asked_at: int | None = None
        self.next_at: int | None = next_at

    def want(self, now: int, delay: int) -> None:
        """Want a snapshot after `delay` ms, unless that is too soon after the last one."""
        if self.asked_at is None or now - self.asked_at > CALM_MS:
            self.asked = 0
            self.next_at = now + delay
        else:
            self.next_at = max(now + delay, self.asked_at + self._distance())

    def settle(self) -> None:
        """Want nothing now; how often was asked lately is remembered."""
        self.next_at = None

    def note_asked(self, now: int) -> None:
        """Count one question."""
        self.asked += 1
        self.asked_at = now
        self.next_at = now + max(self._distance(), 1_000)

    def _distance(self) -> int:
        return min(REPAIR_MOST_MS, REPAIR_FIRST_MS << min(self.asked, 10))


class Intake:
    """All books of one environment and the state of the way upstream."""

    def __init__(self, environment: str, epoch: str) -> None:
        self.environment = environment
        self.epoch = epoch
        self.books: dict[str, LiveBook] = {}
        self.dirty: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.upstream = Label("DOWN", "not connected yet")
        self.off_grid: set[str] = set()  # markets whose description should be read again
        self.alive_at: int | None = None
        self.heard_at: int | None = None
        self._is_connected = False
        self._well = LIVE  # what the way upstream is called while nothing is wrong with it
        self._down_because = "not connected yet"
        self._stalled_because: str | None = None
        self._crossed: set[str] = set()
        self._repairs: dict[str, Repair] = {}
        self._take: dict[type, Callable[[Any, Moment], None]] = {
            feed.SnapshotReceived: self._snapshot,
            feed.DeltaReceived: self._delta,
            feed.TradeReceived: self._trade,
            feed.LifecycleReceived: self._lifecycle,
            feed.BooksStale: self._books_stale,
            feed.Connected: self._connected,
            Polling: self._polling,
            feed.Disconnected: self._disconnected,
            feed.Stalled: self._stalled,
            feed.Resumed: self._resumed,
            feed.Alive: self._alive,
            feed.Malformed: self._malformed,
            feed.SubscriptionRefused: self._refused,
        }

    # --- what the relay asks ---------------------------------------------------------------------

    def add(self, listing: Listing, now: Moment) -> LiveBook:
        """Begin to follow a market: its first snapshot is on its way."""
        live = LiveBook(self.environment, listing, self.epoch)
        self.books[listing.ticker] = live
        self._repairs[listing.ticker] = Repair(now.mono + FIRST_SNAPSHOT_MS)
        self.dirty.add(listing.ticker)
        return live

    def remove(self, ticker: str) -> None:
        """Follow a market no longer."""
        self.books.pop(ticker, None)
        self._repairs.pop(ticker, None)
        for marked in (self.dirty, self._crossed, self.off_grid):
            marked.discard(ticker)

    def begin_epoch(self, epoch: str) -> None:
        """Number every book from the start under a new name."""
        self.epoch = epoch
        for live in self.books.values():
            live.begin_epoch(epoch)
        self.dirty.update(self.books)

    def lose_everything(self, why: str, now: Moment) -> None:
        """Doubt every book: messages were thrown away unread."""
        for ticker in self.books:
            self._doubt(ticker, Label("STALE", why), now)

    def distrust(self, ticker: str, why: str, now: Moment) -> None:
        """Doubt one book for a reason that the feed does not know, and want its snapshot at once."""
        self._doubt(ticker, Label("STALE", why), now)

    def take(self, event: Any, now: Moment) -> None:
        """Take one event of the feed; kinds that say nothing about books are passed over."""
        reader = self._take.get(type(event))
        if reader is not None:
            reader(event, now)

    def look(self, now: Moment) -> None:
        """Notice what only time shows: a book crossed for too long, a feed that says nothing at all."""
        for ticker in list(self._crossed):
            self._look_at_crossed(ticker, now)
        is_silent = self._is_connected and self.alive_at is not None and now.mono - self.alive_at > OWN_WATCH_MS
        if is_silent and self._stalled_because is None:
            self._stalled_because = "nothing has been heard from the exchange"
        self._set_upstream()

    def repairs(self, now: Moment) -> list[str]:
        """Return the markets whose snapshot should be asked for now, and count them as asked."""
        if not self._is_connected:
            return []
        due = [ticker for ticker in self.books if self._is_repair_due(ticker, now)]
        for ticker in due:
            self._repairs[ticker].note_asked(now.mono)
            self._say_attempt(ticker)
        self.counts["resyncs"] += len(due)
        return due

    def feed_state(self) -> FeedState:
        """Return the state of the way upstream as beats carry it."""
        return _FEED_STATES[self.upstream.state]

    # --- what the feed says of books -------------------------------------------------------------

    def _snapshot(self, event: feed.SnapshotReceived, now: Moment) -> None:
        self._note_heard(now)
        message = event.message
        live = self.books.get(message.ticker)
        if live is None:
            return
        self.counts["snapshots"] += 1
        up = (event.connection, message.sid, message.seq, message.clock)
        try:
            live.snapshot(message.bids, message.asks, up, None, now)
        except BookError as exc:
            self._count_wrong(live, exc, now)
            return
        self._repairs[message.ticker].settle()
        self._note_changed(live)

    def _delta(self, event: feed.DeltaReceived, now: Moment) -> None:
        self._note_heard(now)
        message = event.message
        live = self.books.get(message.ticker)
        if live is None:
            return
        up = (event.connection, message.sid, message.seq, message.clock)
        try:
            if not live.delta(message.is_bid, message.price_units, message.change_units, up, message.ts_ms, now):
                self.counts["deltas_passed_over"] += 1
                if live.fault is None and live.up is not None and up[:2] != live.up[:2]:
                    # The market's changes come in another subscription now, and its whole book there was missed.
                    self._doubt(message.ticker, Label("RESYNC", "waiting for a snapshot"), now)
                return
        except BookError as exc:
            self._count_wrong(live, exc, now)
            return
        self.counts["deltas"] += 1
        self.dirty.add(message.ticker)
        if live.crossed_since is not None:
            self._crossed.add(message.ticker)

    def _trade(self, event: feed.TradeReceived, now: Moment) -> None:
        self._note_heard(now)
        message = event.message
        live = self.books.get(message.ticker)
        if live is None:
            return
        self.counts["trades"] += 1
        if live.trade(
            message.price_units, message.count_units, message.taker_side, message.ts_ms, message.trade_id, now
        ):
            self.dirty.add(message.ticker)

    def _lifecycle(self, event: feed.LifecycleReceived, now: Moment) -> None:
        self._note_heard(now)
        message = event.message
        live = self.books.get(message.ticker)
        if live is None:
            return
        self.counts["lifecycle"] += 1
        if changed := _changes(message):
            live.change_listing(as_of_ms=now.wall, **changed)
            self.dirty.add(live.ticker)

    def _books_stale(self, event: feed.BooksStale, now: Moment) -> None:
        self.counts["gaps"] += 1
        for ticker in event.tickers:
            self._doubt(ticker, Label("RESYNC", event.reason), now, delay=FEED_REPAIRS_MS)

    def _malformed(self, event: feed.Malformed, now: Moment) -> None:
        self.counts["malformed"] += 1
        for ticker in [event.ticker] if event.ticker else list(self.books):
            self._doubt(ticker, Label("STALE", "a message could not be read"), now)

    def _refused(self, event: feed.SubscriptionRefused, now: Moment) -> None:
        self.counts["refused"] += 1
        for ticker in event.tickers:
            self._doubt(ticker, Label("STALE", f"the exchange refuses the subscription: {event.reason}"), now)

    # --- what the feed says of itself ------------------------------------------------------------

    def _connected(self, event: feed.Connected, now: Moment) -> None:
        self._connect(LIVE, now)

    def _polling(self, event: Polling, now: Moment) -> None:
        self._connect(Label("POLLED", event.why), now)

    def _connect(self, well: Label, now: Moment) -> None:
        self._well = well
        self.counts["connections"] += 1
        self._is_connected, self._stalled_because = True, None
        self.alive_at = now.mono
        self._set_upstream()
        for ticker in self.books:
            self._doubt(ticker, Label("RESYNC", "connected, waiting for a snapshot"), now, delay=FIRST_SNAPSHOT_MS)

    def _disconnected(self, event: feed.Disconnected, now: Moment) -> None:
        self.go_down(f"connection lost: {event.reason}", now)

    def go_down(self, why: str, now: Moment) -> None:
        """Note that there is no connection upstream."""
        self._is_connected, self._stalled_because, self._down_because = False, None, why
        self._set_upstream()
        for ticker in self.books:
            self._doubt(ticker, Label("RESYNC", "waiting for a snapshot"), now)

    def _stalled(self, event: feed.Stalled, now: Moment) -> None:
        self.counts["stalls"] += 1
        self._stalled_because = "nothing has been heard from the exchange"
        self._set_upstream()

    def _resumed(self, event: feed.Resumed, now: Moment) -> None:
        self.alive_at = now.mono
        self._stalled_because = None
        self._set_upstream()

    def _alive(self, event: feed.Alive, now: Moment) -> None:
        self.alive_at = now.mono

    def _set_upstream(self) -> None:
        before = self.upstream
        if not self._is_connected:
            self.upstream = Label("DOWN", self._down_because)
        elif self._stalled_because is not None:
            self.upstream = Label("STALE", self._stalled_because)
        else:
            self.upstream = self._well
        if self.upstream != before:
            self.dirty.update(self.books)

    # --- what it comes to ------------------------------------------------------------------------

    def _note_heard(self, now: Moment) -> None:
        self.alive_at = self.heard_at = now.mono

    def _note_changed(self, live: LiveBook) -> None:
        self.dirty.add(live.ticker)
        if live.crossed_since is not None:
            self._crossed.add(live.ticker)

    def _doubt(self, ticker: str, fault: Label, now: Moment, *, delay: int = 0) -> None:
        live = self.books.get(ticker)
        if live is None:
            return
        live.doubt(fault)
        self._repairs[ticker].want(now.mono, delay)
        self.dirty.add(ticker)

    def _count_wrong(self, live: LiveBook, error: BookError, now: Moment) -> None:
        if isinstance(error, OffGrid):
            self.counts["off_grid"] += 1
            self.off_grid.add(live.ticker)
        else:
            self.counts["negative" if isinstance(error, NegativeLevel) else "impossible"] += 1
        if live.fault is not None:
            self._doubt(live.ticker, live.fault, now)

    def _look_at_crossed(self, ticker: str, now: Moment) -> None:
        live = self.books.get(ticker)
        if live is None or live.crossed_since is None:
            self._crossed.discard(ticker)
        elif live.fault is None and live.is_crossed_too_long(now):
            self.counts["crossed"] += 1
            self._doubt(ticker, Label("STALE", "bid and ask overlap"), now)

    def _is_repair_due(self, ticker: str, now: Moment) -> bool:
        repair = self._repairs[ticker]
        if repair.next_at is None or repair.next_at > now.mono:
            return False
        # A finished market may never get a snapshot again.
        return repair.asked < OVER_ATTEMPTS or not self.books[ticker].listing.is_over(now.wall)

    def _say_attempt(self, ticker: str) -> None:
        live = self.books[ticker]
        if live.fault is not None and self._repairs[ticker].asked > 1:
            live.doubt(Label("RESYNC", f"asking for a snapshot, attempt {self._repairs[ticker].asked}"))
            self.dirty.add(ticker)


_STATUSES = {
    "activated": "active",
    "deactivated": "inactive",
    "determined": "determined",
    "settled": "finalized",
}


def _changes(message: Lifecycle) -> dict[str, object]:
    """Return what a lifecycle message changes of a listing."""
    if message.event_type in _STATUSES:
        return {"status": _STATUSES[message.event_type]}
    if message.event_type == "close_date_updated" and message.close_ms is not None:
        return {"close_ms": message.close_ms}
    if message.event_type == "price_level_structure_updated" and message.bands:
        return {"bands": bands_of(message.bands)}
    return {}
