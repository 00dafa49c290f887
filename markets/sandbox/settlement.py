"""Paying out a market: every position, its cash, its row.

Source: Kalshi trade API v2, `GET /portfolio/settlements`: `fee_cost` is the sum of the market's fill fees, paying out
itself is free.
"""

from __future__ import annotations

from markets.sandbox.accounts import Member, Position, Settlement
from markets.sandbox.catalogue import Market, MarketStatus
from markets.sandbox.events import LifecycleChanged, PositionChanged, Settled
from markets.sandbox.floor import Floor
from markets.sandbox.numbers import DOLLAR


def settle(floor: Floor, market: Market) -> None:
    """Pay every holder and end the market's life; both legs of a contract together come to $1."""
    market.status = MarketStatus.FINALIZED
    market.settled_us = market.updated_us = floor.now
    for member_id, subaccount in floor.holders[market.ticker]:
        member = floor.members[member_id]
        position = member.positions[subaccount, market.ticker]
        position.is_settled = True
        if position.count:
            _pay(floor, market, member, position)
        if member.is_quiet:
            del member.positions[subaccount, market.ticker]
    floor.emit(LifecycleChanged(market.ticker, "settled", floor.now, exchange_index=market.exchange_index))


def _pay(floor: Floor, market: Market, member: Member, position: Position) -> None:
    value = market.settlement_value or 0
    count, exposure = position.count, position.exposure
    revenue = count * value if count > 0 else -count * (DOLLAR - value)
    account = (position.subaccount, position.exchange_index)
    member.balances[account] = member.balances.get(account, 0) + revenue
    row = Settlement(
        ticker=market.ticker,
        event_ticker=market.event_ticker,
        exchange_index=market.exchange_index,
        subaccount=position.subaccount,
        result=market.result,
        yes_count=max(count, 0),
        yes_cost=exposure if count > 0 else 0,
        no_count=max(-count, 0),
        no_cost=exposure if count < 0 else 0,
        revenue=revenue,
        fees=position.fees,
        value=value,
        settled_us=floor.now,
    )
    position.realized += revenue - exposure
    position.count = position.exposure = position.open_fees = 0
    position.updated_us = floor.now
    if not member.is_quiet:
        member.settlements.append(row)
        floor.emit(Settled(member.member_id, row))
        floor.emit(PositionChanged(member.member_id, position.snapshot()))
