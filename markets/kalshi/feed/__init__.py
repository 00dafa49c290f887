"""The exchange's WebSocket: one socket, its subscriptions, the numbers of its messages, and its way back."""

from __future__ import annotations

from markets.kalshi.feed.client import FeedClient, Timing
from markets.kalshi.feed.events import (
    Alive,
    BooksStale,
    Connected,
    DeltaReceived,
    Disconnected,
    Event,
    FillReceived,
    LifecycleMissed,
    LifecycleReceived,
    Malformed,
    Resumed,
    SnapshotReceived,
    Stalled,
    SubscriptionRefused,
    TickerReceived,
    TradeReceived,
    UserOrderReceived,
)

__all__ = [
    "Alive",
    "BooksStale",
    "Connected",
    "DeltaReceived",
    "Disconnected",
    "Event",
    "FeedClient",
    "FillReceived",
    "LifecycleMissed",
    "LifecycleReceived",
    "Malformed",
    "Resumed",
    "SnapshotReceived",
    "Stalled",
    "SubscriptionRefused",
    "TickerReceived",
    "Timing",
    "TradeReceived",
    "UserOrderReceived",
]
