"""REST bodies of what belongs to an account: orders, fills, positions, balance, keys, limits.

Direction comes from `book_side` and `outcome_side` alone: the older `action` and `side` contradict them in real rows.
Source: Kalshi trade API v2, OpenAPI 3.34.0, schemas CreateOrderV2Request … GetAccountApiLimitsResponse.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from markets.kalshi.messages.base import Body
from markets.kalshi.prices import Side, WireSide, wire_count, wire_price

TimeInForce = Literal["good_till_canceled", "immediate_or_cancel", "fill_or_kill"]
SelfTradePrevention = Literal["taker_at_cross", "maker"]
ZERO = Decimal(0)
_named = msgspec.field


@dataclass(frozen=True, slots=True)
class CreateOrder:
    """An order to send, in the exchange's words; `price` is the YES price in dollars on either side.

    Refuses (NotRepresentable) what has no notation. `client_order_id` can be used once for ever.
    """

    ticker: str
    side: WireSide
    count: Decimal
    price: Decimal
    client_order_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    time_in_force: TimeInForce = "good_till_canceled"
    self_trade_prevention: SelfTradePrevention = "taker_at_cross"
    expires_at: int | None = None  # Unix seconds, only for orders that rest
    post_only: bool = False
    reduce_only: bool = False
    cancel_on_pause: bool = False
    subaccount: int | None = None
    order_group_id: str | None = None

    def __post_init__(self) -> None:
        wire_price(self.price)
        wire_count(self.count)
        if self.side not in ("bid", "ask") or not self.client_order_id or not self.ticker:
            raise ValueError("an order needs a ticker, a side and an id of ours")
        if self.expires_at is not None and self.time_in_force != "good_till_canceled":
            raise ValueError("only an order that rests can expire")

    def body(self) -> dict[str, Any]:
        """Return the JSON body; numbers as strings, what is not asked for left out."""
        wanted: dict[str, Any] = {
            "ticker": self.ticker,
            "client_order_id": self.client_order_id,
            "side": self.side,
            "count": wire_count(self.count),
            "price": wire_price(self.price),
            "time_in_force": self.time_in_force,
            "self_trade_prevention_type": self.self_trade_prevention,
        }
        optional = {
            "expiration_time": self.expires_at,
            "post_only": self.post_only or None,
            "reduce_only": self.reduce_only or None,
            "cancel_order_on_pause": self.cancel_on_pause or None,
            "subaccount": self.subaccount,
            "order_group_id": self.order_group_id,
        }
        return wanted | {name: value for name, value in optional.items() if value is not None}


class OrderAck(Body, frozen=True, kw_only=True):
    """The exchange has taken an order. There is no status: it follows from the counts."""

    order_id: str
    client_order_id: str | None = None
    filled: Decimal = _named(name="fill_count")
    remaining: Decimal = _named(name="remaining_count")
    average_price: Decimal | None = _named(default=None, name="average_fill_price")
    average_fee: Decimal | None = _named(default=None, name="average_fee_paid")  # per contract, not in total
    ts_ms: int = 0

    def __post_init__(self) -> None:
        Body.__post_init__(self)
        if not self.order_id:
            raise ValueError("an acknowledgement without an order id")

    @property
    def fees(self) -> Decimal:
        """Fees so far in dollars, all contracts together; what the fills say is more exact."""
        return (self.average_fee or ZERO) * self.filled


class CancelAck(Body, frozen=True, kw_only=True):
    """The exchange has cancelled what was still resting."""

    order_id: str
    client_order_id: str | None = None
    reduced_by: Decimal = ZERO
    ts_ms: int = 0


class AmendAck(Body, frozen=True, kw_only=True):
    """The exchange has changed an order; counts that are None must be read from the order."""

    order_id: str
    client_order_id: str | None = None
    filled: Decimal | None = _named(default=None, name="fill_count")
    remaining: Decimal | None = _named(default=None, name="remaining_count")
    average_price: Decimal | None = _named(default=None, name="average_fill_price")
    average_fee: Decimal | None = _named(default=None, name="average_fee_paid")
    ts_ms: int = 0


class DecreaseAck(Body, frozen=True, kw_only=True):
    """The exchange has made an order smaller."""

    order_id: str
    client_order_id: str | None = None
    remaining: Decimal = _named(name="remaining_count")
    ts_ms: int = 0


class OrderBody(Body, frozen=True, kw_only=True):
    """An order as the exchange keeps it; `yes_price` is its limit, not what was paid."""

    order_id: str
    client_order_id: str = ""
    ticker: str
    status: str  # resting, canceled, executed
    book_side: WireSide
    outcome_side: Side
    yes_price: Decimal = _named(name="yes_price_dollars")
    filled: Decimal = _named(name="fill_count_fp")
    remaining: Decimal = _named(name="remaining_count_fp")
    initial: Decimal = _named(name="initial_count_fp")
    taker_fill_cost: Decimal = _named(default=ZERO, name="taker_fill_cost_dollars")
    maker_fill_cost: Decimal = _named(default=ZERO, name="maker_fill_cost_dollars")
    taker_fees: Decimal = _named(default=ZERO, name="taker_fees_dollars")
    maker_fees: Decimal = _named(default=ZERO, name="maker_fees_dollars")
    created_at: datetime | None = _named(default=None, name="created_time")
    updated_at: datetime | None = _named(default=None, name="last_update_time")
    expires_at: datetime | None = _named(default=None, name="expiration_time")
    self_trade_prevention: str | None = _named(default=None, name="self_trade_prevention_type")
    order_group_id: str | None = None
    subaccount: int = _named(default=0, name="subaccount_number")
    exchange_index: int = 0

    @property
    def fees(self) -> Decimal:
        """Fees so far, in dollars."""
        return self.taker_fees + self.maker_fees

    @property
    def average_cost(self) -> Decimal | None:
        """What a filled contract cost on the outcome that was bought, in dollars; None before the first fill."""
        return (self.taker_fill_cost + self.maker_fill_cost) / self.filled if self.filled else None


class FillBody(Body, frozen=True, kw_only=True):
    """One match of one of the account's orders."""

    trade_id: str
    order_id: str
    ticker: str
    book_side: WireSide
    outcome_side: Side
    count: Decimal = _named(name="count_fp")
    yes_price: Decimal = _named(name="yes_price_dollars")
    is_taker: bool
    fee: Decimal = _named(name="fee_cost")  # dollars, of the whole row
    created_at: datetime | None = _named(default=None, name="created_time")
    subaccount: int = _named(default=0, name="subaccount_number")
    exchange_index: int = 0


