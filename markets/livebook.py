"""One watched market as its viewers see it: the book, how far it may be believed, and its numbered frames.

Pure: time is handed in, frames come out encoded. A quiet market's change is due at once; a busy market's changes merge
into one frame per interval, with absolute sizes. A fault keeps the book closed to changes until a snapshot replaces it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import NamedTuple

from markets.book import Bands, BookError, Levels, OffGrid, OffGridWord, OrderBook
from markets.events import (
    BookFrame,
    DeltaFrame,
    Entry,
    Side,
    State,
    StateFrame,
    TopFrame,
    TradeFrame,
    Upstream,
    encode,
)
from markets.pace import USUAL_MS

TOP_INTERVAL_MS = 200
CROSSED_MS = 1000  # true books cross for instants only
TRADES_KEPT = 200

OVER = frozenset({"closed", "determined", "disputed", "amended", "finalized", "settled", "unlisted"})
WAITING = frozenset({"inactive", "initialized"})


class Moment(NamedTuple):
    """Now, on two clocks in ms: one that never jumps, for intervals, and the wall's, for people and closing times."""

    mono: int
    wall: int


class Label(NamedTuple):
    """How far a book may be believed, and why."""

    state: State
    why: str = ""


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade as it is remembered; its frame is made when it is told, for the epoch may be another by then."""

    number: int
    price: int
    count: int
    side: Side
    ts: int | None
    id: str


class Counted(NamedTuple):
    """The last numbers of a market's frames and of its trades."""

    frames: int
    trades: int


