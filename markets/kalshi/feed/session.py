"""One connection's conversation: subscriptions, the order of its messages, and what to ask for again.

Without a socket and without a clock of its own: messages and time come in, commands and events go out.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any

from markets.kalshi.feed import events
from markets.kalshi.feed.numbers import Numbers, Order
from markets.kalshi.feed.subscription import MOST_PER_COMMAND, Command, Commands, Subscription
from markets.kalshi.messages import (
    BookDelta,
    BookSnapshot,
    Channel,
    Done,
    ErrorFrame,
    FillTick,
    Lifecycle,
    Message,
    Other,
    Subscribed,
    TickerTick,
    TradeTick,
    Unsubscribed,
    UserOrder,
)

logger = logging.getLogger(__name__)

BOOKS: Channel = "orderbook_delta"
LIFECYCLE: Channel = "market_lifecycle_v2"
SNAPSHOTS_APART_SECONDS = 1.0  # a storm of gaps must not become a storm of questions
COMMAND_SECONDS = 10.0
RETRY_SECONDS = 1.0

UNKNOWN_SID = frozenset({7, 12})
SID_IS_DEAD = frozenset({10, 25})
PASSING = frozenset({18, 27})  # time-out of a command, too many commands
LIMIT_REACHED = 26

Send = Callable[[dict[str, Any]], None]
Say = Callable[[events.Event], None]


class Session:
    """What one connection is about. `take` belongs to the reader's thread; everything else may come from any."""

    def __init__(
        self, connection: int, *, channels: Collection[Channel], send: Send, say: Say, counts: Counter[str]
    ) -> None:
        self.connection = connection
        self._send = send
        self._say = say
        self._counts = counts
        self._subscriptions = {channel: Subscription(channel) for channel in channels}
        self._commands = Commands()
        self._numbers: dict[int, Numbers] = {}
        self._ended: set[int] = set()  # sids: what still comes of them belongs to nothing
        self._stale: dict[str, None] = {}
        self._awaited: dict[str, float] = {}  # since when a snapshot that was asked for has not come
        self._asked_at = -SNAPSHOTS_APART_SECONDS
        self._lock = threading.RLock()
        self._events: dict[type, Callable[[Any, int], events.Event]] = {
            BookDelta: events.DeltaReceived,
            BookSnapshot: events.SnapshotReceived,
            TradeTick: events.TradeReceived,
            TickerTick: events.TickerReceived,
            Lifecycle: events.LifecycleReceived,
            UserOrder: events.UserOrderReceived,
            FillTick: events.FillReceived,
        }

    # --- what is wanted --------------------------------------------------------------------------

    def watch(self, tickers: Iterable[str], now: float) -> None:
        """Ask for these markets too."""
        with self._lock:
            wanted = list(tickers)
            for subscription in self._market_subscriptions():
                subscription.add(wanted)
            self._flush(now)

    def unwatch(self, tickers: Iterable[str], now: float) -> None:
        """Ask for these markets no longer."""
        with self._lock:
            unwanted = list(tickers)
            for subscription in self._market_subscriptions():
                subscription.remove(unwanted)
            for ticker in unwanted:
                self._stale.pop(ticker, None)
                self._awaited.pop(ticker, None)
            self._flush(now)

    def resync(self, tickers: Iterable[str], now: float) -> None:
        """Ask for snapshots; for a market that is not subscribed (any more), subscribe it again."""
        with self._lock:
            books = self._subscriptions.get(BOOKS)
            if books is None:
                return
            wanted = list(tickers)
            self._ask_snapshots(wanted, now)
            self.watch([ticker for ticker in wanted if ticker not in books.tickers], now)

    def look(self, now: float) -> None:
        """Do what only time brings: questions put off, commands never answered."""
        with self._lock:
            for command in self._commands.overdue(now - COMMAND_SECONDS):
                if command.verb != "get_snapshot":  # what answers it is a snapshot like any other
                    self._counts["commands_unanswered"] += 1
                    self._put_back(command, now)
            for ticker in [ticker for ticker, at in self._awaited.items() if at <= now - COMMAND_SECONDS]:
                del self._awaited[ticker]
                self._stale[ticker] = None
            self._flush(now)
            if self._stale and now - self._asked_at >= SNAPSHOTS_APART_SECONDS:
                self._ask_stale(now)

    def probe(self, now: float) -> None:
        """Ask something that must be answered, to find out whether anybody is there."""
        with self._lock:
            self._command("list_subscriptions", None, tickers=(), now=now)

    # --- what comes in ---------------------------------------------------------------------------

    def take(self, message: Message, now: float) -> None:
        """Take one message of the connection, in its order."""
        kind = type(message)
        make = self._events.get(kind)
        if make is None:
            self._take_control(message, now)
            return
        if kind is BookDelta or kind is BookSnapshot or kind is TradeTick:
            numbers = self._numbers.get(message.sid)  # type: ignore[union-attr, arg-type]
            if numbers is not None and message.seq == numbers.expected and numbers.is_steady:  # type: ignore[union-attr]
                numbers.expected += 1  # nearly always: spared the call
                numbers.heard.append(message)
            elif not self.note_number(message.sid, message.seq, now, message):  # type: ignore[union-attr]
                return
            if kind is BookSnapshot and self._awaited:
                with self._lock:
                    self._awaited.pop(message.ticker, None)  # type: ignore[union-attr]
        elif kind is Lifecycle and not self.note_number(message.sid, message.seq, now, message):  # type: ignore[union-attr]
            return
        self._say(make(message, self.connection))

    def note_number(self, sid: int | None, seq: int | None, now: float, message: Message | None = None) -> bool:
        """Count a frame; say whether it is to be read at all. After a gap it is, and who is concerned knows of the gap.

        Where the count went back it is not: that may be the exchange's new count, or an old message once more.
        """
        if sid is None or seq is None:
            return True
        numbers = self._numbers.get(sid)
        if numbers is None:
            if sid in self._ended:
                return False
            numbers = self._numbers.setdefault(sid, Numbers())
        expected = numbers.expected
        order = numbers.take(seq, message)
        if order is Order.DUPLICATE:
            self._counts["duplicates"] += 1
            return False
        if order is Order.GAP and seq < expected:
            self._counts["counted_anew"] += 1
            self._note_gap(sid, f"the subscription's count went back from {expected - 1} to {seq}", now)
            return False
        if order is Order.GAP:
            self._note_gap(sid, f"message {expected} of the subscription was lost, {seq} came", now)
        return True

    def _note_gap(self, sid: int, reason: str, now: float) -> None:
        self._counts["gaps"] += 1
        with self._lock:
            channel, tickers = self.channel_of(sid), self._book_tickers()
        if channel == LIFECYCLE:
            self._say(events.LifecycleMissed(reason))
        if channel not in (BOOKS, None) or not tickers:
            return  # trades and the like have no state that a lost message could spoil
        self._say(events.BooksStale(tickers, reason))
        with self._lock:
            self._stale.update(dict.fromkeys(tickers))
            if now - self._asked_at >= SNAPSHOTS_APART_SECONDS:
                self._ask_stale(now)

    def _take_control(self, message: Message, now: float) -> None:
        if isinstance(message, Done | Unsubscribed | ErrorFrame | Other) and not self.note_number(
            message.sid, message.seq, now, message
        ):
            return
        if isinstance(message, Subscribed):
            self._subscribed(message, now)
            if message.channel == LIFECYCLE:
                self._say(events.LifecycleMissed("what happened before the subscription is not told"))
        elif isinstance(message, Done):
            self._done(message, now)
        elif isinstance(message, ErrorFrame):
            self._say_all(self._error(message, now))
        elif isinstance(message, Unsubscribed):
            # We never unsubscribe a channel: the exchange ended it.
            self._say_all(self._begin_again(message.sid, "unsubscribed", now))

    def _say_all(self, told: list[events.Event]) -> None:
        for event in told:
            self._say(event)

    def _subscribed(self, message: Subscribed, now: float) -> None:
        with self._lock:
            self._commands.answered(message.id)
            subscription = self._subscriptions.get(message.channel)  # type: ignore[call-overload]
            if subscription is None or message.sid in self._ended:
                return
            if subscription.sid != message.sid:
                self._numbers.setdefault(message.sid, Numbers())
            subscription.sid, subscription.is_opening = message.sid, False
            self._flush(now)

    def _done(self, message: Done, now: float) -> None:
        with self._lock:
            command = self._commands.answered(message.id)
            if command is None or command.channel is None:
                return
            subscription = self._subscriptions[command.channel]
            subscription.chunk = min(2 * subscription.chunk, MOST_PER_COMMAND)
            if command.verb == "subscribe" and message.sid is not None:
                subscription.sid, subscription.is_opening = message.sid, False
            self._flush(now)

    # --- what is refused -------------------------------------------------------------------------

    def _error(self, error: ErrorFrame, now: float) -> list[events.Event]:
        self._counts["errors"] += 1
        logger.warning("the exchange's feed reports error %d: %s", error.code, error.text)
        with self._lock:
            command = self._commands.answered(error.id) if error.id else None
            if error.code in SID_IS_DEAD and error.sid is not None:
                return self._begin_again(error.sid, error.text, now)
            if command is None or command.channel is None:
                return [events.SubscriptionRefused(error.tickers, error.text)] if error.tickers else []
            if error.code in UNKNOWN_SID:
                sid = self._subscriptions[command.channel].sid
                return [] if sid is None else self._begin_again(sid, error.text, now)
            if error.code in PASSING:
                self._put_back(command, now)
                return []
            return self._refused(command, error, now)

    def _begin_again(self, sid: int, text: str, now: float) -> list[events.Event]:
        """Subscribe a dead sid's channel anew: it gets another sid, and counts from 1."""
        with self._lock:
            channel = self.channel_of(sid)
            self._numbers.pop(sid, None)
            self._ended.add(sid)
            if channel is None and BOOKS in self._subscriptions and self._subscriptions[BOOKS].sid is None:
                channel = BOOKS  # the answer that would have named it was lost: in doubt it was the books'
            if channel is None:
                return []
            self._counts["sids_ended"] += 1
            self._subscriptions[channel].begin_again(at=now + RETRY_SECONDS)
            tickers = self._book_tickers() if channel == BOOKS else ()
        return [events.BooksStale(tickers, f"the exchange ended the subscription: {text}")] if tickers else []

    def _refused(self, command: Command, error: ErrorFrame, now: float) -> list[events.Event]:
        """Give up the markets that are to blame, and ask for the others again."""
        assert command.channel is not None  # noqa: S101 - the caller has looked
        subscription = self._subscriptions[command.channel]
        blamed = error.tickers
        if not command.adds:
            return [events.SubscriptionRefused(blamed or command.tickers, error.text)]
        if not blamed and len(command.tickers) > 1 and error.code != LIMIT_REACHED:
            # One of them it is; halves find it without losing the others.
            subscription.chunk = max(1, len(command.tickers) // 2)
            subscription.put_back(command.tickers, at=now)
            self._flush(now)
            return []
        blamed = blamed or command.tickers
        subscription.forget(blamed)
        rest = [ticker for ticker in command.tickers if ticker not in blamed]
        subscription.put_back(rest, at=now if rest else now + COMMAND_SECONDS)
        self._flush(now)
        if command.channel != BOOKS and BOOKS in self._subscriptions:
            return []  # the book has an answer of its own
        return [events.SubscriptionRefused(blamed, error.text)]

    def _put_back(self, command: Command, now: float) -> None:
        if command.channel is not None and command.adds:
            self._subscriptions[command.channel].put_back(command.tickers, at=now + RETRY_SECONDS)
        elif command.verb == "get_snapshot":
            self._stale.update(dict.fromkeys(ticker for ticker in command.tickers if ticker in self._book_tickers()))

    # --- commands --------------------------------------------------------------------------------

    def _market_subscriptions(self) -> list[Subscription]:
        return [subscription for subscription in self._subscriptions.values() if subscription.takes_markets]

    def _book_tickers(self) -> tuple[str, ...]:
        books = self._subscriptions.get(BOOKS)
        return tuple(books.tickers) if books is not None else ()

    def channel_of(self, sid: int | None) -> Channel | None:
        """Return the channel that a sid was given to, as far as that is known."""
        with self._lock:
            found = (name for name, subscription in self._subscriptions.items() if subscription.sid == sid)
            return None if sid is None else next(found, None)

    def _flush(self, now: float) -> None:
        """Send what can be sent now."""
        for subscription in self._subscriptions.values():
            while (verb := subscription.next_verb(now)) is not None:
                self._command(verb, subscription, tickers=subscription.take(verb), now=now)

    def _ask_stale(self, now: float) -> None:
        if self._subscriptions[BOOKS].sid is None:
            return  # frames may come before the answer that names their sid: asked as soon as that is known
        tickers = list(self._stale)
        self._stale.clear()
        self._ask_snapshots(tickers, now)

    def _ask_snapshots(self, tickers: list[str], now: float) -> None:
        books = self._subscriptions[BOOKS]
        wanted = [ticker for ticker in tickers if ticker in books.tickers and ticker not in books.later]
        if books.sid is None or not wanted:
            return
        self._asked_at = now
        self._counts["snapshots_asked"] += len(wanted)
        self._awaited.update(dict.fromkeys(wanted, now))
        for start in range(0, len(wanted), MOST_PER_COMMAND):
            self._command("get_snapshot", books, tickers=tuple(wanted[start : start + MOST_PER_COMMAND]), now=now)

    def _command(self, verb: str, subscription: Subscription | None, *, tickers: tuple[str, ...], now: float) -> None:
        channel = None if subscription is None else subscription.channel
        command = self._commands.new(verb, channel, tickers=tickers, now=now)
        frame: dict[str, Any] = {"id": command.id, "cmd": verb}
        if subscription is not None:
            frame["cmd"] = "subscribe" if verb == "subscribe" else "update_subscription"
            frame["params"] = subscription.params(verb, tickers)
        self._send(frame)