class Position(Body, frozen=True, kw_only=True):
    """What the account holds of one market: YES contracts are positive, NO contracts negative."""

    ticker: str
    position: Decimal = _named(name="position_fp")
    exposure: Decimal = _named(default=ZERO, name="market_exposure_dollars")
    realized_pnl: Decimal = _named(default=ZERO, name="realized_pnl_dollars")  # without fees
    fees_paid: Decimal = _named(default=ZERO, name="fees_paid_dollars")
    total_traded: Decimal = _named(default=ZERO, name="total_traded_dollars")
    updated_at: datetime | None = _named(default=None, name="last_updated_ts")
    exchange_index: int = 0


class ShardBalance(Body, frozen=True, kw_only=True):
    """Money on one shard, in dollars."""

    exchange_index: int
    balance: Decimal


class Balance(Body, frozen=True, kw_only=True):
    """Money of an account. Resting orders do not reduce it; positions are not in it."""

    cents: int = _named(name="balance")
    exact_dollars: Decimal | None = _named(default=None, name="balance_dollars")
    portfolio_cents: int = _named(default=0, name="portfolio_value")
    updated_ts: int = 0
    shards: tuple[ShardBalance, ...] = _named(default=(), name="balance_breakdown")

    @property
    def dollars(self) -> Decimal:
        """The balance; older answers carry cents only."""
        return Decimal(self.cents).scaleb(-2) if self.exact_dollars is None else self.exact_dollars

    @property
    def portfolio_dollars(self) -> Decimal:
        """The positions' value at last prices."""
        return Decimal(self.portfolio_cents).scaleb(-2)


class ApiKeyBody(Body, frozen=True, kw_only=True):
    """A key as the exchange lists it."""

    api_key_id: str
    name: str = ""
    scopes: tuple[str, ...] = ()
    subaccount: int | None = None


class GeneratedKey(Body, frozen=True, kw_only=True):
    """A key pair that the exchange has made; the private key is shown this once, and never by repr."""

    api_key_id: str
    key_type: Literal["rsa", "ed25519"] = "rsa"
    private_key: str
    warning: str | None = None

    def __repr__(self) -> str:
        return f"GeneratedKey(api_key_id={self.api_key_id!r}, key_type={self.key_type!r}, private_key=…)"

    __str__ = __repr__


class BucketLimit(Body, frozen=True, kw_only=True):
    """One token bucket."""

    refill_rate: int  # tokens a second
    bucket_capacity: int


class AccountLimits(Body, frozen=True, kw_only=True):
    """How fast the account may go."""

    usage_tier: str
    read: BucketLimit
    write: BucketLimit


# --- the envelopes around them -------------------------------------------------------------------


class OrdersPage(Body, frozen=True, kw_only=True):
    """Answer of `GET /portfolio/orders`."""

    orders: tuple[OrderBody, ...]
    cursor: str = ""


class OrderAnswer(Body, frozen=True, kw_only=True):
    """Answer of `GET /portfolio/orders/{id}`."""

    order: OrderBody


class FillsPage(Body, frozen=True, kw_only=True):
    """Answer of `GET /portfolio/fills`."""

    fills: tuple[FillBody, ...]
    cursor: str = ""


class PositionsPage(Body, frozen=True, kw_only=True):
    """Answer of `GET /portfolio/positions`."""

    market_positions: tuple[Position, ...] = ()
    cursor: str = ""


class ApiKeysAnswer(Body, frozen=True, kw_only=True):
    """Answer of `GET /api_keys`."""

    api_keys: tuple[ApiKeyBody, ...] = ()
