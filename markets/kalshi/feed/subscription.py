"""One channel on one connection: which markets it was asked for, and what is still to be asked.

A channel has one `sid` per connection. The first `subscribe` makes it, later markets join by `update_subscription`.
Source: Kalshi trade API v2, WebSocket commands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

from markets.kalshi.messages import Channel

MOST_PER_COMMAND = 500
WITHOUT_MARKETS = frozenset({"user_orders", "fill", "market_lifecycle_v2", "ticker"})  # or: of all markets at once


@dataclass(frozen=True, slots=True)
class Command:
    """A command on its way; the answer names its id."""

    id: int
    verb: str  # subscribe, add_markets, delete_markets, get_snapshot, list_subscriptions
    channel: Channel | None
    tickers: tuple[str, ...]
    sent_at: float

    @property
    def adds(self) -> bool:
        """Say whether it asks for markets that are not sent yet."""
        return self.verb in ("subscribe", "add_markets")


class Subscription:
    """What is asked of one channel. Builds commands' parameters; sends nothing."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.takes_markets = channel not in WITHOUT_MARKETS
        self.sid: int | None = None
        self.tickers: dict[str, None] = {}  # asked for, in order
        self.later: dict[str, None] = {}  # of these, not in any command yet
        self.dropped: dict[str, None] = {}  # to be taken off again
        self.is_opening = False
        self.retry_at = 0.0
        self.chunk = MOST_PER_COMMAND

    def add(self, tickers: Iterable[str]) -> None:
        """Want these too."""
        for ticker in tickers:
            self.dropped.pop(ticker, None)
            if ticker not in self.tickers:
                self.tickers[ticker] = None
                self.later[ticker] = None

    def remove(self, tickers: Iterable[str]) -> None:
        """Want these no longer."""
        for ticker in tickers:
            if ticker in self.tickers:
                del self.tickers[ticker]
                if ticker in self.later:
                    del self.later[ticker]
                else:
                    self.dropped[ticker] = None

    def forget(self, tickers: Iterable[str]) -> None:
        """Take these for not asked: the exchange refused them."""
        for ticker in tickers:
            self.tickers.pop(ticker, None)
            self.later.pop(ticker, None)

    def begin_again(self, *, at: float) -> None:
        """The sid is dead: ask for everything anew, not before `at`."""
        self.sid = None
        self.is_opening = False
        self.later = dict(self.tickers)
        self.dropped.clear()
        self.retry_at = at

    def put_back(self, tickers: Iterable[str], *, at: float) -> None:
        """Ask for these again, not before `at`."""
        again = [ticker for ticker in tickers if ticker in self.tickers]
        self.later = dict.fromkeys([*again, *self.later])
        self.is_opening = False
        self.retry_at = at

    def next_verb(self, now: float) -> str | None:
        """Return what to send now, if anything."""
        if self.is_opening or now < self.retry_at:
            return None
        if self.sid is None:
            return "subscribe" if self.later or not self.takes_markets else None
        if self.later:
            return "add_markets"
        return "delete_markets" if self.dropped else None

    def take(self, verb: str) -> tuple[str, ...]:
        """Return the markets of the next command of this kind, and count them as asked."""
        source = self.dropped if verb == "delete_markets" else self.later
        chunk = tuple(source)[: self.chunk]
        for ticker in chunk:
            del source[ticker]
        self.is_opening = verb == "subscribe"
        return chunk

    def params(self, verb: str, tickers: tuple[str, ...]) -> dict[str, Any]:
        """Return a command's parameters."""
        named: dict[str, Any] = {"market_tickers": list(tickers)} if tickers else {}
        if verb != "subscribe":
            return {"sid": self.sid, "action": verb} | named
        if self.channel == "orderbook_delta":
            # Both sides on the YES scale; always said, because the exchange will change what silence means.
            named["use_yes_price"] = True
        return {"channels": [self.channel]} | named


class Commands:
    """The commands of one connection that wait for their answer."""

    def __init__(self) -> None:
        self._ids = count(1)
        self._waiting: dict[int, Command] = {}

    def new(self, verb: str, channel: Channel | None, *, tickers: tuple[str, ...], now: float) -> Command:
        """Give a command its id."""
        command = Command(next(self._ids), verb, channel, tickers, now)
        self._waiting[command.id] = command
        return command

    def answered(self, command_id: int) -> Command | None:
        """Return the command of an answer, once."""
        return self._waiting.pop(command_id, None)

    def overdue(self, before: float) -> list[Command]:
        """Return, once, the commands sent before a time and never answered."""
        late = [command for command in self._waiting.values() if command.sent_at < before]
        for command in late:
            del self._waiting[command.id]
        return late
