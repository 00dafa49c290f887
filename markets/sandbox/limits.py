"""How much an account may ask: token buckets for reads, writes and the balance, and what each call costs.

Source: Kalshi documentation, "Rate limits" of October 2026, and `GET /account/endpoint_costs` as recorded in June.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from markets.sandbox.floor import SHARDS

DEFAULT_COST = 10
COSTS: dict[tuple[str, str], int] = {
    ("POST", "/account/api_usage_level/upgrade"): 30,
    ("DELETE", "/portfolio/events/orders"): 2,
    ("DELETE", "/portfolio/events/orders/:order_id"): 2,
    ("DELETE", "/portfolio/events/orders/batched"): 2,
    ("GET", "/portfolio/orders/:order_id"): 2,
}


@dataclass(frozen=True, slots=True)
class Tier:
    """What one usage level grants: tokens a second, how many the buckets hold, balance calls a second."""

    name: str
    read_rate: int
    read_capacity: int
    write_rate: int
    write_capacity: int
    balance_rate: int


TIERS: dict[str, Tier] = {
    tier.name: tier
    for tier in (
        Tier("basic", 200, 600, 100, 100, 1),
        Tier("advanced", 300, 900, 300, 900, 1),
        Tier("expert", 600, 600, 600, 1_800, 5),
        Tier("premier", 1_200, 1_200, 1_200, 3_600, 5),
        Tier("paragon", 2_400, 2_400, 2_400, 7_200, 5),
        Tier("prime", 4_800, 4_800, 4_800, 14_400, 5),
        Tier("prestige", 12_000, 12_000, 9_600, 28_800, 5),
    )
}


@dataclass(slots=True)
class Bucket:
    """Tokens that come back with time, never more than the capacity."""

    rate: int
    capacity: int
    tokens: float = field(init=False)
    at_ms: int | None = None

    def __post_init__(self) -> None:
        self.tokens = self.capacity

    def holds(self, cost: int, now_ms: int) -> bool:
        """Say whether the tokens are all there; a call that costs more than the capacity never passes."""
        if self.at_ms is not None:
            gained = max(0, now_ms - self.at_ms) * self.rate / 1000
            self.tokens = min(self.capacity, self.tokens + gained)
        self.at_ms = now_ms
        return cost <= self.tokens


class Allowance:
    """The buckets of one account; all its keys share them."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self.buckets = _buckets(tier)

    def change(self, tier: Tier) -> None:
        """Move the account to another usage level, with full buckets."""
        self.tier = tier
        self.buckets = _buckets(tier)

    def take(self, kinds: Iterable[str], cost: int, now_ms: int) -> bool:
        """Take `cost` tokens of each of these buckets; False, and nothing taken, where one has too few."""
        buckets = [self.buckets[kind] for kind in kinds]
        if not all(bucket.holds(cost, now_ms) for bucket in buckets):
            return False
        for bucket in buckets:
            bucket.tokens -= cost
        return True


def _buckets(tier: Tier) -> dict[str, Bucket]:
    return {
        "read": Bucket(tier.read_rate, tier.read_capacity),
        "write": Bucket(tier.write_rate, tier.write_capacity),
        "balance": Bucket(tier.balance_rate, tier.balance_rate),
        **{f"write {index}": Bucket(tier.write_rate, tier.write_capacity) for index in SHARDS[1:]},
    }


def write_buckets(exchange_index: int | None, *, has_ticker: bool) -> tuple[str, ...]:
    """Return what pays for one write: the shard it names, each where its ticker finds it, else the general bucket."""
    if exchange_index is not None and exchange_index >= 0:
        return (f"write {exchange_index}",) if exchange_index in SHARDS[1:] else ("write",)
    return ("write", *(f"write {index}" for index in SHARDS[1:])) if has_ticker else ("write",)
