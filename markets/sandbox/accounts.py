"""Members, their money by sub-account and shard, and what they hold.

Money in $0.000001, counts of 0.01 contract, times in microseconds; a position is signed, + YES and − NO.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields
from operator import attrgetter


@dataclass(slots=True)
class Position:
    """What one sub-account holds in one market: `exposure` is the cost of what is open, P&L is without fees."""

    ticker: str
    event_ticker: str
    exchange_index: int
    subaccount: int
    count: int = 0
    exposure: int = 0
    total_traded: int = 0
    volume: int = 0
    realized: int = 0
    fees: int = 0
    open_fees: int = 0  # fees since the position was last flat
    updated_us: int = 0
    is_settled: bool = False

    def snapshot(self) -> Position:
        """Return a copy that no longer changes."""
        return Position(*_EVERYTHING(self))


_EVERYTHING = attrgetter(*(column.name for column in fields(Position)))


@dataclass(frozen=True, slots=True)
class Fill:
    """One match as one of its two sides sees it; `fill_id` equals the public trade id."""

    trade_id: str
    order_id: str
    client_order_id: str
    ticker: str
    exchange_index: int
    subaccount: int
    is_bid: bool
    is_taker: bool
    price: int
    count: int
    fee: int
    ts_us: int
    post_position: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one position came to. `value` is the payout of one YES contract as a price ($0.0001)."""

    ticker: str
    event_ticker: str
    exchange_index: int
    subaccount: int
    result: str
    yes_count: int
    yes_cost: int
    no_count: int
    no_cost: int
    revenue: int
    fees: int
    value: int
    settled_us: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money moved between a member's own sub-accounts or shards."""

    transfer_id: str
    client_transfer_id: str
    amount: int
    from_subaccount: int
    to_subaccount: int
    from_index: int
    to_index: int
    ts_us: int


@dataclass(frozen=True, slots=True)
class EventPosition:
    """The positions of one event, added up."""

    event_ticker: str
    total_cost: int
    total_count: int
    exposure: int
    realized: int
    fees: int


@dataclass(frozen=True, slots=True)
class BalanceView:
    """What a member may see of the money: cash, positions at the last price, cash by shard."""

    balance: int
    portfolio_value: int
    breakdown: tuple[tuple[int, int], ...]
    ts_us: int


@dataclass(slots=True)
class Member:
    """One account of the exchange. `balance_step`: 100 for a direct member, 10000 through a broker.

    A quiet member (the house's own makers) leaves no paper: no private events, no finished orders, no fills.
    """

    member_id: str
    name: str
    is_quiet: bool = False
    balance_step: int = 100
    subaccounts: int = 1  # numbers 0 … subaccounts − 1 exist
    balances: dict[tuple[int, int], int] = field(default_factory=dict)  # (subaccount, exchange_index) → money
    positions: dict[tuple[int, str], Position] = field(default_factory=dict)  # (subaccount, ticker)
    order_ids: dict[str, None] = field(default_factory=dict)  # every kept order, oldest first
    resting_ids: dict[str, None] = field(default_factory=dict)
    client_order_ids: dict[str, str] = field(default_factory=dict)  # for ever → order id
    group_ids: dict[str, None] = field(default_factory=dict)
    fills: deque[Fill] = field(default_factory=deque)  # oldest first
    settlements: list[Settlement] = field(default_factory=list)  # oldest first
    transfers: list[Transfer] = field(default_factory=list)
    transfer_ids: set[str] = field(default_factory=set)
    frozen_until_us: int = 0  # new orders are canceled until then, after a cancel-all
