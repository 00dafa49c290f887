"""What the feed tells its owner: how the connection is, and what came over it."""

from __future__ import annotations

import msgspec

from markets.kalshi.messages import (
    BookDelta,
    BookSnapshot,
    Channel,
    FillTick,
    Lifecycle,
    TickerTick,
    TradeTick,
    UserOrder,
)


class Event(msgspec.Struct, frozen=True):
    """Base of everything the feed tells."""


class Connected(Event, frozen=True):
    """A connection stands; nothing of an earlier one is continued. `connection` counts from 1."""

    connection: int


class Disconnected(Event, frozen=True):
    """There is no connection now; `code` is the close code, or the HTTP status that refused us."""

    reason: str
    code: int | None


class Stalled(Event, frozen=True):
    """The connection stands and says nothing, not even when asked."""


class Resumed(Event, frozen=True):
    """A stalled connection speaks again."""


class Alive(Event, frozen=True):
    """A frame has come, whatever it says; at most once a second. A ping is none: it says nothing of the feed."""


class Malformed(Event, frozen=True):
    """A frame could not be read; without a ticker it may have been about any market.

    `channel` is the one that it certainly came over; without one it may have been of any.
    """

    ticker: str | None
    reason: str
    channel: Channel | None = None


class BooksStale(Event, frozen=True):
    """A message of the subscription was lost: none of these books is right until its next snapshot."""

    tickers: tuple[str, ...]
    reason: str


class LifecycleMissed(Event, frozen=True):
    """Messages of what happens to markets did not come: any market may have been paused, closed or changed."""

    reason: str


class SubscriptionRefused(Event, frozen=True):
    """The exchange does not send these markets."""

    tickers: tuple[str, ...]
    reason: str


class SnapshotReceived(Event, frozen=True):
    """A whole book."""

    message: BookSnapshot
    connection: int


class DeltaReceived(Event, frozen=True):
    """A change of a book."""

    message: BookDelta
    connection: int


class TradeReceived(Event, frozen=True):
    """A public trade."""

    message: TradeTick
    connection: int


class TickerReceived(Event, frozen=True):
    """Best prices of a market."""

    message: TickerTick
    connection: int


class LifecycleReceived(Event, frozen=True):
    """A market changed its state, its closing time or its grid."""

    message: Lifecycle
    connection: int


class UserOrderReceived(Event, frozen=True):
    """One of the account's orders changed."""

    message: UserOrder
    connection: int


class FillReceived(Event, frozen=True):
    """One of the account's orders was matched."""

    message: FillTick
    connection: int
