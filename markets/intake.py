"""What the feed reports becomes books: which message changes what, which one casts doubt, and what to ask for again.

Pure but for the feed's event types: time is handed in, and what should be asked upstream is returned by `repairs`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from markets.book import BookError, NegativeLevel, OffGrid, bands_of
from markets.events import FeedState
from markets.kalshi import feed
from markets.kalshi.messages import Lifecycle
from markets.livebook import LIVE, NOTHING_COUNTED, Counted, Label, Listing, LiveBook, Moment
from markets.repairs import Descriptions, Repair

OWN_WATCH_MS = 30_000  # the feed has its own, shorter one: this is for a reader thread that died
FEED_REPAIRS_MS = 3_000  # after a gap the feed asks by itself; only then do we
FIRST_SNAPSHOT_MS = 5_000
OVER_ATTEMPTS = 3
COUNTED_KEPT = 20_000
READING_MOST_MS = 15_000  # a polled book that was last read longer ago is believed no more

_FEED_STATES: dict[str, FeedState] = {"LIVE": "live", "STALE": "stale", "DOWN": "down", "POLLED": "polled"}


@dataclass(frozen=True, slots=True)
class Polling:
    """A feed without a stream: books are read over REST now and then. `connection` counts from 1; `why` is told."""

    connection: int
    why: str


class Intake:
    """All books of one environment and the state of the way upstream."""

    def __init__(self, environment: str, epoch: str) -> None:
        self.environment = environment
        self.epoch = epoch
        self.books: dict[str, LiveBook] = {}
        self.dirty: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.upstream = Label("DOWN", "not connected yet")
        self.descriptions = Descriptions()
        self.alive_at: int | None = None
        self.heard_at: int | None = None
        self._is_connected = False
        self._well = LIVE  # what the way upstream is called while nothing is wrong with it
        self._down_because = "not connected yet"
        self._is_stalled = False  # by the feed's own word, until it takes that back
        self._crossed: set[str] = set()
        self._repairs: dict[str, Repair] = {}
        self._counted: dict[str, Counted] = {}  # of markets that were followed in this epoch
        self._counted_most = NOTHING_COUNTED  # of those that are no longer remembered one by one
        self._take: dict[type, Callable[[Any, Moment], None]] = {
            feed.SnapshotReceived: self._snapshot,
            feed.DeltaReceived: self._delta,
            feed.TradeReceived: self._trade,
            feed.LifecycleReceived: self._lifecycle,
            feed.BooksStale: self._books_stale,
            feed.LifecycleMissed: self._lifecycle_missed,
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
        """Begin to follow a market: its first snapshot is on its way.

        One that was followed before in this epoch goes on from its numbers: somebody may still hold its last frame.
        """
        after = self._counted.pop(listing.ticker, self._counted_most)
        live = LiveBook(self.environment, listing, self.epoch, after=after)
        self.books[listing.ticker] = live
        self._repairs[listing.ticker] = Repair(now.mono + FIRST_SNAPSHOT_MS)
        self.dirty.add(listing.ticker)
        return live

    def remove(self, ticker: str) -> None:
        """Follow a market no longer."""
        live = self.books.pop(ticker, None)
        if live is not None:
            self._remember_numbers(live)
        self._repairs.pop(ticker, None)
        self.descriptions.forget(ticker)
        for marked in (self.dirty, self._crossed):
            marked.discard(ticker)

    def begin_epoch(self, epoch: str) -> None:
        """Number every book from the start under a new name."""
        self.epoch = epoch
        self._counted, self._counted_most = {}, NOTHING_COUNTED
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
        """Notice what only time shows: a market's close, a book crossed for too long, a feed that says nothing."""
        self.dirty.update(ticker for ticker, live in self.books.items() if live.is_closing_news(now))
        for ticker in list(self._crossed):
            self._look_at_crossed(ticker, now)
        self._set_upstream(now)
        if self.upstream.state == "POLLED":
            self._look_at_readings(now)

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

    def descriptions_due(self, now: Moment) -> list[str]:
        """Return the markets that the exchange should be asked to describe now, and count them as asked."""
        return self.descriptions.due(now.mono)

    def describe(self, listing: Listing, asked_ms: int) -> None:
        """Take what catalogue or exchange answered to a question that was asked at a time by the wall's clock.

        What the stream has just told is not taken back, for what is read lags behind it.
        """
        ticker, known_ms = listing.ticker, min(listing.as_of_ms, asked_ms)
        live = self.books.get(ticker)
        if live is None or listing.as_of_ms < live.listing.as_of_ms or self.descriptions.is_behind(ticker, known_ms):
            return
        live.describe(listing)
        self.dirty.add(ticker)
        self.descriptions.settle(ticker, known_ms)

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
            self.descriptions.note_told(live.ticker, wall=now.wall)
            live.change_listing(as_of_ms=now.wall, **changed)
            self.dirty.add(live.ticker)

    def _books_stale(self, event: feed.BooksStale, now: Moment) -> None:
        self.counts["gaps"] += 1
        for ticker in event.tickers:
            self._doubt(ticker, Label("RESYNC", event.reason), now, delay=FEED_REPAIRS_MS)

    def _lifecycle_missed(self, event: feed.LifecycleMissed, now: Moment) -> None:
        self.counts["lifecycle_missed"] += 1
        self._want_descriptions(self.books, now)

    def _malformed(self, event: feed.Malformed, now: Moment) -> None:
        self.counts["malformed"] += 1
        if event.channel == "trade":
            return  # the trade is lost; the book is told of its change in a message of its own
        if event.channel == "market_lifecycle_v2":
            self._want_descriptions([event.ticker] if event.ticker else self.books, now)
            return
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
        self._is_connected, self._is_stalled = True, False
        self.alive_at = now.mono
        self._set_upstream(now)
        self._want_descriptions(self.books, now)
        for ticker in self.books:
            self._doubt(ticker, Label("RESYNC", "connected, waiting for a snapshot"), now, delay=FIRST_SNAPSHOT_MS)

    def _disconnected(self, event: feed.Disconnected, now: Moment) -> None:
        self.go_down(f"connection lost: {event.reason}", now)

    def go_down(self, why: str, now: Moment) -> None:
        """Note that there is no connection upstream."""
        self._is_connected, self._is_stalled, self._down_because = False, False, why
        self._set_upstream(now)
        for ticker in self.books:
            self._doubt(ticker, Label("RESYNC", "waiting for a snapshot"), now)

    def _stalled(self, event: feed.Stalled, now: Moment) -> None:
        self.counts["stalls"] += 1
        self._is_stalled = True
        self._set_upstream(now)

    def _resumed(self, event: feed.Resumed, now: Moment) -> None:
        self.alive_at = now.mono
        self._is_stalled = False
        self._set_upstream(now)

    def _alive(self, event: feed.Alive, now: Moment) -> None:
        self.alive_at = now.mono

    def _set_upstream(self, now: Moment) -> None:
        before = self.upstream
        if not self._is_connected:
            self.upstream = Label("DOWN", self._down_because)
        elif self._is_stalled or self._is_silent(now):
            self.upstream = Label("STALE", "nothing has been heard from the exchange")
        else:
            self.upstream = self._well
        if self.upstream != before:
            self.dirty.update(self.books)

    def _is_silent(self, now: Moment) -> bool:
        """Say whether nothing has come for too long; that ends with the next sign of life.

        A feed that was only frozen brings then what has waited for it: `seq` shows whether all of it is there.
        """
        return self.alive_at is not None and now.mono - self.alive_at > OWN_WATCH_MS

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

    def _want_descriptions(self, tickers: Iterable[str], now: Moment) -> None:
        """Have markets described by the exchange: not all that it told of them was read."""
        followed = [ticker for ticker in tickers if ticker in self.books]
        self.descriptions.want(followed, now=now.mono, wall=now.wall)

    def _remember_numbers(self, live: LiveBook) -> None:
        self._counted[live.ticker] = Counted(live.number, live.trade_number)
        if len(self._counted) > COUNTED_KEPT:
            oldest = self._counted.pop(next(iter(self._counted)))
            most = self._counted_most
            self._counted_most = Counted(max(oldest.frames, most.frames), max(oldest.trades, most.trades))

    def _count_wrong(self, live: LiveBook, error: BookError, now: Moment) -> None:
        if isinstance(error, OffGrid):
            self.counts["off_grid"] += 1
            self._want_descriptions([live.ticker], now)
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

    def _look_at_readings(self, now: Moment) -> None:
        for ticker, live in self.books.items():
            is_old = live.heard_at is not None and now.mono - live.heard_at > READING_MOST_MS
            if is_old and live.fault is None:
                self._doubt(ticker, Label("STALE", "it was last read more than 15 seconds ago"), now)
                self._repairs[ticker].settle()  # every round of readings asks for it anyway

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
