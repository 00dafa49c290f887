"""Series, events and markets as the exchange keeps them; who fills the catalogue is the caller.

Times are microseconds since 1970, prices $0.0001, counts 0.01 contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from markets.sandbox.grid import STRUCTURES, Bands
from markets.sandbox.numbers import DOLLAR


class FeeType(StrEnum):
    """How a series charges."""

    QUADRATIC = "quadratic"
    WITH_MAKER = "quadratic_with_maker_fees"
    WITH_COMBO_MAKER = "quadratic_with_combo_maker_fees"
    FLAT = "flat"


class MarketStatus(StrEnum):
    """Where a market is in its life."""

    INITIALIZED = "initialized"
    ACTIVE = "active"
    INACTIVE = "inactive"
    CLOSED = "closed"
    DETERMINED = "determined"
    DISPUTED = "disputed"
    AMENDED = "amended"
    FINALIZED = "finalized"


MULTIPLIER = 10_000  # a fee multiplier of 1


@dataclass(slots=True)
class Series:
    """A recurring question. `fee_multiplier` in 1/10000: 5000 is 0.5."""

    ticker: str
    title: str
    category: str
    frequency: str = "custom"
    tags: tuple[str, ...] = ()
    fee_type: FeeType = FeeType.QUADRATIC
    fee_multiplier: int = MULTIPLIER
    exchange_index: int = 0
    updated_us: int = 0
    product_metadata: dict[str, Any] = field(default_factory=dict)  # what pages decorate themselves with


@dataclass(slots=True)
class Event:
    """One occasion of a series; an override of type or multiplier wins over the series."""

    ticker: str
    series_ticker: str
    title: str
    sub_title: str = ""
    mutually_exclusive: bool = False
    collateral_return_type: str = ""
    fee_type_override: FeeType | None = None
    fee_multiplier_override: int | None = None
    strike_us: int | None = None
    strike_period: str = ""
    exchange_index: int = 0
    updated_us: int = 0
    product_metadata: dict[str, Any] = field(default_factory=dict)  # competition and its scope, and what else there is


@dataclass(slots=True)
class Market:
    """One yes-or-no question and everything but its book.

    `determine_us` with `planned_result` and `planned_value` lets the clock determine it; without them somebody must.
    `details` holds what the exchange only shows (rules, strikes, sub-titles): wire names to JSON values.
    A market with `is_replay` is shown, never traded: orders are refused and its clock-driven life is left to others.
    """

    ticker: str
    event_ticker: str
    market_id: str
    open_us: int
    close_us: int
    title: str = ""
    yes_sub_title: str = ""
    no_sub_title: str = ""
    market_type: str = "binary"
    created_us: int = 0
    updated_us: int = 0
    expected_expiration_us: int | None = None
    latest_expiration_us: int | None = None
    settlement_timer_us: int = 0
    can_close_early: bool = True
    fee_waiver_until_us: int = 0
    exchange_index: int = 0
    price_level_structure: str = "linear_cent"
    bands: Bands = STRUCTURES["linear_cent"]
    is_replay: bool = False
    details: dict[str, Any] = field(default_factory=dict)
    determine_us: int | None = None
    planned_result: str = ""
    planned_value: int = 0

    # What happens to it; set by the exchange.
    status: MarketStatus = MarketStatus.INITIALIZED
    result: str = ""  # yes, no, scalar or nothing yet
    settlement_value: int | None = None  # payout of one YES contract as a price
    expiration_value: str = ""
    determined_us: int | None = None
    settled_us: int | None = None
    is_swept: bool = False  # after the close: resting orders canceled, empty snapshot sent
    last_price: int = 0
    last_count: int = 0
    volume: int = 0
    open_interest: int = 0
    notional_value: int = DOLLAR
