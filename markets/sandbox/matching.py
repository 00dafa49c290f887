"""Matching by price, then time: an incoming order meets resting ones at their prices until something stops it."""

from __future__ import annotations

from markets.sandbox import groups
from markets.sandbox.accounts import Fill
from markets.sandbox.book import Book
from markets.sandbox.catalogue import Market
from markets.sandbox.events import Traded
from markets.sandbox.fees import Effect, fill_effect, trade_fee
from markets.sandbox.fills import book_fill, tell_fills
from markets.sandbox.floor import Floor
from markets.sandbox.orders import Order, OrderStatus, SelfTrade, TimeInForce, UpdateReason
from markets.sandbox.resting import cancel_resting, finish, tell_book, tell_order
from markets.sandbox.statistics import Trade


class Sweep:
    """What one incoming order did: how much it matched, for what, and what stopped it (None: nothing did)."""

    __slots__ = ("fees", "filled", "fills", "grown", "notional", "stop")

    def __init__(self) -> None:
        self.filled = 0
        self.notional = 0  # Σ price × count
        self.fees = 0
        self.stop: UpdateReason | None = None
        self.fills: list[Fill] = []  # those the member is told of
        self.grown: list[str] = []  # groups with more in their window


def is_own(floor: Floor, order: Order, other: Order) -> bool:
    """Say whether two orders belong to the same user."""
    if order.member_id != other.member_id:
        return False
    return floor.rules.self_trade_scope == "member" or order.subaccount == other.subaccount


def effect(
    floor: Floor, book: Book, order: Order, *, held: int, price: int, count: int, is_taker: bool, rounding: int
) -> Effect:
    """Return what a fill would do to the money of one side, whose signed position is `held`."""
    rules = floor.rules
    step = floor.members[order.member_id].balance_step
    fee = trade_fee(book.fees, price, count, is_taker=is_taker, step=rules.trade_fee_step, now_us=floor.now)
    return fill_effect(
        held,
        order.is_bid,
        price,
        count,
        fee=fee,
        rounding=rounding,
        balance_step=step,
        rebate_step=rules.rebate_step or step,
    )


def can_pay(balance: int, change: int) -> bool:
    """Say whether a balance bears a change; money that comes in is always borne."""
    return change >= 0 or balance + change >= 0


def match(floor: Floor, market: Market, book: Book, order: Order, wanted: int) -> Sweep:
    """Match up to `wanted` of an incoming order that does not stand in the book.

    The members' balances, positions and fills change with each match; a maker without the money is canceled on the way.
    """
    sweep = Sweep()
    side = book.side(not order.is_bid)
    taker = floor.members[order.member_id]
    account = (order.subaccount, order.exchange_index)
    while wanted and sweep.stop is None:
        level = side.best_within(order.price)
        if level is None:
            break
        maker = next(iter(level.orders.values()))
        if is_own(floor, order, maker):
            _meet_own(floor, book, order, maker, sweep)
            continue
        price, count = maker.price, min(wanted, maker.remaining)
        paid = effect(
            floor, book, order, held=floor.held(order), price=price, count=count, is_taker=True, rounding=order.rounding
        )
        if not can_pay(taker.balances.get(account, 0), paid.change):
            sweep.stop = UpdateReason.MARGIN_CANCEL
        elif _fill_both(floor, market, book, order, maker, count, paid, sweep):
            wanted -= count
            if sweep.grown and order.time_in_force is not TimeInForce.FOK:
                _look_at_groups(floor, order, sweep)
    if sweep.grown:
        _look_at_groups(floor, order, sweep)
    return sweep


def _meet_own(floor: Floor, book: Book, order: Order, maker: Order, sweep: Sweep) -> None:
    if order.self_trade is SelfTrade.TAKER_AT_CROSS:
        sweep.stop = UpdateReason.SELF_TRADE_CANCEL
    else:
        cancel_resting(floor, book, maker, UpdateReason.SELF_TRADE_CANCEL)


def _fill_both(
    floor: Floor, market: Market, book: Book, order: Order, maker: Order, count: int, paid: Effect, sweep: Sweep
) -> bool:
    """Match `count` of both orders, or cancel a maker that cannot pay and return False."""
    price, balances = maker.price, floor.members[maker.member_id].balances
    got = effect(
        floor, book, maker, held=floor.held(maker), price=price, count=count, is_taker=False, rounding=maker.rounding
    )
    if not can_pay(balances.get((maker.subaccount, maker.exchange_index), 0), got.change):
        cancel_resting(floor, book, maker, UpdateReason.MARGIN_CANCEL)
        return False
    take_from_book(floor, book, maker, count)
    trade = Trade(floor.new_id(), market.ticker, price, count, order.is_bid, floor.now)
    report_match(floor, market, book, trade, paid.closing + got.closing)
    _book_maker(floor, market, maker, trade, got)
    _book_taker(floor, market, order, trade, paid, sweep)
    for group_id in (maker.group_id, order.group_id):
        if group_id:
            groups.count_match(floor, group_id, count)
            sweep.grown.append(group_id)
    return True


def report_match(floor: Floor, market: Market, book: Book, trade: Trade, closing: int) -> None:
    """Let the public know of a match; every contract that either side closed leaves the open interest."""
    market.open_interest += trade.count - closing
    market.volume += trade.count
    market.last_price, market.last_count = trade.price, trade.count
    book.statistics.trade(trade, market.open_interest)
    floor.trades.append(trade)
    if floor.listeners:
        floor.emit(Traded(trade.ticker, trade.trade_id, trade.price, trade.count, trade.taker_is_bid, trade.ts_us))


def _book_maker(floor: Floor, market: Market, maker: Order, trade: Trade, got: Effect) -> None:
    """Book the resting side, end the order when nothing remains, and tell its member at once."""
    member = floor.members[maker.member_id]
    position = floor.position(member, maker.subaccount, market)
    fill = book_fill(floor, member, maker, position, trade, got, is_taker=False)
    if not maker.remaining:
        finish(floor, maker, OrderStatus.EXECUTED)
    tell_order(floor, maker, UpdateReason.TRADE)
    if fill is not None:
        tell_fills(floor, member, (fill,), position)


def _book_taker(floor: Floor, market: Market, order: Order, trade: Trade, paid: Effect, sweep: Sweep) -> None:
    """Book the incoming side; its member is told when the whole order is through."""
    member = floor.members[order.member_id]
    position = floor.position(member, order.subaccount, market)
    fill = book_fill(floor, member, order, position, trade, paid, is_taker=True)
    if fill is not None:
        sweep.fills.append(fill)
    sweep.filled += trade.count
    sweep.notional += trade.price * trade.count
    sweep.fees += paid.fee


def take_from_book(floor: Floor, book: Book, maker: Order, count: int) -> None:
    """Shrink the maker's level; `remaining` itself falls when the fill is booked."""
    side = book.side(maker.is_bid)
    if count == maker.remaining:
        side.remove(maker)
    else:
        side.levels[maker.price].size -= count
    tell_book(floor, book, maker, -count)


def _look_at_groups(floor: Floor, order: Order, sweep: Sweep) -> None:
    """Trigger the groups that matched too much; a fill-or-kill order, one step in itself, has it done afterwards."""
    for group_id in sweep.grown:
        if groups.trigger_if_over(floor, group_id) and group_id == order.group_id:
            sweep.stop = UpdateReason.NONE
    sweep.grown.clear()
