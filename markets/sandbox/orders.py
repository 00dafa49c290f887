"""Orders: what a member asks for, what the exchange keeps, and what it answers.

Prices are YES prices in $0.0001 on both sides, counts 0.01 contract, money $0.000001, times microseconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import attrgetter


class TimeInForce(StrEnum):
    """How long an order stays in force."""

    GTC = "good_till_canceled"
    IOC = "immediate_or_cancel"
    FOK = "fill_or_kill"


class SelfTrade(StrEnum):
    """Who gives way when a member meets an own order."""

    TAKER_AT_CROSS = "taker_at_cross"
    MAKER = "maker"


class OrderStatus(StrEnum):
    """The three states an order can be seen in."""

    RESTING = "resting"
    CANCELED = "canceled"
    EXECUTED = "executed"


class UpdateReason(StrEnum):
    """Why an order changed last; an unnamed reason is left out on the wire."""

    NONE = ""
    DECREASE = "Decrease"
    AMEND = "Amend"
    MARGIN_CANCEL = "MarginCancel"
    SELF_TRADE_CANCEL = "SelfTradeCancel"
    EXPIRY_CANCEL = "ExpiryCancel"
    CLOSE_CANCEL = "CloseCancel"
    HALT_CANCEL = "HaltCancel"
    TRADE = "Trade"
    POST_ONLY_CROSS_CANCEL = "PostOnlyCrossCancel"
    REDUCE_ONLY_CANCEL = "ReduceOnlyCancel"


@dataclass(frozen=True, slots=True)
class NewOrder:
    """A create request whose fields already have their types."""

    ticker: str
    is_bid: bool
    count: int
    price: int
    time_in_force: TimeInForce = TimeInForce.GTC
    self_trade: SelfTrade = SelfTrade.TAKER_AT_CROSS
    client_order_id: str = ""
    expires_us: int | None = None
    post_only: bool = False
    reduce_only: bool = False
    cancel_on_pause: bool = False
    subaccount: int = 0
    group_id: str = ""
    exchange_index: int | None = None


@dataclass(frozen=True, slots=True)
class Amendment:
    """An amend request: `count` is what is filled already plus what shall rest.

    `expires_us`: None keeps the expiry, 0 removes it.
    """

    ticker: str
    is_bid: bool
    price: int
    count: int
    client_order_id: str = ""
    updated_client_order_id: str = ""
    expires_us: int | None = None
    exchange_index: int | None = None


@dataclass(slots=True)
class Order:
    """One order as the exchange keeps it. Read it, never change it; `snapshot()` gives a copy that stands still."""

    order_id: str
    member_id: str
    subaccount: int
    exchange_index: int
    ticker: str
    client_order_id: str
    is_bid: bool
    price: int
    initial: int
    remaining: int
    time_in_force: TimeInForce
    self_trade: SelfTrade
    post_only: bool
    reduce_only: bool
    cancel_on_pause: bool
    expires_us: int  # 0 is never
    group_id: str
    created_us: int
    updated_us: int
    priority: int  # lower was there first
    status: OrderStatus = OrderStatus.RESTING
    filled: int = 0
    taker_cost: int = 0
    maker_cost: int = 0
    taker_fees: int = 0
    maker_fees: int = 0
    rounding: int = 0  # rounding fees not rebated yet
    reason: UpdateReason = UpdateReason.NONE

    def snapshot(self) -> Order:
        """Return a copy that no longer changes."""
        return Order(*_EVERYTHING(self))


_EVERYTHING = attrgetter(*(column.name for column in fields(Order)))  # several times faster than copy.copy


@dataclass(frozen=True, slots=True)
class CreateAck:
    """The answer to a create. Averages in $0.0001 a contract, None when nothing filled at once."""

    order_id: str
    client_order_id: str
    filled: int
    remaining: int
    average_price: int | None
    average_fee: int | None
    ts_us: int


@dataclass(frozen=True, slots=True)
class AmendAck:
    """The answer to an amend: counts are None unless it filled something or changed what rests."""

    order_id: str
    client_order_id: str
    filled: int | None
    remaining: int | None
    average_price: int | None
    average_fee: int | None
    ts_us: int


@dataclass(frozen=True, slots=True)
class CancelAck:
    """The answer to a cancel: what was still resting."""

    order_id: str
    client_order_id: str
    reduced_by: int
    ts_us: int


@dataclass(frozen=True, slots=True)
class DecreaseAck:
    """The answer to a decrease: what still rests."""

    order_id: str
    client_order_id: str
    remaining: int
    ts_us: int


@dataclass(slots=True)
class Group:
    """An order group. `matched` is what its window holds; `order_ids` are its resting orders, oldest first."""

    group_id: str
    member_id: str
    subaccount: int
    exchange_index: int
    limit: int
    is_triggered: bool = False
    matched: int = 0
    window: deque[tuple[int, int]] = field(default_factory=deque)  # (time, count)
    order_ids: dict[str, None] = field(default_factory=dict)
