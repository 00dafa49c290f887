"""What can be read: a member's own papers, and what the public sees."""

from __future__ import annotations

from collections.abc import Sequence

from markets.sandbox import candles, quotes, reads
from markets.sandbox.accounts import EventPosition, Fill, Position, Settlement
from markets.sandbox.candles import Candle
from markets.sandbox.catalogue import Market
from markets.sandbox.floor import Floor
from markets.sandbox.orders import Order, OrderStatus
from markets.sandbox.quotes import BookView, Quote, Trade


class Reading:
    """What can be read of an exchange. Lists are newest first, times inclusive."""

    _floor: Floor

    def order(self, member_id: str, order_id: str, *, ticker: str = "", exchange_index: int | None = None) -> Order:
        """Return one order, finished ones too, or raise the 404."""
        return reads.order(self._floor, member_id, order_id, ticker=ticker, exchange_index=exchange_index)

    def orders(
        self,
        member_id: str,
        *,
        tickers: Sequence[str] = (),
        event_tickers: Sequence[str] = (),
        status: OrderStatus | None = None,
        min_us: int | None = None,
        max_us: int | None = None,
        subaccount: int | None = None,
        exchange_index: int | None = None,
    ) -> list[Order]:
        """Return a member's orders by time of creation."""
        return reads.orders(
            self._floor,
            member_id,
            tickers=tickers,
            event_tickers=event_tickers,
            status=status,
            min_us=min_us,
            max_us=max_us,
            subaccount=subaccount,
            exchange_index=exchange_index,
        )

    def queue_position(self, member_id: str, order_id: str, *, subaccount: int | None = None) -> int:
        """Return the contracts that match before a resting order does, or raise the 404."""
        return reads.queue_position(self._floor, member_id, order_id, subaccount=subaccount)

    def queue_positions(
        self, member_id: str, *, tickers: Sequence[str] = (), event_ticker: str = "", subaccount: int | None = None
    ) -> list[tuple[Order, int]]:
        """Return resting orders with the contracts ahead of each."""
        return reads.queue_positions(
            self._floor, member_id, tickers=tickers, event_ticker=event_ticker, subaccount=subaccount
        )

    def fills(
        self,
        member_id: str,
        *,
        tickers: Sequence[str] = (),
        order_id: str = "",
        min_us: int | None = None,
        max_us: int | None = None,
        subaccount: int | None = None,
        exchange_index: int | None = None,
    ) -> list[Fill]:
        """Return a member's fills."""
        return reads.fills(
            self._floor,
            member_id,
            tickers=tickers,
            order_id=order_id,
            min_us=min_us,
            max_us=max_us,
            subaccount=subaccount,
            exchange_index=exchange_index,
        )

    def positions(
        self,
        member_id: str,
        *,
        tickers: Sequence[str] = (),
        event_ticker: str = "",
        is_settled: bool | None = False,
        has_position: bool | None = None,
        has_traded: bool | None = None,
        subaccount: int = 0,
        exchange_index: int | None = None,
    ) -> tuple[list[Position], list[EventPosition]]:
        """Return positions by market (newest change first) and by event; `is_settled` None is both."""
        return reads.positions(
            self._floor,
            member_id,
            tickers=tickers,
            event_ticker=event_ticker,
            is_settled=is_settled,
            has_position=has_position,
            has_traded=has_traded,
            subaccount=subaccount,
            exchange_index=exchange_index,
        )

    def settlements(
        self,
        member_id: str,
        *,
        tickers: Sequence[str] = (),
        event_ticker: str = "",
        min_us: int | None = None,
        max_us: int | None = None,
        subaccount: int | None = None,
    ) -> list[Settlement]:
        """Return what a member's positions came to."""
        return reads.settlements(
            self._floor,
            member_id,
            tickers=tickers,
            event_ticker=event_ticker,
            min_us=min_us,
            max_us=max_us,
            subaccount=subaccount,
        )

    def market(self, ticker: str) -> Market:
        """Return one market, or raise the 404."""
        return self._floor.market(ticker)

    def quote(self, ticker: str) -> Quote:
        """Return best prices and sizes, last and previous prices, volumes and open interest."""
        return quotes.quote(self._floor, ticker)

    def book(self, ticker: str, *, depth: int = 0) -> BookView:
        """Return the `depth` best levels of each side (0 is all) and the clock of the newest change in it."""
        return quotes.book_view(self._floor, ticker, depth)

    def trades(self, ticker: str = "", *, min_us: int | None = None, max_us: int | None = None) -> list[Trade]:
        """Return the kept trades of one market or all, newest first."""
        return quotes.trades(self._floor, ticker, min_us=min_us, max_us=max_us)

    def candles(
        self, ticker: str, *, start_s: int, end_s: int, minutes: int, include_latest_before_start: bool = False
    ) -> list[Candle]:
        """Return candles of 1, 60 or 1440 minutes whose end lies in start … end (Unix seconds), oldest first."""
        market, now = self._floor.market(ticker), self._floor.begin()
        return candles.candles(
            self._floor.books[ticker].statistics,
            market.open_us,
            now,
            start_s=start_s,
            end_s=end_s,
            minutes=minutes,
            include_latest=include_latest_before_start,
        )
