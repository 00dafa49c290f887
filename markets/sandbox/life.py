"""The life of a market: listed, opened and closed by the clock, paused, reopened, determined, disputed, paid out.

Source: Kalshi documentation, market lifecycle: opening and closing by the clock are told by no message.
"""

from __future__ import annotations

from typing import Any

from markets.sandbox.canceling import cancel_one
from markets.sandbox.catalogue import Event, FeeType, Market, MarketStatus, Series
from markets.sandbox.events import BookCleared, EventCreated, EventFeeChanged, LifecycleChanged, LifecycleKind
from markets.sandbox.fees import fee_rates
from markets.sandbox.floor import Floor
from markets.sandbox.grid import STRUCTURES, Bands, grid_prices
from markets.sandbox.halts import cancel_on_pause
from markets.sandbox.numbers import DOLLAR
from markets.sandbox.orders import OrderStatus, UpdateReason
from markets.sandbox.resting import EXPIRY_RANK, finish, tell_order
from markets.sandbox.settlement import settle

OPEN_RANK, CLOSE_RANK, SWEEP_RANK, DETERMINE_RANK, SETTLE_RANK = 0, 2, 3, 4, 5
BEFORE_RESULT = (MarketStatus.INITIALIZED, MarketStatus.ACTIVE, MarketStatus.INACTIVE, MarketStatus.CLOSED)


def run_due(floor: Floor, now_us: int) -> None:
    """Do everything due by now, each at its own time; a timer that no longer applies does nothing."""
    for due_us, rank, key in floor.timers.due(now_us):
        floor.now = due_us
        if rank == EXPIRY_RANK:
            _expire(floor, key)
        else:
            _advance(floor, floor.markets[key], rank)


def _advance(floor: Floor, market: Market, rank: int) -> None:
    now, status = floor.now, market.status
    if rank == OPEN_RANK and status is MarketStatus.INITIALIZED:
        market.status = MarketStatus.ACTIVE
    elif rank == CLOSE_RANK and market.close_us == now and status in BEFORE_RESULT[:3]:
        _close(floor, market)
    elif rank == SWEEP_RANK and status is MarketStatus.CLOSED and market.close_us <= now:
        _sweep(floor, market)
    elif rank == DETERMINE_RANK and market.determine_us == now and status is MarketStatus.CLOSED:
        _give_result(floor, market, market.planned_result, market.planned_value)
    elif rank == SETTLE_RANK and _payout_us(market) == now:
        settle(floor, market)


def _payout_us(market: Market) -> int | None:
    """Return when a market with a standing result is paid out."""
    if market.status not in (MarketStatus.DETERMINED, MarketStatus.AMENDED) or market.determined_us is None:
        return None
    return market.determined_us + market.settlement_timer_us


def _expire(floor: Floor, order_id: str) -> None:
    order = floor.orders.get(order_id)
    if order is None or order.status is not OrderStatus.RESTING or order.expires_us != floor.now:
        return
    # What still rests in a closed market is the sweep's: after the close no change of the book is told.
    if floor.markets[order.ticker].status in (MarketStatus.ACTIVE, MarketStatus.INACTIVE):
        cancel_one(floor, order, UpdateReason.EXPIRY_CANCEL)


def _close(floor: Floor, market: Market) -> None:
    market.status = MarketStatus.CLOSED
    market.is_swept = False
    floor.timers.add(floor.now + floor.rules.close_sweep_us, SWEEP_RANK, market.ticker)


def _sweep(floor: Floor, market: Market) -> None:
    """Cancel what rests in a closed market and wipe its book, once a close."""
    if market.is_swept:
        return
    market.is_swept = True
    book = floor.books[market.ticker]
    orders = book.resting()
    book.clear()
    book.clock += 1
    floor.emit(BookCleared(market.ticker, book.clock, floor.now))
    for order in orders:
        finish(floor, order, OrderStatus.CANCELED)
        tell_order(floor, order, UpdateReason.CLOSE_CANCEL)
    floor.note_quote(book)


