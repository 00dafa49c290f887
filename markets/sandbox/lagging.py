"""Reads of a member's papers, which on the real exchange lag behind its writes for up to some seconds.

Source: an order was still read as resting 360 ms after its cancel was acknowledged (demo exchange, June 2026).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from markets.sandbox.accounts import EventPosition, Fill, Position
from markets.sandbox.clockwork import Clock
from markets.sandbox.events import OrderChanged
from markets.sandbox.exchange import Exchange
from markets.sandbox.orders import Order
from markets.sandbox.refusals import not_found

KEPT_US = 60_000_000


class LaggingReads:
    """Orders, fills and positions as a member reads them: `lag_us` old, or as they are.

    With `is_flip_flop` every other read is fresh, as behind two replicas of which one lags.
    """

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock
        self.lag_us = 0
        self.is_flip_flop = False
        self._reads = 0
        self._versions: deque[tuple[int, Order]] = deque()

    def note(self, event: OrderChanged) -> None:
        """Remember what an order looked like, for reads that lag."""
        now = self._clock.now_us()
        self._versions.append((now, event.order))
        while self._versions[0][0] < now - KEPT_US:
            self._versions.popleft()

    def orders(self, member_id: str, **filters: Any) -> list[Order]:
        """Return a member's orders, newest first."""
        until = self._until()
        if until is None:
            return self._exchange.orders(member_id, **filters)
        status = filters.pop("status", None)
        seen = [self._as_it_was(row, until) for row in self._exchange.orders(member_id, status=None, **filters)]
        return [row for row in seen if row is not None and status in {None, row.status}]

    def order(self, member_id: str, order_id: str, *, ticker: str, exchange_index: int | None) -> Order:
        """Return one order, or raise the 404."""
        row = self._exchange.order(member_id, order_id, ticker=ticker, exchange_index=exchange_index)
        until = self._until()
        found = row if until is None else self._as_it_was(row, until)
        if found is None:
            raise not_found()
        return found

    def fills(self, member_id: str, **filters: Any) -> list[Fill]:
        """Return a member's fills, newest first."""
        until = self._until()
        rows = self._exchange.fills(member_id, **filters)
        return rows if until is None else [row for row in rows if row.ts_us <= until]

    def positions(self, member_id: str, **filters: Any) -> tuple[list[Position], list[EventPosition]]:
        """Return positions by market and by event; what changed within the lag is not there yet."""
        until = self._until()
        rows, sums = self._exchange.positions(member_id, **filters)
        return (rows if until is None else [row for row in rows if row.updated_us <= until]), sums

    def _until(self) -> int | None:
        """Return the moment that this read shows; None is now."""
        self._reads += 1
        if not self.lag_us or (self.is_flip_flop and self._reads % 2 == 0):
            return None
        return self._clock.now_us() - self.lag_us

    def _as_it_was(self, row: Order, until: int) -> Order | None:
        if row.updated_us <= until:
            return row
        older = [seen for at, seen in self._versions if seen.order_id == row.order_id and at <= until]
        return older[-1] if older else None
