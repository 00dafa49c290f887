"""An intake, the feed that a test plays to it, and the time: what the tests of books taken in stand on."""

from __future__ import annotations

import json
from typing import Any

from markets.intake import Intake
from markets.kalshi import feed
from markets.kalshi.messages import Lifecycle, TradeTick
from markets.livebook import Listing, LiveBook, Moment
from markets.repairs import READING_LAG_MS
from tests.markets.playedfeed import PlayedFeed

CENTS = ((0, 10_000, 100),)
START = 1_000_000


class Feeding:
    """An intake, the feed that a test plays to it, and the time."""

    def __init__(self) -> None:
        self.now = Moment(START, 2_000_000)
        self.intake = Intake("sandbox", "e1")
        self.feed = PlayedFeed(lambda event: self.intake.take(event, self.now))

    def wait(self, ms: int) -> None:
        self.now = Moment(self.now.mono + ms, self.now.wall + ms)

    def state(self, ticker: str = "A") -> tuple[str, str]:
        live = self.intake.books[ticker]
        return tuple(live.label(self.now, self.intake.upstream))  # type: ignore[return-value]

    def repairs(self) -> list[str]:
        return self.intake.repairs(self.now)

    def tell(self) -> list[dict[str, Any]]:
        """Take the frames of A that are due."""
        return [json.loads(encoded) for _, _, _, encoded in self.a.take(self.now, self.intake.upstream)]

    def describe(self, status: str, *, ago: int = 0, **fields: Any) -> None:
        """A is described as it was so many ms ago."""
        asked_ms = self.now.wall - ago
        self.intake.describe(Listing("A", status=status, bands=CENTS, as_of_ms=asked_ms, **fields), asked_ms)

    @property
    def a(self) -> LiveBook:
        return self.intake.books["A"]


def two_books() -> Feeding:
    """Return two markets, connected, each with its first snapshot and described as it is."""
    fed = Feeding()
    fed.intake.add(Listing("A", bands=CENTS), fed.now)
    fed.intake.add(Listing("B"), fed.now)
    fed.feed.connect()
    fed.feed.snapshot("A", {4800: 100}, {5200: 300})
    fed.feed.snapshot("B", {1000: 5}, {})
    for ticker in ("A", "B"):
        fed.intake.descriptions.settle(ticker, fed.now.wall + READING_LAG_MS)
    return fed


def lifecycle(event_type: str, **fields: Any) -> feed.LifecycleReceived:
    return feed.LifecycleReceived(Lifecycle("A", event_type, **fields), 1)


def trade_event(trade_id: str) -> feed.TradeReceived:
    tick = TradeTick(
        ticker="A", trade_id=trade_id, price_units=5200, count_units=700, taker_side="yes", ts_ms=9, sid=2, seq=1
    )
    return feed.TradeReceived(tick, 1)
