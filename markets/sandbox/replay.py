"""A recording on the air: its markets are listed, its frames go out at the recorded pace, its breaks are broken again.

The clock of each replayed book message is the line of the recording. A recorded stall holds everything back on the
connections that follow it, pings too, because that is what the recorder saw: a way on which nothing came. Where the
recorder had to connect again, those connections end without a closing handshake; the recording goes on with its new
snapshot as soon as somebody follows it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from functools import partial

from markets.sandbox import frames
from markets.sandbox.audience import Change, WholeBook
from markets.sandbox.catalogue import Event, Market, MarketStatus, Series
from markets.sandbox.events import LifecycleChanged, LifecycleKind, Traded
from markets.sandbox.grid import STRUCTURES
from markets.sandbox.messages import trade as trade_text
from markets.sandbox.numbers import DOLLAR, parse_fixed
from markets.sandbox.quotes import Quote, Trade
from markets.sandbox.sessions import Session
from markets.sandbox.statistics import Statistics
from markets.sandbox.tape import Line, Message, Tape, TapedMarket, levels, mirrored, read_lines, to_object
from markets.sandbox.venue import Replay, Venue

CATEGORY = "Replay"
KEPT_TRADES = 1000
KEPT_MINUTES = 1440
FRAMES_A_TURN = 500
RECONNECT_SECONDS = 60.0  # how long a broken recording waits for its followers
MOST_WAITING = 5000  # a replay faster than its reader waits for it
DAY_US = 86_400_000_000
YEAR_US = 365 * DAY_US
REST_SECONDS = 1.0  # between two rounds of a loop
END_SECONDS = 10.0  # a market whose close was not recorded stands still for a while before it is closed


@dataclass(slots=True)
class TapedBook:
    """The fold of one market so far, at YES prices. `line` 0 has seen no snapshot yet."""

    taped: TapedMarket
    market: Market
    line: int = 0
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    trades: deque[Trade] = field(default_factory=lambda: deque(maxlen=KEPT_TRADES))
    volume: int = 0
    last_price: int = 0
    last_count: int = 0
    ts_us: int = 0
    statistics: Statistics = field(default_factory=lambda: Statistics(trades_kept=1, minutes_kept=KEPT_MINUTES))

    def note(self, now_us: int) -> None:
        """Keep the best prices for candles, in the replay's own time: charts are asked for by the clock."""
        bid, ask = max(self.bids, default=0), min(self.asks, default=DOLLAR)
        if bid != self.statistics.bid or ask != self.statistics.ask:
            self.statistics.quote(bid, ask, now_us)

    def touches_best(self, change: Change) -> bool:
        """Say whether a change may have moved the best price of its side."""
        best = self.statistics
        return change.price >= best.bid if change.is_bid else change.price <= best.ask

    def note_trade(self, event: Traded, now_us: int) -> None:
        """Keep a trade for the candles; who holds what a recording does not tell."""
        row = Trade(event.trade_id, event.ticker, event.price, event.count, event.taker_is_bid, now_us)
        self.statistics.trade(row, 0)

    def view(self) -> WholeBook | None:
        """Return the whole book; None before the first snapshot."""
        if not self.line:
            return None
        return WholeBook(self.market.ticker, self.market.market_id, self.line, dict(self.bids), dict(self.asks))

    def quote(self) -> Quote:
        """Return best prices and what traded so far."""
        bid, ask = max(self.bids, default=0), min(self.asks, default=DOLLAR)
        return Quote(
            ticker=self.market.ticker,
            bid=bid,
            bid_size=self.bids.get(bid, 0),
            ask=ask,
            ask_size=self.asks.get(ask, 0),
            last_price=self.last_price,
            last_count=self.last_count,
            previous_bid=bid,
            previous_ask=ask,
            previous_price=self.last_price,
            volume=self.volume,
            volume_24h=self.volume,
            open_interest=0,
            ts_us=self.ts_us,
        )

    def newest_trades(self) -> list[Trade]:
        """Return the kept trades, newest first."""
        return list(reversed(self.trades))

    def replace(self, message: Message, line: int) -> None:
        """Take a recorded snapshot."""
        self.bids, self.asks = levels(message.yes_dollars_fp), mirrored(levels(message.no_dollars_fp))
        self.line = line

    def change(self, message: Message, line: int) -> Change:
        """Take a recorded change and return it."""
        price, change = parse_fixed(message.price_dollars, 4), parse_fixed(message.delta_fp, 2)
        is_bid = message.side == "yes"
        side, price = (self.bids, price) if is_bid else (self.asks, DOLLAR - price)
        size = side.get(price, 0) + change
        if size:
            side[price] = size
        else:
            side.pop(price, None)
        self.line = line
        return Change(self.market.ticker, self.market.market_id, line, is_bid, price, change, message.ts_ms)

    def trade(self, message: Message) -> Traded:
        """Take a recorded trade and return it."""
        event = Traded(
            ticker=self.market.ticker,
            trade_id=message.trade_id,
            price=parse_fixed(message.yes_price_dollars, 4),
            count=parse_fixed(message.count_fp, 2),
            taker_is_bid=message.taker_is_bid(),
            ts_us=message.ts_ms * 1000,
        )
        self.trades.append(
            Trade(event.trade_id, event.ticker, event.price, event.count, event.taker_is_bid, event.ts_us)
        )
        self.volume += event.count
        self.last_price, self.last_count, self.ts_us = event.price, event.count, event.ts_us
        return event


