"""What a member may read of its own: orders, queue, fills, positions, settlements, balance. Newest first.

Source: Kalshi trade API v2, the portfolio endpoints and their filters; times are inclusive at both ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markets.sandbox import refusals
from markets.sandbox.accounts import BalanceView, EventPosition, Fill, Position, Settlement
from markets.sandbox.canceling import find
from markets.sandbox.floor import Floor
from markets.sandbox.numbers import DOLLAR
from markets.sandbox.orders import Order, OrderStatus


def _is_within(ts_us: int, min_us: int | None, max_us: int | None) -> bool:
    return (min_us is None or ts_us >= min_us) and (max_us is None or ts_us <= max_us)


def _is(wanted: int | None, value: int) -> bool:
    return wanted is None or wanted == value


def order(floor: Floor, member_id: str, order_id: str, *, ticker: str, exchange_index: int | None) -> Order:
    """Return one order or raise the 404."""
    floor.begin()
    return find(floor, member_id, order_id, ticker=ticker, exchange_index=exchange_index)


def orders(
    floor: Floor,
    member_id: str,
    *,
    tickers: Sequence[str],
    event_tickers: Sequence[str],
    status: OrderStatus | None,
    min_us: int | None,
    max_us: int | None,
    subaccount: int | None,
    exchange_index: int | None,
) -> list[Order]:
    """Return orders by time of creation."""
    floor.begin()
    member, events = floor.members[member_id], set(event_tickers)
    ids = member.resting_ids if member.is_quiet else member.order_ids
    return [
        order
        for order in map(floor.orders.__getitem__, reversed(ids))
        if (not tickers or order.ticker in tickers)
        and (not events or floor.markets[order.ticker].event_ticker in events)
        and (status is None or order.status is status)
        and _is_within(order.created_us, min_us, max_us)
        and _is(subaccount, order.subaccount)
        and _is(exchange_index, order.exchange_index)
    ]


def queue_position(floor: Floor, member_id: str, order_id: str, *, subaccount: int | None) -> int:
    """Return the contracts ahead of a resting order."""
    floor.begin()
    order = floor.orders.get(order_id)
    if order is None or order.member_id != member_id or order.status is not OrderStatus.RESTING:
        raise refusals.not_found()
    if not _is(subaccount, order.subaccount):
        raise refusals.not_found()
    return floor.books[order.ticker].side(order.is_bid).ahead_of(order)


def queue_positions(
    floor: Floor, member_id: str, *, tickers: Sequence[str], event_ticker: str, subaccount: int | None
) -> list[tuple[Order, int]]:
    """Return resting orders with the contracts ahead of each."""
    floor.begin()
    found = (floor.orders[order_id] for order_id in reversed(floor.members[member_id].resting_ids))
    return [
        (order, floor.books[order.ticker].side(order.is_bid).ahead_of(order))
        for order in found
        if (not tickers or order.ticker in tickers)
        and (not event_ticker or floor.markets[order.ticker].event_ticker == event_ticker)
        and _is(subaccount, order.subaccount)
    ]


def fills(
    floor: Floor,
    member_id: str,
    *,
    tickers: Sequence[str],
    order_id: str,
    min_us: int | None,
    max_us: int | None,
    subaccount: int | None,
    exchange_index: int | None,
) -> list[Fill]:
    """Return fills."""
    floor.begin()
    return [
        fill
        for fill in reversed(floor.members[member_id].fills)
        if (not tickers or fill.ticker in tickers)
        and order_id in ("", fill.order_id)
        and _is_within(fill.ts_us, min_us, max_us)
        and _is(subaccount, fill.subaccount)
        and _is(exchange_index, fill.exchange_index)
    ]


def settlements(
    floor: Floor,
    member_id: str,
    *,
    tickers: Sequence[str],
    event_ticker: str,
    min_us: int | None,
    max_us: int | None,
    subaccount: int | None,
) -> list[Settlement]:
    """Return settlement rows."""
    floor.begin()
    return [
        row
        for row in reversed(floor.members[member_id].settlements)
        if (not tickers or row.ticker in tickers)
        and event_ticker in ("", row.event_ticker)
        and _is_within(row.settled_us, min_us, max_us)
        and _is(subaccount, row.subaccount)
    ]


def positions(
    floor: Floor,
    member_id: str,
    *,
    tickers: Sequence[str],
    event_ticker: str,
    is_settled: bool | None,
    has_position: bool | None,
    has_traded: bool | None,
    subaccount: int,
    exchange_index: int | None,
) -> tuple[list[Position], list[EventPosition]]:
    """Return positions by market and by event."""
    floor.begin()
    found = [
        position
        for position in floor.members[member_id].positions.values()
        if position.subaccount == subaccount
        and (not tickers or position.ticker in tickers)
        and event_ticker in ("", position.event_ticker)
        and is_settled in (None, position.is_settled)
        and has_position in (None, position.count != 0)
        and has_traded in (None, position.total_traded != 0)
        and _is(exchange_index, position.exchange_index)
    ]
    found.sort(key=lambda position: position.updated_us, reverse=True)
    return found, _by_event(found)


def _by_event(found: Sequence[Position]) -> list[EventPosition]:
    events: dict[str, list[Position]] = {}
    for position in found:
        events.setdefault(position.event_ticker, []).append(position)
    return [_event_position(ticker, rows) for ticker, rows in events.items()]


def _event_position(event_ticker: str, rows: Sequence[Position]) -> EventPosition:
    def total(amount: Callable[[Position], int]) -> int:
        return sum(map(amount, rows))

    return EventPosition(
        event_ticker,
        total_cost=total(lambda row: row.total_traded),
        total_count=total(lambda row: row.volume),
        exposure=total(lambda row: row.exposure),
        realized=total(lambda row: row.realized),
        fees=total(lambda row: row.fees),
    )


def balance(floor: Floor, member_id: str, *, subaccount: int, exchange_index: int | None) -> BalanceView:
    """Return cash, the value of positions at the last price, and cash by shard."""
    now = floor.begin()
    member = floor.members[member_id]
    breakdown = sorted(
        (index, money)
        for (number, index), money in member.balances.items()
        if number == subaccount and _is(exchange_index, index)
    )
    value = sum(
        _value(position, floor.markets[position.ticker].last_price)
        for position in member.positions.values()
        if position.subaccount == subaccount and _is(exchange_index, position.exchange_index)
    )
    return BalanceView(sum(money for _, money in breakdown), value, tuple(breakdown), now)


def _value(position: Position, last_price: int) -> int:
    return position.count * last_price if position.count > 0 else -position.count * (DOLLAR - last_price)


def resting_value(floor: Floor, member_id: str, *, subaccount: int | None) -> tuple[tuple[int, int], ...]:
    """Return what the resting orders would cost, by shard."""
    floor.begin()
    values: dict[int, int] = {}
    for order_id in floor.members[member_id].resting_ids:
        order = floor.orders[order_id]
        if not _is(subaccount, order.subaccount):
            continue
        leg = order.price if order.is_bid else DOLLAR - order.price
        values[order.exchange_index] = values.get(order.exchange_index, 0) + order.remaining * leg
    return tuple(sorted(values.items()))
