"""What the exchange itself gets wrong, on demand: it fills an order beyond its count, and it takes a match back.

No document knows either, so the form is our choice, and the same wherever it shows. An overfill is one more match: the
order's fill count exceeds its initial count. A match taken back leaves the members' fills, or stays there with a
smaller count; order, position, fees and balance are what they would be without it. The stream has no message that
withdraws a fill: `user_order` and `market_position` tell. Trades, volumes and candles stay as they were printed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from markets.sandbox import desk
from markets.sandbox.accounts import Fill, Member, Position
from markets.sandbox.catalogue import Market, MarketStatus
from markets.sandbox.events import FillTakenBack, PositionChanged
from markets.sandbox.fees import Effect, revenue
from markets.sandbox.fills import book_fill, move_position, tell_fills
from markets.sandbox.floor import Floor
from markets.sandbox.matching import can_pay, effect, report_match, take_from_book
from markets.sandbox.numbers import DOLLAR
from markets.sandbox.orders import Order, OrderStatus, UpdateReason
from markets.sandbox.resting import finish, tell_order
from markets.sandbox.statistics import Trade

COUNTERPARTY = "the other side of mistakes"


def overfill(floor: Floor, order_id: str, count: int) -> None:
    """Match what remains of an order and `count` more, at its price; the house takes the other side.

    Raises ValueError for an order, a count or a market with which that cannot be done.
    """
    floor.begin()
    order = floor.orders.get(order_id)
    if order is None or order.status is OrderStatus.CANCELED or count <= 0:
        raise ValueError("an overfill needs an order that rests or is executed, and a count")
    market, book = floor.markets[order.ticker], floor.books[order.ticker]
    if market.status is not MarketStatus.ACTIVE:
        raise ValueError("the order's market does not trade")
    other = _other_side(floor, order)
    matched = order.remaining + count
    got, paid = (
        effect(
            floor,
            book,
            one,
            held=floor.held(one),
            price=order.price,
            count=matched,
            is_taker=False,
            rounding=one.rounding,
        )
        for one in (order, other)
    )
    member = floor.members[order.member_id]
    if not can_pay(member.balances.get((order.subaccount, order.exchange_index), 0), got.change):
        raise ValueError("the member cannot pay for that")
    book.clock += 1
    if order.status is OrderStatus.RESTING:
        take_from_book(floor, book, order, order.remaining)
    trade = Trade(floor.new_id(), order.ticker, order.price, matched, other.is_bid, floor.now)
    report_match(floor, market, book, trade, got.closing + paid.closing)
    house = floor.members[other.member_id]
    book_fill(floor, house, other, floor.position(house, 0, market), trade, paid, is_taker=True)
    _book_too_much(floor, market, member, order, trade, got)
    floor.note_quote(book)


def _book_too_much(floor: Floor, market: Market, member: Member, order: Order, trade: Trade, got: Effect) -> None:
    position = floor.position(member, order.subaccount, market)
    fill = book_fill(floor, member, order, position, trade, got, is_taker=False)
    order.remaining = 0
    finish(floor, order, OrderStatus.EXECUTED)
    tell_order(floor, order, UpdateReason.TRADE)
    if fill is not None:
        tell_fills(floor, member, (fill,), position)


def _other_side(floor: Floor, order: Order) -> Order:
    """Return an order of the house that matches another; it is never entered."""
    other = order.snapshot()
    other.member_id, other.is_bid = _house(floor).member_id, not order.is_bid
    other.subaccount, other.rounding = 0, 0
    return other


def _house(floor: Floor) -> Member:
    known = next((member for member in floor.members.values() if member.name == COUNTERPARTY), None)
    return known or desk.add_member(floor, COUNTERPARTY, member_id=None, is_quiet=True, balance_step=100)


# --- taking back ----------------------------------------------------------------------------------------------


def take_back(floor: Floor, trade_id: str, left: int) -> None:
    """Undo a match for everybody who had a part in it, down to `left` of its count; 0 is the whole match.

    Raises ValueError for a match that nobody has a fill of, that is not larger, or whose market was paid out.
    """
    floor.begin()
    sides = [(member, fill) for member in floor.members.values() for fill in member.fills if fill.trade_id == trade_id]
    if not sides or not 0 <= left < sides[0][1].count:
        raise ValueError("no such match, or no more than shall be left of it")
    market = floor.markets[sides[0][1].ticker]
    if market.settled_us is not None:
        raise ValueError("the market has been paid out")
    for member, fill in sides:
        _restate(floor, member, fill, left)
    if len(sides) == 1:
        _let_the_house_go(floor, market, sides[0][1], left)
    holders = floor.holders[market.ticker]
    held = (floor.members[member_id].positions[subaccount, market.ticker] for member_id, subaccount in holders)
    market.open_interest = sum(max(position.count, 0) for position in held)


def _restate(floor: Floor, member: Member, fill: Fill, left: int) -> None:
    """Give a member the papers it would have had, had the match been of `left`."""
    key, market = (fill.subaccount, fill.ticker), floor.markets[fill.ticker]
    before = [row for row in member.fills if (row.subaccount, row.ticker) == key]
    at = before.index(fill)
    order, held = floor.orders[fill.order_id], _walk(market, fill.subaccount, before[:at])[0].count
    smaller = [_smaller(floor, order, fill, left, held=held)] if left else []
    after = [*before[:at], *smaller, *before[at + 1 :]]
    position, cash, posts = _walk(market, fill.subaccount, after)
    member.balances[fill.subaccount, fill.exchange_index] += cash - _walk(market, fill.subaccount, before)[1]
    position.updated_us = floor.now
    member.positions[key] = position
    told = {row.trade_id: replace(row, post_position=post) for row, post in zip(after, posts, strict=True)}
    kept = (row if (row.subaccount, row.ticker) != key else told.get(row.trade_id) for row in member.fills)
    member.fills = deque(row for row in kept if row is not None)
    _shrink(floor, order, fill, smaller[0] if smaller else replace(fill, count=0, fee=0))
    floor.emit(FillTakenBack(member.member_id, fill, left, floor.now))
    floor.emit(PositionChanged(member.member_id, position.snapshot()))


def _smaller(floor: Floor, order: Order, fill: Fill, left: int, *, held: int) -> Fill:
    book = floor.books[fill.ticker]
    found = effect(floor, book, order, held=held, price=fill.price, count=left, is_taker=fill.is_taker, rounding=0)
    return replace(fill, count=left, fee=found.fee)


def _walk(market: Market, subaccount: int, fills: Sequence[Fill]) -> tuple[Position, int, list[int]]:
    """Return what a run of fills of one market comes to, the cash that it moved, and the position after each."""
    position = Position(market.ticker, market.event_ticker, market.exchange_index, subaccount)
    cash, posts = 0, []
    for row in fills:
        cash += _trade_into(position, row.is_bid, row.price, row.count, fee=row.fee)
        posts.append(position.count)
    return position, cash, posts


def _trade_into(position: Position, is_bid: bool, price: int, count: int, *, fee: int) -> int:
    """Move a position by one fill and return the cash that this moves."""
    came_in, closing = revenue(position.count, is_bid, price, count)
    made = Effect(came_in - fee, fee, 0, closing)
    move_position(position, is_bid, price if is_bid else DOLLAR - price, count, made)
    return made.change


def _shrink(floor: Floor, order: Order, fill: Fill, restated: Fill) -> None:
    """Take what was taken back out of its order; nothing of it rests again."""
    count, fee = fill.count - restated.count, fill.fee - restated.fee
    cost = count * (fill.price if fill.is_bid else DOLLAR - fill.price)
    order.filled -= count
    if fill.is_taker:
        order.taker_cost -= cost
        order.taker_fees -= fee
    else:
        order.maker_cost -= cost
        order.maker_fees -= fee
    floor.fees_collected -= fee
    if order.status is OrderStatus.EXECUTED:
        order.status = OrderStatus.CANCELED
    tell_order(floor, order, UpdateReason.NONE)


def _let_the_house_go(floor: Floor, market: Market, fill: Fill, left: int) -> None:
    """Take the other side of a match from the house, which keeps no fills: from whoever of it holds such a position."""
    sign = -1 if fill.is_bid else 1
    held = [
        (floor.members[member_id], floor.members[member_id].positions[subaccount, market.ticker])
        for member_id, subaccount in floor.holders[market.ticker]
        if floor.members[member_id].is_quiet
    ]
    member, position = max(held, key=lambda one: sign * one[1].count)
    account = (position.subaccount, position.exchange_index)
    cash = _trade_into(position, fill.is_bid, fill.price, fill.count - left, fee=0)
    member.balances[account] = member.balances.get(account, 0) + cash
