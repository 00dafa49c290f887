"""Frames of the WebSocket: what they say, in whole units and on the YES scale.

A frame is read in one go or refused: an unknown shape raises, unknown keys are passed over. The account's own marks on
book changes (`client_order_id`, `subaccount`) are not even decoded: books are everybody's.
Source: Kalshi trade API v2, AsyncAPI of October 2026.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from markets.kalshi.messages.base import Body
from markets.kalshi.prices import Side, WireSide

ZERO = Decimal(0)
Level = tuple[int, int]  # (price in $0.0001, size in 0.01 contract)


class Frame(msgspec.Struct, frozen=True, gc=False):
    """Base of what a frame says."""


class BookSnapshot(Frame, frozen=True):
    """A whole book; a side that nobody quotes is empty. Levels in no particular order."""

    ticker: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    sid: int
    seq: int
    clock: int | None


class BookDelta(Frame, frozen=True):
    """A signed change of one level."""

    ticker: str
    is_bid: bool
    price_units: int
    change_units: int
    ts_ms: int | None
    clock: int | None
    sid: int
    seq: int


class TradeTick(Frame, frozen=True):
    """One public trade at a YES price; the taker bought `taker_side`."""

    ticker: str
    trade_id: str
    price_units: int
    count_units: int
    taker_side: Side
    ts_ms: int | None
    sid: int
    seq: int


class TickerTick(Frame, frozen=True):
    """Best prices and totals of a market, about once a second; None where a frame leaves it out."""

    ticker: str
    price_units: int | None
    bid_units: int | None
    ask_units: int | None
    bid_size_units: int | None
    ask_size_units: int | None
    volume_units: int | None
    open_interest_units: int | None
    ts_ms: int | None


class Lifecycle(Frame, frozen=True):
    """A market has changed other than by trading; fields beside `event_type` are there for their type only."""

    ticker: str
    event_type: str
    close_ms: int | None = None
    open_ms: int | None = None
    bands: tuple[tuple[int, int, int], ...] | None = None
    result: str | None = None
    settlement_units: int | None = None
    sid: int = 0
    seq: int | None = None


class UserOrder(Body, frozen=True, kw_only=True):
    """One of the account's orders as it stands now."""

    order_id: str
    client_order_id: str = ""
    ticker: str
    status: str  # resting, canceled, executed, unknown
    book_side: WireSide
    outcome_side: Side
    yes_price: Decimal = msgspec.field(name="yes_price_dollars")
    filled: Decimal = msgspec.field(name="fill_count_fp")
    remaining: Decimal = msgspec.field(name="remaining_count_fp")
    initial: Decimal = msgspec.field(name="initial_count_fp")
    taker_fill_cost: Decimal = msgspec.field(default=ZERO, name="taker_fill_cost_dollars")
    maker_fill_cost: Decimal = msgspec.field(default=ZERO, name="maker_fill_cost_dollars")
    taker_fees: Decimal = msgspec.field(default=ZERO, name="taker_fees_dollars")
    maker_fees: Decimal = msgspec.field(default=ZERO, name="maker_fees_dollars")
    created_ms: int | None = msgspec.field(default=None, name="created_ts_ms")
    updated_ms: int | None = msgspec.field(default=None, name="last_updated_ts_ms")
    expires_ms: int | None = msgspec.field(default=None, name="expiration_ts_ms")
    last_update_reason: str | None = None
    order_group_id: str | None = None
    subaccount: int | None = msgspec.field(default=None, name="subaccount_number")
    exchange_index: int = 0

    @property
    def fees(self) -> Decimal:
        """Fees so far, in dollars."""
        return self.taker_fees + self.maker_fees


class FillTick(Body, frozen=True, kw_only=True):
    """One match of one of the account's orders."""

    trade_id: str
    order_id: str
    client_order_id: str | None = None
    ticker: str = msgspec.field(name="market_ticker")
    book_side: WireSide
    outcome_side: Side
    yes_price: Decimal = msgspec.field(name="yes_price_dollars")
    count: Decimal = msgspec.field(name="count_fp")
    fee: Decimal = msgspec.field(name="fee_cost")  # dollars, of the whole fill
    is_taker: bool
    post_position: Decimal | None = msgspec.field(default=None, name="post_position_fp")
    ts_ms: int | None = None
    subaccount: int | None = None
    exchange_index: int = 0


class Subscribed(Frame, frozen=True):
    """A channel has got its `sid`."""

    id: int
    channel: str
    sid: int


class Done(Frame, frozen=True):
    """A command was carried out; it takes a number of its sid where it has one."""

    id: int
    sid: int | None
    seq: int | None
    tickers: tuple[str, ...] | None


class Unsubscribed(Frame, frozen=True):
    """A sid has ended."""

    id: int
    sid: int
    seq: int | None


class ErrorFrame(Frame, frozen=True):
    """The exchange refuses a command, or ends a sid."""

    id: int
    sid: int | None
    seq: int | None
    code: int
    text: str
    tickers: tuple[str, ...]


class Other(Frame, frozen=True):
    """A message of a kind that we know and do not read; it still takes its number."""

    kind: str
    sid: int | None
    seq: int | None


Message = (
    BookSnapshot
    | BookDelta
    | TradeTick
    | TickerTick
    | Lifecycle
    | UserOrder
    | FillTick
    | Subscribed
    | Done
    | Unsubscribed
    | ErrorFrame
    | Other
)
Channel = Literal["orderbook_delta", "trade", "ticker", "market_lifecycle_v2", "user_orders", "fill"]
