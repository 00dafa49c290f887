"""What the operator can do: list markets, guide their life, pause trading."""

from __future__ import annotations

from typing import Any

from markets.sandbox import halts, life, mistakes
from markets.sandbox.catalogue import Event, FeeType, Market, Series
from markets.sandbox.floor import Floor
from markets.sandbox.grid import Bands


class Operating:
    """The operator's side of an exchange."""

    _floor: Floor

    def add_series(self, series: Series) -> Series:
        """Put a series into the catalogue."""
        return life.add_series(self._floor, series)

    def add_event(self, event: Event) -> Event:
        """Put an event into the catalogue and tell it. Raises KeyError without its series."""
        return life.add_event(self._floor, event)

    def add_market(self, market: Market) -> Market:
        """List a market, tell `created`, open it when its time has come. Raises KeyError without its event."""
        return life.add_market(self._floor, market)

    def pause_market(self, ticker: str) -> None:
        """active → inactive: tell `deactivated`, cancel what asked for it (HaltCancel); the rest keeps resting."""
        life.pause_market(self._floor, ticker)

    def resume_market(self, ticker: str) -> None:
        """inactive → active: cancel every resting order, then tell `activated`."""
        life.resume_market(self._floor, ticker)

    def move_close(self, ticker: str, close_us: int) -> None:
        """Set another close time, now at the earliest; one in the future reopens a closed market without a result."""
        life.move_close(self._floor, ticker, close_us)

    def set_grid(self, ticker: str, structure: str, bands: Bands | None = None) -> None:
        """Change the price grid while the market lives; resting orders stay where they are."""
        life.set_grid(self._floor, ticker, structure, bands)

    def update_details(self, ticker: str, details: dict[str, Any]) -> None:
        """Change what is only shown of a market and tell `metadata_updated`."""
        life.update_details(self._floor, ticker, details)

    def set_event_fee(self, event_ticker: str, fee_type: FeeType | None, multiplier: int | None) -> None:
        """Set or clear (None, None) an event's fee override."""
        life.set_event_fee(self._floor, event_ticker, fee_type, multiplier)

    def set_series_fee(self, series_ticker: str, fee_type: FeeType, multiplier: int) -> None:
        """Change what a series charges (multiplier in 1/10000); an event's override still wins."""
        life.set_series_fee(self._floor, series_ticker, fee_type, multiplier)

    def determine(self, ticker: str, result: str, value: int | None = None, *, expiration_value: str = "") -> None:
        """Give the result (yes, no, scalar with `value` = payout of one YES as a price); an open market closes first.

        The settlement timer starts; at its end `finalized`, cash and settlement rows. Raises ValueError for a wrong
        result.
        """
        life.determine(self._floor, ticker, result, value, expiration_value=expiration_value)

    def dispute(self, ticker: str) -> None:
        """determined or amended → disputed: the timer stops until the result is given again (→ amended)."""
        life.dispute(self._floor, ticker)

    def settle(self, ticker: str) -> None:
        """Pay out a determined market now instead of at the end of its timer."""
        life.settle_now(self._floor, ticker)

    def overfill(self, order_id: str, count: int) -> None:
        """Match all of an order and `count` more than it asked for. Raises ValueError."""
        mistakes.overfill(self._floor, order_id, count)

    def take_back(self, trade_id: str, *, left: int = 0) -> None:
        """Undo a match down to `left` of its count. Raises ValueError."""
        mistakes.take_back(self._floor, trade_id, left)

    def pause_trading(self, exchange_index: int | None = None) -> None:
        """Trading pause of one shard or all: no create, no amend; cancels work; `cancel_on_pause` orders go."""
        halts.pause_trading(self._floor, exchange_index)

    def resume_trading(self, exchange_index: int | None = None) -> None:
        """End the trading pause."""
        halts.resume_trading(self._floor, exchange_index)

    def pause_exchange(self, exchange_index: int | None = None) -> None:
        """Exchange pause of one shard or all: every order operation is refused with 503."""
        halts.pause_exchange(self._floor, exchange_index)

    def resume_exchange(self, exchange_index: int | None = None) -> None:
        """End the exchange pause; a trading pause, if any, goes on."""
        halts.resume_exchange(self._floor, exchange_index)

    def is_exchange_active(self, exchange_index: int = 0) -> bool:
        """Say whether anything works on that shard."""
        return exchange_index not in self._floor.stopped

    def is_trading_active(self, exchange_index: int = 0) -> bool:
        """Say whether orders may be created on that shard."""
        return exchange_index not in self._floor.stopped and exchange_index not in self._floor.paused
