"""What a match does to each of its two sides: the order, the money, the position and the member's record."""

from __future__ import annotations

from collections.abc import Iterable

from markets.sandbox.accounts import Fill, Member, Position
from markets.sandbox.events import Filled, PositionChanged
from markets.sandbox.fees import Effect
from markets.sandbox.floor import Floor
from markets.sandbox.numbers import DOLLAR
from markets.sandbox.orders import Order
from markets.sandbox.statistics import Trade


def book_fill(
    floor: Floor, member: Member, order: Order, position: Position, trade: Trade, effect: Effect, *, is_taker: bool
) -> Fill | None:
    """Book one side of a match and return the fill the member's record keeps; a quiet member has none."""
    count, fee = trade.count, effect.fee
    leg = trade.price if order.is_bid else DOLLAR - trade.price
    order.filled += count
    order.remaining -= count
    order.rounding = effect.rounding
    if is_taker:
        order.taker_cost += count * leg
        order.taker_fees += fee
    else:
        order.maker_cost += count * leg
        order.maker_fees += fee
    account = (order.subaccount, order.exchange_index)
    member.balances[account] = member.balances.get(account, 0) + effect.change
    floor.fees_collected += fee
    move_position(position, order.is_bid, leg, count, effect)
    position.updated_us = floor.now
    if member.is_quiet:
        return None
    fill = _fill(order, trade, fee, position.count, is_taker=is_taker)
    member.fills.append(fill)
    return fill


def _fill(order: Order, trade: Trade, fee: int, post_position: int, *, is_taker: bool) -> Fill:
    return Fill(
        trade.trade_id,
        order.order_id,
        order.client_order_id,
        order.ticker,
        order.exchange_index,
        order.subaccount,
        order.is_bid,
        is_taker,
        trade.price,
        trade.count,
        fee,
        trade.ts_us,
        post_position,
    )


def move_position(position: Position, is_bid: bool, leg: int, count: int, effect: Effect) -> None:
    """Net a fill at once: what closes realizes P&L against the average cost, what opens adds to the exposure."""
    closing = effect.closing
    if closing:
        basis = position.exposure * closing // abs(position.count)
        position.exposure -= basis
        position.realized += closing * (DOLLAR - leg) - basis
    position.exposure += (count - closing) * leg
    position.total_traded += count * leg
    position.volume += count
    position.fees += effect.fee
    position.count += count if is_bid else -count
    position.open_fees = position.open_fees + effect.fee if position.count else 0


def tell_fills(floor: Floor, member: Member, fills: Iterable[Fill], position: Position) -> None:
    """Tell a member of its fills and of what it holds now."""
    if floor.listeners:
        for fill in fills:
            floor.emit(Filled(member.member_id, fill))
        floor.emit(PositionChanged(member.member_id, position.snapshot()))