def add_series(floor: Floor, series: Series) -> Series:
    """Put a series into the catalogue."""
    series.updated_us = series.updated_us or floor.begin()
    floor.series[series.ticker] = series
    return series


def add_event(floor: Floor, event: Event) -> Event:
    """Put an event into the catalogue and tell it."""
    now = floor.begin()
    if event.series_ticker not in floor.series:
        raise KeyError(event.series_ticker)
    event.updated_us = event.updated_us or now
    floor.events[event.ticker] = event
    floor.emit(EventCreated(event.ticker, now))
    return event


def add_market(floor: Floor, market: Market) -> Market:
    """List a market; a replayed one lives by what others say."""
    now = floor.begin()
    if market.event_ticker not in floor.events:
        raise KeyError(market.event_ticker)
    market.created_us, market.updated_us = market.created_us or now, market.updated_us or now
    floor.markets[market.ticker] = market
    floor.open_book(market)
    _tell(floor, market, "created", open_us=market.open_us, close_us=market.close_us, bands=market.bands)
    if not market.is_replay:
        set_timers(floor, market)
        floor.begin()
    return market


def set_timers(floor: Floor, market: Market) -> None:
    """Note everything the clock will do to a market; what does not apply when it is due does nothing."""
    timers, ticker = floor.timers, market.ticker
    timers.add(market.open_us, OPEN_RANK, ticker)
    timers.add(market.close_us, CLOSE_RANK, ticker)
    if market.determine_us is not None and market.planned_result:
        timers.add(max(market.determine_us, market.close_us), DETERMINE_RANK, ticker)
    payout_us = _payout_us(market)
    if payout_us is not None:
        timers.add(payout_us, SETTLE_RANK, ticker)
    if market.status is MarketStatus.CLOSED and not market.is_swept:
        timers.add(market.close_us + floor.rules.close_sweep_us, SWEEP_RANK, ticker)


def pause_market(floor: Floor, ticker: str) -> None:
    """active → inactive."""
    floor.begin()
    market = _in_state(floor, ticker, MarketStatus.ACTIVE)
    market.status = MarketStatus.INACTIVE
    _tell(floor, market, "deactivated")
    cancel_on_pause(floor, floor.books[ticker].resting())


def resume_market(floor: Floor, ticker: str) -> None:
    """inactive → active: nothing that rested survives."""
    floor.begin()
    market = _in_state(floor, ticker, MarketStatus.INACTIVE)
    for order in floor.books[ticker].resting():
        cancel_one(floor, order, UpdateReason.HALT_CANCEL)
    market.status = MarketStatus.ACTIVE
    _tell(floor, market, "activated")


def move_close(floor: Floor, ticker: str, close_us: int) -> None:
    """Set another close time; a closed market without a result opens again when that lies ahead."""
    now = floor.begin()
    market = _in_state(floor, ticker, *BEFORE_RESULT)
    market.close_us = close_us = max(close_us, now)
    _tell(floor, market, "close_date_updated", close_us=close_us)
    floor.timers.add(close_us, CLOSE_RANK, ticker)
    if market.status is MarketStatus.CLOSED and close_us > now:
        _sweep(floor, market)
        market.status = MarketStatus.ACTIVE
        _tell(floor, market, "activated")
    floor.begin()


def set_grid(floor: Floor, ticker: str, structure: str, bands: Bands | None) -> None:
    """Change the grid; what rests off it stays."""
    floor.begin()
    market = floor.market(ticker)
    market.price_level_structure = structure
    market.bands = STRUCTURES[structure] if bands is None else bands
    floor.books[ticker].prices = grid_prices(market.bands)
    _tell(floor, market, "price_level_structure_updated", structure=structure, bands=market.bands)


