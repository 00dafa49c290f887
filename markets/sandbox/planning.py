"""Whether a fill-or-kill order can be filled, asked before anything moves."""

from __future__ import annotations

from markets.sandbox.accounts import Position
from markets.sandbox.book import Book
from markets.sandbox.floor import Floor
from markets.sandbox.matching import can_pay, effect, is_own
from markets.sandbox.orders import Order
from markets.sandbox.refusals import Refusal, fok_insufficient_volume, insufficient_balance


class _Purse:
    """What one sub-account would have left in the middle of the plan."""

    __slots__ = ("balance", "held")

    def __init__(self, balance: int, held: int) -> None:
        self.balance = balance
        self.held = held

    def take(self, change: int, signed_count: int) -> None:
        self.balance += change
        self.held += signed_count


def refusal_of_fok(floor: Floor, book: Book, order: Order, wanted: int) -> Refusal | None:
    """Return why a fill-or-kill order cannot be filled, or None when it can.

    Meeting an own order makes it an immediate-or-cancel order, which is never refused. Makers without the money are
    passed over, as they would be canceled; order groups are not looked at before all has matched.
    """
    purses: dict[tuple[str, int], _Purse] = {}
    taker = _purse(floor, purses, order)
    rounding = order.rounding
    for maker in book.side(not order.is_bid).walk(order.price):
        if not wanted or is_own(floor, order, maker):
            return None
        count, price = min(wanted, maker.remaining), maker.price
        paid = effect(floor, book, order, held=taker.held, price=price, count=count, is_taker=True, rounding=rounding)
        if not can_pay(taker.balance, paid.change):
            return insufficient_balance()
        other = _purse(floor, purses, maker)
        got = effect(
            floor, book, maker, held=other.held, price=price, count=count, is_taker=False, rounding=maker.rounding
        )
        if not can_pay(other.balance, got.change):
            continue
        taker.take(paid.change, count if order.is_bid else -count)
        other.take(got.change, count if maker.is_bid else -count)
        rounding = paid.rounding
        wanted -= count
    return fok_insufficient_volume() if wanted else None


def _purse(floor: Floor, purses: dict[tuple[str, int], _Purse], order: Order) -> _Purse:
    key = (order.member_id, order.subaccount)
    if key not in purses:
        member = floor.members[order.member_id]
        position: Position | None = member.positions.get((order.subaccount, order.ticker))
        balance = member.balances.get((order.subaccount, order.exchange_index), 0)
        purses[key] = _Purse(balance, position.count if position else 0)
    return purses[key]