class Player:
    """Replays one recording to the audience of a venue."""

    def __init__(self, venue: Venue, tape: Tape, *, speed: float = 1.0, loop: bool = False) -> None:
        self._venue = venue
        self._audience = venue.audience
        self.tape = tape
        self.speed = speed
        self._loop = loop
        self.line = 0
        self.is_done = False
        self._task: asyncio.Task[None] | None = None
        self._held: list[Session] = []
        self._stall: object | None = None
        self.books = {taped.ticker: TapedBook(taped, _listed(venue, taped)) for taped in tape.markets.values()}
        for ticker, book in self.books.items():
            venue.replays[ticker] = Replay(book.view, book.quote, book.newest_trades, book.statistics)
        self._audience.on_watch.append(self._watched)

    def _watched(self, ticker: str) -> None:
        """Begin when somebody follows one of the markets."""
        if ticker in self.books and self._task is None and not self.is_done:
            self._task = asyncio.get_running_loop().create_task(self._play())

    def stop(self) -> None:
        """End the replay where it is."""
        if self._task is not None:
            self._task.cancel()

    # --- pace --------------------------------------------------------------------------------------

    async def _play(self) -> None:
        while True:
            self._begin()
            await self._round()
            self.is_done = not self._loop
            await asyncio.sleep(REST_SECONDS if self._loop else END_SECONDS)
            for book in self.books.values():
                self._close(book)
            if self.is_done:
                return

    def _begin(self) -> None:
        now = self._venue.now_us()
        for book in self.books.values():
            after_ms = book.taped.closed_after_ms
            lasts_ms = self.tape.duration_ms if after_ms is None else after_ms
            book.market.close_us = now + int(lasts_ms / self.speed * 1000)
            if book.market.status is not MarketStatus.ACTIVE:
                book.market.status, book.market.result = MarketStatus.ACTIVE, ""
                book.market.settlement_value = None
                self._tell(book, "activated")
            self._tell(book, "close_date_updated", close_us=book.market.close_us)

    async def _round(self) -> None:
        loop = asyncio.get_running_loop()
        due, before_ms, turn = loop.time(), self.tape.first_ms, 0
        for number, line in read_lines(self.tape.path):
            due += (line.recv_ms - before_ms) / 1000 / self.speed  # the speed may change on the way
            before_ms = line.recv_ms
            if number in self.tape.stalls:
                self._hold()
            if (wait := due - loop.time()) > 0.001:
                await asyncio.sleep(wait)
                turn = 0
            self._release()
            if number in self.tape.reconnects:
                self._disconnect()
            self._send(number, line)
            if number in self.tape.reconnects:
                due += await self._wait_for_followers()
            turn += 1
            if turn >= FRAMES_A_TURN:
                turn = 0
                await self._let_readers_catch_up()

    async def _let_readers_catch_up(self) -> None:
        await asyncio.sleep(0)
        while any(session.waiting > MOST_WAITING for session in self._followers()):
            await asyncio.sleep(0.005)

    async def _wait_for_followers(self) -> float:
        """Stand still until somebody has connected again, so that nothing is missed; return the seconds it took."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        while not self._followers() and loop.time() - since < RECONNECT_SECONDS:
            await asyncio.sleep(0.005)
        return loop.time() - since

    # --- breaks ------------------------------------------------------------------------------------

    def _followers(self) -> set[Session]:
        return {session for ticker in self.books for session in self._audience.watchers(ticker)}

    def _hold(self) -> None:
        """Stall every follower's connection once it has written what came before."""
        self._stall = stall = object()
        for session in self._followers():
            self._held.append(session)
            session.act(partial(self._stall_session, session, stall))

    def _stall_session(self, session: Session, stall: object, wire: object) -> None:
        if self._stall is stall:
            session.hold()

    def _release(self) -> None:
        self._stall = None
        for session in self._held:
            session.release()
        self._held = []

    def _disconnect(self) -> None:
        for session in self._followers():
            self._audience.forget(session)
            session.act(lambda wire: wire.close())

    # --- frames ------------------------------------------------------------------------------------

    def _send(self, number: int, line: Line) -> None:
        self.line = number
        kind = line.frame.type
        if kind not in {"orderbook_snapshot", "orderbook_delta", "trade", "ticker"}:
            return
        message = line.frame.message()
        book = self.books.get(message.market_ticker)
        if book is None:
            return
        if kind == "orderbook_delta":
            change = book.change(message, number)
            self._audience.book_changed(change)
            if book.touches_best(change):
                book.note(self._venue.now_us())
        elif kind == "orderbook_snapshot":
            self._replace(book, message, number)
            book.note(self._venue.now_us())
        elif kind == "trade":
            self._trade(book, message)
        else:
            self._audience.tell("ticker", "ticker", message.market_ticker, frames.to_text(to_object(line.frame.msg)))
        if not book.taped.has_tickers:
            self._venue.publisher.quoted.add(message.market_ticker)

    def _replace(self, book: TapedBook, message: Message, number: int) -> None:
        was_open = bool(book.bids or book.asks)
        book.replace(message, number)
        view = book.view()
        if view is not None:
            self._audience.book_replaced(view)
        if was_open and not book.bids and not book.asks:
            self._close(book)

    def _trade(self, book: TapedBook, message: Message) -> None:
        event = book.trade(message)
        book.note_trade(event, self._venue.now_us())
        if self._audience.has_listeners("trade", event.ticker):
            self._audience.tell("trade", "trade", event.ticker, trade_text(event))

    def _close(self, book: TapedBook) -> None:
        """Close a market; its result is what the last trade thought more likely, for the recording does not tell."""
        market = book.market
        if market.status is not MarketStatus.ACTIVE:
            return
        market.close_us = min(market.close_us, self._venue.now_us())
        market.status = MarketStatus.CLOSED
        if not self._loop:
            market.result = "yes" if book.last_price >= DOLLAR // 2 else "no"
            market.settlement_value = DOLLAR if market.result == "yes" else 0
            market.status, market.determined_us = MarketStatus.DETERMINED, self._venue.now_us()
            self._tell(book, "determined", result=market.result, value=market.settlement_value)

    def _tell(
        self,
        book: TapedBook,
        kind: LifecycleKind,
        *,
        close_us: int | None = None,
        result: str = "",
        value: int | None = None,
    ) -> None:
        now = book.market.updated_us = self._venue.now_us()
        self._venue.publisher.receive(
            LifecycleChanged(book.market.ticker, kind, now, close_us=close_us, result=result, value=value)
        )


