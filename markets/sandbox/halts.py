"""Pauses of the whole exchange, shard by shard: trading alone, or everything.

Source: Kalshi documentation, maintenance and pauses: resting orders stay unless they asked to be canceled on pause.
"""

from __future__ import annotations

from collections.abc import Iterable

from markets.sandbox.canceling import cancel_one
from markets.sandbox.events import ExchangeChanged
from markets.sandbox.floor import SHARDS, Floor
from markets.sandbox.orders import Order, UpdateReason


def _shards(exchange_index: int | None) -> Iterable[int]:
    return SHARDS if exchange_index is None else (exchange_index,)


def pause_trading(floor: Floor, exchange_index: int | None) -> None:
    """Stop creates and amends."""
    floor.begin()
    for index in _shards(exchange_index):
        floor.paused.add(index)
        _halt(floor, index)


def resume_trading(floor: Floor, exchange_index: int | None) -> None:
    """Allow creates and amends again."""
    floor.begin()
    for index in _shards(exchange_index):
        floor.paused.discard(index)
        _tell(floor, index)


def pause_exchange(floor: Floor, exchange_index: int | None) -> None:
    """Stop everything."""
    floor.begin()
    for index in _shards(exchange_index):
        floor.stopped.add(index)
        _halt(floor, index)


def resume_exchange(floor: Floor, exchange_index: int | None) -> None:
    """Let the shard work again."""
    floor.begin()
    for index in _shards(exchange_index):
        floor.stopped.discard(index)
        _tell(floor, index)


def _halt(floor: Floor, index: int) -> None:
    _tell(floor, index)
    cancel_on_pause(floor, [order for order in _resting(floor) if order.exchange_index == index])


def _resting(floor: Floor) -> Iterable[Order]:
    for member in floor.members.values():
        for order_id in list(member.resting_ids):
            yield floor.orders[order_id]


def cancel_on_pause(floor: Floor, orders: Iterable[Order]) -> None:
    """Cancel those of the resting orders that asked for it."""
    for order in orders:
        if order.cancel_on_pause:
            cancel_one(floor, order, UpdateReason.HALT_CANCEL)


def _tell(floor: Floor, index: int) -> None:
    is_active = index not in floor.stopped
    floor.emit(ExchangeChanged(index, is_active, is_active and index not in floor.paused, floor.now))