LIVE = Label("LIVE")
NOTHING_COUNTED = Counted(0, 0)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a book needs to know of its market, and since when that is known (by the wall's clock)."""

    ticker: str
    status: str = "active"
    close_ms: int | None = None
    bands: Bands | None = None
    is_replay: bool = False
    as_of_ms: int = 0

    def is_over(self, wall_ms: int) -> bool:
        """Say whether nobody can trade it any more; a replayed market's clock is not ours."""
        if self.status in OVER:
            return True
        return not self.is_replay and self.close_ms is not None and self.close_ms <= wall_ms


class LiveBook:
    """One market: messages in, numbered frames out."""

    def __init__(self, environment: str, listing: Listing, epoch: str, *, after: Counted = NOTHING_COUNTED) -> None:
        """Count from the numbers `after`: the last that this market had in this epoch."""
        self.environment = environment
        self.listing = listing
        self.ticker = listing.ticker
        self.epoch = epoch
        self.book = OrderBook(listing.bands)
        self.fault: Label | None = Label("RESYNC", "waiting for the first snapshot")
        self.up: Upstream | None = None
        self.ts: int | None = None
        self.heard_at: int | None = None
        self.read_at: int | None = None  # when its last snapshot came, by the wall's clock
        self.crossed_since: int | None = None
        self.number, self.trade_number = after
        self.trades: deque[Trade] = deque(maxlen=TRADES_KEPT)
        self.last: tuple[int, int, Side, int | None] | None = None
        self._off_grid: OffGridWord | None = None
        self._trade_ids: deque[str] = deque(maxlen=TRADES_KEPT)
        self._new_trades: list[Trade] = []
        self._changed: dict[tuple[bool, int], int] = {}
        self._is_whole_due = True
        self._told: Label | None = None
        self._sent_at: int | None = None
        self._top_told = ""
        self._top_at = -TOP_INTERVAL_MS

    # --- what comes in ---------------------------------------------------------------------------

    def snapshot(self, bids: Levels, asks: Levels, up: Upstream, ts: int | None, now: Moment) -> None:
        """Replace the book and end any fault. Raises BookError for levels that cannot be; then the fault stands."""
        try:
            self._replace_book(bids, asks, up)
        except BookError as exc:
            self.doubt(Label("STALE", f"the exchange's snapshot cannot be right: {exc}"))
            raise
        self.fault = None
        self.up, self.ts, self.heard_at, self.read_at = up, ts, now.mono, now.wall
        self._changed.clear()
        self._is_whole_due = True
        self._note_crossing(now)

    def delta(self, is_bid: bool, price: int, change: int, up: Upstream, ts: int | None, now: Moment) -> bool:
        """Add one change; return False where it is not for the book as it stands: doubted, repeated, or another's.

        Raises BookError for a change that cannot be; the book is doubted from then on.
        """
        known = self.up
        if self.fault is not None or known is None or up[:2] != known[:2] or up[2] <= known[2]:
            return False
        try:
            size = self.book.apply_delta(is_bid, price, change)
        except BookError as exc:
            self.doubt(Label("STALE", f"a change that cannot be: {exc}"))
            raise
        self._changed[is_bid, price] = size
        self.up, self.ts, self.heard_at = up, ts, now.mono
        if self.crossed_since is not None or self.book.is_crossed:
            self._note_crossing(now)
        return True

    def trade(self, price: int, count: int, side: Side, ts: int | None, trade_id: str, now: Moment) -> bool:
        """Remember one trade; return False for one that came before."""
        if trade_id in self._trade_ids:
            return False
        self._trade_ids.append(trade_id)
        self.trade_number += 1
        self.last = (price, count, side, ts)
        if self.fault is None:
            self.heard_at = now.mono  # of a book in doubt only its own snapshot makes the knowledge young
        trade = Trade(self.trade_number, price, count, side, ts, trade_id)
        self.trades.append(trade)
        self._new_trades.append(trade)
        return True

    def doubt(self, fault: Label) -> None:
        """Believe the book no longer until a snapshot comes."""
        self.fault = fault

    def describe(self, listing: Listing) -> None:
        """Take a newer description of the market; an open market's resting orders outlive a change of its grid."""
        if listing == self.listing or listing.as_of_ms < self.listing.as_of_ms:
            return
        if listing.bands != self.listing.bands:
            self.book.set_grid(listing.bands, keep=self.listing.bands is not None)
        self.listing = listing
        self._is_whole_due = True

    def change_listing(self, **fields: object) -> None:
        """Take part of a new description, as lifecycle messages bring it."""
        self.describe(replace(self.listing, **fields))  # type: ignore[arg-type]

    def begin_epoch(self, epoch: str) -> None:
        """Count from the start under a new name: nobody may continue from what was sent before.

        Trades keep their numbers, and are told again under the new name to whoever asks for them.
        """
        self.epoch = epoch
        self.number = 0
        self._is_whole_due = True
        self._told = None
        self._top_told = ""

    # --- how far it may be believed --------------------------------------------------------------

    def is_crossed_too_long(self, now: Moment) -> bool:
        """Say whether bid and ask have overlapped for longer than a true book does."""
        return self.crossed_since is not None and now.mono - self.crossed_since > CROSSED_MS

    def label(self, now: Moment, upstream: Label) -> Label:
        """Return what viewers are told, given how the way upstream is."""
        if self.listing.is_over(now.wall):
            return Label("CLOSED", self.listing.status)
        if upstream.state == "DOWN":
            return upstream
        if self.fault is not None:
            return self.fault
        if self.is_crossed_too_long(now):
            return Label("STALE", "bid and ask overlap")
        if upstream.state == "STALE":
            return upstream
        if self.listing.status in WAITING:
            return Label("PAUSED", self.listing.status)
        return upstream

    def is_closing_news(self, now: Moment) -> bool:
        """Say whether the clock has closed the market, or opened it again, since its label was told."""
        return self._told is not None and (self._told.state == "CLOSED") != self.listing.is_over(now.wall)

    # --- what goes out ---------------------------------------------------------------------------

    def due_at(self, now: Moment, upstream: Label, *, pace_ms: int = USUAL_MS) -> int | None:
        """Return when `take` has something to say, on the clock that never jumps; None if nothing is waiting."""
        if self._new_trades or self._told != self.label(now, upstream):
            return now.mono
        if self._is_whole_due or self._changed:
            return max(now.mono, self._free_at(pace_ms))
        return None

    def take(self, now: Moment, upstream: Label, *, pace_ms: int = USUAL_MS) -> list[Entry]:
        """Return the frames that are due, numbered, and forget them."""
        label = self.label(now, upstream)
        entries = [self._told_trade(trade) for trade in self._new_trades]
        self._new_trades.clear()
        is_free = now.mono >= self._free_at(pace_ms)
        if self._is_whole_due and (is_free or label != self._told):
            entries.append(self._next("book", encode(self._book_frame(label, now, self.number + 1))))
        elif self._changed and (is_free or label != self._told):
            entries.append(self._next("delta", encode(self._delta_frame(now))))
        else:
            return entries + self._tell(label, now)
        self._sent_at = now.mono
        self._changed.clear()
        if entries[-1][0] == "book":
            self._is_whole_due = False
            self._told = label
        return entries + self._tell(label, now)

    def _free_at(self, pace_ms: int) -> int:
        """Return from when on another frame may go out: busy markets keep the same beat, so that theirs go together."""
        return 0 if self._sent_at is None else (self._sent_at // pace_ms + 1) * pace_ms

    def whole(self, now: Moment, upstream: Label) -> Entry:
        """Return the whole book under the current number, for somebody who has just come or missed something."""
        frame = self._book_frame(self.label(now, upstream), now, self.number)
        return "snap", self.ticker, self.number, encode(frame)

    def past_trades(self, after: int) -> Entry:
        """Return the remembered trades after a number, as encoded frames joined by commas."""
        wanted = [encode(self._trade_frame(trade)) for trade in self.trades if trade.number > after]
        return "past", self.ticker, after, ",".join(wanted)

    def top(self, now: Moment, upstream: Label) -> TopFrame:
        """Return the best prices."""
        book = self.book
        return {
            "t": "top",
            "env": self.environment,
            "m": self.ticker,
            "e": self.epoch,
            "bid": book.best_bid,
            "bid_size": None if book.best_bid is None else book.bids[book.best_bid],
            "ask": book.best_ask,
            "ask_size": None if book.best_ask is None else book.asks[book.best_ask],
            "last": self.last[0] if self.last else None,
            "state": self.label(now, upstream).state,
            "ts": self.ts,
            "at": self.read_at if upstream.state == "POLLED" else None,
        }

    def is_top_free(self, now: Moment) -> bool:
        """Say whether enough time has passed to tell the top of book again."""
        return now.mono - self._top_at >= TOP_INTERVAL_MS

    def take_top(self, now: Moment, upstream: Label) -> Entry | None:
        """Return the top of book if it is not the one told last."""
        encoded = encode(self.top(now, upstream))
        if encoded == self._top_told:
            return None
        self._top_told, self._top_at = encoded, now.mono
        return "top", self.ticker, 0, encoded

    # --- the book itself -------------------------------------------------------------------------

    def _replace_book(self, bids: Levels, asks: Levels, up: Upstream) -> None:
        """Replace the book; raises BookError. A price off the grid is believed when two messages in a row show it.

        What rested when a grid became coarser stays, and who follows the market only now has not seen the finer grid.
        One message may be broken; two that were asked for apart and say the same are the exchange's own word.
        """
        before, self._off_grid = self._off_grid, None
        try:
            self.book.apply_snapshot(bids, asks)
        except OffGrid as exc:
            word = OffGridWord(up[:3], exc.prices)
            if not word.repeats(before):
                self._off_grid = word
                raise
            self.book.accept(exc.prices)
            self.book.apply_snapshot(bids, asks)

    # --- frames ----------------------------------------------------------------------------------

    def _next(self, kind: str, encoded: str) -> Entry:
        self.number += 1
        return kind, self.ticker, self.number, encoded

    def _tell(self, label: Label, now: Moment) -> list[Entry]:
        if label == self._told:
            return []
        self._told = label
        return [self._next("state", encode(self._state_frame(label, now)))]

    def _book_frame(self, label: Label, now: Moment, number: int) -> BookFrame:
        listing = self.listing
        return {
            "t": "book",
            "env": self.environment,
            "m": self.ticker,
            "e": self.epoch,
            "n": number,
            "up": self.up,
            "ts": self.ts,
            "at": now.wall,
            "quiet": None if self.heard_at is None else now.mono - self.heard_at,
            "state": label.state,
            "why": label.why,
            "bids": self.book.levels(True),
            "asks": self.book.levels(False),
            "grid": listing.bands,
            "status": listing.status,
            "close": listing.close_ms,
            "replay": listing.is_replay,
            "last": self.last,
            "k": self.trade_number - len(self._new_trades),  # those are told by themselves, after this
        }

    def _delta_frame(self, now: Moment) -> DeltaFrame:
        changed = self._changed.items()
        return {
            "t": "delta",
            "env": self.environment,
            "m": self.ticker,
            "e": self.epoch,
            "n": self.number + 1,
            "up": self.up,
            "ts": self.ts,
            "at": now.wall,
            "b": [(price, size) for (is_bid, price), size in changed if is_bid],
            "a": [(price, size) for (is_bid, price), size in changed if not is_bid],
        }

    def _state_frame(self, label: Label, now: Moment) -> StateFrame:
        return {
            "t": "state",
            "env": self.environment,
            "m": self.ticker,
            "e": self.epoch,
            "n": self.number + 1,
            "state": label.state,
            "why": label.why,
            "at": now.wall,
            "status": self.listing.status,
            "close": self.listing.close_ms,
        }

    def _told_trade(self, trade: Trade) -> Entry:
        return "trade", self.ticker, trade.number, encode(self._trade_frame(trade))

    def _trade_frame(self, trade: Trade) -> TradeFrame:
        return {
            "t": "trade",
            "env": self.environment,
            "m": self.ticker,
            "e": self.epoch,
            "k": trade.number,
            "p": trade.price,
            "c": trade.count,
            "side": trade.side,
            "ts": trade.ts,
            "id": trade.id,
        }

    def _note_crossing(self, now: Moment) -> None:
        if not self.book.is_crossed:
            self.crossed_since = None
        elif self.crossed_since is None:
            self.crossed_since = now.mono