def _listed(venue: Venue, taped: TapedMarket) -> Market:
    """Put a recorded market into the catalogue, or find it there after a restart."""
    known = venue.exchange.markets.get(taped.ticker)
    if known is not None:
        known.status, known.result, known.settlement_value = MarketStatus.ACTIVE, "", None
        known.close_us = venue.now_us() + YEAR_US
        return known
    now = venue.now_us()
    series_ticker = taped.ticker.partition("-")[0]
    event_ticker = taped.ticker.rpartition("-")[0] or taped.ticker
    if series_ticker not in venue.exchange.series:
        venue.exchange.add_series(Series(series_ticker, f"Recording of {series_ticker}", CATEGORY))
    if event_ticker not in venue.exchange.events:
        title = f"Recording of {event_ticker}"
        venue.exchange.add_event(Event(event_ticker, series_ticker, title, sub_title="What was sent, once more"))
    market = Market(
        ticker=taped.ticker,
        event_ticker=event_ticker,
        market_id=taped.market_id or venue.exchange.new_id(),
        open_us=now - DAY_US,
        close_us=now + YEAR_US,  # known only once the replay has begun
        title=f"Recording of {taped.ticker}",
        yes_sub_title=taped.ticker.rpartition("-")[2],
        no_sub_title=taped.ticker.rpartition("-")[2],
        price_level_structure=taped.structure,
        bands=STRUCTURES[taped.structure],
        is_replay=True,
        details={"rules_primary": "A recording: it can be watched, not traded.", "rules_secondary": ""},
        status=MarketStatus.ACTIVE,
    )
    return venue.exchange.add_market(market)
