"""Amend and decrease: a better price or a larger size goes to the back of the queue, a smaller one keeps its place.

Source: Kalshi trade API v2, `POST /portfolio/events/orders/{id}/amend` and `/decrease`.
"""

from __future__ import annotations

from markets.sandbox import refusals
from markets.sandbox.book import Book
from markets.sandbox.canceling import cancel_one, find, find_resting
from markets.sandbox.creating import averages, check_expiry, check_money, check_open, crosses, enter
from markets.sandbox.floor import Floor
from markets.sandbox.matching import Sweep
from markets.sandbox.orders import AmendAck, Amendment, DecreaseAck, Order, OrderStatus, UpdateReason
from markets.sandbox.resting import await_expiry, finish, leave, tell_book, tell_order


def amend(floor: Floor, member_id: str, order_id: str, amendment: Amendment, *, subaccount: int) -> AmendAck:
    """Change price, total count, expiry or client order id of a resting order."""
    floor.begin()
    order = find(floor, member_id, order_id, ticker=amendment.ticker, exchange_index=amendment.exchange_index)
    if order.subaccount != subaccount:
        raise refusals.not_found()
    _check_attributes(floor, order, amendment)
    _check_change(floor, order, amendment)
    before = order.remaining
    _note_terms(floor, order, amendment)
    sweep = _change(floor, order, amendment)
    has_counts = bool(sweep.filled) or order.remaining != before
    return AmendAck(
        order_id,
        order.client_order_id,
        sweep.filled if has_counts else None,
        order.remaining if has_counts else None,
        *averages(sweep),
        ts_us=floor.now,
    )


def _check_attributes(floor: Floor, order: Order, amendment: Amendment) -> None:
    """Refuse an amend of another order than the one its fields describe, or of one that is over."""
    if amendment.ticker != order.ticker:
        raise refusals.Refusal(400, "order_ticker_mismatch")
    check_open(floor, floor.markets[order.ticker], amendment.exchange_index)
    if order.status is not OrderStatus.RESTING:
        raise refusals.not_found()
    if amendment.is_bid != order.is_bid:
        raise refusals.Refusal(400, "order_side_mismatch")
    if amendment.client_order_id and amendment.client_order_id != order.client_order_id:
        raise refusals.Refusal(400, "order_id_and_client_order_id_mismatch")


def _check_change(floor: Floor, order: Order, amendment: Amendment) -> None:
    """Refuse what the order cannot become."""
    book, member = floor.books[order.ticker], floor.members[order.member_id]
    remaining, has_new_price = amendment.count - order.filled, amendment.price != order.price
    if remaining <= 0:
        raise refusals.invalid_order_size("count must be more than what is filled")
    if has_new_price and amendment.price not in book.prices:
        raise refusals.invalid_price()
    if amendment.expires_us:
        check_expiry(floor, amendment.expires_us)
    renamed = amendment.updated_client_order_id
    if renamed and renamed != order.client_order_id and renamed in member.client_order_ids:
        raise refusals.order_already_exists()
    if not has_new_price and remaining <= order.remaining:
        return
    wish = order.snapshot()
    wish.price = amendment.price
    check_money(floor, member, book, wish, remaining)
    if order.post_only and floor.rules.post_only_amend == "refuse" and crosses(book, wish):
        raise refusals.post_only_cross()


def _note_terms(floor: Floor, order: Order, amendment: Amendment) -> None:
    """Take over the new expiry and client order id."""
    if amendment.expires_us is not None:
        order.expires_us = amendment.expires_us
        await_expiry(floor, order)
    renamed = amendment.updated_client_order_id
    if renamed and renamed != order.client_order_id:
        order.client_order_id = renamed
        if not floor.members[order.member_id].is_quiet:
            floor.members[order.member_id].client_order_ids[renamed] = order.order_id


def _change(floor: Floor, order: Order, amendment: Amendment) -> Sweep:
    """Take over price and count; only a new price may match."""
    book = floor.books[order.ticker]
    remaining = amendment.count - order.filled
    order.initial = amendment.count
    if amendment.price != order.price:
        return _move(floor, book, order, amendment.price, remaining)
    if remaining != order.remaining:
        book.clock += 1
        _resize(floor, book, order, remaining)
    tell_order(floor, order, UpdateReason.AMEND)
    return Sweep()


def _move(floor: Floor, book: Book, order: Order, price: int, remaining: int) -> Sweep:
    """Give up the place and come in again at another price."""
    book.clock += 1
    leave(floor, book, order)
    order.price, order.remaining = price, remaining
    if order.post_only and crosses(book, order):
        finish(floor, order, OrderStatus.CANCELED)
        tell_order(floor, order, UpdateReason.POST_ONLY_CROSS_CANCEL)
        floor.note_quote(book)
        return Sweep()
    return enter(floor, floor.markets[order.ticker], book, order, remaining, unfilled=UpdateReason.AMEND)


def _resize(floor: Floor, book: Book, order: Order, remaining: int) -> None:
    """Change what rests at the same price: smaller keeps its place, larger goes to the back."""
    side, change = book.side(order.is_bid), remaining - order.remaining
    if change > 0:
        side.remove(order)
        order.remaining = remaining
        order.priority = floor.next_priority()
        side.add(order)
    else:
        side.levels[order.price].size += change
        order.remaining = remaining
    tell_book(floor, book, order, change)


def decrease(
    floor: Floor,
    member_id: str,
    order_id: str,
    *,
    reduce_by: int | None,
    reduce_to: int | None,
    subaccount: int,
    ticker: str,
    exchange_index: int | None,
) -> DecreaseAck:
    """Make an order smaller by one of the two: more than rests cancels it, `reduce_to` above that changes nothing."""
    floor.begin()
    order = find_resting(
        floor, member_id, order_id, subaccount=subaccount, ticker=ticker, exchange_index=exchange_index
    )
    remaining = _decreased(order, reduce_by, reduce_to)
    if remaining == 0:
        cancel_one(floor, order, UpdateReason.DECREASE)
    elif remaining < order.remaining:
        book = floor.books[order.ticker]
        book.clock += 1
        order.initial += remaining - order.remaining
        _resize(floor, book, order, remaining)
        tell_order(floor, order, UpdateReason.DECREASE)
    return DecreaseAck(order_id, order.client_order_id, order.remaining, floor.now)


def _decreased(order: Order, reduce_by: int | None, reduce_to: int | None) -> int:
    if (reduce_by is None) == (reduce_to is None):
        raise refusals.invalid_parameters("exactly one of reduce_by and reduce_to is needed")
    if reduce_by is not None:
        if reduce_by <= 0:
            raise refusals.invalid_order_size()
        return max(0, order.remaining - reduce_by)
    if reduce_to is None or reduce_to < 0:
        raise refusals.invalid_order_size()
    return min(order.remaining, reduce_to)
