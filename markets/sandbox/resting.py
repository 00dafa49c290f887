"""Orders that come to rest and orders that end: the bookkeeping every way in and out shares."""

from __future__ import annotations

from markets.sandbox.book import Book
from markets.sandbox.events import BookChanged, OrderChanged
from markets.sandbox.floor import Floor
from markets.sandbox.orders import Order, OrderStatus, UpdateReason

EXPIRY_RANK = 1  # what falls on one instant: openings, expiries, closes, sweeps, results, payouts


def tell_book(floor: Floor, book: Book, order: Order, change: int) -> None:
    """Tell that an order's level grew or shrank."""
    if floor.listeners:
        floor.emit(
            BookChanged(
                book.ticker,
                order.is_bid,
                order.price,
                change,
                book.clock,
                floor.now,
                order.member_id,
                order.client_order_id,
                order.subaccount,
            )
        )


def tell_order(floor: Floor, order: Order, reason: UpdateReason) -> None:
    """Note why an order changed, and tell its member."""
    order.reason = reason
    order.updated_us = floor.now
    if floor.listeners and not floor.members[order.member_id].is_quiet:
        floor.emit(OrderChanged(order.member_id, order.snapshot(), reason))


def rest(floor: Floor, book: Book, order: Order) -> None:
    """Put an order at the end of its level, and into every list of resting orders."""
    order.priority = floor.next_priority()
    book.side(order.is_bid).add(order)
    floor.members[order.member_id].resting_ids[order.order_id] = None
    if order.group_id:
        floor.groups[order.group_id].order_ids[order.order_id] = None
    tell_book(floor, book, order, order.remaining)


def await_expiry(floor: Floor, order: Order) -> None:
    """Have a resting order canceled when its time is over."""
    if order.expires_us:
        floor.timers.add(order.expires_us, EXPIRY_RANK, order.order_id)


def leave(floor: Floor, book: Book, order: Order) -> None:
    """Take an order out of the book and out of every list of resting orders, with what remains of it."""
    book.side(order.is_bid).remove(order)
    _delist(floor, order)
    tell_book(floor, book, order, -order.remaining)


def _delist(floor: Floor, order: Order) -> None:
    floor.members[order.member_id].resting_ids.pop(order.order_id, None)
    if order.group_id in floor.groups:
        floor.groups[order.group_id].order_ids.pop(order.order_id, None)


def finish(floor: Floor, order: Order, status: OrderStatus) -> None:
    """End an order that no longer stands in the book; a quiet member's is forgotten."""
    order.status = status
    if status is OrderStatus.CANCELED:
        order.remaining = 0
    _delist(floor, order)
    if floor.members[order.member_id].is_quiet:
        floor.orders.pop(order.order_id, None)


def cancel_resting(floor: Floor, book: Book, order: Order, reason: UpdateReason) -> int:
    """Take an order out of the book, tell both, and return what was still resting."""
    remaining = order.remaining
    leave(floor, book, order)
    finish(floor, order, OrderStatus.CANCELED)
    tell_order(floor, order, reason)
    return remaining
