"""The reference exchange's records: plain, mutable, in `Decimal` dollars and contracts."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

D0 = Decimal(0)
D1 = Decimal(1)


@dataclass(frozen=True)
class Choices:
    """What the exchange may do one way or another."""

    trade_fee_step: Decimal = Decimal("0.000001")
    rebate_step: Decimal | None = None
    self_trade_scope: str = "member"
    reduce_only_allows_fok: bool = False
    post_only_amend: str = "cancel"
    group_limit: str = "hit"
    margin: str = "balance"


class Refused(Exception):
    """The exchange says no."""

    def __init__(self, status: int, code: str, details: str | None = None) -> None:
        super().__init__(status, code, details)
        self.facts = (status, code, details)


NO_MONEY_THERE = Refused(
    404,
    "insufficient_shard_balance",
    "Exchange user not found. For Predictions: reference documentation Exchange Sharding documentation.",
)


@dataclass(frozen=True)
class Ack:
    """What a create or amend comes to."""

    filled: Decimal | None
    remaining: Decimal | None
    price: Decimal | None
    fee: Decimal | None


@dataclass
class ModelOrder:
    """One order; `expires` None is never."""

    member: str
    subaccount: int
    ticker: str
    is_bid: bool
    price: Decimal
    initial: Decimal
    tif: str = "good_till_canceled"
    self_trade: str = "taker_at_cross"
    client_id: str = ""
    expires: int | None = None
    post_only: bool = False
    reduce_only: bool = False
    cancel_on_pause: bool = False
    group: int | None = None
    number: int = -1
    shard: int = 0
    status: str = "entering"
    reason: str = ""
    arrival: int = 0
    remaining: Decimal = D0
    filled: Decimal = D0
    taker_cost: Decimal = D0
    maker_cost: Decimal = D0
    taker_fees: Decimal = D0
    maker_fees: Decimal = D0
    over_rounded: Decimal = D0

    def __post_init__(self) -> None:
        self.remaining = self.initial


@dataclass(frozen=True)
class ModelTrade:
    """One public match."""

    ticker: str
    price: Decimal
    count: Decimal
    taker_is_bid: bool
    at: int


@dataclass
class ModelGroup:
    """One order group; `matches` are (time, count), never thrown away."""

    number: int
    member: str
    subaccount: int
    shard: int
    limit: Decimal
    is_triggered: bool = False
    is_deleted: bool = False
    matches: list[tuple[int, Decimal]] = field(default_factory=list)


@dataclass
class ModelMarket:
    """One market; `grid` are (start, end, step)."""

    ticker: str
    shard: int
    opens: int
    closes: int
    timer: int
    grid: list[tuple[Decimal, Decimal, Decimal]]
    fee_type: str = "quadratic"
    multiplier: Decimal = D1
    override_type: str | None = None
    override_multiplier: Decimal | None = None
    free_until: int = 0
    status: str = "initialized"
    swept: bool = True
    sweep_at: int | None = None
    result: str = ""
    value: Decimal | None = None
    determined_at: int | None = None
    volume: Decimal = D0
    last_price: Decimal = D0

    def takes(self, price: Decimal) -> bool:
        """Say whether a price is on the grid, strictly between 0 and 1."""
        return 0 < price < 1 and any(
            start <= price <= end and (price - start) % step == 0 for start, end, step in self.grid
        )


@dataclass
class ModelPosition:
    """What one sub-account holds in one market."""

    count: Decimal = D0
    exposure: Decimal = D0
    traded: Decimal = D0
    realized: Decimal = D0
    fees: Decimal = D0


@dataclass(frozen=True)
class ModelFill:
    """One side of a match."""

    member: str
    order: int
    is_taker: bool
    price: Decimal
    count: Decimal
    fee: Decimal
    position_after: Decimal


@dataclass(frozen=True)
class ModelSettlement:
    """What one position was paid."""

    member: str
    subaccount: int
    ticker: str
    result: str
    yes_count: Decimal
    yes_cost: Decimal
    no_count: Decimal
    no_cost: Decimal
    revenue: Decimal
    fees: Decimal
