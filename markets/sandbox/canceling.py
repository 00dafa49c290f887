"""Cancels: of one order, of many, and the search for an order that every later operation begins with.

Source: Kalshi trade API v2, `DELETE /portfolio/events/orders`. Finished, foreign and unknown orders look the same: 404.
"""

from __future__ import annotations

from markets.sandbox import refusals
from markets.sandbox.catalogue import MarketStatus
from markets.sandbox.floor import SHARDS, Floor
from markets.sandbox.orders import CancelAck, Order, OrderStatus, UpdateReason
from markets.sandbox.resting import cancel_resting

OPEN = (MarketStatus.ACTIVE, MarketStatus.INACTIVE)


def find(floor: Floor, member_id: str, order_id: str, *, ticker: str, exchange_index: int | None) -> Order:
    """Return a member's order, finished or not, or raise the 404; an id alone is only looked for on shard 0."""
    order = floor.orders.get(order_id)
    if order is None or order.member_id != member_id:
        raise refusals.not_found()
    if not floor.rules.finds_orders_on_every_shard and order.exchange_index != _shard(floor, ticker, exchange_index):
        raise refusals.not_found()
    return order


def _shard(floor: Floor, ticker: str, exchange_index: int | None) -> int:
    if exchange_index is not None and exchange_index >= 0:
        return exchange_index
    return floor.market(ticker).exchange_index if ticker else 0


def find_resting(
    floor: Floor, member_id: str, order_id: str, *, subaccount: int, ticker: str, exchange_index: int | None
) -> Order:
    """Return a resting order that may be canceled or made smaller, or raise why not."""
    order = find(floor, member_id, order_id, ticker=ticker, exchange_index=exchange_index)
    if order.subaccount != subaccount:
        raise refusals.not_found()
    if order.exchange_index in floor.stopped:
        raise refusals.service_unavailable()
    if floor.markets[order.ticker].status not in OPEN:
        raise refusals.market_inactive()
    if order.status is not OrderStatus.RESTING:
        raise refusals.not_found()
    return order


def cancel(
    floor: Floor, member_id: str, order_id: str, *, subaccount: int, ticker: str, exchange_index: int | None
) -> CancelAck:
    """Cancel what still rests of one order."""
    floor.begin()
    order = find_resting(
        floor, member_id, order_id, subaccount=subaccount, ticker=ticker, exchange_index=exchange_index
    )
    reduced = cancel_one(floor, order, UpdateReason(floor.rules.cancel_reason))
    return CancelAck(order_id, order.client_order_id, reduced, floor.now)


def cancel_one(floor: Floor, order: Order, reason: UpdateReason) -> int:
    """Cancel a resting order as an operation of its own, and return what was resting."""
    book = floor.books[order.ticker]
    book.clock += 1
    reduced = cancel_resting(floor, book, order, reason)
    floor.note_quote(book)
    return reduced


def cancel_all(floor: Floor, member_id: str, *, subaccount: int | None) -> int:
    """Cancel every resting order that may be canceled, and freeze new ones if the rules say so."""
    floor.begin()
    if floor.stopped.issuperset(SHARDS):
        raise refusals.service_unavailable()
    member = floor.members[member_id]
    canceled = 0
    for order_id in list(member.resting_ids):
        order = floor.orders[order_id]
        is_open = order.exchange_index not in floor.stopped and floor.markets[order.ticker].status in OPEN
        if is_open and subaccount in (None, order.subaccount):
            cancel_one(floor, order, UpdateReason(floor.rules.cancel_reason))
            canceled += 1
    if floor.rules.cancel_all_shadow_us:
        member.frozen_until_us = floor.now + floor.rules.cancel_all_shadow_us
    return canceled
