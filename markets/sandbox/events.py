"""What happens on the exchange, told to whoever listens, in the order in which it happens.

Prices are YES prices in $0.0001, counts 0.01 contract, money $0.000001, times microseconds. Listeners are called
inside the operation: they take the event down and return; they must not call the exchange back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from markets.sandbox.accounts import Fill, Position, Settlement
from markets.sandbox.grid import Bands
from markets.sandbox.orders import Order, UpdateReason


@dataclass(frozen=True, slots=True)
class BookChanged:
    """A level grew or shrank by `change` (signed); `clock` rises per market, changes of one operation share it.

    `member_id`, `client_order_id` and `subaccount` say whose order it was: only that member may be told the last two.
    """

    ticker: str
    is_bid: bool
    price: int
    change: int
    clock: int
    ts_us: int
    member_id: str
    client_order_id: str
    subaccount: int


@dataclass(frozen=True, slots=True)
class BookCleared:
    """The book was wiped after the close: an empty snapshot goes out, no single changes."""

    ticker: str
    clock: int
    ts_us: int


@dataclass(frozen=True, slots=True)
class Traded:
    """One match at the maker's price."""

    ticker: str
    trade_id: str
    price: int
    count: int
    taker_is_bid: bool
    ts_us: int


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """A member's order, whole and standing still, after it changed; never of quiet members."""

    member_id: str
    order: Order
    reason: UpdateReason


@dataclass(frozen=True, slots=True)
class Filled:
    """A member's side of one match; never of quiet members."""

    member_id: str
    fill: Fill


@dataclass(frozen=True, slots=True)
class FillTakenBack:
    """A member's side of a match was undone down to `left` of its count; there is no wire message for it."""

    member_id: str
    fill: Fill
    left: int
    ts_us: int


@dataclass(frozen=True, slots=True)
class PositionChanged:
    """A member's position, standing still, after it changed; never of quiet members."""

    member_id: str
    position: Position


@dataclass(frozen=True, slots=True)
class Settled:
    """A member's position was paid out; there is no wire message for it."""

    member_id: str
    settlement: Settlement


LifecycleKind = Literal[
    "created",
    "activated",
    "deactivated",
    "close_date_updated",
    "determined",
    "settled",
    "price_level_structure_updated",
    "metadata_updated",
]


@dataclass(frozen=True, slots=True)
class LifecycleChanged:
    """Something about a market other than trading. Opening and closing by the clock are not told: there is no message.

    Filled in by kind: created → open_us, close_us, bands (the rest is in the catalogue); close_date_updated → close_us;
    determined → ts_us is the determination, result, value; settled → ts_us; price_level_structure_updated → structure,
    bands; metadata_updated → details.
    """

    ticker: str
    kind: LifecycleKind
    ts_us: int
    exchange_index: int = 0
    open_us: int | None = None
    close_us: int | None = None
    result: str = ""
    value: int | None = None
    structure: str = ""
    bands: Bands = ()
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventCreated:
    """A new event stands in the catalogue (wire: event_lifecycle)."""

    event_ticker: str
    ts_us: int


@dataclass(frozen=True, slots=True)
class EventFeeChanged:
    """An event's fee override was set, or cleared when both are None. Multiplier in 1/10000."""

    event_ticker: str
    fee_type: str | None
    fee_multiplier: int | None
    ts_us: int


@dataclass(frozen=True, slots=True)
class GroupChanged:
    """An order group of a member; `limit` only with created and limit_updated."""

    member_id: str
    group_id: str
    kind: Literal["created", "triggered", "reset", "deleted", "limit_updated"]
    limit: int | None
    ts_us: int
    subaccount: int


@dataclass(frozen=True, slots=True)
class ExchangeChanged:
    """A shard's flags changed; there is no wire message, /exchange/status tells."""

    exchange_index: int
    exchange_active: bool
    trading_active: bool
    ts_us: int


ExchangeEvent = (
    BookChanged
    | BookCleared
    | Traded
    | OrderChanged
    | Filled
    | FillTakenBack
    | PositionChanged
    | Settled
    | LifecycleChanged
    | EventCreated
    | EventFeeChanged
    | GroupChanged
    | ExchangeChanged
)