def update_details(floor: Floor, ticker: str, details: dict[str, Any]) -> None:
    """Change what is only shown."""
    floor.begin()
    market = floor.market(ticker)
    market.details.update(details)
    _tell(floor, market, "metadata_updated", details=details)


def set_event_fee(floor: Floor, event_ticker: str, fee_type: FeeType | None, multiplier: int | None) -> None:
    """Set or clear an event's override, from the next fill on."""
    now = floor.begin()
    event = floor.events[event_ticker]
    event.fee_type_override, event.fee_multiplier_override, event.updated_us = fee_type, multiplier, now
    _charge_anew(floor, event)
    floor.emit(EventFeeChanged(event_ticker, fee_type and fee_type.value, multiplier, now))


def set_series_fee(floor: Floor, series_ticker: str, fee_type: FeeType, multiplier: int) -> None:
    """Change what a series charges, from the next fill on; an event's override still wins."""
    series = floor.series[series_ticker]
    series.fee_type, series.fee_multiplier, series.updated_us = fee_type, multiplier, floor.begin()
    for event in floor.events.values():
        if event.series_ticker == series_ticker:
            _charge_anew(floor, event)


def _charge_anew(floor: Floor, event: Event) -> None:
    for market in floor.markets.values():
        if market.event_ticker == event.ticker:
            rates = fee_rates(floor.series[event.series_ticker], event, market, floor.rules.flat_fee)
            floor.books[market.ticker].fees = rates


def determine(floor: Floor, ticker: str, result: str, value: int | None, *, expiration_value: str) -> None:
    """Give the result; a market that is still open closes first."""
    now = floor.begin()
    market = floor.market(ticker)
    if market.status is MarketStatus.FINALIZED:
        raise ValueError(f"{ticker} is paid out already")
    payout = _checked_value(result, value)
    if market.status in BEFORE_RESULT[:3]:
        market.close_us = now
        _tell(floor, market, "close_date_updated", close_us=now)
        _close(floor, market)
    market.expiration_value = expiration_value or market.expiration_value
    _give_result(floor, market, result, payout)
    floor.begin()


def _checked_value(result: str, value: int | None) -> int:
    if result in ("yes", "no"):
        return DOLLAR if result == "yes" else 0
    if result != "scalar" or value is None or not 0 <= value <= DOLLAR:
        raise ValueError("the result is yes, no, or scalar with a value between 0 and $1")
    return value


def _give_result(floor: Floor, market: Market, result: str, value: int) -> None:
    is_first = market.status is MarketStatus.CLOSED
    _sweep(floor, market)
    market.status = MarketStatus.DETERMINED if is_first else MarketStatus.AMENDED
    market.result, market.settlement_value = result, value
    market.determined_us = floor.now
    _tell(floor, market, "determined", result=result, value=value)
    floor.timers.add(floor.now + market.settlement_timer_us, SETTLE_RANK, market.ticker)


def dispute(floor: Floor, ticker: str) -> None:
    """Stop the settlement timer until the result is given again."""
    floor.begin()
    market = _in_state(floor, ticker, MarketStatus.DETERMINED, MarketStatus.AMENDED)
    market.status = MarketStatus.DISPUTED
    market.updated_us = floor.now


def settle_now(floor: Floor, ticker: str) -> None:
    """Pay out without waiting for the timer."""
    floor.begin()
    settle(floor, _in_state(floor, ticker, MarketStatus.DETERMINED, MarketStatus.AMENDED))


def _in_state(floor: Floor, ticker: str, *states: MarketStatus) -> Market:
    """Return the market, or raise ValueError when it is in another state: an operator's mistake, no member's."""
    market = floor.market(ticker)
    if market.status not in states:
        raise ValueError(f"{ticker} is {market.status.value}")
    return market


def _tell(floor: Floor, market: Market, kind: LifecycleKind, **facts: Any) -> None:
    market.updated_us = floor.now
    floor.emit(LifecycleChanged(market.ticker, kind, floor.now, exchange_index=market.exchange_index, **facts))
