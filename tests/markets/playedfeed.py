"""A feed that a test plays: it says what it is told to say, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from markets.kalshi import feed
from markets.kalshi.messages import BookDelta, BookSnapshot


class PlayedFeed:
    """One connection after another, one sid, `seq` over all markets."""

    def __init__(self, on_event: Callable[[Any], None]) -> None:
        self.say = on_event
        self.asked: list[tuple[str, list[str]]] = []
        self.watched: set[str] = set()
        self.is_running = False
        self.connection = 0
        self._seq = count(1)
        self._clock = count(1)

    def start(self) -> None:
        self.is_running = True

    def stop(self) -> None:
        self.is_running = False

    def watch(self, tickers: Iterable[str]) -> None:
        self._note("watch", tickers)
        self.watched.update(tickers)

    def unwatch(self, tickers: Iterable[str]) -> None:
        self._note("unwatch", tickers)
        self.watched.difference_update(tickers)

    def resync(self, tickers: Iterable[str]) -> None:
        self._note("resync", tickers)

    def connect(self) -> None:
        self.connection += 1
        self._seq = count(1)
        self.say(feed.Connected(self.connection))

    def disconnect(self, reason: str = "reset") -> None:
        self.say(feed.Disconnected(reason, 1000))

    def snapshot(self, ticker: str, bids: dict[int, int], asks: dict[int, int]) -> None:
        message = BookSnapshot(
            ticker=ticker,
            bids=tuple(sorted(bids.items())),
            asks=tuple(sorted(asks.items())),
            sid=1,
            seq=next(self._seq),
            clock=next(self._clock),
        )
        self.say(feed.SnapshotReceived(message, self.connection))

    def delta(self, ticker: str, is_bid: bool, price: int, change: int) -> None:
        self.say(self.delta_event(ticker, is_bid, price, change))

    def delta_event(self, ticker: str, is_bid: bool, price: int, change: int) -> feed.DeltaReceived:
        message = BookDelta(
            ticker=ticker,
            is_bid=is_bid,
            price_units=price,
            change_units=change,
            ts_ms=None,
            clock=next(self._clock),
            sid=1,
            seq=next(self._seq),
        )
        return feed.DeltaReceived(message, self.connection)

    def gap(self, tickers: Iterable[str], reason: str = "a message was lost") -> None:
        next(self._seq)
        self.say(feed.BooksStale(tuple(tickers), reason))

    def _note(self, verb: str, tickers: Iterable[str]) -> None:
        self.asked.append((verb, sorted(tickers)))
