"""REST bodies of what the exchange lists: status, series, events, markets, books, trades.

Source: Kalshi trade API v2, OpenAPI 3.34.0, schemas ExchangeStatus, Series, EventData, Market, OrderbookCountFp, Trade.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from msgspec import field

from markets.kalshi.messages.base import Body
from markets.kalshi.prices import DOLLAR_UNITS, Side, WireSide, count_units_of, price_units_of, to_price_units

ZERO = Decimal(0)

Level = tuple[int, int]  # (price in $0.0001, size in 0.01 contract)


class ShardStatus(Body, frozen=True, kw_only=True):
    """One part of the exchange, with a collateral of its own."""

    exchange_index: int
    description: str = ""
    exchange_active: bool
    trading_active: bool


class ExchangeStatus(Body, frozen=True, kw_only=True):
    """Whether the exchange works and trades; the two flags describe shard 0."""

    exchange_active: bool
    trading_active: bool
    resumes_at: datetime | None = field(default=None, name="exchange_estimated_resume_time")
    shards: tuple[ShardStatus, ...] = field(default=(), name="exchange_index_statuses")


class SeriesBody(Body, frozen=True, kw_only=True):
    """A template of recurring events."""

    ticker: str
    title: str = ""
    category: str = ""
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    frequency: str = ""
    fee_type: str = "quadratic"
    fee_multiplier: Decimal = Decimal(1)
    updated_at: datetime | None = field(default=None, name="last_updated_ts")
    exchange_index: int = 0


class PriceRange(Body, frozen=True, kw_only=True):
    """One band of a price grid, in dollars."""

    start: Decimal
    end: Decimal
    step: Decimal

    @property
    def units(self) -> tuple[int, int, int]:
        """The band in $0.0001. Raises NotRepresentable."""
        return to_price_units(self.start), to_price_units(self.end), to_price_units(self.step)


class MarketBody(Body, frozen=True, kw_only=True):
    """A market. Nobody bidding is 0 at size 0, nobody asking is 1 at size 0, never traded is 0."""

    ticker: str
    event_ticker: str
    status: str
    market_type: str = "binary"
    title: str = ""
    subtitle: str = ""
    yes_sub_title: str = ""
    no_sub_title: str = ""
    created_at: datetime | None = field(default=None, name="created_time")
    updated_at: datetime | None = field(default=None, name="updated_time")
    open_at: datetime | None = field(default=None, name="open_time")
    close_at: datetime | None = field(default=None, name="close_time")
    expected_expiration_at: datetime | None = field(default=None, name="expected_expiration_time")
    latest_expiration_at: datetime | None = field(default=None, name="latest_expiration_time")
    fee_waiver_until: datetime | None = field(default=None, name="fee_waiver_expiration_time")
    settled_at: datetime | None = field(default=None, name="settlement_ts")
    settlement_timer_seconds: int = 0
    yes_bid: Decimal = field(default=ZERO, name="yes_bid_dollars")
    yes_bid_size: Decimal = field(default=ZERO, name="yes_bid_size_fp")
    yes_ask: Decimal = field(default=Decimal(1), name="yes_ask_dollars")
    yes_ask_size: Decimal = field(default=ZERO, name="yes_ask_size_fp")
    last_price: Decimal = field(default=ZERO, name="last_price_dollars")
    previous_price: Decimal = field(default=ZERO, name="previous_price_dollars")
    volume: Decimal = field(default=ZERO, name="volume_fp")
    volume_24h: Decimal = field(default=ZERO, name="volume_24h_fp")
    open_interest: Decimal = field(default=ZERO, name="open_interest_fp")
    notional_value: Decimal = field(default=Decimal(1), name="notional_value_dollars")
    result: str = ""
    settlement_value: Decimal | None = field(default=None, name="settlement_value_dollars")
    can_close_early: bool = False
    early_close_condition: str | None = None
    rules_primary: str = ""
    rules_secondary: str = ""
    strike_type: str | None = None
    floor_strike: Decimal | None = None
    cap_strike: Decimal | None = None
    price_level_structure: str = ""
    price_ranges: tuple[PriceRange, ...] = ()
    mve_collection_ticker: str | None = None
    is_provisional: bool = False
    exchange_index: int = 0

    @property
    def bands(self) -> tuple[tuple[int, int, int], ...]:
        """The price grid as (start, end, step) in $0.0001. Raises NotRepresentable."""
        return tuple(band.units for band in self.price_ranges)


class EventBody(Body, frozen=True, kw_only=True):
    """One occurrence of a series; its markets are the possible answers."""

    ticker: str = field(name="event_ticker")
    series_ticker: str
    title: str = ""
    sub_title: str = ""
    category: str = ""
    collateral_return_type: str = ""
    mutually_exclusive: bool = False
    strike_at: datetime | None = field(default=None, name="strike_date")
    strike_period: str | None = None
    fee_type_override: str | None = None
    fee_multiplier_override: Decimal | None = None
    updated_at: datetime | None = field(default=None, name="last_updated_ts")
    exchange_index: int = 0
    markets: tuple[MarketBody, ...] = ()


class BookSides(Body, frozen=True, kw_only=True):
    """Both sides as REST sends them: bids for YES and bids for NO, each in its own price."""

    yes: tuple[tuple[str, str], ...] = field(name="yes_dollars")
    no: tuple[tuple[str, str], ...] = field(name="no_dollars")


class OrderBookBody(Body, frozen=True, kw_only=True):
    """A book over REST: no position in any stream, so it never mixes with changes of the feed. YES scale."""

    ticker: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    @classmethod
    def from_sides(cls, ticker: str, sides: BookSides) -> OrderBookBody:
        """Put NO bids on the YES scale as asks. Raises NotRepresentable."""
        asks = tuple((DOLLAR_UNITS - price_units_of(price), count_units_of(size)) for price, size in sides.no)
        bids = tuple((price_units_of(price), count_units_of(size)) for price, size in sides.yes)
        return cls(ticker=ticker, bids=tuple(sorted(bids)), asks=tuple(sorted(asks)))


class TradeBody(Body, frozen=True, kw_only=True):
    """One public trade; the taker bought `taker_side`."""

    trade_id: str
    ticker: str
    count: Decimal = field(name="count_fp")
    yes_price: Decimal = field(name="yes_price_dollars")
    taker_outcome_side: Side | None = None
    taker_book_side: WireSide | None = None
    deprecated_taker_side: Side | None = field(default=None, name="taker_side")
    created_at: datetime = field(name="created_time")
    is_block_trade: bool = False

    def __post_init__(self) -> None:
        Body.__post_init__(self)
        if self.taker_outcome_side is None and self.taker_book_side is None and self.deprecated_taker_side is None:
            raise ValueError("a trade without a taker's side")

    @property
    def taker_side(self) -> Side:
        """The outcome that the taker bought."""
        if self.taker_outcome_side is not None:
            return self.taker_outcome_side
        if self.taker_book_side is not None:
            return "yes" if self.taker_book_side == "bid" else "no"
        return self.deprecated_taker_side or "yes"


# --- the envelopes around them -------------------------------------------------------------------


class SeriesList(Body, frozen=True, kw_only=True):
    """Answer of `GET /series`."""

    series: tuple[SeriesBody, ...] = ()


class EventsPage(Body, frozen=True, kw_only=True):
    """Answer of `GET /events`."""

    events: tuple[EventBody, ...]
    cursor: str = ""


class MarketsPage(Body, frozen=True, kw_only=True):
    """Answer of `GET /markets`."""

    markets: tuple[MarketBody, ...]
    cursor: str = ""


class MarketAnswer(Body, frozen=True, kw_only=True):
    """Answer of `GET /markets/{ticker}`."""

    market: MarketBody


class OrderBookAnswer(Body, frozen=True, kw_only=True):
    """Answer of `GET /markets/{ticker}/orderbook`."""

    sides: BookSides = field(name="orderbook_fp")


class NamedOrderBook(Body, frozen=True, kw_only=True):
    """One book of several."""

    ticker: str
    sides: BookSides = field(name="orderbook_fp")


class OrderBooksAnswer(Body, frozen=True, kw_only=True):
    """Answer of `GET /markets/orderbooks`."""

    orderbooks: tuple[NamedOrderBook, ...]


class TradesPage(Body, frozen=True, kw_only=True):
    """Answer of `GET /markets/trades`."""

    trades: tuple[TradeBody, ...]
    cursor: str = ""
